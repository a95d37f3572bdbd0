// SPDX-License-Identifier: GPL-2.0-or-later
/* table.c - tables for people (libsmartcols), and texts for their cells */
#define _GNU_SOURCE
#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <libsmartcols.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

struct table {
	struct libscols_table *scols;
	size_t columns;
};

struct table *table_new(const char *const *headings)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->scols = scols_new_table();
	if (!t->scols)
		return table_free(t);
	for (; headings[t->columns]; t->columns++) {
		const char *name = headings[t->columns];
		struct libscols_column *column;
		int flags = *name == '>'   ? SCOLS_FL_RIGHT
			    : *name == '~' ? SCOLS_FL_TRUNC
			    : *name == '+' ? SCOLS_FL_WRAP
					   : 0;

		column = scols_table_new_column(t->scols, name + (flags ? 1 : 0), 0, flags);
		if (!column)
			return table_free(t);
		if (flags == SCOLS_FL_WRAP) { /* where the text has newlines: cell_fold() */
			scols_column_set_safechars(column, "\n");
			scols_column_set_wrapfunc(column, scols_wrapnl_chunksize,
						  scols_wrapnl_nextchunk, NULL);
		}
	}
	return t;
}

struct table *table_free(struct table *t)
{
	if (t)
		scols_unref_table(t->scols);
	free(t);
	return NULL;
}

int table_row(struct table *t, const char *const *cells)
{
	struct libscols_line *line = scols_table_new_line(t->scols, NULL);

	if (!line)
		return -ENOMEM;
	for (size_t i = 0; i < t->columns; i++)
		if (scols_line_set_data(line, i, cells[i] && *cells[i] ? cells[i] : "-") < 0)
			return -ENOMEM;
	return 0;
}

int table_print(struct table *t)
{
	int r = scols_print_table(t->scols);

	table_free(t);
	return r < 0 ? -ENOMEM : 0;
}

const char *cell_line(char buf[CELL_TEXT], const char *text)
{
	size_t n = strcspn(text, "\n");

	if (n >= CELL_TEXT) {
		n = CELL_TEXT - 1;
		/* not in the middle of a UTF-8 sequence */
		while (n && (text[n] & 0xc0) == 0x80)
			n--;
	}
	memcpy(buf, text, n);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)buf[i] < ' ' || buf[i] == 0x7f)
			buf[i] = ' ';
	buf[n] = '\0';
	return buf;
}

char *cell_fold(char *text, size_t used)
{
	size_t start = 0, blank = 0, room;
	struct winsize ws = { 0 };

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 ||
	    ws.ws_col < used + 20)
		return text;
	room = ws.ws_col - used;
	for (size_t i = 0; text[i]; i++) {
		if (text[i] == '\n')
			start = i + 1;
		else if (text[i] == ' ')
			blank = i;
		if (i - start >= room && blank > start) {
			text[blank] = '\n';
			start = blank + 1;
		}
	}
	return text;
}

const char *cell_string(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

double cell_number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

const char *cell_size(char buf[CELL_TEXT], const json_t *object, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(object, key));
	char text[NUM_TEXT] = "";

	if (v > 0)
		num_size_text(text, (uint64_t)v);
	snprintf(buf, CELL_TEXT, "%s", text);
	return buf;
}

const char *cell_count(char buf[CELL_TEXT], const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	if (json_is_array(v))
		snprintf(buf, CELL_TEXT, "%zu", json_array_size(v));
	else
		snprintf(buf, CELL_TEXT, "%lld", (long long)json_integer_value(v));
	return buf;
}

const char *cell_time(char buf[CELL_TEXT], const json_t *object, const char *key)
{
	time_t t = (time_t)cell_number(object, key);
	struct tm tm;

	buf[0] = '\0';
	if (t > 0 && localtime_r(&t, &tm))
		strftime(buf, CELL_TEXT, "%F %T", &tm);
	return buf;
}

const char *cell_list(char buf[CELL_TEXT], const json_t *object, const char *key)
{
	size_t i, at = 0;
	json_t *v;

	buf[0] = '\0';
	json_array_foreach(json_object_get(object, key), i, v) {
		const char *s = json_string_value(v);
		int n = snprintf(buf + at, CELL_TEXT - at, "%s%s", i ? " " : "", s ? s : "");

		if (n < 0 || (size_t)n >= CELL_TEXT - at)
			break;
		at += (size_t)n;
	}
	return buf;
}

const char *cell_path(char buf[CELL_TEXT], const json_t *object)
{
	snprintf(buf, CELL_TEXT, "%s/%s", cell_string(object, "lab"), cell_string(object, "name"));
	return buf;
}
