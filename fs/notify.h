/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * notify.h - tell the kernel, and those who poll, what changed
 *
 * DOC: Theory of Operation
 *
 * The kernel may hold a directory's lock while it waits for our answer, and a
 * notification may wait for that same lock. So notifications leave from one
 * thread of their own that holds no lock, and nothing waits for that thread.
 * They are queued after the model shows the new state: whoever looks because
 * of one sees it.
 *
 * Attributes are not cached by the kernel (timeout 0, direct I/O); only who
 * polls an open one is told. What is told about names: one that is gone or
 * has another name. A new name needs nothing, since its absence was not cached.
 */
#ifndef FS_NOTIFY_H
#define FS_NOTIFY_H

#include "fs/model.h"

#include <stdint.h>

struct fuse_session;
struct fuse_pollhandle;

/** notify_start() - Start the thread; what is queued before is dropped */
int notify_start(struct fuse_session *session);

/** notify_change() - An object changed: for model_listen() */
void notify_change(const struct change *change);

/** notify_events() - /events grew */
void notify_events(void);

/** notify_stale() - What the kernel knows of a name in a directory, and below it, is old */
void notify_stale(uint64_t parent, const char *name);

/** notify_gone() - A name is gone from a directory (inode numbers) */
void notify_gone(uint64_t parent, uint64_t child, const char *name);

/**
 * notify_poll() - Somebody polls an open file
 * @handle:	names the open file
 * @number:	inode number
 * @path:	the file behind that grows, or NULL
 * @ph:		from libfuse; owned here from now on, replaces an older one
 */
void notify_poll(const void *handle, uint64_t number, const char *path, struct fuse_pollhandle *ph);

/** notify_forget() - The open file is closed */
void notify_forget(const void *handle);

#endif
