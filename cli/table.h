/* SPDX-License-Identifier: GPL-2.0-or-later */
/* table.h - tables for people (libsmartcols), and texts for their cells */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct table;

/**
 * table_new() - A table on standard output
 * @headings:	NULL-terminated. One that begins with '>' is aligned to the
 *		right, one with '~' is cut when the terminal is narrow, one with '+' has newlines.
 *
 * Return: the table or NULL without memory
 */
struct table *table_new(const char *const *headings);

/**
 * table_row() - Add a row
 * @cells:	as many as headings, copied; NULL and "" show as "-"
 *
 * Return: 0 or -ENOMEM
 */
int table_row(struct table *t, const char *const *cells);

/** table_print() - Print and free the table; 0 or -ENOMEM */
int table_print(struct table *t);

/** table_free() - Takes NULL, returns NULL */
struct table *table_free(struct table *t);

#define CELL_TEXT 160

/* Texts for cells; each writes at most CELL_TEXT bytes and returns @buf */

/** cell_line() - The first line of a text, without control characters */
const char *cell_line(char buf[CELL_TEXT], const char *text);

/**
 * cell_fold() - Break a text into lines for a last column with '+'
 * @text:	changed in place, if standard output is a terminal
 * @used:	columns that the others take
 *
 * Return: @text
 */
char *cell_fold(char *text, size_t used);

/** cell_string() - A key's string; "" if it is not there */
const char *cell_string(const json_t *object, const char *key);

/** cell_number() - A key's number; 0 if it is not there */
double cell_number(const json_t *object, const char *key);

/** cell_size() - A key's bytes for people; "" for 0 */
const char *cell_size(char buf[CELL_TEXT], const json_t *object, const char *key);

/** cell_count() - A key's number, or the size of its array */
const char *cell_count(char buf[CELL_TEXT], const json_t *object, const char *key);

/** cell_time() - A key's time as local date and time; "" for 0 */
const char *cell_time(char buf[CELL_TEXT], const json_t *object, const char *key);

/** cell_list() - A key's array of strings, separated by blanks */
const char *cell_list(char buf[CELL_TEXT], const json_t *object, const char *key);

/** cell_path() - "LAB/NAME" of an object */
const char *cell_path(char buf[CELL_TEXT], const json_t *object);

#endif
