/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tap.h - a report in the Test Anything Protocol, version 14
 *
 * On a terminal there is one more line while something takes long, a comment
 * that is painted over.
 */
#ifndef CLI_TAP_H
#define CLI_TAP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/**
 * struct tap - a report on standard output
 * @indent:	4 in a subtest
 * @number:	of the last point
 * @live:	it is a terminal
 * @painted:	there is a line of progress now
 */
struct tap {
	int indent;
	size_t number;
	bool live, painted;
};

/** tap_begin() - The head of a report */
void tap_begin(struct tap *t);

/** tap_plan() - How many points there will be */
void tap_plan(struct tap *t, size_t n);

/** tap_comment() - A line for people; the text is made to fit on it */
void tap_comment(struct tap *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** tap_subtest() - What follows is a report of its own, @inner, about @name */
void tap_subtest(struct tap *t, const char *name, struct tap *inner);

/**
 * tap_point() - A result
 * @skip:	why it was not done, or NULL
 */
void tap_point(struct tap *t, bool ok, const char *name, const char *skip);

/** tap_diagnostic() - What is known of the point before: {"key": "text" | number | [texts]} */
void tap_diagnostic(struct tap *t, const json_t *map);

/** tap_progress() - Paint the line of progress, if this is a terminal */
void tap_progress(struct tap *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
