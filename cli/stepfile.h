/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stepfile.h - what the parts of the reader of test files share; for cli/stepfile*.c */
#ifndef CLI_STEPFILE_H
#define CLI_STEPFILE_H

#include "cli/step.h"

/** stepfile_json() - A value as JSON; what is not quoted and looks like a number is one */
json_t *stepfile_json(const struct ynode *n);

/** stepfile_given() - A key's value, NULL if it is missing or nothing */
const struct ynode *stepfile_given(const struct ynode *map, const char *key);

/** stepfile_texts() - Expect a map of one-line texts, as {"key": "text"}; @what: of what */
json_t *stepfile_texts(struct ydoc *doc, const struct ynode *n, const char *what);

/** stepfile_regex() - Expect a regular expression, which may have variables; NULL with a problem */
const char *stepfile_regex(struct ydoc *doc, const struct ynode *n);

/** stepfile_path() - Expect a path into a JSON document; NULL with a problem */
const char *stepfile_path(struct ydoc *doc, const struct ynode *n, const char *text);

/** stepfile_program() - Expect words, or a text for sh: {"argv": [], "shell": bool}, or NULL */
json_t *stepfile_program(struct ydoc *doc, const struct ynode *n);

/** stepfile_spec() - What a step of a kind does: its `spec`, or NULL with a problem */
json_t *stepfile_spec(struct ydoc *doc, enum step_kind kind, const struct ynode *n);

/** stepfile_expect() - Read `expect`; sets @step->expect and @step->forbid */
void stepfile_expect(struct ydoc *doc, struct step *step, const struct ynode *n);

/** stepfile_save() - Read `save` */
json_t *stepfile_save(struct ydoc *doc, const struct step *step, const struct ynode *n);

#endif
