// SPDX-License-Identifier: GPL-2.0-or-later
/* ext.c - an ext2, ext3 or ext4 filesystem on a disk: opening it, inodes */
#define _GNU_SOURCE
#include "fs/inspect/ext.h"

#include "fs/inspect/ext_replay.h"
#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* libext2fs opens by a name, and wants none here: there is one open at a time */
static struct ext *opening;

int ext_to_errno(errcode_t code)
{
	if (!code)
		return 0;
	if (code < 256)
		return code == ENOMEM || code == ENOENT || code == ENOTDIR ? (int)-code : -EIO;
	switch (code) {
	case EXT2_ET_NO_MEMORY:
		return -ENOMEM;
	case EXT2_ET_FILE_NOT_FOUND:
		return -ENOENT;
	case EXT2_ET_NO_DIRECTORY:
		return -ENOTDIR;
	case EXT2_ET_UNSUPP_FEATURE:
	case EXT2_ET_RO_UNSUPP_FEATURE:
	case EXT2_ET_REV_TOO_HIGH:
	case EXT2_ET_UNIMPLEMENTED:
		return -EOPNOTSUPP;
	default:
		return -EUCLEAN;
	}
}

static struct struct_io_manager manager;

static errcode_t io_open(const char *name, int flags, io_channel *ret)
{
	static struct struct_io_channel blank;
	io_channel channel = malloc(sizeof(*channel));

	(void)name;
	(void)flags;
	if (!channel)
		return EXT2_ET_NO_MEMORY;
	*channel = blank;
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = &manager;
	channel->block_size = 1024;
	channel->refcount = 1;
	channel->private_data = opening;
	*ret = channel;
	return 0;
}

static errcode_t io_close(io_channel channel)
{
	if (--channel->refcount <= 0)
		free(channel);
	return 0;
}

static errcode_t io_set_blksize(io_channel channel, int size)
{
	channel->block_size = size;
	return 0;
}

/* A negative count is in bytes */
static errcode_t io_read64(io_channel channel, unsigned long long block, int count, void *data)
{
	const struct ext *x = channel->private_data;
	uint64_t at = block * (uint64_t)channel->block_size;
	size_t len = count < 0 ? (size_t) - (int64_t)count
			       : (size_t)count * (size_t)channel->block_size;
	int r;

	if (block > x->size / (uint64_t)channel->block_size || at > x->size || len > x->size - at)
		return EXT2_ET_SHORT_READ;
	r = ext_replay_read(x, data, len, at);
	return r == -EUCLEAN ? EXT2_ET_SHORT_READ : -r;
}

static errcode_t io_read(io_channel channel, unsigned long block, int count, void *data)
{
	return io_read64(channel, block, count, data);
}

static errcode_t io_write64(io_channel channel, unsigned long long block, int count,
			    const void *data)
{
	(void)channel;
	(void)block;
	(void)count;
	(void)data;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t io_write(io_channel channel, unsigned long block, int count, const void *data)
{
	return io_write64(channel, block, count, data);
}

static errcode_t io_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "labinspect",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_blksize,
	.read_blk = io_read,
	.write_blk = io_write,
	.flush = io_flush,
	.read_blk64 = io_read64,
	.write_blk64 = io_write64,
};

static int open_fs(struct ext *x, struct lab_err *err)
{
	errcode_t code;

	if (x->fs)
		ext2fs_free(steal_ptr(x->fs));
	opening = x;
	code = ext2fs_open2("", NULL, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP, 0, 0, &manager,
			    &x->fs);
	if (code)
		return lab_fail(err, ext_to_errno(code), "%s", error_message(code));
	/* Neighbours in the inode table are asked for one after the other */
	(void)ext2fs_create_inode_cache(x->fs, 64);
	return 0;
}

/* What cannot be replayed is shown as it is */
static int replay(struct ext *x, struct lab_err *err)
{
	int r = ext_replay_start(x, err);

	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		x->journal = r == -EOPNOTSUPP ? EXT_DIRTY : EXT_BROKEN;
		return 0;
	}
	x->journal = r ? EXT_DIRTY : EXT_REPLAYED;
	return open_fs(x, err);
}

int ext_open(struct disk *disk, uint64_t start, uint64_t size, struct ext **ret,
	     struct lab_err *err)
{
	struct ext *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return lab_fail_errno(err, -ENOMEM, "opening it");
	*x = (struct ext){ .disk = disk, .start = start, .size = size };
	r = open_fs(x, err);
	if (!r && ext2fs_has_feature_journal_needs_recovery(x->fs->super))
		r = replay(x, err);
	if (r < 0)
		ext_free(x);
	else
		*ret = x;
	return r;
}

struct ext *ext_free(struct ext *x)
{
	if (!x)
		return NULL;
	ext_drop_dirs(x);
	ext_drop_files(x);
	if (x->fs)
		ext2fs_free(x->fs);
	ext_replay_free(x->replay);
	free(x);
	return NULL;
}

enum ext_journal ext_journal(const struct ext *x)
{
	const struct ext2_super_block *sb = x->fs->super;

	if (sb->s_state & EXT2_ERROR_FS)
		return EXT_ERRORS;
	if (x->journal != EXT_CLEAN)
		return x->journal;
	if (!(sb->s_state & EXT2_VALID_FS))
		return EXT_UNCLEAN;
	return EXT_CLEAN;
}

