/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ext.h - an ext2, ext3 or ext4 filesystem on a disk (libext2fs)
 *
 * DOC: Theory of Operation
 *
 * All is read-only, and nothing of a filesystem is believed. libext2fs checks checksums
 * and the shape of extents and directories; what it lets pass and could make us run
 * in a circle is checked here: extents must go upwards, a directory has a bounded size, a
 * directory's ".." must lead to where it was found. A journal that was not written back is
 * replayed, in memory (ext_replay.h).
 *
 * What was read last is kept: the names of some directories, the extents of some files.
 */
#ifndef FS_INSPECT_EXT_H
#define FS_INSPECT_EXT_H

#include "fs/inspect/disk.h"

#include <ext2fs/ext2fs.h>

#define EXT_MAX_DIRS 16 /* kept */
#define EXT_MAX_FILES 16
#define EXT_MAX_NAMES (4U << 20) /* in a directory */
#define EXT_MAX_EXTENTS (1U << 20) /* of a file */

struct ext_dir;
struct ext_file;
struct ext_replay;

/**
 * enum ext_journal - whether a filesystem was left in order
 * @EXT_REPLAYED: no, but it is shown as if it were
 * @EXT_DIRTY:	the journal has to be replayed, and nobody here can, or not all of it
 * @EXT_BROKEN:	the journal has to be replayed, and is damaged
 * @EXT_UNCLEAN: it was mounted, and there is no journal
 * @EXT_ERRORS:	its kernel has found damage
 */
enum ext_journal { EXT_CLEAN, EXT_REPLAYED, EXT_DIRTY, EXT_BROKEN, EXT_UNCLEAN, EXT_ERRORS };

/**
 * struct ext - a filesystem
 * @start:	where its partition is on @disk
 * @replay:	what is read from its journal, or NULL
 * @journal:	EXT_CLEAN, or what became of the journal
 * @dirs, @files: that were used last, newest first
 */
struct ext {
	struct disk *disk;
	uint64_t start, size;
	ext2_filsys fs;
	struct ext_replay *replay;
	enum ext_journal journal;
	struct ext_dir *dirs[EXT_MAX_DIRS];
	struct ext_file *files[EXT_MAX_FILES];
};

/** ext_to_errno() - A code of libext2fs as negative errno */
int ext_to_errno(errcode_t code);

/**
 * ext_open() - Open the filesystem in a part of a disk
 * Return: 0, -EUCLEAN, -EOPNOTSUPP (features that libext2fs does not know), -EIO, -ENOMEM
 */
int ext_open(struct disk *disk, uint64_t start, uint64_t size, struct ext **ret,
	     struct lab_err *err);

/** ext_free() - Takes NULL, returns NULL */
struct ext *ext_free(struct ext *x);

/** ext_journal() - Whether it was left in order */
enum ext_journal ext_journal(const struct ext *x);

/* Room for an inode of any size that is read here */
union ext_inode {
	struct ext2_inode base;
	struct ext2_inode_large large;
	char room[256];
};

/**
 * ext_inode() - Read an inode that a name may lead to
 * Return: 0, -EUCLEAN, -EIO
 */
int ext_inode(const struct ext *x, uint32_t ino, union ext_inode *ret);

/**
 * ext_attr() - Its attributes
 * @depth:	how far below the root the directory with the name is
 */
int ext_attr(struct ext *x, uint32_t ino, uint32_t depth, struct inspect_attr *ret);

/** ext_device() - What a device stands for, as makedev() has it; 0: it is none */
uint32_t ext_device(const struct ext2_inode *in);

void ext_statfs(const struct ext *x, struct inspect_statfs *ret);

/** ext_lookup() - The inode number of a name; 0, -ENOENT, -ENOTDIR, -EUCLEAN, -EIO, -ENOMEM */
int ext_lookup(struct ext *x, uint32_t dir, const char *name, size_t len, uint32_t *ret);

/**
 * ext_list() - Entries of a directory
 * @depth:	of the directory
 * @from:	the first of them
 * @buf:	filled with struct inspect_entry
 *
 * Return: bytes, 0 at the end, or negative errno
 */
ssize_t ext_list(struct ext *x, uint32_t dir, uint32_t depth, uint64_t from, void *buf,
		 size_t room);

/**
 * ext_link() - The target of a link, as it is to be shown
 * @depth:	how far below the root the directory with the link is
 *
 * Return: 0, -EINVAL if it is no link, -ENAMETOOLONG, -EUCLEAN, -EIO
 */
int ext_link(struct ext *x, uint32_t ino, uint32_t depth, char ret[INSPECT_TARGET]);

/** ext_target() - The same as the guest has it */
int ext_target(struct ext *x, uint32_t ino, char ret[INSPECT_TARGET]);

/** struct ext_name - a name in a directory; @text has no NUL */
struct ext_name {
	const char *text;
	uint32_t len, ino;
};

/** struct ext_names - all of a directory but "." and "..", in order; starts zeroed */
struct ext_names {
	struct ext_name *v;
	size_t n;
	char *text;
};

/** ext_names() - Read a directory; 0, -ENOTDIR, -EUCLEAN, -EIO, -ENOMEM */
int ext_names(const struct ext *x, uint32_t dir, struct ext_names *ret);
void ext_names_done(struct ext_names *names);

/** ext_name_order() - As strcmp() does, by bytes */
int ext_name_order(const struct ext_name *a, const struct ext_name *b);

/**
 * ext_check_parent() - Whether a directory belongs where it was found
 * A directory may be found in one place only. Without this a loop in a damaged filesystem
 * would be a tree without end for whoever walks it.
 *
 * Return: 0, also for what is no directory; -EUCLEAN
 */
int ext_check_parent(const struct ext *x, uint32_t ino, uint32_t dir);

/**
 * ext_where() - Where an inode is on the disk
 * @ret_size:	bytes of it
 */
uint64_t ext_where(const struct ext *x, uint32_t ino, uint32_t *ret_size);

enum ext_kind { EXT_HOLE, EXT_ON_DISK, EXT_INSIDE };

/** struct ext_piece - @length bytes of a file; @at on the disk, or in the inode */
struct ext_piece {
	enum ext_kind kind;
	uint64_t length, at;
};

/**
 * ext_piece() - What a file has at @at
 * @len:	of interest, at least 1; not more than the file has there
 */
int ext_piece(struct ext *x, uint32_t ino, uint64_t at, uint64_t len, struct ext_piece *ret);

/**
 * ext_map() - Where the bytes of a file are
 * @len:	of interest
 * @runs:	@room of them
 *
 * Return: how many, 0 behind the end, or negative errno
 */
ssize_t ext_map(struct ext *x, uint32_t ino, uint64_t at, uint64_t len, struct inspect_run *runs,
		size_t room);

/** ext_whole() - The same of a file in one piece; untouched if it is not, or not at once */
void ext_whole(const struct ext *x, uint32_t ino, struct ext2_inode *in, struct inspect_run *ret);

/** ext_read() - Read from a file; bytes or negative errno */
ssize_t ext_read(struct ext *x, uint32_t ino, void *buf, size_t len, uint64_t at);

/* Of the caches, for ext_free() */
void ext_drop_dirs(struct ext *x);
void ext_drop_files(struct ext *x);

#endif
