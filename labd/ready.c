// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ready.c - whether an instance is ready: real probes
 *
 * DOC: Theory of Operation
 *
 * Probes are waited for one after the other, each with its own time. A cheap one
 * (tcp, agent) is tried every half a second, or as soon as the last try has
 * ended; an expensive one (http, exec) ever less often, down to every 2 s; the
 * console is not tried, the kernel tells when it has grown.
 *
 * A wait ends early if the guest has ended or the job was asked to stop; both
 * are asked for at least twice a second. When it fails, a person reads what was
 * waited for, how long, what the last try said, and what the console shows: that is
 * nearly always where the reason is.
 */
#define _GNU_SOURCE
#include "labd/ready.h"

#include "labd/ready_impl.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>

#define CHECK_TIME 500000 /* us; how often alive() and cancelled() are asked */
#define PAUSE_MIN 500000
#define PAUSE_MAX 2000000
#define AGENT_TIME 1000000 /* us; of the first try, doubled with each up to AGENT_MAX */
#define AGENT_MAX 8000000
#define EXEC_TIME 60000000
#define DEFAULT_TIMEOUT 300 /* s; a specification has its own everywhere */
#define CONSOLE_LINES 10

int ready_wait_fd(const struct ready_try *t, int fd, short events, uint64_t until)
{
	const struct ready *ready = t->ready;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t now = num_now_us(), end = MIN(until, t->deadline);

		if (ready->cancelled && ready->cancelled(ready->arg))
			return -ECANCELED;
		if (ready->alive && !ready->alive(ready->arg))
			return -ECHILD;
		if (now >= t->deadline)
			return -ETIMEDOUT;
		if (now >= until)
			return 0;
		if (poll(&p, 1, (int)((MIN(end - now, (uint64_t)CHECK_TIME) + 999) / 1000)) > 0)
			return 1;
	}
}

/* ---- probes by the guest agent -------------------------------------------- */

static int try_agent(struct ready_try *t, uint64_t time)
{
	struct lab_err err = LAB_ERR_INIT;
	int r = agent_ping(t->ready->agent, MIN(t->deadline, num_now_us() + time), &err);

	if (!r)
		return 1;
	snprintf(t->last, sizeof(t->last), "%.280s", err.text);
	return 0;
}

/**
 * struct exec_words - the last that a probe's program wrote
 * @try:	for @cancelled
 * @text, @len:	its first bytes; a message is short
 */
struct exec_words {
	const struct ready_try *try;
	char text[200];
	size_t len;
};

static void on_output(void *arg, int stream, const void *data, size_t len)
{
	struct exec_words *w = arg;
	size_t n = MIN(len, sizeof(w->text) - 1 - w->len);

	(void)stream;
	memcpy(w->text + w->len, data, n);
	w->len += n;
}

static bool on_cancelled(void *arg)
{
	const struct exec_words *w = arg;
	const struct ready *ready = w->try->ready;

	return (ready->cancelled && ready->cancelled(ready->arg)) ||
	       (ready->alive && !ready->alive(ready->arg));
}

/* What a program that failed said, on one line */
static void exec_failed(struct ready_try *t, struct exec_words *w, int status)
{
	size_t len;

	w->text[strnlen(w->text, w->len)] = '\0';
	text_clean(w->text);
	for (char *p = w->text; (p = strchr(p, '\n'));)
		*p = ' ';
	len = strlen(w->text);
	while (len && w->text[len - 1] == ' ')
		w->text[--len] = '\0';
	if (status >= 256)
		snprintf(t->last, sizeof(t->last), "ended by signal %d", status - 256);
	else
		snprintf(t->last, sizeof(t->last), "exit status %d%s%s", status, len ? ": " : "",
			 w->text);
}

static int try_exec(struct ready_try *t, const json_t *words)
{
	const char *argv[64] = { NULL };
	struct exec_words w = { .try = t };
	struct agent_exec exec = {
		.argv = argv,
		.deadline = MIN(t->deadline, num_now_us() + EXEC_TIME),
		.output = on_output,
		.cancelled = on_cancelled,
		.arg = &w,
	};
	struct lab_err err = LAB_ERR_INIT;
	int status = 0, r;

	for (size_t i = 0; i < json_array_size(words) && i + 1 < ARRAY_SIZE(argv); i++)
		argv[i] = json_string_value(json_array_get(words, i));
	r = agent_exec(t->ready->agent, &exec, &status, &err);
	if (!r && !status)
		return 1;
	if (r < 0)
		snprintf(t->last, sizeof(t->last), "%.280s", err.text);
	else
		exec_failed(t, &w, status);
	return 0;
}

