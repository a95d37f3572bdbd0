// SPDX-License-Identifier: GPL-2.0-or-later
/* restore.c - instances of a lab back to a snapshot, with their memory */
#define _GNU_SOURCE
#include "labd/restore.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/member.h"
#include "labd/memory.h"
#include "labd/network.h"
#include "labd/startset.h"
#include "labd/watch.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CALL_US (15 * 1000000ULL)

static int check(struct member *m)
{
	return m->runs ? memory_check(m->d, m->in, m->snapshot, &m->err) : 0;
}

static int prepare(struct member *m)
{
	return disks_prepare_thaw(m->d, m->in, m->snapshot, &m->err);
}

/* ---- one instance ------------------------------------------------------------- */

/* QEMU writes to the state it loads: it gets a copy */
static int copy_state(const struct member *m, const char *dir, char to[IO_PATH],
		      struct lab_err *err)
{
	char from[IO_PATH], run[IO_PATH];
	autoclose int in = open(io_path(from, "%s/state.qcow2", dir), O_RDONLY | O_CLOEXEC);
	autoclose int out = -EBADF;
	struct stat st;
	off_t at = 0;

	io_path(to, "%s/state.qcow2", instance_run_dir(m->d, m->in, run));
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (in < 0 || out < 0 || fstat(in, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", in < 0 ? from : to);
	while (at < st.st_size)
		if (copy_file_range(in, &at, out, NULL, (size_t)(st.st_size - at), 0) <= 0)
			break;
	if (at < st.st_size)
		return lab_fail_errno(err, -errno, "%s", to);
	if (!geteuid() && fchown(out, keeper_uid(lab_host_id(m->d, m->in->lab)), (gid_t)-1) < 0)
		return lab_fail_errno(err, -errno, "%s", to);
	return 0;
}

static int load_memory(const struct member *m, const char *dir, struct lab_err *err)
{
	const struct instance *in = m->in;
	struct ram_chain chain = { 0 };
	struct ram ram;
	int r = memory_open(m->d, dir, &chain, err);

	if (!r)
		r = ram_open(in->pid, in->guest->proc.pidfd, chain.size, &ram, err);
	if (!r) {
		r = ram_load(&ram, &chain, err);
		ram_close(&ram);
	}
	ram_chain_close(&chain);
	return r;
}

static int load_state(const struct member *m, const char *dir, struct lab_err *err)
{
	char state[IO_PATH];
	int r = load_memory(m, dir, err);

	if (!r)
		r = copy_state(m, dir, state, err);
	if (r < 0)
		return r;
	r = qemu_load_devices(m->in->guest->qmp, state, num_now_us() + CALL_US, err);
	unlink(state);
	return r;
}

/* A new QEMU that maps the memory, with the devices as they were, stopped */
static int load_new(struct member *m, const char *dir)
{
	char ram[IO_PATH];
	int r;

	boot_begin(m->d, m->in);
	r = boot_launch(m->d, m->in, memory_file(m->d, dir, ram), &m->err);
	return r < 0 ? r : load_state(m, dir, &m->err);
}

/* ---- in the QEMU that runs ------------------------------------------------------ */

/*
 * A QEMU that maps the same file can stay: its memory, devices and disks change. It is
 * quicker than a new one, and what the guest has not touched need not be mapped again.
 */
static bool can_stay(const struct member *m)
{
	char dir[IO_PATH], file[IO_PATH];
	const struct instance *in = m->in;
	bool same;
	struct ram ram;
	struct stat st;

	if (!m->runs || !in->guest || !in->guest->qmp)
		return false;
	memory_file(m->d, disks_frozen_dir(m->d, in, m->snapshot, dir), file);
	if (stat(file, &st) < 0 ||
	    ram_open(in->pid, in->guest->proc.pidfd, (uint64_t)st.st_size, &ram, NULL) < 0)
		return false;
	same = !strcmp(ram.mapped, file);
	ram_close(&ram);
	return same && boot_monitor(m->d, m->in, NULL);
}

static const char *disk_text(const struct instance *in, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(in->disks, i), key));
}

static int change_disks(const struct member *m, struct lab_err *err)
{
	uint64_t deadline = num_now_us() + CALL_US;
	struct qmp *q = m->in->guest->qmp;
	char node[32];
	int r = 0;

	for (size_t i = 0; !r && i < json_array_size(m->in->disks); i++) {
		/* a name that this QEMU has never heard */
		snprintf(node, sizeof(node), "blk%zu-%llx", i, (unsigned long long)num_now_us());
		r = qemu_change_disk(q, disk_text(m->in, i, "name"), disk_text(m->in, i, "path"),
				     node, deadline, err);
	}
	return r;
}

