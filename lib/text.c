// SPDX-License-Identifier: GPL-2.0-or-later
/* text.c - text from programs and guests, made fit for a person's terminal */
#define _GNU_SOURCE
#include "lib/text.h"

#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define TAIL_BYTES 8192
#define LINE_SHOWN 240
#define LINE_HEAD 70 /* of a longer line; programs tell the reason at its end */

/* Length of the terminal's escape sequence at @s, which begins with ESC */
static size_t escape_length(const char *s)
{
	size_t n = 1;

	if (s[n] == '[') { /* CSI: parameters, then one final byte */
		n++;
		while (s[n] >= 0x20 && s[n] <= 0x3f)
			n++;
	} else if (s[n] == ']') { /* OSC: a title, up to BEL or ESC \ */
		while (s[n] && s[n] != '\a' && s[n] != '\n' && s[n] != '\033')
			n++;
	} else {
		while (s[n] >= 0x20 && s[n] <= 0x2f)
			n++;
	}
	return s[n] && s[n] != '\n' && s[n] != '\033' ? n + 1 : n;
}

/* Length of the valid UTF-8 sequence at @s that is not a C1 control; 0 if it is none */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = s[0] >= 0xc2 && s[0] <= 0xdf	  ? 2
		   : (s[0] & 0xf0) == 0xe0	  ? 3
		   : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
						  : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if (s[0] == 0xc2 && s[1] < 0xa0)
		return 0;
	/* overlong forms, surrogates, above U+10FFFF: JSON does not take them */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
		return 0;
	return n;
}

char *text_clean(char *s)
{
	const char *from = s;
	char *to = s;

	while (*from) {
		size_t wide = utf8_length((const unsigned char *)from);

		if (wide) {
			memmove(to, from, wide);
			to += wide;
			from += wide;
		} else if (*from == '\033') {
			from += escape_length(from);
		} else {
			if ((*from >= ' ' && *from < 0x7f) || *from == '\n')
				*to++ = *from;
			else if (*from == '\t')
				*to++ = ' ';
			from++;
		}
	}
	*to = '\0';
	return s;
}

/* Whether a character of three bytes writes the other way round, or begins a line */
static bool reorders(const unsigned char *s)
{
	unsigned int c = (s[0] & 0xfU) << 12 | (s[1] & 0x3fU) << 6 | (s[2] & 0x3fU);

	return (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* As utf8_length(), of bytes that need not end in a NUL */
static size_t character(const unsigned char *s, size_t len)
{
	unsigned char c[5] = { 0 };

	memcpy(c, s, MIN(len, sizeof(c) - 1));
	return utf8_length(c);
}

static char *put_escape(char *to, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";

	*to++ = '\\';
	if (c == '\\' || c == '\n' || c == '\t') {
		*to++ = (char)(c == '\n' ? 'n' : c == '\t' ? 't' : c);
		return to;
	}
	*to++ = 'x';
	*to++ = digits[c >> 4];
	*to++ = digits[c & 15];
	return to;
}

char *text_escape(const void *data, size_t len)
{
	const unsigned char *s = data, *end = s + len;
	char *text = malloc(4 * len + 1), *to = text;

	if (!text)
		return NULL;
	while (s < end) {
		size_t wide = character(s, (size_t)(end - s));

		if (wide && !(wide == 3 && reorders(s))) {
			memcpy(to, s, wide);
			to += wide;
			s += wide;
		} else if (*s >= ' ' && *s < 0x7f && *s != '\\') {
			*to++ = (char)*s++;
		} else {
			to = put_escape(to, *s++);
		}
	}
	*to = '\0';
	return text;
}

bool text_is_utf8(const void *data, size_t len)
{
	const unsigned char *s = data, *end = s + len;

	while (s < end) {
		size_t wide = *s < 0x80 ? 1 : character(s, (size_t)(end - s));

		/* C1 controls are valid as such */
		if (!wide && end - s >= 2 && *s == 0xc2 && (s[1] & 0xc0) == 0x80)
			wide = 2;
		if (!wide)
			return false;
		s += wide;
	}
	return true;
}

/* Read the file's last bytes, from the begin of a line on if possible */
static size_t read_end(const char *path, off_t from, char *buf, size_t len)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	from = MAX(from > st.st_size ? 0 : from, st.st_size - (off_t)len);
	n = RETRY(pread(fd, buf, len, from));
	return n < 0 ? 0 : (size_t)n;
}

/* Take the middle out of a line that is too long */
static void shorten(char *line)
{
	static const char gap[] = " ... ";
	size_t len = strlen(line), tail = LINE_SHOWN - LINE_HEAD - (sizeof(gap) - 1);

	if (len <= LINE_SHOWN)
		return;
	memcpy(line + LINE_HEAD, gap, sizeof(gap) - 1);
	memmove(line + LINE_SHOWN - tail, line + len - tail, tail + 1);
}

/* Put @line before what @buf holds from *@at on, if there is room */
static bool put_before(char *buf, size_t *at, const char *indent, const char *line)
{
	size_t in = strlen(indent), n = strlen(line);
	size_t need = in + n + (buf[*at] ? 1 : 0);

	if (need > *at)
		return false;
	if (buf[*at])
		buf[--*at] = '\n';
	*at -= n;
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): the text ends where buf does */
	memcpy(buf + *at, line, n);
	*at -= in;
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): as above */
	memcpy(buf + *at, indent, in);
	return true;
}

char *text_tail(const char *path, off_t from, unsigned int lines, const char *indent, char *buf,
		size_t len)
{
	char text[TAIL_BYTES + 1];
	size_t end = read_end(path, from, text, TAIL_BYTES), at = len - 1;

	for (size_t i = 0; i < end; i++)
		if (!text[i]) /* a guest may write anything */
			text[i] = ' ';
	text[end] = '\0';
	text_clean(text);
	end = strlen(text);
	buf[at] = '\0';
	while (lines && end) {
		char *line;

		text[end] = '\0';
		line = memrchr(text, '\n', end);
		line = line ? line + 1 : text;
		end = line > text ? (size_t)(line - 1 - text) : 0;
		if (line[strspn(line, " ")] == '\0')
			continue;
		shorten(line);
		if (!put_before(buf, &at, indent, line))
			break;
		lines--;
	}
	memmove(buf, buf + at, len - at);
	return buf;
}

void text_copy(char *dst, size_t size, const char *src)
{
	size_t n = strnlen(src, size - 1);

	/* never between the bytes of one character: JSON would refuse the rest too */
	while (n && src[n] && ((unsigned char)src[n] & 0xc0) == 0x80)
		n--;
	memcpy(dst, src, n);
	dst[n] = '\0';
}
