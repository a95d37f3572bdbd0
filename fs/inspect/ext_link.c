// SPDX-License-Identifier: GPL-2.0-or-later
/* ext_link.c - symbolic links of an ext filesystem */
#define _GNU_SOURCE
#include "fs/inspect/ext.h"

#include "fs/inspect/link.h"
#include "lib/util.h"

#include <string.h>

/* A target that is too long for the inode has one block */
static errcode_t read_block(struct ext *x, uint32_t ino, struct ext2_inode *in, char *to,
			    size_t size)
{
	autofree char *buf = malloc(x->fs->blocksize);
	errcode_t code;
	blk64_t block;

	if (!buf)
		return EXT2_ET_NO_MEMORY;
	code = ext2fs_bmap2(x->fs, ino, in, NULL, 0, 0, NULL, &block);
	if (!code)
		code = io_channel_read_blk64(x->fs->io, block, 1, buf);
	if (!code)
		memcpy(to, buf, size);
	return code;
}

int ext_target(struct ext *x, uint32_t ino, char ret[INSPECT_TARGET])
{
	union ext_inode in;
	int r = ext_inode(x, ino, &in);
	size_t size = in.base.i_size, have = 0;
	errcode_t code = 0;

	if (r < 0)
		return r;
	if (!LINUX_S_ISLNK(in.base.i_mode))
		return -EINVAL;
	if (in.base.i_flags & EXT4_ENCRYPT_FL)
		return -EOPNOTSUPP;
	if (!size || size >= INSPECT_TARGET || size > x->fs->blocksize)
		return -EUCLEAN;
	memset(ret, 0, INSPECT_TARGET);
	if (in.base.i_flags & EXT4_INLINE_DATA_FL) {
		code = ext2fs_inline_data_size(x->fs, ino, &have);
		if (!code && have < INSPECT_TARGET)
			code = ext2fs_inline_data_get(x->fs, ino, &in.base, ret, &have);
	} else if (ext2fs_is_fast_symlink(&in.base)) {
		memcpy(ret, in.base.i_block, MIN(size, sizeof(in.base.i_block)));
	} else {
		code = read_block(x, ino, &in.base, ret, size);
	}
	ret[size] = '\0';
	if (code)
		return ext_to_errno(code);
	return strlen(ret) == size ? 0 : -EUCLEAN;
}

int ext_link(struct ext *x, uint32_t ino, uint32_t depth, char ret[INSPECT_TARGET])
{
	char target[INSPECT_TARGET];
	int r = ext_target(x, ino, target);

	return r < 0 ? r : link_show(target, depth, ret);
}
