// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * api.c - the HTTP API on the unix socket: libmicrohttpd in the event loop
 *
 * DOC: Theory of Operation
 *
 * libmicrohttpd runs in its external epoll mode: its epoll descriptor is one
 * source of our event loop, and it is run when that is readable. A call that
 * may block is handed to a worker thread while its connection is suspended;
 * the worker posts the result back and the connection goes on. A stream whose
 * producer has nothing suspends its connection too, until stream data is
 * announced by api_wake_followers().
 *
 * Who may speak: the socket has mode 0600, and the peer's uid must be ours.
 */
#define _GNU_SOURCE
#include "labd/api.h"

#include "labd/loop.h"
#include "labd/request.h"
#include "labd/stream.h"
#include "labd/work.h"
#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/log.h"
#include "lib/util.h"

#include <microhttpd.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#define STREAM_BLOCK 32768

/* A connection that waits for stream data */
struct sleeper {
	LIST_ENTRY(sleeper) link;
	struct labd *d;
	struct MHD_Connection *conn;
	struct stream *stream;
	bool asleep;
};

struct api {
	struct MHD_Daemon *daemon;
	sd_event_source *source, *timer;
	LIST_HEAD(, sleeper) sleepers;
	atomic_bool waking;
	unsigned int suspended;
	bool closing;
};

#define RUNS_AT_ONCE 64 /* then others in the event loop have their turn */

/* Have libmicrohttpd do what it can do now, and set the timer it asks for */
static void run_daemon(struct labd *d)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;
	uint64_t now = 0;
	bool asked = true;

	/* its sockets are edge-triggered: 0 ms says that it has more to read */
	for (int i = 0; i < RUNS_AT_ONCE && asked && !ms; i++) {
		MHD_run(d->api->daemon);
		asked = MHD_get_timeout(d->api->daemon, &ms) == MHD_YES;
	}
	sd_event_now(d->event, CLOCK_MONOTONIC, &now);
	sd_event_source_set_time(d->api->timer, now + ms * 1000);
	sd_event_source_set_enabled(d->api->timer, asked ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	(void)source, (void)fd, (void)revents;
	run_daemon(arg);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	(void)source, (void)usec;
	run_daemon(arg);
	return 0;
}

static void wake(struct labd *d, void *arg)
{
	struct sleeper *sl;

	(void)arg;
	if (!d->api)
		return;
	atomic_store(&d->api->waking, false);
	LIST_FOREACH(sl, &d->api->sleepers, link)
	{
		if (!sl->asleep)
			continue;
		sl->asleep = false;
		d->api->suspended--;
		MHD_resume_connection(sl->conn);
	}
	run_daemon(d);
}

void api_wake_followers(struct labd *d)
{
	if (d->api && !atomic_exchange(&d->api->waking, true))
		loop_post(d, wake, NULL);
}

static ssize_t read_stream(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct sleeper *sl = arg;
	ssize_t n = sl->d->api->closing ? -1 : stream_read(sl->stream, buf, max);

	(void)pos;
	if (n < 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!n) {
		sl->asleep = true;
		sl->d->api->suspended++;
		MHD_suspend_connection(sl->conn);
	}
	return n;
}

static void free_sleeper(void *arg)
{
	struct sleeper *sl = arg;

	LIST_REMOVE(sl, link);
	stream_free(sl->stream);
	free(sl);
}

static struct MHD_Response *stream_response(struct request *q)
{
	struct sleeper *sl = calloc(1, sizeof(*sl));
	struct MHD_Response *resp;

	if (!sl)
		abort();
	sl->d = q->d;
	sl->conn = q->conn;
	sl->stream = steal_ptr(q->stream);
	LIST_INSERT_HEAD(&q->d->api->sleepers, sl, link);
	resp = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, sl,
						 free_sleeper);
	MHD_add_response_header(resp, "Content-Type", stream_type(sl->stream));
	return resp;
}

