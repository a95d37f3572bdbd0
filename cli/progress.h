/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * progress.h - jobs as lines of text: updated in place on a terminal, one
 * line a change elsewhere
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PROGRESS_LINE 512

/**
 * struct progress - what is on the terminal now
 * @fd:		written to
 * @live:	it is a terminal that can move its cursor
 * @height:	lines painted; the cursor is at the start of the one below
 * @what_width:	columns of the widest step so far
 */
struct progress {
	int fd;
	bool live;
	int height;
	int what_width;
};

/** progress_init() - Nothing is painted yet; @quiet: nothing ever will be live */
void progress_init(struct progress *p, int fd, bool quiet);

/**
 * progress_paint() - Paint all jobs anew, in one write
 * @jobs:	objects of the API, borrowed
 * @now:	seconds since 1970
 */
void progress_paint(struct progress *p, json_t *const *jobs, size_t n, double now);

/** progress_erase() - Take what was painted off the terminal */
void progress_erase(struct progress *p);

/** progress_keep() - Leave what was painted, and go on below it */
void progress_keep(struct progress *p);

/**
 * progress_changes() - Print what is new in a job, one line each
 * @old:	the job before, or NULL
 */
void progress_changes(FILE *f, const json_t *old, const json_t *job);

/* The parts, for tests */

/** progress_title() - "up demo", "start demo/db", "build tiny" */
const char *progress_title(char buf[PROGRESS_LINE], const json_t *job);

/** progress_what() - What an item does: its step and amount, or its state */
const char *progress_what(char buf[PROGRESS_LINE], const json_t *item);

/**
 * progress_item() - One item of a job
 * @width:	columns of its name
 * @what_width:	columns of what it does
 */
const char *progress_item(char buf[PROGRESS_LINE], const json_t *item, int width, int what_width,
			  double now);

/**
 * progress_cut() - Cut a line to columns of the terminal, in place
 *
 * Knows UTF-8 and wide characters as the locale does; what cannot be printed
 * becomes a '?', so that the line has the width it seems to have.
 *
 * Return: columns it takes
 */
int progress_cut(char *line, int columns);

#endif
