/* SPDX-License-Identifier: GPL-2.0-or-later */
/* io.h - whole files, directory trees and unix sockets */
#ifndef LIB_IO_H
#define LIB_IO_H

#include "lib/err.h"

#include <stddef.h>
#include <sys/types.h>

/**
 * io_read_file() - Read a small file
 * @dirfd:	directory @path is relative to, or AT_FDCWD
 * @path:	the file
 * @max:	the most bytes it may have
 * @ret:	malloced, NUL-terminated
 * @ret_len:	bytes without the NUL; may be NULL
 *
 * Return: 0, -EFBIG if it is longer than @max, or negative errno
 */
int io_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len);

/**
 * io_read_fd() - Read an open file from its current offset to its end
 * Arguments and return as io_read_file().
 */
int io_read_fd(int fd, size_t max, char **ret, size_t *ret_len);

/** io_write_all() - Write all bytes to a descriptor; 0 or negative errno */
int io_write_all(int fd, const void *data, size_t len);

/**
 * io_write_file() - Replace a file as a whole: temporary name, fsync, rename
 * @dirfd:	directory @path is relative to, or AT_FDCWD
 * @path:	the file
 * @mode:	its permissions
 *
 * Return: 0 or negative errno; on failure the old file stands
 */
int io_write_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode);

/**
 * io_sync_dir() - Bring the files in a directory, and their names, to the disk
 * Return: 0 or negative errno
 */
int io_sync_dir(const char *path);

/**
 * io_mkdirs() - Make a directory and its parents
 * @path:	"/a/b/c"
 * @mode:	for those that are made
 *
 * Return: 0 (also if it exists) or negative errno
 */
int io_mkdirs(const char *path, mode_t mode);

/**
 * io_remove_tree() - Remove a file or a directory with all in it
 * @dirfd:	directory @name is relative to, or AT_FDCWD
 *
 * Does not follow links and does not cross into another filesystem.
 *
 * Return: 1 if something was removed, 0 if there was nothing, negative errno
 */
int io_remove_tree(int dirfd, const char *name);

#define IO_PATH 4096

/**
 * io_path() - Join a path with printf
 * @buf:	IO_PATH bytes
 *
 * Return: @buf; an over-long path becomes "", which no call accepts
 */
const char *io_path(char buf[IO_PATH], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * io_listen_unix() - Listen on a unix socket, replacing a dead one
 * @path:	at most 107 bytes
 * @type:	SOCK_STREAM or SOCK_SEQPACKET, with SOCK_NONBLOCK if wanted
 * @mode:	permissions of the socket
 *
 * Return: the descriptor, -EADDRINUSE if somebody answers there, or
 * negative errno
 */
int io_listen_unix(const char *path, int type, mode_t mode);

/** io_connect_unix() - Connect to a unix socket; descriptor or negative errno */
int io_connect_unix(const char *path, int type);

/**
 * io_send_fds() - Send one message with descriptors (SCM_RIGHTS)
 * @sock:	connected unix socket
 * @fds:	@nfds descriptors, at most IO_MAX_FDS; they stay open here
 *
 * Return: 0 or negative errno
 */
#define IO_MAX_FDS 16
int io_send_fds(int sock, const void *data, size_t len, const int *fds, size_t nfds);

/**
 * io_recv_fds() - Receive one message with descriptors
 * @fds:	room for IO_MAX_FDS; received ones are close-on-exec
 * @ret_nfds:	how many came
 *
 * Return: bytes, 0 at the end of the connection, negative errno; -EMSGSIZE
 * if the message did not fit (its descriptors are closed)
 */
ssize_t io_recv_fds(int sock, void *buf, size_t len, int fds[IO_MAX_FDS], size_t *ret_nfds);

#define IO_BOOT_ID 40

/** io_boot_id() - Which boot of the host this is, as its kernel says, or ""; returns @buf */
const char *io_boot_id(char buf[IO_BOOT_ID]);

/**
 * io_fill_holes() - Allocate a file's holes if they are few
 * @fd:		open for writing
 * @most:	bytes of holes; a file with more keeps them
 *
 * cp looks for zeros in a file that has holes, and so reads all of it where it could share it.
 * What cannot be allocated stays a hole.
 */
void io_fill_holes(int fd, off_t most);

/**
 * io_copy() - Copy the rest of a file to the end of another
 * Also between file systems, where copy_file_range() may not.
 * Return: 0 or negative errno
 */
int io_copy(int from, int to);

#endif
