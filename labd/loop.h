/* SPDX-License-Identifier: GPL-2.0-or-later */
/* loop.h - from worker threads to the event loop */
#ifndef LABD_LOOP_H
#define LABD_LOOP_H

#include "lib/err.h"

struct labd;

/** loop_open() - Make d->loop, which runs posted functions in d->event */
int loop_open(struct labd *d, struct lab_err *err);

/** loop_close() - Free d->loop; what is still posted is dropped */
void loop_close(struct labd *d);

/**
 * loop_post() - Have a function called by the event loop, from any thread
 * In order of posting. Aborts if there is no memory for the note: a lost
 * one would leave a request unanswered for ever.
 */
void loop_post(struct labd *d, void (*fn)(struct labd *d, void *arg), void *arg);

#endif
