// SPDX-License-Identifier: GPL-2.0-or-later
/* load.c - the saved state of one instance into a QEMU */
#define _GNU_SOURCE
#include "labd/load.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/memory.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define CALL_US (15 * 1000000ULL)

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

/* QEMU writes to the state it loads: it gets a copy, in its own directory */
static int load_state(const struct member *m, const char *dir, struct lab_err *err)
{
	struct qmp *q = m->in->guest->qmp;
	char run[IO_PATH], state[IO_PATH];
	int r = load_memory(m, dir, err);

	io_path(state, "%s/state.qcow2", instance_run_dir(m->d, m->in, run));
	if (!r)
		r = memory_copy_state(dir, state, keeper_uid(lab_host_id(m->d, m->in->lab)), err);
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

int load_saved(struct member *m)
{
	char dir[IO_PATH], ram[IO_PATH];
	int r;

	disks_frozen_dir(m->d, m->in, m->snapshot, dir);
	boot_begin(m->d, m->in);
	r = boot_launch(m->d, m->in, memory_file(m->d, dir, ram), &m->err);
	return r < 0 ? r : load_state(m, dir, &m->err);
}
