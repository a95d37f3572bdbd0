/* SPDX-License-Identifier: GPL-2.0-or-later */
/* servicejob.h - what is asked of the services of a whole lab */
#ifndef LABD_SERVICEJOB_H
#define LABD_SERVICEJOB_H

#include "labd/job.h"
#include "labd/model.h"

/**
 * servicejob_check() - Let services say whether they really work
 * @names:	of services; NULL or empty: all of the lab
 *
 * The job runs the check of each, in order of their needs; what it says is a note of the job.
 */
int servicejob_check(struct labd *d, const char *lab, const json_t *names, int64_t *ret_job,
		     struct lab_err *err);

/** servicejob_list() - A lab's services: [{"lab", "name", "instance", "state", "text"}]; the lock
 * is held */
json_t *servicejob_list(const struct lab *lab);

#endif
