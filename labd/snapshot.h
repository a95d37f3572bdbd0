/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot.h - points in time of a lab: disks, and the memory of what ran
 *
 * DOC: Theory of Operation
 *
 * A snapshot's row is in state "creating" until all its members are frozen (freeze.h)
 * and their files are on the disk. A daemon that finds such a row undoes it: the
 * guests' files are what they were. So there is the whole snapshot or none.
 *
 * Kinds:
 *	user	made and removed on request
 *	golden	what up and reset go back to; at most one of a lab, replaced in one
 *		transaction (golden.h)
 *	auto	made by labd before it drops what runs or what disks have; the newest
 *		SNAPSHOT_KEPT of them stay, for SNAPSHOT_DAYS at most
 *	suspended  the running state of a lab that was suspended; gone when it is resumed, and
 *		an automatic one when it cannot be
 *
 * The specification of the lab is part of a snapshot: restoring it brings forwards,
 * links and probes of its members back as well.
 *
 * All functions block, and are called by a job that has claimed the lab.
 */
#ifndef LABD_SNAPSHOT_H
#define LABD_SNAPSHOT_H

#include "labd/job.h"
#include "labd/model.h"
#include "labd/repair.h"

#define SNAPSHOT_GOLDEN "golden"
#define SNAPSHOT_SUSPENDED "suspended"
#define SNAPSHOT_KEPT 5
#define SNAPSHOT_DAYS 7

/**
 * struct instances - some of a lab's
 * @v:	free()d by instances_done()
 */
struct instances {
	struct instance **v;
	size_t n;
};

/** instances_add() - One more; 0 or -ENOMEM */
int instances_add(struct instances *ins, struct instance *in, struct lab_err *err);
/** instances_named() - The instances of a lab in a list of names that exist; the lock is held */
int instances_named(struct lab *lab, const json_t *names, struct instances *ret,
		    struct lab_err *err);
/** instances_with_disks() - All instances of a lab that have disks; the lock is not held */
int instances_with_disks(struct labd *d, struct lab *lab, struct instances *ret,
			 struct lab_err *err);
void instances_done(struct instances *ins);
#define autoinstances __attribute__((cleanup(instances_done)))

/** snapshot_check_name() - Whether users may give a snapshot this name, or why not */
int snapshot_check_name(const char *name, struct lab_err *err);

/**
 * struct snapshot_plan - a snapshot that is to be made
 * @kind:	as above; a golden or suspended one replaces the lab's earlier one
 * @ins:	its members
 * @force:	also of those that run guests of their own (nested.h)
 */
struct snapshot_plan {
	struct lab *lab;
	const char *name, *kind;
	const struct instances *ins;
	bool force;
};

/**
 * snapshot_take() - Make a snapshot of what instances are now
 * @ret_id:	may be NULL
 *
 * The job needs lines for the instances if it wants to show them.
 */
int snapshot_take(struct labd *d, struct job *job, const struct snapshot_plan *plan,
		  int64_t *ret_id, struct lab_err *err);

/* @ret_clock: the lab's time that it is of */
typedef int (*snapshot_fill)(struct labd *d, int64_t id, const struct instances *ins, void *arg,
			     double *ret_clock, struct lab_err *err);

/** snapshot_make() - Make a snapshot whose files @fill makes */
int snapshot_make(struct labd *d, const struct snapshot_plan *plan, snapshot_fill fill, void *arg,
		  int64_t *ret_id, struct lab_err *err);

/**
 * struct keep - what is kept in an automatic snapshot
 * @before:	what comes then, a word
 * @ins:	its members, or NULL: all that have disks
 * @spare:	one that stays, however old: it is to be restored
 * @force:	as in struct snapshot_plan; where what runs is lost anyway
 */
struct keep {
	struct lab *lab;
	const char *before;
	const struct instances *ins;
	int64_t spare;
	bool force;
};

/**
 * snapshot_keep() - Make an automatic snapshot before something is lost, drop old ones
 * @ret_id:	may be NULL
 */
int snapshot_keep(struct labd *d, struct job *job, const struct keep *keep, int64_t *ret_id,
		  struct lab_err *err);

/**
 * snapshot_set_aside() - Make what was suspended an automatic one, with another name
 *
 * For one that cannot go on: its disks, and perhaps on another machine its memory, are
 * still somebody's work.
 */
int snapshot_set_aside(struct labd *d, struct job *job, struct lab *lab, int64_t id,
		       struct lab_err *err);

/**
 * snapshot_expired() - An automatic one that is too old, or one too many; the lock is held
 * @spare:	not this one
 * Return: its id, or 0
 */
int64_t snapshot_expired(struct lab *lab, int64_t spare);

/** snapshot_expire() - Drop all of these */
int snapshot_expire(struct labd *d, struct lab *lab, int64_t spare, struct lab_err *err);

/** snapshot_part() - In the store: its children are its parent's now */
int snapshot_part(struct labd *d, int64_t id, struct lab_err *err);

/** snapshot_leave() - Take one out of the model; its row and files stay */
void snapshot_leave(struct labd *d, struct lab *lab, int64_t id);

/** snapshot_drop() - Remove one, and the files that nobody needs any more */
int snapshot_drop(struct labd *d, struct lab *lab, int64_t id, struct lab_err *err);

/**
 * snapshot_bring_back() - Restore instances to a snapshot they are members of
 * @spec:	also the members' specification, as it was
 * @repair:	NULL for nothing beside what their specification names
 */
int snapshot_bring_back(struct labd *d, struct job *job, struct lab *lab, int64_t id,
			const struct instances *ins, bool spec, const struct repair *repair,
			struct lab_err *err);

/** snapshot_spec() - The specification of the lab when it was made; a new reference */
json_t *snapshot_spec(struct labd *d, int64_t id);

/** snapshot_repair() - At start: undo snapshots that were not finished */
void snapshot_repair(struct labd *d, struct lab *lab);

#endif
