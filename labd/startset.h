/* SPDX-License-Identifier: GPL-2.0-or-later */
/* startset.h - instances that are started together, in the order of their needs */
#ifndef LABD_STARTSET_H
#define LABD_STARTSET_H

#include "labd/job.h"
#include "labd/model.h"

/**
 * struct startset - the instances of one lab that a job starts
 * @members:	in an order in which needs come first (startset_sort())
 */
struct startset {
	struct labd *d;
	struct job *job;
	struct start_member {
		struct instance *in;
		bool ended;
		struct lab_err err;
	} * members;
	size_t n;
};

int startset_add(struct startset *s, struct instance *in, struct lab_err *err);
int startset_sort(struct startset *s, struct lab_err *err);
void startset_done(struct startset *s);

/**
 * startset_run() - Start all members and wait until they are ready
 * Each waits for its needs, and so does each service; how many boot or start a service at
 * the same time is bounded. One that fails takes with it those that need it, and nothing else.
 *
 * Return: 0, or the first failure; @err lists all of them
 */
int startset_run(struct startset *s, struct lab_err *err);

/** startset_satisfied() - Whether an instance runs and is not known to be not ready */
bool startset_satisfied(const struct instance *in);

/** startset_refresh() - Apply what can change while it runs: forwards, probes, needs */
int startset_refresh(struct labd *d, struct instance *in, struct lab_err *err);

#endif
