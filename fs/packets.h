/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * packets.h - captures of nics that are open in the tree
 *
 * DOC: Theory of Operation
 *
 * The first who opens nics/N/pcap starts a capture of labd, in a thread that writes what
 * comes into a file without a name in TMPDIR; others who open it meanwhile read the same file, from
 * its start. The last who closes it ends the capture, and the file is gone. So it grows as
 * a log does, whatever tool reads it, and memory is not needed for what nobody has read.
 * At PACKETS_MAX bytes a capture ends; labd counts what it could not write in time.
 *
 * Who opens it waits until the capture has begun, or for what labd says, 5 s at most.
 */
#ifndef FS_PACKETS_H
#define FS_PACKETS_H

#include "fs/attr.h"

#define PACKETS_MAX (1ULL << 30)

/** packets_init() - @socket is labd's, borrowed for good */
void packets_init(const char *socket);

/**
 * packets_open() - One more reader of a nic
 * @path:	of labd's API
 * @opened:	called once, from here or from another thread: 0, or why not; then
 *		packets_close() is not to be called
 */
void packets_open(const struct node *node, const char *path,
		  void (*opened)(void *arg, int result, const struct lab_err *err), void *arg);

/** packets_close() - One reader less */
void packets_close(const struct node *node);

/** packets_path() - The file of a nic that is open; -ENOENT for one that is not */
int packets_path(const struct node *node, char path[IO_PATH]);

#endif
