// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * client.c - labd's API as its clients see it (libcurl over the unix socket)
 *
 * DOC: Theory of Operation
 *
 * A client is one easy handle driven through one multi handle, so that calls
 * and streams share the connections that libcurl keeps alive, and a stream can
 * look at the clock while nothing arrives. There is one request at a time.
 *
 * An answer below 400 goes to its reader as it comes. Anything else is
 * collected, at most CLIENT_MAX_ANSWER bytes of it, and turned into an errno
 * and words by answer_error(). A transfer that failed without an answer is
 * explained by transfer_error(), which knows the socket and whose it is.
 */
#define _GNU_SOURCE
#include "lib/client.h"

#include "lib/jsonl.h"
#include "lib/num.h"
#include "lib/util.h"

#include <curl/curl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#define CLIENT_MAX_ANSWER (64U << 20)
#define CLIENT_IDLE_MS 90
#define CLIENT_WAIT_MS 60000

struct client {
	char *socket;
	long timeout_ms;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *json_headers, *raw_headers;
	char detail[CURL_ERROR_SIZE];
	bool busy, answered;
};

/* What is asked: body is borrowed, headers belong to the client */
struct request {
	const char *method, *path;
	const void *body;
	size_t len;
	struct curl_slist *headers;
	long timeout_ms;
	bool (*data)(void *arg, const void *data, size_t len);
	bool (*idle)(void *arg);
	void *arg;
};

/* What came back; text is NUL-terminated when it is not NULL */
struct answer {
	struct client *c;
	const struct request *req;
	char *text;
	size_t len, room;
	long status;
	bool ended;
	int code;
};

static pthread_once_t client_once = PTHREAD_ONCE_INIT;

/* Nothing: TLS is not used, and its set-up is what costs time */
static void init_library(void)
{
	curl_global_init(CURL_GLOBAL_NOTHING);
}

struct client *client_new(const char *socket, long timeout_ms)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	pthread_once(&client_once, init_library);
	c->socket = strdup(socket);
	c->timeout_ms = timeout_ms;
	c->multi = curl_multi_init();
	c->easy = curl_easy_init();
	/* An empty "Expect:" keeps curl from waiting for "100 Continue" */
	c->json_headers = curl_slist_append(NULL, "Content-Type: application/json");
	c->raw_headers = curl_slist_append(NULL, "Content-Type: application/octet-stream");
	if (!c->socket || !c->multi || !c->easy || !c->json_headers || !c->raw_headers ||
	    !curl_slist_append(c->json_headers, "Expect:") ||
	    !curl_slist_append(c->raw_headers, "Expect:"))
		return client_free(c);
	return c;
}

struct client *client_free(struct client *c)
{
	if (!c)
		return NULL;
	curl_easy_cleanup(c->easy);
	curl_multi_cleanup(c->multi);
	curl_slist_free_all(c->json_headers);
	curl_slist_free_all(c->raw_headers);
	free(c->socket);
	free(c);
	return NULL;
}

bool client_answered(const struct client *c)
{
	return c->answered;
}

/* Add to the collected answer; 0, -ENOMEM or -EMSGSIZE */
static int collect(struct answer *a, const char *data, size_t len)
{
	if (len > CLIENT_MAX_ANSWER - a->len)
		return -EMSGSIZE;
	if (a->len + len + 1 > a->room) {
		size_t room = MAX(a->room * 2, a->len + len + 1);
		char *more = realloc(a->text, room);

		if (!more)
			return -ENOMEM;
		a->text = more;
		a->room = room;
	}
	memcpy(a->text + a->len, data, len);
	a->len += len;
	a->text[a->len] = '\0';
	return 0;
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	size_t len = size * n;

	if (!a->status)
		curl_easy_getinfo(a->c->easy, CURLINFO_RESPONSE_CODE, &a->status);
	if (a->req->data && a->status < 400) {
		if (a->req->data(a->req->arg, data, len))
			return len;
		a->ended = true;
		return CURL_WRITEFUNC_ERROR;
	}
	a->code = collect(a, data, len);
	return a->code < 0 ? CURL_WRITEFUNC_ERROR : len;
}

