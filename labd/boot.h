/* SPDX-License-Identifier: GPL-2.0-or-later */
/* boot.h - one instance from its disks to ready, and back */
#ifndef LABD_BOOT_H
#define LABD_BOOT_H

#include "labd/job.h"
#include "labd/model.h"

/**
 * boot_start() - Start an instance whose network is up and whose image is ready
 * @item:	its line in the job, may be NULL
 *
 * Makes missing disks. On failure it is stopped again, its state is "failed".
 */
int boot_start(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
	       struct lab_err *err);

/**
 * boot_wait_ready() - Wait until its probes succeed
 * On failure it runs on, with ready "no". Stores how long the boot took.
 */
int boot_wait_ready(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		    struct lab_err *err);

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
