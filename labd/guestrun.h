/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guestrun.h - a program in a guest, for a job, with what it said */
#ifndef LABD_GUESTRUN_H
#define LABD_GUESTRUN_H

#include "labd/job.h"
#include "labd/model.h"

/**
 * struct guestrun - what to run
 * @input:	its standard input, @len bytes; at most AGENT_MAX_INPUT
 * @seconds:	how long it may take
 * @words:	@size bytes for the last of what it writes, cleaned; may be NULL
 */
struct guestrun {
	const char *const *argv;
	const void *input;
	size_t len;
	unsigned int seconds;
	char *words;
	size_t size;
};

/**
 * guestrun() - Run a program in a guest to its end
 * @job:	asked whether to stop; may be NULL
 *
 * Return: 0, -EIO if its exit status is not 0, with its last words, or as agent_exec()
 */
int guestrun(struct instance *in, struct job *job, const struct guestrun *run, struct lab_err *err);

#endif
