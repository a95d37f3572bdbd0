// SPDX-License-Identifier: GPL-2.0-or-later
/* same.c - where two disks have the same bytes, without reading any */
#define _GNU_SOURCE
#include "fs/inspect/same.h"

#include "lib/util.h"

#define CLUSTER (64U << 10)

void same_done(struct same *s)
{
	free(s->v);
	*s = (struct same){ 0 };
}

int same_mark(struct same *s, const struct span *span)
{
	/* All of it may */
	if (s->n == SAME_MAX_SPANS) {
		s->v[0] = (struct span){ .end = UINT64_MAX };
		s->n = 1;
		return 0;
	}
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 256;
		struct span *more = reallocarray(s->v, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->v = more;
		s->room = room;
	}
	s->v[s->n++] = *span;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

void same_sort(struct same *s)
{
	size_t kept = 0;

	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), by_place);
	for (size_t i = 0; i < s->n; i++) {
		if (kept && s->v[i].at <= s->v[kept - 1].end)
			s->v[kept - 1].end = MAX(s->v[kept - 1].end, s->v[i].end);
		else
			s->v[kept++] = s->v[i];
	}
	s->n = kept;
}

static int add_span(struct same *s, uint64_t at, uint64_t end)
{
	const struct span span = { .at = at, .end = end };

	if (s->n && (s->v[s->n - 1].end == at || s->n == SAME_MAX_SPANS)) {
		s->v[s->n - 1].end = end;
		return 0;
	}
	return same_mark(s, &span);
}

/* Whether it is shared at @at, and how far that goes; what is damaged is not */
static int look(struct disk *a, struct disk *b, uint64_t at, uint64_t len, uint64_t *ret_len)
{
	struct inspect_run x = { 0 }, y = { 0 };
	int r = disk_map(a, at, len, &x);

	if (!r)
		r = disk_map(b, at, x.length, &y);
	if (r == -EUCLEAN) {
		*ret_len = MIN(len, CLUSTER - at % CLUSTER);
		return 0;
	}
	if (r < 0)
		return r;
	*ret_len = y.length;
	return disk_shares(a, &x, b, &y);
}

int same_scan(struct disk *a, struct disk *b, struct same *ret)
{
	uint64_t size = MIN(disk_size(a), disk_size(b)), len = 0;
	struct same s = { 0 };
	int r = 0;

	for (uint64_t at = 0; r >= 0 && at < size; at += len) {
		r = look(a, b, at, size - at, &len);
		if (!r)
			r = add_span(&s, at, at + len);
	}
	/* Behind the end of the smaller one */
	if (r >= 0)
		r = add_span(&s, size, UINT64_MAX);
	if (r < 0) {
		same_done(&s);
		return r;
	}
	*ret = s;
	return 0;
}

/* The first span that ends behind @at; there always is one */
static const struct span *span_from(const struct same *s, uint64_t at)
{
	size_t low = 0, high = s->n - 1;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->v[mid].end <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return &s->v[low];
}

bool same_at(const struct same *s, uint64_t at, uint64_t len, uint64_t *ret_len)
{
	const struct span *span = span_from(s, at);

	if (span->at > at) {
		*ret_len = MIN(len, span->at - at);
		return true;
	}
	*ret_len = MIN(len, span->end - at);
	return false;
}

bool same_all(const struct same *s, uint64_t at, uint64_t len)
{
	uint64_t have;

	return same_at(s, at, len, &have) && have == len;
}
