// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_client.c - the API's client against a peer that answers as it is told
 *
 * The real labd cannot be made to answer nonsense, so a thread plays its part:
 * it accepts one connection after the other and says the next of a list of
 * answers to each request that comes in.
 *
 * TIMEOUT: 60
 */
#define _GNU_SOURCE
#include "lib/client.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
/* A whole answer: the peer adds the length */
#define BODY(STATUS, TEXT) "=HTTP/1.1 " STATUS "\r\nContent-Length: |" TEXT

/* Ends the connection after an answer that starts with this mark */
#define CLOSE "!"

struct peer {
	char path[128];
	int listener;
	pthread_t thread;
	const char *const *answers;
	int connections;
	char request[8192];
};

/* Read one request, with its body if it has one; false at the end */
static bool read_request(int fd, struct peer *p)
{
	size_t len = 0, body = 0;
	char *end = NULL, *header;

	while (!end || len < body) {
		ssize_t n = read(fd, p->request + len, sizeof(p->request) - 1 - len);

		if (n <= 0)
			return false;
		len += (size_t)n;
		p->request[len] = '\0';
		end = strstr(p->request, "\r\n\r\n");
		header = strcasestr(p->request, "content-length:");
		if (end)
			body = (size_t)(end + 4 - p->request) +
			       (header ? strtoul(header + 15, NULL, 10) : 0);
	}
	return true;
}

static void say(int fd, const char *answer)
{
	const char *body = *answer == '=' ? strchr(answer, '|') + 1 : NULL;

	if (body)
		dprintf(fd, "%.*s%zu\r\n\r\n%s", (int)(body - answer - 2), answer + 1, strlen(body),
			body);
	else
		(void)io_write_all(fd, answer, strlen(answer));
}

static void *serve(void *arg)
{
	struct peer *p = arg;

	while (*p->answers) {
		autoclose int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			break;
		p->connections++;
		/* after the last answer the connection stays, until the client goes */
		while (read_request(fd, p) && *p->answers) {
			const char *answer = *p->answers++;
			bool last = *answer == *CLOSE;

			say(fd, answer + last);
			if (last)
				break;
		}
	}
	return NULL;
}

