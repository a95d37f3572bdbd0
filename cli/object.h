/* SPDX-License-Identifier: GPL-2.0-or-later */
/* object.h - which lab, instance or file is meant by an argument */
#ifndef CLI_OBJECT_H
#define CLI_OBJECT_H

#include "cli/cli.h"
#include "lib/names.h"

/**
 * struct object - a lab, or something in one
 * @lab:	"" while not known
 * @name:	"" for the lab itself
 */
struct object {
	char lab[NAME_MAX_LEN + 1];
	char name[NAME_MAX_LEN + 1];
};

/**
 * object_parse() - Read "LAB/NAME" or "NAME" (then @ret->lab is "")
 * Return: 0 or -EINVAL
 */
int object_parse(const char *text, struct object *ret, struct lab_err *err);

/** object_is_file() - Whether an argument of up or plan is a lab file's path */
bool object_is_file(const char *arg);

/**
 * object_lab() - The lab that is meant
 * @arg:	its name, or NULL for the only one
 *
 * Return: 0, -EINVAL for an impossible name, -ENOENT if there is no lab,
 * -EINVAL if there are several to choose from; whether a lab of that name
 * exists is left to labd
 */
int object_lab(struct cli *cli, const char *arg, struct object *ret);

/**
 * object_in_lab() - The instance, network or snapshot that is meant
 * @arg:	"LAB/NAME", or "NAME" in the only lab
 */
int object_in_lab(struct cli *cli, const char *arg, struct object *ret);

/** object_lab_exists() - 1 if there is a lab of that name, 0, or negative errno */
int object_lab_exists(struct cli *cli, const char *name);

#endif
