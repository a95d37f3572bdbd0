// SPDX-License-Identifier: GPL-2.0-or-later
/* restore.c - instances of a lab back to a snapshot, with their memory */
#define _GNU_SOURCE
#include "labd/restore.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/memory.h"
#include "labd/network.h"
#include "labd/watch.h"
#include "labd/work.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CALL_US (15 * 1000000ULL)

/**
 * struct member - an instance that is restored
 * @runs:	its memory is part of the snapshot
 */
struct member {
	struct labd *d;
	struct job *job;
	struct instance *in;
	int64_t snapshot;
	bool runs;
	struct lab_err err;
};

struct step {
	struct member *members;
	int (*run)(struct member *m);
};

static void run_one(void *arg, size_t i)
{
	const struct step *step = arg;
	struct member *m = &step->members[i];

	/* what failed takes no further steps */
	if (!m->err.code)
		m->err.code = MIN(step->run(m), 0);
}

/* One step for all; the first failure, with the words of all */
static int all(struct member *members, size_t n, int (*run)(struct member *m), struct lab_err *err)
{
	char text[LAB_ERR_TEXT] = "";
	int first = 0;

	work_fan_out(n, run_one, &(struct step){ members, run });
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(text);

		if (!members[i].err.code)
			continue;
		first = first ? first : members[i].err.code;
		snprintf(text + len, sizeof(text) - len, "%s%.700s", len ? "\n" : "",
			 members[i].err.text);
	}
	return first ? lab_fail(err, first, "%s", text) : 0;
}

static int check(struct member *m)
{
	return m->runs ? memory_check(m->d, m->in, m->snapshot, &m->err) : 0;
}

static int end(struct member *m)
{
	job_item_step(m->job, job_item(m->job, m->in->name), "end", 0);
	return lab_wrap(&m->err, boot_stop(m->d, m->job, m->in, false, &m->err), "instance %s",
			m->in->name);
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
	job_item_step(m->job, job_item(m->job, in->name), "load", 0);
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
	return lab_wrap(&m->err, r, "instance %s", in->name);
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
		return lab_wrap(&m->err, r, "instance %s", in->name);
	}
	(void)qemu_announce(in->guest->qmp, num_now_us() + CALL_US, NULL);
	watch_guest(m->d, in);
	instance_set_state(m->d, in, "running", NULL);
	return 0;
}

static int wait_ready(struct member *m)
{
	struct job_item *item = job_item(m->job, m->in->name);
	int r = m->runs ? boot_wait_ready(m->d, m->job, m->in, item, &m->err) : 0;

	return lab_wrap(&m->err, r, "instance %s", m->in->name);
}

/* ---- all of them --------------------------------------------------------------- */

static int mark(struct labd *d, struct lab *lab, int64_t snapshot, struct lab_err *err)
{
	pthread_mutex_lock(&d->lock);
	lab->restore = snapshot;
	pthread_mutex_unlock(&d->lock);
	return lab_save(d, lab, err);
}

static struct member *members_new(struct labd *d, struct job *job, struct instance *const *ins,
				  size_t n, int64_t snapshot)
{
	struct member *members = calloc(n + 1, sizeof(*members));

	for (size_t i = 0; members && i < n; i++)
		members[i] = (struct member){ .d = d,
					      .job = job,
					      .in = ins[i],
					      .snapshot = snapshot,
					      .runs = memory_exists(d, ins[i], snapshot),
					      .err = LAB_ERR_INIT };
	return members;
}

int restore_check(struct labd *d, struct instance *const *ins, size_t n, int64_t snapshot,
		  struct lab_err *err)
{
	autofree struct member *members = members_new(d, NULL, ins, n, snapshot);

	return members ? all(members, n, check, err) : lab_fail(err, -ENOMEM, "out of memory");
}

static int add_nics(struct labd *d, struct lab *lab, const struct member *members, size_t n,
		    struct lab_err *err)
{
	autofree struct instance **ins = calloc(n + 1, sizeof(struct instance *));
	size_t count = 0;
	int r;

	if (!ins)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (members[i].runs)
			ins[count++] = members[i].in;
	if (!count)
		return 0;
	r = network_up(d, lab, err);
	return r < 0 ? r : network_add_nics(d, lab, ins, count, err);
}

static int bring_back(struct labd *d, struct lab *lab, struct member *members,
		      struct instance *const *ins, size_t n, int64_t snapshot, struct lab_err *err)
{
	int r = all(members, n, end, err), failed;

	if (!r)
		r = disks_thaw(d, lab, ins, n, snapshot, err);
	if (!r)
		r = add_nics(d, lab, members, n, err);
	if (r < 0)
		return r;
	failed = all(members, n, load, err);
	r = all(members, n, go_on, err);
	return failed ? failed : r;
}

int restore_run(struct labd *d, struct job *job, struct lab *lab, struct instance *const *ins,
		size_t n, int64_t snapshot, struct lab_err *err)
{
	autofree struct member *members = members_new(d, job, ins, n, snapshot);
	double began = num_wall();
	int r = members ? all(members, n, check, err) : lab_fail(err, -ENOMEM, "out of memory");

	if (!r)
		r = job_check(job, err);
	if (!r)
		r = mark(d, lab, snapshot, err);
	if (r < 0)
		return r;
	r = bring_back(d, lab, members, ins, n, snapshot, err);
	(void)mark(d, lab, 0, NULL);
	job_log(job, "all run after %.0f ms", (num_wall() - began) * 1e3);
	if (!r)
		r = all(members, n, wait_ready, err);
	for (size_t i = 0; i < n; i++)
		job_item_end(job, job_item(job, ins[i]->name), members[i].err.code);
	return r;
}
