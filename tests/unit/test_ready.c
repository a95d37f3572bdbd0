// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_ready.c - readiness probes against servers, agents and consoles that misbehave
 *
 * The keeper's only part here, a socket in the lab, is played by this file: it
 * connects on the host's loopback.
 *
 * TIMEOUT: 60
 */
#define _GNU_SOURCE
#include "labd/ready.h"
#include "labd/ready_impl.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* As the keeper does it, in the namespace we are in */
int keeper_connect_tcp(struct keeper *k, const char *addr, uint16_t port, struct lab_err *err)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)k;
	assert_true(sock >= 0);
	assert_int_equal(inet_pton(AF_INET, addr, &to.sin_addr), 1);
	if (connect(sock, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		close(sock);
		return lab_fail_errno(err, -errno, "connect");
	}
	return sock;
}

/* ---- a web server -------------------------------------------------------------- */

static struct {
	int listener;
	uint16_t port;
	pthread_t thread;
	const char *reply;
	bool silent, endless;
	char request[2048];
	atomic_uint served;
} web;

static void *serve(void *arg)
{
	char block[4096];

	(void)arg;
	memset(block, 'a', sizeof(block));
	for (;;) {
		autoclose int sock = accept4(web.listener, NULL, NULL, SOCK_CLOEXEC);
		ssize_t n;

		if (sock < 0)
			return NULL;
		n = recv(sock, web.request, sizeof(web.request) - 1, 0);
		web.request[n > 0 ? n : 0] = '\0';
		web.served++;
		while (web.silent && recv(sock, block, 1, 0) > 0)
			;
		if (web.reply)
			(void)send(sock, web.reply, strlen(web.reply), MSG_NOSIGNAL);
		while (web.endless && send(sock, block, sizeof(block), MSG_NOSIGNAL) > 0)
			;
	}
}

static int web_start(void **state)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);

	(void)state;
	memset(&web, 0, sizeof(web));
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	web.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(web.listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(web.listener, 8) < 0 ||
	    getsockname(web.listener, (struct sockaddr *)&addr, &len) < 0)
		return -1;
	web.port = ntohs(addr.sin_port);
	return pthread_create(&web.thread, NULL, serve, NULL);
}

static int web_stop(void **state)
{
	(void)state;
	shutdown(web.listener, SHUT_RDWR);
	pthread_join(web.thread, NULL);
	close(web.listener);
	return 0;
}

/* ---- waiting ---------------------------------------------------------------------- */

static uint64_t dies_at, cancelled_at;
static char step[128];

static bool is_alive(void *arg)
{
	(void)arg;
	return !dies_at || num_now_us() < dies_at;
}

static bool is_cancelled(void *arg)
{
	(void)arg;
	return cancelled_at && num_now_us() >= cancelled_at;
}

static void on_step(void *arg, const char *text)
{
	(void)arg;
	snprintf(step, sizeof(step), "%s", text);
}

static char console_path[128];

/* Wait for probes, given as JSON with PORT for the server's port */
static int wait_for(const char *probes_text, off_t from, struct lab_err *err)
{
	struct ready ready = { .addr = "127.0.0.1",
			       .console_log = console_path,
			       .console_from = from,
			       .alive = is_alive,
			       .cancelled = is_cancelled,
			       .step = on_step };
	const char *port = strstr(probes_text, "PORT");
	autojson json_t *probes = NULL;
	char text[512];

	snprintf(text, sizeof(text), "%s", probes_text);
	if (port)
		snprintf(text, sizeof(text), "%.*s%u%s", (int)(port - probes_text), probes_text,
			 web.port, port + 4);
	probes = json_loads(text, 0, NULL);
	assert_non_null(probes);
	*err = (struct lab_err)LAB_ERR_INIT;
	return ready_wait(&ready, probes, err);
}

static void expect(const char *probes, int expected, const char *words)
{
	struct lab_err err;
	uint64_t begin = num_now_us();

	assert_int_equal(wait_for(probes, 0, &err), expected);
	if (words && !strstr(err.text, words))
		fail_msg("'%s' lacks '%s'", err.text, words);
	assert_true(num_now_us() - begin < 3000000);
}

