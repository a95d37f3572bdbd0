/* SPDX-License-Identifier: GPL-2.0-or-later */
/* member.h - instances of a snapshot, which take their steps together */
#ifndef LABD_MEMBER_H
#define LABD_MEMBER_H

#include "labd/job.h"
#include "labd/model.h"
#include "labd/ram.h"
#include "labd/repair.h"

/**
 * struct member - an instance while it is frozen or restored
 * @item:	its line in the job, may be NULL
 * @runs:	freezing: it is to go on; restoring: it runs in the snapshot
 * @set_clock:	restoring: its clock is to be set, as the lab's time is another
 * @repair:	restoring: what is to be done in it
 * @spare:	restoring: its spare can be taken (spare.h)
 * @whole:	freezing: its memory is to stand on nothing
 * @force:	freezing: although it runs guests of its own (nested.h)
 * @nested:	freezing: it does
 * @ram, @chain: its memory, open, while it is frozen
 * @err:	of the step that failed
 */
struct member {
	struct labd *d;
	struct job *job;
	struct job_item *item;
	struct instance *in;
	int64_t snapshot;
	bool runs, set_clock, spare, whole, force, nested;
	const struct repair *repair;
	struct ram ram;
	struct ram_chain chain;
	struct lab_err err;
};

struct members {
	struct member *v;
	size_t n;
};

typedef int (*member_step)(struct member *m);

/** members_new() - Around @n instances; 0 or -ENOMEM */
int members_new(struct members *ms, struct labd *d, struct job *job, struct instance *const *ins,
		size_t n, int64_t snapshot, struct lab_err *err);

/** members_end() - Close and free; the lines in the job of those that failed end */
void members_end(struct members *ms);

/**
 * members_each() - One step for all at the same time
 * One that has failed takes no further steps.
 *
 * Return: 0, or the first failure so far; @err has the words of all
 */
int members_each(struct members *ms, member_step step, struct lab_err *err);

/** members_all() - One step for all, also for those that have failed */
int members_all(struct members *ms, member_step step, struct lab_err *err);

#endif
