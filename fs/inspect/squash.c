// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * squash.c - a squashfs on a disk (libsquashfs of squashfs-tools-ng)
 *
 * DOC: Theory of Operation
 *
 * libsquashfs reads by a function of ours, and checks what it reads. All inodes and names are
 * read when it is opened (flat.h): they are packed close together, and a number alone does
 * not lead to an inode in every squashfs. Contents are packed, so they go through here, a block
 * at a time, which the library keeps until the next one; holes are told to labfs as such.
 *
 * A directory's inode number may come once: what leads back to it is a loop.
 */
#define _GNU_SOURCE
#include "fs/inspect/flat.h"
#include "fs/inspect/fs.h"
#include "lib/util.h"

#include <sqfs/compressor.h>
#include <sqfs/data_reader.h>
#include <sqfs/dir.h>
#include <sqfs/dir_reader.h>
#include <sqfs/error.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/super.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/**
 * struct squash - a filesystem
 * @file:	what the library reads by
 * @code:	why that failed
 */
struct squash {
	struct flat names;
	sqfs_file_t file;
	struct disk *disk;
	uint64_t start, size;
	int code;
	sqfs_super_t super;
	sqfs_compressor_t *compressor;
	sqfs_id_table_t *ids;
	sqfs_dir_reader_t *dirs;
	sqfs_data_reader_t *data;
};

static struct squash *squash_of(const sqfs_file_t *file)
{
	return container_of(file, struct squash, file);
}

/* ---- the disk ------------------------------------------------------------------ */

static int file_read(sqfs_file_t *file, sqfs_u64 offset, void *buffer, size_t size)
{
	struct squash *x = squash_of(file);

	if (offset > x->size || size > x->size - offset)
		return SQFS_ERROR_OUT_OF_BOUNDS;
	x->code = disk_read(x->disk, buffer, size, x->start + offset);
	return x->code < 0 ? SQFS_ERROR_IO : 0;
}

static int file_write(sqfs_file_t *file, sqfs_u64 offset, const void *buffer, size_t size)
{
	(void)file;
	(void)offset;
	(void)buffer;
	(void)size;
	return SQFS_ERROR_UNSUPPORTED;
}

static sqfs_u64 file_size(const sqfs_file_t *file)
{
	return squash_of(file)->size;
}

static int file_truncate(sqfs_file_t *file, sqfs_u64 size)
{
	(void)file;
	(void)size;
	return SQFS_ERROR_UNSUPPORTED;
}

static void file_destroy(sqfs_object_t *object)
{
	(void)object;
}

static int to_errno(const struct squash *x, int r)
{
	if (r >= 0)
		return 0;
	switch (r) {
	case SQFS_ERROR_ALLOC:
		return -ENOMEM;
	case SQFS_ERROR_IO:
		return x->code < 0 ? x->code : -EUCLEAN;
	case SQFS_ERROR_UNSUPPORTED:
	case SFQS_ERROR_SUPER_VERSION:
		return -EOPNOTSUPP;
	default:
		return -EUCLEAN;
	}
}

/* ---- inodes ------------------------------------------------------------------------ */

/* A kind of inode comes twice: the second one, 7 more, has more fields */
static bool is_long(const sqfs_inode_generic_t *in)
{
	return in->base.type >= SQFS_INODE_EXT_DIR;
}

static uint32_t mode_of(const sqfs_inode_generic_t *in)
{
	static const uint32_t types[] = {
		[SQFS_INODE_DIR] = S_IFDIR,	[SQFS_INODE_FILE] = S_IFREG,
		[SQFS_INODE_SLINK] = S_IFLNK,	[SQFS_INODE_BDEV] = S_IFBLK,
		[SQFS_INODE_CDEV] = S_IFCHR,	[SQFS_INODE_FIFO] = S_IFIFO,
		[SQFS_INODE_SOCKET] = S_IFSOCK,
	};
	size_t type = in->base.type - (is_long(in) ? SQFS_INODE_EXT_DIR - SQFS_INODE_DIR : 0U);

	return type < ARRAY_SIZE(types) ? types[type] | (in->base.mode & 07777) : 0;
}

static uint32_t device(uint32_t n)
{
	return (uint32_t)makedev((n & 0xfff00) >> 8, (n & 0xff) | (n >> 12 & 0xfff00));
}

static void put_file(const sqfs_inode_generic_t *in, struct inspect_attr *ret)
{
	uint64_t stored;

	ret->size = is_long(in) ? in->data.file_ext.file_size : in->data.file.file_size;
	ret->nlink = is_long(in) ? in->data.file_ext.nlink : 1;
	stored = ret->size - (is_long(in) ? MIN(in->data.file_ext.sparse, ret->size) : 0);
	ret->blocks = stored / 512 + !!(stored % 512);
}

