// SPDX-License-Identifier: GPL-2.0-or-later
/* num.c - numbers, sizes and durations: read strictly, written for people */
#define _GNU_SOURCE
#include "lib/num.h"

#include "lib/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The digits at the start of @s; *ret_end points behind them */
static int num_prefix(const char *s, uint64_t max, uint64_t *ret, const char **ret_end)
{
	uint64_t v = 0;
	const char *p = s;

	if (!s || *p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (digit > max || v > (max - digit) / 10)
			return -ERANGE;
		v = v * 10 + digit;
	}
	*ret = v;
	*ret_end = p;
	return 0;
}

int num_u64(const char *s, uint64_t max, uint64_t *ret)
{
	const char *end;
	uint64_t v;
	int r = num_prefix(s, max, &v, &end);

	if (r < 0)
		return r;
	if (*end)
		return -EINVAL;
	*ret = v;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static int num_with_unit(const char *s, const struct unit *units, size_t n, uint64_t *ret)
{
	const char *end;
	uint64_t v;
	int r = num_prefix(s, INT64_MAX, &v, &end);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(end, units[i].name))
			continue;
		if (v > INT64_MAX / units[i].factor)
			return -ERANGE;
		*ret = v * units[i].factor;
		return 0;
	}
	return -EINVAL;
}

int num_size(const char *s, uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", 1 },	     { "B", 1 },
		{ "K", 1ULL << 10 }, { "KiB", 1ULL << 10 },
		{ "M", 1ULL << 20 }, { "MiB", 1ULL << 20 },
		{ "G", 1ULL << 30 }, { "GiB", 1ULL << 30 },
		{ "T", 1ULL << 40 }, { "TiB", 1ULL << 40 },
	};

	return num_with_unit(s, units, ARRAY_SIZE(units), ret);
}

int num_duration(const char *s, uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", 1000000 },  { "us", 1 },		 { "ms", 1000 },
		{ "s", 1000000 }, { "m", 60 * 1000000 }, { "h", 3600ULL * 1000000 },
	};

	return num_with_unit(s, units, ARRAY_SIZE(units), ret);
}

const char *num_size_text(char *buf, uint64_t bytes)
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double v = (double)bytes;
	size_t i = 0;
	bool whole;

	/* from 1023.5 on it would be written as 1024 of the smaller unit */
	while (v >= 1023.5 && i + 1 < ARRAY_SIZE(names)) {
		v /= 1024;
		i++;
	}
	whole = v == (double)(uint64_t)v;
	snprintf(buf, NUM_TEXT, !whole && v < 9.95 ? "%.1f %s" : "%.0f %s", v, names[i]);
	return buf;
}

const char *num_seconds_text(char *buf, uint64_t s)
{
	typedef unsigned long long ull;

	if (s < 60)
		snprintf(buf, NUM_TEXT, "%llu s", (ull)s);
	else if (s < 3600)
		snprintf(buf, NUM_TEXT, "%llu min %llu s", (ull)(s / 60), (ull)(s % 60));
	else if (s < 86400)
		snprintf(buf, NUM_TEXT, "%llu h %llu min", (ull)(s / 3600), (ull)(s / 60 % 60));
	else
		snprintf(buf, NUM_TEXT, "%llu d %llu h", (ull)(s / 86400), (ull)(s / 3600 % 24));
	return buf;
}

uint64_t num_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

double num_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}
