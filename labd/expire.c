// SPDX-License-Identifier: GPL-2.0-or-later
/* expire.c - automatic snapshots that are too old go */
#define _GNU_SOURCE
#include "labd/expire.h"

#include "labd/job.h"
#include "labd/snapshot.h"
#include "lib/util.h"

/* Not at once: what has labd started needs the lab for itself */
#define FIRST_US (60 * 1000000ULL)
#define PERIOD_US (3600 * 1000000ULL)
#define ACCURACY_US (600 * 1000000ULL) /* wake up when something else does */

static int run_expire(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	(void)job;
	return snapshot_expire(d, arg, 0, err);
}

/* The lock is held */
static void expire_lab(struct labd *d, struct lab *lab)
{
	struct job *job = job_new(d, "expire", lab->name, "", run_expire, lab, NULL);

	if (model_claim(d, lab, NULL, job->id, NULL) < 0)
		job_abandon(job);
	else
		job_start(job);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct labd *d = arg;
	struct lab *lab;

	(void)usec;
	pthread_mutex_lock(&d->lock);
	TAILQ_FOREACH(lab, &d->labs, link)
		if (!lab->job && snapshot_expired(lab, 0))
			expire_lab(d, lab);
	pthread_mutex_unlock(&d->lock);
	(void)sd_event_source_set_time_accuracy(source, ACCURACY_US);
	(void)sd_event_source_set_time_relative(source, PERIOD_US);
	return 0;
}

int expire_open(struct labd *d, struct lab_err *err)
{
	int r = sd_event_add_time_relative(d->event, &d->expiry, CLOCK_BOOTTIME, FIRST_US, 1,
					   on_timer, d);

	if (r >= 0)
		r = sd_event_source_set_enabled(d->expiry, SD_EVENT_ON);
	return r < 0 ? lab_fail_errno(err, r, "event loop") : 0;
}

void expire_close(struct labd *d)
{
	d->expiry = sd_event_source_unref(d->expiry);
}