static int set_options(struct client *c, const struct request *req, struct answer *a)
{
	autofree char *url = NULL;
	CURL *e = c->easy;
	bool bad;

	if (asprintf(&url, "http://labd%s", req->path) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	curl_easy_reset(e); /* options only: connections are kept */
	c->detail[0] = '\0';
	bad = curl_easy_setopt(e, CURLOPT_URL, url) ||
	      curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, c->socket) ||
	      curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L) ||
	      curl_easy_setopt(e, CURLOPT_PROXY, "") || curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) ||
	      curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->detail) ||
	      curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, req->timeout_ms) ||
	      curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data) ||
	      curl_easy_setopt(e, CURLOPT_WRITEDATA, a) ||
	      curl_easy_setopt(e, CURLOPT_HTTPHEADER, req->headers) ||
	      (req->body &&
	       (curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->len) ||
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, req->body))) ||
	      curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, req->method);
	return bad ? -ENOMEM : 0;
}

/* Run the request that is set up: CURLE_OK, or what went wrong */
static CURLcode transfer(struct client *c, struct answer *a)
{
	const struct request *req = a->req;
	CURLcode result = CURLE_OK;
	uint64_t last = num_now_us();
	int running, left;
	CURLMsg *msg;

	if (curl_multi_add_handle(c->multi, c->easy))
		return CURLE_OUT_OF_MEMORY;
	for (;;) {
		if (curl_multi_perform(c->multi, &running)) {
			result = CURLE_FAILED_INIT;
			break;
		}
		if (!running)
			break;
		if (req->idle && num_now_us() - last >= CLIENT_IDLE_MS * 500ULL) {
			last = num_now_us();
			a->ended = !req->idle(req->arg);
		}
		if (a->ended)
			break;
		curl_multi_poll(c->multi, NULL, 0, req->idle ? CLIENT_IDLE_MS : CLIENT_WAIT_MS,
				NULL);
	}
	while ((msg = curl_multi_info_read(c->multi, &left)))
		if (msg->msg == CURLMSG_DONE)
			result = msg->data.result;
	curl_multi_remove_handle(c->multi, c->easy);
	return result;
}

/* Who owns a socket, or the directory that hides it; "" if nobody else */
static const char *other_owner(const char *path, char buf[64])
{
	autofree char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	struct stat st;
	struct passwd *pw;

	buf[0] = '\0';
	if (slash)
		*slash = '\0';
	if ((stat(path, &st) < 0 && (!slash || stat(dir, &st) < 0)) || st.st_uid == geteuid())
		return buf;
	pw = getpwuid(st.st_uid);
	if (pw)
		snprintf(buf, 64, "%s", pw->pw_name);
	else
		snprintf(buf, 64, "user %u", st.st_uid);
	return buf;
}

static int not_ours(struct client *c, const char *owner, struct lab_err *err)
{
	return lab_fail(err, -EACCES,
			"the labd at %s belongs to %s, and only its owner may use it; set LABD_RUN "
			"to a directory of your own to run another",
			c->socket, *owner ? owner : "another user");
}

static int connect_error(struct client *c, struct lab_err *err)
{
	char owner[64];
	long os = 0;

	curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os);
	if (access(c->socket, W_OK) < 0 && errno == EACCES)
		return not_ours(c, other_owner(c->socket, owner), err);
	if (os == EAGAIN)
		return lab_fail(err, -ETIMEDOUT,
				"the labd at %s does not take new connections (is it stopped?)",
				c->socket);
	return lab_fail(err, -ECONNREFUSED, "no labd answers at %s%s%s", c->socket, os ? ": " : "",
			os ? strerror((int)os) : "");
}

/* A transfer ended without a whole answer: why */
static int transfer_error(struct client *c, const struct answer *a, CURLcode result,
			  struct lab_err *err)
{
	char owner[64];

