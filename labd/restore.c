// SPDX-License-Identifier: GPL-2.0-or-later
/* restore.c - instances of a lab back to a snapshot, with their memory */
#define _GNU_SOURCE
#include "labd/restore.h"

#include "labd/boot.h"
#include "labd/bootid.h"
#include "labd/disk.h"
#include "labd/load.h"
#include "labd/memory.h"
#include "labd/nested.h"
#include "labd/network.h"
#include "labd/service.h"
#include "labd/snapshot.h"
#include "labd/spare.h"
#include "labd/watch.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define CALL_US (15 * 1000000ULL)

/* ---- one member ------------------------------------------------------------------ */

static int check(struct member *m)
{
	return m->runs ? memory_check(m->d, m->in, m->snapshot, &m->err) : 0;
}

static int prepare(struct member *m)
{
	m->spare = m->runs && spare_fits(m->d, m->in, m->snapshot);
	return m->spare ? 0 : disks_prepare(m->d, m->in, m->snapshot, LAYER_PREPARED, &m->err);
}

/* When nothing refuses the restore any more */
static int take_spare(struct member *m)
{
	return m->spare ? spare_take(m->d, m->in, &m->err) : 0;
}

static int end(struct member *m)
{
	instance_set_want(m->d, m->in, m->runs ? "running" : "stopped");
	job_item_step(m->job, m->item, "end", 0);
	return boot_switch_off(m->d, m->in, &m->err);
}

static int load(struct member *m)
{
	struct instance *in = m->in;
	char dir[IO_PATH];
	int r;

	if (!m->runs)
		return 0;
	job_item_step(m->job, m->item, "load", 0);
	r = load_saved(m);
	if (r < 0) {
		boot_failed(m->d, in, &m->err);
		return r;
	}
	disks_frozen_dir(m->d, in, m->snapshot, dir);
	memory_recall_services(m->d, in, dir);
	if (memory_nested(dir))
		job_note(m->job,
			 "instance %s ran guests of its own when it was saved: restart "
			 "it. " NESTED_DANGER,
			 in->name);
	return 0;
}

static int go_on(struct member *m)
{
	struct instance *in = m->in;
	int r;

	if (!m->runs)
		return 0;
	r = qemu_cont(in->guest->qmp, num_now_us() + CALL_US, &m->err);
	if (r < 0) {
		boot_failed(m->d, in, &m->err);
		return r;
	}
	return 0;
}

static int repair(struct member *m)
{
	if (!m->runs || !instance_running(m->in))
		return 0;
	return repair_guest(m->in, m->repair, m->set_clock, m->job, &m->err);
}

/* All run: what they need not wait for */
static int show(struct member *m)
{
	struct instance *in = m->in;

	if (!m->runs || !instance_running(in))
		return 0;
	disks_sweep(m->d, in);
	watch_guest(m->d, in);
	instance_set_state(m->d, in, "running", "");
	return 0;
}

/* Of one that failed before it was used */
static int end_spare(struct member *m)
{
	spare_end_taken(m->d, m->in);
	return 0;
}

static int settle(struct member *m)
{
	struct instance *in = m->in;
	int r;

	if (!m->runs || !instance_running(in))
		return 0;
	r = services_wait(m->d, m->job, in, m->item, &m->err);
	return r < 0 ? r : boot_wait_ready(m->d, m->job, in, m->item, &m->err);
}

/* ---- all of them --------------------------------------------------------------- */

/* It begins: from now on it is done, or done again */
static int mark(struct labd *d, const struct restore *restore, struct lab_err *err)
{
	struct lab *lab = restore->lab;
	json_t *names = json_array();

	for (size_t i = 0; i < restore->n; i++)
		json_array_append_new(names, json_string(restore->ins[i]->name));
	pthread_mutex_lock(&d->lock);
	lab->restore = restore->snapshot;
	lab->repair = repair_to_bits(&restore->repair);
	json_decref(lab->restoring);
	lab->restoring = names;
	pthread_mutex_unlock(&d->lock);
	return lab_set_spec(d, lab, NULL, json_incref(lab->spec), NULL, err);
}

/* @at: where the lab stands in the tree of its snapshots now; its members are to be repaired */
static void unmark(struct labd *d, struct lab *lab, int64_t at)
{
	pthread_mutex_lock(&d->lock);
	lab->at = at;
	lab->restore = 0;
	pthread_mutex_unlock(&d->lock);
	(void)lab_save(d, lab, NULL);
}