/* What is of one kind only. The numbers of links are in the same place for most of them */
static void put_kind(const sqfs_inode_generic_t *in, struct inspect_attr *ret)
{
	switch (ret->mode & S_IFMT) {
	case S_IFREG:
		put_file(in, ret);
		break;
	case S_IFDIR:
		ret->nlink = is_long(in) ? in->data.dir_ext.nlink : in->data.dir.nlink;
		ret->size = is_long(in) ? in->data.dir_ext.size : in->data.dir.size;
		break;
	case S_IFLNK:
		ret->nlink = in->data.slink.nlink;
		ret->size = in->data.slink.target_size;
		break;
	case S_IFBLK:
	case S_IFCHR:
		ret->nlink = in->data.dev.nlink;
		ret->rdev = device(in->data.dev.devno);
		break;
	default:
		ret->nlink = in->data.ipc.nlink;
	}
}

static int put_attr(const struct squash *x, const sqfs_inode_generic_t *in, struct flat_node *node)
{
	int64_t time = in->base.mod_time;
	int r;

	node->serial = in->base.inode_number;
	node->attr = (struct inspect_attr){ .mode = mode_of(in),
					    .atime = time,
					    .mtime = time,
					    .ctime = time,
					    .blksize = x->super.block_size };
	if (!node->attr.mode)
		return -EUCLEAN;
	put_kind(in, &node->attr);
	r = sqfs_id_table_index_to_id(x->ids, in->base.uid_idx, &node->attr.uid);
	if (!r)
		r = sqfs_id_table_index_to_id(x->ids, in->base.gid_idx, &node->attr.gid);
	return to_errno(x, r);
}

static int put_target(const sqfs_inode_generic_t *in, struct flat_node *node)
{
	size_t len = in->data.slink.target_size;

	if (!len || len >= INSPECT_TARGET)
		return -EUCLEAN;
	node->target = strndup((const char *)in->extra, len);
	if (!node->target)
		return -ENOMEM;
	return strlen(node->target) == len ? 0 : -EUCLEAN;
}

/* ---- names --------------------------------------------------------------------------- */

static int add_child(struct squash *x, uint32_t dir, const sqfs_dir_entry_t *entry,
		     sqfs_inode_generic_t *in)
{
	struct flat_node node = { .own = in };
	int r = put_attr(x, in, &node);

	if (!r && S_ISLNK(node.attr.mode))
		r = put_target(in, &node);
	if (!r)
		node.name = strndup((const char *)entry->name, (size_t)entry->size + 1);
	if (r < 0 || !node.name) {
		free(node.target);
		sqfs_free(in);
		return r < 0 ? r : -ENOMEM;
	}
	return flat_add(&x->names, dir, &node);
}

/* One more name: 0, 1 at the end */
static int read_child(struct squash *x, uint32_t dir)
{
	sqfs_dir_entry_t *entry = NULL;
	sqfs_inode_generic_t *in = NULL;
	int r = sqfs_dir_reader_read(x->dirs, &entry);

	if (r > 0)
		return 1;
	if (!r)
		r = sqfs_dir_reader_get_inode(x->dirs, &in);
	r = r ? to_errno(x, r) : add_child(x, dir, entry, in);
	sqfs_free(entry);
	return r;
}

static int read_dir(void *arg, uint32_t dir)
{
	struct squash *x = arg;
	const sqfs_inode_generic_t *in = x->names.v[dir].own;
	int r = flat_once(&x->names, in->base.inode_number);

	if (!r)
		r = to_errno(x, sqfs_dir_reader_open_dir(x->dirs, in, 0));
	while (!r)
		r = read_child(x, dir);
	return MIN(r, 0);
}

static int read_names(struct squash *x)
{
	sqfs_inode_generic_t *in = NULL;
	struct flat_node root = { 0 };
	int r = to_errno(x, sqfs_dir_reader_get_root_inode(x->dirs, &in));

	if (r < 0)
		return r;
	root.own = in;
	r = put_attr(x, in, &root);
	if (r < 0) {
		sqfs_free(in);
		return r;
	}
	return flat_walk(&x->names, &root, read_dir, x);
}

/* ---- opening ------------------------------------------------------------------------- */

static void squash_close(void *fs)
{
	struct squash *x = fs;

	if (!x)
		return;
	flat_done(&x->names);
	sqfs_destroy(x->data);
	sqfs_destroy(x->dirs);
	sqfs_destroy(x->ids);
	sqfs_destroy(x->compressor);
	free(x);
}

static int make_readers(struct squash *x)
{
	x->ids = sqfs_id_table_create(0);
	x->dirs = sqfs_dir_reader_create(&x->super, x->compressor, &x->file, 0);
	x->data = sqfs_data_reader_create(&x->file, x->super.block_size, x->compressor, 0);
	return x->ids && x->dirs && x->data ? 0 : SQFS_ERROR_ALLOC;
}

