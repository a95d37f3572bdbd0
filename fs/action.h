/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * action.h - ask something of labd for a request that waits, off the loop
 *
 * DOC: Theory of Operation
 *
 * The FUSE loop never waits for labd. What must be asked is a struct action,
 * given to a pool of workers together with the request that waits for it. A
 * worker calls labd, then asks for the events up to now and waits until the
 * model shows them, so that who has written a value reads it back, and answers
 * the request.
 *
 * A request waits ACTION_MS at most, from the time it was given here. A pool
 * that is all waiting for a stopped labd does not add up: what has waited
 * too long in the queue is answered without being asked. The kernel lets only
 * one request at a time change a directory, so ten of `mkdir` would wait one
 * after the other: when labd has not answered one in time, the next is asked
 * only if labd answers a simple question within ACTION_PROBE_MS. What labd has
 * accepted as a job and only needs to appear (a snapshot) is waited for as
 * long as labd is there.
 *
 * An interrupted request is answered EINTR at once; its action goes on. The
 * worker and the loop agree on who answers under one lock; whoever answers
 * last drops the request.
 *
 * Workers are started when needed and leave when they have been idle for a
 * while: a tree that nobody writes to has none.
 */
#ifndef FS_ACTION_H
#define FS_ACTION_H

#include "fs/model.h"
#include "lib/client.h"
#include "lib/err.h"

#include <jansson.h>
#include <stdint.h>

#define ACTION_MS 5000
#define ACTION_PROBE_MS 100
#define ACTION_MAX_WORKERS 8
#define ACTION_MAX_QUEUE 1024 /* a queue this long is a mistake of a script */
#define ACTION_IDLE_S 20

enum action_until {
	UNTIL_SHOWN, /* the model shows what was done */
	UNTIL_APPEARED, /* the object named below is there */
	UNTIL_GONE, /* it is no longer there, and labd's job with it has ended */
	UNTIL_KNOWN, /* the value of @key of the object is no longer empty */
	UNTIL_ANSWERED, /* labd has answered: nothing changes, @answer is of interest */
};

/**
 * struct action - what to ask of labd
 * @method:	static string
 * @path:	of the API
 * @body:	owned, NULL for none
 * @until:	when the action counts as done
 * @kind, @lab, @name:	the object that appears
 * @id:		the object that goes, or has @key (with @kind)
 * @key:	static string, for UNTIL_KNOWN
 * @wanted:	static string; a refusal counts as success if the object's state
 *		(@kind, @id) is this then: setting what already is
 * @job:	out: the job that labd started, or 0
 * @answered:	out: labd has, whatever came of it; UNTIL_KNOWN only
 * @answer:	out: what it said, owned; UNTIL_ANSWERED only
 */
struct action {
	const char *method;
	char path[CLIENT_PATH];
	json_t *body;
	enum action_until until;
	enum kind kind;
	uint32_t lab, id;
	char name[NAME_MAX_LEN + 1];
	const char *key, *wanted;
	uint64_t job;
	bool answered;
	json_t *answer;
};

/** action_done() - Release what an action holds */
void action_done(struct action *action);

#define autoaction __attribute__((cleanup(action_done)))

/**
 * struct pending - a request that waits for an action
 * @action:	owned
 * @finish:	called by the worker with the result: 0 or negative errno. Answers
 *		the request, unless @req is NULL by then (it was interrupted);
 *		frees what @arg points to, in either case
 * @arg:	for @finish
 * @where:	path in the tree, for messages: malloced, owned
 * @kind, @id:	the object whose `error` tells a failure
 * @err:	the words of one, for @finish
 *
 * The rest is private.
 */
struct pending {
	struct action action;
	void (*finish)(struct pending *p, int result);
	void *arg;
	char *where;
	enum kind kind;
	uint32_t id;
	const struct lab_err *err;

	void *req;
	uint64_t deadline;
	bool answered;
	struct pending *next;
};

/** action_init() - Set up the pool; @socket is labd's, borrowed for good */
void action_init(const char *socket);

/**
 * action_submit() - Have an action carried out and its request answered
 * @req:	fuse_req_t; NULL if none waits
 * @p:		malloced; freed here after finish() was called
 *
 * If it cannot be queued, finish() is called from here, with -EBUSY or -ENOMEM.
 */
void action_submit(void *req, struct pending *p);

/** action_refuse() - Record a refusal in an object's `error` and in /error */
void action_refuse(const char *where, enum kind kind, uint32_t id, const struct lab_err *err);

/** action_last_error() - What /error shows, malloced or NULL; *ret_time: since when */
char *action_last_error(double *ret_time);

#endif