static unsigned int status_of(int code)
{
	switch (-code) {
	case ENOENT:
		return 404;
	case EEXIST:
	case EBUSY:
		return 409;
	case EINVAL:
	case ERANGE:
	case E2BIG:
	case ENAMETOOLONG:
	case ENODATA:
		return 400;
	case EPERM:
	case EACCES:
		return 403;
	case EDQUOT:
	case ENOMEM:
	case ENOSPC:
		return 507;
	case ETIMEDOUT:
		return 504;
	case EOPNOTSUPP:
		return 405;
	default:
		return 500;
	}
}

static char *error_text(struct request *q, int r)
{
	autojson json_t *obj = NULL;

	if (!q->err.code)
		lab_fail_errno(&q->err, r, "%s", q->route ? q->route->path : "request");
	obj = json_pack("{s:{s:s s:s s:O*}}", "error", "errno", lab_errno_name(q->err.code),
			"message", q->err.text, "problems", q->problems);
	return obj ? json_dumps(obj, JSON_COMPACT) : NULL;
}

static char *result_text(struct request *q)
{
	if (!q->result)
		q->result = json_object();
	if (q->job >= 0 && json_is_object(q->result))
		json_object_set_new(q->result, "job", json_integer(q->job));
	return json_dumps(q->result, JSON_COMPACT | JSON_ENCODE_ANY);
}

static enum MHD_Result answer(struct request *q)
{
	const char *type = "application/json";
	unsigned int status = q->job > 0 ? 202 : 200;
	struct MHD_Response *resp;
	enum MHD_Result ok;

	if (!q->status && q->stream) {
		resp = stream_response(q);
	} else {
		char *text = q->status ? error_text(q, q->status)
			     : q->text ? steal_ptr(q->text)
				       : result_text(q);

		if (q->status)
			status = status_of(q->status);
		else if (text && !q->result)
			type = "text/plain; charset=utf-8";
		resp = MHD_create_response_from_buffer(text ? strlen(text) : 0, text,
						       MHD_RESPMEM_MUST_FREE);
		MHD_add_response_header(resp, "Content-Type", type);
	}
	ok = MHD_queue_response(q->conn, status, resp);
	MHD_destroy_response(resp);
	return ok;
}

static void parse_body(struct request *q)
{
	if (!q->len || q->body[strspn(q->body, " \t\r\n")] != '{')
		return;
	if (jsonl_parse(q->body, q->len, &q->json) < 0)
		q->status = lab_fail(&q->err, -EINVAL, "the body is not JSON");
}

static void resume(struct labd *d, void *arg)
{
	struct request *q = arg;

	q->done = true;
	d->api->suspended--;
	MHD_resume_connection(q->conn);
	run_daemon(d);
}

static void run_request(void *arg)
{
	struct request *q = arg;

	if (!q->status)
		q->status = q->route->run(q);
	loop_post(q->d, resume, q);
}

static void dispatch(struct request *q)
{
	int r;

	q->dispatched = true;
	parse_body(q);
	if (q->status || q->route->quick) {
		if (!q->status)
			q->status = q->route->run(q);
		q->done = true;
		return;
	}
	MHD_suspend_connection(q->conn);
	q->d->api->suspended++;
	r = work_submit(q->d->work, run_request, q);
	if (r < 0) {
		q->status = lab_fail_errno(&q->err, r, "labd has too much to do");
		loop_post(q->d, resume, q);
	}
}

static bool peer_is_us(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return info && !getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) &&
	       cred.uid == geteuid();
}

static struct request *new_request(struct labd *d, struct MHD_Connection *conn, const char *url,
				   const char *method)
{
	struct request *q = calloc(1, sizeof(*q));
	bool known = false;

	if (!q)
		return NULL;
	q->d = d;
	q->conn = conn;
	q->job = -1;
	q->route = route_find(q, method, url, &known);
	if (!peer_is_us(conn))
		q->status = lab_fail(&q->err, -EACCES, "this labd is another user's");
	else if (!q->route && known)
		q->status = lab_fail(&q->err, -EOPNOTSUPP, "%s cannot be asked of %s", method, url);
	else if (!q->route)
		q->status = lab_fail(&q->err, -ENOENT, "there is nothing at %s", url);
	return q;
}

