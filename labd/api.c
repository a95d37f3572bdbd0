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
 * announced by api_wake_followers(). Nobody reads or writes a suspended
 * connection, so libmicrohttpd would not see its client leave: meanwhile our
 * own event loop watches it for a hang-up.
 *
 * Jobs, calls and programs in guests have threads of their own: as many of one
 * kind as may wait, the others go on.
 *
 * The end: calls that run are waited for, each has a deadline; those that wait
 * for a thread, and new ones, are refused; streams end, and with them the
 * programs they run. libmicrohttpd stops when no connection is suspended.
 *
 * Who may speak: the socket has mode 0600, and the peer's uid must be ours.
 */
#define _GNU_SOURCE
#include "labd/api.h"

#include "labd/agent.h"
#include "labd/loop.h"
#include "labd/model.h"
#include "labd/request.h"
#include "labd/stream.h"
#include "labd/work.h"
#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <microhttpd.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define STREAM_BLOCK 32768
#define CALLS_AT_ONCE 32 /* others wait */
#define EXECS_AT_ONCE 32 /* others are refused: each may take an hour, and asks its guest often */
#define IDLE_SECONDS 120u /* libcurl does not use a connection again after 118 */
#define ENDING_US 5000000

/**
 * struct sleeper - a connection that gets a stream
 * @asleep:	it is suspended until there is more
 * @gone:	its client has left
 * @hangup:	watches for that while it is asleep
 */
struct sleeper {
	LIST_ENTRY(sleeper) link;
	struct labd *d;
	struct MHD_Connection *conn;
	struct stream *stream;
	bool asleep, gone;
	sd_event_source *hangup;
};

struct api {
	struct MHD_Daemon *daemon;
	sd_event_source *source, *timer;
	LIST_HEAD(, sleeper) sleepers;
	unsigned int suspended;
	atomic_bool closing;
	int ending;
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

static void fall_asleep(struct sleeper *sl)
{
	sl->asleep = true;
	sl->d->api->suspended++;
	MHD_suspend_connection(sl->conn);
	(void)sd_event_source_set_enabled(sl->hangup, SD_EVENT_ON);
}

static void rouse(struct sleeper *sl)
{
	if (!sl->asleep)
		return;
	sl->asleep = false;
	sl->d->api->suspended--;
	(void)sd_event_source_set_enabled(sl->hangup, SD_EVENT_OFF);
	MHD_resume_connection(sl->conn);
}

static int on_hangup(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct sleeper *sl = arg;
	struct labd *d = sl->d;

	(void)source, (void)fd, (void)revents;
	sl->gone = true;
	rouse(sl);
	run_daemon(d);
	return 0;
}

static void wake(struct labd *d, void *arg)
{
	struct sleeper *sl;

	(void)arg;
	atomic_store(&d->waking, false);
	if (!d->api || !d->api->daemon)
		return;
	LIST_FOREACH(sl, &d->api->sleepers, link)
		rouse(sl);
	run_daemon(d);
}

void api_wake_followers(struct labd *d)
{
	if (!atomic_exchange(&d->waking, true))
		loop_post(d, wake, NULL);
}

int api_ending(const struct labd *d)
{
	return d->api ? d->api->ending : -EBADF;
}

static ssize_t read_stream(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct sleeper *sl = arg;
	ssize_t n;

	(void)pos;
	if (sl->gone)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = sl->d->api->closing ? -1 : stream_read(sl->stream, buf, max);
	if (n < 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!n)
		fall_asleep(sl);
	return n;
}

static void free_sleeper(void *arg)
{
	struct sleeper *sl = arg;

	LIST_REMOVE(sl, link);
	sd_event_source_disable_unref(sl->hangup);
	stream_free(sl->stream);
	free(sl);
}

static int fd_of(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -EBADF;
}

/* A stream may be silent, and its client may be slow, for hours */
static void set_idle_time(struct MHD_Connection *conn, unsigned int seconds)
{
	MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
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
	/* no events asked for: a hang-up is always told, and half-closed is not gone */
	if (sd_event_add_io(q->d->event, &sl->hangup, fd_of(q->conn), 0, on_hangup, sl) >= 0)
		(void)sd_event_source_set_enabled(sl->hangup, SD_EVENT_OFF);
	set_idle_time(q->conn, 0);
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
	case EAGAIN:
	case ESHUTDOWN:
		return 503;
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
	if (q->status || !q->len || q->route->flags & ROUTE_RAW)
		return;
	if (jsonl_parse(q->body, q->len, &q->json) < 0)
		q->status = lab_fail(&q->err, -EINVAL, "the body is not JSON");
	else if (!json_is_object(q->json))
		q->status = lab_fail(&q->err, -EINVAL, "the body is not a JSON object");
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

	if (!q->status && q->d->api->closing)
		q->status = lab_fail(&q->err, -ESHUTDOWN, "labd is ending");
	if (!q->status)
		q->status = q->route->run(q);
	loop_post(q->d, resume, q);
}

static void dispatch(struct request *q)
{
	int r;

	q->dispatched = true;
	if (!q->status && q->d->api->closing)
		q->status = lab_fail(&q->err, -ESHUTDOWN, "labd is ending");
	parse_body(q);
	if (q->status || q->route->flags & ROUTE_QUICK) {
		if (!q->status)
			q->status = q->route->run(q);
		q->done = true;
		return;
	}
	MHD_suspend_connection(q->conn);
	q->d->api->suspended++;
	r = work_submit(q->d->calls, run_request, q);
	if (r < 0) {
		q->status = lab_fail_errno(&q->err, r, "labd has too much to do");
		loop_post(q->d, resume, q);
	}
}

static bool peer_is_us(struct MHD_Connection *conn)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(fd_of(conn), SOL_SOCKET, SO_PEERCRED, &cred, &len) &&
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

