/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * diff.h - what differs between two disks
 *
 * DOC: Theory of Operation
 *
 * Partitions with the same number are compared. Two that are ext2 to ext4 are walked, both at
 * once and by name, from their roots. An inode is compared by its attributes but times: a
 * time alone is no change. Contents are compared by where they are first (same.h): blocks with
 * the same place on both disks, in what no overlay has since the two parted, are equal and not
 * read. Everything else is read, up to the first difference. A filesystem of another kind
 * is compared as a whole, and so are partitions without one.
 *
 * What cannot be read is said, and the walk goes on behind it. What is found is sent at once, so
 * the memory that is needed is that of the directories on the way down from the root.
 *
 * Nothing of a disk is believed, as in ext.h: the depth is bounded, a directory is entered where
 * it belongs only, and names are sent as they are; who prints them makes them fit for that.
 */
#ifndef FS_INSPECT_DIFF_H
#define FS_INSPECT_DIFF_H

#include "fs/inspect/ext.h"
#include "fs/inspect/parts.h"
#include "fs/inspect/same.h"

/**
 * struct diff - a comparison
 * @disk, @parts: before and after, borrowed
 * @q:		what is asked
 * @send:	takes a message; false: nobody listens any more
 * @same:	where the disks need not be looked at
 * @fs:		of the partition that is walked; NULL: it is not there on that side
 * @alike:	what is in the same place of both means the same
 * @part, @path, @path_len: where it is
 * @names:	looked at
 * @ticks:	since progress was told last
 * @found:	there is what was asked for
 * @buf:	of contents: 2 * INSPECT_DATA bytes
 * @out:	the message: INSPECT_REPLY bytes
 */
struct diff {
	struct disk *disk[2];
	const struct parts *parts[2];
	const struct inspect_diff *q;
	bool (*send)(void *arg, const void *message, size_t len);
	void *arg;
	struct same same;
	struct ext *fs[2];
	bool alike, found;
	uint32_t part;
	uint64_t names, ticks;
	char *buf;
	struct inspect_change *out;
	size_t path_len;
	char path[INSPECT_PATH];
};

/**
 * diff_run() - Compare, and send what differs; INSPECT_END is the last
 * @d:		the first five fields are set, the rest is zero
 *
 * Return: 0; -EPIPE; -EIO, -ENOMEM before anything could be compared
 */
int diff_run(struct diff *d);

/** diff_walk() - Compare the filesystems in @d->fs from @d->q->path on; 0 or -EPIPE */
int diff_walk(struct diff *d);

/**
 * diff_files() - Whether two regular files of the same size have the same contents
 * @shared:	the inode is one and the same
 *
 * Return: 1, 0, or negative errno; -EPIPE: nobody listens any more
 */
int diff_files(struct diff *d, const uint32_t ino[2], const union ext_inode *in, bool shared);

/** diff_bytes() - The same of parts of the disks */
int diff_bytes(struct diff *d, const uint64_t at[2], uint64_t size);

/* Messages; 0 or -EPIPE */

/** diff_say() - A change of what is at the path; @target: of links, NULL for none */
int diff_say(struct diff *d, enum inspect_found found, uint32_t what,
	     const struct inspect_was side[2], const char *const target[2]);

/** diff_say_trouble() - What is at the path cannot be compared; @text: NULL for strerror() */
int diff_say_trouble(struct diff *d, int code, const char *text);

/** diff_say_word() - A message without more than @what */
int diff_say_word(struct diff *d, enum inspect_found found, uint32_t what);

/** diff_tick() - Something was done: tell now and then how far it is */
int diff_tick(struct diff *d, uint64_t bytes);

#endif
