/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest_start.h - what a labinspect needs before it can be asked: files, a process */
#ifndef FS_GUEST_START_H
#define FS_GUEST_START_H

#include "lib/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct guest_chain;
struct guest_disk;
struct guest_start;

/** guest_start_new() - Have a worker ask labd for the files of a disk, and open them */
struct guest_start *guest_start_new(const struct guest_disk *disk);

/** guest_start_forget() - Nobody waits for it any more; takes NULL */
void guest_start_forget(struct guest_start *start);

/** guest_start_done() - Whether the worker is ready; it wakes the loop then */
bool guest_start_done(struct guest_start *start);

/** guest_start_take() - What came of it; @start is freed. 0 or negative errno */
int guest_start_take(struct guest_start *start, struct guest_chain **ret, struct lab_err *err);

/**
 * guest_start_process() - Start a labinspect and hand it the files
 * @exec:	directory of the program
 * @ret_sock:	to be asked by
 */
int guest_start_process(const char *exec, const struct guest_chain *chain, int *ret_sock,
			pid_t *ret_pid, struct lab_err *err);

#endif
