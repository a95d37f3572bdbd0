/* SPDX-License-Identifier: GPL-2.0-or-later */
/* work.h - a bounded pool of worker threads, and fanning out */
#ifndef LABD_WORK_H
#define LABD_WORK_H

#include "lib/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct work;

#define WORK_NO_LIMIT UINT_MAX

/**
 * work_new() - A pool; threads start when there is work and end when idle
 * @threads:	at most so many at once; each costs a stack of touched pages
 * @waiting:	at most so many functions wait for a thread, or WORK_NO_LIMIT
 */
struct work *work_new(unsigned int threads, unsigned int waiting);

/**
 * work_wait() - Wait until all that was submitted has been done
 * @ms:		at most so long
 * Return: whether it has
 */
bool work_wait(struct work *w, unsigned int ms);

/** work_free() - Wait for all that was submitted; takes NULL, returns NULL */
struct work *work_free(struct work *w);

/**
 * work_submit() - Run a function in a worker thread, in order of submission
 * Return: 0, -EBUSY if too many wait already, -ENOMEM, or -EAGAIN if no thread
 * can be started and none runs
 */
int work_submit(struct work *w, void (*fn)(void *arg), void *arg);

/**
 * work_fan_out() - Run a function for 0 .. n - 1, each in a thread of its own
 * @fn:		gets @arg and the index; it waits at most for those of lower indexes
 *
 * Returns when all are done. Where a thread cannot be started, the function
 * runs in the caller's.
 */
void work_fan_out(size_t n, void (*fn)(void *arg, size_t i), void *arg);

#endif
