/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * expire.h - automatic snapshots that are too old go
 *
 * Making one drops others (snapshot_keep()). In a lab in which nothing is done any more
 * they would stay for ever: so they are looked at a minute after labd starts, and each hour. A lab
 * that is busy then has its turn an hour later.
 */
#ifndef LABD_EXPIRE_H
#define LABD_EXPIRE_H

#include "labd/labd.h"

/** expire_open() - Begin; the first look is at once, in the event loop */
int expire_open(struct labd *d, struct lab_err *err);

/** expire_close() - No more looks; before the event loop ends */
void expire_close(struct labd *d);

#endif
