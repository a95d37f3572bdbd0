/* SPDX-License-Identifier: GPL-2.0-or-later */
/* boot.h - one instance from its disks to ready, and back */
#ifndef LABD_BOOT_H
#define LABD_BOOT_H

#include "labd/job.h"
#include "labd/layer.h"
#include "labd/model.h"
#include "lib/io.h"

/**
 * boot_start() - Start an instance whose network is up and whose image is ready
 * @item:	its line in the job, may be NULL
 *
 * Makes missing disks. On failure it is stopped again, its state is "failed".
 */
int boot_start(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
	       struct lab_err *err);

/**
 * boot_machine() - Digest of the machine that an instance is by its specification
 * qemu.h says what that is.
 */
int boot_machine(struct labd *d, struct instance *in, char digest[DIGEST_HEX], struct lab_err *err);

/**
 * boot_same_machine() - Whether what it runs on is what this labd would start with this QEMU
 * If not, nothing could load what is saved of it.
 *
 * Return: 0, -EBUSY it is another one, or negative errno
 */
int boot_same_machine(struct labd *d, struct instance *in, struct lab_err *err);

/** boot_begin() - From now on it should run; state "starting" */
void boot_begin(struct labd *d, struct instance *in);

/**
 * struct machine - a QEMU that has been started and stands still (-S)
 * @agent:	of its guest, with an open channel (agent_open())
 * @run:	its run directory, with its sockets
 */
struct machine {
	struct qemu_proc proc;
	struct qmp *qmp;
	struct agent *agent;
	char run[IO_PATH];
};

/**
 * struct launch - how the QEMU of an instance is to be started
 * @run:	run directory, which is made anew
 * @ram:	a whole saved memory for it to map, or NULL
 * @spare:	the disks of one that is to wait, with taps of its own (spare.h); NULL: the disks
 *		and nics that the instance has
 */
struct launch {
	const char *run, *ram;
	const struct layers *spare;
};

/** boot_qemu() - Start a QEMU; on failure it is gone. @ret: the caller's to end, or to take */
int boot_qemu(struct labd *d, struct instance *in, const struct launch *how, struct machine *ret,
	      struct lab_err *err);

/**
 * boot_take() - It is the instance's from now on, in the store as well
 * @memory:	directory of the saved memory that it is loaded from, or ""
 * What @m owns is taken. Console and forwards are there then; on failure something may be
 * left for boot_failed().
 */
int boot_take(struct labd *d, struct instance *in, const struct machine *m, const char *memory,
	      struct lab_err *err);

/** boot_ram_socket() - Of labram.so in its QEMU (ram.h); @buf has IO_PATH bytes */
const char *boot_ram_socket(struct labd *d, const struct instance *in, char *buf);

/** boot_failed() - End what was started of an instance, state "failed"; @why may be NULL */
void boot_failed(struct labd *d, struct instance *in, const struct lab_err *why);

/**
 * boot_wait_ready() - Wait until its probes succeed
 * On failure it runs on, with ready "no". Stores how long the boot took.
 */
int boot_wait_ready(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		    struct lab_err *err);

/** boot_wait_agent() - Wait until a guest that boots, or may, answers by its agent */
int boot_wait_agent(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		    struct lab_err *err);

/** boot_alive() - -ECHILD if its QEMU has ended */
int boot_alive(const struct instance *in, struct lab_err *err);

/** boot_ended() - Its QEMU has ended while one waited: clean up and say how; -ECHILD */
int boot_ended(struct labd *d, struct instance *in, struct lab_err *err);

/**
 * boot_probe() - Wait until these probes succeed, showing for which it waits
 * Return: as ready_wait(); -ECHILD: the guest has ended, and boot_ended() is to follow when
 * nobody else uses it any more
 */
int boot_probe(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
	       const json_t *probes, struct lab_err *err);

/**
 * boot_stop() - Shut an instance down
 * @graceful:	ask the guest first, for at most BOOT_STOP_SECONDS
 *
 * Return: 0, also if it did not run; it is gone in any case but -ETIMEDOUT
 */
#define BOOT_STOP_SECONDS 90
int boot_stop(struct labd *d, struct job *job, struct instance *in, bool graceful,
	      struct lab_err *err);

/**
 * boot_switch_off() - End an instance that is to be another at once; 0 also if it did not run
 * Its nics stay: to remove those of many together takes as long as those of one.
 */
int boot_switch_off(struct labd *d, struct instance *in, struct lab_err *err);

/**
 * boot_monitor() - The monitor of a running instance, connected again if it broke
 * Return: borrowed, or NULL with @err if QEMU does not answer
 */
struct qmp *boot_monitor(struct labd *d, struct instance *in, struct lab_err *err);

/**
 * boot_clean() - After QEMU has ended: links, forwards, console, sockets
 * @state:	"stopped" or "failed"
 * @error:	why, or ""
 */
void boot_clean(struct labd *d, struct instance *in, const char *state, const char *error);

/** boot_key() - Under which name its boot's duration is kept */
const char *boot_key(struct labd *d, const struct instance *in, char *buf, size_t size);

#endif
