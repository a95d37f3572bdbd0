/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * job.h - work that takes time: with progress, a log and cancel
 *
 * A job is made, claims what it will change, and is started; it goes on when
 * the client that asked for it leaves. Finished ones are kept for a while, in
 * the store as well.
 */
#ifndef LABD_JOB_H
#define LABD_JOB_H

#include "labd/labd.h"
#include "lib/names.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#define JOBS_KEPT 100

struct job;
typedef int (*job_fn)(struct labd *d, struct job *job, void *arg, struct lab_err *err);

/**
 * struct job_item - one line of progress: an instance, an image or a service
 */
struct job_item {
	TAILQ_ENTRY(job_item) link;
	char name[2 * NAME_MAX_LEN + sizeof(" on ")];
	char step[96];
	char unit[16];
	const char *state;
	double started, ended, expected;
	uint64_t done, total;
};

/**
 * struct job - see docs/api.md; fields other than @cancel are guarded by
 * labd's lock
 */
struct job {
	TAILQ_ENTRY(job) link;
	struct labd *labd;
	int64_t id;
	char kind[24], lab[NAME_MAX_LEN + 1], target[NAME_MAX_LEN + 1];
	const char *state;
	char step[96], unit[16];
	uint64_t done, total;
	double created, started, ended;
	atomic_bool cancel;
	struct lab_err err;
	TAILQ_HEAD(, job_item) items;
	char *log;
	json_t *notes;
	size_t log_len, log_size;
	job_fn run;
	void *arg;
	void (*free_arg)(void *arg);
	uint64_t reported;
	bool over; /* nobody uses it any more; it may be forgotten */
};

int jobs_open(struct labd *d, struct lab_err *err);
/** jobs_close() - Ask all jobs to stop; the pool waits for them */
void jobs_cancel_all(struct labd *d);
void jobs_close(struct labd *d);
/** jobs_active() - How many are queued or running; the lock is held */
unsigned int jobs_active(struct labd *d);

/**
 * job_new() - A job that does not run yet; the lock is held
 * @lab, @target: what it is about, for people; "" for none
 * @arg:	owned by the job from now on, freed with @free_arg (may be NULL)
 */
struct job *job_new(struct labd *d, const char *kind, const char *lab, const char *target,
		    job_fn run, void *arg, void (*free_arg)(void *arg));
/** job_abandon() - Take a job back that was never started; the lock is held */
void job_abandon(struct job *job);
/** job_start() - Queue it; the lock is held. Return: its id */
int64_t job_start(struct job *job);

/** job_find() - By id, or NULL; the lock is held */
struct job *job_find(struct labd *d, int64_t id);
/** job_json() - Object of the API; the lock is held */
json_t *job_json(const struct job *job);
/** jobs_json() - All that are kept, newest first; the lock is held */
json_t *jobs_json(struct labd *d);
/** job_log_text() - Its log, malloced; the lock is held */
char *job_log_text(const struct job *job);
/** job_cancel() - Ask it to stop; the lock is held */
void job_cancel(struct job *job);

/* For running jobs, from any of their threads, without the lock */
bool job_cancelled(const struct job *job);
/** job_check() - -ECANCELED if it was asked to stop */
int job_check(const struct job *job, struct lab_err *err);
void job_step(struct job *job, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void job_log(struct job *job, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** job_note() - Log what whoever asked for the job should read, though it did not fail */
void job_note(struct job *job, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/**
 * job_add_item() - One more line of progress
 * Return: it, or the one that has this name already; it lives as long as the job. It is
 * shown with the next step of any
 */
struct job_item *job_add_item(struct job *job, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/** job_item() - The line of a name, or NULL, with which nothing is shown */
struct job_item *job_item(struct job *job, const char *name);
/**
 * job_item_step() - A line begins a step; also logged
 * @expected:	seconds the item is expected to take, 0 if not known
 */
void job_item_step(struct job *job, struct job_item *it, const char *step, double expected);
void job_item_progress(struct job *job, struct job_item *it, uint64_t done, uint64_t total,
		       const char *unit);
/** job_item_end() - "done" or "failed"; what has begun ends with the job at the latest */
void job_item_end(struct job *job, struct job_item *it, int r);

/** duration_get(), duration_put() - How long something took last time, in seconds */
double duration_get(struct labd *d, const char *key);
void duration_put(struct labd *d, const char *key, double seconds);

#endif
