// SPDX-License-Identifier: GPL-2.0-or-later
/* load.c - the saved state of one instance into a QEMU */
#define _GNU_SOURCE
#include "labd/load.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/memory.h"
#include "labd/startset.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CALL_US (15 * 1000000ULL)

/* QEMU writes to the state it loads: it gets a copy */
static int copy_state(const struct member *m, const char *dir, char to[IO_PATH],
		      struct lab_err *err)
{
	char from[IO_PATH], run[IO_PATH];
	autoclose int in = open(io_path(from, "%s/state.qcow2", dir), O_RDONLY | O_CLOEXEC);
	autoclose int out = -EBADF;
	int r;

	io_path(to, "%s/state.qcow2", instance_run_dir(m->d, m->in, run));
	/* the directory is the guest's: never into what it has put there under this name */
	unlink(to);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (in < 0 || out < 0)
		return lab_fail_errno(err, -errno, "%s", in < 0 ? from : to);
	r = io_copy(in, out);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", to);
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
	struct qmp *q = m->in->guest->qmp;
	char state[IO_PATH];
	int r = load_memory(m, dir, err);

	if (!r)
		r = copy_state(m, dir, state, err);
	if (r < 0)
		return r;
	r = qemu_open_state(q, state, num_now_us() + CALL_US, err);
	unlink(state);
	if (r < 0)
		return r;
	r = qemu_load_devices(q, num_now_us() + CALL_US, err);
	(void)qemu_close_state(q, num_now_us() + CALL_US, NULL);
	return r;
}

int load_new(struct member *m)
{
	char dir[IO_PATH], ram[IO_PATH];
	int r;

	disks_frozen_dir(m->d, m->in, m->snapshot, dir);
	boot_begin(m->d, m->in);
	r = boot_launch(m->d, m->in, memory_file(m->d, dir, ram), &m->err);
	return r < 0 ? r : load_state(m, dir, &m->err);
}

/* ---- in the QEMU that runs ------------------------------------------------------ */

/*
 * Not under TCG: QEMU 7.2 never lets a guest's time stamp counter go back
 * (cpu_get_ticks()), so it goes on from the abandoned run, and guests saw their clock
 * jump. Not with a network: of two guests with traffic between them one in ten times one
 * knew of a datagram of the abandoned run (tests/system/lab-cut.sh), with new QEMUs
 * never; perhaps for the same reason.
 */
static bool is_trusted(const struct member *m)
{
	return m->d->accel.kvm &&
	       !json_object_size(json_object_get(instance_spec(m->in), "networks"));
}

bool load_can_stay(const struct member *m)
{
	char dir[IO_PATH], file[IO_PATH];
	const struct instance *in = m->in;
	bool same;
	struct ram ram;
	struct stat st;

	if (!m->runs || !in->guest || !in->guest->qmp || !is_trusted(m))
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

int load_in_place(struct member *m, struct lab_err *err)
{
	char dir[IO_PATH], socket[IO_PATH];
	int r = change_disks(m, err);

	/* if it cannot, load_state() writes what differs */
	if (!r)
		(void)ram_forget(boot_ram_socket(m->d, m->in, socket), num_now_us() + CALL_US,
				 NULL);
	if (!r)
		r = load_state(m, disks_frozen_dir(m->d, m->in, m->snapshot, dir), err);
	if (!r)
		r = startset_refresh(m->d, m->in, err);
	return r;
}
