// SPDX-License-Identifier: GPL-2.0-or-later
/* ext_replay.c - an ext filesystem as it is when its journal is replayed */
#define _GNU_SOURCE
#include "fs/inspect/ext_replay.h"

#include "fs/inspect/ext_extent.h"
#include "fs/inspect/jbd.h"
#include "lib/util.h"

#include <string.h>

/**
 * struct ext_replay - a journal
 * @all:	where its blocks are in the filesystem
 */
struct ext_replay {
	const struct ext *x;
	uint32_t block_size;
	struct extents all;
	struct jbd jbd;
};

struct ext_replay *ext_replay_free(struct ext_replay *r)
{
	if (r) {
		free(r->all.v);
		jbd_done(&r->jbd);
	}
	free(r);
	return NULL;
}

static void cleanup_ext_replay(struct ext_replay **r)
{
	ext_replay_free(*r);
}

#define autoreplay __attribute__((cleanup(cleanup_ext_replay)))

/* Where a block of the journal is on the disk; an extent has whole blocks */
static int place_of(const struct ext_replay *r, uint32_t block, uint64_t *ret)
{
	uint64_t at = (uint64_t)block * r->block_size;
	const struct extent *e = ext_extent_from(&r->all, at);

	if (!e || e->at > at || e->from + (at - e->at) + r->block_size > r->x->size)
		return -EUCLEAN;
	*ret = r->x->start + e->from + (at - e->at);
	return 0;
}

static int read_block(void *arg, uint32_t block, void *buf)
{
	const struct ext_replay *r = arg;
	uint64_t place;
	int code = place_of(r, block, &place);

	return code < 0 ? code : disk_read(r->x->disk, buf, r->block_size, place);
}

static int read_inode(const struct ext *x, struct ext_replay *r, uint32_t *ret_blocks)
{
	uint32_t ino = x->fs->super->s_journal_inum;
	struct ext2_inode in;
	uint64_t blocks;
	errcode_t code = ext2fs_read_inode(x->fs, ino, &in);

	if (code)
		return ext_to_errno(code);
	blocks = EXT2_I_SIZE(&in) / r->block_size;
	if (!LINUX_S_ISREG(in.i_mode) || !in.i_links_count || in.i_flags & EXT4_INLINE_DATA_FL)
		return -EUCLEAN;
	*ret_blocks = (uint32_t)MIN(blocks, (uint64_t)JBD_MAX_BLOCKS + 1);
	return ext_extents(x, ino, &in, &r->all);
}

int ext_replay_start(struct ext *x, struct lab_err *err)
{
	autoreplay struct ext_replay *r = calloc(1, sizeof(*r));
	struct jbd_source src = { .read = read_block, .arg = r, .block_size = x->fs->blocksize };
	int code;

	if (!r)
		return lab_fail_errno(err, -ENOMEM, "reading its journal");
	if (!x->fs->super->s_journal_inum)
		return lab_fail(err, -EOPNOTSUPP, "its journal is on another disk");
	*r = (struct ext_replay){ .x = x, .block_size = x->fs->blocksize };
	/* what it claims to have, but no more than there is: places are block numbers times size */
	src.limit = MIN(ext2fs_blocks_count(x->fs->super), x->size / x->fs->blocksize);
	code = read_inode(x, r, &src.blocks);
	if (code < 0)
		return lab_fail(err, code, "the inode of its journal is damaged");
	code = jbd_read(&src, &r->jbd, err);
	if (code < 0)
		return code;
	x->replay = steal_ptr(r);
	return x->replay->jbd.fast;
}

/* Newer contents of a block, or as much of them as is between @at and @end */
static int patch(const struct ext_replay *r, const struct jbd_block *b, char *buf, uint64_t at,
		 uint64_t end)
{
	static const uint8_t magic[] = { 0xc0, 0x3b, 0x39, 0x98 };
	uint64_t start = b->block * r->block_size, place;
	uint64_t from = MAX(start, at), to = MIN(start + r->block_size, end);
	int code = place_of(r, b->at, &place);

	if (!code)
		code = disk_read(r->x->disk, buf + (from - at), to - from, place + (from - start));
	for (size_t i = 0; !code && b->escaped && i < sizeof(magic); i++)
		if (start + i >= from && start + i < to)
			buf[start + i - at] = (char)magic[i];
	return code;
}

int ext_replay_read(const struct ext *x, void *buf, size_t len, uint64_t at)
{
	const struct ext_replay *r = x->replay;
	int code = disk_read(x->disk, buf, len, x->start + at);

	if (!r)
		return code;
	for (size_t i = jbd_from(&r->jbd, at / r->block_size); !code && i < r->jbd.n; i++) {
		const struct jbd_block *b = &r->jbd.v[i];

		if (b->block * r->block_size >= at + len)
			break;
		code = patch(r, b, buf, at, at + len);
	}
	return code;
}

int ext_replay_map(const struct ext *x, uint64_t at, uint64_t len, struct inspect_run *ret)
{
	const struct ext_replay *r = x->replay;
	size_t i = r ? jbd_from(&r->jbd, at / r->block_size) : 0;
	const struct jbd_block *b = r && i < r->jbd.n ? &r->jbd.v[i] : NULL;
	uint64_t start = b ? b->block * r->block_size : 0, place;
	int code;

	if (!b || start > at)
		return disk_map(x->disk, x->start + at, b ? MIN(len, start - at) : len, ret);
	len = MIN(len, start + r->block_size - at);
	if (b->escaped) {
		*ret = (struct inspect_run){ .length = len, .kind = INSPECT_COPY_RUN };
		return 0;
	}
	code = place_of(r, b->at, &place);
	return code < 0 ? code : disk_map(x->disk, place + (at - start), len, ret);
}

bool ext_replay_span(const struct ext *x, size_t nth, uint64_t *ret_at, uint64_t *ret_end)
{
	const struct ext_replay *r = x->replay;

	if (!r || nth >= r->jbd.n)
		return false;
	*ret_at = x->start + r->jbd.v[nth].block * r->block_size;
	*ret_end = *ret_at + r->block_size;
	return true;
}
