// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * step_http.c - a step that asks a server (libcurl)
 *
 * A server in the lab is reached by a socket that the lab's keeper makes: it
 * belongs to the lab's network, whatever has made it. So no forward is needed,
 * and nothing of the host's network is in between. libcurl gets it connected.
 */
#define _GNU_SOURCE
#include "cli/step.h"
#include "cli/table.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"
#include "netns/keeper.h"

#include <curl/curl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_HEAD (256 << 10) /* of an answer; servers themselves take less of a request */
#define SLICE_MS 200 /* how often Ctrl-C is looked at while connecting */

/**
 * struct exchange - a request and its answer
 * @sock:	connected, for a server in the lab; -EBADF otherwise
 * @body:	to be sent, NULL for none
 * @head:	bytes of headers that came
 */
struct exchange {
	const struct try *t;
	struct outcome *o;
	CURL *easy;
	struct curl_slist *headers;
	char *url, *body;
	int sock;
	size_t head;
	bool stopped;
	char detail[CURL_ERROR_SIZE];
};

static void exchange_done(struct exchange *x)
{
	curl_easy_cleanup(x->easy);
	curl_slist_free_all(x->headers);
	free(x->url);
	free(x->body);
	if (x->sock >= 0)
		close(x->sock);
}

/* ---- into the lab -------------------------------------------------------------------- */

/* Where the keeper of an instance's lab listens, and the instance's address */
static int find_target(struct cli *cli, const struct object *in, char run_dir[IO_PATH],
		       char addr[CELL_TEXT])
{
	autojson json_t *status = NULL, *lab = NULL, *object = NULL;
	char path[CLIENT_PATH];
	int r = cli_call(cli, "GET", "/v1/status", NULL, &status);

	if (r < 0)
		return r;
	r = cli_call(cli, "GET", client_path(path, "/v1/labs/%s", in->lab), NULL, &lab);
	if (r < 0)
		return r;
	client_path(path, "/v1/labs/%s/instances/%s", in->lab, in->name);
	r = cli_call(cli, "GET", path, NULL, &object);
	if (r < 0)
		return r;
	io_path(run_dir, "%s/%.0f", cell_string(status, "run_dir"), cell_number(lab, "id"));
	cell_line(addr, cell_string(object, "addr"));
	return *addr ? 0
		     : lab_fail(&cli->err, -EADDRNOTAVAIL, "%s/%s has no address", in->lab,
				in->name);
}