static int load_in_place(struct member *m, const char *dir, struct lab_err *err)
{
	char socket[IO_PATH];
	int r = change_disks(m, err);

	/* if it cannot, load_state() writes what differs */
	if (!r)
		(void)ram_forget(boot_ram_socket(m->d, m->in, socket), num_now_us() + CALL_US,
				 NULL);
	if (!r)
		r = load_state(m, dir, err);
	if (!r)
		r = startset_refresh(m->d, m->in, err);
	return r;
}

/* It cannot stay after all */
static int give_up(struct member *m, const struct lab_err *why)
{
	job_log(m->job, "%s: a new QEMU, because: %s", m->in->name, why->text);
	m->in_place = false;
	return boot_stop(m->d, m->job, m->in, false, &m->err);
}

/* ---- steps ----------------------------------------------------------------------- */

static int end(struct member *m)
{
	struct lab_err err = LAB_ERR_INIT;

	instance_set_want(m->d, m->in, m->runs ? "running" : "stopped");
	m->in_place = can_stay(m);
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
	disks_frozen_dir(m->d, in, m->snapshot, dir);
	if (m->in_place && load_in_place(m, dir, &err) < 0) {
		r = give_up(m, &err);
		if (!r)
			r = network_add_nics(m->d, in->lab, &in, 1, &m->err);
	}
	if (!r && !m->in_place)
		r = load_new(m, dir);
	if (r < 0) {
		boot_failed(m->d, in, &m->err);
		return r;
	}
	pthread_mutex_lock(&m->d->lock);
	snprintf(in->memory, sizeof(in->memory), "%.511s", dir);
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

	if (!m->runs || !instance_running(in))
		return 0;
	(void)qemu_announce(in->guest->qmp, num_now_us() + CALL_US, NULL);
	if (!m->in_place)
		watch_guest(m->d, in);
	instance_set_state(m->d, in, "running", "");
	return boot_wait_ready(m->d, m->job, in, m->item, &m->err);
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

static void unmark(struct labd *d, struct lab *lab)
{
	pthread_mutex_lock(&d->lock);
	lab->at = lab->restore;
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

static int add_nics(struct labd *d, struct lab *lab, const struct members *ms, struct lab_err *err)
{
	autofree struct instance **ins = calloc(ms->n + 1, sizeof(struct instance *));
	size_t count = 0;
	int r;

	if (!ins)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < ms->n; i++)
		if (ms->v[i].runs && !ms->v[i].in_place)
			ins[count++] = ms->v[i].in;
	if (!count)
		return 0;
	r = network_up(d, lab, err);
	return r < 0 ? r : network_add_nics(d, lab, ins, count, err);
}

static int bring_back(struct labd *d, struct lab *lab, struct members *ms,
		      struct instance *const *ins, int64_t snapshot, struct lab_err *err)
{
	int r = members_each(ms, end, err);

	if (!r)
		r = disks_thaw(d, lab, ins, ms->n, snapshot, err);
	if (!r)
		r = add_nics(d, lab, ms, err);
	if (r < 0)
		return r;
	/* whom one failure does not concern goes on */
	(void)members_each(ms, load, err);
	return members_each(ms, go_on, err);
}

static int run(struct members *ms, struct labd *d, struct job *job, struct lab *lab,
	       struct instance *const *ins, int64_t snapshot, struct lab_err *err)
{
	double began = num_wall();
	int late, r = bring_back(d, lab, ms, ins, snapshot, err);

	unmark(d, lab);
	job_log(job, "all run after %.0f ms", (num_wall() - began) * 1e3);
	late = members_each(ms, settle, r < 0 ? NULL : err);
	return r < 0 ? r : late;
}

int restore_run(struct labd *d, struct job *job, struct lab *lab, struct instance *const *ins,
		size_t n, int64_t snapshot, json_t *spec, struct lab_err *err)
{
	json_t *before = spec ? swap_spec(d, lab, json_incref(spec)) : NULL;
	struct members ms;
	int r = begin(&ms, d, job, ins, n, snapshot, err);

	if (!r)
		r = members_each(&ms, prepare, err);
	if (!r)
		r = job_check(job, err);
	if (!r)
		r = mark(d, lab, &ms, snapshot, err);
	if (r < 0 && before)
		before = swap_spec(d, lab, before);
	json_decref(before);
	if (!r)
		r = run(&ms, d, job, lab, ins, snapshot, err);
	members_end(&ms);
	return r;
}
