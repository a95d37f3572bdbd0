// SPDX-License-Identifier: GPL-2.0-or-later
/* freeze.c - running instances at one instant: their disks, devices and memory */
#define _GNU_SOURCE
#include "labd/freeze.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/labfile.h"
#include "labd/member.h"
#include "labd/memory.h"
#include "labd/nested.h"
#include "labd/qcow2.h"
#include "labd/repair.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>

#define CALL_US (10 * 1000000ULL)
#define MIB (1024 * 1024ULL)
#define STATE_SIZE (64 * MIB)

/* QEMU's name for the overlay of a disk after a snapshot */
static const char *freeze_node(int64_t snapshot, size_t disk, char buf[32])
{
	snprintf(buf, 32, "blk%zu-%lld", disk, (long long)snapshot);
	return buf;
}

static const char *disk_text(const struct instance *in, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(in->disks, i), key));
}

/* What it was started with is what its specification says still */
static int check_spec(const struct instance *in, struct lab_err *err)
{
	const json_t *was = instance_applied(in);
	const char *key = labfile_differs(was, instance_spec(in));

	return key ? lab_fail(err, -EBUSY,
			      "of %s '%s' is to change when it is started again: labctl up first",
			      in->name, key)
		   : 0;
}

/* Not one that would not live through it, unless that is wanted; it runs still */
static int check_nested(struct member *m, struct qmp *q)
{
	int r = nested_ask(&m->d->accel, q, num_now_us() + CALL_US, &m->err);

	m->nested = r != 0;
	if (!r)
		return 0;
	if (m->force) {
		job_note(m->job,
			 "instance %s %s guests of its own when it was saved. " NESTED_DANGER,
			 m->in->name, r < 0 ? "perhaps ran" : "ran");
		m->err = (struct lab_err)LAB_ERR_INIT;
		return 0;
	}
	return r < 0 ? lab_wrap(&m->err, r, "whether it runs guests of its own is not known")
		     : lab_fail(&m->err, -EBUSY,
				"it runs guests of its own. " NESTED_DANGER
				". End its guests first, or use --force");
}

static int open_memory(struct member *m)
{
	const json_t *size = json_object_get(instance_spec(m->in), "memory");
	struct instance *in = m->in;
	int r = check_spec(in, &m->err) ?: boot_same_machine(m->d, in, &m->err);

	m->chain.size = ((uint64_t)json_integer_value(size) + MIB - 1) / MIB * MIB;
	if (!r)
		r = ram_open(in->pid, in->guest->proc.pidfd, m->chain.size, &m->ram, &m->err);
	/* only what it has written would be saved, as if it stood on nothing */
	if (!r && !*in->memory && ram_has_file(&m->ram))
		r = lab_fail(&m->err, -EUCLEAN,
			     "its memory stands on %s, which is not known of it: restart it",
			     m->ram.mapped);
	if (!r)
		r = memory_begin(m->d, in, m->snapshot, &m->whole, &m->chain, &m->err);
	return r;
}

static const char *state_path(const struct member *m, char path[IO_PATH])
{
	char dir[IO_PATH];

	return io_path(path, "%s/state.qcow2", disks_frozen_dir(m->d, m->in, m->snapshot, dir));
}

/* The file that QEMU saves the devices into: they take some hundred KiB */
static int make_state_file(struct member *m)
{
	char path[IO_PATH];

	return qcow2_create(state_path(m, path), STATE_SIZE, "",
			    keeper_uid(lab_host_id(m->d, m->in->lab)), &m->err);
}

static int open_overlays(struct member *m, struct qmp *q)
{
	char node[32];
	int r = disks_freeze(m->d, m->in, m->snapshot, &m->err);

	for (size_t i = 0; !r && i < json_array_size(m->in->disks); i++)
		r = qemu_add_overlay(q, disk_text(m->in, i, "path"),
				     freeze_node(m->snapshot, i, node), num_now_us() + CALL_US,
				     &m->err);
	return r;
}

static int prepare_running(struct member *m)
{
	struct qmp *q = boot_monitor(m->d, m->in, &m->err);
	char socket[IO_PATH], path[IO_PATH];
	int r = q ? check_nested(m, q) : m->err.code;

	if (!r)
		r = open_memory(m);
	job_item_step(m->job, m->item, "memory", 0);
	if (!r && m->runs) {
		/* where the kernel cannot, all is looked at again while they are stopped */
		(void)ram_track(&m->ram, boot_ram_socket(m->d, m->in, socket),
				num_now_us() + CALL_US, NULL);
		/* QEMU syncs while they are stopped, and the journal would wait for all of this */
		r = ram_save(&m->ram, &m->chain, &m->err) ?: ram_chain_sync(&m->chain, &m->err);
	}
	if (!r)
		r = make_state_file(m);
	if (!r)
		r = qemu_open_state(q, state_path(m, path), num_now_us() + CALL_US, &m->err);
	return r < 0 ? r : open_overlays(m, q);
}

