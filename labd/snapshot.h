/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot.h - points in time of a lab's disks */
#ifndef LABD_SNAPSHOT_H
#define LABD_SNAPSHOT_H

#include "labd/labjob.h"

/* Validate, claim, start a job; called in a worker thread, without the lock */
int snapshot_create(struct labd *d, const char *lab, const char *name, const json_t *instances,
		    int64_t *ret_job, struct lab_err *err);
int snapshot_remove(struct labd *d, const char *lab, const char *name, int64_t *ret_job,
		    struct lab_err *err);
int snapshot_restore(struct labd *d, const char *lab, const char *name, int64_t *ret_job,
		     struct lab_err *err);

/** snapshot_repair() - At start: undo snapshots that were not finished */
void snapshot_repair(struct labd *d, struct lab *lab);

#endif
