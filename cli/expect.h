/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * expect.h - whether the outcome of a step is as expected
 *
 * An expectation is JSON, as stepfile_read() makes it; each key may be left out:
 *	{"status": [0], "stdout": REGEX, "stderr": REGEX, "body": REGEX,
 *	 "contains": ["text"], "headers": {"Name": REGEX},
 *	 "json": {"token.user.name": "admin", "token.id": null}}
 * null: there is a value. Regular expressions are extended ones, in which ^ and $
 * are a line's begin and end.
 */
#ifndef CLI_EXPECT_H
#define CLI_EXPECT_H

#include "cli/step.h"

/** expect_expand() - Put variables into an expectation; @ret: new reference, NULL for NULL */
int expect_expand(const struct vars *v, const json_t *expect, json_t **ret, struct lab_err *err);

/**
 * expect_met() - Compare an outcome with what is expected
 * @kind:	decides what is expected where no status is named: 0, or 2xx
 * @expect, @forbid: may be NULL
 *
 * Return: 0, or -EBADMSG with all that differs, one a line
 */
int expect_met(enum step_kind kind, const json_t *expect, const json_t *forbid,
	       const struct outcome *o, struct lab_err *err);

/**
 * expect_save() - The text that a step saves
 * @source:	{}, {"json": PATH}, {"header": NAME} or {"match": REGEX}
 * @ret:	malloced
 *
 * Return: 0, or -ENODATA with words
 */
int expect_save(const json_t *source, const struct outcome *o, char **ret, size_t *ret_len,
		struct lab_err *err);

#endif
