/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * import.h - a lab out of one file
 *
 * DOC: Theory of Operation
 *
 * The file is as hostile as pack.h says; export.h says what is in it.
 *
 * import_look() reads no more than the manifest: the specification is read like a lab
 * file, and QEMU, accelerator and processor that memories were saved with are
 * compared with those here.
 *
 * import_run() writes all files below STATE/imports/JOB, where nothing looks at them but
 * digests and image_inspect_part(). Then they get their places, in this order:
 *
 *	images	that are not here already; one that has the name of another or of a recipe
 *		is called NAME-2: it must not be taken for that by other labs
 *	lab	its `file` is the mark of the job until the end
 *	disks	frozen in the first snapshot of the lab, what they stand on written anew
 *	memory	likewise; then it is the lab's golden, else the snapshot is called "imported"
 *	heads	so that the lab boots from these disks if the memory cannot be used
 *
 * The store knows the job until the end. A daemon that finds it there removes the lab
 * that has its mark, its images, and the directory.
 */
#ifndef LABD_IMPORT_H
#define LABD_IMPORT_H

#include "labd/job.h"
#include "labd/model.h"

struct import;

/**
 * import_look() - Open an exported lab, and see what would come of it here
 * @path:	absolute
 * @name:	of the new lab, or NULL for the name it had
 * @ram:	its memory is wanted, if it can be used here
 * @ret_found:	{"lab", "was", "created", "snapshot", "data", "memory": "yes" | "no" | "none",
 *		"reason", "instances": [{"name", "memory"}], "images": [{"name", "here"}]};
 *		new reference
 *
 * Return: 0; -EEXIST if there is such a lab; -ENOSPC if it would not fit; as pack_open()
 */
int import_look(struct labd *d, const char *path, const char *name, bool ram, struct import **ret,
		json_t **ret_found, struct lab_err *err);

/** import_lab() - The name that the lab will have */
const char *import_lab(const struct import *m);

/** import_run() - Make the lab; nothing is left of it on failure */
int import_run(struct labd *d, struct job *job, struct import *m, struct lab_err *err);

/** import_free() - Takes NULL, returns NULL */
struct import *import_free(struct import *m);

/** import_recover() - At start: remove what an earlier labd did not finish */
void import_recover(struct labd *d);

#endif
