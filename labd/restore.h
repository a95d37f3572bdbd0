/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * restore.h - instances of a lab back to a snapshot, with their memory
 *
 * DOC: Theory of Operation
 *
 * Everything that can be refused is refused first: machine, QEMU, accelerator and all
 * files are checked before a guest is touched. Then
 *
 *	the lab is marked in the store
 *	its members end, then all their links: frames, leases and connections of
 *	the abandoned run are gone
 *	the disks change, in one transaction
 *	new QEMUs map the saved memories, and their devices are loaded; a spare (spare.h)
 *	has that behind it
 *	all go on, at the same time, when the last one is loaded
 *	the mark goes, and the snapshot if it was that of a suspended lab
 *	clocks, seeds and repair commands; who is to have them is forgotten then
 *	probes must succeed again
 *
 * A labd that finds the mark does it again, so a lab is never half restored; if that is
 * refused, the mark goes, and the user decides. One that finds no mark but members that were
 * not repaired yet does that only (snapjob_resume()). A member that cannot be started is
 * "failed", with the reason; the others go on.
 */
#ifndef LABD_RESTORE_H
#define LABD_RESTORE_H

#include "labd/job.h"
#include "labd/model.h"
#include "labd/repair.h"

/** restore_check() - Whether all members of a snapshot can be restored here, or why not */
int restore_check(struct labd *d, struct instance *const *ins, size_t n, int64_t snapshot,
		  struct lab_err *err);

/**
 * struct restore - what is restored
 * @lab:	claimed by the job
 * @ins:	@n of its members; those that did not run in the snapshot are stopped then
 * @spec:	the lab's specification from then on, or NULL
 * @clock:	the lab's time in the snapshot
 */
struct restore {
	struct lab *lab;
	struct instance *const *ins;
	size_t n;
	int64_t snapshot;
	json_t *spec;
	double clock;
	struct repair repair;
};

/** restore_run() - Do it; waits until their probes succeed again */
int restore_run(struct labd *d, struct job *job, const struct restore *restore,
		struct lab_err *err);

/** restore_finish() - Of one that an earlier labd has done but for the repair: @ins run already */
int restore_finish(struct labd *d, struct job *job, const struct restore *restore,
		   struct lab_err *err);

#endif
