/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * labd.h - the daemon as its parts see it
 *
 * DOC: Theory of Operation
 *
 * One thread runs the event loop (sd-event) and never blocks: it serves the
 * API's sockets, QEMU's events, and the ends of processes. All that takes
 * time is done in worker threads: API calls that touch the disk, and jobs.
 *
 * The model (model.h) is in memory behind one lock, @lock, which is never held
 * across I/O. The store (store.h) is written before the world is changed and
 * after it: it says what is intended and what was reached, so that labd may
 * die at any instruction. recover.c compares it with what really runs.
 *
 * A job that changes an object claims it first (its `job` field): one job an
 * object at a time. Fields of a claimed object are written by the claiming job
 * only, under @lock; so that job may read them without. Spares (spare.h) are made without a
 * claim, for which those who claim wait.
 */
#ifndef LABD_LABD_H
#define LABD_LABD_H

#include "labd/accel.h"
#include "lib/err.h"
#include "lib/paths.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

struct api;
struct capture;
struct events;
struct jobs;
struct loop;
struct store;
struct trash;
struct work;

TAILQ_HEAD(image_list, image);
TAILQ_HEAD(lab_list, lab);

/**
 * struct labd - the daemon
 * @state_lock: keeps other daemons off the state directory
 * @ending:	the event loop is to return
 * @work:	the threads of jobs
 * @calls:	those of API calls, so that they find one when all jobs wait
 * @execs:	those of programs that run in guests
 * @waking:	the event loop has been told of new stream data
 * @lock:	guards the model, jobs and events; see above
 * @changed:	broadcast when an image's or instance's state changes, for those
 *		who wait for it
 * @captures:	that are read now; of the event loop (capture.h)
 * @trash:	when what is in it expires (trash.c)
 * @spares:	when spares are made (spare.h); @no_spares: none are
 * @sparing:	somebody makes them; guarded by @lock
 * @expiry:	when automatic snapshots are looked at (expire.h)
 * @boots:	how many more guests may boot now: too many at a time only slow
 *		each other into time-outs; guarded by @lock
 */
struct labd {
	struct paths paths;
	int state_lock;
	struct accel accel;
	double started;
	bool ending;
	sd_event *event;
	struct loop *loop;
	struct store *store;
	struct work *work, *calls, *execs;
	struct jobs *jobs;
	struct events *events;
	struct api *api;
	atomic_bool waking;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct image_list images;
	struct lab_list labs;
	unsigned int boots;
	struct trash *trash;
	sd_event_source *expiry, *spares;
	bool no_spares, sparing;
	LIST_HEAD(, capture) captures;
};

#endif
