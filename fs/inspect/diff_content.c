// SPDX-License-Identifier: GPL-2.0-or-later
/* diff_content.c - whether two files, or parts of two disks, have the same contents */
#define _GNU_SOURCE
#include "fs/inspect/diff.h"

#include "lib/util.h"

#include <string.h>

/*
 * Whether the tree of its extents is in the inode as a whole: who has the same inode has the same
 * blocks then. Nodes beyond the inode could differ where the inode does not.
 */
static bool is_flat(const struct ext2_inode *in)
{
	struct ext3_extent_header h;

	if (!(in->i_flags & EXT4_EXTENTS_FL))
		return false;
	memcpy(&h, in->i_block, sizeof(h));
	return !h.eh_depth;
}

/* Whether all blocks of a file that both disks have are in what cannot differ */
static int is_untouched(struct diff *d, uint32_t ino, uint64_t size)
{
	struct ext_piece p = { 0 };

	for (uint64_t at = 0; at < size; at += p.length) {
		int r = ext_piece(d->fs[0], ino, at, size - at, &p);

		if (r < 0)
			return r;
		if (p.kind == EXT_ON_DISK && !same_all(&d->same, p.at, p.length))
			return 0;
	}
	return 1;
}

/* What need not be read at @at; 0 if the next *@ret_len bytes have to be */
static int skip(struct diff *d, const uint32_t ino[2], uint64_t at, uint64_t len, uint64_t *ret_len)
{
	struct ext_piece p[2];
	int r = ext_piece(d->fs[0], ino[0], at, len, &p[0]);

	if (!r)
		r = ext_piece(d->fs[1], ino[1], at, p[0].length, &p[1]);
	if (r < 0)
		return r;
	*ret_len = p[1].length;
	if (p[0].kind == EXT_HOLE && p[1].kind == EXT_HOLE)
		return 1;
	if (p[0].kind == EXT_ON_DISK && p[1].kind == EXT_ON_DISK && p[0].at == p[1].at)
		return same_at(&d->same, p[0].at, *ret_len, ret_len);
	return 0;
}

static int read_both(struct diff *d, const uint32_t ino[2], uint64_t at, uint64_t len)
{
	for (size_t i = 0; i < 2; i++) {
		ssize_t n = ext_read(d->fs[i], ino[i], d->buf + i * INSPECT_DATA, len, at);

		if (n < 0)
			return (int)n;
		if ((uint64_t)n != len)
			return -EUCLEAN;
	}
	return !memcmp(d->buf, d->buf + INSPECT_DATA, len);
}

int diff_files(struct diff *d, const uint32_t ino[2], const union ext_inode *in, bool shared)
{
	uint64_t size = EXT2_I_SIZE(&in->base), len = 0;
	int r;

	if (shared && (in->base.i_flags & EXT4_INLINE_DATA_FL || !size))
		return 1;
	if (shared && is_flat(&in->base)) {
		r = is_untouched(d, ino[0], size);
		if (r)
			return r;
	}
	for (uint64_t at = 0; at < size; at += len) {
		r = skip(d, ino, at, size - at, &len);
		if (r > 0)
			continue;
		len = MIN(len, (uint64_t)INSPECT_DATA);
		if (!r)
			r = diff_tick(d, len);
		if (!r)
			r = read_both(d, ino, at, len);
		if (r <= 0)
			return r;
	}
	return 1;
}

int diff_bytes(struct diff *d, const uint64_t at[2], uint64_t size)
{
	uint64_t len = 0;
	int r = 1;

	for (uint64_t done = 0; r > 0 && done < size; done += len) {
		len = size - done;
		if (at[0] == at[1] && same_at(&d->same, at[0] + done, len, &len))
			continue;
		len = MIN(len, (uint64_t)INSPECT_DATA);
		r = diff_tick(d, len);
		for (size_t i = 0; !r && i < 2; i++)
			r = disk_read(d->disk[i], d->buf + i * INSPECT_DATA, len, at[i] + done);
		if (!r)
			r = !memcmp(d->buf, d->buf + INSPECT_DATA, len);
	}
	return r;
}
