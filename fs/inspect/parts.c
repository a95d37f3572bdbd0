// SPDX-License-Identifier: GPL-2.0-or-later
/* parts.c - the partitions of a disk, and what is in them (libblkid) */
#define _GNU_SOURCE
#include "fs/inspect/parts.h"

#include "lib/util.h"

#include <blkid/blkid.h>
#include <string.h>

static void free_probe(blkid_probe *probe)
{
	if (*probe)
		blkid_free_probe(*probe);
}

#define autoprobe __attribute__((cleanup(free_probe)))

static blkid_probe new_probe(int fd, uint64_t start, uint64_t size)
{
	blkid_probe probe = blkid_new_probe();

	if (probe &&
	    blkid_probe_set_device(probe, fd, (blkid_loff_t)start, (blkid_loff_t)size) < 0) {
		blkid_free_probe(probe);
		return NULL;
	}
	return probe;
}

/* A word for `table`: labels can have anything in them */
static void put_word(char *to, size_t room, const char *text)
{
	size_t i;

	for (i = 0; text && text[i] && i < room - 1; i++) {
		bool plain = text[i] > ' ' && text[i] <= '~';

		to[i] = (char)(plain ? text[i] : '?');
	}
	to[i] = '\0';
}

static void put_value(blkid_probe probe, const char *name, char *to, size_t room)
{
	const char *value = NULL;

	if (!blkid_probe_lookup_value(probe, name, &value, NULL))
		put_word(to, room, value);
}

/* What is in a partition. More than one filesystem at a time is not known */
static int look_inside(int fd, struct part *p)
{
	autoprobe blkid_probe probe = new_probe(fd, p->start, p->size);

	if (!probe)
		return -ENOMEM;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
	if (blkid_do_safeprobe(probe))
		return 0;
	put_value(probe, "TYPE", p->fs, sizeof(p->fs));
	put_value(probe, "LABEL", p->label, sizeof(p->label));
	return 0;
}

/* false: it is none that could be looked into */
static bool take_part(const struct disk *d, blkid_partition par, struct part *ret)
{
	uint64_t start = (uint64_t)blkid_partition_get_start(par) * 512;
	uint64_t size = (uint64_t)blkid_partition_get_size(par) * 512;
	int number = blkid_partition_get_partno(par);

	if (number < 1 || blkid_partition_is_extended(par) || start >= disk_size(d) || !size)
		return false;
	size = MIN(size, disk_size(d) - start);
	*ret = (struct part){ .number = (uint32_t)number, .start = start, .size = size };
	if (blkid_partition_get_type_string(par))
		put_word(ret->type, sizeof(ret->type), blkid_partition_get_type_string(par));
	else
		snprintf(ret->type, sizeof(ret->type), "%#04x",
			 (unsigned int)blkid_partition_get_type(par));
	return true;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = ((const struct part *)a)->number, y = ((const struct part *)b)->number;

	return (x > y) - (x < y);
}

static void drop_twice(struct parts *parts)
{
	size_t kept = 0;

	for (size_t i = 0; i < parts->n; i++)
		if (!kept || parts->v[kept - 1].number != parts->v[i].number)
			parts->v[kept++] = parts->v[i];
	parts->n = kept;
}

static int read_table(const struct disk *d, int fd, struct parts *ret)
{
	autoprobe blkid_probe probe = new_probe(fd, 0, disk_size(d));
	blkid_partlist list;
	blkid_parttable table;

	if (!probe)
		return -ENOMEM;
	blkid_probe_enable_partitions(probe, 1);
	blkid_probe_set_partitions_flags(probe, BLKID_PARTS_ENTRY_DETAILS);
	list = blkid_probe_get_partitions(probe);
	table = list ? blkid_partlist_get_table(list) : NULL;
	if (!table)
		return 0;
	put_word(ret->table, sizeof(ret->table), blkid_parttable_get_type(table));
	for (int i = 0; i < blkid_partlist_numof_partitions(list); i++)
		if (ret->n < INSPECT_MAX_PARTS &&
		    take_part(d, blkid_partlist_get_partition(list, i), &ret->v[ret->n]))
			ret->n++;
	qsort(ret->v, ret->n, sizeof(*ret->v), by_number);
	drop_twice(ret);
	return 0;
}

int parts_scan(const struct disk *d, int fd, struct parts *ret)
{
	struct part whole = { .size = disk_size(d) };
	int r;

	*ret = (struct parts){ 0 };
	/* A filesystem may begin with what looks like a table: a boot sector does */
	r = look_inside(fd, &whole);
	if (!r && !*whole.fs)
		r = read_table(d, fd, ret);
	if (r < 0 || *ret->table) {
		for (size_t i = 0; !r && i < ret->n; i++)
			r = look_inside(fd, &ret->v[i]);
		return r;
	}
	ret->v[0] = whole;
	ret->n = 1;
	return 0;
}

const struct part *parts_find(const struct parts *parts, uint32_t number)
{
	for (size_t i = 0; i < parts->n; i++)
		if (parts->v[i].number == number)
			return &parts->v[i];
	return NULL;
}

bool part_is_ext(const struct part *p)
{
	return !strcmp(p->fs, "ext2") || !strcmp(p->fs, "ext3") || !strcmp(p->fs, "ext4") ||
	       !strcmp(p->fs, "ext4dev");
}
