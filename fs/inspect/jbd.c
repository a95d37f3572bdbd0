// SPDX-License-Identifier: GPL-2.0-or-later
/* jbd.c - what is in the journal of an ext3 or ext4 filesystem (jbd2) */
#define _GNU_SOURCE
#include "fs/inspect/jbd.h"

#include "lib/util.h"

#include <endian.h>
#include <ext2fs/ext2fs.h>
#include <string.h>

enum { DESCRIPTOR = 1, COMMIT, SUPERBLOCK_V1, SUPERBLOCK_V2, REVOKE };

/* Flags of a tag in a descriptor */
#define TAG_ESCAPED 1
#define TAG_SAME_UUID 2
#define TAG_LAST 8

#define COMPAT_CHECKSUM 1

#define INCOMPAT_64BIT 2
#define INCOMPAT_ASYNC 4
#define INCOMPAT_CSUM_V2 8
#define INCOMPAT_CSUM_V3 16
#define INCOMPAT_FAST 32
#define INCOMPAT_KNOWN 63

#define HEADER 12
#define SUPERBLOCK 1024
#define CRC32 1
#define CRC32C 4
#define FAST_BLOCKS 256 /* if the superblock does not say */
#define MIN_BLOCKS 1024
#define FAST_HEAD 9

enum checksum { NO_CHECKSUM, CHECKSUM_V1, CHECKSUM_V2, CHECKSUM_V3 };

/** struct revoke - up to transaction @nth a block's contents do not count */
struct revoke {
	uint64_t block;
	uint32_t nth;
};

/**
 * struct walk - through a journal
 * @buf, @data:	a block each
 * @first, @last: the ring; @last is behind it
 * @next:	block to be read next
 * @left:	how many there are before it is around
 * @start:	number of the first transaction
 * @nth:	of this one, from 0
 * @seed:	of checksums, versions 2 and 3
 * @crc:	of this transaction, version 1
 * @time:	of the last commit
 * @doubtful:	a block of this transaction has a wrong checksum
 * @broken:	what this transaction says makes no sense, which matters only if it is committed
 * @around:	all of the ring has been walked through
 * @found, @nrevokes: up to the last commit, in @jbd and @revokes
 */
struct walk {
	const struct jbd_source *src;
	uint8_t *buf, *data;
	uint32_t first, last, next, left, start, nth, seed, crc;
	enum checksum checksum;
	bool wide, async, fast, doubtful, broken, around;
	uint64_t time;
	struct jbd *jbd;
	size_t room, found;
	struct revoke *revokes;
	size_t n, revokes_room, nrevokes;
};

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	return (uint64_t)get32(p) << 32 | get32(p + 4);
}

/* A checksum over something that holds it itself, with zeroes there */
static uint32_t checksum_without(uint32_t seed, const uint8_t *p, size_t len, size_t at)
{
	static const uint8_t none[4];
	uint32_t crc = ext2fs_crc32c_le(seed, p, at);

	crc = ext2fs_crc32c_le(crc, none, sizeof(none));
	return ext2fs_crc32c_le(crc, p + at + 4, len - at - 4);
}

static bool has_tails(const struct walk *w)
{
	return w->checksum >= CHECKSUM_V2;
}

static bool tail_good(const struct walk *w)
{
	size_t at = w->src->block_size - 4;

	return !has_tails(w) || checksum_without(w->seed, w->buf, at + 4, at) == get32(w->buf + at);
}

/* ---- the superblock -------------------------------------------------------------- */

