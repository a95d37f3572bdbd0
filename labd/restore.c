// SPDX-License-Identifier: GPL-2.0-or-later
/* restore.c - instances of a lab back to a snapshot, with their memory */
#define _GNU_SOURCE
#include "labd/restore.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/member.h"
#include "labd/memory.h"
#include "labd/network.h"
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

static int end(struct member *m)
{
	job_item_step(m->job, m->item, "end", 0);
	if (!m->runs)
		instance_set_want(m->d, m->in, "stopped");
	return boot_stop(m->d, m->job, m->in, false, &m->err);
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
	struct stat st;
	char path[IO_PATH];
	int r;

	if (stat(memory_file(m->d, dir, path), &st) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	chain.size = (uint64_t)st.st_size;
	r = memory_open(m->d, dir, &chain, err);
	if (!r)
		r = ram_open(in->pid, in->guest->proc.pidfd, chain.size, &ram, err);
	if (!r) {
		r = ram_load(&ram, &chain, err);
		ram_close(&ram);
	}
	ram_chain_close(&chain);
	return r;
}

/* A QEMU that maps the memory, with the devices as they were, stopped */
static int load(struct member *m)
{
	char dir[IO_PATH], ram[IO_PATH], state[IO_PATH];
	struct instance *in = m->in;
	int r;

	if (!m->runs)
		return 0;
	job_item_step(m->job, m->item, "load", 0);
	memory_dir(m->d, in, m->snapshot, dir);
	boot_begin(m->d, in);
	snprintf(in->memory, sizeof(in->memory), "%.511s", dir);
	r = boot_launch(m->d, in, memory_file(m->d, dir, ram), &m->err);
	if (!r)
		r = load_memory(m, dir, &m->err);
	if (!r)
		r = copy_state(m, dir, state, &m->err);
	if (!r) {
		r = qemu_load_devices(in->guest->qmp, state, num_now_us() + CALL_US, &m->err);
		unlink(state);
	}
	if (r < 0)
		boot_failed(m->d, in, &m->err);
	return r;
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
	(void)qemu_announce(in->guest->qmp, num_now_us() + CALL_US, NULL);
	watch_guest(m->d, in);
	instance_set_state(m->d, in, "running", NULL);
	return 0;
}

static int wait_ready(struct member *m)
{
	if (!m->runs || !instance_running(m->in))
		return 0;
	return boot_wait_ready(m->d, m->job, m->in, m->item, &m->err);
}

/* ---- all of them --------------------------------------------------------------- */

/* It begins: from now on it is done, or done again */
static int mark(struct labd *d, struct lab *lab, int64_t snapshot, struct lab_err *err)
{
	pthread_mutex_lock(&d->lock);
	lab->restore = snapshot;
	pthread_mutex_unlock(&d->lock);
	return lab_set_spec(d, lab, NULL, json_incref(lab->spec), NULL, err);
}

static void unmark(struct labd *d, struct lab *lab)
{
	pthread_mutex_lock(&d->lock);
	lab->at = lab->restore;
	lab->restore = 0;
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
		if (ms->v[i].runs)
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
	late = members_each(ms, wait_ready, r < 0 ? NULL : err);
	return r < 0 ? r : late;
}

int restore_run(struct labd *d, struct job *job, struct lab *lab, struct instance *const *ins,
		size_t n, int64_t snapshot, json_t *spec, struct lab_err *err)
{
	json_t *before = spec ? swap_spec(d, lab, json_incref(spec)) : NULL;
	struct members ms;
	int r = begin(&ms, d, job, ins, n, snapshot, err);

	if (!r)
		r = job_check(job, err);
	if (!r)
		r = mark(d, lab, snapshot, err);
	if (r < 0 && before)
		before = swap_spec(d, lab, before);
	json_decref(before);
	if (!r)
		r = run(&ms, d, job, lab, ins, snapshot, err);
	members_end(&ms);
	return r;
}
