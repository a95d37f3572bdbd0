/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recipe.h - what the files of images/ share about recipes and locks */
#ifndef IMAGES_RECIPE_H
#define IMAGES_RECIPE_H

#include "images/image.h"
#include "lib/yaml.h"

/** recipe_str() - A string of a JSON object, "" if it is not there */
const char *recipe_str(const json_t *o, const char *key);

/**
 * recipe_load_spec() - Read a recipe and all it builds on
 * @text:	YAML, or NULL to read the shipped recipe @name
 * @name:	of the recipe, or of the text's file
 * @depth:	0; more for what another recipe builds on
 * @ret_problems: as recipe_load()
 */
int recipe_load_spec(const struct paths *paths, const char *text, const char *name, int depth,
		     json_t **ret, json_t **ret_problems, struct lab_err *err);

/**
 * recipe_read() - Read a recipe's keys; problems are added to the document
 * @spec:	filled: "name", "suite", ..., "from" and "using" as specs
 */
void recipe_read(const struct paths *paths, struct ydoc *doc, int depth, json_t *spec);

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

#define IMAGE_FEW_HOLES (1 << 20) /* bytes; a qcow2 has some around its tables */

/** image_commit() - Give a finished, synced directory its final name */
int image_commit(const char *tmp, const char *dir, struct lab_err *err);

/**
 * image_remove_trees() - Remove directories, also with files of our range of subordinate ids
 * @list:	array of absolute paths; what is not there is fine
 */
int image_remove_trees(const struct paths *paths, json_t *list, struct lab_err *err);

/**
 * image_sweep_layers() - Remove partial layers that nobody is making any more
 *
 * Return: how many, or negative errno
 */
int image_sweep_layers(const struct paths *paths, struct lab_err *err);

/**
 * recipe_deb_name() - apt's name for a package's file: a colon becomes %3a
 * @buf:	IO_PATH bytes
 * @package:	{"name", "version", "arch"}
 *
 * Return: @buf
 */
const char *recipe_deb_name(char *buf, const json_t *package);

/**
 * builder_run() - Run labbuild with a plan
 * @plan_path:	where to write the plan
 */
int builder_run(const struct paths *paths, const json_t *plan, const char *plan_path,
		const struct image_progress *progress, struct lab_err *err);

#endif
