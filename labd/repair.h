/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * repair.h - what is done in and around guests that go on in an earlier state
 *
 * DOC: Theory of Operation
 *
 * A restored guest does not know that it was restored. Its clock goes on where it was,
 * and so does the lab's: the keeper tells its guests a time that is as far behind the
 * host's as they are (netns/clock.h), so all agree. Where this is not wanted:
 *
 *	clock: now	the lab's time is the host's again, and every guest's clock is set
 *	reseed		the guest's random numbers get fresh seeds, and it a new machine id
 *
 * A guest that is restored alone goes on in a lab whose time is another: its clock is
 * set to that. Then run the commands that its specification names (`repair`).
 */
#ifndef LABD_REPAIR_H
#define LABD_REPAIR_H

#include "labd/job.h"
#include "labd/model.h"

/**
 * struct repair - what is asked for
 * @clock_now:	set all clocks to the host's time
 * @reseed:	fresh random seeds and machine ids
 */
struct repair {
	bool clock_now, reseed;
};

/**
 * enum repair_bits - the same in the store, for a labd that goes on after one that was killed
 * @REPAIR_LAB_TIME:	their clocks are to be set to the lab's time
 */
enum repair_bits { REPAIR_CLOCK_NOW = 1, REPAIR_RESEED = 2, REPAIR_LAB_TIME = 4 };

static inline int64_t repair_to_bits(const struct repair *how)
{
	return (how->clock_now ? REPAIR_CLOCK_NOW : 0) | (how->reseed ? REPAIR_RESEED : 0);
}

static inline struct repair repair_from_bits(int64_t bits)
{
	return (struct repair){ .clock_now = bits & REPAIR_CLOCK_NOW,
				.reseed = bits & REPAIR_RESEED };
}

/** repair_lab_time() - The lab's time now: seconds since 1970, as its guests see it */
double repair_lab_time(const struct lab *lab);

/**
 * repair_set_lab_time() - Let the lab's time be @time now; 0: the host's
 * Also told to its keeper, if it has one.
 */
void repair_set_lab_time(struct labd *d, struct lab *lab, double time);

/**
 * repair_guest() - Do all that in a guest that runs again
 * @set_clock:	its clock is to be set to the lab's time
 *
 * Return: 0, or the first command that failed, with its words
 */
int repair_guest(struct instance *in, const struct repair *how, bool set_clock, struct job *job,
		 struct lab_err *err);

#endif
