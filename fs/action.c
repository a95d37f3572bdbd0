// SPDX-License-Identifier: GPL-2.0-or-later
/* action.c - ask something of labd for a request that waits, off the loop */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 35
#include "fs/action.h"

#include "fs/mirror.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define WORKER_STACK (256 << 10) /* libcurl's own buffers are on the heap */

static struct {
	const char *socket;
	pthread_mutex_t lock; /* of the queue and the counts */
	pthread_cond_t queued;
	struct pending *first, **last;
	unsigned int length, workers, idle;
	pthread_mutex_t answer; /* of struct pending's answered */
	pthread_mutex_t error_lock;
	char *error;
	double error_time;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER,
	   .answer = PTHREAD_MUTEX_INITIALIZER,
	   .error_lock = PTHREAD_MUTEX_INITIALIZER };

void action_done(struct action *action)
{
	json_decref(action->body);
	json_decref(action->answer);
	*action = (struct action){ 0 };
}

void action_init(const char *socket)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&pool.queued, &attr);
	pthread_condattr_destroy(&attr);
	pool.socket = socket;
	pool.last = &pool.first;
}

void action_refuse(const char *where, enum kind kind, uint32_t id, const struct lab_err *err)
{
	char *text = NULL;

	if (kind != KIND_NONE)
		model_fail(kind, id, err->text);
	if (asprintf(&text, "%s: %s", where, err->text) < 0)
		return;
	SCOPED_LOCK(&pool.error_lock);
	free(pool.error);
	pool.error = text;
	pool.error_time = num_wall();
}

char *action_last_error(double *ret_time)
{
	SCOPED_LOCK(&pool.error_lock);

	*ret_time = pool.error_time;
	return pool.error ? strdup(pool.error) : NULL;
}

/* What a worker waits for */
struct wait {
	const struct action *action;
	uint64_t seq, deadline;
	struct lab_err *err;
};

static bool note_seq(void *arg, json_t *event)
{
	struct wait *w = arg;

	w->seq = MAX(w->seq, (uint64_t)json_integer_value(json_object_get(event, "seq")));
	return true;
}

static bool in_time(void *arg)
{
	const struct wait *w = arg;

	return num_now_us() < w->deadline;
}

static int seq_reached(void *arg)
{
	const struct wait *w = arg;

	return model_seq() >= w->seq;
}

/*
 * Wait until the model shows what labd has done up to now. That it does not in
 * time is no failure: labd has accepted the action.
 */
static void show(struct client *client, uint64_t deadline)
{
	struct wait w = { .seq = model_seq(), .deadline = deadline };
	struct lab_err err = LAB_ERR_INIT;
	char path[CLIENT_PATH];

	snprintf(path, sizeof(path), "/v1/events?since=%" PRIu64, w.seq);
	if (!client_lines(client, "GET", path, NULL, note_seq, in_time, &w, &err))
		model_wait(seq_reached, &w, deadline);
}

static bool is_there(const struct action *a)
{
	autoitem struct item item = { 0 };

	if (a->until == UNTIL_GONE)
		return model_exists(a->kind, a->id);
	return model_find(a->kind, a->lab, a->name, &item);
}

/* 1: it is as wanted; 0: not yet; negative errno: it will never be */
static int settled(void *arg)
{
	const struct wait *w = arg;
	bool there = is_there(w->action);
	char text[LAB_ERR_TEXT];
	int r;

	if (there == (w->action->until == UNTIL_APPEARED))
		return 1;
	r = model_job(w->action->job, text);
	if (r < 0)
		return lab_fail(w->err, r, "%s", text);
	if (!model_is_online())
		return lab_fail(w->err, -ECONNREFUSED, "labd went away meanwhile");
	return 0;
}

/* The same of a value */
static int known(void *arg)
{
	const struct wait *w = arg;
	autoitem struct item item = { 0 };
	const char *value;

	if (!model_get(w->action->kind, w->action->id, &item))
		return lab_fail(w->err, -ENODEV, "it is gone");
	value = json_string_value(json_object_get(item.json, w->action->key));
	if (value && *value)
		return 1;
	value = json_string_value(json_object_get(item.json, "error"));
	if (value && *value)
		return lab_fail(w->err, -EIO, "%s", value);
	if (!model_is_online())
		return lab_fail(w->err, -ECONNREFUSED, "labd went away meanwhile");
	return 0;
}

