// SPDX-License-Identifier: GPL-2.0-or-later
/* meter.c - how far a copy is */
#define _GNU_SOURCE
#include "cli/meter.h"

#include "cli/progress.h"
#include "lib/num.h"
#include "lib/text.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FIRST_US 2000000
#define PAINT_US 200000
#define PRINT_US 10000000

static volatile sig_atomic_t interrupted;

/* The second one ends labctl as it would without us */
static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

void meter_begin(struct meter *m, bool quiet)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	struct progress p;

	progress_init(&p, STDERR_FILENO, quiet);
	*m = (struct meter){ .begin = num_now_us(), .live = p.live, .quiet = quiet };
	interrupted = 0;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

bool meter_interrupted(void)
{
	return interrupted;
}

const char *meter_text(char *buf, const struct meter *m, uint64_t now)
{
	char done[NUM_TEXT], total[NUM_TEXT], rate[NUM_TEXT];
	double seconds = (double)(now - m->begin) / 1e6;

	num_size_text(done, m->done);
	num_size_text(total, m->total);
	num_size_text(rate, seconds > 0 ? (uint64_t)((double)m->done / seconds) : 0);
	snprintf(buf, METER_TEXT, "%.300s: %s%s%s, %s/s", m->name ? m->name : "", done,
		 m->total ? " of " : "", m->total ? total : "", rate);
	return buf;
}

static void paint(struct meter *m, char text[METER_TEXT])
{
	struct winsize size = { 0 };

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		size.ws_col = 80;
	progress_cut(text, size.ws_col - 1);
	fprintf(stderr, m->live ? "\r%s\033[K" : "%s\n", text);
	m->painted = m->live;
}

void meter_add(struct meter *m, uint64_t bytes)
{
	uint64_t now = num_now_us();
	char text[METER_TEXT];

	m->done += bytes;
	if (m->quiet || now - m->begin < FIRST_US ||
	    (m->shown && now - m->shown < (m->live ? PAINT_US : PRINT_US)))
		return;
	m->shown = now;
	meter_text(text, m, now);
	paint(m, text);
}

void meter_show(struct meter *m, const char *words)
{
	uint64_t now = num_now_us();
	char text[METER_TEXT];

	if (!m->live || now - m->begin < FIRST_US || now - m->shown < PAINT_US)
		return;
	m->shown = now;
	text_copy(text, sizeof(text), words);
	paint(m, text);
}

void meter_end(struct meter *m)
{
	if (m->painted)
		fputs("\r\033[K", stderr);
	m->painted = false;
}