	if (q->len + len > REQUEST_MAX_BODY)
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

	(void)arg;
	if (!q)
		return;
	if (toe == MHD_REQUEST_TERMINATED_COMPLETED_OK) /* it may be asked again */
		set_idle_time(conn, IDLE_SECONDS);
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

static int start_daemon(struct labd *d, int fd)
{
	d->api->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, d,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
		MHD_OPTION_CONNECTION_LIMIT, 2000u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)(16 << 10), MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
	return d->api->daemon ? 0 : -EIO;
}

int api_open(struct labd *d, struct lab_err *err)
{
	autoclose int fd = io_listen_unix(d->paths.socket, SOCK_STREAM | SOCK_NONBLOCK, 0600);
	const union MHD_DaemonInfo *info;
	struct api *a;
	int r;

	if (fd < 0)
		return lab_fail_errno(err, fd, "socket %s", d->paths.socket);
	d->calls = work_new(CALLS_AT_ONCE, WORK_NO_LIMIT);
	d->execs = work_new(EXECS_AT_ONCE, 0);
	a = d->api = calloc(1, sizeof(*d->api));
	if (!a || !d->calls || !d->execs)
		return lab_fail(err, -ENOMEM, "out of memory");
	LIST_INIT(&a->sleepers);
	a->ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->ending < 0)
		return lab_fail_errno(err, -errno, "eventfd");
	if (start_daemon(d, fd) < 0)
		return lab_fail(err, -EIO, "libmicrohttpd does not start");
	(void)steal_fd(&fd); /* it is libmicrohttpd's now */
	info = MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	r = sd_event_add_io(d->event, &a->source, info->epoll_fd, EPOLLIN, on_ready, d);
	if (r >= 0)
		r = sd_event_add_time(d->event, &a->timer, CLOCK_MONOTONIC, UINT64_MAX, 1, on_timer,
				      d);
	return r < 0 ? lab_fail_errno(err, r, "event loop") : 0;
}

/* Run the loop until no connection is suspended, so that all get their answers */
static void finish_answers(struct labd *d)
{
	uint64_t until = num_now_us() + ENDING_US, now;

	while (d->api->suspended && (now = num_now_us()) < until)
		if (sd_event_run(d->event, until - now) < 0)
			break;
}

static void abort_agents(struct labd *d)
{
	struct instance *in;
	struct lab *lab;

	SCOPED_LOCK(&d->lock);
	TAILQ_FOREACH(lab, &d->labs, link)
		TAILQ_FOREACH(in, &lab->instances, link)
			if (in->guest)
				agent_abort(in->guest->agent);
}

/*
 * Have programs in guests killed, which takes their agents a moment; then give
 * up those whose agents do not answer
 */
static void end_execs(struct labd *d)
{
	if (!work_wait(d->execs, ENDING_US / 1000))
		abort_agents(d);
	d->execs = work_free(d->execs);
}

void api_close(struct labd *d)
{
	struct api *a = d->api;

	if (a && a->daemon) {
		a->closing = true;
		(void)eventfd_write(a->ending, 1);
		wake(d, NULL);
		unlink(d->paths.socket);
		finish_answers(d);
	}
	d->calls = work_free(d->calls);
	if (a && a->daemon) {
		finish_answers(d);
		if (!a->suspended) /* libmicrohttpd insists on that */
			MHD_stop_daemon(a->daemon);
	}
	if (d->execs)
		end_execs(d);
	if (!a)
		return;
	sd_event_source_disable_unref(a->source);
	sd_event_source_disable_unref(a->timer);
	if (a->ending > 0)
		close(a->ending);
	d->api = NULL;
	free(a);
}
