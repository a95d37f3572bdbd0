/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2.h - where the clusters of a qcow2 file are, for reading */
#ifndef FS_INSPECT_QCOW2_H
#define FS_INSPECT_QCOW2_H

#include "lib/err.h"

#include <stddef.h>
#include <stdint.h>

#define MAP_TABLES 128 /* of at most 2 MiB each; 64 KiB as a rule */

/**
 * struct map_table - an L2 table in memory
 * @owner:	whose
 * @index:	of its entry in the L1 table
 */
struct map_table {
	const void *owner;
	uint64_t index;
	uint64_t *entries;
};

/** struct map_cache - L2 tables of all files of a disk; starts zeroed */
struct map_cache {
	struct map_table tables[MAP_TABLES];
};

void map_cache_done(struct map_cache *cache);

/**
 * struct qmap - a qcow2 file
 * @size:	bytes of the disk it describes
 * @file_size:	of the file
 */
struct qmap {
	int fd;
	unsigned int cluster_bits, l2_bits, version;
	uint64_t size, file_size;
	uint64_t *l1;
	uint64_t l1_size;
};

enum map_kind {
	MAP_ABSENT, /* ask the file below */
	MAP_ZERO,
	MAP_DATA, /* @at: in the file */
	MAP_PACKED, /* @at: the entry, for qmap_unpack() */
};

struct map_answer {
	enum map_kind kind;
	uint64_t length, at;
};

/**
 * qmap_open() - Read the header and the L1 table
 * @q:		its @fd and @file_size are set
 *
 * Return: 0, -EUCLEAN, -EOPNOTSUPP (what is not read here), -EIO, -ENOMEM
 */
int qmap_open(struct qmap *q, struct lab_err *err);
void qmap_done(struct qmap *q);

/**
 * qmap_find() - Where the bytes at @at are
 * @at:		below @size
 * @ret:	of at least one byte, never past the end of the disk
 *
 * Return: 0, -EUCLEAN, -EIO, -ENOMEM
 */
int qmap_find(const struct qmap *q, struct map_cache *cache, uint64_t at, struct map_answer *ret);

/**
 * qmap_unpack() - Read a packed cluster
 * @entry:	as qmap_find() says
 * @buf:	a cluster
 */
int qmap_unpack(const struct qmap *q, uint64_t entry, void *buf);

#endif
