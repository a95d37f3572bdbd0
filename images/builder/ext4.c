// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ext4.c - an ext4 file system made of a directory tree, the same bytes each time
 *
 * DOC: Theory of Operation
 *
 * mke2fs can fill a file system itself (-d), but takes entries in the order the
 * host's directory gives them and keeps change times, so two builds of one tree
 * differ. Here mke2fs makes the empty file system with a fixed time, UUID and hash
 * seed, and libext2fs fills it from the tree in sorted order: inode numbers and
 * block numbers follow from the tree alone.
 *
 * Space of a file is allocated at once and written in runs; blocks of zeros are
 * not written, the image file being sparse. "assume_storage_prezeroed" tells the
 * guest's kernel that there is nothing left for it to initialise.
 *
 * The contents of /dev, /proc, /run, /sys and /tmp are mount points' and are
 * left out.
 */
#define _GNU_SOURCE
#include "images/builder/builder.h"
#include "images/builder/command.h"

#include "lib/digest.h"
#include "lib/util.h"

#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define EXT4_CHUNK (1 << 20)
#define EXT4_MAX_XATTR 65536
#define EXT4_SMALL (512ULL << 20)

/**
 * struct link - an inode seen that has more names
 */
struct link {
	dev_t dev;
	ino_t from;
	ext2_ino_t to;
};

/**
 * struct filler - the file system being filled
 * @fs:		libext2fs' handle
 * @epoch:	no time is later
 * @chunk:	EXT4_CHUNK bytes
 * @links:	inodes with several names
 * @done, @total: bytes, for progress
 */
struct filler {
	ext2_filsys fs;
	uint32_t epoch;
	char *chunk;
	struct link *links;
	size_t nlinks;
	uint64_t done, total;
};

/**
 * ext2_to_errno() - A library error as an errno
 * The library passes the system's errors through as they are, but positive.
 */
