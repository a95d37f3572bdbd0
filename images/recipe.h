/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recipe.h - what the files of images/ share about recipes and locks */
#ifndef IMAGES_RECIPE_H
#define IMAGES_RECIPE_H

#include "images/image.h"

/** recipe_str() - A string of a JSON object, "" if it is not there */
const char *recipe_str(const json_t *o, const char *key);

/**
 * recipe_read_lock() - The lock that is in force for a recipe
 * @ret:	STATE/locks/NAME.json: {"name", "recipe": digest it was taken
 *		for, "digest": of the packages, "epoch", "sources",
 *		"packages": []}, or NULL without one; new reference
 *
 * Return: 0 or negative errno
 */
int recipe_read_lock(const struct paths *paths, const char *name, json_t **ret,
		     struct lab_err *err);

/**
 * image_begin() - Make the directory an image is made in
 * @dir:	the final name, must not exist
 * @tmp:	IO_PATH bytes: the name to work in
 */
int image_begin(const char *dir, char *tmp, struct lab_err *err);

/** image_commit() - Give a finished, synced directory its final name */
int image_commit(const char *tmp, const char *dir, struct lab_err *err);

/**
 * builder_run() - Run labbuild with a plan
 * @plan_path:	where to write the plan
 */
int builder_run(const struct paths *paths, const json_t *plan, const char *plan_path,
		const struct image_progress *progress, struct lab_err *err);

#endif
