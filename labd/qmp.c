// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qmp.c - QEMU's monitor, spoken to a peer that may have been taken over
 *
 * DOC: Theory of Operation
 *
 * A guest that broke out of QEMU speaks in its place here. So a reply is
 * bounded in length, depth and number of values (lib/jsonl), and the time of a
 * call in all, whatever arrives meanwhile: a stream of events does not extend
 * it. What QEMU says about an error is cleaned before a person sees it.
 *
 * Every command carries an id. A reply with another one, and any reply after
 * a call that timed out, would be taken for the answer to a wrong question;
 * so after the first such failure the connection is dead: the socket is shut
 * down and each later call fails with what killed it.
 */
#define _GNU_SOURCE
#include "labd/qmp.h"

#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define QEMU_WORDS 400 /* of an error of QEMU's that we repeat */

/**
 * struct qmp - a connection to a monitor
 * @sock:	owned, not blocking
 * @in:		reader of @sock
 * @lock:	one call at a time
 * @id:		of the last command
 * @settled:	a reply of ours has come
 * @dead:	what killed the connection; 0 while it is good
 */
struct qmp {
	int sock;
	struct jsonl in;
	pthread_mutex_t lock;
	uint64_t id;
	bool settled;
	int dead;
};

/* Nothing that arrives from now on is to be believed */
static int kill_connection(struct qmp *q, int code)
{
	q->dead = code;
	shutdown(q->sock, SHUT_RDWR);
	return code;
}

/* Why talking to the monitor failed, in words */
static int talk_failed(struct lab_err *err, int code, const char *what)
{
	switch (code) {
	case -ETIMEDOUT:
		return lab_fail(err, code, "QEMU's monitor did not answer %s in time", what);
	case -ECONNRESET:
	case -EPIPE:
		return lab_fail(err, -ECONNRESET, "QEMU closed its monitor at %s", what);
	case -EMSGSIZE:
		return lab_fail(err, -EPROTO, "QEMU's reply to %s is longer than %d bytes", what,
				QMP_MAX_LINE);
	case -EPROTO:
		return lab_fail(err, code, "QEMU's reply to %s is not a monitor's", what);
	default:
		return lab_fail_errno(err, code, "QEMU's monitor, %s", what);
	}
}

/* The next message; no blank or irrelevant line extends @deadline */
static int next_message(struct qmp *q, uint64_t deadline, json_t **ret)
{
	autojson json_t *msg = NULL;
	int r;

	if (num_now_us() >= deadline)
		return -ETIMEDOUT;
	r = jsonl_next(&q->in, deadline, &msg);
	if (r <= 0)
		return r ? r : -ECONNRESET;
	if (!json_is_object(msg))
		return -EPROTO;
	*ret = steal_ptr(msg);
	return 0;
}

/* QEMU's own words of an error reply */
static int refused(const json_t *reply, const char *command, struct lab_err *err)
{
	const char *desc =
		json_string_value(json_object_get(json_object_get(reply, "error"), "desc"));
	char words[QEMU_WORDS];

	snprintf(words, sizeof(words), "%s", desc ? desc : "no reason given");
	return lab_fail(err, -EIO, "QEMU refused %s: %s", command, text_clean(words));
}

static bool is_reply(const json_t *msg)
{
	return json_object_get(msg, "return") || json_object_get(msg, "error");
}

/*
 * Wait for the reply to command number q->id; events in between are dropped. QEMU
 * gives the reply to a command whose client has gone to the next client: until we
 * have had a reply of our own, others are dropped as well.
 */
static int read_reply(struct qmp *q, uint64_t deadline, json_t **ret)
{
	for (;;) {
		autojson json_t *msg = NULL;
		json_t *id;
		int r = next_message(q, deadline, &msg);

		if (r < 0)
			return r;
		if (json_object_get(msg, "event"))
			continue;
		id = json_object_get(msg, "id");
		if (!json_is_integer(id) || (uint64_t)json_integer_value(id) != q->id) {
			if (q->settled || !is_reply(msg))
				return -EPROTO;
			continue;
		}
		if (!is_reply(msg))
			return -EPROTO;
		q->settled = true;
		*ret = steal_ptr(msg);
		return 0;
	}
}

