/* SPDX-License-Identifier: GPL-2.0-or-later */
/* num.h - numbers, sizes and durations: read strictly, written for people */
#ifndef LIB_NUM_H
#define LIB_NUM_H

#include <stddef.h>
#include <stdint.h>

/**
 * num_u64() - Read a decimal number
 * @s:		digits only, no sign, no blanks
 * @max:	the largest number allowed
 * @ret:	the number
 *
 * Return: 0, -EINVAL for anything that is not a number, -ERANGE above @max
 */
int num_u64(const char *s, uint64_t max, uint64_t *ret);

/**
 * num_size() - Read a size in bytes
 * @s:		a number with an optional unit K, M, G or T (powers of 1024,
 *		an "iB" or "B" after it is accepted)
 * @ret:	bytes
 *
 * Return: 0, -EINVAL, or -ERANGE if it does not fit into 63 bits
 */
int num_size(const char *s, uint64_t *ret);

/**
 * num_duration() - Read a duration in microseconds
 * @s:		a number with a unit us, ms, s, m or h; without unit: seconds
 * @ret:	microseconds
 *
 * Return: 0, -EINVAL or -ERANGE
 */
int num_duration(const char *s, uint64_t *ret);

#define NUM_TEXT 24

/**
 * num_size_text() - Write a size for people: "512 MiB", "1.5 GiB", "1 GiB", "17 B"
 * @buf:	NUM_TEXT bytes
 * @bytes:	the size
 *
 * Return: @buf
 */
const char *num_size_text(char *buf, uint64_t bytes);

/**
 * num_seconds_text() - Write a time span for people: "7 s", "2 min 3 s", "3 d 4 h"
 * @buf:	NUM_TEXT bytes
 * @seconds:	the span
 *
 * Return: @buf
 */
const char *num_seconds_text(char *buf, uint64_t seconds);

/**
 * num_now_us() - The monotonic clock in microseconds; deadlines are kept in it
 */
uint64_t num_now_us(void);

/**
 * num_wall() - The wall clock in seconds since 1970, with fraction
 */
double num_wall(void);

#endif