static int read_features(struct walk *w, const uint8_t *sb, struct lab_err *err)
{
	uint32_t compat = get32(sb + 36), incompat = get32(sb + 40);

	if (get32(sb + 4) == SUPERBLOCK_V1)
		return 0;
	if (incompat & ~INCOMPAT_KNOWN)
		return lab_fail(err, -EOPNOTSUPP, "its journal has features that are not known");
	w->wide = incompat & INCOMPAT_64BIT;
	w->async = incompat & INCOMPAT_ASYNC;
	w->fast = incompat & INCOMPAT_FAST;
	if (incompat & INCOMPAT_CSUM_V3)
		w->checksum = CHECKSUM_V3;
	else if (incompat & INCOMPAT_CSUM_V2)
		w->checksum = CHECKSUM_V2;
	else if (compat & COMPAT_CHECKSUM)
		w->checksum = CHECKSUM_V1;
	if (!has_tails(w))
		return 0;
	if (sb[80] != CRC32C || checksum_without(~0U, sb, SUPERBLOCK, 252) != get32(sb + 252))
		return lab_fail(err, -EUCLEAN, "the checksum of its journal's superblock is wrong");
	w->seed = ext2fs_crc32c_le(~0U, sb + 48, 16);
	return 0;
}

/* What is behind the ring is for fast commits */
static void leave_fast(struct walk *w, const uint8_t *sb)
{
	uint32_t n = get32(sb + 84);

	n = n ? n : FAST_BLOCKS;
	if (w->fast && n > 1 && w->last >= MIN_BLOCKS && n <= w->last - MIN_BLOCKS)
		w->last -= n;
	else
		w->fast = false;
}

static int read_super(struct walk *w, struct lab_err *err)
{
	const uint8_t *sb = w->buf;
	int r = w->src->read(w->src->arg, 0, w->buf);

	if (r < 0)
		return lab_fail(err, r, "its journal cannot be read");
	w->last = get32(sb + 16);
	if (get32(sb) != JBD_MAGIC ||
	    (get32(sb + 4) != SUPERBLOCK_V1 && get32(sb + 4) != SUPERBLOCK_V2) ||
	    get32(sb + 12) != w->src->block_size || w->last > w->src->blocks)
		return lab_fail(err, -EUCLEAN, "its journal has no valid superblock");
	r = read_features(w, sb, err);
	if (r < 0)
		return r;
	leave_fast(w, sb);
	w->first = get32(sb + 20);
	w->start = get32(sb + 24);
	w->next = get32(sb + 28);
	if (!w->first || w->first >= w->last ||
	    (w->next && (w->next < w->first || w->next >= w->last)))
		return lab_fail(err, -EUCLEAN, "the superblock of its journal makes no sense");
	w->left = w->last - w->first;
	return 0;
}

/* ---- the ring ---------------------------------------------------------------------- */

/* The next block, read if somebody wants it */
static int step(struct walk *w, uint8_t *buf, uint32_t *ret_at)
{
	w->around = !w->left;
	w->left -= !w->around;
	*ret_at = w->next++;
	if (w->next == w->last)
		w->next = w->first;
	return buf ? w->src->read(w->src->arg, *ret_at, buf) : 0;
}

