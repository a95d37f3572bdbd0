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

#include "lib/util.h"

#include <assert.h>
#include <string.h>

/** struct extent - @len bytes at @at of the file are at @from of the filesystem */
struct extent {
	uint64_t at, from, len;
};

/**
 * struct ext_file - where the contents of a file are
 * @inside:	they are in the inode
 */
struct ext_file {
	uint32_t ino;
	bool inside;
	uint64_t size;
	struct extent *v;
	size_t n, room;
};

static struct ext_file *file_free(struct ext_file *f)
{
	if (f)
		free(f->v);
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

static int add_extent(const struct ext *x, struct ext_file *f, uint64_t block, uint64_t from,
		      uint64_t n)
{
	uint64_t bs = x->fs->blocksize;
	struct extent e = { .at = block * bs, .from = from * bs, .len = n * bs };
	struct extent *last = f->n ? &f->v[f->n - 1] : NULL;

	/* Upwards only: what goes in a circle ends here */
	if (!n || from < x->fs->super->s_first_data_block ||
	    from + n > ext2fs_blocks_count(x->fs->super) || (last && e.at < last->at + last->len))
		return -EUCLEAN;
	if (last && last->at + last->len == e.at && last->from + last->len == e.from) {
		last->len += e.len;
		return 0;
	}
	if (f->n == EXT_MAX_EXTENTS)
		return -EUCLEAN;
	if (f->n == f->room) {
		size_t room = f->room ? 2 * f->room : 8;
		struct extent *more = reallocarray(f->v, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		f->v = more;
		f->room = room;
	}
	f->v[f->n++] = e;
	return 0;
}

static void free_handle(ext2_extent_handle_t *handle)
{
	if (*handle)
		ext2fs_extent_free(*handle);
}

static int read_extents(const struct ext *x, struct ext_file *f, struct ext2_inode *in)
{
	__attribute__((cleanup(free_handle))) ext2_extent_handle_t handle = NULL;
	errcode_t code = ext2fs_extent_open2(x->fs, f->ino, in, &handle);
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
			r = add_extent(x, f, e.e_lblk, e.e_pblk, e.e_len);
		if (r < 0)
			return r;
	}
	return code ? ext_to_errno(code) : -EUCLEAN;
}

/* What block_iterate() tells */
struct blocks {
	const struct ext *x;
	struct ext_file *f;
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
	b->code = add_extent(b->x, b->f, (uint64_t)at, *block, 1);
	return b->code < 0 ? BLOCK_ABORT : 0;
}

static int read_blocks(const struct ext *x, struct ext_file *f)
{
	struct blocks b = { .x = x, .f = f };
	errcode_t code = ext2fs_block_iterate3(
		x->fs, f->ino, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, NULL, take_block, &b);

	return b.code < 0 ? b.code : ext_to_errno(code);
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
	if (in.base.i_flags & EXT4_INLINE_DATA_FL)
		f->inside = true;
	else if (in.base.i_flags & EXT4_EXTENTS_FL)
		r = read_extents(x, f, &in.base);
	else
		r = read_blocks(x, f);
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

/* The first extent that ends behind @at; f->n if there is none */
static size_t extent_from(const struct ext_file *f, uint64_t at)
{
	size_t low = 0, high = f->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (f->v[mid].at + f->v[mid].len <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void find_piece(const struct ext *x, const struct ext_file *f, uint64_t at, uint64_t len,
		       struct ext_piece *ret)
{
	size_t i = extent_from(f, at);
	const struct extent *e = i < f->n ? &f->v[i] : NULL;

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

/* What is at @at, of one kind */
static int map_one(struct ext *x, const struct ext_file *f, uint64_t at, uint64_t len,
		   struct inspect_run *ret)
{
	struct ext_piece p;

	find_piece(x, f, at, len, &p);
	if (p.kind == EXT_ON_DISK)
		return disk_map(x->disk, p.at, p.length, ret);
	*ret = (struct inspect_run){ .length = p.length,
				     .kind = p.kind == EXT_HOLE ? INSPECT_ZERO_RUN
								: INSPECT_COPY_RUN };
	return 0;
}

static bool follows(const struct inspect_run *a, const struct inspect_run *b)
{
	if (a->kind != b->kind)
		return false;
	return a->kind != INSPECT_DATA_RUN || (a->file == b->file && a->at + a->length == b->at);
}

ssize_t ext_map(struct ext *x, uint32_t ino, uint64_t at, uint64_t len, struct inspect_run *runs,
		size_t room)
{
	struct ext_file *f;
	size_t n = 0;
	int r = find_file(x, ino, &f);

	if (r < 0)
		return r;
	len = at < f->size ? MIN(len, f->size - at) : 0;
	while (len) {
		struct inspect_run run;

		r = map_one(x, f, at, len, &run);
		if (r < 0)
			return n ? (ssize_t)n : r;
		at += run.length;
		len -= run.length;
		if (n && follows(&runs[n - 1], &run))
			runs[n - 1].length += run.length;
		else if (n == room)
			break;
		else
			runs[n++] = run;
	}
	return (ssize_t)n;
}

static ssize_t read_inside(struct ext *x, const struct ext_file *f, char *buf, size_t len,
			   uint64_t at)
{
	autofree char *all = NULL;
	size_t have = 0;
	errcode_t code = ext2fs_inline_data_size(x->fs, f->ino, &have);

	/* It has at most the size of an inode and one block of attributes */
	if (code || have > 65536)
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
			r = disk_read(x->disk, to, p.length, p.at);
		if (r < 0)
			return r;
		done += p.length;
	}
	return (ssize_t)len;
}
