// SPDX-License-Identifier: GPL-2.0-or-later
/* guest_disk.c - disks that somebody has looked at, and their inode numbers */
#define _GNU_SOURCE
#include "fs/guest.h"

#include "fs/guest_child.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "lib/util.h"

#include <string.h>

#define MAX_ROWS (1U << 22)
#define GUEST_BITS (3ULL << 62)

struct row {
	struct guest_disk *disk;
	uint32_t part;
};

/* Rows are never taken away: a number stands for one thing as long as the mount is there */
static struct {
	struct row *v;
	size_t n, room;
} rows;

bool guest_is(uint64_t number)
{
	return (number & GUEST_BITS) == GUEST_BITS;
}

uint64_t guest_number(uint32_t row, uint32_t depth, uint32_t ino)
{
	return GUEST_BITS | (uint64_t)row << 40 | (uint64_t)depth << 32 | ino;
}

bool guest_parse(uint64_t number, struct guest_node *ret)
{
	uint32_t row = (uint32_t)(number >> 40) & (MAX_ROWS - 1);

	if (!guest_is(number) || row >= rows.n)
		return false;
	*ret = (struct guest_node){ .disk = rows.v[row].disk,
				    .row = row,
				    .part = rows.v[row].part,
				    .depth = (uint32_t)(number >> 32) & INSPECT_MAX_DEPTH,
				    .ino = (uint32_t)number };
	return true;
}

static int add_row(struct guest_disk *disk, uint32_t part)
{
	if (rows.n == MAX_ROWS)
		return -ENFILE;
	if (rows.n == rows.room) {
		size_t room = rows.room ? 2 * rows.room : 64;
		struct row *more = reallocarray(rows.v, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		rows.v = more;
		rows.room = room;
	}
	rows.v[rows.n] = (struct row){ .disk = disk, .part = part };
	return (int)rows.n++;
}

int guest_row(struct guest_disk *disk, uint32_t part)
{
	/* The newest are asked for most */
	for (size_t i = rows.n; i > 0; i--)
		if (rows.v[i - 1].disk == disk && rows.v[i - 1].part == part)
			return (int)i - 1;
	return add_row(disk, part);
}

static void disk_free(struct guest_disk *disk)
{
	free(disk->path);
	free(disk);
}

int guest_find(enum kind kind, uint32_t id, uint32_t member, const char *name, const char *path)
{
	struct guest_disk *disk;
	int r;

	for (size_t i = 0; i < rows.n; i++) {
		const struct guest_disk *d = rows.v[i].disk;

		if (rows.v[i].part == GUEST_DISK && d->kind == kind && d->id == id &&
		    d->member == member && !strcmp(d->name, name))
			return (int)i;
	}
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return -ENOMEM;
	disk->kind = kind;
	disk->id = id;
	disk->member = member;
	snprintf(disk->name, sizeof(disk->name), "%s", name);
	disk->path = strdup(path);
	r = disk->path ? add_row(disk, GUEST_DISK) : -ENOMEM;
	if (r < 0)
		disk_free(disk);
	return r;
}

bool guest_sealed(const struct guest_disk *disk)
{
	return disk->kind != KIND_INSTANCE;
}

/* What was known is of another time */
static void forget(struct guest_disk *disk, int code, const char *why)
{
	guest_drop(disk, code, why);
	disk->known = false;
	free(steal_ptr(disk->table));
	free(steal_ptr(disk->file));
}

static const char *file_of(const struct item *instance, const char *disk)
{
	const json_t *d;
	size_t i;

	json_array_foreach(json_object_get(instance->json, "disks"), i, d) {
		const char *name = json_string_value(json_object_get(d, "name"));

		if (name && !strcmp(name, disk))
			return json_string_value(json_object_get(d, "path"));
	}
	return NULL;
}

static bool is_off(const struct item *instance)
{
	const char *state = json_string_value(json_object_get(instance->json, "state"));

	return state &&
	       (!strcmp(state, "stopped") || !strcmp(state, "defined") || !strcmp(state, "failed"));
}

static int check_instance(struct guest_disk *disk, struct lab_err *err)
{
	double since = model_mtime(KIND_INSTANCE, disk->id, "state");
	autoitem struct item item = { 0 };
	const char *file;

	if (!model_get(KIND_INSTANCE, disk->id, &item))
		return lab_fail(err, -ENODEV, "its instance is gone");
	file = file_of(&item, disk->name);
	if (!file)
		return lab_fail(err, -ENODEV, "the disk is gone");
	if (!is_off(&item))
		return lab_fail(err, -EBUSY,
				"instance %s runs, and its disks change: take a snapshot and look "
				"into that",
				item.name);
	if (!disk->file || strcmp(file, disk->file) || since > disk->since) {
		forget(disk, -ESTALE, "the disk is another one by now");
		disk->file = strdup(file);
		disk->since = since;
	}
	return disk->file ? 0 : -ENOMEM;
}

int guest_disk_check(struct guest_disk *disk, struct lab_err *err)
{
	int r = 0;

	if (disk->kind == KIND_INSTANCE)
		r = check_instance(disk, err);
	else if (!model_exists(disk->kind, disk->id) ||
		 (disk->member && !model_exists(KIND_INSTANCE, disk->member)))
		r = lab_fail(err, -ENODEV, "it is gone");
	if (r < 0)
		forget(disk, r, err->text);
	return r;
}

/* Have the kernel look again for all that it knows below a disk's directory */
static void forget_names(const struct guest_disk *disk, uint32_t row)
{
	uint64_t dir = guest_number(row, 0, GUEST_DIR);
	char name[16];

	notify_stale(dir, "table");
	notify_stale(dir, "raw");
	for (uint32_t i = 0; i < disk->info.nparts; i++) {
		snprintf(name, sizeof(name), "p%u", disk->info.parts[i]);
		notify_stale(dir, name);
	}
}

void guest_changed(void)
{
	struct lab_err err = LAB_ERR_INIT;

	for (size_t i = 0; i < rows.n; i++) {
		struct guest_disk *disk = rows.v[i].disk;
		bool known = disk->known;

		if (rows.v[i].part != GUEST_DISK || (!known && !disk->child))
			continue;
		(void)guest_disk_check(disk, &err);
		if (known && !disk->known && disk->kind == KIND_INSTANCE)
			forget_names(disk, (uint32_t)i);
	}
}

char *guest_path(const struct guest_node *n)
{
	char *path;

	if (n->part == GUEST_DISK || n->part == GUEST_ALIAS)
		return strdup(n->disk->path);
	return asprintf(&path, "%s/p%u", n->disk->path, n->part) < 0 ? NULL : path;
}

void guest_refuse(fuse_req_t req, const struct guest_node *n, int code, const char *why)
{
	autofree char *path = guest_path(n);
	struct lab_err err = LAB_ERR_INIT;

	if (code != -ENOENT && code != -ENODEV) {
		lab_fail(&err, code, "%s", why && *why ? why : strerror(-code));
		action_refuse(path ? path : "", n->disk->kind, n->disk->id, &err);
	}
	fuse_reply_err(req, -code);
}

int guest_ready(fuse_req_t req, uint64_t number, struct guest_node *ret)
{
	struct lab_err err = LAB_ERR_INIT;
	int r;

	if (!guest_parse(number, ret)) {
		fuse_reply_err(req, ESTALE);
		return -ESTALE;
	}
	r = guest_disk_check(ret->disk, &err);
	if (r < 0)
		guest_refuse(req, ret, r, err.text);
	return r;
}