/* Wait until a socket is connected; 0 or negative errno */
static int wait_connected(const struct try *t, int sock)
{
	struct pollfd p = { .fd = sock, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int error = 0;

	while (poll(&p, 1, SLICE_MS) <= 0) {
		if (step_stopped(t->control))
			return -ECANCELED;
		if (num_now_us() >= t->deadline)
			return -ETIMEDOUT;
	}
	if (getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

static int connect_to(struct exchange *x, const struct object *in, const char *addr, int port,
		      struct keeper *keeper, struct lab_err *err)
{
	int r;

	x->sock = keeper_connect_tcp(keeper, addr, (uint16_t)port, err);
	if (x->sock < 0)
		return x->sock;
	r = wait_connected(x->t, x->sock);
	if (r == -ECANCELED)
		return lab_fail(err, r, "interrupted");
	return r < 0 ? lab_fail_errno(err, r, "connecting to %s/%s port %d", in->lab, in->name,
				      port)
		     : 0;
}

/* "[SCHEME://]:PORT[/PATH]" with the address that is left out; malloced */
static char *full_url(const char *url, const char *addr)
{
	const char *scheme = strncmp(url, "https://", 8) ? "http" : "https";
	const char *host = strstr(url, "://");
	char *full;

	return asprintf(&full, "%s://%s%s", scheme, addr, host ? host + 3 : url) < 0 ? NULL : full;
}

/* The port that a URL leads to; 0 if it is none */
static int port_of(const char *url)
{
	CURLU *u = curl_url();
	char *text = NULL;
	uint64_t port = 0;

	if (u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
	    !curl_url_get(u, CURLUPART_PORT, &text, CURLU_DEFAULT_PORT))
		(void)num_u64(text, 65535, &port);
	curl_free(text);
	curl_url_cleanup(u);
	return (int)port;
}

static int go_inside(struct exchange *x, const char *url, struct lab_err *err)
{
	struct cli *cli = x->t->cli;
	char run_dir[IO_PATH], addr[CELL_TEXT];
	struct keeper *keeper;
	struct object in;
	int r = step_instance(x->t, &in, err), port;

	if (r < 0)
		return r;
	r = find_target(cli, &in, run_dir, addr);
	if (r < 0) {
		*err = cli->err;
		return r;
	}
	x->url = full_url(url, addr);
	if (!x->url)
		return lab_fail_errno(err, -ENOMEM, "http");
	port = port_of(x->url);
	if (!port)
		return lab_fail(err, -EINVAL, "'%.100s' is not a URL such as :5000/v3/", url);
	r = keeper_connect(run_dir, &keeper, err);
	if (r < 0)
		return lab_wrap(err, r, "%s/%s", in.lab, in.name);
	r = connect_to(x, &in, addr, port, keeper, err);
	keeper_close(keeper);
	return r;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct exchange *x = arg;

	(void)purpose, (void)address;
	return x->sock >= 0 ? steal_fd(&x->sock) : CURL_SOCKET_BAD;
}

static int on_socket(void *arg, curl_socket_t sock, curlsocktype purpose)
{
	(void)arg, (void)sock, (void)purpose;
	return CURL_SOCKOPT_ALREADY_CONNECTED;
}

/* ---- the exchange ---------------------------------------------------------------------- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;

	output_add(&x->o->out, data, size * n);
	return size * n;
}

/* One line of the head. That of an interim answer (100 Continue) does not count */
static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	size_t len = size * n, name = 0, end = len;
	const json_t *before;
	autofree char *key = NULL, *value = NULL;

	x->head += len;
	if (x->head > MAX_HEAD)
		return 0;
	if (len > 5 && !strncmp(data, "HTTP/", 5)) {
		json_object_clear(x->o->headers);
		return len;
	}
	while (name < len && data[name] != ':')
		name++;
	while (end > name && strchr("\r\n \t", data[end - 1]))
		end--;
	if (name >= end)
		return len;
	key = strndup(data, name);
	for (name++; name < end && (data[name] == ' ' || data[name] == '\t');)
		name++;
	before = key ? json_object_get(x->o->headers, key) : NULL;
	if (asprintf(&value, "%s%s%.*s", before ? json_string_value(before) : "",
		     before ? ", " : "", (int)(end - name), data + name) < 0)
		value = NULL;
	/* what is not UTF-8 cannot be expected in a test file */
	if (key && value)
		json_object_set_new(x->o->headers, key, json_string(value));
	return len;
}

static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
		       curl_off_t ulnow)
{
	struct exchange *x = arg;

	(void)dltotal, (void)dlnow, (void)ultotal, (void)ulnow;
	x->stopped = step_stopped(x->t->control);
	return x->stopped;
}

static int add_header(struct exchange *x, const char *name, const char *value, struct lab_err *err)
{
	autofree char *line = NULL;
	struct curl_slist *more;
	int n;

	/* what a server has said may have come in as a variable */
	if (value && strpbrk(value, "\r\n"))
		return lab_fail(err, -EINVAL, "the header %s would have two lines", name);
	/* libcurl's ways to say that a header is not sent, and that it is empty */
	if (!value || !*value)
		n = asprintf(&line, "%s%s", name, value ? ";" : ":");
	else
		n = asprintf(&line, "%s: %s", name, value);
	if (n < 0) {
		line = NULL;
		return lab_fail_errno(err, -ENOMEM, "http");
	}
	more = curl_slist_append(x->headers, line);
	if (!more)
		return lab_fail_errno(err, -ENOMEM, "http");
	x->headers = more;
	return 0;
}

static bool has_header(const json_t *headers, const char *name)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)headers, key, value) {
		if (!strcasecmp(key, name))
			return true;
	}
	return false;
}

