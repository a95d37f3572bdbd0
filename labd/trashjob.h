/* SPDX-License-Identifier: GPL-2.0-or-later */
/* trashjob.h - the job that removes for ever: files of many GiB take a while */
#ifndef LABD_TRASHJOB_H
#define LABD_TRASHJOB_H

#include "labd/labd.h"

#include <stdint.h>

/**
 * trashjob_remove() - Begin to remove one of the trash, or for 0 all that is in it now
 * @ret_job:	id of the job
 *
 * Return: 0; -ENOENT if there is no @id
 */
int trashjob_remove(struct labd *d, int64_t id, int64_t *ret_job, struct lab_err *err);

#endif