#define HTTP "[{\"http\": \"http://:PORT/v3/\", \"status\": 200, \"timeout\": 0.4}]"
#define HTTP_BODY "[{\"http\": \"http://:PORT/\", \"body\": \"stable\", \"timeout\": 0.4}]"

static void test_tcp(void **state)
{
	(void)state;
	expect("[{\"tcp\": PORT, \"timeout\": 5}]", 0, NULL);
	assert_true(strstr(step, "tcp ") == step);
	expect("[{\"tcp\": 1, \"timeout\": 0.4}, {\"tcp\": PORT}]", -ETIMEDOUT,
	       "Connection refused");
	expect("[{\"tcp\": 1, \"timeout\": 0.4}, {\"tcp\": PORT}]", -ETIMEDOUT, "waited for tcp 1");
}

static void test_http(void **state)
{
	char host[40];

	(void)state;
	web.reply = "HTTP/1.1 200 OK\r\nX: y\r\n\r\n{\"version\": \"stable\"}";
	expect(HTTP, 0, NULL);
	assert_true(strstr(web.request, "GET /v3/ HTTP/1.0\r\n") == web.request);
	snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%u\r\n", web.port);
	assert_non_null(strstr(web.request, host));
	expect(HTTP_BODY, 0, NULL);
	expect("[{\"http\": \"http://keystone:PORT/\"}]", 0, NULL);
	assert_non_null(strstr(web.request, "\r\nHost: keystone:"));
	web.reply = "HTTP/1.1 503 Service \033[31mUnavailable\r\n\r\nstable";
	expect(HTTP, -ETIMEDOUT, "503 Service Unavailable");
	expect(HTTP_BODY, -ETIMEDOUT, "503");
	web.reply = "HTTP/1.1 200 OK\r\nstable: yes\r\n\r\nstarting";
	expect(HTTP_BODY, -ETIMEDOUT, "no 'stable'");
	web.reply = "SSH-2.0-OpenSSH_9.2\r\n";
	expect(HTTP, -ETIMEDOUT, "does not speak HTTP");
	web.reply = "";
	expect(HTTP, -ETIMEDOUT, "does not speak HTTP");
}

static void test_http_hostile(void **state)
{
	(void)state;
	web.silent = true;
	expect(HTTP, -ETIMEDOUT, "http :");
	web.silent = false;
	web.reply = "HTTP/1.0 200 OK\r\n\r\n";
	web.endless = true;
	expect(HTTP, 0, NULL); /* the beginning is enough */
	web.reply = "HTTP/1.0 ";
	expect(HTTP, -ETIMEDOUT, "does not speak HTTP");
}

static void test_ends(void **state)
{
	(void)state;
	dies_at = num_now_us() + 200000;
	expect("[{\"tcp\": 1, \"timeout\": 60}, {\"tcp\": PORT}]", -ECHILD, "the guest ended");
	dies_at = 0;
	cancelled_at = num_now_us() + 200000;
	expect("[{\"tcp\": 1, \"timeout\": 60}, {\"tcp\": PORT}]", -ECANCELED, "cancelled");
	web.silent = true;
	cancelled_at = num_now_us() + 200000;
	expect("[{\"http\": \"http://:PORT/\", \"timeout\": 60}]", -ECANCELED, "cancelled");
	cancelled_at = 0;
	web.silent = false;
}

/* ---- console ------------------------------------------------------------------------ */

static void append(const char *text)
{
	autoclose int fd = open(console_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text, strlen(text)), 0);
}

static void *write_later(void *arg)
{
	struct timespec t = { .tv_nsec = 150000000 };
	char old[160];

	nanosleep(&t, NULL);
	if (!strcmp(arg, "rotate")) {
		append("the last of the old\n");
		snprintf(old, sizeof(old), "%s.1", console_path);
		rename(console_path, old);
		append("new file\nguest lo");
		append("gin: ");
	} else {
		append(arg);
	}
	return NULL;
}

static void wait_later(const char *regex, const char *what, off_t from, int expected)
{
	char probe[300];
	struct lab_err err;
	uint64_t begin = num_now_us();
	pthread_t thread;

	snprintf(probe, sizeof(probe), "[{\"console\": \"%s\", \"timeout\": 1}]", regex);
	pthread_create(&thread, NULL, write_later, (void *)(uintptr_t)what);
	assert_int_equal(wait_for(probe, from, &err), expected);
	pthread_join(thread, NULL);
	if (!expected)
		assert_true(num_now_us() - begin < 450000); /* told by the kernel, not asked */
}

