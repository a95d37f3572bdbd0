// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * agent.c - the guest agent (qemu-ga) of an instance, which is untrusted
 *
 * DOC: Theory of Operation
 *
 * Whoever is root in the guest answers here. One reply is bounded in length,
 * depth and number of values (lib/jsonl), one call in time; what a flood
 * brings is dropped as it is read.
 *
 * The agent's protocol has no ids, and its channel keeps what an earlier client
 * left: half a request, a late reply. So each connection begins with
 * guest-sync-delimited: the agent writes 0xff before that reply, everything
 * up to there is thrown away, and the reply carries our random number. After
 * a call that timed out or read nonsense the connection is closed; the next
 * call connects and synchronises anew.
 *
 * Before the agent runs, QEMU holds back what we write until the guest opens the
 * channel, so a request waits there and no polling is needed; but a guest
 * that reboots loses it, hence the sync is repeated every SYNC_AGAIN.
 */
#define _GNU_SOURCE
#include "labd/agent.h"

#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

/* A piece of a program's output is the longest honest reply: see EXEC_CHUNK */
#define MAX_LINE (2 << 20)
#define MAX_VALUES 8192 /* guest-info has some 400 */
#define SYNC_AGAIN 2000000 /* us */
#define AGENT_WORDS 400

/**
 * struct agent - the agent behind one socket
 * @path:	QEMU's end of the channel
 * @lock:	one call at a time; guards all below
 * @sock:	-EBADF while not connected
 * @in:		reader of @sock
 * @synchronised: the agent has answered on this connection
 * @sock_lock:	held where @sock changes, so that another thread may shut it down
 * @aborted:	no more calls; guarded by @sock_lock
 */
struct agent {
	char *path;
	pthread_mutex_t lock;
	int sock;
	struct jsonl in;
	bool synchronised;
	pthread_mutex_t sock_lock;
	bool aborted;
};

struct agent *agent_new(const char *path)
{
	struct agent *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->sock = -EBADF;
	a->path = strdup(path);
	if (!a->path) {
		free(a);
		return NULL;
	}
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->sock_lock, NULL);
	return a;
}

static void disconnect(struct agent *a)
{
	if (a->sock < 0)
		return;
	jsonl_done(&a->in);
	pthread_mutex_lock(&a->sock_lock);
	close(steal_fd(&a->sock));
	pthread_mutex_unlock(&a->sock_lock);
}

void agent_abort(struct agent *a)
{
	SCOPED_LOCK(&a->sock_lock);
	a->aborted = true;
	if (a->sock >= 0)
		(void)shutdown(a->sock, SHUT_RDWR);
}

struct agent *agent_free(struct agent *a)
{
	if (!a)
		return NULL;
	disconnect(a);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->sock_lock);
	free(a->path);
	free(a);
	return NULL;
}

/*
 * Throw away what comes until just behind a 0xff byte; looking (MSG_PEEK)
 * before taking leaves the reply itself for the reader of lines.
 */
static int skip_to_mark(int sock, uint64_t deadline)
{
	char buf[4096];

	for (;;) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		uint64_t now = num_now_us();
		const char *mark;
		ssize_t n;

		if (now >= deadline)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)((MIN(deadline - now, (uint64_t)60000000) + 999) / 1000)) <= 0)
			continue;
		n = recv(sock, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		mark = memchr(buf, 0xff, (size_t)n);
		if (mark)
			n = mark + 1 - buf;
		if (recv(sock, buf, (size_t)n, MSG_DONTWAIT) != n)
			return -EPROTO;
		if (mark)
			return 0;
	}
}

/* Read replies until the one to sync number @id */
static int find_sync(struct agent *a, json_int_t id, uint64_t deadline)
{
	for (;;) {
		autojson json_t *msg = NULL;
		int r = skip_to_mark(a->sock, deadline);

		if (r < 0)
			return r;
		jsonl_done(&a->in);
		jsonl_init(&a->in, a->sock, MAX_LINE);
		a->in.max_values = MAX_VALUES;
		r = jsonl_next(&a->in, deadline, &msg);
		if (!r)
			return -ECONNRESET;
		if (r == -EPROTO)
			continue;
		if (r < 0)
			return r;
		if (json_integer_value(json_object_get(msg, "return")) == id)
			return 0;
	}
}

