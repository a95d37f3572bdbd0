/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk.h - a disk as its guest sees it, read from the files of its chain
 *
 * DOC: Theory of Operation
 *
 * A disk is a chain of files, the one the guest wrote last on top. What a file does not
 * have is in the one below, and at the bottom there are zeroes. Files are raw or
 * qcow2; their order comes from labd, never from the names in their headers.
 *
 * Each file is hostile: whoever had the guest's disk open may have written what he likes.
 * The header is judged by image_inspect_part(), as that of an exported lab. Tables are
 * read when they are needed, into a cache of a fixed size. An offset in a table is
 * checked before it is used; what is behind the end of a file is damaged.
 */
#ifndef FS_INSPECT_DISK_H
#define FS_INSPECT_DISK_H

#include "fs/inspect/protocol.h"
#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk;

/** disk_new() - A disk without files; NULL without memory */
struct disk *disk_new(void);

/** disk_free() - Closes its files; takes NULL, returns NULL */
struct disk *disk_free(struct disk *d);

/**
 * disk_add() - One more file, below those that are there
 * @fd:		taken over, also on failure
 *
 * Return: 0; -EUCLEAN damaged, -EOPNOTSUPP something that is not read here
 */
int disk_add(struct disk *d, int fd, bool raw, struct lab_err *err);

uint64_t disk_size(const struct disk *d);

/** disk_blocks() - 512 bytes each, that its files hold */
uint64_t disk_blocks(const struct disk *d);

/**
 * disk_map() - Where bytes are
 * @at:		below disk_size()
 * @len:	how many are of interest, at least 1
 * @ret:	what is at @at: 1 to @len bytes of one kind. Of a packed cluster, @at is its
 *		entry in the table
 *
 * Return: 0 or -EUCLEAN, -EIO
 */
int disk_map(struct disk *d, uint64_t at, uint64_t len, struct inspect_run *ret);

/**
 * disk_shares() - Whether the bytes at one place of two disks are the same ones of the same file
 * @run_a, @run_b: of disk_map() for that place; so what is packed need not be unpacked
 */
bool disk_shares(const struct disk *a, const struct inspect_run *run_a, const struct disk *b,
		 const struct inspect_run *run_b);

/**
 * struct runs - where bytes are asked for, piece by piece
 * @next:	where the first of @len bytes at @at are, and how many of them go on there
 */
struct runs {
	int (*next)(void *arg, uint64_t at, uint64_t len, struct inspect_run *ret);
	void *arg;
};

/**
 * runs_collect() - Where @len bytes are; pieces that go on from each other are one run
 * Return: how many of @runs, of which the last may end before all bytes; negative errno if
 * not even the first is known
 */
ssize_t runs_collect(const struct runs *from, uint64_t at, uint64_t len, struct inspect_run *runs,
		     size_t room);

/**
 * disk_runs() - Where a piece of a disk is
 * @at, @len:	the piece, within the disk
 * @runs:	@room of them
 *
 * Return: how many, at most as many as there is room for; -EUCLEAN, -EIO
 */
ssize_t disk_runs(struct disk *d, uint64_t at, uint64_t len, struct inspect_run *runs, size_t room);

/** disk_read() - All @len bytes at @at; behind the end there are zeroes. 0, -EUCLEAN, -EIO */
int disk_read(struct disk *d, void *buf, size_t len, uint64_t at);

#endif
