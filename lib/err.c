// SPDX-License-Identifier: GPL-2.0-or-later
/* err.c - an error code with the words a person needs beside it */
#define _GNU_SOURCE
#include "lib/err.h"

#include "lib/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The words may quote @err's own text, so they are made beside it, or a program's or guest's */
__attribute__((format(printf, 3, 0))) static void set_text(struct lab_err *err, int code,
							   const char *fmt, va_list ap)
{
	char text[LAB_ERR_TEXT];

	vsnprintf(text, sizeof(text), fmt, ap);
	text_clean(text);
	memcpy(err->text, text, strlen(text) + 1);
	err->code = code;
}

int lab_fail(struct lab_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	set_text(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int lab_fail_errno(struct lab_err *err, int code, const char *fmt, ...)
{
	size_t len;
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	set_text(err, code, fmt, ap);
	va_end(ap);
	len = strlen(err->text);
	snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(-code));
	return code;
}

int lab_wrap(struct lab_err *err, int code, const char *fmt, ...)
{
	char context[256], text[LAB_ERR_TEXT];
	va_list ap;

	if (!err || code >= 0)
		return code;
	va_start(ap, fmt);
	vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	if (!err->code)
		snprintf(err->text, sizeof(err->text), "%s", strerror(-code));
	err->code = code;
	memcpy(text, err->text, sizeof(text));
	if (snprintf(err->text, sizeof(err->text), "%s: %s", context, text) < 0)
		err->text[0] = '\0';
	text_clean(err->text);
	return code;
}

const char *lab_errno_name(int code)
{
	const char *name = strerrorname_np(code < 0 ? -code : code);

	return name ? name : "EUNKNOWN";
}

int lab_errno_value(const char *name)
{
	for (int e = 1; name && e < 134; e++) {
		const char *known = strerrorname_np(e);

		if (known && !strcmp(known, name))
			return -e;
	}
	return -EIO;
}
