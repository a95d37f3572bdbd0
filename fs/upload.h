/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * upload.h - files that are being copied into images/
 *
 * DOC: Theory of Operation
 *
 * A file made in images/ is an upload: a sparse spool file below labd's state
 * directory that may be written anywhere. When it is closed after something
 * was written, labd is asked to inspect and import it; close() reports what
 * labd says. From then on the upload is gone from the tree: accepted, it is an
 * image; refused, nothing stays but the words in /error.
 *
 * - Names end in .qcow2 (that format) or in .img or .raw (raw); what comes
 *   before is the image's name. Names with a leading dot are held back until
 *   they are renamed to such a name: rsync and others copy in this way. Such a
 *   one stays when it is closed, so that a copy can be gone on with.
 * - One program writes an upload: a second one that opens it to write is EBUSY.
 * - rsync --inplace, install and file managers set mode and times of the name
 *   they wrote after they have closed it. So for UPLOAD_LINGER_US it can be
 *   looked up, although it is not listed any more, and takes those without
 *   effect. Opened, it is EEXIST: what it became is there.
 * - FUSE sees each close() of each duplicate of a descriptor. The first one of
 *   a shell's redirection comes before anything is written and is ignored.
 * - A copy that is killed closes its file as one that is done. The kernel
 *   tells the difference: /proc/PID/stat says that the process exits and which
 *   signal it died of. Such an upload is dropped, not imported.
 * - A write that failed (no space) makes the close fail the same way.
 * - Spool files belong to the labfs whose pid is in their names; those of
 *   processes that are gone are removed at start.
 *
 * All functions may be called from any thread.
 */
#ifndef FS_UPLOAD_H
#define FS_UPLOAD_H

#include "fs/attr.h"

#include <stdint.h>
#include <sys/stat.h>

#define UPLOAD_MAX 64 /* copies at a time */
#define UPLOAD_LINGER_US 5000000
#define UPLOAD_BLOCK (1 << 20) /* written at a time by those who look at st_blksize, as cp does */
#define UPLOAD_COPY_MAX ((size_t)1 << 20)
#define UPLOAD_MAX_SIZE (1LL << 41) /* as image_inspect() accepts */

/** upload_sweep() - Remove what labfs processes that are gone have left */
void upload_sweep(void);

/**
 * upload_create() - Start an upload
 * @ret:	its node
 *
 * Return: 0; -EPERM no name of an image file, -EINVAL, -ENAMETOOLONG, -EEXIST,
 * -EBUSY, -EDQUOT, -EROFS or what the spool directory says
 */
int upload_create(const char *name, struct node *ret, struct lab_err *err);

bool upload_exists(uint32_t id);
size_t upload_count(void);
int upload_find(const char *name, struct node *ret);
void upload_list(member_fn fn, void *arg);
int upload_stat(uint32_t id, struct stat *ret);

/** upload_name() - Its name in images/, NAME_MAX + 1 bytes; "" if it is gone */
const char *upload_name(uint32_t id, char *buf);

/**
 * upload_hold() - One more open file of it
 * @writes:	whether it is open for writing
 *
 * Return: 0, -EBUSY if somebody else writes it, -EEXIST if it is an image now, -ENODEV
 */
int upload_hold(uint32_t id, bool writes, struct lab_err *err);

/** upload_release() - One less; the last one drops what was not imported or held back */
void upload_release(uint32_t id, bool writes);

/* As the system calls; bytes, offset or 0, -ENODEV if it is gone, or negative errno */
ssize_t upload_read(uint32_t id, void *buf, size_t size, off_t off);
ssize_t upload_write(uint32_t id, const void *buf, size_t size, off_t off);
int upload_truncate(uint32_t id, off_t size);
int upload_fallocate(uint32_t id, int mode, off_t off, off_t len);
off_t upload_seek(uint32_t id, off_t off, int whence);

/**
 * upload_copy() - Copy from a file of labd's, in the kernel
 *
 * Shares the blocks if the filesystem can; else copies UPLOAD_COPY_MAX bytes at
 * most, so that nobody waits long for the loop.
 *
 * Return: bytes, 0 at the end of the file, -EOPNOTSUPP if the kernel cannot, as upload_write()
 */
ssize_t upload_copy(uint32_t id, int from, off_t off_in, off_t off_out, size_t size);

/**
 * upload_close() - A descriptor is closed: what to ask of labd
 * @pid:	who closes it
 * @ret:	what to ask
 *
 * Return: 0, 1 if there is nothing to do, -EINTR if the copy was killed, or
 * the error that a write met; after an error the upload is gone
 */
int upload_close(uint32_t id, pid_t pid, struct action *ret, struct lab_err *err);

/**
 * upload_rename() - Give it another name; as upload_close()
 * @replace:	drop the upload that has the name now; else -EEXIST
 */
int upload_rename(uint32_t id, const char *name, bool replace, struct action *ret,
		  struct lab_err *err);

/**
 * upload_asked() - labd has answered
 * @result:	0: accepted
 * @job:	that imports it; 0: it is done
 */
void upload_asked(uint32_t id, int result, uint64_t job);

/** upload_drop() - Forget it and its file */
void upload_drop(uint32_t id);

/** upload_job() - A job changed (its JSON): if it was an import, clean up */
void upload_job(const json_t *job);

#endif
