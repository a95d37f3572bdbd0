/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapdiff.h - what a snapshot holds, and how two of a lab differ */
#ifndef LABD_SNAPDIFF_H
#define LABD_SNAPDIFF_H

#include "labd/model.h"

/** snapdiff_show() - The object of a snapshot with its "instances"; docs/api.md */
int snapdiff_show(struct labd *d, const char *lab, const char *name, json_t **ret,
		  struct lab_err *err);

/**
 * snapdiff_make() - How snapshot @to differs from @from
 * @from:	NULL for the parent of @to
 * Pages are compared, and counted exactly. Of disks it is how much has been written since
 * the two parted, which is an upper bound.
 */
int snapdiff_make(struct labd *d, const char *lab, const char *from, const char *to, json_t **ret,
		  struct lab_err *err);

#endif
