// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * iso.c - an ISO 9660 filesystem on a disk (libisofs)
 *
 * DOC: Theory of Operation
 *
 * libisofs reads blocks by a function of ours, and shows files with the attributes that Rock
 * Ridge gives them, else the names of Joliet, else those of ISO 9660. All names are
 * read when it is opened (flat.h): directories of such an image are close together.
 *
 * The library does not say where things are, but whoever gives it blocks sees which it
 * wants. That is used twice. The first block of a directory tells that directory from others: one
 * that comes again is a loop. The first and the last block of a file tell where it is, so that
 * labfs can send it from there; a file in several places is read by the library.
 *
 * The walk may read a bounded number of blocks. The library has no other access to anything; what
 * it needs to convert names is loaded before rights are given away.
 */
#define _GNU_SOURCE
#include "fs/inspect/flat.h"
#include "fs/inspect/fs.h"
#include "lib/util.h"

#include <iconv.h>
#include <libisofs/libisofs.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK 2048
#define MAX_BLOCKS (1U << 18) /* of directories: 512 MiB */
#define FILE_PERMISSIONS 0444
#define DIR_PERMISSIONS 0555

/**
 * struct iso - a filesystem
 * @source:	what the library reads by; it points back here
 * @left:	blocks that may be read
 * @asked, @first, @last: whether any was since this was reset, and which
 * @code:	why one could not be read
 */
struct iso {
	struct flat names;
	struct disk *disk;
	uint64_t start, size;
	IsoDataSource source;
	IsoFilesystem *fs;
	uint32_t left;
	bool asked;
	uint32_t first, last;
	int code;
};

/* ---- the disk ------------------------------------------------------------------ */

static int source_open(IsoDataSource *source)
{
	(void)source;
	return ISO_SUCCESS;
}

static void source_free(IsoDataSource *source)
{
	(void)source;
}

static int source_read(IsoDataSource *source, uint32_t lba, uint8_t *buffer)
{
	struct iso *x = source->data;

	if (!x->asked)
		x->first = lba;
	x->last = lba;
	x->asked = true;
	if (!x->left || lba >= x->size / BLOCK)
		x->code = -EUCLEAN;
	else
		x->code = disk_read(x->disk, buffer, BLOCK, x->start + (uint64_t)lba * BLOCK);
	if (x->left)
		x->left--;
	return x->code < 0 ? (int)ISO_DATA_SOURCE_FAILURE : ISO_SUCCESS;
}

static void watch(struct iso *x)
{
	x->asked = false;
	x->code = 0;
}

static int to_errno(const struct iso *x, int r)
{
	if (r >= 0)
		return 0;
	if (r == (int)ISO_OUT_OF_MEM)
		return -ENOMEM;
	return x->code < 0 ? x->code : -EUCLEAN;
}

/* ---- names --------------------------------------------------------------------------- */

static int put_attr(const struct iso *x, IsoFileSource *file, struct flat_node *node)
{
	struct stat st = { 0 };
	int r = iso_file_source_lstat(file, &st);

	if (r < 0)
		return to_errno(x, r);
	node->serial = st.st_ino;
	node->attr = (struct inspect_attr){
		.size = (uint64_t)st.st_size,
		.blocks = ((uint64_t)st.st_size + 511) / 512,
		.atime = st.st_atime,
		.mtime = st.st_mtime,
		.ctime = st.st_ctime,
		.mode = st.st_mode,
		.nlink = st.st_nlink ? (uint32_t)st.st_nlink : 1,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.rdev = (uint32_t)st.st_rdev,
		.blksize = BLOCK,
	};
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		node->attr.size = node->attr.blocks = 0;
	return 0;
}

static int put_target(const struct iso *x, IsoFileSource *file, struct flat_node *node)
{
	char target[INSPECT_TARGET] = "";
	int r = iso_file_source_readlink(file, target, sizeof(target));

	if (r < 0)
		return to_errno(x, r);
	target[sizeof(target) - 1] = '\0';
	if (!*target)
		return -EUCLEAN;
	node->target = strdup(target);
	return node->target ? 0 : -ENOMEM;
}

static int add_child(struct iso *x, uint32_t dir, IsoFileSource *file)
{
	struct flat_node node = { .own = file };
	int r = put_attr(x, file, &node);

	if (!r && S_ISLNK(node.attr.mode))
		r = put_target(x, file, &node);
	if (r < 0) {
		iso_file_source_unref(file);
		return r;
	}
	node.name = iso_file_source_get_name(file);
	return flat_add(&x->names, dir, &node);
}

static int read_children(struct iso *x, uint32_t dir, IsoFileSource *file)
{
	IsoFileSource *child = NULL;
	int r = 0, n;

	while (!r && (n = iso_file_source_readdir(file, &child)) == 1)
		r = add_child(x, dir, child);
	return r < 0 ? r : to_errno(x, n);
}

static int read_dir(void *arg, uint32_t dir)
{
	struct iso *x = arg;
	IsoFileSource *file = x->names.v[dir].own;
	int r;

	watch(x);
	r = iso_file_source_open(file);
	if (r < 0)
		return to_errno(x, r);
	/* A directory that was here before is not read again */
	r = x->asked ? flat_once(&x->names, x->first) : -EUCLEAN;
	if (!r)
		r = read_children(x, dir, file);
	iso_file_source_close(file);
	return r;
}

/* ---- opening ------------------------------------------------------------------------- */

static void drop(void *own)
{
	iso_file_source_unref(own);
}

static void iso_close(void *fs)
{
	struct iso *x = fs;

	if (!x)
		return;
	flat_done(&x->names);
	if (x->fs)
		iso_filesystem_unref(x->fs);
	free(x);
}

