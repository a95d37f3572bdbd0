/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.h - the memories of running instances in snapshots
 *
 * DOC: Theory of Operation
 *
 * Beside the frozen disks of an instance (disks_frozen_dir()) are, if it
 * ran, its memory (ram, ram.map: ram.h says what they are), its devices (state.qcow2)
 * and a manifest, which is written last: the machine, the QEMU, the accelerator, and
 * size and digest of every file there. The store's table `memories` has a row for
 * each, with what it stands on and a seal.
 *
 * The seal is what stat() says of the files, and the boot of the host. While it holds
 * nobody has written to them, and they need not be read to know it; otherwise all
 * digests are taken again before anything is loaded.
 *
 * An instance remembers the memory it was restored from, or that was saved of it last:
 * that is what its next snapshot stands on. A memory is removed when nothing stands on it,
 * no instance remembers it, and its snapshot is gone.
 */
#ifndef LABD_MEMORY_H
#define LABD_MEMORY_H

#include "labd/model.h"
#include "labd/ram.h"

/** memory_open() - The chain of the memory in @dir, for reading */
int memory_open(struct labd *d, const char *dir, struct ram_chain *c, struct lab_err *err);

/** memory_file() - The whole memory at the bottom of a chain; @buf has IO_PATH bytes */
const char *memory_file(struct labd *d, const char *dir, char *buf);

/**
 * memory_begin() - Begin to save an instance's memory for a snapshot
 * @whole:	it is to stand on nothing; set if no more can stand on what is there
 * @c:		@size is set by the caller
 */
int memory_begin(struct labd *d, struct instance *in, int64_t snapshot, bool *whole,
		 struct ram_chain *c, struct lab_err *err);

/**
 * memory_finish() - Bring all files to the disk, write the manifest and the row
 * @whole:	as memory_begin() has left it
 * @nested:	it was saved although it ran guests of its own (nested.h)
 */
int memory_finish(struct labd *d, struct instance *in, int64_t snapshot, bool whole, bool nested,
		  struct ram_chain *c, struct lab_err *err);

/** memory_nested() - Whether the memory in @dir is of a guest that ran guests of its own */
bool memory_nested(const char *dir);

/** memory_exists() - Whether an instance's memory is part of a snapshot */
bool memory_exists(struct labd *d, const struct instance *in, int64_t snapshot);

/**
 * memory_check() - Whether an instance can be restored to a snapshot
 * Return: 0; -ESTALE if its machine, QEMU or accelerator is another now; -EUCLEAN if a
 * file is damaged; with the reason and the file
 */
int memory_check(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err);

/** memory_sealed() - Whether memory_check() would take it without reading all of its files */
bool memory_sealed(struct labd *d, const struct instance *in, int64_t snapshot);

/** memory_fits() - The same for the memory in @dir, whoever's it is */
int memory_fits(struct labd *d, struct instance *in, const char *dir, struct lab_err *err);

/**
 * memory_describe() - The manifest of the memory in @dir, and how many bytes it takes
 * Return: 0; -ENOENT if there is none
 */
int memory_describe(struct labd *d, const char *dir, json_t **ret, uint64_t *ret_used);

/** memory_diff() - How many pages differ between two; -ENOENT if one is not there */
int64_t memory_diff(struct labd *d, const char *from, const char *to, struct lab_err *err);

/**
 * memory_flat() - The files of a memory that stands on nothing, for another machine
 * @tmp:	directory for what has to be made, of a memory that stands on others
 * @ret:	{"ram", "state.qcow2": path}; new reference
 * @ret_was:	what it was saved with; new reference
 */
int memory_flat(struct labd *d, const struct instance *in, int64_t snapshot, const char *tmp,
		json_t **ret, json_t **ret_was, struct lab_err *err);

/**
 * memory_adopt() - Make a memory that comes from elsewhere an instance's in a snapshot
 * @from:	directory with the two files, inspected; they are moved away
 * @was:	as memory_flat() gave it
 *
 * The disks of the snapshot are there already.
 */
int memory_adopt(struct labd *d, struct instance *in, int64_t snapshot, const char *from,
		 const json_t *was, struct lab_err *err);

/**
 * memory_copy_state() - Copy the state of the devices out of the memory in @dir
 * @to:		path; what is there already is replaced, not written to
 * @owner:	of the copy, if we are root
 */
int memory_copy_state(const char *dir, const char *to, uid_t owner, struct lab_err *err);

/** memory_recall_services() - How far an instance's services were when its memory was saved */
void memory_recall_services(struct labd *d, struct instance *in, const char *dir);

/** memory_here() - Whether a memory that was saved with this could be loaded here, or why not */
int memory_here(struct labd *d, const json_t *was, struct lab_err *err);

/** memory_undo() - Remove what was begun of an instance for a snapshot that will not be */
void memory_undo(struct labd *d, const struct instance *in, int64_t snapshot);

/** memory_collect() - Remove memories that nobody needs any more */
void memory_collect(struct labd *d);

/** memory_size() - Bytes on disk of a snapshot's memories */
uint64_t memory_size(struct labd *d, int64_t snapshot);

#endif
