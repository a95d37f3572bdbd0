/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs.h - a kind of filesystem that labinspect can show
 *
 * DOC: Theory of Operation
 *
 * The server asks every filesystem by one table of functions. What each of them gives is
 * checked where it comes from: no number is one of another disk, no name has a slash, a directory
 * is found in one place only. Libraries that read an image must take their data from a function;
 * one that opens files by name cannot be used here (sandbox.c).
 */
#ifndef FS_INSPECT_FS_H
#define FS_INSPECT_FS_H

#include "fs/inspect/disk.h"

/**
 * struct fs_kind - functions of a kind of filesystem
 * @prepare:	before rights are given away: load what cannot be loaded later; or NULL
 * @open:	what is at @start of the disk. 0, -EUCLEAN, -EOPNOTSUPP, -EIO, -ENOMEM
 * @close:	takes NULL
 * @state:	a word for `table`
 * @attr:	of a number; @depth: how far below the root the directory with the name is
 * @lookup:	number of a name; 0, -ENOENT, -ENOTDIR, -EUCLEAN, -EIO, -ENOMEM
 * @list:	entries of a directory from number @from on; bytes of @buf, 0 at the end
 * @link:	target, as it is to be shown; -EINVAL if it is no link
 * @map:	where bytes of a file are; how many of @runs, 0 behind the end
 * @read:	bytes of a file; how many
 */
struct fs_kind {
	void (*prepare)(void);
	int (*open)(struct disk *disk, uint64_t start, uint64_t size, void **ret,
		    struct lab_err *err);
	void (*close)(void *fs);
	const char *(*state)(const void *fs);
	int (*attr)(void *fs, uint32_t ino, uint32_t depth, struct inspect_attr *ret);
	int (*lookup)(void *fs, uint32_t dir, const char *name, size_t len, uint32_t *ret);
	ssize_t (*list)(void *fs, uint32_t dir, uint32_t depth, uint64_t from, void *buf,
			size_t room);
	int (*link)(void *fs, uint32_t ino, uint32_t depth, char ret[INSPECT_TARGET]);
	ssize_t (*map)(void *fs, uint32_t ino, uint64_t at, uint64_t len, struct inspect_run *runs,
		       size_t room);
	ssize_t (*read)(void *fs, uint32_t ino, void *buf, size_t len, uint64_t at);
	void (*statfs)(void *fs, struct inspect_statfs *ret);
};

extern const struct fs_kind fs_ext, fs_iso, fs_squash;

/** fs_find() - The kind with a name of libblkid; NULL: it cannot be shown */
const struct fs_kind *fs_find(const char *type);

/** fs_prepare() - All of them */
void fs_prepare(void);

#endif