static void test_console(void **state)
{
	struct lab_err err;

	(void)state;
	append("old boot: login: \n");
	wait_later("login: $", "guest login: ", 18, 0);
	/* what was before this boot does not count */
	assert_int_equal(truncate(console_path, 18), 0);
	wait_later("login: $", "nothing\n", 18, -ETIMEDOUT);
	wait_later("^Welcome [0-9]+!$", "\033[1;32mWelcome\033[0m 12!\r\n", 18, 0);
	wait_later("login: $", "rotate", 18, 0);
	wait_later("last of the old$", "rotate", 0, 0);
	assert_int_equal(wait_for("[{\"console\": \"[\", \"timeout\": 1}]", 0, &err), -EINVAL);
	assert_int_equal(unlink(console_path), 0);
	wait_later("^begun", "begun\n", 0, 0);
}

/* The end of the console is shown, fit for a terminal */
static void test_console_shown(void **state)
{
	struct lab_err err;

	(void)state;
	(void)unlink(console_path);
	append("from before\n");
	for (int i = 0; i < 30; i++)
		append("\033[31mKernel panic\033[0m\a - not syncing\r\n\r\n");
	append("end Kernel panic\n");
	assert_int_equal(wait_for("[{\"tcp\": 1, \"timeout\": 0.3}]", 12, &err), -ETIMEDOUT);
	assert_non_null(
		strstr(err.text, "last lines of the console:\n  Kernel panic - not syncing"));
	assert_non_null(strstr(err.text, "\n  end Kernel panic"));
	assert_null(strchr(err.text, '\033'));
	assert_null(strchr(err.text, '\a'));
	assert_null(strstr(err.text, "before"));
}

static void test_text(void **state)
{
	static const struct {
		const char *probe, *text;
	} cases[] = {
		{ "{\"tcp\": 3306}", "tcp 3306" },
		{ "{\"http\": \"http://:5000/v3/\"}", "http :5000/v3/" },
		{ "{\"exec\": [\"systemctl\", \"is-active\"]}", "exec systemctl is-active" },
		{ "{\"agent\": true}", "guest agent" },
		{ "{\"console\": \"login\"}", "console line 'login'" },
	};
	char buf[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autojson json_t *probe = json_loads(cases[i].probe, 0, NULL);

		assert_string_equal(ready_text(probe, buf, sizeof(buf)), cases[i].text);
		assert_true(strlen(ready_text(probe, buf, 8)) < 8);
	}
}

static void test_url(void **state)
{
	static const char *const bad[] = { "",
					   "https://x/",
					   "http://x:0/",
					   "http://x:70000/",
					   "http://x:y/",
					   "http://x:123456789/",
					   "ftp://x" };
	struct ready_url url;

	(void)state;
	assert_int_equal(ready_url_parse("http://:5000/v3/", &url), 0);
	assert_string_equal(url.host, "");
	assert_int_equal(url.port, 5000);
	assert_string_equal(url.path, "/v3/");
	assert_int_equal(ready_url_parse("http://a.b", &url), 0);
	assert_int_equal(url.port, 80);
	assert_string_equal(url.path, "/");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ready_url_parse(bad[i], &url), -EINVAL);
}

static void test_clean(void **state)
{
	char text[] = "a\tb\033[1;31mred\033[0m\033]0;title\a\001\x7f\xc3\xa4\xff\xc2\x9b\n\033";

	(void)state;
	assert_string_equal(text_clean(text), "a bred\xc3\xa4\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tcp, web_start, web_stop),
		cmocka_unit_test_setup_teardown(test_http, web_start, web_stop),
		cmocka_unit_test_setup_teardown(test_http_hostile, web_start, web_stop),
		cmocka_unit_test_setup_teardown(test_ends, web_start, web_stop),
		cmocka_unit_test(test_console),
		cmocka_unit_test(test_console_shown),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_url),
		cmocka_unit_test(test_clean),
	};
	const char *base = getenv("TEST_DIR");

	snprintf(console_path, sizeof(console_path), "%.100s/console.log", base ? base : "/tmp");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
