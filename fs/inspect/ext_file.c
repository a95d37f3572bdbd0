// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ext_file.c - contents of files of an ext filesystem
 *
 * The extents of a file are read when it is first asked for, and kept. With them labfs
 * is told where the bytes are in the files of the disk's chain, and reads them by itself;
 * only what is packed or in the inode goes through here.
 */
#define _GNU_SOURCE
#include "fs/inspect/ext.h"
#include "fs/inspect/ext_extent.h"
#include "fs/inspect/ext_replay.h"

#include "lib/util.h"

#include <assert.h>
#include <ext2fs/ext3_extents.h>
#include <string.h>

#define INSIDE_MAX 65536U /* at most an inode and one block of attributes */

/**
 * struct ext_file - where the contents of a file are
 * @inside:	they are in the inode
 */
struct ext_file {
	uint32_t ino;
	bool inside;
	uint64_t size;
	struct extents all;
};

static struct ext_file *file_free(struct ext_file *f)
{
	if (f)
		free(f->all.v);
	free(f);
	return NULL;
}

static void cleanup_ext_file(struct ext_file **f)
{
	file_free(*f);
}

#define autoextfile __attribute__((cleanup(cleanup_ext_file)))

void ext_drop_files(struct ext *x)
{
	for (size_t i = 0; i < EXT_MAX_FILES; i++)
		x->files[i] = file_free(x->files[i]);
}

/* Its inode, if it is a file that can be read */
static int check_file(const struct ext *x, uint32_t ino, union ext_inode *ret)
{
	int r = ext_inode(x, ino, ret);

	if (r < 0)
		return r;
	if (!LINUX_S_ISREG(ret->base.i_mode))
		return -EINVAL;
	return ret->base.i_flags & EXT4_ENCRYPT_FL ? -EOPNOTSUPP : 0;
}

static int read_file(const struct ext *x, uint32_t ino, struct ext_file **ret)
{
	autoextfile struct ext_file *f = NULL;
	union ext_inode in;
	int r = check_file(x, ino, &in);

	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->ino = ino;
	f->size = EXT2_I_SIZE(&in.base);
	f->inside = in.base.i_flags & EXT4_INLINE_DATA_FL;
	if (!f->inside)
		r = ext_extents(x, ino, &in.base, &f->all);
	else if (f->size > INSIDE_MAX)
		r = -EUCLEAN;
	if (!r)
		*ret = steal_ptr(f);
	return r;
}

/* The file, read or kept; it becomes the newest */
static int find_file(struct ext *x, uint32_t ino, struct ext_file **ret)
{
	struct ext_file *f = NULL;
	size_t i;
	int r;

	for (i = 0; i < EXT_MAX_FILES - 1 && x->files[i]; i++)
		if (x->files[i]->ino == ino)
			break;
	if (x->files[i] && x->files[i]->ino == ino) {
		f = x->files[i];
	} else {
		r = read_file(x, ino, &f);
		if (r < 0)
			return r;
		file_free(x->files[i]);
	}
	assert(f);
	for (; i; i--)
		x->files[i] = x->files[i - 1];
	x->files[0] = *ret = f;
	return 0;
}

static void find_piece(const struct ext *x, const struct ext_file *f, uint64_t at, uint64_t len,
		       struct ext_piece *ret)
{
	const struct extent *e = ext_extent_from(&f->all, at);

	*ret = (struct ext_piece){ .length = len, .kind = EXT_HOLE };
	if (f->inside) {
		ret->kind = EXT_INSIDE;
	} else if (e && e->at > at) {
		ret->length = MIN(len, e->at - at);
	} else if (e) {
		ret->kind = EXT_ON_DISK;
		ret->length = MIN(len, e->at + e->len - at);
		ret->at = x->start + e->from + (at - e->at);
	}
}

int ext_piece(struct ext *x, uint32_t ino, uint64_t at, uint64_t len, struct ext_piece *ret)
{
	struct ext_file *f;
	int r = find_file(x, ino, &f);

	if (!r)
		find_piece(x, f, at, len, ret);
	return r;
}

struct mapping {
	const struct ext *x;
	struct ext_file *f;
};

static int map_next(void *arg, uint64_t at, uint64_t len, struct inspect_run *ret)
{
	const struct mapping *m = arg;
	struct ext_piece p;

	find_piece(m->x, m->f, at, len, &p);
	if (p.kind == EXT_ON_DISK)
		return ext_replay_map(m->x, p.at - m->x->start, p.length, ret);
	*ret = (struct inspect_run){ .length = p.length,
				     .kind = p.kind == EXT_HOLE ? INSPECT_ZERO_RUN
								: INSPECT_COPY_RUN };
	return 0;
}

ssize_t ext_map(struct ext *x, uint32_t ino, uint64_t at, uint64_t len, struct inspect_run *runs,
		size_t room)
{
	struct mapping m = { .x = x };
	int r = find_file(x, ino, &m.f);

	if (r < 0)
		return r;
	len = at < m.f->size ? MIN(len, m.f->size - at) : 0;
	return runs_collect(&(struct runs){ map_next, &m }, at, len, runs, room);
}

/* Told without another block being read */
static bool is_flat(const struct ext2_inode *in)
{
	const struct ext3_extent_header *h = (const void *)in->i_block;

	return LINUX_S_ISREG(in->i_mode) && in->i_flags & EXT4_EXTENTS_FL &&
	       !(in->i_flags & (EXT4_INLINE_DATA_FL | EXT4_ENCRYPT_FL)) && !h->eh_depth;
}

void ext_whole(const struct ext *x, uint32_t ino, struct ext2_inode *in, struct inspect_run *ret)
{
	struct ext_file f = { .ino = ino, .size = EXT2_I_SIZE(in) };
	struct mapping m = { x, &f };
	struct inspect_run runs[2];

	if (is_flat(in) && !ext_extents(x, ino, in, &f.all) &&
	    runs_collect(&(struct runs){ map_next, &m }, 0, f.size, runs, ARRAY_SIZE(runs)) == 1 &&
	    runs[0].length == f.size)
		*ret = runs[0];
	free(f.all.v);
}

static ssize_t read_inside(struct ext *x, const struct ext_file *f, char *buf, size_t len,
			   uint64_t at)
{
	autofree char *all = NULL;
	size_t have = 0;
	errcode_t code = ext2fs_inline_data_size(x->fs, f->ino, &have);

	if (code || have > INSIDE_MAX)
		return code ? ext_to_errno(code) : -EUCLEAN;
	all = calloc(1, have + 1);
	if (!all)
		return -ENOMEM;
	code = ext2fs_inline_data_get(x->fs, f->ino, NULL, all, &have);
	if (code)
		return ext_to_errno(code);
	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(at + i < have ? all[at + i] : '\0');
	return (ssize_t)len;
}

ssize_t ext_read(struct ext *x, uint32_t ino, void *buf, size_t len, uint64_t at)
{
	struct ext_file *f;
	int r = find_file(x, ino, &f);
	size_t done = 0;

	if (r < 0)
		return r;
	len = at < f->size ? (size_t)MIN((uint64_t)len, f->size - at) : 0;
	if (f->inside)
		return read_inside(x, f, buf, len, at);
	while (done < len) {
		char *to = (char *)buf + done;
		struct ext_piece p;

		find_piece(x, f, at + done, len - done, &p);
		if (p.kind == EXT_HOLE)
			memset(to, 0, p.length);
		else
			r = ext_replay_read(x, to, p.length, p.at - x->start);
		if (r < 0)
			return r;
		done += p.length;
	}
	return (ssize_t)len;
}
