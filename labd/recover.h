/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recover.h - what an earlier labd left: adopt, finish or undo */
#ifndef LABD_RECOVER_H
#define LABD_RECOVER_H

#include "labd/labd.h"

/**
 * recover_all() - Compare the store with what really runs, and repair
 *
 * Before the API is served. Guests that do not answer their monitor within two
 * seconds are adopted without it: they can be killed, and nothing else.
 */
int recover_all(struct labd *d, struct lab_err *err);

/** recover_probe() - Probe again what was not known to be ready; after the API is served */
void recover_probe(struct labd *d);

#endif
