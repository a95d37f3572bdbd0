// SPDX-License-Identifier: GPL-2.0-or-later
/* ops.c - what FUSE asks goes to the tree, or to the files of guests, by the inode number */
#define _GNU_SOURCE
#include "fs/ops.h"

#include "fs/guest.h"
#include "fs/tree.h"

#include <errno.h>

/* An operation whose second argument decides; those of guests may be missing: -EROFS */
#define TO_EITHER(op, number, args, ...)                                                           \
	static void either_##op(fuse_req_t req, __VA_ARGS__)                                       \
	{                                                                                          \
		if (!guest_is(number))                                                             \
			tree_ops.op args;                                                          \
		else if (guest_ops.op)                                                             \
			guest_ops.op args;                                                         \
		else                                                                               \
			fuse_reply_err(req, EROFS);                                                \
	}

TO_EITHER(lookup, parent, (req, parent, name), fuse_ino_t parent, const char *name)
TO_EITHER(getattr, ino, (req, ino, fi), fuse_ino_t ino, struct fuse_file_info *fi)
TO_EITHER(setattr, ino, (req, ino, attr, to_set, fi), fuse_ino_t ino, struct stat *attr, int to_set,
	  struct fuse_file_info *fi)
TO_EITHER(readlink, ino, (req, ino), fuse_ino_t ino)
TO_EITHER(mknod, parent, (req, parent, name, mode, dev), fuse_ino_t parent, const char *name,
	  mode_t mode, dev_t dev)
TO_EITHER(mkdir, parent, (req, parent, name, mode), fuse_ino_t parent, const char *name,
	  mode_t mode)
TO_EITHER(unlink, parent, (req, parent, name), fuse_ino_t parent, const char *name)
TO_EITHER(rmdir, parent, (req, parent, name), fuse_ino_t parent, const char *name)
TO_EITHER(symlink, parent, (req, link, parent, name), const char *link, fuse_ino_t parent,
	  const char *name)
TO_EITHER(link, newparent, (req, ino, newparent, newname), fuse_ino_t ino, fuse_ino_t newparent,
	  const char *newname)
TO_EITHER(access, ino, (req, ino, mask), fuse_ino_t ino, int mask)
TO_EITHER(statfs, ino, (req, ino), fuse_ino_t ino)
TO_EITHER(opendir, ino, (req, ino, fi), fuse_ino_t ino, struct fuse_file_info *fi)
TO_EITHER(readdir, ino, (req, ino, size, off, fi), fuse_ino_t ino, size_t size, off_t off,
	  struct fuse_file_info *fi)
TO_EITHER(readdirplus, ino, (req, ino, size, off, fi), fuse_ino_t ino, size_t size, off_t off,
	  struct fuse_file_info *fi)
TO_EITHER(releasedir, ino, (req, ino, fi), fuse_ino_t ino, struct fuse_file_info *fi)
TO_EITHER(open, ino, (req, ino, fi), fuse_ino_t ino, struct fuse_file_info *fi)
TO_EITHER(create, parent, (req, parent, name, mode, fi), fuse_ino_t parent, const char *name,
	  mode_t mode, struct fuse_file_info *fi)
TO_EITHER(read, ino, (req, ino, size, off, fi), fuse_ino_t ino, size_t size, off_t off,
	  struct fuse_file_info *fi)
TO_EITHER(write, ino, (req, ino, buf, size, off, fi), fuse_ino_t ino, const char *buf, size_t size,
	  off_t off, struct fuse_file_info *fi)
TO_EITHER(flush, ino, (req, ino, fi), fuse_ino_t ino, struct fuse_file_info *fi)
TO_EITHER(release, ino, (req, ino, fi), fuse_ino_t ino, struct fuse_file_info *fi)
TO_EITHER(fsync, ino, (req, ino, datasync, fi), fuse_ino_t ino, int datasync,
	  struct fuse_file_info *fi)
TO_EITHER(lseek, ino, (req, ino, off, whence, fi), fuse_ino_t ino, off_t off, int whence,
	  struct fuse_file_info *fi)
TO_EITHER(fallocate, ino, (req, ino, mode, off, len, fi), fuse_ino_t ino, int mode, off_t off,
	  off_t len, struct fuse_file_info *fi)
TO_EITHER(poll, ino, (req, ino, fi, ph), fuse_ino_t ino, struct fuse_file_info *fi,
	  struct fuse_pollhandle *ph)

/* To another directory of a guest, or of the tree: never both */
static void either_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
			  const char *newname, unsigned int flags)
{
	if (guest_is(parent) || guest_is(newparent))
		guest_ops.rename(req, parent, name, newparent, newname, flags);
	else
		tree_ops.rename(req, parent, name, newparent, newname, flags);
}

/* From a guest's file the kernel reads and writes itself */
static void either_copy(fuse_req_t req, fuse_ino_t ino, off_t off, struct fuse_file_info *fi,
			fuse_ino_t to, off_t to_off, struct fuse_file_info *to_fi, size_t size,
			int flags)
{
	if (guest_is(ino) || guest_is(to))
		fuse_reply_err(req, EOPNOTSUPP);
	else
		tree_ops.copy_file_range(req, ino, off, fi, to, to_off, to_fi, size, flags);
}

void ops_fill(struct fuse_lowlevel_ops *ret)
{
	*ret = (struct fuse_lowlevel_ops){
		.init = tree_ops.init,
		.forget = tree_ops.forget,
		.lookup = either_lookup,
		.getattr = either_getattr,
		.setattr = either_setattr,
		.readlink = either_readlink,
		.mknod = either_mknod,
		.mkdir = either_mkdir,
		.unlink = either_unlink,
		.rmdir = either_rmdir,
		.symlink = either_symlink,
		.rename = either_rename,
		.link = either_link,
		.access = either_access,
		.statfs = either_statfs,
		.opendir = either_opendir,
		.readdir = either_readdir,
		.readdirplus = either_readdirplus,
		.releasedir = either_releasedir,
		.open = either_open,
		.create = either_create,
		.read = either_read,
		.write = either_write,
		.flush = either_flush,
		.release = either_release,
		.fsync = either_fsync,
		.lseek = either_lseek,
		.fallocate = either_fallocate,
		.copy_file_range = either_copy,
		.poll = either_poll,
	};
}
