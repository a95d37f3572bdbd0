/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * live.h - files of the tree that labd fills while they are open: captures, logs of services
 *
 * DOC: Theory of Operation
 *
 * The first who opens one starts a stream of labd, in a thread that writes what comes
 * into a file without a name in TMPDIR; others who open it meanwhile read the same file, from
 * its start. The last who closes it ends the stream, and the file is gone. So it grows as
 * a log does, whatever tool reads it, and memory is not needed for what nobody has read.
 * At LIVE_MAX bytes a stream ends; of a capture labd counts what it could not write in time.
 *
 * Who opens one waits, off the loop, until it has begun, or for what labd says, 5 s at most, or
 * until it gives up. A
 * capture has begun with its first bytes, which come at once. A log has begun when all is
 * there that the guest had when it was opened, so that cat shows all of it: the program that
 * reads it in the guest puts a mark behind that, which is taken out here.
 *
 * When its guest stops, or labd, a stream has ended: what has come stays for those who have
 * it open, and who opens it then starts another.
 */
#ifndef FS_LIVE_H
#define FS_LIVE_H

#include "fs/attr.h"

#include <sys/stat.h>

#define LIVE_MAX (1ULL << 30)

struct live;

/** live_init() - @socket is labd's, borrowed for good */
void live_init(const char *socket);

/**
 * live_open() - One more reader
 * @path:	of labd's API: a stream of bytes, or with @output one of a program's output, which
 *		takes `mark`
 * @opened:	called once, from here or from another thread: 0, or why not; then
 *		live_close() is not to be called
 */
void live_open(const struct node *node, const char *path, bool output,
	       void (*opened)(void *arg, struct live *l, int result, const struct lab_err *err),
	       void *arg);

/**
 * live_cancel() - Who waits with @arg to be told does not wait any more
 * Return: whether that is so; false: it is being told at this moment, or has been
 */
bool live_cancel(const void *arg);

/** live_close() - One reader less; takes NULL */
void live_close(struct live *l);

/** live_file() - Open the file behind; a descriptor or negative errno */
int live_file(const struct live *l);

/** live_stat() - Of the newest file behind a name that is open; -ENOENT for one that is not */
int live_stat(const struct node *node, struct stat *ret);

#endif
