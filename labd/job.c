// SPDX-License-Identifier: GPL-2.0-or-later
/* job.c - work that takes time: with progress, a log and cancel */
#define _GNU_SOURCE
#include "labd/job.h"

#include "labd/events.h"
#include "labd/loop.h"
#include "labd/model.h"
#include "labd/spare.h"
#include "labd/store.h"
#include "labd/watch.h"
#include "labd/work.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <malloc.h>
#include <string.h>
#include <time.h>

#define LOG_MAX (64 << 10)
#define LOG_FIRST 2048 /* longer than a line */
#define REPORT_US 100000 /* progress is told at most ten times a second */

TAILQ_HEAD(job_list, job);

struct jobs {
	struct job_list list;
	int64_t next;
	json_t *old; /* of earlier daemons, newest last */
};

static int read_old(void *arg, sqlite3_stmt *st)
{
	struct jobs *jobs = arg;
	int64_t id = sqlite3_column_int64(st, 0);
	json_t *job = json_loads(store_text(st, 1), 0, NULL);
	const char *state = json_string_value(json_object_get(job, "state"));

	/* what it did until then, recover.c has looked after */
	if (state && !strcmp(state, "running")) {
		json_object_set_new(job, "state", json_string("failed"));
		json_object_set_new(job, "error", json_string("labd ended meanwhile"));
	}
	jobs->next = MAX(jobs->next, id + 1);
	return job ? json_array_append_new(jobs->old, job) : 0;
}

int jobs_open(struct labd *d, struct lab_err *err)
{
	struct jobs *jobs = calloc(1, sizeof(*jobs));

	if (!jobs)
		return lab_fail(err, -ENOMEM, "out of memory");
	TAILQ_INIT(&jobs->list);
	jobs->next = 1;
	jobs->old = json_array();
	d->jobs = jobs;
	return store_each(d->store, err, read_old, jobs, "SELECT id, json FROM jobs ORDER BY id",
			  "");
}

static void job_free(struct job *job)
{
	struct job_item *item;

	if (job->free_arg)
		job->free_arg(job->arg);
	while ((item = TAILQ_FIRST(&job->items))) {
		TAILQ_REMOVE(&job->items, item, link);
		free(item);
	}
	free(job->log);
	json_decref(job->notes);
	free(job);
}

void jobs_cancel_all(struct labd *d)
{
	struct job *job;

	SCOPED_LOCK(&d->lock);
	TAILQ_FOREACH(job, &d->jobs->list, link)
		atomic_store(&job->cancel, true);
}

void jobs_close(struct labd *d)
{
	struct job *job;

	if (!d->jobs)
		return;
	while ((job = TAILQ_FIRST(&d->jobs->list))) {
		TAILQ_REMOVE(&d->jobs->list, job, link);
		job_free(job);
	}
	json_decref(d->jobs->old);
	free(d->jobs);
	d->jobs = NULL;
}

static bool job_ended(const struct job *job)
{
	return job->ended > 0;
}

unsigned int jobs_active(struct labd *d)
{
	unsigned int n = 0;
	struct job *job;

	TAILQ_FOREACH(job, &d->jobs->list, link)
		n += !job_ended(job);
	return n;
}

/* Forget the oldest ended jobs */
static void trim(struct jobs *jobs)
{
	struct job *job, *next;
	size_t n = 0;

	while (json_array_size(jobs->old) > JOBS_KEPT)
		json_array_remove(jobs->old, 0);
	TAILQ_FOREACH(job, &jobs->list, link)
		n++;
	for (job = TAILQ_FIRST(&jobs->list); job && n > JOBS_KEPT; job = next) {
		next = TAILQ_NEXT(job, link);
		if (!job->over)
			continue;
		TAILQ_REMOVE(&jobs->list, job, link);
		job_free(job);
		n--;
	}
}

struct job *job_new(struct labd *d, const char *kind, const char *lab, const char *target,
		    job_fn run, void *arg, void (*free_arg)(void *arg))
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		abort();
	TAILQ_INIT(&job->items);
	job->labd = d;
	job->id = d->jobs->next++;
	snprintf(job->kind, sizeof(job->kind), "%s", kind);
	snprintf(job->lab, sizeof(job->lab), "%s", lab);
	snprintf(job->target, sizeof(job->target), "%s", target);
	job->state = "queued";
	job->created = num_wall();
	job->run = run;
	job->arg = arg;
	job->free_arg = free_arg;
	TAILQ_INSERT_TAIL(&d->jobs->list, job, link);
	trim(d->jobs);
	return job;
}

void job_abandon(struct job *job)
{
	TAILQ_REMOVE(&job->labd->jobs->list, job, link);
	job_free(job);
}

static void emit(struct job *job, const char *action)
{
	char name[24];

	snprintf(name, sizeof(name), "%lld", (long long)job->id);
	events_emit(job->labd, "job", action, job->lab, name, NULL, job_json(job));
	job->reported = num_now_us();
}

