// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ext_dir.c - names in directories of an ext filesystem
 *
 * A directory is read as a whole when it is first asked for, and kept: libext2fs looks a
 * name up by reading all of them, too. Entries are sorted by inode number, so that what
 * reads the inodes goes through their tables once.
 */
#define _GNU_SOURCE
#include "fs/inspect/ext.h"

#include "lib/util.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

/** struct name - of a directory; @next: index + 1 of another one with the same hash */
struct name {
	uint32_t ino, at, next;
	uint8_t len, type;
};

/**
 * struct ext_dir - the names in a directory, without "." and ".."
 * @text:	of all names; struct name says which part of it
 * @heads:	index + 1 of a first name, by hash; made when a name is looked up
 * @code:	why reading it failed
 */
struct ext_dir {
	uint32_t ino;
	struct name *names;
	size_t n, room;
	char *text;
	size_t text_len, text_room;
	uint32_t *heads;
	size_t nheads;
	int code;
};

static struct ext_dir *dir_free(struct ext_dir *d)
{
	if (d) {
		free(d->names);
		free(d->text);
		free(d->heads);
	}
	free(d);
	return NULL;
}

static void cleanup_ext_dir(struct ext_dir **d)
{
	dir_free(*d);
}

#define autoextdir __attribute__((cleanup(cleanup_ext_dir)))

void ext_drop_dirs(struct ext *x)
{
	for (size_t i = 0; i < EXT_MAX_DIRS; i++)
		x->dirs[i] = dir_free(x->dirs[i]);
}

