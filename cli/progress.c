// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * progress.c - jobs as lines of text
 *
 * DOC: Theory of Operation
 *
 * A frame is made in memory and written with one write(2): up over the last
 * frame, each line followed by "erase to the end of the line", and "erase
 * below" at the end. So nothing flickers. The cursor is neither hidden nor
 * saved: whatever ends labctl, the terminal is as it should be. A frame is
 * always less high than the terminal, because what has scrolled away cannot
 * be reached again.
 */
#define _GNU_SOURCE
#include "cli/progress.h"

#include "cli/table.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>

#define NAME_COLUMNS 24
#define WHAT_COLUMNS 32

void progress_init(struct progress *p, int fd, bool quiet)
{
	const char *term = getenv("TERM");

	*p = (struct progress){ .fd = fd };
	p->live = !quiet && isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

int progress_cut(char *line, int columns)
{
	mbstate_t state = { 0 };
	size_t len = strlen(line), in = 0, out = 0;
	int used = 0;

	while (in < len) {
		wchar_t wc;
		size_t n = mbrtowc(&wc, line + in, len - in, &state);
		int width = n > len ? -1 : wcwidth(wc);

		if (n > len || !n) {
			n = 1;
			memset(&state, 0, sizeof(state));
		}
		if (used + (width < 0 ? 1 : width) > columns)
			break;
		if (width < 0) {
			line[out++] = '?';
			used++;
		} else {
			memmove(line + out, line + in, n);
			out += n;
			used += width;
		}
		in += n;
	}
	line[out] = '\0';
	return used;
}

const char *progress_title(char buf[PROGRESS_LINE], const json_t *job)
{
	const char *lab = cell_string(job, "lab"), *target = cell_string(job, "target");

	snprintf(buf, PROGRESS_LINE, "%s%s%s%s%s", cell_string(job, "kind"),
		 *lab || *target ? " " : "", lab, *lab && *target ? "/" : "", target);
	return buf;
}

/* "12 s (expected 31 s)", "done, 31 s"; "" before the start */
static void put_times(char buf[CELL_TEXT], const json_t *item, double now)
{
	double started = cell_number(item, "started"), ended = cell_number(item, "ended");
	double expected = cell_number(item, "expected");
	char took[NUM_TEXT], want[NUM_TEXT];

	buf[0] = '\0';
	if (started <= 0)
		return;
	num_seconds_text(took, (uint64_t)MAX((ended > 0 ? ended : now) - started, 0.0));
	if (ended <= 0 && expected >= 1)
		snprintf(buf, CELL_TEXT, "%s (expected %s)", took,
			 num_seconds_text(want, (uint64_t)(expected + 0.5)));
	else
		snprintf(buf, CELL_TEXT, "%s", took);
}

/* "312 MiB of 2.0 GiB", "45 of 120 packages"; "" where there is no total */
static void put_amount(char buf[CELL_TEXT], const json_t *item)
{
	json_int_t done = json_integer_value(json_object_get(item, "done"));
	json_int_t total = json_integer_value(json_object_get(item, "total"));
	const char *unit = cell_string(item, "unit");
	char a[NUM_TEXT], b[NUM_TEXT];

	buf[0] = '\0';
	if (total <= 0 || done < 0)
		return;
	if (!strcmp(unit, "bytes"))
		snprintf(buf, CELL_TEXT, "%s of %s", num_size_text(a, (uint64_t)done),
			 num_size_text(b, (uint64_t)total));
	else
		snprintf(buf, CELL_TEXT, "%lld of %lld%s%s", (long long)done, (long long)total,
			 *unit ? " " : "", unit);
}

const char *progress_what(char buf[PROGRESS_LINE], const json_t *item)
{
	const char *state = cell_string(item, "state"), *step = cell_string(item, "step");
	bool running = !strcmp(state, "running");
	char amount[CELL_TEXT] = "";

	if (running)
		put_amount(amount, item);
	if (!strcmp(state, "failed") && *step)
		snprintf(buf, PROGRESS_LINE, "failed: %.150s", step);
	else
		snprintf(buf, PROGRESS_LINE, "%.150s%s%s", running && *step ? step : state,
			 *amount ? ", " : "", amount);
	return buf;
}

const char *progress_item(char buf[PROGRESS_LINE], const json_t *item, int width, int what_width,
			  double now)
{
	char times[CELL_TEXT], what[PROGRESS_LINE];

	progress_what(what, item);
	put_times(times, item, now);
	if (*times)
		snprintf(buf, PROGRESS_LINE, "  %-*.97s  %-*.320s  %.80s", width,
			 cell_string(item, "name"), what_width, what, times);
	else
		snprintf(buf, PROGRESS_LINE, "  %-*.97s  %.320s", width, cell_string(item, "name"),
			 what);
	return buf;
}

/* A frame while it is made */
struct frame {
	FILE *out;
	int columns, rows, height;
	int *what_width; /* grows only, so that nothing jumps */
	double now;
};

static void put_line(struct frame *f, char *line)
{
	progress_cut(line, f->columns);
	fprintf(f->out, "%s\033[K\n", line);
	f->height++;
}

/* Columns for the names, and for what the items do */
static void widths(const json_t *items, int *ret_name, int *ret_what)
{
	char what[PROGRESS_LINE];
	size_t i, name = 4, step = 8;
	json_t *item;

	json_array_foreach(items, i, item) {
		name = MAX(name, strlen(cell_string(item, "name")));
		step = MAX(step, strlen(progress_what(what, item)));
	}
	*ret_name = (int)MIN(name, (size_t)NAME_COLUMNS);
	*ret_what = (int)MIN(step, (size_t)WHAT_COLUMNS);
}

/* Items that run or failed are worth more than those that wait, and those more than done ones */
static int rank(const json_t *item)
{
	const char *state = cell_string(item, "state");

	return !strcmp(state, "done") ? 2 : !strcmp(state, "waiting") ? 1 : 0;
}

/* As many items as fit into @room lines, in their order */
static void put_items(struct frame *f, const json_t *items, int room)
{
	int count[3] = { 0 }, name, what, left = 0;
	char line[PROGRESS_LINE];
	json_t *item;
	size_t i;
	bool all = json_array_size(items) <= (size_t)MAX(room, 0);

	widths(items, &name, &what);
	what = *f->what_width = MAX(what, *f->what_width);
	json_array_foreach(items, i, item) {
		count[rank(item)]++;
	}
	if (!all)
		room--; /* for "and N more" */
	for (int k = 0, rest = room; k < 3 && !all; k++) {
		count[k] = MIN(count[k], MAX(rest, 0));
		rest -= count[k];
	}
	json_array_foreach(items, i, item) {
		if (count[rank(item)]-- > 0)
			put_line(f, (char *)progress_item(line, item, name, what, f->now));
		else
			left++;
	}
	if (left && room >= 0) {
		snprintf(line, sizeof(line), "  and %d more", left);
		put_line(f, line);
	}
}

/* A job of one item is one line: the item's, with the job's title */
static void put_job(struct frame *f, const json_t *job, int room)
{
	const json_t *items = json_object_get(job, "items");
	bool single = json_array_size(items) == 1;
	const json_t *told = single ? json_array_get(items, 0) : job;
	char line[PROGRESS_LINE], title[PROGRESS_LINE], what[PROGRESS_LINE], times[CELL_TEXT];

	if (room <= 0)
		return;
	put_times(times, told, f->now);
	snprintf(line, sizeof(line), "%.120s: %.200s%s%s%s", progress_title(title, job),
		 progress_what(what, told), *times ? ", " : "", times,
		 json_is_true(json_object_get(job, "cancel")) ? " (asked to stop)" : "");
	put_line(f, line);
	if (!single)
		put_items(f, items, room - 1);
}

static void window(const struct progress *p, struct frame *f)
{
	struct winsize ws = { 0 };

	f->columns = 80;
	f->rows = 24;
	if (ioctl(p->fd, TIOCGWINSZ, &ws) < 0)
		return;
	f->columns = ws.ws_col ? ws.ws_col : f->columns;
	f->rows = ws.ws_row ? ws.ws_row : f->rows;
}

static void up_to_start(const struct progress *p, FILE *out)
{
	if (p->height)
		fprintf(out, "\033[%dA", p->height);
	fputc('\r', out);
}

void progress_paint(struct progress *p, json_t *const *jobs, size_t n, double now)
{
	struct frame f = { .now = now, .what_width = &p->what_width };
	autofree char *text = NULL;
	size_t len = 0;

	if (!p->live)
		return;
	f.out = open_memstream(&text, &len);
	if (!f.out)
		return;
	window(p, &f);
	p->height = MIN(p->height, f.rows - 1);
	up_to_start(p, f.out);
	for (size_t i = 0; i < n; i++) {
		/* each job gets its share of what is left; most frames have one */
		int left = f.rows - 1 - f.height, share = left / (int)MIN(n - i, (size_t)1000);

		put_job(&f, jobs[i], MAX(share, MIN(left, 1)));
	}
	fputs("\033[J", f.out);
	if (fclose(f.out))
		return;
	io_write_all(p->fd, text, len);
	p->height = f.height;
}

void progress_erase(struct progress *p)
{
	char text[32];
	int n;

	if (!p->live || !p->height)
		return;
	n = snprintf(text, sizeof(text), "\033[%dA\r\033[J", p->height);
	io_write_all(p->fd, text, (size_t)n);
	p->height = 0;
}

void progress_keep(struct progress *p)
{
	p->height = 0;
}

static bool same(const json_t *a, const json_t *b, const char *key)
{
	return !strcmp(cell_string(a, key), cell_string(b, key));
}

static void item_change(FILE *f, const json_t *old, const json_t *item)
{
	const char *state = cell_string(item, "state"), *step = cell_string(item, "step");
	double expected = cell_number(item, "expected");
	char times[CELL_TEXT], want[NUM_TEXT];

	if (!strcmp(state, "waiting") ||
	    (old && same(old, item, "state") && same(old, item, "step")))
		return;
	fprintf(f, "%s: ", cell_string(item, "name"));
	if (strcmp(state, "running") != 0) {
		put_times(times, item, cell_number(item, "ended"));
		fprintf(f, "%s%s%s\n", state, *times ? " after " : "", times);
		return;
	}
	fputs(*step ? step : state, f);
	if ((!old || strcmp(cell_string(old, "state"), "running") != 0) && expected >= 1)
		fprintf(f, " (expected %s)", num_seconds_text(want, (uint64_t)(expected + 0.5)));
	fputc('\n', f);
}

void progress_changes(FILE *f, const json_t *old, const json_t *job)
{
	const json_t *before = json_object_get(old, "items");
	char title[PROGRESS_LINE];
	json_t *item;
	size_t i;

	/* a job of items is told by its items */
	if (!json_array_size(json_object_get(job, "items")) && *cell_string(job, "step") &&
	    !same(old, job, "step"))
		fprintf(f, "%s: %s\n", progress_title(title, job), cell_string(job, "step"));
	json_array_foreach(json_object_get(job, "items"), i, item) {
		item_change(f, json_array_get(before, i), item);
	}
	fflush(f);
}