/* Remember a job for later daemons, so that its number is not used again; without the lock */
static void save(struct job *job)
{
	struct labd *d = job->labd;
	autojson json_t *obj = NULL;
	autofree char *text = NULL;

	pthread_mutex_lock(&d->lock);
	obj = job_json(job);
	pthread_mutex_unlock(&d->lock);
	text = json_dumps(obj, JSON_COMPACT);
	if (!text)
		return;
	(void)store_run(d->store, NULL, "INSERT OR REPLACE INTO jobs(id, json) VALUES(?, ?)", "is",
			job->id, text);
	(void)store_run(d->store, NULL, "DELETE FROM jobs WHERE id <= ?", "i", job->id - JOBS_KEPT);
}

static void run(void *arg)
{
	struct job *job = arg;
	struct labd *d = job->labd;
	struct lab_err err = LAB_ERR_INIT;
	struct job_item *item;
	bool idle;
	int r;

	pthread_mutex_lock(&d->lock);
	spares_wait(d, job->id);
	job->state = "running";
	job->started = num_wall();
	emit(job, "change");
	pthread_mutex_unlock(&d->lock);
	save(job);

	r = job->run(d, job, job->arg, &err);
	if (r < 0 && !err.code)
		lab_fail_errno(&err, r, "%s", job->kind);
	TAILQ_FOREACH(item, &job->items, link)
		if (item->started)
			job_item_end(job, item, r);
	/* whoever cut it may have cut a character, and what is not UTF-8 could not be told */
	text_clean(err.text);
	if (r < 0)
		job_log(job, "failed: %s", err.text);

	pthread_mutex_lock(&d->lock);
	job->ended = num_wall();
	job->state = r >= 0 ? "done" : r == -ECANCELED ? "cancelled" : "failed";
	if (r < 0)
		job->err = err;
	model_release(d, job->id);
	pthread_cond_broadcast(&d->changed);
	emit(job, "change");
	pthread_mutex_unlock(&d->lock);
	watch_recheck(d);
	save(job);
	pthread_mutex_lock(&d->lock);
	job->over = true;
	idle = !jobs_active(d);
	pthread_mutex_unlock(&d->lock);
	/* what its threads have used between what stays would be kept for good */
	if (idle)
		malloc_trim(0);
}

int64_t job_start(struct job *job)
{
	int64_t id = job->id;
	int r;

	emit(job, "add");
	r = work_submit(job->labd->work, run, job);
	if (r < 0) {
		job->ended = num_wall();
		job->state = "failed";
		lab_fail_errno(&job->err, r, "no thread for the job");
		model_release(job->labd, job->id);
		emit(job, "change");
	}
	return id;
}

struct job *job_find(struct labd *d, int64_t id)
{
	struct job *job;

	TAILQ_FOREACH(job, &d->jobs->list, link)
		if (job->id == id)
			return job;
	return NULL;
}

static json_t *item_json(const struct job_item *it)
{
	return json_pack("{s:s s:s s:s s:f s:f s:f s:I s:I s:s}", "name", it->name, "step",
			 it->step, "state", it->state, "started", it->started, "ended", it->ended,
			 "expected", it->expected, "done", (json_int_t)it->done, "total",
			 (json_int_t)it->total, "unit", it->unit);
}

json_t *job_json(const struct job *job)
{
	const struct job_item *item;
	json_t *items = json_array();

	TAILQ_FOREACH(item, &job->items, link)
		json_array_append_new(items, item_json(item));
	return json_pack("{s:I s:s s:s s:s s:s s:s s:I s:I s:s s:f s:f s:f s:s s:s s:b s:o s:O*}",
			 "id", (json_int_t)job->id, "kind", job->kind, "lab", job->lab, "target",
			 job->target, "state", job->state, "step", job->step, "done",
			 (json_int_t)job->done, "total", (json_int_t)job->total, "unit", job->unit,
			 "created", job->created, "started", job->started, "ended", job->ended,
			 "errno", job->err.code ? lab_errno_name(job->err.code) : "", "error",
			 job->err.text, "cancel", (int)atomic_load(&job->cancel), "items", items,
			 "notes", job->notes);
}

json_t *jobs_json(struct labd *d)
{
	json_t *list = json_array();
	struct job *job;

	TAILQ_FOREACH_REVERSE(job, &d->jobs->list, job_list, link)
		json_array_append_new(list, job_json(job));
	for (size_t i = json_array_size(d->jobs->old); i-- > 0;)
		if (json_array_size(list) < JOBS_KEPT)
			json_array_append(list, json_array_get(d->jobs->old, i));
	return list;
}

char *job_log_text(const struct job *job)
{
	return strdup(job->log ? job->log : "");
}

void job_cancel(struct job *job)
{
	if (job_ended(job) || atomic_exchange(&job->cancel, true))
		return;
	emit(job, "change");
}

bool job_cancelled(const struct job *job)
{
	return atomic_load(&job->cancel);
}

