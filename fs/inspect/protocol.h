/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * protocol.h - what labfs or labctl and labinspect say to each other
 *
 * DOC: Theory of Operation
 *
 * One labinspect serves one disk, over one SEQPACKET socket, its descriptor 0. labfs
 * sends a request, labinspect one reply, in the same order; so replies need no number.
 * Everything is in this machine's byte order, of fixed size, and starts with zeroes where
 * nothing else is said.
 *
 * The first messages hand over the descriptors of the disk's files, top first, at
 * most INSPECT_BATCH a message; the one with the last of them is answered: INSPECT_DISK.
 *
 * labfs trusts nothing in a reply: lengths, counts, names and numbers of files are checked
 * where they arrive. What a hostile labinspect can do is to lie about the contents of its own
 * disk. It names no file and no inode of another disk; data that labfs reads
 * for it comes from the files that labfs itself has given it.
 *
 * Started with the word INSPECT_DIFF_MODE it compares two disks for labctl instead: it is given
 * the files of the one, those of the other, and a struct inspect_diff, and says in one struct
 * inspect_change a message what differs, until INSPECT_END. labctl trusts it as little.
 */
#ifndef FS_INSPECT_PROTOCOL_H
#define FS_INSPECT_PROTOCOL_H

#include <stdint.h>

#define INSPECT_BATCH 16 /* descriptors a message: IO_MAX_FDS */
#define INSPECT_MAX_FILES 256 /* of a chain */
#define INSPECT_MAX_PARTS 128 /* what a GPT has room for */
#define INSPECT_REPLY (160 << 10) /* fits a socket's default buffer of 208 KiB */
#define INSPECT_DATA (128 << 10) /* bytes of a file in one reply: max_read of the mount */
#define INSPECT_TARGET 4096 /* a link's target, with its NUL */
#define INSPECT_RUNS 2048 /* in one reply */
#define INSPECT_NAME 255
#define INSPECT_TEXT 512 /* words of an error */
#define INSPECT_ROOT 2 /* inode number of a filesystem's root directory */
#define INSPECT_MAX_DEPTH 255 /* directories below each other */

enum inspect_op {
	INSPECT_DISK, /* struct inspect_disk */
	INSPECT_TABLE, /* text */
	INSPECT_LOOKUP, /* struct inspect_attr of a name */
	INSPECT_ATTR, /* struct inspect_attr of a number */
	INSPECT_LINK, /* target, as it is to be shown */
	INSPECT_LIST, /* struct inspect_entry ... from entry @offset on; none at the end */
	INSPECT_MAP, /* struct inspect_run ... from byte @offset on; none at the end */
	INSPECT_READ, /* bytes of a file: at most INSPECT_DATA */
	INSPECT_STATFS, /* struct inspect_statfs */
	INSPECT_OPS,
};

/* Instead of a partition's number: the disk as the guest sees it */
#define INSPECT_RAW UINT32_MAX

/**
 * struct inspect_request - what labfs asks
 * @op:		enum inspect_op
 * @part:	number of the partition, 0: the whole disk is one filesystem
 * @ino:	of the directory, file or link
 * @depth:	how far below the root that directory is, or the link's
 * @offset:	entry or byte to start from
 * @length:	bytes wanted, of READ and MAP
 * @name_len:	of LOOKUP
 */
struct inspect_request {
	uint32_t op, part, ino, depth;
	uint64_t offset, length;
	uint32_t name_len;
	char name[INSPECT_NAME + 1];
};

/**
 * struct inspect_files - with descriptors: the first request
 * @total:	files in the chain
 * @raw:	bit n: the nth file of this message has no format of its own, else qcow2
 */
struct inspect_files {
	uint32_t total, raw;
};

/**
 * struct inspect_reply - before whatever the answer is
 * @op:		of the request
 * @error:	0 or negative errno; then a text follows
 * @length:	bytes that follow
 */
struct inspect_reply {
	uint32_t op;
	int32_t error;
	uint32_t length, pad;
};

