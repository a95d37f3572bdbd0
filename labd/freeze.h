/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * freeze.h - running instances at one instant: their disks, devices and memory
 *
 * DOC: Theory of Operation
 *
 * The instances of a snapshot are saved behind one barrier:
 *
 *	prepare	while they run: most of the memory is written, overlays are made and
 *		opened
 *	stop	all of them, at the same time
 *	save	what memory has changed since, the devices; disks switch to their overlays
 *	go on	all of them
 *	finish	while they run again: digests, manifests, rows
 *
 * No guest goes on before the last one has stopped. So nothing can be received in the
 * snapshot that was not sent in it: each cut is consistent. Frames on their way
 * are delivered to the guests that go on; to a restored one they are lost.
 */
#ifndef LABD_FREEZE_H
#define LABD_FREEZE_H

#include "labd/job.h"
#include "labd/model.h"

/**
 * struct freeze - how
 * @whole:	their memories are to stand on nothing
 * @stay:	they do not go on, unless it fails: they are to end
 * @force:	also those that run guests of their own (nested.h): a note says so
 */
struct freeze {
	bool whole, stay, force;
};

/**
 * freeze_run() - Save instances for a snapshot
 * @ins:	@n instances, all of one claimed lab; of those that do not run the disks
 * @ret_clock:	the lab's time at that instant (repair.h)
 *
 * They are as they were afterwards, whatever happens: running ones run, paused ones are
 * paused. If it fails the caller undoes the snapshot, freeze_undo() first.
 */
int freeze_run(struct labd *d, struct job *job, struct instance *const *ins, size_t n,
	       int64_t snapshot, const struct freeze *how, double *ret_clock, struct lab_err *err);

/**
 * freeze_undo() - Bring an instance's disks back to before a freeze that failed
 * Those that QEMU writes to their overlays already stay as they are. One that ran runs.
 */
int freeze_undo(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err);

#endif