static void peer_start(struct peer *p, const char *const *answers)
{
	const char *tmp = getenv("TEST_DIR");

	*p = (struct peer){ .answers = answers };
	snprintf(p->path, sizeof(p->path), "%.60s/peer.%d", tmp ? tmp : "/tmp", getpid());
	p->listener = io_listen_unix(p->path, SOCK_STREAM, 0600);
	assert_true(p->listener >= 0);
	assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

static void peer_stop(struct peer *p)
{
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
	unlink(p->path);
}

static void test_call(void **state)
{
	static const char *const answers[] = { BODY("200 OK", "{\"a\": 1}"),
					       BODY("202 Accepted", "{\"job\": 12}"), NULL };
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *a = NULL, *b = NULL;
	struct client *c;
	struct peer p;

	(void)state;
	peer_start(&p, answers);
	c = client_new(p.path, 5000);
	assert_int_equal(client_call(c, "GET", "/v1/x", NULL, &a, NULL, &err), 0);
	assert_int_equal(json_integer_value(json_object_get(a, "a")), 1);
	assert_true(client_answered(c));
	assert_int_equal(
		client_call(c, "POST", "/v1/y", json_pack("{s:s}", "k", "v"), &b, NULL, &err), 0);
	assert_int_equal(json_integer_value(json_object_get(b, "job")), 12);
	assert_non_null(strstr(p.request, "POST /v1/y HTTP/1.1\r\n"));
	assert_non_null(strstr(p.request, "{\"k\":\"v\"}"));
	assert_null(strcasestr(p.request, "expect:"));
	/* kept alive between the two */
	assert_int_equal(p.connections, 1);
	client_free(c);
	peer_stop(&p);
}

static void test_refusals(void **state)
{
	static const char *const answers[] = {
		BODY("409 Conflict", "{\"error\":{\"errno\":\"EBUSY\",\"message\":\"is busy\"}}"),
		BODY("400 Bad Request",
		     "{\"error\":{\"errno\":\"EINVAL\",\"message\":\"two\",\"problems\":[1,2]}}"),
		BODY("500 Oops", "{\"error\":{\"errno\":\"EWHAT\",\"message\":\"\"}}"),
		BODY("502 Bad", "<html>"),
		BODY("404 Not Found", ""),
		NULL
	};
	struct lab_err err = LAB_ERR_INIT;
	json_t *ret = (json_t *)&err, *problems = NULL;
	struct client *c;
	struct peer p;

	(void)state;
	peer_start(&p, answers);
	c = client_new(p.path, 5000);
	assert_int_equal(client_call(c, "GET", "/v1/x", NULL, &ret, &problems, &err), -EBUSY);
	assert_string_equal(err.text, "is busy");
	assert_null(problems);
	assert_null(ret);
	assert_true(client_answered(c));
	assert_int_equal(client_call(c, "GET", "/v1/x", NULL, NULL, &problems, &err), -EINVAL);
	assert_int_equal(json_array_size(problems), 2);
	json_decref(problems);
	/* an errno that nobody knows still fails, with words */
	assert_int_equal(client_call(c, "GET", "/v1/x", NULL, NULL, &problems, &err), -EIO);
	assert_true(*err.text);
	assert_int_equal(client_call(c, "GET", "/v1/x", NULL, NULL, &problems, &err), -EPROTO);
	assert_non_null(strstr(err.text, "502"));
	assert_int_equal(client_call(c, "GET", "/v1/x", NULL, NULL, NULL, NULL), -EPROTO);
	client_free(c);
	peer_stop(&p);
}

static void test_nonsense(void **state)
{
	static const char *const answers[] = {
		BODY("200 OK", "{\"a\": "), /* not JSON */
		CLOSE "SSH-2.0-OpenSSH\r\n", /* not HTTP */
		CLOSE OK_HEAD "Content-Length: 100\r\n\r\n{}", /* ends too early */
		CLOSE OK_HEAD "Content-Length: 99999999999\r\n\r\n{}",
		CLOSE OK_HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		CLOSE "",
		NULL
	};
	struct client *c;
	struct peer p;

	(void)state;
	peer_start(&p, answers);
	c = client_new(p.path, 5000);
	for (size_t i = 0; i < ARRAY_SIZE(answers) - 1; i++) {
		struct lab_err err = LAB_ERR_INIT;
		json_t *ret = NULL;

		if (client_call(c, "GET", "/v1/x", NULL, &ret, NULL, &err) >= 0)
			fail_msg("answer %zu was taken", i);
		assert_null(ret);
		assert_true(err.code < 0 && *err.text);
	}
	client_free(c);
	peer_stop(&p);
}

static void test_unreachable(void **state)
{
	static const char *const silent[] = { "", NULL };
	struct lab_err err = LAB_ERR_INIT;
	struct client *c = client_new("/nonexistent/labd.sock", 500);
	uint64_t start = num_now_us();
	struct peer p;

	(void)state;
	assert_int_equal(client_call(c, "GET", "/v1/x", NULL, NULL, NULL, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "/nonexistent/labd.sock"));
	assert_false(client_answered(c));
	client_free(c);

	peer_start(&p, silent);
	c = client_new(p.path, 300);
	assert_int_equal(client_call(c, "GET", "/v1/x", NULL, NULL, NULL, &err), -ETIMEDOUT);
	assert_false(client_answered(c));
	assert_true(num_now_us() - start < 5000000);
	/* a name too long for a path is refused before anything is sent */
	assert_int_equal(client_call(c, "GET", "", NULL, NULL, NULL, &err), -ENAMETOOLONG);
	client_free(c);
	peer_stop(&p);
}

struct seen {
	int n, stop_at;
	char text[256];
};

static bool on_message(void *arg, json_t *msg)
{
	struct seen *seen = arg;
	json_int_t v = json_integer_value(json_object_get(msg, "n"));

	seen->n++;
	assert_int_equal(v, seen->n);
	return seen->n != seen->stop_at;
}

static void test_lines(void **state)
{
	/* lines that are cut by chunks, share one, are empty; the last has no end */
	static const char stream[] = OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"
					     "4\r\n{\"n\"\r\n"
					     "e\r\n: 1}\n\n{\"n\": 2\r\n"
					     "b\r\n}\n{\"n\": 3}\n\r\n"
					     "5\r\n{\"n\":\r\n0\r\n\r\n";
	static const char bad[] = OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"
					  "f\r\n{\"n\": 1}\n{oops}\r\n1\r\n\n\r\n0\r\n\r\n";
	static const char refused[] =
		BODY("404 Not Found", "{\"error\":{\"errno\":\"ENOENT\",\"message\":\"none\"}}");
	static const char *const answers[] = { stream, stream, bad, refused, NULL };
	struct lab_err err = LAB_ERR_INIT;
	struct seen all = { 0 }, two = { .stop_at = 2 }, one = { 0 }, none = { 0 };
	struct client *c;
	struct peer p;

	(void)state;
	peer_start(&p, answers);
	c = client_new(p.path, 500);
	assert_int_equal(client_lines(c, "GET", "/e", NULL, on_message, NULL, &all, &err), 0);
	assert_int_equal(all.n, 3);
	assert_int_equal(client_lines(c, "GET", "/e", NULL, on_message, NULL, &two, &err), 0);
	assert_int_equal(two.n, 2);
	assert_int_equal(client_lines(c, "GET", "/e", NULL, on_message, NULL, &one, &err), -EPROTO);
	assert_int_equal(one.n, 1);
	assert_int_equal(client_lines(c, "GET", "/e", NULL, on_message, NULL, &none, &err),
			 -ENOENT);
	assert_string_equal(err.text, "none");
	assert_int_equal(none.n, 0);
	client_free(c);
	peer_stop(&p);
}

static bool on_data(void *arg, const void *data, size_t len)
{
	struct seen *seen = arg;
	size_t at = strlen(seen->text);

	snprintf(seen->text + at, sizeof(seen->text) - at, "%.*s", (int)len, (const char *)data);
	return true;
}

static bool count_down(void *arg)
{
	struct seen *seen = arg;

	return ++seen->n < 5;
}

static void test_stream(void **state)
{
	static const char *const answers[] = { OK_HEAD
					       "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
					       CLOSE OK_HEAD
					       "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
					       BODY("200 OK", "{}"), NULL };
	struct lab_err err = LAB_ERR_INIT;
	struct seen quiet = { 0 }, broken = { 0 };
	uint64_t start = num_now_us();
	struct client *c;
	struct peer p;

	(void)state;
	peer_start(&p, answers);
	c = client_new(p.path, 500);
	/* nothing comes any more: idle ends it, ten times a second at least */
	assert_int_equal(client_stream(c, "GET", "/c", NULL, on_data, count_down, &quiet, &err), 0);
	assert_string_equal(quiet.text, "hello");
	assert_int_equal(quiet.n, 5);
	assert_true(num_now_us() - start < 600000);
	/* a stream that breaks off is not a stream that ends */
	assert_int_equal(client_stream(c, "GET", "/c", NULL, on_data, NULL, &broken, &err),
			 -ECONNRESET);
	assert_string_equal(broken.text, "ab");
	assert_int_equal(client_send(c, "POST", "/c", "a\0b", 3, &err), 0);
	assert_non_null(strstr(p.request, "Content-Length: 3\r\n"));
	client_free(c);
	peer_stop(&p);
}

static void test_path(void **state)
{
	char buf[CLIENT_PATH], name[600];

	(void)state;
	assert_string_equal(client_path(buf, "/v1/labs/%s/x/%s", "demo", "a.b-c_d~"),
			    "/v1/labs/demo/x/a.b-c_d~");
	assert_string_equal(client_path(buf, "/v1/%s", "a/../b?c#d e%\n\303\251"),
			    "/v1/a%2F..%2Fb%3Fc%23d%20e%25%0A%C3%A9");
	assert_string_equal(client_path(buf, "/v1/%s", ""), "/v1/");
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_string_equal(client_path(buf, "/v1/%s", name), "");
	name[CLIENT_PATH - 5] = '\0';
	assert_int_equal(strlen(client_path(buf, "/v1/%s", name)), CLIENT_PATH - 1);
	name[CLIENT_PATH - 5] = '/';
	name[CLIENT_PATH - 4] = '\0';
	assert_string_equal(client_path(buf, "/v1/%s", name), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call),	 cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_nonsense), cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_lines),	 cmocka_unit_test(test_stream),
		cmocka_unit_test(test_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
