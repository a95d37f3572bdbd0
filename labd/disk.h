/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk.h - the qcow2 files of instances
 *
 * DOC: Theory of Operation
 *
 * Every disk is a chain: the file the guest writes (INSTANCE_DIR/NAME.*.qcow2),
 * perhaps files frozen by snapshots (STATE/snapshots/ID/INSTANCE/NAME.qcow2),
 * and for the root disk the image at the bottom. The store's table `layers`
 * has a row for each file, with what it stands on. A frozen file is removed
 * when nothing stands on it and its snapshot is gone: it may outlive its instance
 * and its lab, as a clone stands on it as well.
 *
 * All functions block, and are called by the job that claimed the instance, or by whom such
 * a job waits for (spare.h).
 */
#ifndef LABD_DISK_H
#define LABD_DISK_H

#include "labd/model.h"

/** disks_frozen_dir() - Where the part of an instance in a snapshot is; @buf has IO_PATH bytes */
const char *disks_frozen_dir(struct labd *d, const struct instance *in, int64_t snapshot,
			     char *buf);

/**
 * disks_make() - Make the disks that the specification asks for and that are
 * not there yet: root on top of @image, the others empty
 */
int disks_make(struct labd *d, struct instance *in, const struct image *image, struct lab_err *err);

/**
 * disks_reset() - Replace all disks by fresh ones (of stopped instances)
 */
int disks_reset(struct labd *d, struct instance *in, const struct image *image,
		struct lab_err *err);

/**
 * disks_freeze() - Freeze the disks as they are for a snapshot
 * The guest's files become the snapshot's, new ones stand on them.
 */
int disks_freeze(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err);

/**
 * disks_unfreeze() - Undo disks_freeze(), also a half-made one
 * A disk stays as it is when QEMU has the new file open, or has written into it.
 * On failure nothing is lost: the rows stand, and it can be tried again.
 */
int disks_unfreeze(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err);

/**
 * disks_prepare() - Make the files that disks_thaw() needs, under other names
 * @kind:	LAYER_PREPARED, or LAYER_SPARE for those of a spare; earlier ones go
 * Nothing changes yet; what can fail for want of space fails here.
 */
int disks_prepare(struct labd *d, struct instance *in, int64_t snapshot, int64_t kind,
		  struct lab_err *err);

/** disks_promote_spare() - The files of its spare are the prepared ones now */
int disks_promote_spare(struct labd *d, struct instance *in, struct lab_err *err);

/** disks_forget() - Remove what was prepared, with its rows; @kind as above */
int disks_forget(struct labd *d, const struct instance *in, int64_t kind, struct lab_err *err);

/**
 * disks_thaw() - Bring the disks of prepared instances back to a snapshot, all or none
 * What was since is dropped; files that a QEMU may have open go by disks_sweep().
 */
int disks_thaw(struct labd *d, struct instance *const *ins, size_t n, int64_t snapshot,
	       struct lab_err *err);

/**
 * disks_derive() - Make an instance's part of a snapshot from another instance's
 * Empty files that stand on those of @from in @snapshot.
 */
int disks_derive(struct labd *d, const struct instance *from, int64_t snapshot, struct instance *to,
		 int64_t derived, struct lab_err *err);

/** disks_known() - Whether anything of a snapshot is left, under its id */
bool disks_known(struct labd *d, int64_t snapshot);

/**
 * disks_chains() - What the disks of an instance are in a snapshot
 * @ret:	[{"name", "files": [path, bottom first], "base": path of the image, or ""}]; new
 *		reference
 */
int disks_chains(struct labd *d, const struct instance *in, int64_t snapshot, json_t **ret,
		 struct lab_err *err);

/**
 * struct disk_files - one disk of a snapshot, as it came from elsewhere
 * @name:	of the disk
 * @files:	@n of them, bottom first, inspected (image_inspect_part())
 * @base:	what the bottom is to stand on, or ""
 */
struct disk_files {
	const char *name;
	uint64_t size;
	const char *const *files;
	size_t n;
	const char *base;
};

/**
 * disks_adopt() - Make one disk of a snapshot of files that come from elsewhere
 * They are moved away. What they say that they stand on is replaced, by a child with
 * limits. If it fails something may be left for disks_disown().
 */
int disks_adopt(struct labd *d, const struct instance *in, int64_t snapshot,
		const struct disk_files *f, struct lab_err *err);

/** disks_disown() - Remove what disks_adopt() made for a snapshot that will not be */
void disks_disown(struct labd *d, const struct instance *in, int64_t snapshot);

/**
 * disks_collect() - Remove frozen files that nobody needs any more
 */
void disks_collect(struct labd *d);

/** disks_sweep() - Remove files of an instance that are no disk of it any more */
void disks_sweep(struct labd *d, const struct instance *in);

/* For frozen.c: */

struct layer;

/**
 * disks_make_head() - Make a file for a guest to write, and its row
 * @l:		@disk, @base, @size; gets the rest
 * @snapshot:	LAYER_HEAD, LAYER_PREPARED or LAYER_SPARE
 */
int disks_make_head(struct labd *d, struct instance *in, struct layer *l, int64_t snapshot,
		    struct lab_err *err);

/**
 * disks_make_dir() - Make its directory
 * It and the files belong to the uid its guest runs with, which another run directory
 * changes.
 */
int disks_make_dir(struct labd *d, const struct instance *in, struct lab_err *err);

/** disks_reload() - Fill @in's disks again from the store */
int disks_reload(struct labd *d, struct instance *in, struct lab_err *err);

/**
 * disks_repair() - At start: forget what was prepared, and files that no row knows
 */
void disks_repair(struct labd *d, struct lab *lab);

/** disks_use_image() - Whether any file, also of a snapshot, stands on an image */
bool disks_use_image(struct labd *d, const struct image *im);

/** disks_snapshot_image() - Id of the image that an instance's root disk in a snapshot stands on */
int64_t disks_snapshot_image(struct labd *d, const struct instance *in, int64_t snapshot);

/** disks_snapshot_json() - [{"name", "size", "used"}] of an instance's disks in a snapshot */
json_t *disks_snapshot_json(struct labd *d, int64_t instance, int64_t snapshot);

/** disks_diff_json() - [{"name", "written"}]: bytes written since two snapshots parted */
json_t *disks_diff_json(struct labd *d, int64_t instance, int64_t from, int64_t to);

/** disks_snapshot_size() - Bytes on disk of a snapshot's own files */
uint64_t disks_snapshot_size(struct labd *d, int64_t snapshot);

#endif