int job_check(const struct job *job, struct lab_err *err)
{
	return job_cancelled(job) ? lab_fail(err, -ECANCELED, "stopped on request") : 0;
}

/* Room for @n more bytes and a NUL in the log; its oldest half is dropped when it is full */
static bool make_room(struct job *job, size_t n)
{
	size_t size = MIN((size_t)LOG_MAX, MAX(2 * job->log_size, (size_t)LOG_FIRST));
	char *more;

	if (job->log_len + n + 1 <= job->log_size)
		return true;
	if (job->log_size == LOG_MAX) {
		memmove(job->log, job->log + LOG_MAX / 2, LOG_MAX / 2);
		job->log_len -= LOG_MAX / 2;
		return true;
	}
	more = realloc(job->log, size);
	if (!more)
		return false;
	job->log = more;
	job->log_size = size;
	return true;
}

static void append_log(struct job *job, const char *text)
{
	time_t now = time(NULL);
	char line[1280];
	struct tm tm;
	size_t n;

	n = strftime(line, sizeof(line), "%T ", localtime_r(&now, &tm));
	snprintf(line + n, sizeof(line) - n, "%s\n", text);
	n = strlen(line);
	if (!make_room(job, n))
		return;
	memcpy(job->log + job->log_len, line, n + 1);
	job->log_len += n;
}

void job_log(struct job *job, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	SCOPED_LOCK(&job->labd->lock);
	append_log(job, text);
}

void job_note(struct job *job, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	job_log(job, "%s", text);
	SCOPED_LOCK(&job->labd->lock);
	if (!job->notes)
		job->notes = json_array();
	json_array_append_new(job->notes, json_string(text));
}

void job_step(struct job *job, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	SCOPED_LOCK(&job->labd->lock);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_copy(job->step, sizeof(job->step), text);
	append_log(job, text);
	emit(job, "change");
}

static struct job_item *find_item(const struct job *job, const char *name)
{
	struct job_item *item;

	TAILQ_FOREACH(item, &job->items, link)
		if (!strcmp(item->name, name))
			return item;
	return NULL;
}

struct job_item *job_add_item(struct job *job, const char *fmt, ...)
{
	struct job_item *item = calloc(1, sizeof(*item)), *there;
	va_list ap;

	if (!item)
		abort();
	va_start(ap, fmt);
	vsnprintf(item->name, sizeof(item->name), fmt, ap);
	va_end(ap);
	item->state = "waiting";
	SCOPED_LOCK(&job->labd->lock);
	there = find_item(job, item->name);
	if (there) {
		free(item);
		return there;
	}
	TAILQ_INSERT_TAIL(&job->items, item, link);
	job->total++;
	return item;
}

struct job_item *job_item(struct job *job, const char *name)
{
	SCOPED_LOCK(&job->labd->lock);
	return find_item(job, name);
}

void job_item_step(struct job *job, struct job_item *it, const char *step, double expected)
{
	char text[256];

	if (!it)
		return;
	SCOPED_LOCK(&job->labd->lock);
	if (!strcmp(it->step, step) && !strcmp(it->state, "running"))
		return;
	text_copy(it->step, sizeof(it->step), step);
	it->state = "running";
	it->done = it->total = 0;
	if (!it->started)
		it->started = num_wall();
	if (expected > 0)
		it->expected = expected;
	snprintf(text, sizeof(text), "%s: %s", it->name, step);
	append_log(job, text);
	emit(job, "change");
}

void job_item_progress(struct job *job, struct job_item *it, uint64_t done, uint64_t total,
		       const char *unit)
{
	if (!it)
		return;
	SCOPED_LOCK(&job->labd->lock);
	it->done = done;
	it->total = total;
	snprintf(it->unit, sizeof(it->unit), "%s", unit ? unit : "");
	if (num_now_us() - job->reported >= REPORT_US)
		emit(job, "change");
}

void job_item_end(struct job *job, struct job_item *it, int r)
{
	char text[256];

	if (!it)
		return;
	SCOPED_LOCK(&job->labd->lock);
	if (it->ended)
		return;
	it->ended = num_wall();
	it->state = r < 0 ? "failed" : "done";
	job->done++;
	snprintf(text, sizeof(text), "%s: %s after %.1f s", it->name, it->state,
		 it->started ? it->ended - it->started : 0.0);
	append_log(job, text);
	emit(job, "change");
}

static int read_double(void *arg, sqlite3_stmt *st)
{
	*(double *)arg = sqlite3_column_double(st, 0);
	return 0;
}

double duration_get(struct labd *d, const char *key)
{
	double seconds = 0;

	(void)store_each(d->store, NULL, read_double, &seconds,
			 "SELECT seconds FROM durations WHERE key = ?", "s", key);
	return seconds;
}

void duration_put(struct labd *d, const char *key, double seconds)
{
	(void)store_run(d->store, NULL,
			"INSERT OR REPLACE INTO durations(key, seconds) VALUES(?, ?)", "sd", key,
			seconds);
}
