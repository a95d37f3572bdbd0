/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * err.h - an error code with the words a person needs beside it
 *
 * Every function that can fail returns 0 (or a positive count) or a negative
 * errno. Where a person will read about it, the last parameter is a
 * struct lab_err, filled at the place that knows most and given context on
 * the way up. It is printed once, by the program's top layer.
 */
#ifndef LIB_ERR_H
#define LIB_ERR_H

#include <stdarg.h>

#define LAB_ERR_TEXT 2048

/**
 * struct lab_err - what went wrong
 * @code:	negative errno, 0 while nothing failed
 * @text:	one or more lines for a person, without a newline at the end;
 *		always UTF-8 without control characters, whatever was quoted
 *
 * Initialise with LAB_ERR_INIT. No memory is owned.
 */
struct lab_err {
	int code;
	char text[LAB_ERR_TEXT];
};

#define LAB_ERR_INIT                                                                               \
	{                                                                                          \
		0, ""                                                                              \
	}

/**
 * lab_fail() - Record a failure and return its code
 * @err:	where to record; NULL is allowed
 * @code:	negative errno
 * @fmt:	what was asked, what failed, why and what to do
 *
 * Return: @code, so that a failure is one return statement
 */
int lab_fail(struct lab_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * lab_fail_errno() - Record a failed system call, with the system's words
 * @err:	where to record; NULL is allowed
 * @code:	negative errno; its strerror() text is appended after ": "
 * @fmt:	what failed
 *
 * Return: @code
 */
int lab_fail_errno(struct lab_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * lab_wrap() - Put context before the text of a failure
 * @err:	a recorded failure; NULL is allowed
 * @code:	what the failing function returned
 * @fmt:	the context, for example "instance web1: start"
 *
 * The result reads "context: text". Does nothing if @code is not negative.
 *
 * Return: @code
 */
int lab_wrap(struct lab_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * lab_errno_name() - The symbolic name of an errno
 * @code:	errno, positive or negative
 *
 * Return: for example "ENOENT", or "EUNKNOWN"
 */
const char *lab_errno_name(int code);

/**
 * lab_errno_value() - The number of a symbolic errno name
 * @name:	for example "ENOENT"
 *
 * Return: the negative errno, -EIO for a name nobody knows
 */
int lab_errno_value(const char *name);

#endif
