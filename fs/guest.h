/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest.h - files of guests: their disks, and what FUSE asks about them
 *
 * DOC: Theory of Operation
 *
 * Below a disk's directory in /inspect nothing is ours: names, sizes, contents are the
 * guest's, and hostile. labfs reads none of it. A labinspect for each disk does
 * (fs/inspect, guest_child.h), and labfs passes on what it says, after a check of its form.
 *
 * Inode numbers carry all that is needed to ask for one again, as those of the rest of the
 * tree do (node.h); so nothing is kept for what the kernel remembers.
 *
 *	63  62      40         32            0
 *	| 11 |  row  |  depth  |  guest's ino |
 *
 * A row is a partition of a disk, or the disk itself, in a table that only grows. Depth is
 * how many directories are between it and the root of its filesystem: it comes from
 * the way by which a directory was found, and decides how an absolute link is shown
 * (fs/inspect/link.c). Files carry none, so that hard links have one number.
 *
 * A disk that is one filesystem can also be walked from its own directory (files/etc instead of
 * files/p0/etc). Its names are not listed there, and have numbers of their own: a row for the
 * same filesystem, since a directory has one place only in the kernel.
 *
 * Images and snapshots never change: the kernel may keep what it was told for an hour.
 * The disk of an instance may change whenever the instance runs. Whatever is asked then is
 * -EBUSY; what was known before is dropped (guest_disk_check()).
 *
 * Everything here runs in the loop of main.c, and waits for nothing but local files.
 */
#ifndef FS_GUEST_H
#define FS_GUEST_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 35
#endif

#include "fs/attr.h"
#include "fs/inspect/protocol.h"

#include <fuse_lowlevel.h>
#include <poll.h>

/* Partitions that are none */
#define GUEST_DISK UINT32_MAX /* the disk's directory */
#define GUEST_ALIAS (UINT32_MAX - 1) /* partition 0, from the disk's directory */

/* Inode numbers in the disk's directory */
enum { GUEST_DIR = 1, GUEST_TABLE, GUEST_RAW };

struct guest_child;

/**
 * struct guest_disk - a disk that somebody has looked at
 * @kind, @id:	image, instance or snapshot
 * @member:	id of the instance, of a snapshot
 * @name:	of the disk; "" for an image
 * @path:	its directory in the tree, as it was first found, for messages
 * @child:	who reads it, or NULL
 * @info:	what is known, if @known
 * @table:	text, or NULL while it is not known
 * @file, @since: of an instance: the file that it writes, and when its state changed
 */
struct guest_disk {
	enum kind kind;
	uint32_t id, member;
	char name[NAME_MAX_LEN + 1];
	char *path;
	struct guest_child *child;
	bool known;
	struct inspect_disk info;
	char *table;
	size_t table_len;
	char *file;
	double since;
};

/**
 * struct guest_node - an inode number in parts
 * @part:	number of a partition, GUEST_DISK or GUEST_ALIAS
 */
struct guest_node {
	struct guest_disk *disk;
	uint32_t row, part, depth, ino;
};

/** guest_is() - Whether an inode number is a guest's */
bool guest_is(uint64_t number);

/** guest_number() - The number of something in the same row as @of */
uint64_t guest_number(uint32_t row, uint32_t depth, uint32_t ino);

/** guest_parse() - The parts of a number; false if it was never given out */
bool guest_parse(uint64_t number, struct guest_node *ret);

/** guest_row() - The row of a part of a disk, made if need be; -ENFILE, -ENOMEM */
int guest_row(struct guest_disk *disk, uint32_t part);

/**
 * guest_find() - The row of a disk's directory, made if need be
 * @path:	in the tree
 */
int guest_find(enum kind kind, uint32_t id, uint32_t member, const char *name, const char *path);

/**
 * guest_disk_check() - Whether a disk may be read now
 * Return: 0, -ENODEV if it is gone, -EBUSY; in both cases its child ends
 */
int guest_disk_check(struct guest_disk *disk, struct lab_err *err);

/** guest_sealed() - Whether it never changes */
bool guest_sealed(const struct guest_disk *disk);

/** guest_changed() - An instance changed: drop what the kernel knows of its disks */
void guest_changed(void);

/** guest_path() - Where a node is, as far as that is known, for messages; malloced or NULL */
char *guest_path(const struct guest_node *n);

/** guest_refuse() - Answer with an errno; record the words where one looks for them */
void guest_refuse(fuse_req_t req, const struct guest_node *n, int code, const char *why);

/** guest_ready() - As guest_disk_check(), and answers the request if not 0 */
int guest_ready(fuse_req_t req, uint64_t number, struct guest_node *ret);

/**
 * guest_entry() - What the kernel is to know of an inode
 * @in:		the directory, or the inode itself
 * @self:	@attr is of @in
 *
 * Return: 0; -EUCLEAN: it makes no sense, -ELOOP: too deep
 */
int guest_entry(const struct guest_node *in, bool self, const struct inspect_attr *attr,
		struct fuse_entry_param *ret);

extern const struct fuse_lowlevel_ops guest_ops;

void guest_dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void guest_dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);
void guest_dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			 struct fuse_file_info *fi);
void guest_dir_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/** guest_run_known() - Where all of a file is: it need not be asked when the file is read */
void guest_run_known(const struct guest_disk *disk, uint64_t number, const struct inspect_run *run);

void guest_file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void guest_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi);
void guest_file_seek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi);
void guest_file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

#endif
