/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jbd.h - what is in the journal of an ext3 or ext4 filesystem (jbd2)
 *
 * DOC: Theory of Operation
 *
 * A journal is a ring of blocks of the filesystem's size behind a superblock. What was
 * committed in it and not yet written to its place is, from the block that the superblock
 * names on, a row of transactions with ascending numbers. Each has descriptors, followed by the
 * new contents of the blocks that they name; revoke blocks, which name blocks whose
 * contents in this and earlier transactions do not count any more; and a commit. The first
 * block that does not go on with this is the end. What was not committed was never promised.
 *
 * The disk cannot be written here. So nothing is copied: the result says for each block of
 * the filesystem where in the journal its valid contents are, and whoever reads the block
 * reads there (ext_replay.h). libext2fs does not export its own journal code; this does
 * what that of the kernel does (fs/jbd2/recovery.c), checksums of all three kinds included.
 *
 * Hostile input: a walk takes each block of the ring at most once, so a ring that leads into
 * itself ends; the numbers of blocks and revokes are bounded.
 *
 * Not read: fast commits that were made since the last full one, that there are any is said;
 * and features that nobody knows yet, -EOPNOTSUPP.
 */
#ifndef FS_INSPECT_JBD_H
#define FS_INSPECT_JBD_H

#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JBD_MAX_BLOCKS (1U << 20) /* of a journal: mke2fs makes at most 1 GiB, unless asked */
#define JBD_MAX_REVOKES (1U << 22)

/**
 * struct jbd_source - a journal
 * @read:	a block of it into @buf; 0 or negative errno
 * @blocks:	it has
 * @limit:	blocks of its filesystem
 */
struct jbd_source {
	int (*read)(void *arg, uint32_t block, void *buf);
	void *arg;
	uint32_t block_size, blocks;
	uint64_t limit;
};

/**
 * struct jbd_block - a block of the filesystem that has newer contents in the journal
 * @at:		block of the journal
 * @nth:	number of its transaction, from 0
 * @checksum:	as the descriptor says
 * @escaped:	its first four bytes are those of the magic number, and are 0 in the journal
 */
struct jbd_block {
	uint64_t block;
	uint32_t at, nth, checksum;
	bool escaped;
};

#define JBD_MAGIC 0xc03b3998U

/**
 * struct jbd - all of them, ascending; zeroed: none
 * @fast:	there are fast commits as well
 */
struct jbd {
	struct jbd_block *v;
	size_t n;
	bool fast;
};

/**
 * jbd_read() - Find out what is in a journal
 * Return: 0; -EUCLEAN, -EIO; -EOPNOTSUPP; -ENOMEM
 */
int jbd_read(const struct jbd_source *src, struct jbd *ret, struct lab_err *err);

/** jbd_from() - Index of the first that is not before a block */
size_t jbd_from(const struct jbd *j, uint64_t block);

void jbd_done(struct jbd *j);

#endif
