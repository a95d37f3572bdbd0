/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * labjob.h - what is done to labs and instances: up, down, reset, start, ...
 *
 * Each validates, claims, starts a job and returns its id in *ret_job. Called in
 * a worker thread, without the lock.
 */
#ifndef LABD_LABJOB_H
#define LABD_LABJOB_H

#include "labd/job.h"
#include "labd/model.h"
#include "labd/repair.h"

/**
 * struct up_how - how a lab is brought up
 * @boot:	by booting, whatever was saved of it
 * @no_golden:	without making a golden when all are ready
 * @repair:	of what is restored
 */
struct up_how {
	bool boot, no_golden;
	struct repair repair;
};

/**
 * labjob_define() - Define or change a lab, and bring it up
 * @up:		NULL: only define it
 * @force:	even if it does not fit into memory or on the disk
 * @lab:	the name it must have, or NULL for any
 * @ret_lab:	the lab's name, NAME_MAX_LEN + 1 bytes
 */
int labjob_define(struct labd *d, const char *lab, const char *text, const char *file,
		  const struct up_how *up, bool force, char *ret_lab, int64_t *ret_job,
		  json_t **ret_problems, struct lab_err *err);

/**
 * labjob_change() - Apply an edit to a lab's specification, without starting anything
 * @edit:	changes a copy of the specification; then it is read like a file
 *
 * Return: 0, or what the reader says (-EINVAL), or -EBUSY
 */
int labjob_change(struct labd *d, const char *name,
		  int (*edit)(json_t *spec, void *arg, struct lab_err *err), void *arg,
		  struct lab_err *err);

/**
 * struct labjob_with - what is done together with a change of the specification
 * @in_store:	in the same transaction, before
 * @then:	after it, with its result; the lab is still claimed
 */
struct labjob_with {
	int (*in_store)(struct labd *d, struct lab *lab, void *arg, struct lab_err *err);
	void (*then)(struct labd *d, struct lab *lab, void *arg, int r);
	void *arg;
};

/** labjob_change_with() - The same, and something else: both or none */
int labjob_change_with(struct labd *d, const char *name,
		       int (*edit)(json_t *spec, void *arg, struct lab_err *err), void *arg,
		       const struct labjob_with *with, struct lab_err *err);

int labjob_up(struct labd *d, const char *name, const struct up_how *how, bool force,
	      int64_t *ret_job, struct lab_err *err);
int labjob_down(struct labd *d, const char *lab, bool kill, int64_t *ret_job, struct lab_err *err);
/** labjob_remove() - Into the trash; @memory: what runs is kept as an automatic snapshot first */
int labjob_remove(struct labd *d, const char *lab, bool memory, int64_t *ret_job,
		  struct lab_err *err);
/** @names: array of instances, NULL or empty for all */
int labjob_reset(struct labd *d, const char *name, const json_t *names, const struct up_how *how,
		 int64_t *ret_job, struct lab_err *err);
/** @action: "start", "stop", "kill", "pause", "resume", "reset", "reboot", "nmi" */
int labjob_instance(struct labd *d, const char *lab_name, const char *name, const char *action,
		    int64_t *ret_job, struct lab_err *err);
/** labjob_remove_instance() - A stopped instance goes into the trash; done on return */
int labjob_remove_instance(struct labd *d, const char *lab_name, const char *name,
			   struct lab_err *err);

/** labjob_rename() - Give a stopped instance another name; done on return */
int labjob_rename(struct labd *d, const char *lab, const char *name, const char *to,
		  struct lab_err *err);

/**
 * labjob_probe() - Probe a running instance again, after an adoption; the lock is held
 * If another job has the lab, it is begun with when that has ended (watch.c).
 */
void labjob_probe(struct labd *d, struct instance *in);

/** labjob_booted() - A running guest has booted again by itself; the lock is held */
void labjob_booted(struct labd *d, struct instance *in);

/** labjob_ended() - A running instance's QEMU has ended by itself */
void labjob_ended(struct labd *d, struct instance *in);

/** labjob_find() - Lab, and instance if not NULL, by name; the lock is held */
int labjob_find(struct labd *d, const char *lab, const char *instance, struct lab **ret_lab,
		struct instance **ret_in, struct lab_err *err);

#endif
