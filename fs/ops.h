/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops.h - what FUSE asks goes to the tree, or to the files of guests, by the inode number */
#ifndef FS_OPS_H
#define FS_OPS_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 35
#endif

#include <fuse_lowlevel.h>

/** ops_fill() - All operations that labfs has */
void ops_fill(struct fuse_lowlevel_ops *ret);

#endif
