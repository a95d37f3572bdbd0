/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plan.h - what a lab is to be, what it is, and what `up` would do
 *
 * All of it looks and changes nothing. Called without the lock.
 */
#ifndef LABD_PLAN_H
#define LABD_PLAN_H

#include "labd/model.h"

/** plan_spec() - A deep copy of a lab's specification, or NULL if there is no such lab */
json_t *plan_spec(struct labd *d, const char *name);

/**
 * plan_read() - Read a lab file, with what its lab is now as the background
 * @ret:	the specification; new reference
 * @ret_problems: as labfile_read()
 */
int plan_read(struct labd *d, const char *text, const char *file, json_t **ret,
	      json_t **ret_problems, struct lab_err *err);

/**
 * plan_edit() - What a lab's specification would be after an edit
 * @edit:	changes a copy; then it is read like a file
 * @ret:	new reference
 */
int plan_edit(struct labd *d, const char *name,
	      int (*edit)(json_t *spec, void *arg, struct lab_err *err), void *arg, json_t **ret,
	      struct lab_err *err);

/** plan_applied() - What was applied to the instances, as one specification, or NULL */
json_t *plan_applied(struct labd *d, const char *name);

/** plan_images() - [{"name", "state"}] of the images of a specification */
json_t *plan_images(struct labd *d, const json_t *spec);

/** plan_make() - The answer of POST /v1/plan */
int plan_make(struct labd *d, const char *text, const char *file, json_t **ret,
	      json_t **ret_problems, struct lab_err *err);

/**
 * plan_preflight() - Refuse before anything changes what cannot work
 * Images that cannot be had, ports that are taken, and, unless @force, what
 * does not fit into memory or on the disk.
 */
int plan_preflight(struct labd *d, const char *lab, const json_t *spec, bool force,
		   struct lab_err *err);

#endif