int ext_inode(const struct ext *x, uint32_t ino, union ext_inode *ret)
{
	const struct ext2_super_block *sb = x->fs->super;
	errcode_t code;

	if (ino != EXT2_ROOT_INO && (ino < EXT2_FIRST_INO(sb) || ino > sb->s_inodes_count))
		return -EUCLEAN;
	memset(ret, 0, sizeof(*ret));
	code = ext2fs_read_inode_full(x->fs, ino, &ret->base, sizeof(*ret));
	if (code)
		return ext_to_errno(code);
	if (ino == EXT2_ROOT_INO && !LINUX_S_ISDIR(ret->base.i_mode))
		return -EUCLEAN;
	return ret->base.i_links_count && ret->base.i_mode & S_IFMT ? 0 : -EUCLEAN;
}

uint64_t ext_where(const struct ext *x, uint32_t ino, uint32_t *ret_size)
{
	const struct ext2_super_block *sb = x->fs->super;
	dgrp_t group = (ino - 1) / sb->s_inodes_per_group;
	uint64_t table = group < x->fs->group_desc_count ? ext2fs_inode_table_loc(x->fs, group) : 0;

	*ret_size = EXT2_INODE_SIZE(x->fs->super);
	return x->start + table * x->fs->blocksize +
	       (uint64_t)((ino - 1) % sb->s_inodes_per_group) * *ret_size;
}

/* Seconds and nanoseconds: two more bits of the one, 30 of the other, if there is room */
static int64_t get_time(const union ext_inode *in, uint32_t low, uint32_t extra, size_t end,
			uint32_t *ret_ns)
{
	int64_t seconds = (int32_t)low;

	*ret_ns = 0;
	if (end > EXT2_GOOD_OLD_INODE_SIZE + (size_t)in->large.i_extra_isize)
		return seconds;
	*ret_ns = MIN(extra >> 2, 999999999U);
	return seconds + ((int64_t)(extra & 3) << 32);
}

#define EXTRA_END(field) (offsetof(struct ext2_inode_large, field) + sizeof(uint32_t))

static void put_times(const union ext_inode *in, struct inspect_attr *ret)
{
	const struct ext2_inode_large *l = &in->large;

	ret->atime = get_time(in, l->i_atime, l->i_atime_extra, EXTRA_END(i_atime_extra),
			      &ret->atime_ns);
	ret->mtime = get_time(in, l->i_mtime, l->i_mtime_extra, EXTRA_END(i_mtime_extra),
			      &ret->mtime_ns);
	ret->ctime = get_time(in, l->i_ctime, l->i_ctime_extra, EXTRA_END(i_ctime_extra),
			      &ret->ctime_ns);
}

/* Devices are in i_block: the old, small numbers, or the new ones behind a zero */
uint32_t ext_device(const struct ext2_inode *in)
{
	uint32_t old = in->i_block[0], new = in->i_block[1];

	if (!LINUX_S_ISCHR(in->i_mode) && !LINUX_S_ISBLK(in->i_mode))
		return 0;
	if (old)
		return (uint32_t)makedev(old >> 8 & 0xff, old & 0xff);
	return (uint32_t)makedev((new & 0xfff00) >> 8, (new & 0xff) | (new >> 12 & 0xfff00));
}

static uint64_t size_of(const struct ext *x, const struct ext2_inode *in)
{
	if (LINUX_S_ISREG(in->i_mode) ||
	    (LINUX_S_ISDIR(in->i_mode) && ext2fs_has_feature_largedir(x->fs->super)))
		return EXT2_I_SIZE(in);
	return in->i_size;
}

int ext_attr(struct ext *x, uint32_t ino, uint32_t depth, struct inspect_attr *ret)
{
	char target[INSPECT_TARGET];
	union ext_inode in;
	int r = ext_inode(x, ino, &in);

	if (r < 0)
		return r;
	*ret = (struct inspect_attr){
		.ino = ino,
		.mode = in.base.i_mode,
		.nlink = in.base.i_links_count,
		.uid = inode_uid(in.base),
		.gid = inode_gid(in.base),
		.size = size_of(x, &in.base),
		.blocks = ext2fs_get_stat_i_blocks(x->fs, &in.base),
		.rdev = ext_device(&in.base),
		.blksize = x->fs->blocksize,
	};
	/* As the kernel says it of a file that is in the inode itself */
	if (LINUX_S_ISREG(in.base.i_mode) && in.base.i_flags & EXT4_INLINE_DATA_FL)
		ret->blocks += (ret->size + 511) / 512;
	put_times(&in, ret);
	ext_whole(x, ino, &in.base, &ret->run);
	/* What is shown of a link may be longer or shorter than what is there */
	if (LINUX_S_ISLNK(in.base.i_mode) && !ext_link(x, ino, depth, target))
		ret->size = strlen(target);
	return ret->size >> 63 ? -EUCLEAN : 0;
}

void ext_statfs(const struct ext *x, struct inspect_statfs *ret)
{
	const struct ext2_super_block *sb = x->fs->super;
	uint64_t free = ext2fs_free_blocks_count(x->fs->super);
	uint64_t reserved = ext2fs_r_blocks_count(x->fs->super);

	*ret = (struct inspect_statfs){
		.blocks = ext2fs_blocks_count(x->fs->super),
		.free = free,
		.avail = free > reserved ? free - reserved : 0,
		.files = sb->s_inodes_count,
		.ffree = sb->s_free_inodes_count,
		.bsize = x->fs->blocksize,
	};
}
