/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vars.h - ${VARIABLES} of a test
 *
 * A variable is put into a text as it is, once: what comes in is not looked at
 * again. "$${" stands for "${"; any other dollar for itself.
 */
#ifndef CLI_VARS_H
#define CLI_VARS_H

#include "lib/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define VARS_MAX_VALUE                                                                             \
	(64U << 10) /* the kernel takes twice as much as one variable of a program                 \
		     */

/**
 * struct vars - what is known; zero at the start
 * @values:	{"NAME": "text"} of the file, and saved by steps
 * @lab:	{"NAME": "text"} of the lab, see lab_environment()
 */
struct vars {
	json_t *values, *lab;
};

/** vars_name_valid() - [A-Za-z_][A-Za-z0-9_]*, as programs can have it */
bool vars_name_valid(const char *name, size_t len);

/**
 * vars_uses() - What a text uses
 * @use:	called with each name; one that is none is given too
 */
void vars_uses(const char *text, void (*use)(void *arg, const char *name, size_t len), void *arg);

/** enum vars_into - what variables are put into; in a REGEX they stand for themselves */
enum vars_into { VARS_TEXT, VARS_REGEX };

/**
 * vars_expand() - Put variables into a text
 * @ret:	malloced
 *
 * Return: 0, -ENOENT naming a variable that has no value, -ENOMEM
 */
int vars_expand(const struct vars *v, const char *text, enum vars_into into, char **ret,
		struct lab_err *err);

/** vars_expand_json() - The same in all strings of a document; @ret: new reference */
int vars_expand_json(const struct vars *v, const json_t *doc, enum vars_into into, json_t **ret,
		     struct lab_err *err);

/** vars_set() - Give a variable a value; -E2BIG, or -EINVAL if it is not UTF-8 */
int vars_set(struct vars *v, const char *name, const char *value, size_t len, struct lab_err *err);

/**
 * vars_environ() - The environment of a program: ours, the lab's, the variables
 * @path_first:	directory that PATH begins with, or NULL
 *
 * Return: malloced, NULL-terminated; free with vars_environ_free(); NULL without memory
 */
char **vars_environ(const struct vars *v, const char *path_first);
void vars_environ_free(char ***env);

/* Values in documents: "token.user.name", "servers[0].id", "[2]" */

/** jsonpath_valid() - Whether a text is such a path */
bool jsonpath_valid(const char *path);

/** jsonpath_get() - The value there (borrowed), or NULL */
json_t *jsonpath_get(const json_t *doc, const char *path);

/** json_words() - A value as text: strings as they are, others as JSON; malloced */
char *json_words(const json_t *value);

#endif