static int synchronise(struct agent *a, uint64_t deadline)
{
	json_int_t id = 0;

	/* 0xff makes the agent forget half a request of an earlier client */
	if (send(a->sock, "\xff", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
		return -errno;
	for (;;) {
		uint64_t until = MIN(deadline, num_now_us() + SYNC_AGAIN);
		autojson json_t *msg = NULL;
		int r;

		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return -EIO;
		id &= INT32_MAX; /* old agents read it as a double */
		id |= 1;
		msg = json_pack("{s:s, s:{s:I}}", "execute", "guest-sync-delimited", "arguments",
				"id", id);
		if (!msg)
			return -ENOMEM;
		r = jsonl_write(a->sock, msg, until);
		if (!r)
			r = find_sync(a, id, until);
		if (r != -ETIMEDOUT || num_now_us() >= deadline)
			return r;
	}
}

static int open_channel(struct agent *a, const char *path)
{
	int r;

	pthread_mutex_lock(&a->sock_lock);
	r = a->aborted ? -ECANCELED : io_connect_unix(path, SOCK_STREAM | SOCK_NONBLOCK);
	a->sock = r < 0 ? -EBADF : r;
	pthread_mutex_unlock(&a->sock_lock);
	if (r < 0)
		return r == -EAGAIN ? -EBUSY : r;
	jsonl_init(&a->in, a->sock, MAX_LINE);
	a->synchronised = false;
	return 0;
}

void agent_open(struct agent *a, const char *path)
{
	SCOPED_LOCK(&a->lock);

	if (a->sock < 0)
		(void)open_channel(a, path);
}

/* @again: also if it has answered on this connection */
static int connect_agent(struct agent *a, bool again, uint64_t deadline)
{
	int r = a->sock < 0 ? open_channel(a, a->path) : 0;

	if (!r && (again || !a->synchronised))
		r = synchronise(a, deadline);
	a->synchronised = !r;
	if (r < 0)
		disconnect(a);
	return r;
}

static int connect_failed(struct agent *a, int code, struct lab_err *err)
{
	switch (code) {
	case -ENOENT:
	case -ECONNREFUSED:
		return lab_fail(err, -ECONNREFUSED, "no QEMU serves the guest agent's channel (%s)",
				a->path);
	case -ECONNRESET:
	case -EPIPE:
		return lab_fail(err, -ECONNRESET, "QEMU closed the guest agent's channel");
	case -EBUSY:
		return lab_fail(err, -ETIMEDOUT, "somebody else uses the guest agent (%s)",
				a->path);
	case -ETIMEDOUT:
		return lab_fail(err, code,
				"the guest agent does not answer (the guest is not up yet, or has "
				"no qemu-guest-agent)");
	case -EMSGSIZE:
		return lab_fail(err, -EPROTO, "the guest agent answers with endless lines");
	default:
		return lab_fail_errno(err, code, "guest agent (%s)", a->path);
	}
}

/* The agent's own words */
static int refused(const json_t *reply, const char *command, struct lab_err *err)
{
	const char *desc =
		json_string_value(json_object_get(json_object_get(reply, "error"), "desc"));
	char words[AGENT_WORDS];

	snprintf(words, sizeof(words), "%s", desc ? desc : "no reason given");
	return lab_fail(err, -EIO, "the guest agent refused %s: %s", command, text_clean(words));
}

static int call_failed(int code, const char *command, struct lab_err *err)
{
	switch (code) {
	case -ETIMEDOUT:
		return lab_fail(err, code, "the guest agent did not answer %s in time", command);
	case -ECONNRESET:
	case -EPIPE:
		return lab_fail(err, -ECONNRESET, "QEMU closed the guest agent's channel at %s",
				command);
	case -EPROTO:
	case -EMSGSIZE:
		return lab_fail(err, -EPROTO, "the guest agent's reply to %s makes no sense",
				command);
	default:
		return lab_fail_errno(err, code, "guest agent, %s", command);
	}
}

static int exchange(struct agent *a, const json_t *msg, uint64_t deadline, json_t **ret)
{
	autojson json_t *reply = NULL;
	int r = jsonl_write(a->sock, msg, deadline);

	if (!r)
		r = jsonl_next(&a->in, deadline, &reply);
	if (r <= 0)
		return r ? r : -ECONNRESET;
	if (!json_object_get(reply, "return") && !json_object_get(reply, "error"))
		return -EPROTO;
	*ret = steal_ptr(reply);
	return 0;
}

static int call_locked(struct agent *a, const char *command, json_t *args, uint64_t deadline,
		       json_t **ret, struct lab_err *err)
{
	autojson json_t *msg = json_pack("{s:s, s:O*}", "execute", command, "arguments", args);
	autojson json_t *reply = NULL;
	int r;

	if (!msg)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = connect_agent(a, false, deadline);
	if (r < 0)
		return connect_failed(a, r, err);
	r = exchange(a, msg, deadline, &reply);
	if (r < 0) {
		disconnect(a);
		return call_failed(r, command, err);
	}
	if (json_object_get(reply, "error"))
		return refused(reply, command, err);
	if (ret)
		*ret = json_incref(json_object_get(reply, "return"));
	return 0;
}

static int lock(struct agent *a, const char *what, uint64_t deadline, struct lab_err *err)
{
	struct timespec until = { .tv_sec = (time_t)(deadline / 1000000),
				  .tv_nsec = (long)(deadline % 1000000) * 1000 };

	if (pthread_mutex_clocklock(&a->lock, CLOCK_MONOTONIC, &until))
		return lab_fail(err, -ETIMEDOUT,
				"%s: other requests kept the guest agent busy until the time-out",
				what);
	return 0;
}

int agent_call(struct agent *a, const char *command, json_t *args, uint64_t deadline, json_t **ret,
	       struct lab_err *err)
{
	autojson json_t *owned = args;
	int r = lock(a, command, deadline, err);

	if (r < 0)
		return r;
	r = call_locked(a, command, owned, deadline, ret, err);
	pthread_mutex_unlock(&a->lock);
	return r;
}

int agent_ping(struct agent *a, uint64_t deadline, struct lab_err *err)
{
	int r = lock(a, "ping", deadline, err);

	if (r < 0)
		return r;
	r = connect_agent(a, true, deadline);
	pthread_mutex_unlock(&a->lock);
	return r < 0 ? connect_failed(a, r, err) : 0;
}
