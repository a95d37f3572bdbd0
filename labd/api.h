/* SPDX-License-Identifier: GPL-2.0-or-later */
/* api.h - the HTTP API on the unix socket (docs/api.md) */
#ifndef LABD_API_H
#define LABD_API_H

#include "labd/labd.h"

/** api_open() - Serve on d->paths.socket in d->event */
int api_open(struct labd *d, struct lab_err *err);
/**
 * api_close() - Stop serving; removes the socket
 * Ends streams and the programs they run, and waits for the calls that run.
 */
void api_close(struct labd *d);
/**
 * api_ending() - A descriptor that is readable when labd is about to end
 * For calls that wait for something else; -EBADF before api_open().
 */
int api_ending(const struct labd *d);
/** api_wake_followers() - New events are there; from any thread, cheap */
void api_wake_followers(struct labd *d);

#endif