static int make_room(struct ext_dir *d, size_t len)
{
	if (d->n == d->room) {
		size_t room = d->room ? 2 * d->room : 64;
		struct name *more = reallocarray(d->names, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		d->names = more;
		d->room = room;
	}
	if (d->text_len + len > d->text_room) {
		size_t room = MAX(2 * d->text_room, (size_t)1024);
		char *more = realloc(d->text, room);

		if (!more)
			return -ENOMEM;
		d->text = more;
		d->text_room = room;
	}
	return 0;
}

static int add_name(struct ext_dir *d, uint32_t ino, const char *name, size_t len, uint8_t type)
{
	int r;

	/* The kernel takes no such name, from nobody */
	if (!len || memchr(name, '/', len) || memchr(name, '\0', len) || d->n == EXT_MAX_NAMES)
		return -EUCLEAN;
	r = make_room(d, len);
	if (r < 0)
		return r;
	d->names[d->n++] = (struct name){
		.ino = ino, .at = (uint32_t)d->text_len, .len = (uint8_t)len, .type = type
	};
	memcpy(d->text + d->text_len, name, len);
	d->text_len += len;
	return 0;
}

static int take_entry(ext2_ino_t dir, int entry, struct ext2_dir_entry *de, int offset,
		      int blocksize, char *buf, void *arg)
{
	size_t len = (size_t)ext2fs_dirent_name_len(de);
	struct ext_dir *d = arg;

	(void)dir;
	(void)entry;
	(void)offset;
	(void)blocksize;
	(void)buf;
	if (!de->inode || (len == 1 && de->name[0] == '.'))
		return 0;
	if (len == 2 && de->name[0] == '.' && de->name[1] == '.')
		return 0;
	d->code = add_name(d, de->inode, de->name, len, (uint8_t)ext2fs_dirent_file_type(de));
	return d->code < 0 ? DIRENT_ABORT : 0;
}

static int by_ino(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static int check_dir(const struct ext *x, uint32_t ino)
{
	union ext_inode in;
	int r = ext_inode(x, ino, &in);

	if (r < 0)
		return r;
	if (!LINUX_S_ISDIR(in.base.i_mode))
		return -ENOTDIR;
	/* One that says it is larger than its filesystem is not read block by block */
	return EXT2_I_SIZE(&in.base) > x->size ? -EUCLEAN : 0;
}

static int read_dir(const struct ext *x, uint32_t ino, struct ext_dir **ret)
{
	autoextdir struct ext_dir *d = NULL;
	errcode_t code;
	int r = check_dir(x, ino);

	if (r < 0)
		return r;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->ino = ino;
	code = ext2fs_dir_iterate2(x->fs, ino, 0, NULL, take_entry, d);
	if (code || d->code < 0)
		return d->code < 0 ? d->code : ext_to_errno(code);
	if (d->n)
		qsort(d->names, d->n, sizeof(*d->names), by_ino);
	*ret = steal_ptr(d);
	return 0;
}

/* The directory, read or kept; it becomes the newest */
static int find_dir(struct ext *x, uint32_t ino, struct ext_dir **ret)
{
	struct ext_dir *d = NULL;
	size_t i;
	int r;

	for (i = 0; i < EXT_MAX_DIRS - 1 && x->dirs[i]; i++)
		if (x->dirs[i]->ino == ino)
			break;
	if (x->dirs[i] && x->dirs[i]->ino == ino) {
		d = x->dirs[i];
	} else {
		r = read_dir(x, ino, &d);
		if (r < 0)
			return r;
		dir_free(x->dirs[i]);
	}
	assert(d);
	for (; i; i--)
		x->dirs[i] = x->dirs[i - 1];
	x->dirs[0] = *ret = d;
	return 0;
}

static uint32_t hash_of(const char *name, size_t len)
{
	uint32_t h = 2166136261U; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * 16777619U;
	return h;
}

static int make_hash(struct ext_dir *d)
{
	size_t n = 16;

	while (n < d->n)
		n *= 2;
	d->heads = calloc(n, sizeof(*d->heads));
	if (!d->heads)
		return -ENOMEM;
	d->nheads = n;
	for (size_t i = 0; i < d->n; i++) {
		struct name *name = &d->names[i];
		uint32_t *head = &d->heads[hash_of(d->text + name->at, name->len) & (n - 1)];

		name->next = *head;
		*head = (uint32_t)i + 1;
	}
	return 0;
}

static const struct name *find_name(const struct ext_dir *d, const char *name, size_t len)
{
	uint32_t i = d->heads[hash_of(name, len) & (d->nheads - 1)];

	for (; i; i = d->names[i - 1].next) {
		const struct name *n = &d->names[i - 1];

		if (n->len == len && !memcmp(d->text + n->at, name, len))
			return n;
	}
	return NULL;
}

/* What ".." of a directory says: the second entry of its first block, or of the inode */
static int parent_of(const struct ext *x, uint32_t ino, union ext_inode *in, uint32_t *ret)
{
	autofree char *buf = NULL;
	const struct ext2_dir_entry *de;
	unsigned int len = 0;
	errcode_t code;
	blk64_t block;

	if (in->base.i_flags & EXT4_INLINE_DATA_FL) {
		*ret = in->base.i_block[0];
		return 0;
	}
	buf = malloc(x->fs->blocksize);
	if (!buf)
		return -ENOMEM;
	code = ext2fs_bmap2(x->fs, ino, &in->base, NULL, 0, 0, NULL, &block);
	/* who reads the directory passes over a hole, to names that may lead back to it */
	if (!code && !block)
		return 0;
	if (!code)
		code = ext2fs_read_dir_block4(x->fs, block, buf, 0, ino);
	if (!code)
		code = ext2fs_get_rec_len(x->fs, (struct ext2_dir_entry *)buf, &len);
	if (code)
		return ext_to_errno(code);
	if (len < 12 || len % 4 || len > x->fs->blocksize - 12)
		return -EUCLEAN;
	de = (const struct ext2_dir_entry *)(buf + len);
	*ret = de->inode;
	return de->name[0] == '.' && de->name[1] == '.' ? 0 : -EUCLEAN;
}

int ext_check_parent(const struct ext *x, uint32_t ino, uint32_t dir)
{
	union ext_inode in;
	uint32_t parent = 0;
	int r = ext_inode(x, ino, &in);

	if (r < 0 || !LINUX_S_ISDIR(in.base.i_mode))
		return r;
	/* That it cannot be read is said to who reads it */
	r = parent_of(x, ino, &in, &parent);
	return r < 0 || parent == dir ? 0 : -EUCLEAN;
}

int ext_lookup(struct ext *x, uint32_t dir, const char *name, size_t len, uint32_t *ret)
{
	const struct name *found;
	struct ext_dir *d;
	int r = find_dir(x, dir, &d);

	if (!r && !d->heads)
		r = make_hash(d);
	if (r < 0)
		return r;
	found = find_name(d, name, len);
	if (!found)
		return -ENOENT;
	*ret = found->ino;
	return ext_check_parent(x, *ret, dir);
}

static int by_text(const void *a, const void *b)
{
	const struct ext_name *x = a, *y = b;

	return ext_name_order(x, y);
}

int ext_name_order(const struct ext_name *a, const struct ext_name *b)
{
	int r = memcmp(a->text, b->text, MIN(a->len, b->len));

	return r ? r : (a->len > b->len) - (a->len < b->len);
}

int ext_names(const struct ext *x, uint32_t dir, struct ext_names *ret)
{
	autoextdir struct ext_dir *d = NULL;
	struct ext_names names = { 0 };
	int r = read_dir(x, dir, &d);

	if (r < 0)
		return r;
	assert(d);
	names.v = calloc(d->n + 1, sizeof(*names.v));
	if (!names.v)
		return -ENOMEM;
	for (size_t i = 0; i < d->n; i++)
		names.v[i] = (struct ext_name){ .text = d->text + d->names[i].at,
						.len = d->names[i].len,
						.ino = d->names[i].ino };
	names.n = d->n;
	names.text = steal_ptr(d->text);
	qsort(names.v, names.n, sizeof(*names.v), by_text);
	*ret = names;
	return 0;
}

void ext_names_done(struct ext_names *names)
{
	free(names->v);
	free(names->text);
	*names = (struct ext_names){ 0 };
}

static uint32_t mode_of_type(uint8_t type)
{
	static const uint32_t modes[] = {
		[EXT2_FT_REG_FILE] = LINUX_S_IFREG, [EXT2_FT_DIR] = LINUX_S_IFDIR,
		[EXT2_FT_CHRDEV] = LINUX_S_IFCHR,   [EXT2_FT_BLKDEV] = LINUX_S_IFBLK,
		[EXT2_FT_FIFO] = LINUX_S_IFIFO,	    [EXT2_FT_SOCK] = LINUX_S_IFSOCK,
		[EXT2_FT_SYMLINK] = LINUX_S_IFLNK,
	};

	return type < ARRAY_SIZE(modes) ? modes[type] : 0;
}

static uint32_t put_entry(struct ext *x, const struct name *name, const char *text, uint32_t dir,
			  uint32_t depth, struct inspect_entry *e)
{
	e->name_len = name->len;
	e->size = (uint32_t)(sizeof(*e) + name->len + 7) / 8 * 8;
	e->type = mode_of_type(name->type);
	memcpy(e->name, text, name->len);
	memset(e->name + name->len, 0, e->size - sizeof(*e) - name->len);
	e->error = ext_attr(x, name->ino, depth, &e->attr);
	if (!e->error && LINUX_S_ISDIR(e->attr.mode))
		e->error = ext_check_parent(x, name->ino, dir);
	if (e->error)
		e->attr = (struct inspect_attr){ .ino = name->ino };
	else
		e->type = e->attr.mode & S_IFMT;
	return e->size;
}

ssize_t ext_list(struct ext *x, uint32_t dir, uint32_t depth, uint64_t from, void *buf, size_t room)
{
	size_t at = 0;
	int r = 0;

	/* Resolving a link may drop this directory: it is found anew for each name */
	for (uint64_t i = from;; i++) {
		struct inspect_entry *e = (struct inspect_entry *)((char *)buf + at);
		char text[INSPECT_NAME + 1];
		struct ext_dir *d;
		struct name name;

		r = find_dir(x, dir, &d);
		if (r < 0 || i >= d->n || sizeof(*e) + d->names[i].len + 8U > room - at)
			break;
		name = d->names[i];
		memcpy(text, d->text + name.at, name.len);
		at += put_entry(x, &name, text, dir, depth, e);
		e->next = i + 1 < d->n ? i + 1 : UINT64_MAX;
	}
	return r < 0 ? r : (ssize_t)at;
}
