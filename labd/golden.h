/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * golden.h - the state of a whole lab that up and reset go back to
 *
 * DOC: Theory of Operation
 *
 * The golden of a lab is a snapshot of all its instances, with memory, behind one
 * barrier. It is made at the end of the first up that has booted all instances until
 * their probes succeeded, when none of them has much to do any more; labctl golden makes a
 * new one of what runs, at once. From then on
 * `up` of a lab of which nothing runs, and `reset`, restore it, in about a second.
 *
 * It is used only while it fits: the machines and networks are those of the
 * specification, QEMU and the accelerator are the same, no file was damaged. Otherwise
 * the lab boots, the job says why, and an `up` that has booted all makes a new one.
 * Its disks stand on the images of then, as disks of a stopped lab do: an image that was
 * built anew since is noted, and is for those who ask for a boot.
 */
#ifndef LABD_GOLDEN_H
#define LABD_GOLDEN_H

#include "labd/snapshot.h"

/** golden_make() - Make the running lab its golden; @force: as in struct snapshot_plan */
int golden_make(struct labd *d, struct job *job, struct lab *lab, bool force, struct lab_err *err);

/**
 * golden_begin() - After a boot of a whole lab: make it if all instances say when they
 * are ready; the job tells if not. Fails only if the job was asked to stop
 */
int golden_begin(struct labd *d, struct job *job, struct lab *lab, struct lab_err *err);

/**
 * golden_usable() - Whether these instances can be restored to the golden now
 * Return: 0; -ENOENT if there is none; -ESTALE, -EUCLEAN with the reason
 */
int golden_usable(struct labd *d, struct lab *lab, const struct instances *ins,
		  struct lab_err *err);

/** golden_fits() - The same for any snapshot */
int golden_fits(struct labd *d, struct lab *lab, const struct instances *ins, int64_t id,
		struct lab_err *err);

#endif
