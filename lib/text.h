/* SPDX-License-Identifier: GPL-2.0-or-later */
/* text.h - text from programs and guests, made fit for a person's terminal */
#ifndef LIB_TEXT_H
#define LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * text_clean() - Remove what could do something to a terminal
 * @s:		changed in place: escape sequences and control characters go,
 *		a tab becomes a blank, newlines stay, bytes above 127 stay only
 *		as valid UTF-8
 *
 * Return: @s
 */
char *text_clean(char *s);

/**
 * text_escape() - Bytes that may be anything as one line that says what they are
 *
 * Backslashes, control characters, invalid UTF-8, and characters that reorder a line or break
 * it, become \\, \n, \t and \xHH.
 *
 * Return: malloced, NULL without memory
 */
char *text_escape(const void *data, size_t len);

/** text_is_utf8() - Whether JSON takes it */
bool text_is_utf8(const void *data, size_t len);

/**
 * text_tail() - The last lines of a file, cleaned
 * @path:	the file; if it cannot be read there are no lines
 * @from:	nothing before this offset is shown
 * @lines:	at most so many; blank ones are left out, of long ones the middle
 * @indent:	put before each line
 * @buf, @len:	where to; as many of the last lines as fit, no newline at the
 *		end; "" if there are none
 *
 * Return: @buf
 */
char *text_tail(const char *path, off_t from, unsigned int lines, const char *indent, char *buf,
		size_t len);

/**
 * text_copy() - Copy text, cut at the start of a character if it is too long
 * @dst:	@size bytes, at least 1
 * @src:	UTF-8
 */
void text_copy(char *dst, size_t size, const char *src);

#endif