/* ---- the wait --------------------------------------------------------------- */

static uint64_t agent_time(unsigned int round)
{
	return round < 3 ? (uint64_t)AGENT_TIME << round : AGENT_MAX;
}

static int try_once(struct ready_try *t, unsigned int round)
{
	const json_t *value;

	if ((value = json_object_get(t->probe, "tcp")))
		return ready_try_tcp(t, (uint16_t)json_integer_value(value));
	if ((value = json_object_get(t->probe, "http")))
		return ready_try_http(t, json_string_value(value));
	if ((value = json_object_get(t->probe, "exec")))
		return try_exec(t, value);
	if (json_object_get(t->probe, "agent"))
		return try_agent(t, agent_time(round));
	snprintf(t->last, sizeof(t->last), "labd knows no such probe");
	return -EINVAL;
}

/* Try until it succeeds or the wait ends; 0 or what ended it */
static int wait_probe(struct ready_try *t)
{
	const char *regex = json_string_value(json_object_get(t->probe, "console"));
	bool cheap = json_object_get(t->probe, "tcp") || json_object_get(t->probe, "agent");
	uint64_t pause = PAUSE_MIN;
	int r;

	if (regex) {
		r = ready_wait_console(t, regex);
		return r > 0 ? 0 : r;
	}
	for (unsigned int round = 0;; round++) {
		uint64_t begin = num_now_us();

		r = try_once(t, round);
		if (r > 0)
			return 0;
		if (!r)
			r = ready_wait_fd(t, -1, 0, begin + pause);
		if (r < 0)
			return r;
		if (!cheap)
			pause = MIN(pause * 3 / 2, (uint64_t)PAUSE_MAX);
	}
}

/* Tell a person what was waited for, how long, and what there was to see */
static int wait_failed(const struct ready_try *t, int code, struct lab_err *err)
{
	char what[128], waited[NUM_TEXT], tail[1300];
	const char *verb = code == -ECHILD	? "the guest ended while waiting for"
			   : code == -ECANCELED ? "cancelled while waiting for"
						: "waited for";

	ready_text(t->probe, what, sizeof(what));
	num_seconds_text(waited, (num_now_us() - t->begin + 500000) / 1000000);
	if (code == -ECANCELED)
		return lab_fail(err, code, "%s %s", verb, what);
	text_tail(t->ready->console_log, t->ready->console_from, CONSOLE_LINES, "  ", tail,
		  sizeof(tail));
	return lab_fail(err, code, "%s %s, %s%s%s%s%s", verb, what, waited,
			*t->last ? "; the last try said: " : "", t->last,
			*tail ? "\nlast lines of the console:\n" : "\nnothing on the console",
			tail);
}

int ready_wait(const struct ready *ready, const json_t *probes, struct lab_err *err)
{
	json_t *probe;
	size_t i;

	json_array_foreach(probes, i, probe) {
		json_t *timeout = json_object_get(probe, "timeout");
		double seconds = timeout ? json_number_value(timeout) : DEFAULT_TIMEOUT;
		struct ready_try t = { .ready = ready, .probe = probe, .begin = num_now_us() };
		char what[128];
		int r;

		t.deadline = t.begin + (uint64_t)(seconds * 1e6);
		if (ready->step)
			ready->step(ready->arg, ready_text(probe, what, sizeof(what)));
		r = wait_probe(&t);
		if (r < 0)
			return wait_failed(&t, r, err);
	}
	return 0;
}

/* "exec systemctl is-active mariadb" */
static void exec_text(const json_t *words, char *buf, size_t len)
{
	size_t n = (size_t)snprintf(buf, len, "exec");

	for (size_t i = 0; i < json_array_size(words) && n < len; i++)
		n += (size_t)snprintf(buf + n, len - n, " %s",
				      json_string_value(json_array_get(words, i)));
}

const char *ready_text(const json_t *probe, char *buf, size_t len)
{
	const json_t *value;
	const char *url;

	if ((value = json_object_get(probe, "tcp"))) {
		snprintf(buf, len, "tcp %" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else if ((value = json_object_get(probe, "http"))) {
		url = json_string_value(value);
		if (url && !strncmp(url, "http://", 7))
			url += 7;
		snprintf(buf, len, "http %s", url ? url : "?");
	} else if ((value = json_object_get(probe, "exec"))) {
		exec_text(value, buf, len);
	} else if ((value = json_object_get(probe, "console"))) {
		snprintf(buf, len, "console line '%s'", json_string_value(value));
	} else {
		snprintf(buf, len, "%s",
			 json_object_get(probe, "agent") ? "guest agent" : "unknown probe");
	}
	return buf;
}
