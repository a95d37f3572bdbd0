/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tree.h - what FUSE asks of the tree
 *
 * tree.c works on names, dir.c on open directories, file.c on open files. All
 * of it runs in the FUSE loop and waits for nothing but local files.
 */
#ifndef FS_TREE_H
#define FS_TREE_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 35
#endif

#include "fs/node.h"

#include <fuse_lowlevel.h>

struct live;

extern const struct fuse_lowlevel_ops tree_ops;

/**
 * struct handle - an open file or directory
 * @next:	of all that are open
 * @number:	inode number
 * @node:	the same in parts
 * @type:	of the entry
 * @data, @len:	the value, captured when it was opened
 * @captured:	model_mtime() of it then
 * @input, @input_len, @dirty: what was written to take effect on close
 * @writes:	an upload is open for writing
 * @fd:		the file behind it (log, disk), or -1
 * @live:	what fills that while it is open
 * @position:	end of the last read
 * @names, @nnames, @room: of a directory
 */
struct handle {
	struct handle *next;
	uint64_t number;
	struct node node;
	enum entry_type type;
	char *data;
	size_t len;
	double captured;
	char *input;
	size_t input_len;
	bool dirty, writes;
	int fd;
	struct live *live;
	off_t position;
	struct dir_name *names;
	size_t nnames, room;
};

/** handle_new() - A handle for a resolved name; NULL without memory */
struct handle *handle_new(const struct ref *ref);
void handle_free(struct handle *h);

/**
 * tree_gone() - The errno for an inode number that stands for nothing any more
 *
 * ESTALE makes the kernel look the name up again, and report ENOENT or find
 * what is there now. Who has it open gets ENODEV.
 */
int tree_gone(uint64_t number);

/** tree_entry() - All that the kernel wants to know of a resolved name */
int tree_entry(const struct ref *ref, struct fuse_entry_param *ret);

/** tree_where() - Path in the tree, for messages; malloced or NULL */
char *tree_where(const struct ref *ref, const char *name);

/** tree_refuse() - Record why, answer the request */
void tree_refuse(fuse_req_t req, const struct ref *ref, const char *name, int code,
		 const struct lab_err *err);

/**
 * tree_submit() - Have an action of a name carried out
 * @ref:	whose `error` tells a failure
 * @name:	below it, for the message; NULL: itself
 * @action:	taken over
 * @finish:	as struct pending
 * @arg:	for it
 */
void tree_submit(fuse_req_t req, const struct ref *ref, const char *name, struct action *action,
		 void (*finish)(struct pending *p, int result), void *arg);

/** tree_finish() - A finish() that answers with the result alone */
void tree_finish(struct pending *p, int result);

void dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi);
void dir_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		 struct fuse_file_info *fi);
void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void file_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		struct fuse_file_info *fi);
void file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void file_seek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		    struct fuse_file_info *fi);
void file_copy(fuse_req_t req, fuse_ino_t ino, off_t off, struct fuse_file_info *fi, fuse_ino_t to,
	       off_t to_off, struct fuse_file_info *to_fi, size_t size, int flags);
void file_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	       struct fuse_pollhandle *ph);

#endif
