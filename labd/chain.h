/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chain.h - the files that a disk consists of, for labfs, which looks into them */
#ifndef LABD_CHAIN_H
#define LABD_CHAIN_H

#include "labd/labd.h"
#include "lib/err.h"

#include <jansson.h>

/*
 * Each: {"size", "files": [{"path", "format"}], top first}; a new reference. -ENOENT if there
 * is no such thing (any more).
 */

int chain_of_image(struct labd *d, const char *image, json_t **ret, struct lab_err *err);

/** chain_of_instance() - Of a disk as it is now; -EBUSY while it may be written to */
int chain_of_instance(struct labd *d, const char *lab, const char *instance, const char *disk,
		      json_t **ret, struct lab_err *err);

/** chain_of_snapshot() - Of a disk of a member */
int chain_of_snapshot(struct labd *d, const char *lab, const char *snapshot, const char *instance,
		      const char *disk, json_t **ret, struct lab_err *err);

#endif
