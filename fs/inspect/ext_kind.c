// SPDX-License-Identifier: GPL-2.0-or-later
/* ext_kind.c - ext2, ext3 and ext4 as a kind of filesystem */
#define _GNU_SOURCE
#include "fs/inspect/ext.h"
#include "fs/inspect/fs.h"

static int kind_open(struct disk *disk, uint64_t start, uint64_t size, void **ret,
		     struct lab_err *err)
{
	struct ext *x;
	int r = ext_open(disk, start, size, &x, err);

	if (!r)
		*ret = x;
	return r;
}

static void kind_close(void *fs)
{
	ext_free(fs);
}

static const char *kind_state(const void *fs)
{
	static const char *const words[] = {
		[EXT_CLEAN] = "clean",	  [EXT_REPLAYED] = "replayed", [EXT_DIRTY] = "dirty",
		[EXT_BROKEN] = "damaged", [EXT_UNCLEAN] = "unclean",   [EXT_ERRORS] = "errors",
	};

	return words[ext_journal(fs)];
}

static int kind_attr(void *fs, uint32_t ino, uint32_t depth, struct inspect_attr *ret)
{
	return ext_attr(fs, ino, depth, ret);
}

static int kind_lookup(void *fs, uint32_t dir, const char *name, size_t len, uint32_t *ret)
{
	return ext_lookup(fs, dir, name, len, ret);
}

static ssize_t kind_list(void *fs, uint32_t dir, uint32_t depth, uint64_t from, void *buf,
			 size_t room)
{
	return ext_list(fs, dir, depth, from, buf, room);
}

static int kind_link(void *fs, uint32_t ino, uint32_t depth, char ret[INSPECT_TARGET])
{
	return ext_link(fs, ino, depth, ret);
}

static ssize_t kind_map(void *fs, uint32_t ino, uint64_t at, uint64_t len, struct inspect_run *runs,
			size_t room)
{
	return ext_map(fs, ino, at, len, runs, room);
}

static ssize_t kind_read(void *fs, uint32_t ino, void *buf, size_t len, uint64_t at)
{
	return ext_read(fs, ino, buf, len, at);
}

static void kind_statfs(void *fs, struct inspect_statfs *ret)
{
	ext_statfs(fs, ret);
}

const struct fs_kind fs_ext = {
	.open = kind_open,
	.close = kind_close,
	.state = kind_state,
	.attr = kind_attr,
	.lookup = kind_lookup,
	.list = kind_list,
	.link = kind_link,
	.map = kind_map,
	.read = kind_read,
	.statfs = kind_statfs,
};
