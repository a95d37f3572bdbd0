/* SPDX-License-Identifier: GPL-2.0-or-later */
/* loop.h - wait for what FUSE asks and for what labinspects answer, and do it */
#ifndef FS_LOOP_H
#define FS_LOOP_H

struct fuse_session;

/**
 * loop_run() - Until the session ends or a signal asks for the end
 * The signals of fuse_set_signal_handlers() must be set.
 *
 * Return: 0 or negative errno
 */
int loop_run(struct fuse_session *session);

#endif
