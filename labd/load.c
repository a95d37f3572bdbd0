// SPDX-License-Identifier: GPL-2.0-or-later
/* load.c - the saved state of one instance into a QEMU */
#define _GNU_SOURCE
#include "labd/load.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/memory.h"
#include "labd/spare.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define CALL_US (15 * 1000000ULL)

static int load_memory(struct labd *d, const struct machine *m, const char *dir,
		       struct lab_err *err)
{
	struct ram_chain chain = { 0 };
	struct ram ram;
	int r = memory_open(d, dir, &chain, err);

	if (!r)
		r = ram_open(m->proc.pid, m->proc.pidfd, chain.size, &ram, err);
	if (!r) {
		r = ram_load(&ram, &chain, err);
		ram_close(&ram);
	}
	ram_chain_close(&chain);
	return r;
}

/* QEMU writes to the state it loads: it gets a copy, in its own directory */
int load_state(struct labd *d, const struct lab *lab, const struct machine *m, const char *dir,
	       struct lab_err *err)
{
	char state[IO_PATH];
	int r = load_memory(d, m, dir, err);

	io_path(state, "%s/state.qcow2", m->run);
	if (!r)
		r = memory_copy_state(dir, state, keeper_uid(lab_host_id(d, lab)), err);
	if (r < 0)
		return r;
	r = qemu_open_state(m->qmp, state, num_now_us() + CALL_US, err);
	unlink(state);
	if (r < 0)
		return r;
	r = qemu_load_devices(m->qmp, num_now_us() + CALL_US, err);
	(void)qemu_close_state(m->qmp, num_now_us() + CALL_US, NULL);
	return r;
}

/* Into a new QEMU */
static int load_new(struct member *m)
{
	char dir[IO_PATH], ram[IO_PATH], run[IO_PATH];
	struct launch how = { .run = instance_run_dir(m->d, m->in, run) };
	struct machine machine;
	int r;

	disks_frozen_dir(m->d, m->in, m->snapshot, dir);
	how.ram = memory_file(m->d, dir, ram);
	r = boot_qemu(m->d, m->in, &how, &machine, &m->err);
	if (!r)
		r = boot_take(m->d, m->in, &machine, dir, &m->err);
	return r < 0 ? r : load_state(m->d, m->in->lab, &machine, dir, &m->err);
}

int load_saved(struct member *m)
{
	int r;

	boot_begin(m->d, m->in);
	r = spare_taken(m->in) ? spare_use(m->d, m->in, &m->err) : -ESRCH;
	return r == -ESRCH ? load_new(m) : r;
}
