// SPDX-License-Identifier: GPL-2.0-or-later
/* diff_say.c - messages of a comparison of two disks */
#define _GNU_SOURCE
#include "fs/inspect/diff.h"

#include "lib/util.h"

#include <string.h>

#define TICKS 2000 /* names, or 4 KiB of contents */

_Static_assert(sizeof(struct inspect_change) + INSPECT_PATH + 2 * INSPECT_TARGET <= INSPECT_REPLY,
	       "the longest message has room");

static void begin(struct diff *d, enum inspect_found found, uint32_t what)
{
	*d->out = (struct inspect_change){ .found = found,
					   .what = what,
					   .part = d->part,
					   .names = d->names,
					   .path_len = (uint32_t)d->path_len };
	memcpy(d->out->text, d->path, d->path_len);
}

static void put_text(struct diff *d, unsigned int which, const char *text)
{
	struct inspect_change *c = d->out;
	size_t len = strnlen(text, INSPECT_TARGET - 1);

	memcpy(c->text + c->path_len + (which ? c->target_len[0] : 0), text, len);
	c->target_len[which] = (uint32_t)len;
}

static int end(struct diff *d)
{
	const struct inspect_change *c = d->out;
	size_t len = sizeof(*c) + c->path_len + c->target_len[0] + c->target_len[1];

	return d->send(d->arg, c, len) ? 0 : -EPIPE;
}

int diff_say(struct diff *d, enum inspect_found found, uint32_t what,
	     const struct inspect_was side[2], const char *const target[2])
{
	begin(d, found, what);
	memcpy(d->out->side, side, sizeof(d->out->side));
	for (unsigned int i = 0; i < 2; i++)
		if (target && target[i])
			put_text(d, i, target[i]);
	return end(d);
}

int diff_say_trouble(struct diff *d, int code, const char *text)
{
	begin(d, INSPECT_TROUBLE, 0);
	d->out->error = code;
	put_text(d, 0, text && *text ? text : strerror(-code));
	return end(d);
}

int diff_say_word(struct diff *d, enum inspect_found found, uint32_t what)
{
	begin(d, found, what);
	return end(d);
}

int diff_tick(struct diff *d, uint64_t bytes)
{
	d->ticks += 1 + bytes / 4096;
	if (d->ticks < TICKS)
		return 0;
	d->ticks = 0;
	return diff_say_word(d, INSPECT_PROGRESS, 0);
}