	switch (result) {
	case CURLE_COULDNT_CONNECT:
		return connect_error(c, err);
	case CURLE_OPERATION_TIMEDOUT:
		return lab_fail(err, -ETIMEDOUT,
				"the labd at %s did not answer within %ld s (is it stopped?)",
				c->socket, (a->req->timeout_ms + 999) / 1000);
	case CURLE_OUT_OF_MEMORY:
		return lab_fail_errno(err, -ENOMEM, "%s %s", a->req->method, a->req->path);
	case CURLE_WRITE_ERROR:
		if (a->code == -EMSGSIZE)
			return lab_fail(err, -EMSGSIZE, "labd's answer to %s %s is over %u MiB",
					a->req->method, a->req->path, CLIENT_MAX_ANSWER >> 20);
		return lab_fail_errno(err, a->code ? a->code : -EIO, "%s %s", a->req->method,
				      a->req->path);
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
		if (*other_owner(c->socket, owner))
			return lab_fail(err, -ECONNRESET,
					"the labd at %s closed the connection: it belongs to %s",
					c->socket, owner);
		return lab_fail(err, -ECONNRESET, "the labd at %s closed the connection (%s)",
				c->socket, *c->detail ? c->detail : curl_easy_strerror(result));
	default:
		return lab_fail(err, -EIO, "%s %s at %s: %s", a->req->method, a->req->path,
				c->socket, *c->detail ? c->detail : curl_easy_strerror(result));
	}
}

/* labd refused: its errno, its words, and the problems of a file */
static int answer_error(const struct answer *a, json_t **ret_problems, struct lab_err *err)
{
	const char *name = NULL, *message = NULL;
	json_t *problems = NULL;
	autojson json_t *top = NULL;
	int code;

	if (!a->text || jsonl_parse(a->text, a->len, &top) < 0 ||
	    json_unpack(top, "{s:{s:s, s:s, s?o}}", "error", "errno", &name, "message", &message,
			"problems", &problems) < 0)
		return lab_fail(err, -EPROTO,
				"labd answered %s %s with HTTP status %ld and no explanation",
				a->req->method, a->req->path, a->status);
	if (ret_problems && json_is_array(problems))
		*ret_problems = json_incref(problems);
	code = lab_errno_value(name);
	return lab_fail(err, code, "%s", *message ? message : strerror(-code));
}

/* Do a request; @a holds what was collected and is freed by the caller */
static int request(struct client *c, const struct request *req, struct answer *a,
		   json_t **ret_problems, struct lab_err *err)
{
	char owner[64];
	CURLcode result;
	int r;

	*a = (struct answer){ .c = c, .req = req };
	c->answered = false;
	if (!*req->path)
		return lab_fail(err, -ENAMETOOLONG, "a name is too long");
	if (c->busy)
		return lab_fail(err, -EBUSY, "a call within a call to labd");
	r = set_options(c, req, a);
	if (r < 0)
		return lab_fail_errno(err, r, "%s %s", req->method, req->path);
	c->busy = true;
	result = transfer(c, a);
	c->busy = false;
	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &a->status);
	c->answered = a->status > 0;
	if (a->ended)
		return 0;
	if (result != CURLE_OK)
		return transfer_error(c, a, result, err);
	if (a->status < 400)
		return 0;
	r = answer_error(a, ret_problems, err);
	/* root gets through to the labds of others, which then turn it away */
	if (r == -EACCES && *other_owner(c->socket, owner)) {
		c->answered = false;
		return not_ours(c, owner, err);
	}
	return r;
}

/* Take over a JSON body as text in @req; NULL is no body, but "" for a POST */
static int set_json(struct request *req, json_t *body, char **ret_text)
{
	autojson json_t *taken = body;

	*ret_text = taken ? json_dumps(taken, JSON_COMPACT) : NULL;
	if (taken && !*ret_text)
		return -ENOMEM;
	req->body = *ret_text;
	if (!req->body && !strcmp(req->method, "POST"))
		req->body = "";
	req->len = *ret_text ? strlen(*ret_text) : 0;
	return 0;
}

int client_call(struct client *c, const char *method, const char *path, json_t *body, json_t **ret,
		json_t **ret_problems, struct lab_err *err)
{
	struct request req = { .method = method,
			       .path = path,
			       .headers = c->json_headers,
			       .timeout_ms = c->timeout_ms };
	autofree char *text = NULL;
	struct answer a;
	int r;

	if (ret)
		*ret = NULL;
	if (ret_problems)
		*ret_problems = NULL;
	r = set_json(&req, body, &text);
	if (r < 0)
		return lab_fail_errno(err, r, "%s %s", method, path);
	r = request(c, &req, &a, ret_problems, err);
	if (!r && ret && jsonl_parse(a.text ? a.text : "", a.len, ret) < 0)
		r = lab_fail(err, -EPROTO, "labd's answer to %s %s is not JSON", method, path);
	free(a.text);
	return r;
}