/* Joliet has names in UTF-16; the C library loads that from a file */
static void iso_prepare(void)
{
	static iconv_t kept;

	kept = iconv_open("UTF-8", "UTF-16BE");
	(void)kept;
}

/* Nothing is said on stderr, no checksums and no attributes that nobody shows are read */
static int make_filesystem(struct iso *x)
{
	IsoReadOpts *opts = NULL;
	int r = iso_init_with_flag(1);

	if (r < 0 || iso_set_msgs_severities("NEVER", "NEVER", "") < 0 ||
	    iso_set_local_charset("UTF-8", 0) <= 0)
		return -ENOMEM;
	r = iso_read_opts_new(&opts, 0);
	if (r < 0)
		return -ENOMEM;
	iso_read_opts_set_input_charset(opts, "UTF-8");
	iso_read_opts_auto_input_charset(opts, 0);
	iso_read_opts_set_no_aaip(opts, 1);
	iso_read_opts_set_no_md5(opts, 1);
	iso_read_opts_set_default_permissions(opts, FILE_PERMISSIONS, DIR_PERMISSIONS);
	r = iso_image_filesystem_new(&x->source, opts, 0x1fffff, &x->fs);
	iso_read_opts_free(opts);
	return to_errno(x, r);
}

static int read_names(struct iso *x)
{
	struct flat_node root = { 0 };
	IsoFileSource *file = NULL;
	int r = to_errno(x, x->fs->get_root(x->fs, &file));

	if (r < 0)
		return r;
	root.own = file;
	r = put_attr(x, file, &root);
	if (r < 0) {
		iso_file_source_unref(file);
		return r;
	}
	return flat_walk(&x->names, &root, read_dir, x);
}

static int iso_open(struct disk *disk, uint64_t start, uint64_t size, void **ret,
		    struct lab_err *err)
{
	struct iso *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return lab_fail_errno(err, -ENOMEM, "opening it");
	*x = (struct iso){ .names = { .drop = drop },
			   .disk = disk,
			   .start = start,
			   .size = size,
			   .left = MAX_BLOCKS };
	x->source = (IsoDataSource){ .refcount = 1,
				     .open = source_open,
				     .close = source_open,
				     .read_block = source_read,
				     .free_data = source_free,
				     .data = x };
	r = make_filesystem(x);
	if (!r)
		r = read_names(x);
	if (r < 0) {
		iso_close(x);
		return flat_refuse(err, r);
	}
	*ret = x;
	return 0;
}

/* ---- contents ---------------------------------------------------------------------- */

/* Read some bytes by the library; how many */
static ssize_t read_by_library(struct iso *x, IsoFileSource *file, void *buf, size_t len,
			       uint64_t at)
{
	size_t done = 0;
	int r;

	watch(x);
	x->left = (uint32_t)(len / BLOCK + 4);
	r = iso_file_source_open(file);
	if (r < 0)
		return to_errno(x, r);
	if (iso_file_source_lseek(file, (off_t)at, 0) != (off_t)at)
		r = -1;
	while (r >= 0 && done < len) {
		r = iso_file_source_read(file, (char *)buf + done, len - done);
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	iso_file_source_close(file);
	return done ? (ssize_t)done : to_errno(x, r);
}

/* The first block of one byte of a file */
static int block_of(struct iso *x, IsoFileSource *file, uint64_t at, uint32_t *ret)
{
	char byte;
	ssize_t n = read_by_library(x, file, &byte, 1, at);

	if (n < 0)
		return (int)n;
	*ret = x->last;
	return n == 1 && x->asked ? 0 : -EUCLEAN;
}

/* 1: the file is in one piece, at @ret of the disk; 0: it is not */
static int locate(struct iso *x, const struct flat_node *node, uint64_t *ret)
{
	uint32_t first = 0, last = 0;
	int r = block_of(x, node->own, 0, &first);

	if (!r)
		r = block_of(x, node->own, node->attr.size - 1, &last);
	if (r < 0)
		return r;
	*ret = x->start + (uint64_t)first * BLOCK;
	return last >= first && last - first == (node->attr.size - 1) / BLOCK;
}

static ssize_t iso_map(void *fs, uint32_t ino, uint64_t at, uint64_t len, struct inspect_run *runs,
		       size_t room)
{
	const struct flat_node *node;
	struct iso *x = fs;
	uint64_t place;
	int r = flat_file(&x->names, ino, at, &len, &node);

	if (r < 0 || !len)
		return r;
	r = locate(x, node, &place);
	if (r < 0)
		return r;
	if (r)
		return disk_runs(x->disk, place + at, len, runs, room);
	runs[0] = (struct inspect_run){ .length = len, .kind = INSPECT_COPY_RUN };
	return 1;
}

static ssize_t iso_read(void *fs, uint32_t ino, void *buf, size_t len, uint64_t at)
{
	const struct flat_node *node;
	struct iso *x = fs;
	uint64_t n = len;
	int r = flat_file(&x->names, ino, at, &n, &node);

	return r < 0 || !n ? r : read_by_library(x, node->own, buf, n, at);
}

/* ---- the rest ------------------------------------------------------------------------ */

static void iso_statfs(void *fs, struct inspect_statfs *ret)
{
	const struct iso *x = fs;

	*ret = (struct inspect_statfs){ .blocks = x->size / BLOCK,
					.files = x->names.n - INSPECT_ROOT,
					.bsize = BLOCK };
}

const struct fs_kind fs_iso = {
	.prepare = iso_prepare,
	.open = iso_open,
	.close = iso_close,
	.state = flat_state,
	.attr = flat_attr,
	.lookup = flat_lookup,
	.list = flat_list,
	.link = flat_link,
	.map = iso_map,
	.read = iso_read,
	.statfs = iso_statfs,
};