static int call_locked(struct qmp *q, const char *command, json_t *args, uint64_t deadline,
		       json_t **ret, struct lab_err *err)
{
	autojson json_t *msg = NULL, *reply = NULL;
	int r;

	if (q->dead)
		return lab_fail(err, q->dead, "QEMU's monitor was given up before (%s)",
				strerror(-q->dead));
	msg = json_pack("{s:s, s:O*, s:I}", "execute", command, "arguments", args, "id",
			(json_int_t)++q->id);
	if (!msg)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = jsonl_write(q->sock, msg, deadline);
	if (!r)
		r = read_reply(q, deadline, &reply);
	if (r < 0)
		return kill_connection(q, talk_failed(err, r, command));
	if (json_object_get(reply, "error"))
		return refused(reply, command, err);
	if (ret)
		*ret = json_incref(json_object_get(reply, "return"));
	return 0;
}

int qmp_call(struct qmp *q, const char *command, json_t *args, uint64_t deadline, json_t **ret,
	     struct lab_err *err)
{
	autojson json_t *owned = args;
	struct timespec until = { .tv_sec = (time_t)(deadline / 1000000),
				  .tv_nsec = (long)(deadline % 1000000) * 1000 };
	int r;

	if (pthread_mutex_clocklock(&q->lock, CLOCK_MONOTONIC, &until))
		return lab_fail(err, -ETIMEDOUT,
				"%s: another command kept QEMU's monitor busy until the time-out",
				command);
	r = call_locked(q, command, owned, deadline, ret, err);
	pthread_mutex_unlock(&q->lock);
	return r;
}

/*
 * QEMU serves one client and lets one more wait. With that place taken too, a
 * connect() would block; it fails here, and is not worth another try.
 */
static int connect_monitor(const char *path, struct lab_err *err)
{
	int sock = io_connect_unix(path, SOCK_STREAM | SOCK_NONBLOCK);

	if (sock == -EAGAIN)
		return lab_fail(err, -ETIMEDOUT, "%s: somebody else uses QEMU's monitor", path);
	return sock < 0 ? lab_fail_errno(err, sock, "%s", path) : sock;
}

static int negotiate(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	autojson json_t *greeting = NULL;
	int r = next_message(q, deadline, &greeting);

	while (!r && is_reply(greeting)) {
		json_decref(greeting);
		greeting = NULL;
		r = next_message(q, deadline, &greeting);
	}
	if (!r && !json_is_object(json_object_get(greeting, "QMP")))
		r = -EPROTO;
	if (r < 0)
		return talk_failed(err, r, "the greeting");
	/* a number that no client before us can have used for the reply that it left */
	q->id = num_now_us();
	r = qmp_call(q, "qmp_capabilities", NULL, deadline, NULL, err);
	q->id = 0;
	return r;
}

int qmp_open(const char *path, uint64_t deadline, struct qmp **ret, struct lab_err *err)
{
	struct qmp *q;
	int sock, r;

	sock = connect_monitor(path, err);
	if (sock < 0)
		return sock;
	q = calloc(1, sizeof(*q));
	if (!q) {
		close(sock);
		return lab_fail(err, -ENOMEM, "out of memory");
	}
	q->sock = sock;
	pthread_mutex_init(&q->lock, NULL);
	jsonl_init(&q->in, sock, QMP_MAX_LINE);
	r = negotiate(q, deadline, err);
	if (r < 0) {
		qmp_close(q);
		return r == -EIO ? -EPROTO : r;
	}
	*ret = q;
	return 0;
}

struct qmp *qmp_close(struct qmp *q)
{
	if (!q)
		return NULL;
	jsonl_done(&q->in);
	close(q->sock);
	pthread_mutex_destroy(&q->lock);
	free(q);
	return NULL;
}

int qmp_fd(const struct qmp *q)
{
	return q->sock;
}

int qmp_event(struct qmp *q, json_t **ret)
{
	autojson json_t *msg = NULL;
	int r;

	SCOPED_LOCK(&q->lock);
	if (q->dead)
		return 0;
	r = jsonl_next(&q->in, 0, &msg);
	if (r == -EAGAIN)
		return r;
	if (r <= 0 && r != -EPROTO && r != -EMSGSIZE) {
		kill_connection(q, -ECONNRESET);
		return 0;
	}
	if (r < 0 || !json_is_string(json_object_get(msg, "event")))
		return kill_connection(q, -EPROTO);
	*ret = steal_ptr(msg);
	return 1;
}