static int set_headers(struct exchange *x, struct lab_err *err)
{
	const json_t *headers = json_object_get(x->t->spec, "headers");
	const char *name;
	json_t *value;
	int r = 0;

	json_object_foreach((json_t *)headers, name, value) {
		if (!r)
			r = add_header(x, name, json_string_value(value), err);
	}
	if (!r && json_object_get(x->t->spec, "json") && !has_header(headers, "content-type"))
		r = add_header(x, "Content-Type", "application/json", err);
	/* not to wait for "100 Continue" */
	return r ? r : add_header(x, "Expect", NULL, err);
}

static int set_body(struct exchange *x)
{
	const json_t *text = json_object_get(x->t->spec, "body");
	const json_t *doc = json_object_get(x->t->spec, "json");

	if (text)
		x->body = strdup(json_string_value(text));
	else if (doc)
		x->body = json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY);
	return (text || doc) && !x->body ? -ENOMEM : 0;
}

static long timeout_ms(const struct try *t)
{
	uint64_t now = num_now_us();

	return now >= t->deadline ? 1 : (long)((t->deadline - now + 999) / 1000);
}

static bool set_options(struct exchange *x, const char *method)
{
	CURL *e = x->easy;
	bool bad;

	bad = curl_easy_setopt(e, CURLOPT_URL, x->url) ||
	      curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") ||
	      curl_easy_setopt(e, CURLOPT_PROXY, "") || curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) ||
	      curl_easy_setopt(e, CURLOPT_ERRORBUFFER, x->detail) ||
	      curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, timeout_ms(x->t)) ||
	      curl_easy_setopt(e, CURLOPT_USERAGENT, "labctl/" LAB_VERSION) ||
	      curl_easy_setopt(e, CURLOPT_HTTPHEADER, x->headers) ||
	      curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) ||
	      curl_easy_setopt(e, CURLOPT_WRITEDATA, x) ||
	      curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) ||
	      curl_easy_setopt(e, CURLOPT_HEADERDATA, x) ||
	      curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L) ||
	      curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress) ||
	      curl_easy_setopt(e, CURLOPT_XFERINFODATA, x) ||
	      (x->body && curl_easy_setopt(e, CURLOPT_POSTFIELDS, x->body)) ||
	      (!strcmp(method, "HEAD") && curl_easy_setopt(e, CURLOPT_NOBODY, 1L)) ||
	      curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, method);
	if (!bad && x->sock >= 0)
		bad = curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open) ||
		      curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, x) ||
		      curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket);
	return !bad;
}

static int transfer(struct exchange *x, struct lab_err *err)
{
	CURLcode result = curl_easy_perform(x->easy);
	long status = 0;

	curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	x->o->status = status ? (int)status : -1;
	if (x->stopped)
		return lab_fail(err, -ECANCELED, "interrupted");
	if (result == CURLE_OPERATION_TIMEDOUT)
		return lab_fail(err, -ETIMEDOUT, "no whole answer in time%s%s",
				*x->detail ? ": " : "", x->detail);
	if (result != CURLE_OK)
		return lab_fail(err, -EIO, "no answer: %s",
				*x->detail ? x->detail : curl_easy_strerror(result));
	return 0;
}

int try_http(const struct try *t, struct outcome *o, struct lab_err *err)
{
	struct exchange x
		__attribute__((cleanup(exchange_done))) = { .t = t, .o = o, .sock = -EBADF };
	const char *on = json_string_value(json_object_get(t->spec, "on"));
	const char *url = json_string_value(json_object_get(t->spec, "url"));
	const char *method = json_string_value(json_object_get(t->spec, "method"));
	int r = 0;

	o->headers = json_object();
	if (asprintf(&o->what, "%s %s%s%s", method, url, on ? " on " : "", on ? on : "") < 0)
		o->what = NULL;
	if (on)
		r = go_inside(&x, url, err);
	else if (!(x.url = strdup(url)))
		r = lab_fail_errno(err, -ENOMEM, "http");
	if (!r)
		r = set_headers(&x, err);
	if (r < 0)
		return r;
	x.easy = curl_easy_init();
	if (!x.easy || set_body(&x) < 0 || !set_options(&x, method))
		return lab_fail_errno(err, -ENOMEM, "http");
	return transfer(&x, err);
}
