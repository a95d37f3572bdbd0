/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bootid.h - whether a guest is still in the boot in which its services were started
 *
 * DOC: Theory of Operation
 *
 * QEMU tells labd when a guest boots by itself, but nobody hears that while labd is away. So
 * with each service that is ready labd keeps the boot id of its guest's kernel, as the
 * agent reads it. That goes wherever the state of the service goes: into the store, and with
 * the guest's memory into snapshots. A labd that adopts a guest asks again. If another
 * kernel answers, this is as if QEMU had told of it now (watch.c). A guest that does not
 * answer at once, perhaps because it boots, gets a job that waits for its agent.
 */
#ifndef LABD_BOOTID_H
#define LABD_BOOTID_H

#include "labd/job.h"
#include "labd/model.h"

/** bootid_note() - Keep the boot id with a service that has just been started */
void bootid_note(struct labd *d, struct instance *in, const char *service);

/**
 * bootid_changed() - Ask whether its services were started in an earlier boot
 *
 * Return: 1, 0 (also if that is not known), or negative errno if it does not answer
 */
int bootid_changed(struct labd *d, struct guest *g, struct lab_err *err);

/** bootid_unseen() - The same of a guest that perhaps boots just now: wait for its agent */
int bootid_unseen(struct labd *d, struct job *job, struct instance *in, struct lab_err *err);

/**
 * bootid_notice() - Have the services of a guest that has booted by itself forgotten
 * Who is about to take them for ready, and has claimed @in, calls it first: nobody may have
 * dealt with the boot yet.
 */
int bootid_notice(struct labd *d, struct job *job, struct instance *in, struct lab_err *err);

/** bootid_adopted() - Ask it of a guest that was adopted, in another thread */
void bootid_adopted(struct labd *d, struct instance *in);

#endif
