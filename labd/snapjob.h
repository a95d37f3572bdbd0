/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapjob.h - jobs about snapshots: validate, claim, start; called without the lock */
#ifndef LABD_SNAPJOB_H
#define LABD_SNAPJOB_H

#include "labd/labjob.h"

/*
 * @force, here and below: also of instances that run guests of their own (nested.h)
 * @instances: list of names, NULL or empty for all that have disks
 */
int snapjob_create(struct labd *d, const char *lab, const char *name, const json_t *instances,
		   bool force, int64_t *ret_job, struct lab_err *err);
int snapjob_remove(struct labd *d, const char *lab, const char *name, int64_t *ret_job,
		   struct lab_err *err);
int snapjob_restore(struct labd *d, const char *lab, const char *name, const struct repair *repair,
		    int64_t *ret_job, struct lab_err *err);

/** snapjob_golden() - Make the lab as it is now its golden */
int snapjob_golden(struct labd *d, const char *lab, bool force, int64_t *ret_job,
		   struct lab_err *err);

/** snapjob_suspend() - Save a running lab, then end it */
int snapjob_suspend(struct labd *d, const char *lab, bool force, int64_t *ret_job,
		    struct lab_err *err);

/**
 * snapjob_clone() - Start a second lab beside a first
 * @from:	a snapshot of it, or NULL: as it is now
 */
int snapjob_clone(struct labd *d, const char *lab, const char *name, const char *from, bool force,
		  const struct repair *repair, int64_t *ret_job, struct lab_err *err);

/** snapjob_resume() - Do a restore again, or what is left of it, that an earlier labd had begun */
void snapjob_resume(struct labd *d, struct lab *lab);

#endif
