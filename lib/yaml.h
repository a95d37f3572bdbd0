/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * yaml.h - a bounded YAML file with checked access and all its problems
 *
 * DOC: Theory of Operation
 *
 * What people write (lab files, recipes, the service catalogue) is read into
 * a small tree in which every node knows its line and column. Whoever reads a
 * value says what is expected; what is not so becomes a problem of the
 * document and reading goes on, so that a person sees all problems of a file
 * at once. At the end ydoc_finish() gives them in the file's order.
 *
 * The tree is built from libyaml's events, not with its document loader:
 * limits hold before memory is used, an alias is refused where it stands (so
 * nothing can expand), and duplicate keys are seen. Scalars are text; a
 * number is what its reader says it is, whether quoted or not.
 */
#ifndef LIB_YAML_H
#define LIB_YAML_H

#include "lib/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define YDOC_MAX_DEPTH 16 /* the deepest of our files needs 7 */
#define YDOC_MAX_PROBLEMS 64 /* more than that nobody reads */

enum ynode_type { YNODE_SCALAR, YNODE_LIST, YNODE_MAP };

/**
 * struct ynode - a value
 * @type:	what it is
 * @line, @column: from 1
 * @text:	scalar: UTF-8 without NUL; otherwise NULL
 * @quoted:	scalar: was written in quotes or as a block
 * @key:	in a map: this value's key (a scalar); otherwise NULL
 * @child:	list or map: first value
 * @next:	next value of the list or map this one is in
 * @count:	list or map: how many values
 */
struct ynode {
	enum ynode_type type;
	unsigned int line, column;
	char *text;
	bool quoted;
	struct ynode *key, *child, *next;
	size_t count;
};

struct ydoc;

/**
 * ydoc_load() - Read one YAML document
 * @max:	the most bytes it may have; it may have one value for each 4
 * @ret:	the document, also when it has problems
 *
 * Return: 0 or -ENOMEM
 */
int ydoc_load(const char *text, size_t len, size_t max, struct ydoc **ret);

/** ydoc_free() - Free a document and its nodes; takes NULL, returns NULL */
struct ydoc *ydoc_free(struct ydoc *doc);

/** ydoc_root() - The outermost value; NULL if it could not be read */
const struct ynode *ydoc_root(const struct ydoc *doc);

/**
 * ydoc_problem() - Add a problem
 * @at:		the value it is about; NULL: the start of the file
 */
void ydoc_problem(struct ydoc *doc, const struct ynode *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * ydoc_unknown() - Add the problem that a word is none of the known ones
 * @at:		a scalar
 * @what:	what it should name: "key", "network"
 * @known:	NULL-terminated; the nearest is proposed, or all are listed
 */
void ydoc_unknown(struct ydoc *doc, const struct ynode *at, const char *what,
		  const char *const *known);

/** ydoc_problems() - How many problems there are until now */
size_t ydoc_problems(const struct ydoc *doc);

/**
 * ydoc_finish() - Give all problems, in the file's order, each once
 * @file:	its name, for the text
 * @ret_problems: [{"line", "column", "message"}] if there are any; new
 *		reference; may be NULL
 *
 * Return: 0 if there are none, -EINVAL with @err's text
 * "FILE:LINE:COLUMN: message", one a line, or -ENOMEM
 */
int ydoc_finish(struct ydoc *doc, const char *file, json_t **ret_problems, struct lab_err *err);

/** ynode_get() - The value of a key; NULL if @map is no map or has no such key */
const struct ynode *ynode_get(const struct ynode *map, const char *key);

/** ynode_null() - Whether a value is missing or nothing: no text, ~ or null */
bool ynode_null(const struct ynode *n);

/** ynode_name() - Where a map's value is named: its key, else itself */
const struct ynode *ynode_name(const struct ynode *n);

#define YNODE_SHOW 64

/**
 * ynode_show() - A value as a message shows it: 'lots', a list, a map, nothing
 * @buf:	YNODE_SHOW bytes
 *
 * Return: @buf
 */
const char *ynode_show(char buf[YNODE_SHOW], const struct ynode *n);

/**
 * ydoc_map() - Expect a map (or nothing) with known keys
 * @known:	NULL-terminated; NULL: any keys
 *
 * Every unknown key becomes a problem that names the nearest known one.
 *
 * Return: whether it is a map (then there may still be unknown keys)
 */
bool ydoc_map(struct ydoc *doc, const struct ynode *n, const char *const *known);

/** ydoc_list() - Expect a list (or nothing); @what: of what, for the message */
bool ydoc_list(struct ydoc *doc, const struct ynode *n, const char *what);

/*
 * Expect a scalar. On a mismatch, a problem "expected ..., found ..." is added
 * and false returned; *ret is set on success only. @n must not be NULL.
 */

/** ydoc_text() - Printable text; *ret belongs to @n */
bool ydoc_text(struct ydoc *doc, const struct ynode *n, const char *what, const char **ret);
/** ydoc_name() - A name as of NAME_RULE; @what: "an instance's name" */
bool ydoc_name(struct ydoc *doc, const struct ynode *n, const char *what, const char **ret);
/** ydoc_u64() - A number from @min to @max */
bool ydoc_u64(struct ydoc *doc, const struct ynode *n, uint64_t min, uint64_t max, uint64_t *ret);
/** ydoc_size() - A size in bytes from @min to @max, a multiple of @step */
bool ydoc_size(struct ydoc *doc, const struct ynode *n, uint64_t min, uint64_t max, uint64_t step,
	       uint64_t *ret);
/** ydoc_seconds() - A duration in whole seconds, from 1 to @max */
bool ydoc_seconds(struct ydoc *doc, const struct ynode *n, uint64_t max, uint64_t *ret);
/** ydoc_bool() - true or false */
bool ydoc_bool(struct ydoc *doc, const struct ynode *n, bool *ret);

#endif