/* The library takes memory for as many fragments as the superblock says; each has a file */
static int check_fragments(const struct squash *x)
{
	uint64_t n = x->super.fragment_entry_count;

	/* A block of 8 KiB of the table has 512, and needs 8 bytes of a list, and itself */
	if (n / 512 > x->size / 16)
		return -EUCLEAN;
	return n > FLAT_MAX_NAMES ? -EFBIG : 0;
}

static int open_image(struct squash *x)
{
	sqfs_compressor_config_t config;
	int r = sqfs_super_read(&x->super, &x->file);

	if (!r)
		r = sqfs_compressor_config_init(&config, x->super.compression_id,
						x->super.block_size, SQFS_COMP_FLAG_UNCOMPRESS);
	/* LZO is not in the library */
	if (!r && sqfs_compressor_create(&config, &x->compressor))
		r = SQFS_ERROR_UNSUPPORTED;
	if (!r && x->super.flags & SQFS_FLAG_COMPRESSOR_OPTIONS)
		r = x->compressor->read_options(x->compressor, &x->file);
	if (!r)
		r = make_readers(x);
	if (!r)
		r = sqfs_id_table_read(x->ids, &x->file, &x->super, x->compressor);
	if (r)
		return to_errno(x, r);
	r = check_fragments(x);
	if (!r)
		r = to_errno(x, sqfs_data_reader_load_fragment_table(x->data, &x->super));
	return r;
}

static int squash_open(struct disk *disk, uint64_t start, uint64_t size, void **ret,
		       struct lab_err *err)
{
	struct squash *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return lab_fail_errno(err, -ENOMEM, "opening it");
	*x = (struct squash){
		.names = { .drop = sqfs_free }, .disk = disk, .start = start, .size = size
	};
	x->file = (sqfs_file_t){ .base = { .destroy = file_destroy },
				 .read_at = file_read,
				 .write_at = file_write,
				 .get_size = file_size,
				 .truncate = file_truncate };
	r = open_image(x);
	if (r == -EOPNOTSUPP)
		(void)lab_fail(err, r, "its version or compression cannot be read");
	else if (!r)
		r = read_names(x);
	if (r < 0) {
		squash_close(x);
		return r == -EOPNOTSUPP ? r : flat_refuse(err, r);
	}
	*ret = x;
	return 0;
}

/* ---- contents ---------------------------------------------------------------------- */

struct mapping {
	const struct squash *x;
	const struct flat_node *node;
};

/* A hole, or not */
static int map_next(void *arg, uint64_t at, uint64_t len, struct inspect_run *ret)
{
	const struct mapping *m = arg;
	const sqfs_inode_generic_t *in = m->node->own;
	uint64_t size = m->x->super.block_size, i = at / size;
	bool hole = i < sqfs_inode_get_file_block_count(in) && !in->extra[i];

	*ret = (struct inspect_run){ .length = MIN(len, size - at % size),
				     .kind = hole ? INSPECT_ZERO_RUN : INSPECT_COPY_RUN };
	return 0;
}

static ssize_t squash_map(void *fs, uint32_t ino, uint64_t at, uint64_t len,
			  struct inspect_run *runs, size_t room)
{
	struct squash *x = fs;
	struct mapping m = { .x = x };
	int r = flat_file(&x->names, ino, at, &len, &m.node);

	return r < 0 ? r : runs_collect(&(struct runs){ map_next, &m }, at, len, runs, room);
}

static ssize_t squash_read(void *fs, uint32_t ino, void *buf, size_t len, uint64_t at)
{
	struct squash *x = fs;
	const struct flat_node *node;
	uint64_t n = len;
	int r = flat_file(&x->names, ino, at, &n, &node);

	if (r < 0 || !n)
		return r;
	r = sqfs_data_reader_read(x->data, node->own, at, buf, (sqfs_u32)n);
	return r < 0 ? to_errno(x, r) : r;
}

/* ---- the rest ------------------------------------------------------------------------ */

static void squash_statfs(void *fs, struct inspect_statfs *ret)
{
	const struct squash *x = fs;

	*ret = (struct inspect_statfs){ .blocks = x->super.bytes_used / x->super.block_size + 1,
					.files = x->super.inode_count,
					.bsize = x->super.block_size };
}

const struct fs_kind fs_squash = {
	.open = squash_open,
	.close = squash_close,
	.state = flat_state,
	.attr = flat_attr,
	.lookup = flat_lookup,
	.list = flat_list,
	.link = flat_link,
	.map = squash_map,
	.read = squash_read,
	.statfs = squash_statfs,
};
