/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * same.h - where two disks have the same bytes, without reading any
 *
 * DOC: Theory of Operation
 *
 * Two snapshots of a disk stand on the same frozen files, as far as they have a common
 * past. A cluster that no file above has is in the same place of the same file for both, and
 * cannot differ. So the tables of all files are gone through once, and what is left is a
 * list of spans that may differ: as much as was written since the two parted.
 *
 * What is not read from its place on the disk, since a journal has it newer, is marked as what
 * may differ as well: same_mark() for each such place, then same_sort().
 *
 * The list is bounded. What does not fit may differ, which costs time and is never wrong.
 */
#ifndef FS_INSPECT_SAME_H
#define FS_INSPECT_SAME_H

#include "fs/inspect/disk.h"

#define SAME_MAX_SPANS (1U << 20)

/** struct span - bytes from @at to before @end */
struct span {
	uint64_t at, end;
};

/** struct same - spans that may differ, ascending, none touches the next; starts zeroed */
struct same {
	struct span *v;
	size_t n, room;
};

/** same_scan() - Compare where two disks have their bytes; 0, -EIO, -ENOMEM */
int same_scan(struct disk *a, struct disk *b, struct same *ret);
void same_done(struct same *s);

/** same_mark() - What may differ although the disks share it; 0, -ENOMEM */
int same_mark(struct same *s, const struct span *span);

/** same_sort() - Put the marks in their order, before anything is asked */
void same_sort(struct same *s);

/**
 * same_at() - Whether there can be no difference at @at
 * @len:	of interest, at least 1
 * @ret_len:	so many bytes are like that
 */
bool same_at(const struct same *s, uint64_t at, uint64_t len, uint64_t *ret_len);

/** same_all() - Whether there can be no difference in all of @len bytes */
bool same_all(const struct same *s, uint64_t at, uint64_t len);

#endif
