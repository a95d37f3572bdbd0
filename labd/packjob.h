/* SPDX-License-Identifier: GPL-2.0-or-later */
/* packjob.h - jobs that export and import labs: validate, claim, start; called without the lock */
#ifndef LABD_PACKJOB_H
#define LABD_PACKJOB_H

#include "labd/labjob.h"

/**
 * packjob_export() - Write a lab to a file
 * @from:	snapshot, or NULL: the golden; else, of a lab of which nothing runs, what it is
 *		now; else the newest snapshot
 * @ram:	with memory: the snapshot must have one
 * @path:	absolute, of a file that does not exist
 */
int packjob_export(struct labd *d, const char *lab, const char *from, bool ram, const char *path,
		   int64_t *ret_job, struct lab_err *err);

/**
 * packjob_import() - Make a lab of a file
 * @body:	{"import": path, "name", "ram", "check"}, see docs/api.md
 * @ret_found:	what import_look() found; new reference
 * @ret_job:	stays as it is if "check"
 */
int packjob_import(struct labd *d, const json_t *body, json_t **ret_found, int64_t *ret_job,
		   struct lab_err *err);

#endif