static int wait_until_known(struct wait *w)
{
	int r = model_wait(known, w, w->deadline);

	if (r == -ETIMEDOUT)
		lab_fail(w->err, r, "labd does not know its %s yet: ask again later",
			 w->action->key);
	return MIN(r, 0);
}

static int job_ended(void *arg)
{
	const struct wait *w = arg;
	char text[LAB_ERR_TEXT];

	return model_job(w->action->job, text) <= 0 || !model_is_online();
}

/* Until then the lab is claimed: who destroys one thing after the other meets no EBUSY */
static void wait_for_job(struct wait *w)
{
	if (w->action->until == UNTIL_GONE && w->action->job)
		model_wait(job_ended, w, num_now_us() + ACTION_MS * 1000ULL);
}

static bool is_as_wanted(const struct action *a)
{
	autoitem struct item item = { 0 };
	const char *state;

	if (!a->wanted || !model_get(a->kind, a->id, &item))
		return false;
	state = json_string_value(json_object_get(item.json, "state"));
	return state && !strcmp(state, a->wanted);
}

static int ask(struct client *client, struct action *a, uint64_t deadline, struct lab_err *err)
{
	struct wait w = { .action = a, .deadline = deadline, .err = err };
	autojson json_t *answer = NULL;
	int r;

	r = client_call(client, a->method, a->path, steal_ptr(a->body), &answer, NULL, err);
	if (r == -ECONNRESET || r == -EPIPE || r == -ENOTCONN)
		r = -ECONNREFUSED; /* labd died over it: it is down */
	if (r >= 0 && a->until == UNTIL_ANSWERED)
		a->answer = steal_ptr(answer);
	if (a->until == UNTIL_ANSWERED || (r < 0 && r != -EBUSY && r != -EEXIST && r != -EALREADY))
		return r;
	show(client, deadline);
	if (r < 0)
		return is_as_wanted(a) ? 0 : r;
	a->job = (uint64_t)json_integer_value(json_object_get(answer, "job"));
	if (a->until == UNTIL_SHOWN)
		return 0;
	if (a->until == UNTIL_KNOWN) {
		a->answered = true;
		return wait_until_known(&w);
	}
	r = model_wait(settled, &w, a->job ? UINT64_MAX : deadline);
	if (r == -ETIMEDOUT)
		lab_fail(err, r, "labd has accepted it but does not show it");
	if (r > 0)
		wait_for_job(&w);
	return MIN(r, 0);
}

/* Whether labd, which did not answer the last action in time, does not answer a simple question */
static bool hangs(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct mirror_status status;
	struct client *client;
	int r;

	mirror_status(&status);
	if (!status.stuck)
		return false;
	client = client_new(pool.socket, ACTION_PROBE_MS);
	r = client ? client_call(client, "GET", "/v1/version", NULL, NULL, NULL, &err) : -ENOMEM;
	client_free(client);
	return r == -ETIMEDOUT;
}

/* As ask(), within the time the request has left */
static int ask_in_time(struct client *client, struct pending *p, struct lab_err *err)
{
	uint64_t now = num_now_us(), left = p->deadline > now ? p->deadline - now : 0;
	struct client *hurried;
	int r;

	if (left < 10000 || hangs())
		return lab_fail(err, -ETIMEDOUT, "labd does not answer (is it stopped?)");
	if (left > ACTION_MS * 900)
		return ask(client, &p->action, p->deadline, err);
	hurried = client_new(pool.socket, (long)(left / 1000));
	if (!hurried)
		return lab_fail_errno(err, -ENOMEM, "asking labd");
	r = ask(hurried, &p->action, p->deadline, err);
	client_free(hurried);
	return r;
}

