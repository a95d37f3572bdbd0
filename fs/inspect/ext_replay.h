/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ext_replay.h - an ext filesystem as it is when its journal is replayed
 *
 * DOC: Theory of Operation
 *
 * The disk of a guest that runs, or did not end in order, has a journal with blocks that were
 * not yet written to their places. It is read once, when the filesystem is opened (jbd.h).
 * From then on every byte of the filesystem, of libext2fs and of files alike, is asked for
 * here, and a block that the journal has newer is read from there. Nothing is written or copied.
 *
 * The journal's inode itself is read before there is anything in the journal to look at. Then
 * the filesystem is opened anew, as even its superblock may be in there.
 */
#ifndef FS_INSPECT_EXT_REPLAY_H
#define FS_INSPECT_EXT_REPLAY_H

#include "fs/inspect/disk.h"
#include "lib/err.h"

struct ext;
struct ext_replay;

/**
 * ext_replay_start() - Read the journal of a filesystem that was opened without it
 * Return: 0; 1: but for fast commits; negative errno: there is nothing that could be replayed
 */
int ext_replay_start(struct ext *x, struct lab_err *err);

/** ext_replay_free() - Takes NULL, returns NULL */
struct ext_replay *ext_replay_free(struct ext_replay *r);

/**
 * ext_replay_read() - Bytes of the filesystem
 * @at:		in it; all of @len are inside
 *
 * Return: 0, -EUCLEAN, -EIO
 */
int ext_replay_read(const struct ext *x, void *buf, size_t len, uint64_t at);

/**
 * ext_replay_span() - A block that is read from the journal
 * @nth:	of them, ascending
 * @ret_at, @ret_end: its place on the disk, where it is not read
 *
 * Return: false if there are not so many
 */
bool ext_replay_span(const struct ext *x, size_t nth, uint64_t *ret_at, uint64_t *ret_end);

/** ext_replay_map() - Where bytes of the filesystem are: disk_map() */
int ext_replay_map(const struct ext *x, uint64_t at, uint64_t len, struct inspect_run *ret);

#endif
