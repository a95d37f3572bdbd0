// SPDX-License-Identifier: GPL-2.0-or-later
/* restore.c - instances of a lab back to a snapshot, with their memory */
#define _GNU_SOURCE
#include "labd/restore.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/load.h"
#include "labd/memory.h"
#include "labd/network.h"
#include "labd/snapshot.h"
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
	return disks_prepare_thaw(m->d, m->in, m->snapshot, &m->err);
}

/* It cannot stay after all */
static int give_up(struct member *m, const struct lab_err *why)
{
	job_log(m->job, "%s: a new QEMU, because: %s", m->in->name, why->text);
	m->in_place = false;
	return boot_stop(m->d, m->job, m->in, false, &m->err);
}

static int choose(struct member *m)
{
	instance_set_want(m->d, m->in, m->runs ? "running" : "stopped");
	m->in_place = load_can_stay(m);
	return 0;
}

static int end(struct member *m)
{
	struct lab_err err = LAB_ERR_INIT;

	job_item_step(m->job, m->item, m->in_place ? "stop" : "end", 0);
	if (!m->in_place)
		return boot_stop(m->d, m->job, m->in, false, &m->err);
	if (qemu_pause(m->in->guest->qmp, num_now_us() + CALL_US, &err) < 0)
		return give_up(m, &err);
	return 0;
}

static int load(struct member *m)
{
	struct lab_err err = LAB_ERR_INIT;
	struct instance *in = m->in;
	char dir[IO_PATH];
	int r = 0;

	if (!m->runs)
		return 0;
	job_item_step(m->job, m->item, "load", 0);
	if (m->in_place && load_in_place(m, &err) < 0) {
		r = give_up(m, &err);
		if (!r)
			r = network_add_nics(m->d, in->lab, &in, 1, &m->err);
	}
	if (!r && !m->in_place)
		r = load_new(m);
	if (r < 0) {
		boot_failed(m->d, in, &m->err);
		return r;
	}
	pthread_mutex_lock(&m->d->lock);
	snprintf(in->memory, sizeof(in->memory), "%.511s",
		 disks_frozen_dir(m->d, in, m->snapshot, dir));
	in->started = num_wall();
	pthread_mutex_unlock(&m->d->lock);
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

/* All run: what they need not wait for */
static int settle(struct member *m)
{
	struct instance *in = m->in;
	int r;

	if (!m->runs || !instance_running(in))
		return 0;
	disks_sweep(m->d, in);
	if (!m->in_place)
		watch_guest(m->d, in);
	instance_set_state(m->d, in, "running", "");
	r = repair_guest(in, m->repair, m->set_clock, m->job, &m->err);
	return r < 0 ? r : boot_wait_ready(m->d, m->job, in, m->item, &m->err);
}

/* ---- all of them --------------------------------------------------------------- */

/* It begins: from now on it is done, or done again */
static int mark(struct labd *d, struct lab *lab, const struct members *ms, int64_t snapshot,
		struct lab_err *err)
{
	json_t *names = json_array();

	for (size_t i = 0; i < ms->n; i++)
		json_array_append_new(names, json_string(ms->v[i].in->name));
	pthread_mutex_lock(&d->lock);
	lab->restore = snapshot;
	json_decref(lab->restoring);
	lab->restoring = names;
	pthread_mutex_unlock(&d->lock);
	return lab_set_spec(d, lab, NULL, json_incref(lab->spec), NULL, err);
}

/* @at: where the lab stands in the tree of its snapshots now */
static void unmark(struct labd *d, struct lab *lab, int64_t at)
{
	pthread_mutex_lock(&d->lock);
	lab->at = at;
	lab->restore = 0;
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

/* Links for those that need new ones; what the abandoned run has sent is forgotten */
static int renew_network(struct labd *d, struct lab *lab, const struct members *ms,
			 struct lab_err *err)
{
	autoinstances struct instances fresh = { 0 }, all = { 0 };
	int r = 0;

	for (size_t i = 0; !r && i < ms->n; i++) {
		const struct member *m = &ms->v[i];

		r = m->runs ? instances_add(&all, m->in, err) : 0;
		if (!r && m->runs && !m->in_place)
			r = instances_add(&fresh, m->in, err);
	}
	if (r < 0 || !all.n)
		return r;
	r = network_up(d, lab, err);
	if (!r)
		r = network_add_nics(d, lab, fresh.v, fresh.n, err);
	return r < 0 ? r : network_flush(lab, all.v, all.n, err);
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
	if (is_whole(restore->lab, ms))
		repair_set_lab_time(d, restore->lab,
				    restore->repair.clock_now ? 0 : restore->clock);
	else
		for (size_t i = 0; i < ms->n; i++)
			ms->v[i].set_clock = true;
}

/* Neither what they were nor what they are to be, as those that stayed are paused */
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

/* Those whose QEMU stays get and send no frames from before they stop until they go on */
static int open_ports(struct lab *lab, struct members *ms, bool open, struct lab_err *err)
{
	autoinstances struct instances stay = { 0 };
	int r = 0;

	for (size_t i = 0; !r && i < ms->n; i++)
		if (ms->v[i].in_place && !ms->v[i].err.code)
			r = instances_add(&stay, ms->v[i].in, err);
	return r < 0 || !stay.n ? r : network_ports(lab, stay.v, stay.n, open, err);
}

static int stop_all(struct lab *lab, struct members *ms, struct lab_err *err)
{
	int r = members_each(ms, choose, err);

	if (!r)
		r = open_ports(lab, ms, false, err);
	return r < 0 ? r : members_each(ms, end, err);
}

static int bring_back(struct labd *d, const struct restore *restore, struct members *ms,
		      struct lab_err *err)
{
	struct lab *lab = restore->lab;
	int r = stop_all(lab, ms, err);

	if (!r)
		r = disks_thaw(d, restore->ins, ms->n, restore->snapshot, err);
	if (!r)
		r = renew_network(d, lab, ms, err);
	if (r < 0)
		return fail_all(d, ms, err);
	/* whom one failure does not concern goes on */
	(void)members_each(ms, load, err);
	set_time(d, restore, ms);
	r = open_ports(lab, ms, true, err);
	return r < 0 ? fail_all(d, ms, err) : members_each(ms, go_on, err);
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

static int run(struct members *ms, struct labd *d, struct job *job, const struct restore *restore,
	       struct lab_err *err)
{
	double began = num_wall();
	int late, r = bring_back(d, restore, ms, err);

	unmark(d, restore->lab, restore->snapshot);
	if (!r)
		spend(d, restore->lab, ms, restore->snapshot);
	job_log(job, "all run after %.0f ms", (num_wall() - began) * 1e3);
	late = members_each(ms, settle, r < 0 ? NULL : err);
	return r < 0 ? r : late;
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
		r = mark(d, lab, &ms, restore->snapshot, err);
	if (r < 0 && before)
		before = swap_spec(d, lab, before);
	json_decref(before);
	if (!r)
		r = run(&ms, d, job, restore, err);
	else if (lab->restore)
		/* or it would be tried at each start, on top of what was done since */
		unmark(d, lab, lab->at);
	members_end(&ms);
	return r;
}