/* Take the right to answer; false if the request was interrupted, or there is none */
static bool claim(struct pending *p)
{
	bool mine;

	if (!p->req)
		return false;
	pthread_mutex_lock(&pool.answer);
	mine = !p->answered;
	p->answered = true;
	pthread_mutex_unlock(&pool.answer);
	/* Waits until interrupted() is not being called, and it never is again */
	if (mine)
		fuse_req_interrupt_func(p->req, NULL, NULL);
	return mine;
}

static void answer(struct pending *p, int result)
{
	if (!claim(p))
		p->req = NULL;
	p->finish(p, result);
	action_done(&p->action);
	free(p->where);
	free(p);
}

/* What came of it is shown with the object */
static bool is_command(const struct action *a)
{
	return a->until != UNTIL_KNOWN;
}

static void carry_out(struct client *client, struct pending *p)
{
	struct lab_err err = LAB_ERR_INIT;
	int r;

	/* Before it is asked: the job it starts may have failed when the answer is here */
	if (p->kind != KIND_NONE && is_command(&p->action))
		model_fail(p->kind, p->id, NULL);
	r = ask_in_time(client, p, &err);
	/* what is not known in time was answered about */
	mirror_answered(r != -ETIMEDOUT || p->action.answered);
	p->err = &err;
	if (r < 0 && p->action.until != UNTIL_ANSWERED)
		action_refuse(p->where, is_command(&p->action) ? p->kind : KIND_NONE, p->id, &err);
	answer(p, r);
}

/* The next in the queue, or NULL when there was none for a while */
static struct pending *take(void)
{
	struct timespec until;
	struct pending *p;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ACTION_IDLE_S;
	SCOPED_LOCK(&pool.lock);
	pool.idle++;
	while (!pool.first && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&pool.queued, &pool.lock, &until);
	pool.idle--;
	p = pool.first;
	if (!p) {
		pool.workers--;
		return NULL;
	}
	pool.first = p->next;
	if (!pool.first)
		pool.last = &pool.first;
	pool.length--;
	return p;
}

static void *worker(void *arg)
{
	struct client *client = client_new(pool.socket, ACTION_MS);
	struct lab_err err = LAB_ERR_INIT;
	struct pending *p;

	(void)arg;
	while ((p = take())) {
		if (client) {
			carry_out(client, p);
			continue;
		}
		lab_fail_errno(&err, -ENOMEM, "asking labd");
		p->err = &err;
		action_refuse(p->where, p->kind, p->id, &err);
		answer(p, -ENOMEM);
	}
	client_free(client);
	return NULL;
}

/* One more worker if all are busy; 0 or negative errno */
static int grow_locked(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	if (pool.idle > pool.length || pool.workers >= ACTION_MAX_WORKERS)
		return 0;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = -pthread_create(&thread, &attr, worker, NULL);
	pthread_attr_destroy(&attr);
	if (!r)
		pool.workers++;
	return pool.workers ? 0 : r;
}

static int enqueue(struct pending *p)
{
	int r;

	SCOPED_LOCK(&pool.lock);
	if (pool.length >= ACTION_MAX_QUEUE)
		return -EBUSY;
	r = grow_locked();
	if (r < 0)
		return r;
	*pool.last = p;
	pool.last = &p->next;
	pool.length++;
	pthread_cond_signal(&pool.queued);
	return 0;
}

/* Called by libfuse in the loop, which the request still belongs to */
static void interrupted(fuse_req_t req, void *data)
{
	struct pending *p = data;

	SCOPED_LOCK(&pool.answer);
	if (p->answered)
		return;
	p->answered = true;
	fuse_reply_err(req, EINTR);
}

void action_submit(void *req, struct pending *p)
{
	struct lab_err err = LAB_ERR_INIT;
	int r;

	p->req = req;
	p->deadline = num_now_us() + ACTION_MS * 1000ULL;
	/*
	 * One that is interrupted already is asked all the same, and answered
	 * with what came of it: libfuse would call interrupted() with a request
	 * that it may not free.
	 */
	if (req && !fuse_req_interrupted(req))
		fuse_req_interrupt_func(req, interrupted, p);
	r = enqueue(p);
	if (!r)
		return;
	lab_fail_errno(&err, r, "asking labd");
	p->err = &err;
	action_refuse(p->where, p->kind, p->id, &err);
	answer(p, r);
}
