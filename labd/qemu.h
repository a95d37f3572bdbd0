/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu.h - one QEMU guest: its command line, its start and its end
 *
 * Knows nothing of labs or the model. All functions block with deadlines and
 * are called from jobs.
 */
#ifndef LABD_QEMU_H
#define LABD_QEMU_H

#include "labd/accel.h"
#include "labd/labfile.h"
#include "labd/qmp.h"
#include "lib/digest.h"
#include "lib/err.h"
#include "netns/keeper.h"

#include <stdint.h>
#include <sys/types.h>

/**
 * struct qemu_disk - a disk of the guest
 * @name:	"root", "data", ...: serial number; qdev id is "disk-NAME"
 * @path:	qcow2 file, written by the guest; its backing chain is qcow2
 */
struct qemu_disk {
	const char *name, *path;
};

/**
 * struct qemu_nic - a nic of the guest
 * @name:	"eth0", ...; qdev id is "nic-NAME"
 * @ifname:	tap in the lab, made by keeper_nics_add()
 * @mac:	address
 * @mtu:	told to the guest (virtio host_mtu)
 */
struct qemu_nic {
	const char *name, *ifname, *mac;
	unsigned int mtu;
};

/**
 * struct qemu_config - all that decides the command line
 * @name:	"lab/instance", for -name
 * @hostname:	given to the guest on the kernel command line
 * @machine_id:	32 hexadecimal digits, from name_hash()
 * @run_dir:	the instance's: sockets qmp, events, agent, serial, vnc
 * @vcpus, @memory: count; bytes
 * @kernel, @initrd, @cmdline: direct boot; kernel NULL: firmware boot
 * @log:	QEMU's own words (standard error)
 * @ram:	file of a whole saved memory (ram.h) that its memory is to be a
 *		private mapping of; NULL: it boots with empty memory
 * @preload:	labram.so
 */
#define QEMU_MAX_WORDS 160
#define QEMU_NO_RAM "/dev/zero"
#define QEMU_FIRST_TAP 4 /* descriptor 3 is labram.so */
struct qemu_config {
	const char *name, *hostname, *machine_id, *run_dir;
	const struct accel *accel;
	unsigned int vcpus;
	uint64_t memory;
	const char *kernel, *initrd, *cmdline;
	struct qemu_disk disks[LAB_MAX_DISKS + 1];
	size_t ndisks;
	struct qemu_nic nics[LAB_MAX_NICS];
	size_t nnics;
	const char *log, *ram, *preload;
};

/**
 * struct qemu_proc - a started QEMU
 * @pid, @start_time: identify the process for ever (field 22 of
 *		/proc/PID/stat, in clock ticks)
 * @pidfd:	readable when it has ended; owned
 * @digest:	of its command line
 */
struct qemu_proc {
	pid_t pid;
	uint64_t start_time;
	int pidfd;
	char digest[DIGEST_HEX];
};

/**
 * qemu_argv() - Write the command line
 * @ret:	NULL-terminated, one malloced block per string; qemu_argv_free()
 * Taps are descriptors QEMU_FIRST_TAP, ... in the order of the nics.
 */
int qemu_argv(const struct qemu_config *config, char ***ret, struct lab_err *err);
void qemu_argv_free(char **argv);

/**
 * qemu_machine_digest() - Of all that a saved guest needs to be the same
 * Machine, processor, devices and their order, addresses; not where files are.
 */
int qemu_machine_digest(const struct qemu_config *config, char digest[DIGEST_HEX],
			struct lab_err *err);

/**
 * qemu_start() - Start QEMU in the lab, stopped before its first instruction
 * Waits until the monitor answers. The caller attaches the console, then
 * calls qemu_cont().
 *
 * Return: 0; on failure the process is gone and @err has the last lines of
 * its log
 */
int qemu_start(struct keeper *k, const struct qemu_config *config, uint64_t deadline,
	       struct qemu_proc *ret, struct qmp **ret_qmp, struct lab_err *err);

/**
 * qemu_adopt() - Find a QEMU that an earlier labd started
 * @pid, @start_time, @digest: as stored
 * @run_dir:	its sockets
 *
 * Return: 0 with *ret filled and the monitor connected; -ESRCH if that process
 * is gone or is another one; -ETIMEDOUT if it does not answer, or another
 * failure of its monitor (*ret is filled, *ret_qmp is NULL)
 */
int qemu_adopt(pid_t pid, uint64_t start_time, const char *digest, const char *run_dir,
	       uint64_t deadline, struct qemu_proc *ret, struct qmp **ret_qmp, struct lab_err *err);

/**
 * qemu_open_state(), qemu_close_state() - Open the file of a guest's devices, and close it
 * @path:	an empty qcow2 file of 64 MiB or so, or what qemu_save_devices() made of one;
 *		in both cases one that QEMU may write
 */
int qemu_open_state(struct qmp *q, const char *path, uint64_t deadline, struct lab_err *err);
int qemu_close_state(struct qmp *q, uint64_t deadline, struct lab_err *err);

/** qemu_save_devices() - Save the devices of a stopped guest, memory excepted */
int qemu_save_devices(struct qmp *q, uint64_t deadline, struct lab_err *err);

/**
 * qemu_load_devices() - Bring the devices of a stopped guest back
 * Its memory must be that of the state already: devices look into it.
 */
int qemu_load_devices(struct qmp *q, uint64_t deadline, struct lab_err *err);

/**
 * qemu_add_overlay(), qemu_use_overlay() - Let a disk be written to another file
 * The first opens @path, an empty overlay of the file the disk is written to now; the
 * second, quick, switches. Between the two nothing has happened.
 * @disk:	its name
 * @node:	a name for it that QEMU does not know yet
 */
int qemu_add_overlay(struct qmp *q, const char *path, const char *node, uint64_t deadline,
		     struct lab_err *err);
int qemu_use_overlay(struct qmp *q, const char *disk, const char *node, uint64_t deadline,
		     struct lab_err *err);

/** qemu_drop_overlay() - Undo qemu_add_overlay(); fails once it is in use */
int qemu_drop_overlay(struct qmp *q, const char *node, uint64_t deadline, struct lab_err *err);

/** qemu_version() - "7.2.22 (Debian ...)" of the program that guests run on; asked once */
const char *qemu_version(void);

/* Monitor commands; 0 or negative errno */
int qemu_cont(struct qmp *q, uint64_t deadline, struct lab_err *err);
int qemu_pause(struct qmp *q, uint64_t deadline, struct lab_err *err);
int qemu_reboot(struct qmp *q, uint64_t deadline, struct lab_err *err);
int qemu_nmi(struct qmp *q, uint64_t deadline, struct lab_err *err);
int qemu_powerdown(struct qmp *q, uint64_t deadline, struct lab_err *err);

/** qemu_registers() - All registers of all its processors, as text for people; malloced */
int qemu_registers(struct qmp *q, uint64_t deadline, char **ret, struct lab_err *err);

/**
 * qemu_kill() - End it now (SIGKILL through the pidfd) and wait until it is gone
 * Return: 0; -ETIMEDOUT if the kernel has not ended it by then
 */
int qemu_kill(const struct qemu_proc *p, uint64_t deadline, struct lab_err *err);

/** qemu_has_open() - Whether a process has a file open */
bool qemu_has_open(pid_t pid, const char *path);

/**
 * qemu_usage() - Memory and processor time of a process
 * @ret_rss:	resident bytes
 * @ret_cpu:	seconds of processor time used
 */
int qemu_usage(pid_t pid, uint64_t *ret_rss, double *ret_cpu);

#endif