static int prepare(struct member *m)
{
	if (instance_running(m->in))
		return prepare_running(m);
	job_item_step(m->job, m->item, "disks", 0);
	return disks_freeze(m->d, m->in, m->snapshot, &m->err);
}

static int stop(struct member *m)
{
	return m->runs ? qemu_pause(m->in->guest->qmp, num_now_us() + CALL_US, &m->err) : 0;
}

static int save(struct member *m)
{
	uint64_t deadline;
	char node[32];
	int r;

	if (!instance_running(m->in))
		return 0;
	r = ram_save_again(&m->ram, &m->chain, &m->err);
	/* QEMU's time: all of a large memory may have taken longer */
	deadline = num_now_us() + CALL_US;
	if (!r)
		r = qemu_save_devices(m->in->guest->qmp, deadline, &m->err);
	for (size_t i = 0; !r && i < json_array_size(m->in->disks); i++)
		r = qemu_use_overlay(m->in->guest->qmp, disk_text(m->in, i, "name"),
				     freeze_node(m->snapshot, i, node), deadline, &m->err);
	return r;
}

/* Also one whose save failed: QEMU may have broken the monitor, and be well */
static int go_on(struct member *m)
{
	struct qmp *q = m->in->guest ? m->in->guest->qmp : NULL;

	if (!m->runs || (q && !qemu_cont(q, num_now_us() + CALL_US, NULL)))
		return 0;
	q = boot_monitor(m->d, m->in, &m->err);
	return q ? qemu_cont(q, num_now_us() + CALL_US, &m->err) : m->err.code;
}

static int finish(struct member *m)
{
	int r;

	if (!instance_running(m->in))
		return 0;
	r = qemu_close_state(m->in->guest->qmp, num_now_us() + CALL_US, &m->err);
	if (r < 0)
		return r;
	job_item_step(m->job, m->item, "digests", 0);
	return memory_finish(m->d, m->in, m->snapshot, m->whole, m->nested, &m->chain, &m->err);
}

static int behind_barrier(struct members *ms, struct job *job, bool stay, double *ret_clock,
			  struct lab_err *err)
{
	double began = num_wall(), stopped;
	int r = members_each(ms, stop, err);

	stopped = num_wall();
	*ret_clock = ms->n ? repair_lab_time(ms->v[0].in->lab) : began;
	if (!r)
		r = members_each(ms, save, err);
	job_log(job, "all stopped after %.0f ms, saved after %.0f ms", (stopped - began) * 1e3,
		(num_wall() - began) * 1e3);
	if (r < 0 || !stay)
		r = members_all(ms, go_on, err);
	job_log(job, "paused for %.0f ms", (num_wall() - began) * 1e3);
	return r;
}

int freeze_run(struct labd *d, struct job *job, struct instance *const *ins, size_t n,
	       int64_t snapshot, const struct freeze *how, double *ret_clock, struct lab_err *err)
{
	struct members ms;
	int r = members_new(&ms, d, job, ins, n, snapshot, err);

	for (size_t i = 0; i < ms.n; i++) {
		ms.v[i].whole = how->whole;
		ms.v[i].force = how->force;
		ms.v[i].runs = !strcmp(ins[i]->state, "running");
	}
	if (!r)
		r = members_each(&ms, prepare, err);
	if (!r)
		r = job_check(job, err);
	if (!r)
		r = behind_barrier(&ms, job, how->stay, ret_clock, err);
	if (!r) {
		r = members_each(&ms, finish, err);
		if (r < 0 && how->stay)
			(void)members_all(&ms, go_on, NULL);
	}
	members_end(&ms);
	return r;
}

int freeze_undo(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err)
{
	struct qmp *q = instance_running(in) ? boot_monitor(d, in, NULL) : NULL;
	char node[32];

	if (q)
		(void)qemu_close_state(q, num_now_us() + CALL_US, NULL);
	for (size_t i = 0; q && i < json_array_size(in->disks); i++)
		(void)qemu_drop_overlay(q, freeze_node(snapshot, i, node), num_now_us() + CALL_US,
					NULL);
	/* one that was to stay stopped, of a snapshot that failed after the freeze */
	if (q && !strcmp(in->state, "running"))
		(void)qemu_cont(q, num_now_us() + CALL_US, NULL);
	return disks_unfreeze(d, in, snapshot, err);
}
