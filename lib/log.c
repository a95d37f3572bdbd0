// SPDX-License-Identifier: GPL-2.0-or-later
/* log.c - what a daemon says, on standard error */
#define _GNU_SOURCE
#include "lib/log.h"

#include "lib/util.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

static const char *log_program = "lab";
static bool log_debug_on;
static bool log_to_journal;

void log_init(const char *program)
{
	const char *debug = getenv("LAB_DEBUG");

	log_program = program;
	log_debug_on = debug && *debug && strcmp(debug, "0");
	log_to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_say(enum log_level level, const char *fmt, ...)
{
	static const int syslog[] = { [LOG_LEVEL_ERROR] = 3,
				      [LOG_LEVEL_WARN] = 4,
				      [LOG_LEVEL_INFO] = 6,
				      [LOG_LEVEL_DEBUG] = 7 };
	char line[4096], stamp[32];
	int saved = errno;
	time_t now = time(NULL);
	struct tm tm;
	va_list ap;

	if (level == LOG_LEVEL_DEBUG && !log_debug_on)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	strftime(stamp, sizeof(stamp), "%F %T", localtime_r(&now, &tm));
	if (log_to_journal)
		fprintf(stderr, "<%d>%s\n", syslog[level], line);
	else
		fprintf(stderr, "%s %s: %s\n", stamp, log_program, line);
	errno = saved;
}
