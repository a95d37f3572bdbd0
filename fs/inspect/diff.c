// SPDX-License-Identifier: GPL-2.0-or-later
/* diff.c - what differs between two disks: their partitions */
#define _GNU_SOURCE
#include "fs/inspect/diff.h"

#include "fs/inspect/ext_replay.h"
#include "lib/util.h"

#include <string.h>

/* What a partition is on one side */
enum state { ABSENT, BARE, OTHER, EXT, BROKEN };

/** struct pair - partitions with one number, before and after */
struct pair {
	const struct part *part[2];
	enum state state[2];
};

static int say_journal(struct diff *d, size_t i)
{
	switch (ext_journal(d->fs[i])) {
	case EXT_REPLAYED:
		return diff_say_word(d, INSPECT_REPLAYED, (uint32_t)i);
	case EXT_DIRTY:
	case EXT_BROKEN:
		return diff_say_word(d, INSPECT_DIRTY, (uint32_t)i);
	case EXT_CLEAN:
	case EXT_UNCLEAN:
	case EXT_ERRORS:
		break;
	}
	return 0;
}

/* What is read from a journal is not what is in its place on the disk */
static int mark_replayed(struct diff *d, const struct ext *x)
{
	struct span span;
	int r = 0;

	for (size_t i = 0; !r && ext_replay_span(x, i, &span.at, &span.end); i++)
		r = same_mark(&d->same, &span);
	same_sort(&d->same);
	return r;
}

static int open_side(struct diff *d, struct pair *p, size_t i)
{
	const struct part *part = p->part[i];
	struct lab_err err = LAB_ERR_INIT;
	int r;

	p->state[i] = !part ? ABSENT : *part->fs ? OTHER : BARE;
	if (!part || !part_is_ext(part))
		return 0;
	r = ext_open(d->disk[i], part->start, part->size, &d->fs[i], &err);
	if (r < 0) {
		p->state[i] = BROKEN;
		return diff_say_trouble(d, r, err.text);
	}
	p->state[i] = EXT;
	r = mark_replayed(d, d->fs[i]);
	if (r < 0)
		return r;
	return say_journal(d, i);
}

/* Whether what is in one place of both filesystems means the same */
static bool are_alike(const struct diff *d)
{
	const struct ext2_super_block *a, *b;

	if (!d->fs[0] || !d->fs[1] || d->fs[0]->start != d->fs[1]->start)
		return false;
	a = d->fs[0]->fs->super;
	b = d->fs[1]->fs->super;
	/* That a journal is to be replayed changes what blocks should hold, not what they mean */
	return a->s_log_block_size == b->s_log_block_size && a->s_rev_level == b->s_rev_level &&
	       a->s_inode_size == b->s_inode_size && a->s_feature_compat == b->s_feature_compat &&
	       !((a->s_feature_incompat ^ b->s_feature_incompat) &
		 ~EXT3_FEATURE_INCOMPAT_RECOVER) &&
	       a->s_feature_ro_compat == b->s_feature_ro_compat;
}

/* As a whole, without a look inside */
static int compare_bytes(struct diff *d, const struct pair *p)
{
	const struct part *a = p->part[0], *b = p->part[1];
	const struct inspect_was side[2] = { { .size = a ? a->size : 0 },
					     { .size = b ? b->size : 0 } };
	const char *const kind[2] = { a ? a->fs : "", b ? b->fs : "" };
	int r = 0;

	if (!a || !b)
		return diff_say(d, a ? INSPECT_REMOVED : INSPECT_ADDED, 0, side, kind);
	if (a->size == b->size)
		r = diff_bytes(d, (const uint64_t[]){ a->start, b->start }, a->size);
	if (r == -EPIPE)
		return r;
	if (r < 0)
		return diff_say_trouble(d, r, NULL);
	return r ? 0 : diff_say(d, INSPECT_CHANGED, INSPECT_OF_CONTENT, side, kind);
}

/* Whether a side can be taken for a filesystem without files */
static bool is_empty(enum state s)
{
	return s == ABSENT || s == BARE;
}

/* A disk without anything on it, and now it has a table of partitions: these are said */
static bool is_nothing(const struct pair *p)
{
	for (size_t i = 0; i < 2; i++)
		if (p->state[i] != ABSENT && (p->state[i] != BARE || p->part[i]->number))
			return false;
	return p->state[0] == ABSENT || p->state[1] == ABSENT;
}

static int compare_pair(struct diff *d, struct pair *p)
{
	const struct part *a = p->part[0], *b = p->part[1];
	int r = 0;

	/* Most partitions, and most disks, nobody has written to */
	if (!d->q->path_len && a && b && a->start == b->start && a->size == b->size &&
	    !strcmp(a->fs, b->fs) && same_all(&d->same, a->start, a->size)) {
		d->found = true;
		return 0;
	}
	for (size_t i = 0; !r && i < 2; i++)
		r = open_side(d, p, i);
	if (r < 0 || p->state[0] == BROKEN || p->state[1] == BROKEN)
		return r;
	d->alike = are_alike(d);
	if ((p->state[0] == EXT && (p->state[1] == EXT || is_empty(p->state[1]))) ||
	    (p->state[1] == EXT && is_empty(p->state[0])))
		return diff_walk(d);
	if (d->q->path_len || is_nothing(p))
		return 0;
	d->found = true;
	return compare_bytes(d, p);
}

static int compare_part(struct diff *d, uint32_t number)
{
	struct pair p = { 0 };
	int r;

	for (size_t i = 0; i < 2; i++)
		p.part[i] = parts_find(d->parts[i], number);
	d->part = number;
	d->path_len = 0;
	r = compare_pair(d, &p);
	for (size_t i = 0; i < 2; i++)
		d->fs[i] = ext_free(d->fs[i]);
	return r;
}

/* The next higher number on either side */
static bool next_part(const struct diff *d, int64_t after, uint32_t *ret)
{
	bool any = false;

	for (size_t i = 0; i < 2; i++) {
		const struct parts *parts = d->parts[i];

		for (size_t k = 0; k < parts->n; k++) {
			if (parts->v[k].number <= after || (any && parts->v[k].number >= *ret))
				continue;
			*ret = parts->v[k].number;
			any = true;
		}
	}
	return any;
}

static int compare_parts(struct diff *d)
{
	uint32_t number = 0;
	int r = 0;

	for (int64_t after = -1; !r && next_part(d, after, &number); after = number)
		if (d->q->part == INSPECT_RAW || d->q->part == number)
			r = compare_part(d, number);
	d->part = INSPECT_RAW;
	d->path_len = 0;
	return r ? r : diff_say_word(d, INSPECT_END, d->found);
}

int diff_run(struct diff *d)
{
	int r = same_scan(d->disk[0], d->disk[1], &d->same);

	d->buf = malloc(2 * (size_t)INSPECT_DATA);
	d->out = malloc(INSPECT_REPLY);
	if (!r && (!d->buf || !d->out))
		r = -ENOMEM;
	if (!r)
		r = compare_parts(d);
	free(d->buf);
	free(d->out);
	same_done(&d->same);
	return r;
}
