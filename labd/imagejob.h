/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imagejob.h - building, importing, exporting and locking images */
#ifndef LABD_IMAGEJOB_H
#define LABD_IMAGEJOB_H

#include "images/image.h"
#include "labd/job.h"
#include "labd/model.h"

/**
 * struct job_shown - a line of a job on which images/ shows what it does
 */
struct job_shown {
	struct job *job;
	struct job_item *item;
};

/** imagejob_progress() - The callbacks for it; borrows @s */
struct image_progress imagejob_progress(struct job_shown *s);

/**
 * imagejob_recipe() - Read the recipe of an image: a shipped one, or for a lab's services
 * @ret:	to be freed with recipe_free()
 *
 * Return: as recipe_load()
 */
int imagejob_recipe(struct labd *d, const char *name, struct recipe **ret, struct lab_err *err);

/**
 * imagejob_ensure() - Have an image ready, within a job
 * @name:	of an image that is there, or of a shipped recipe: then it is
 *		built if it is not there or the recipe changed
 * @item:	the job's line for it, or NULL
 *
 * If another job makes it right now, waits for that.
 */
int imagejob_ensure(struct labd *d, struct job *job, const char *name, struct job_item *item,
		    struct lab_err *err);

/**
 * imagejob_state() - What imagejob_ensure() would do
 * @spec:	of the lab that wants it
 * Return: "ready", "build" or "missing"; the lock is not held
 */
const char *imagejob_state(struct labd *d, const json_t *spec, const char *name,
			   uint64_t *ret_size);

/*
 * API calls of images; validate, then start a job. Called in a worker thread.
 * *ret_job is 0 if nothing is to be done.
 */
int imagejob_build(struct labd *d, const json_t *body, int64_t *ret_job, json_t **ret_problems,
		   struct lab_err *err);
int imagejob_import(struct labd *d, const json_t *body, int64_t *ret_job, struct lab_err *err);
int imagejob_export(struct labd *d, const char *name, const json_t *body, int64_t *ret_job,
		    struct lab_err *err);
int imagejob_lock(struct labd *d, const char *name, int64_t *ret_job, struct lab_err *err);

/** imagejob_collect() - Remove images that lost their name and their last user */
void imagejob_collect(struct labd *d);

#endif