static int add_block(struct walk *w, const struct jbd_block *b)
{
	if (w->jbd->n == w->room) {
		size_t room = w->room ? 2 * w->room : 256;
		struct jbd_block *more = reallocarray(w->jbd->v, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		w->jbd->v = more;
		w->room = room;
	}
	w->jbd->v[w->jbd->n++] = *b;
	return 0;
}

static size_t tag_size(const struct walk *w)
{
	if (w->checksum == CHECKSUM_V3)
		return 16;
	/* Version 2 has two bytes more than it uses, without any reason */
	return (w->wide ? 12 : 8) + (w->checksum == CHECKSUM_V2 ? 2 : 0);
}

static int take_tag(struct walk *w, const uint8_t *tag)
{
	bool sum = w->checksum == CHECKSUM_V1;
	struct jbd_block b = { .block = get32(tag), .nth = w->nth };
	int r = step(w, sum ? w->data : NULL, &b.at);

	if (r < 0)
		return r;
	if (sum)
		w->crc = ext2fs_crc32_be(w->crc, w->data, w->src->block_size);
	if (w->wide)
		b.block |= (uint64_t)get32(tag + 8) << 32;
	b.escaped = get16(tag + 6) & TAG_ESCAPED;
	b.checksum = w->checksum == CHECKSUM_V3 ? get32(tag + 12) : get16(tag + 4);
	/* A descriptor that may be an old one is believed in nothing but its length */
	return w->doubtful || w->around ? 0 : add_block(w, &b);
}

static int take_descriptor(struct walk *w)
{
	size_t size = tag_size(w), end = w->src->block_size - (has_tails(w) ? 4 : 0);

	if (!tail_good(w))
		w->doubtful = true;
	if (w->checksum == CHECKSUM_V1)
		w->crc = ext2fs_crc32_be(w->crc, w->buf, w->src->block_size);
	for (size_t at = HEADER; at + size <= end;) {
		uint16_t flags = get16(w->buf + at + 6);
		int r = take_tag(w, w->buf + at);

		if (r < 0)
			return r;
		at += size + (flags & TAG_SAME_UUID ? 0 : 16);
		if (flags & TAG_LAST)
			break;
	}
	return 0;
}

static int add_revoke(struct walk *w, uint64_t block)
{
	if (w->n == JBD_MAX_REVOKES) {
		w->broken = true;
		return 0;
	}
	if (w->n == w->revokes_room) {
		size_t room = w->revokes_room ? 2 * w->revokes_room : 256;
		struct revoke *more = reallocarray(w->revokes, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		w->revokes = more;
		w->revokes_room = room;
	}
	w->revokes[w->n++] = (struct revoke){ .block = block, .nth = w->nth };
	return 0;
}

static int take_revokes(struct walk *w)
{
	size_t size = w->wide ? 8 : 4, end = get32(w->buf + HEADER);
	int r = 0;

	if (!tail_good(w)) {
		w->doubtful = true;
		return 0;
	}
	if (end > w->src->block_size - (has_tails(w) ? 4 : 0)) {
		w->broken = true;
		return 0;
	}
	for (size_t at = HEADER + 4; !r && at + size <= end; at += size)
		r = add_revoke(w, w->wide ? get64(w->buf + at) : get32(w->buf + at));
	return r;
}

static bool commit_good(const struct walk *w)
{
	const uint8_t *c = w->buf;

	if (has_tails(w))
		return checksum_without(w->seed, c, w->src->block_size, 16) == get32(c + 16);
	if (w->checksum == NO_CHECKSUM)
		return true;
	if (c[12] == CRC32 && c[13] == 4)
		return get32(c + 16) == w->crc;
	return !c[12] && !c[13] && !get32(c + 16);
}

/* 0: the transaction counts, 1: the journal ends before it */
static int take_commit(struct walk *w)
{
	uint64_t when = get64(w->buf + 48);

	if (w->doubtful || !commit_good(w)) {
		/* Left over from an earlier round, or a commit that came before its contents */
		bool end = when < w->time || (w->async && !w->doubtful);

		return end ? 1 : -EUCLEAN;
	}
	if (w->broken)
		return -EUCLEAN;
	w->time = when;
	w->found = w->jbd->n;
	w->nrevokes = w->n;
	w->nth++;
	w->crc = ~0U;
	return 0;
}

/*
 * 1: this is the end. What comes before it without a commit is what a crash interrupted, and
 * may be anything: as the kernel, nothing of it is looked at but how long it is
 */
static int take_one(struct walk *w)
{
	uint32_t at;
	int r = step(w, w->buf, &at);

	if (r < 0)
		return r;
	if (get32(w->buf) != JBD_MAGIC || get32(w->buf + 8) != w->start + w->nth)
		return 1;
	if (w->around) /* a transaction that has no room for its end */
		return -EUCLEAN;
	switch (get32(w->buf + 4)) {
	case DESCRIPTOR:
		return take_descriptor(w);
	case COMMIT:
		return take_commit(w);
	case REVOKE:
		return take_revokes(w);
	default:
		return 1;
	}
}

/* ---- what counts --------------------------------------------------------------------- */

static int by_block(const void *a, const void *b)
{
	const struct jbd_block *x = a, *y = b;

	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->nth < y->nth ? -1 : x->nth > y->nth;
}

static int by_revoked(const void *a, const void *b)
{
	const struct revoke *x = a, *y = b;

	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->nth < y->nth ? -1 : x->nth > y->nth;
}

/* The last one of each block that was not revoked then or later */
static void choose(struct walk *w)
{
	struct jbd_block *v = w->jbd->v;
	size_t kept = 0, k = 0;

	if (w->found)
		qsort(v, w->found, sizeof(*v), by_block);
	if (w->nrevokes)
		qsort(w->revokes, w->nrevokes, sizeof(*w->revokes), by_revoked);
	for (size_t i = 0; i < w->found; i++) {
		if (i + 1 < w->found && v[i + 1].block == v[i].block)
			continue;
		while (k < w->nrevokes && w->revokes[k].block < v[i].block)
			k++;
		while (k + 1 < w->nrevokes && w->revokes[k + 1].block == v[i].block)
			k++;
		if (k == w->nrevokes || w->revokes[k].block != v[i].block ||
		    w->revokes[k].nth < v[i].nth)
			v[kept++] = v[i];
	}
	w->jbd->n = kept;
}

static int check_contents(const struct walk *w)
{
	/* They are sorted */
	if (w->jbd->n && w->jbd->v[w->jbd->n - 1].block >= w->src->limit)
		return -EUCLEAN;
	for (size_t i = 0; has_tails(w) && i < w->jbd->n; i++) {
		const struct jbd_block *b = &w->jbd->v[i];
		uint32_t sequence = htobe32(w->start + b->nth), crc;
		int r = w->src->read(w->src->arg, b->at, w->data);

		if (r < 0)
			return r;
		crc = ext2fs_crc32c_le(w->seed, (const uint8_t *)&sequence, sizeof(sequence));
		crc = ext2fs_crc32c_le(crc, w->data, w->src->block_size);
		if (w->checksum == CHECKSUM_V2)
			crc &= 0xffff;
		if (crc != b->checksum)
			return -EUCLEAN;
	}
	return 0;
}

/* One block behind the ring: the head of fast commits names the transaction that they go on from */
static int check_fast(const struct walk *w)
{
	const uint8_t *b = w->data;
	uint32_t number;
	int r = w->fast ? w->src->read(w->src->arg, w->last + 1, w->data) : 1;

	if (r)
		return MIN(r, 0);
	memcpy(&number, b + 8, sizeof(number));
	w->jbd->fast = b[0] == FAST_HEAD && !b[1] && le32toh(number) == w->start + w->nth;
	return 0;
}

static int read_all(struct walk *w, struct lab_err *err)
{
	int r = read_super(w, err);

	if (r < 0 || !w->next)
		return r;
	w->crc = ~0U;
	while (!r)
		r = take_one(w);
	if (r == 1) {
		choose(w);
		r = check_contents(w);
	}
	if (!r)
		r = check_fast(w);
	return r < 0 ? lab_fail(err, r, "its journal is damaged") : 0;
}

int jbd_read(const struct jbd_source *src, struct jbd *ret, struct lab_err *err)
{
	autofree uint8_t *buf = malloc(2 * (size_t)src->block_size);
	struct jbd jbd = { 0 };
	struct walk w = { .src = src, .jbd = &jbd, .buf = buf };
	int r;

	if (src->block_size < SUPERBLOCK || src->blocks > JBD_MAX_BLOCKS)
		return lab_fail(err, -EOPNOTSUPP, "its journal is too large");
	if (!buf)
		return lab_fail_errno(err, -ENOMEM, "reading its journal");
	w.data = buf + src->block_size;
	r = read_all(&w, err);
	free(w.revokes);
	if (r < 0)
		jbd_done(&jbd);
	else
		*ret = jbd;
	return r;
}

size_t jbd_from(const struct jbd *j, uint64_t block)
{
	size_t low = 0, high = j->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (j->v[mid].block < block)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void jbd_done(struct jbd *j)
{
	free(j->v);
	*j = (struct jbd){ 0 };
}
