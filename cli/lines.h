/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lines.h - what guests write, as text */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include <stddef.h>
#include <stdint.h>

/**
 * lines_tail() - Where the last lines of a text begin
 * @n:		how many lines; a last one without newline counts
 *
 * Return: offset, 0 if there are fewer
 */
size_t lines_tail(const char *text, size_t len, uint64_t n);

/** struct lines_filter - within a control sequence or not; zero at the start */
struct lines_filter {
	int state;
};

/**
 * lines_plain() - Take control characters and sequences out
 * @out:	@len bytes
 * @data:	may end in the middle of a sequence
 *
 * Newlines and tabs stay, and bytes from 0x80 on (UTF-8).
 *
 * Return: bytes put into @out
 */
size_t lines_plain(struct lines_filter *f, char *out, const char *data, size_t len);

/**
 * lines_put() - Write what a guest has said: plain to a terminal, else byte for byte
 * @f:		of what goes to @fd
 *
 * Return: 0 or negative errno
 */
int lines_put(struct lines_filter *f, int fd, const char *data, size_t len);

#endif
