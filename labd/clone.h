/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clone.h - a second lab out of a snapshot of a first
 *
 * DOC: Theory of Operation
 *
 * A clone is a lab of its own with a golden that stands on the snapshot it was made
 * from: its disks are empty overlays of the frozen ones, its memories have no page of
 * their own, its devices are a copy. Bringing it up is restoring that golden, as for any
 * lab. Both labs map the same memory; each has pages of its own where they diverge.
 *
 * The guests are the same: names, addresses, MACs and machine ids, so the clone's
 * specification has the first lab's name as its identity. The labs are in namespaces of
 * their own and do not see each other. Ports of the host that forward to the clone
 * are others, chosen by the kernel.
 *
 * Frozen files belong to nobody: either lab can be removed first.
 */
#ifndef LABD_CLONE_H
#define LABD_CLONE_H

#include "labd/job.h"
#include "labd/model.h"
#include "labd/repair.h"

/**
 * clone_run() - Make lab @name of a snapshot of @from, and bring it up
 * The job has claimed @from, and claims the new lab. On failure nothing is left of it.
 */
int clone_run(struct labd *d, struct job *job, struct lab *from, int64_t snapshot, const char *name,
	      const struct repair *repair, struct lab_err *err);

#endif