/* In the store: nothing is left to be done in its members */
static void repaired(struct labd *d, struct lab *lab)
{
	pthread_mutex_lock(&d->lock);
	lab->repair = 0;
	json_array_clear(lab->restoring);
	pthread_mutex_unlock(&d->lock);
	(void)lab_save(d, lab, NULL);
}

/* In the model alone; returns the one before */
static json_t *swap_spec(struct labd *d, struct lab *lab, json_t *spec)
{
	SCOPED_LOCK(&d->lock);
	json_t *before = lab->spec;

	lab->spec = spec;
	return before;
}

static int begin(struct members *ms, struct labd *d, struct job *job, struct instance *const *ins,
		 size_t n, int64_t snapshot, struct lab_err *err)
{
	int r = members_new(ms, d, job, ins, n, snapshot, err);

	for (size_t i = 0; i < ms->n; i++)
		ms->v[i].runs = memory_exists(d, ins[i], snapshot);
	return r < 0 ? r : members_each(ms, check, err);
}

int restore_check(struct labd *d, struct instance *const *ins, size_t n, int64_t snapshot,
		  struct lab_err *err)
{
	struct members ms;
	int r = begin(&ms, d, NULL, ins, n, snapshot, err);

	members_end(&ms);
	return r;
}

/* New links for those that will run; what the abandoned run has sent is forgotten */
static int renew_network(struct labd *d, struct lab *lab, const struct members *ms,
			 struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	int r = 0;

	for (size_t i = 0; !r && i < ms->n; i++)
		if (ms->v[i].runs)
			r = instances_add(&ins, ms->v[i].in, err);
	if (r < 0 || !ins.n)
		return r;
	r = network_up(d, lab, err);
	if (!r)
		r = network_add_nics(d, lab, ins.v, ins.n, err);
	return r < 0 ? r : network_flush(lab, ins.v, ins.n, err);
}

/* Whether nobody else runs in the lab, so that its time may change */
static bool is_whole(const struct lab *lab, const struct members *ms)
{
	const struct instance *in;
	size_t running = 0, members = 0;

	TAILQ_FOREACH(in, &lab->instances, link)
		running += instance_running(in);
	for (size_t i = 0; i < ms->n; i++)
		members += instance_running(ms->v[i].in);
	return running == members;
}

static void set_time(struct labd *d, const struct restore *restore, struct members *ms)
{
	if (is_whole(restore->lab, ms)) {
		repair_set_lab_time(d, restore->lab,
				    restore->repair.clock_now ? 0 : restore->clock);
		return;
	}
	for (size_t i = 0; i < ms->n; i++)
		ms->v[i].set_clock = true;
	SCOPED_LOCK(&d->lock);
	restore->lab->repair |= REPAIR_LAB_TIME;
}

/* Neither what they were nor what they are to be */
static int fail_all(struct labd *d, struct members *ms, const struct lab_err *why)
{
	for (size_t i = 0; i < ms->n; i++) {
		struct member *m = &ms->v[i];

		if (!m->runs || m->err.code)
			continue;
		boot_failed(d, m->in, why);
		m->err = *why;
	}
	return why->code;
}

static int bring_back(struct labd *d, struct job *job, const struct restore *restore,
		      struct members *ms, struct lab_err *err)
{
	struct lab *lab = restore->lab;
	double began = num_wall(), ended;
	int r;

	spares_drop(d, lab, restore->ins, restore->n);
	r = members_each(ms, end, err);
	(void)network_del_nics(lab, restore->ins, restore->n, NULL);
	ended = num_wall();
	if (!r)
		r = disks_thaw(d, restore->ins, ms->n, restore->snapshot, err);
	if (!r)
		r = renew_network(d, lab, ms, err);
	job_log(job, "all ended after %.0f ms, disks and network after %.0f ms",
		(ended - began) * 1e3, (num_wall() - began) * 1e3);
	if (r < 0)
		return fail_all(d, ms, err);
	/* whom one failure does not concern goes on */
	(void)members_each(ms, load, err);
	set_time(d, restore, ms);
	return members_each(ms, go_on, err);
}

