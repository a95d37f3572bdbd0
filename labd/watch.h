/* SPDX-License-Identifier: GPL-2.0-or-later */
/* watch.h - QEMUs that end or change state by themselves */
#ifndef LABD_WATCH_H
#define LABD_WATCH_H

#include "labd/model.h"

/**
 * watch_guest() - Watch an instance's QEMU: its end, and its events
 * From any thread, without the lock.
 */
void watch_guest(struct labd *d, struct instance *in);

/**
 * watch_recheck() - Look after guests that ended while a job had claimed them
 * From any thread, without the lock; done when a job ends.
 */
void watch_recheck(struct labd *d);

#endif
