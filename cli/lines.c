// SPDX-License-Identifier: GPL-2.0-or-later
/* lines.c - what guests write, as text */
#define _GNU_SOURCE
#include "cli/lines.h"

#include "lib/io.h"
#include "lib/util.h"

#include <string.h>

size_t lines_tail(const char *text, size_t len, uint64_t n)
{
	size_t at = len;

	if (!n)
		return len;
	if (at && text[at - 1] == '\n')
		at--;
	while (at) {
		const char *nl = memrchr(text, '\n', at);

		if (!nl)
			return 0;
		at = (size_t)(nl - text);
		if (!--n)
			return at + 1;
	}
	return 0;
}

/* ECMA-48: ESC [ ... final; ESC ] ... BEL or ESC \; ESC x */
enum { TEXT, ESCAPED, CSI, STRING, STRING_ESCAPED };

static int next_state(int state, unsigned char c)
{
	switch (state) {
	case ESCAPED:
		if (c == '[')
			return CSI;
		if (c == ']' || c == 'P' || c == '^' || c == '_' || c == 'X')
			return STRING;
		return c >= 0x20 && c <= 0x2f ? ESCAPED : TEXT;
	case CSI:
		return c >= 0x40 && c <= 0x7e ? TEXT : CSI;
	case STRING:
		return c == 0x07 || c == '\n' ? TEXT : c == 0x1b ? STRING_ESCAPED : STRING;
	case STRING_ESCAPED:
		return TEXT;
	default:
		return c == 0x1b ? ESCAPED : TEXT;
	}
}

size_t lines_plain(struct lines_filter *f, char *out, const char *data, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];
		int before = f->state;

		f->state = next_state(before, c);
		if (before == TEXT && f->state == TEXT &&
		    (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f)))
			out[n++] = data[i];
	}
	return n;
}

int lines_put(struct lines_filter *f, int fd, const char *data, size_t len)
{
	autofree char *text = NULL;

	if (!isatty(fd))
		return io_write_all(fd, data, len);
	text = malloc(len + 1);
	return text ? io_write_all(fd, text, lines_plain(f, text, data, len)) : -ENOMEM;
}