int client_stream(struct client *c, const char *method, const char *path, json_t *body,
		  bool (*data)(void *arg, const void *data, size_t len), bool (*idle)(void *arg),
		  void *arg, struct lab_err *err)
{
	struct request req = { .method = method,
			       .path = path,
			       .headers = c->json_headers,
			       .data = data,
			       .idle = idle,
			       .arg = arg };
	autofree char *text = NULL;
	struct answer a;
	int r;

	r = set_json(&req, body, &text);
	if (r < 0)
		return lab_fail_errno(err, r, "%s %s", method, path);
	r = request(c, &req, &a, NULL, err);
	free(a.text);
	return r;
}

/* Cuts a stream into messages; buf is an answer used as a buffer only */
struct lines {
	bool (*message)(void *arg, json_t *msg);
	bool (*idle)(void *arg);
	void *arg;
	struct answer rest;
	int code;
};

static bool one_line(struct lines *l, const char *line, size_t len)
{
	autojson json_t *msg = NULL;

	if (!len)
		return true;
	l->code = jsonl_parse(line, len, &msg);
	return !l->code && l->message(l->arg, msg);
}

static bool on_lines(void *arg, const void *data, size_t len)
{
	struct lines *l = arg;
	const char *at = data, *end = at + len, *nl;

	while ((nl = memchr(at, '\n', (size_t)(end - at)))) {
		bool more;

		if (!l->rest.len) {
			more = one_line(l, at, (size_t)(nl - at));
		} else {
			l->code = collect(&l->rest, at, (size_t)(nl - at));
			more = !l->code && one_line(l, l->rest.text, l->rest.len);
			l->rest.len = 0;
		}
		if (!more)
			return false;
		at = nl + 1;
	}
	if (at < end)
		l->code = collect(&l->rest, at, (size_t)(end - at));
	return !l->code;
}

static bool on_idle(void *arg)
{
	struct lines *l = arg;

	return l->idle(l->arg);
}

int client_lines(struct client *c, const char *method, const char *path, json_t *body,
		 bool (*message)(void *arg, json_t *msg), bool (*idle)(void *arg), void *arg,
		 struct lab_err *err)
{
	struct lines l = { .message = message, .idle = idle, .arg = arg };
	int r;

	r = client_stream(c, method, path, body, on_lines, idle ? on_idle : NULL, &l, err);
	free(l.rest.text);
	if (!r && l.code)
		r = lab_fail_errno(err, l.code, "%s %s: a line of labd's answer", method, path);
	return r;
}

int client_send(struct client *c, const char *method, const char *path, const void *data,
		size_t len, struct lab_err *err)
{
	struct request req = { .method = method,
			       .path = path,
			       .body = len ? data : "",
			       .len = len,
			       .headers = c->raw_headers,
			       .timeout_ms = c->timeout_ms };
	struct answer a;
	int r = request(c, &req, &a, NULL, err);

	free(a.text);
	return r;
}

/* Append @s escaped (RFC 3986: all but unreserved); the new length */
static size_t put_escaped(char buf[CLIENT_PATH], size_t at, const char *s)
{
	static const char unreserved[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *s && at < CLIENT_PATH; s++) {
		if (strchr(unreserved, *s))
			at += (size_t)snprintf(buf + at, CLIENT_PATH - at, "%c", *s);
		else
			at += (size_t)snprintf(buf + at, CLIENT_PATH - at, "%%%02X",
					       (unsigned char)*s);
	}
	return at;
}

const char *client_path(char buf[CLIENT_PATH], const char *fmt, ...)
{
	size_t at = 0;
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt && at < CLIENT_PATH; fmt++) {
		if (fmt[0] == '%' && fmt[1] == 's') {
			at = put_escaped(buf, at, va_arg(ap, const char *));
			fmt++;
		} else {
			buf[at++] = *fmt;
		}
	}
	va_end(ap);
	/* A path cut short could name something else: no call takes "" */
	if (at >= CLIENT_PATH)
		at = 0;
	buf[at] = '\0';
	return buf;
}