static bool is_suspended(struct labd *d, struct lab *lab, int64_t snapshot)
{
	SCOPED_LOCK(&d->lock);
	const struct snapshot *sn = model_snapshot_id(lab, snapshot);

	return sn && !strcmp(sn->kind, SNAPSHOT_SUSPENDED);
}

/*
 * What was suspended goes on once: another time would lose what is done from now on. Not
 * later, as waiting for probes may fail, or be cancelled.
 */
static void spend(struct labd *d, struct lab *lab, const struct members *ms, int64_t snapshot)
{
	if (!is_suspended(d, lab, snapshot))
		return;
	/* its memory is kept for those that the store knows to stand on it */
	for (size_t i = 0; i < ms->n; i++)
		if (instance_save(d, ms->v[i].in, NULL) < 0)
			return;
	(void)snapshot_drop(d, lab, snapshot, NULL);
}

/* What is to be done in them; then until they are ready */
static int repair_all(struct members *ms, struct labd *d, struct job *job, struct lab *lab,
		      struct lab_err *err)
{
	int r = members_each(ms, repair, NULL);

	/* what the end of labd cuts off the next one does; of what was cancelled, or failed, the
	 * user knows */
	if (!r || !job_cancelled(job) || !d->ending)
		repaired(d, lab);
	/* all but those that could not be repaired, of which this tells as well */
	return members_each(ms, settle, err);
}

static int run(struct members *ms, struct labd *d, struct job *job, const struct restore *restore,
	       struct lab_err *err)
{
	double began = num_wall();
	size_t spares = 0;
	int late, r;

	for (size_t i = 0; i < ms->n; i++)
		spares += spare_taken(ms->v[i].in);
	r = bring_back(d, job, restore, ms, err);
	unmark(d, restore->lab, restore->snapshot);
	if (!r)
		spend(d, restore->lab, ms, restore->snapshot);
	job_log(job, "all run after %.0f ms; %zu of %zu were spares", (num_wall() - began) * 1e3,
		spares, ms->n);
	(void)members_each(ms, show, NULL);
	late = repair_all(ms, d, job, restore->lab, r < 0 ? NULL : err);
	return r < 0 ? r : late;
}

/* One that has booted since is not what was restored: it is begun with anew after this job */
static int ask_boot(struct member *m)
{
	int r = m->runs ? bootid_unseen(m->d, m->job, m->in, &m->err) : 0;

	if (r <= 0)
		return r;
	m->runs = false;
	SCOPED_LOCK(&m->d->lock);
	if (m->in->guest)
		m->in->guest->booted = true;
	return 0;
}

int restore_finish(struct labd *d, struct job *job, const struct restore *restore,
		   struct lab_err *err)
{
	struct members ms;
	int r = members_new(&ms, d, job, restore->ins, restore->n, 0, err);

	for (size_t i = 0; i < ms.n; i++) {
		struct member *m = &ms.v[i];

		m->runs = !strcmp(m->in->state, "running");
		m->set_clock = restore->lab->repair & REPAIR_LAB_TIME;
		m->repair = &restore->repair;
	}
	if (!r) {
		(void)members_each(&ms, ask_boot, NULL);
		r = repair_all(&ms, d, job, restore->lab, err);
	}
	members_end(&ms);
	return r;
}

int restore_run(struct labd *d, struct job *job, const struct restore *restore, struct lab_err *err)
{
	struct lab *lab = restore->lab;
	json_t *before = restore->spec ? swap_spec(d, lab, json_incref(restore->spec)) : NULL;
	struct members ms;
	int r = begin(&ms, d, job, restore->ins, restore->n, restore->snapshot, err);

	for (size_t i = 0; i < ms.n; i++)
		ms.v[i].repair = &restore->repair;
	if (!r)
		r = members_each(&ms, prepare, err);
	/* one that an earlier labd has begun is done to its end */
	if (!r && !lab->restore)
		r = job_check(job, err);
	if (!r)
		r = members_each(&ms, take_spare, err);
	if (!r)
		r = mark(d, restore, err);
	if (r < 0 && before)
		before = swap_spec(d, lab, before);
	json_decref(before);
	if (!r)
		r = run(&ms, d, job, restore, err);
	else if (lab->restore) {
		/* or it would be tried at each start, on top of what was done since */
		unmark(d, lab, lab->at);
		repaired(d, lab);
	}
	(void)members_all(&ms, end_spare, NULL);
	members_end(&ms);
	return r;
}