static int ext2_to_errno(errcode_t code)
{
	if (code > 0 && code < 256)
		return -(int)code;
	switch (code) {
	case EXT2_ET_NO_MEMORY:
		return -ENOMEM;
	case EXT2_ET_BLOCK_ALLOC_FAIL:
	case EXT2_ET_INODE_ALLOC_FAIL:
	case EXT2_ET_DIR_NO_SPACE:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

static int fail(struct lab_err *err, errcode_t code, const char *path)
{
	int r = ext2_to_errno(code);

	if (code == ENOSPC) /* of the host, not of the image */
		return lab_fail_errno(err, r, "file system: writing the image");
	if (r == -ENOSPC)
		return lab_fail(err, r,
				"%s does not fit: the tree needs more than the recipe's `size`; "
				"make it larger",
				path);
	return lab_fail(err, r, "file system: %s: %s", path, error_message(code));
}

static void set_attributes(const struct filler *f, struct ext2_inode_large *inode,
			   const struct stat *st)
{
	uint32_t mtime = st->st_mtime > f->epoch ? f->epoch : (uint32_t)st->st_mtime;

	inode->i_mode = (uint16_t)st->st_mode;
	inode->i_uid = (uint16_t)st->st_uid;
	ext2fs_set_i_uid_high(*inode, st->st_uid >> 16);
	inode->i_gid = (uint16_t)st->st_gid;
	ext2fs_set_i_gid_high(*inode, st->st_gid >> 16);
	inode->i_atime = inode->i_ctime = inode->i_mtime = inode->i_crtime = mtime;
	inode->i_extra_isize = sizeof(*inode) - EXT2_GOOD_OLD_INODE_SIZE;
}

static errcode_t add_name(struct filler *f, ext2_ino_t dir, const char *name, ext2_ino_t ino,
			  int type)
{
	errcode_t code = ext2fs_link(f->fs, dir, name, ino, type);

	if (code != EXT2_ET_DIR_NO_SPACE)
		return code;
	code = ext2fs_expand_dir(f->fs, dir);
	return code ? code : ext2fs_link(f->fs, dir, name, ino, type);
}

static bool all_zero(const char *buf, size_t len)
{
	return !len || (!buf[0] && !memcmp(buf, buf + 1, len - 1));
}

/* Write @n blocks of the file from @lblk on, in physical runs */
static errcode_t write_blocks(struct filler *f, ext2_ino_t ino, struct ext2_inode *inode,
			      blk64_t lblk, blk64_t n)
{
	unsigned int bs = f->fs->blocksize;

	for (blk64_t i = 0; i < n;) {
		blk64_t first, next, run = 1;
		errcode_t code = ext2fs_bmap2(f->fs, ino, inode, NULL, 0, lblk + i, NULL, &first);

		for (; !code && i + run < n; run++) {
			code = ext2fs_bmap2(f->fs, ino, inode, NULL, 0, lblk + i + run, NULL,
					    &next);
			if (next != first + run)
				break;
		}
		if (!code)
			code = io_channel_write_blk64(f->fs->io, first, (int)run,
						      f->chunk + i * bs);
		if (code)
			return code;
		i += run;
	}
	return 0;
}

static errcode_t write_data(struct filler *f, int fd, ext2_ino_t ino, struct ext2_inode *inode,
			    uint64_t size)
{
	unsigned int bs = f->fs->blocksize;
	errcode_t code;

	code = ext2fs_fallocate(f->fs, EXT2_FALLOCATE_FORCE_INIT, ino, inode, ~0ULL, 0,
				(size + bs - 1) / bs);
	for (uint64_t at = 0; !code && at < size; at += EXT4_CHUNK) {
		size_t want = size - at < EXT4_CHUNK ? (size_t)(size - at) : EXT4_CHUNK;
		size_t have = 0, whole = (want + bs - 1) / bs * bs;

		while (have < want) {
			ssize_t n =
				RETRY(pread(fd, f->chunk + have, want - have, (off_t)(at + have)));

			if (n <= 0)
				return n < 0 ? errno : EIO;
			have += (size_t)n;
		}
		memset(f->chunk + want, 0, whole - want);
		if (!all_zero(f->chunk, want))
			code = write_blocks(f, ino, inode, at / bs, whole / bs);
		f->done += want;
	}
	return code;
}

static errcode_t new_inode(struct filler *f, ext2_ino_t dir, const struct stat *st,
			   struct ext2_inode_large *inode, ext2_ino_t *ret)
{
	errcode_t code = ext2fs_new_inode(f->fs, dir, (int)st->st_mode, NULL, ret);

	if (code)
		return code;
	ext2fs_inode_alloc_stats2(f->fs, *ret, 1, S_ISDIR(st->st_mode));
	memset(inode, 0, sizeof(*inode));
	set_attributes(f, inode, st);
	inode->i_links_count = 1;
	return 0;
}

static errcode_t write_inode(struct filler *f, ext2_ino_t ino, struct ext2_inode_large *inode)
{
	return ext2fs_write_inode_full(f->fs, ino, (struct ext2_inode *)inode, sizeof(*inode));
}

static errcode_t add_file(struct filler *f, int dirfd, const char *name, ext2_ino_t dir,
			  const struct stat *st, ext2_ino_t *ret)
{
	autoclose int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct ext2_inode_large inode;
	ext2_extent_handle_t handle;
	errcode_t code;

	if (fd < 0)
		return errno;
	code = new_inode(f, dir, st, &inode, ret);
	if (code)
		return code;
	inode.i_flags |= EXT4_EXTENTS_FL;
	code = ext2fs_extent_open2(f->fs, *ret, (struct ext2_inode *)&inode, &handle);
	if (code)
		return code;
	ext2fs_extent_free(handle);
	ext2fs_inode_size_set(f->fs, (struct ext2_inode *)&inode, st->st_size);
	code = write_inode(f, *ret, &inode);
	if (!code && st->st_size)
		code = write_data(f, fd, *ret, (struct ext2_inode *)&inode, (uint64_t)st->st_size);
	return code ? code : write_inode(f, *ret, &inode);
}

static errcode_t add_symlink(struct filler *f, int dirfd, const char *name, ext2_ino_t dir,
			     const struct stat *st, ext2_ino_t *ret)
{
	struct ext2_inode_large inode;
	char target[IO_PATH];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	errcode_t code;

	if (n < 0)
		return errno;
	target[n] = '\0';
	code = ext2fs_new_inode(f->fs, dir, (int)st->st_mode, NULL, ret);
	if (!code) {
		code = ext2fs_symlink(f->fs, dir, *ret, name, target);
		if (code == EXT2_ET_DIR_NO_SPACE) {
			code = ext2fs_expand_dir(f->fs, dir);
			if (!code)
				code = ext2fs_symlink(f->fs, dir, *ret, name, target);
		}
	}
	if (!code)
		code = ext2fs_read_inode_full(f->fs, *ret, (struct ext2_inode *)&inode,
					      sizeof(inode));
	if (code)
		return code;
	set_attributes(f, &inode, st);
	return write_inode(f, *ret, &inode);
}

static errcode_t add_special(struct filler *f, ext2_ino_t dir, const struct stat *st,
			     ext2_ino_t *ret)
{
	struct ext2_inode_large inode;
	unsigned int major = major(st->st_rdev), minor = minor(st->st_rdev);
	errcode_t code = new_inode(f, dir, st, &inode, ret);

	if (code)
		return code;
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		inode.i_block[1] = (minor & 0xff) | (major << 8) | ((minor & ~0xffU) << 12);
	return write_inode(f, *ret, &inode);
}

static errcode_t add_dir(struct filler *f, const char *name, ext2_ino_t parent,
			 const struct stat *st, ext2_ino_t *ret)
{
	errcode_t code = ext2fs_new_inode(f->fs, parent, (int)st->st_mode, NULL, ret);

	if (code)
		return code;
	code = ext2fs_mkdir(f->fs, parent, *ret, name);
	if (code != EXT2_ET_DIR_NO_SPACE)
		return code;
	code = ext2fs_expand_dir(f->fs, parent);
	return code ? code : ext2fs_mkdir(f->fs, parent, *ret, name);
}

/* A directory's times are set last: filling it changes nothing else of it */
static errcode_t finish_dir(struct filler *f, ext2_ino_t ino, const struct stat *st)
{
	struct ext2_inode_large inode;
	errcode_t code = ext2fs_read_inode_full(f->fs, ino, (struct ext2_inode *)&inode,
						sizeof(inode));

	if (code)
		return code;
	set_attributes(f, &inode, st);
	return write_inode(f, ino, &inode);
}

/* File capabilities and the like; what a file system does not have is no error */
static errcode_t copy_xattrs(struct filler *f, int dirfd, const char *name, ext2_ino_t ino)
{
	char path[IO_PATH], list[4096];
	autofree char *value = NULL;
	struct ext2_xattr_handle *handle;
	errcode_t code;
	ssize_t n;

	io_path(path, "/proc/self/fd/%d/%s", dirfd, name);
	n = llistxattr(path, list, sizeof(list));
	if (n <= 0)
		return n < 0 && errno != ENOTSUP ? errno : 0;
	value = malloc(EXT4_MAX_XATTR);
	if (!value)
		return ENOMEM;
	code = ext2fs_xattrs_open(f->fs, ino, &handle);
	if (code)
		// cppcheck-suppress memleak ; autofree
		return code;
	code = ext2fs_xattrs_read(handle);
	for (char *key = list; !code && key < list + n; key += strlen(key) + 1) {
		ssize_t len = lgetxattr(path, key, value, EXT4_MAX_XATTR);

		code = len < 0 ? errno : ext2fs_xattr_set(handle, key, value, (size_t)len);
	}
	ext2fs_xattrs_close(&handle);
	return code;
}

static ext2_ino_t find_link(const struct filler *f, const struct stat *st)
{
	for (size_t i = 0; i < f->nlinks; i++)
		if (f->links[i].from == st->st_ino && f->links[i].dev == st->st_dev)
			return f->links[i].to;
	return 0;
}

static int remember_link(struct filler *f, const struct stat *st, ext2_ino_t ino)
{
	struct link *more;

	if (f->nlinks % 64 == 0) {
		more = realloc(f->links, (f->nlinks + 64) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		f->links = more;
	}
	f->links[f->nlinks++] = (struct link){ st->st_dev, st->st_ino, ino };
	return 0;
}

static errcode_t add_link(struct filler *f, const char *name, ext2_ino_t dir, ext2_ino_t ino,
			  int type)
{
	struct ext2_inode inode;
	errcode_t code = ext2fs_read_inode(f->fs, ino, &inode);

	if (code)
		return code;
	inode.i_links_count++;
	code = ext2fs_write_inode(f->fs, ino, &inode);
	return code ? code : add_name(f, dir, name, ino, type);
}

static int file_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EXT2_FT_REG_FILE;
	case S_IFCHR:
		return EXT2_FT_CHRDEV;
	case S_IFBLK:
		return EXT2_FT_BLKDEV;
	case S_IFIFO:
		return EXT2_FT_FIFO;
	default:
		return EXT2_FT_SOCK;
	}
}

/* Everything but a directory */
static errcode_t add_leaf(struct filler *f, int dirfd, const char *name, ext2_ino_t dir,
			  const struct stat *st)
{
	int type = file_type(st->st_mode);
	ext2_ino_t ino = st->st_nlink > 1 ? find_link(f, st) : 0;
	errcode_t code;

	if (ino)
		return add_link(f, name, dir, ino, type);
	if (S_ISLNK(st->st_mode)) {
		code = add_symlink(f, dirfd, name, dir, st, &ino);
	} else {
		code = S_ISREG(st->st_mode) ? add_file(f, dirfd, name, dir, st, &ino)
					    : add_special(f, dir, st, &ino);
		if (!code)
			code = add_name(f, dir, name, ino, type);
	}
	if (!code && st->st_nlink > 1 && remember_link(f, st, ino) < 0)
		code = ENOMEM;
	return code ? code : copy_xattrs(f, dirfd, name, ino);
}

static bool is_mount_point(const char *path)
{
	static const char *const dirs[] = { "/dev", "/proc", "/run", "/sys", "/tmp" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (!strcmp(path, dirs[i]))
			return true;
	return false;
}

static int fill_dir(struct filler *f, int dirfd, ext2_ino_t dir, const char *path,
		    struct lab_err *err);

static int add_entry(struct filler *f, int dirfd, const char *name, ext2_ino_t dir,
		     const char *path, struct lab_err *err)
{
	autoclose int sub = -EBADF;
	ext2_ino_t ino;
	struct stat st;
	errcode_t code;
	int r = 0;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (S_ISSOCK(st.st_mode))
		return 0;
	if (is_mount_point(path)) /* whether a build could make nodes in it shows in its time */
		st.st_mtime = f->epoch;
	if (!S_ISDIR(st.st_mode)) {
		code = add_leaf(f, dirfd, name, dir, &st);
		return code ? fail(err, code, path) : 0;
	}
	sub = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	code = add_dir(f, name, dir, &st, &ino);
	if (code)
		return fail(err, code, path);
	r = fill_dir(f, sub, ino, path, err);
	if (r < 0)
		return r;
	code = finish_dir(f, ino, &st);
	if (!code)
		code = copy_xattrs(f, dirfd, name, ino);
	return code ? fail(err, code, path) : 0;
}

static int not_dots(const struct dirent *d)
{
	return strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int fill_dir(struct filler *f, int dirfd, ext2_ino_t dir, const char *path,
		    struct lab_err *err)
{
	struct dirent **names = NULL;
	char sub[IO_PATH];
	int n, r = 0;

	if (is_mount_point(path))
		return 0;
	n = scandirat(dirfd, ".", &names, not_dots, by_bytes);
	if (n < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	for (int i = 0; i < n; i++) {
		bool lost = !*path && !strcmp(names[i]->d_name, "lost+found");

		if (!r && !lost)
			r = add_entry(f, dirfd, names[i]->d_name, dir,
				      io_path(sub, "%s/%s", path, names[i]->d_name), err);
		free(names[i]);
	}
	free(names);
	builder_step("filesystem", f->done, 0, "bytes");
	return r;
}

static int make_empty(const struct builder *b, const char *path, uint64_t size, const char *seed,
		      uint64_t epoch, struct lab_err *err)
{
	char uuid[40], hash[40], extended[160], blocks[32], date[64], hex[DIGEST_HEX];
	const char *journal = size < EXT4_SMALL ? "size=4" : "size=16";
	const char *argv[] = { "mke2fs", "-q", "-F",	 "-t",	  "ext4", "-b", "4096",
			       "-m",	 "0",  "-J",	 journal, "-U",	  uuid, "-L",
			       "root",	 "-E", extended, path,	  blocks, NULL };
	const char *env[] = { date, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	struct command cmd = { .argv = argv, .env = env, .log = b->log };

	digest_hex(hex, seed, strlen(seed));
	/* the form of a random UUID, so that no tool stumbles */
	snprintf(uuid, sizeof(uuid), "%.8s-%.4s-4%.3s-8%.3s-%.12s", hex, hex + 8, hex + 12,
		 hex + 15, hex + 18);
	snprintf(hash, sizeof(hash), "%.8s-%.4s-4%.3s-8%.3s-%.12s", hex + 32, hex + 40, hex + 44,
		 hex + 47, hex + 50);
	snprintf(extended, sizeof(extended),
		 "hash_seed=%s,root_owner=0:0,assume_storage_prezeroed=1,lazy_itable_init=0", hash);
	snprintf(blocks, sizeof(blocks), "%llu", (unsigned long long)(size / 4096));
	snprintf(date, sizeof(date), "E2FSPROGS_FAKE_TIME=%llu", (unsigned long long)epoch);
	return command_run(&cmd, err);
}

static int fill_tree(struct filler *f, const char *tree, struct lab_err *err)
{
	autoclose int fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	errcode_t code;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", tree);
	code = ext2fs_read_bitmaps(f->fs);
	if (code)
		return fail(err, code, tree);
	r = fill_dir(f, fd, EXT2_ROOT_INO, "", err);
	if (r < 0)
		return r;
	st.st_mode = S_IFDIR | 0755;
	st.st_uid = st.st_gid = 0;
	code = finish_dir(f, EXT2_ROOT_INO, &st);
	return code ? fail(err, code, tree) : 0;
}

int ext4_write(const struct builder *b, const char *tree, const char *path, uint64_t size,
	       const char *seed, uint64_t epoch, struct lab_err *err)
{
	struct filler f = { .epoch = (uint32_t)epoch };
	autofree char *chunk = malloc(EXT4_CHUNK + 65536);
	errcode_t code;
	int r;

	if (!chunk)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = make_empty(b, path, size, seed, epoch, err);
	if (r < 0)
		// cppcheck-suppress memleak ; autofree
		return r;
	f.chunk = chunk;
	initialize_ext2_error_table();
	code = ext2fs_open(path, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &f.fs);
	if (code)
		return fail(err, code, path);
	f.fs->now = (time_t)epoch;
	r = fill_tree(&f, tree, err);
	free(f.links);
	if (r < 0) {
		ext2fs_free(f.fs);
		return r;
	}
	code = ext2fs_close_free(&f.fs);
	return code ? fail(err, code, path) : 0;
}
