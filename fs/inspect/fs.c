// SPDX-License-Identifier: GPL-2.0-or-later
/* fs.c - which kinds of filesystem there are */
#define _GNU_SOURCE
#include "fs/inspect/fs.h"

#include "lib/util.h"

#include <string.h>

static const struct {
	const char *type;
	const struct fs_kind *kind;
} kinds[] = {
	{ "ext2", &fs_ext },	{ "ext3", &fs_ext },	{ "ext4", &fs_ext },
	{ "ext4dev", &fs_ext }, { "iso9660", &fs_iso }, { "squashfs", &fs_squash },
};

const struct fs_kind *fs_find(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(type, kinds[i].type))
			return kinds[i].kind;
	return NULL;
}

void fs_prepare(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].kind->prepare)
			kinds[i].kind->prepare();
}
