/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meter.h - how far a copy is, for those who wait longer than two seconds; Ctrl-C */
#ifndef CLI_METER_H
#define CLI_METER_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct meter - bytes that were copied
 * @total:	that will be, 0 if nobody knows
 * @begin, @shown: num_now_us() times
 * @live:	standard error is a terminal: one line is painted over and over,
 *		else one is printed every 10 s
 */
struct meter {
	const char *name;
	uint64_t done, total, begin, shown;
	bool live, quiet, painted;
};

/** meter_begin() - Start the clock, and have Ctrl-C end the copy in good order */
void meter_begin(struct meter *m, bool quiet);

/** meter_add() - So many bytes more */
void meter_add(struct meter *m, uint64_t bytes);

/** meter_show() - Where something is that has no end that is known; on a terminal only */
void meter_show(struct meter *m, const char *words);

/** meter_end() - Take the line off the terminal */
void meter_end(struct meter *m);

/** meter_interrupted() - Whether there was a Ctrl-C (or SIGTERM, SIGHUP) since meter_begin() */
bool meter_interrupted(void);

/** meter_text() - "big.img: 12 MiB of 40 MiB, 4.7 MiB/s"; @buf has METER_TEXT bytes */
#define METER_TEXT 512
const char *meter_text(char *buf, const struct meter *m, uint64_t now);

#endif