static int take_body(struct request *q, const char *data, size_t len)
{
	char *more;

	if (q->len + len > REQUEST_MAX_BODY * 3 / 2)
		return lab_fail(&q->err, -E2BIG, "the body is longer than %d bytes",
				REQUEST_MAX_BODY);
	more = realloc(q->body, q->len + len + 1);
	if (!more)
		return lab_fail(&q->err, -ENOMEM, "out of memory");
	q->body = more;
	memcpy(more + q->len, data, len);
	q->len += len;
	more[q->len] = '\0';
	return 0;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *len, void **state)
{
	struct request *q = *state;

	(void)version;
	if (!q) {
		*state = new_request(arg, conn, url, method);
		return *state ? MHD_YES : MHD_NO;
	}
	if (*len) {
		if (!q->status)
			q->status = take_body(q, data, *len);
		*len = 0;
		return MHD_YES;
	}
	if (!q->dispatched)
		dispatch(q);
	return q->done ? answer(q) : MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **state,
			 enum MHD_RequestTerminationCode toe)
{
	struct request *q = *state;

	(void)arg, (void)conn, (void)toe;
	if (!q)
		return;
	json_decref(q->json);
	json_decref(q->result);
	json_decref(q->problems);
	stream_free(q->stream);
	free(q->text);
	free(q->body);
	free(q);
	*state = NULL;
}

const char *request_arg(const struct request *q, const char *key)
{
	return MHD_lookup_connection_value(q->conn, MHD_GET_ARGUMENT_KIND, key);
}

const char *request_str(const struct request *q, const char *key)
{
	return json_string_value(json_object_get(q->json, key));
}

int api_open(struct labd *d, struct lab_err *err)
{
	int fd = io_listen_unix(d->paths.socket, SOCK_STREAM | SOCK_NONBLOCK, 0600), r;
	const union MHD_DaemonInfo *info;

	if (fd < 0)
		return lab_fail_errno(err, fd, "socket %s", d->paths.socket);
	d->api = calloc(1, sizeof(*d->api));
	if (!d->api)
		return lab_fail(err, -ENOMEM, "out of memory");
	LIST_INIT(&d->api->sleepers);
	d->api->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
					  on_request, d, MHD_OPTION_LISTEN_SOCKET, fd,
					  MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
					  MHD_OPTION_CONNECTION_LIMIT, 2000u,
					  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(16 << 10),
					  MHD_OPTION_END);
	if (!d->api->daemon)
		return lab_fail(err, -EIO, "libmicrohttpd does not start");
	info = MHD_get_daemon_info(d->api->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	r = sd_event_add_io(d->event, &d->api->source, info->epoll_fd, EPOLLIN, on_ready, d);
	if (!r || r > 0)
		r = sd_event_add_time(d->event, &d->api->timer, CLOCK_MONOTONIC, UINT64_MAX, 1,
				      on_timer, d);
	return r < 0 ? lab_fail_errno(err, r, "event loop") : 0;
}

void api_close(struct labd *d)
{
	struct api *a = d->api;

	if (!a)
		return;
	a->closing = true;
	if (a->daemon) {
		/* calls and streams that sleep end first: libmicrohttpd insists */
		wake(d, NULL);
		for (int i = 0; i < 100 && a->suspended; i++)
			(void)sd_event_run(d->event, 100000);
		run_daemon(d);
		unlink(d->paths.socket);
		if (!a->suspended)
			MHD_stop_daemon(a->daemon);
	}
	sd_event_source_disable_unref(a->source);
	sd_event_source_disable_unref(a->timer);
	d->api = NULL;
	free(a);
}
