// SPDX-License-Identifier: GPL-2.0-or-later
/* tap.c - a report in the Test Anything Protocol, version 14 */
#define _GNU_SOURCE
#include "cli/tap.h"

#include "cli/progress.h"
#include "lib/text.h"
#include "lib/util.h"

#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

static void erase(struct tap *t)
{
	if (t->painted)
		fputs("\r\033[K", stdout);
	t->painted = false;
}

static void begin_line(struct tap *t)
{
	erase(t);
	printf("%*s", t->indent, "");
}

/* A text on one line, without what could do something to a terminal; malloced */
static char *one_line(const char *text)
{
	char *copy = strdup(text);

	for (char *p = copy ? text_clean(copy) : NULL; p && *p; p++)
		if (*p == '\n')
			*p = ' ';
	return copy;
}

/* "#" begins a directive, unless it is escaped */
static void put_escaped(const char *text)
{
	autofree char *line = one_line(text);

	for (const char *p = line ? line : ""; *p; p++) {
		if (*p == '#' || *p == '\\')
			putchar('\\');
		putchar(*p);
	}
}

void tap_begin(struct tap *t)
{
	t->live = isatty(STDOUT_FILENO);
	puts("TAP version 14");
	fflush(stdout);
}

void tap_plan(struct tap *t, size_t n)
{
	begin_line(t);
	printf("1..%zu\n", n);
	fflush(stdout);
}

void tap_comment(struct tap *t, const char *fmt, ...)
{
	autofree char *text = NULL, *line = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		text = NULL;
	line = text ? one_line(text) : NULL;
	begin_line(t);
	printf("# %s\n", line ? line : "");
	fflush(stdout);
}

void tap_subtest(struct tap *t, const char *name, struct tap *inner)
{
	*inner = (struct tap){ .indent = t->indent + 4, .live = t->live };
	begin_line(t);
	fputs("# Subtest: ", stdout);
	put_escaped(name);
	putchar('\n');
}

void tap_point(struct tap *t, bool ok, const char *name, const char *skip)
{
	begin_line(t);
	printf("%sok %zu - ", ok ? "" : "not ", ++t->number);
	put_escaped(name);
	if (skip) {
		fputs(" # SKIP ", stdout);
		put_escaped(skip);
	}
	putchar('\n');
	fflush(stdout);
}

/* ---- diagnostics: YAML, of which JSON is a part ------------------------------------- */

static void put_block(struct tap *t, const char *text)
{
	/* where the first line begins with a blank, YAML has to be told where the text does */
	printf(" |%s\n", *text == ' ' ? "2" : "");
	while (*text) {
		int n = (int)strcspn(text, "\n");

		printf("%*s%.*s\n", n ? t->indent + 4 : 0, "", n, text);
		text += n + (text[n] ? 1 : 0);
	}
}

static void put_quoted(const json_t *value)
{
	autofree char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	printf(" %s\n", text ? text : "null");
}

static void put_value(struct tap *t, const json_t *value)
{
	autofree char *text = json_is_string(value) ? strdup(json_string_value(value)) : NULL;
	json_t *clean;

	if (!text) {
		put_quoted(value);
		return;
	}
	text_clean(text);
	if (strchr(text, '\n') && *text != '\n') {
		put_block(t, text);
		return;
	}
	clean = json_string(text);
	put_quoted(clean);
	json_decref(clean);
}

void tap_diagnostic(struct tap *t, const json_t *map)
{
	const char *key;
	json_t *value;

	printf("%*s  ---\n", t->indent, "");
	json_object_foreach((json_t *)map, key, value) {
		printf("%*s  %s:", t->indent, "", key);
		put_value(t, value);
	}
	printf("%*s  ...\n", t->indent, "");
	fflush(stdout);
}

void tap_progress(struct tap *t, const char *fmt, ...)
{
	char line[PROGRESS_LINE];
	struct winsize ws = { 0 };
	va_list ap;

	if (!t->live)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || !ws.ws_col)
		ws.ws_col = 80;
	/* there is room for the "^C" that a terminal adds, without going on to the next line */
	progress_cut(line, MAX(ws.ws_col - t->indent - 5, 1));
	begin_line(t);
	printf("# %s", line);
	t->painted = true;
	fflush(stdout);
}