/**
 * struct inspect_disk - a disk that was opened
 * @size:	bytes
 * @blocks:	512 bytes each, that its files hold
 * @nparts:	how many of @parts are valid
 * @parts:	numbers of partitions, ascending; 0 alone if it is one filesystem
 */
struct inspect_disk {
	uint64_t size, blocks;
	uint32_t nparts, pad;
	uint32_t parts[INSPECT_MAX_PARTS];
};

enum inspect_kind {
	INSPECT_DATA_RUN, /* @at in file @file of the chain */
	INSPECT_ZERO_RUN, /* a hole, or what reads as one */
	INSPECT_COPY_RUN, /* data that only labinspect can read: packed or in an inode */
};

/** struct inspect_run - where some bytes of a file are; runs follow each other without gaps */
struct inspect_run {
	uint64_t length, at;
	uint32_t file, kind;
};

/**
 * struct inspect_attr - what is known of an inode
 * @blocks:	512 bytes each
 * @run:	of a file that is in one piece: where all of it is; else its @length is 0
 */
struct inspect_attr {
	uint64_t size, blocks;
	int64_t atime, mtime, ctime;
	uint32_t atime_ns, mtime_ns, ctime_ns;
	uint32_t ino, mode, nlink, uid, gid, rdev, blksize;
	struct inspect_run run;
};

/**
 * struct inspect_entry - a name in a directory
 * @next:	@offset of a request that goes on behind it; UINT64_MAX: it is the last
 * @size:	bytes to the next struct inspect_entry, a multiple of 8
 * @error:	negative errno: the inode cannot be read, only @attr.ino is valid
 * @type:	S_IFMT bits as the directory says
 */
struct inspect_entry {
	struct inspect_attr attr;
	uint64_t next;
	uint32_t size, name_len;
	int32_t error;
	uint32_t type;
	char name[];
};

struct inspect_statfs {
	uint64_t blocks, free, avail, files, ffree;
	uint32_t bsize, pad;
};

/* ---- comparing two disks ---------------------------------------------------------- */

#define INSPECT_DIFF_MODE "diff"
#define INSPECT_PATH ((INSPECT_MAX_DEPTH + 1) * (INSPECT_NAME + 1) + 1) /* with its NUL */

/**
 * struct inspect_diff - what is to be compared
 * @part:	number of a partition, INSPECT_RAW: all
 * @path_len:	0: everything
 */
struct inspect_diff {
	uint32_t part, path_len;
	char path[4096];
};

enum inspect_found {
	INSPECT_ADDED,
	INSPECT_REMOVED,
	INSPECT_CHANGED,
	INSPECT_TROUBLE, /* @error and words: something could not be compared */
	INSPECT_REPLAYED, /* side @what was in use: its journal was replayed */
	INSPECT_DIRTY, /* likewise, but the journal could not be, or not all of it */
	INSPECT_PROGRESS,
	INSPECT_END, /* @what: 1 if the path is on one side at least */
	INSPECT_FOUND, /* how many there are */
};

/* What changed, bits */
enum {
	INSPECT_OF_TYPE = 1,
	INSPECT_OF_MODE = 2,
	INSPECT_OF_OWNER = 4,
	INSPECT_OF_CONTENT = 8,
	INSPECT_OF_TARGET = 16,
	INSPECT_OF_DEVICE = 32,
};

/** struct inspect_was - what is on one side; @mode is 0 for a partition as a whole */
struct inspect_was {
	uint64_t size;
	uint32_t mode, uid, gid, rdev;
};

/**
 * struct inspect_change - a difference between two disks
 * @found:	enum inspect_found
 * @part:	number of the partition
 * @names:	looked at up to now
 * @side:	before and after; zero where there is nothing
 * @path_len:	of @text; it begins with a slash, or is empty: the partition as a whole
 * @target_len:	behind it: targets of links; for INSPECT_TROUBLE the first are the words
 */
struct inspect_change {
	uint32_t found, what;
	int32_t error;
	uint32_t part;
	uint64_t names;
	struct inspect_was side[2];
	uint32_t path_len, target_len[2], pad;
	char text[];
};

#endif
