/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * service.h - services of the catalogue on running instances
 *
 * DOC: Theory of Operation
 *
 * No image starts a service by itself. When an instance runs, labd starts its services
 * through the guest's agent, each as soon as those that it needs are ready, wherever in
 * the lab they are (startset.c). To start one:
 *
 *	fill	its files and scripts, with what is known about the lab (catalogue.h)
 *	write	them into the guest, as one archive
 *	setup	its script, if this disk has not seen it yet: the guest keeps a mark of
 *		that, which so follows the disk through snapshots and resets
 *	start	its units, then its script `start`
 *	wait	for its probes
 *
 * struct instance.services says how far each is: {NAME: {"state", "text", "digest"}}.
 * States are waiting, starting, ready and failed; the digest is of what was written, so that a
 * change of the catalogue or of the lab is noticed; "boot" is bootid.h's. It is kept in the store,
 * as services go on when labd does not; a guest that stops has none.
 *
 * Secrets are made from the lab's key, which is in the store: they are the same
 * each time, and others in each lab.
 */
#ifndef LABD_SERVICE_H
#define LABD_SERVICE_H

#include "images/catalogue.h"
#include "labd/job.h"
#include "labd/model.h"

/**
 * service_load() - Read a service with what labd alone has to know about it
 * @ret:	as catalogue_load(), and "ready", "repair", "forward"; new reference
 */
int service_load(const struct paths *paths, const char *name, json_t **ret, struct lab_err *err);

/** service_names() - Those of an instance's specification; borrowed */
const json_t *service_names(const struct instance *in);

/** service_carried() - Whether an instance's specification has a service */
bool service_carried(const struct instance *in, const char *name);

/** service_state() - How far one of an instance is: "" before anything was done; the lock is held
 */
const char *service_state(const struct instance *in, const char *name);

/**
 * service_shown() - One of an instance as everybody sees it; the lock is held
 * Nothing runs in a guest that does not run: its services are "stopped".
 *
 * Return: {"name", "state", "text"}, new reference
 */
json_t *service_shown(const struct instance *in, const char *name);

/** services_ready() - Whether all services of an instance are; the lock is held */
bool services_ready(const struct instance *in);

/**
 * service_set_state() - In the model, the store and the events
 * @text:	what it waits for, or why it failed
 */
void service_set_state(struct labd *d, struct instance *in, const char *name, const char *state,
		       const char *text);

/** services_expect() - All of an instance are to be started: state "waiting"; the lock is held */
void services_expect(struct instance *in);

/** services_lost() - A labd has ended while it started them: state "failed" */
void services_lost(struct instance *in);

/**
 * service_start() - Start a service whose needs are ready, and wait until it is, too
 * One that runs with what it would get is only waited for.
 */
int service_start(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		  const json_t *service, struct lab_err *err);

/** services_stale() - Whether one would get other files now: the lab or the catalogue changed */
bool services_stale(struct labd *d, struct instance *in);

/**
 * services_take_away() - Remove from a running guest what its specification no longer has
 * What cannot be removed is a note of the job: the guest is stopped anyway.
 */
void services_take_away(struct labd *d, struct job *job, struct instance *in);

/** services_forget() - Its guest starts anew: it has none yet */
void services_forget(struct labd *d, struct instance *in);

/** services_wait() - Wait for the probes of all services of an instance that goes on */
int services_wait(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		  struct lab_err *err);

/**
 * service_script() - Run one of a service's scripts in its guest
 * @script:	"check", "remove"
 * @words:	@size bytes: the last of what it said; may be NULL
 *
 * Return: 1, 0 if it has none, or negative errno
 */
int service_script(struct labd *d, struct job *job, struct instance *in, const char *name,
		   const char *script, char *words, size_t size, struct lab_err *err);

#endif
