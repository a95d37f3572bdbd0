/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ext_extent.h - where the blocks of an inode of an ext filesystem are */
#ifndef FS_INSPECT_EXT_EXTENT_H
#define FS_INSPECT_EXT_EXTENT_H

#include "fs/inspect/ext.h"

/** struct extent - @len bytes at @at of the file are at @from of the filesystem */
struct extent {
	uint64_t at, from, len;
};

/** struct extents - of a file, ascending; holes are left out; @v is malloced */
struct extents {
	struct extent *v;
	size_t n, room;
};

/**
 * ext_extents() - Read the extents or the blocks of an inode
 * @ret:	zeroed; its @v is to be freed, also on failure
 *
 * Return: 0, -EUCLEAN, -EIO, -ENOMEM
 */
int ext_extents(const struct ext *x, uint32_t ino, struct ext2_inode *in, struct extents *ret);

/** ext_extent_from() - The first one that ends behind @at; NULL if there is none */
const struct extent *ext_extent_from(const struct extents *all, uint64_t at);

#endif
