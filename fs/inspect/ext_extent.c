// SPDX-License-Identifier: GPL-2.0-or-later
/* ext_extent.c - where the blocks of an inode of an ext filesystem are */
#define _GNU_SOURCE
#include "fs/inspect/ext_extent.h"

#include "lib/util.h"

#include <assert.h>

static int add_extent(const struct ext *x, struct extents *all, uint64_t block, uint64_t from,
		      uint64_t n)
{
	uint64_t bs = x->fs->blocksize;
	struct extent e = { .at = block * bs, .from = from * bs, .len = n * bs };
	struct extent *last = all->n ? &all->v[all->n - 1] : NULL;

	/* Upwards only: what goes in a circle ends here */
	if (!n || from < x->fs->super->s_first_data_block ||
	    from + n > ext2fs_blocks_count(x->fs->super) || (last && e.at < last->at + last->len))
		return -EUCLEAN;
	if (last && last->at + last->len == e.at && last->from + last->len == e.from) {
		last->len += e.len;
		return 0;
	}
	if (all->n == EXT_MAX_EXTENTS)
		return -EUCLEAN;
	if (all->n == all->room) {
		size_t room = all->room ? 2 * all->room : 8;
		struct extent *more = reallocarray(all->v, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		all->v = more;
		all->room = room;
	}
	assert(all->v);
	all->v[all->n++] = e;
	return 0;
}

static void free_handle(ext2_extent_handle_t *handle)
{
	if (*handle)
		ext2fs_extent_free(*handle);
}

static int read_extents(const struct ext *x, uint32_t ino, struct ext2_inode *in,
			struct extents *all)
{
	__attribute__((cleanup(free_handle))) ext2_extent_handle_t handle = NULL;
	errcode_t code = ext2fs_extent_open2(x->fs, ino, in, &handle);
	struct ext2fs_extent e;
	int op = EXT2_EXTENT_ROOT;

	/* A bounded number of steps: nodes above the leaves can be without end as well */
	for (unsigned int i = 0; !code && i < 2 * EXT_MAX_EXTENTS; i++) {
		int r = 0;

		code = ext2fs_extent_get(handle, op, &e);
		op = EXT2_EXTENT_NEXT;
		if (code == EXT2_ET_EXTENT_NO_NEXT || code == EXT2_ET_NO_CURRENT_NODE)
			return 0;
		/* What was allocated and never written reads as zeroes */
		if (!code && e.e_flags & EXT2_EXTENT_FLAGS_LEAF &&
		    !(e.e_flags & EXT2_EXTENT_FLAGS_UNINIT))
			r = add_extent(x, all, e.e_lblk, e.e_pblk, e.e_len);
		if (r < 0)
			return r;
	}
	return code ? ext_to_errno(code) : -EUCLEAN;
}

/* What block_iterate() tells */
struct blocks {
	const struct ext *x;
	struct extents *all;
	int code;
};

static int take_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t at, blk64_t ref, int offset,
		      void *arg)
{
	struct blocks *b = arg;

	(void)fs;
	(void)ref;
	(void)offset;
	if (at < 0)
		return 0;
	b->code = add_extent(b->x, b->all, (uint64_t)at, *block, 1);
	return b->code < 0 ? BLOCK_ABORT : 0;
}

static int read_blocks(const struct ext *x, uint32_t ino, struct extents *all)
{
	struct blocks b = { .x = x, .all = all };
	errcode_t code = ext2fs_block_iterate3(
		x->fs, ino, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, NULL, take_block, &b);

	return b.code < 0 ? b.code : ext_to_errno(code);
}

int ext_extents(const struct ext *x, uint32_t ino, struct ext2_inode *in, struct extents *ret)
{
	if (in->i_flags & EXT4_EXTENTS_FL)
		return read_extents(x, ino, in, ret);
	return read_blocks(x, ino, ret);
}

const struct extent *ext_extent_from(const struct extents *all, uint64_t at)
{
	size_t low = 0, high = all->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (all->v[mid].at + all->v[mid].len <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low < all->n ? &all->v[low] : NULL;
}
