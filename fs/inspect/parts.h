/* SPDX-License-Identifier: GPL-2.0-or-later */
/* parts.h - the partitions of a disk, and what is in them (libblkid) */
#ifndef FS_INSPECT_PARTS_H
#define FS_INSPECT_PARTS_H

#include "fs/inspect/disk.h"

/**
 * struct part - a partition, or the whole disk
 * @number:	1, 2, ...; 0: the disk has no table
 * @start, @size:	bytes
 * @type:	of the table: a GUID or 0x83; "" without
 * @fs:		"ext4", "xfs", ...; "" if nothing is known
 * @label:	of the filesystem
 */
struct part {
	uint32_t number;
	uint64_t start, size;
	char type[40], fs[24], label[48];
};

/**
 * struct parts - all of them, by number
 * @table:	"gpt", "dos", ...; "" if there is none
 */
struct parts {
	char table[16];
	size_t n;
	struct part v[INSPECT_MAX_PARTS];
};

/**
 * parts_scan() - Look at a disk
 * @fd:		reads as the disk does, for libblkid, which takes nothing else. In labinspect
 *		that is a window (main.c), as the disk may be a qcow2
 *
 * Return: 0, -EIO, -ENOMEM; what cannot be understood is a disk without table
 */
int parts_scan(const struct disk *d, int fd, struct parts *ret);

/** part_is_ext() - Whether ext_open() can be tried */
bool part_is_ext(const struct part *p);

const struct part *parts_find(const struct parts *parts, uint32_t number);

#endif
