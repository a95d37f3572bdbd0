// SPDX-License-Identifier: GPL-2.0-or-later
/* ask.c - a question on the terminal */
#define _GNU_SOURCE
#include "cli/ask.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool ask(const char *fmt, ...)
{
	char answer[64] = "";
	va_list ap;

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return true;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" [y/N] ", stderr);
	if (!fgets(answer, sizeof(answer), stdin))
		return false;
	return rpmatch(answer) == 1;
}
