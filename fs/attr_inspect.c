// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * attr_inspect.c - /inspect down to the directories of disks
 *
 * The same names as in /images and /labs, without attributes. They are reached by links from
 * there, so that what walks an object does not walk its guest.
 */
#define _GNU_SOURCE
#include "fs/attr.h"
#include "fs/guest.h"
#include "fs/node.h"
#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>

static const struct entry inspect_entries[] = {
	{ .name = "images", .type = ENTRY_DIR, .dir = CLASS_INSPECT_IMAGES },
	{ .name = "labs", .type = ENTRY_DIR, .dir = CLASS_INSPECT_LABS },
};

const struct class class_inspect = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_ROOT,
	.entries = inspect_entries,
	.nentries = ARRAY_SIZE(inspect_entries),
};

/* A disk's directory; what is in there is guest.h's */
const struct class class_guest = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT,
};

static int images_list(const struct ref *dir, member_fn fn, void *arg)
{
	struct item *items;
	int n = model_list(KIND_IMAGE, 0, &items), r = 0;
	bool more = true;

	(void)dir;
	for (int i = 0; i < n && more && r >= 0; i++) {
		const char *state = json_string_value(json_object_get(items[i].json, "state"));
		char path[IO_PATH];

		if (!state || strcmp(state, "ready") != 0)
			continue;
		io_path(path, "inspect/images/%s", items[i].name);
		r = guest_find(KIND_IMAGE, items[i].id, 0, "", path);
		if (r >= 0)
			more = fn(arg, items[i].name,
				  &(struct node){ .class = CLASS_GUEST, .id = (uint32_t)r });
	}
	if (n >= 0)
		model_list_free(items, n);
	return MIN(n < 0 ? n : r, 0);
}

static const struct members images_members = { .list = images_list };

const struct class class_inspect_images = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT,
	.members = &images_members,
};

static int labs_list(const struct ref *dir, member_fn fn, void *arg)
{
	(void)dir;
	return attr_members(KIND_LAB, 0, CLASS_INSPECT_LAB, fn, arg);
}

static const struct members labs_members = { .list = labs_list };

const struct class class_inspect_labs = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT,
	.members = &labs_members,
};

static const struct entry lab_entries[] = {
	{ .name = "instances", .type = ENTRY_DIR, .dir = CLASS_INSPECT_INSTANCES },
	{ .name = "snapshots", .type = ENTRY_DIR, .dir = CLASS_INSPECT_SNAPSHOTS },
};

const struct class class_inspect_lab = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT_LABS,
	.kind = KIND_LAB,
	.entries = lab_entries,
	.nentries = ARRAY_SIZE(lab_entries),
};

static int instances_list(const struct ref *dir, member_fn fn, void *arg)
{
	return attr_members(KIND_INSTANCE, dir->lab.id, CLASS_INSPECT_INSTANCE, fn, arg);
}

static const struct members instances_members = { .list = instances_list };

const struct class class_inspect_instances = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT_LAB,
	.kind = KIND_LAB,
	.members = &instances_members,
};

/**
 * struct disks - whose disks are listed
 * @kind, @id, @member: as guest_find()
 * @dir:	their directory in the tree
 */
struct disks {
	enum kind kind;
	uint32_t id, member;
	char dir[IO_PATH];
};

static int list_disks(const struct disks *of, const json_t *list, member_fn fn, void *arg)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(list, i, disk) {
		const char *name = json_string_value(json_object_get(disk, "name"));
		char path[IO_PATH];
		int r;

		if (!name || !name_valid(name))
			continue;
		io_path(path, "%s/%s", of->dir, name);
		r = guest_find(of->kind, of->id, of->member, name, path);
		if (r < 0)
			return r;
		if (!fn(arg, name, &(struct node){ .class = CLASS_GUEST, .id = (uint32_t)r }))
			break;
	}
	return 0;
}

static int instance_list(const struct ref *dir, member_fn fn, void *arg)
{
	struct disks of = { .kind = KIND_INSTANCE, .id = dir->item.id };

	io_path(of.dir, "inspect/labs/%s/instances/%s", dir->lab.name, dir->item.name);
	return list_disks(&of, json_object_get(dir->item.json, "disks"), fn, arg);
}

static const struct members instance_members = { .list = instance_list };

const struct class class_inspect_instance = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT_INSTANCES,
	.kind = KIND_INSTANCE,
	.members = &instance_members,
};

static int snapshots_list(const struct ref *dir, member_fn fn, void *arg)
{
	return attr_members(KIND_SNAPSHOT, dir->lab.id, CLASS_INSPECT_SNAPSHOT, fn, arg);
}

static const struct members snapshots_members = { .list = snapshots_list };

const struct class class_inspect_snapshots = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT_LAB,
	.kind = KIND_LAB,
	.members = &snapshots_members,
};

static const struct entry snapshot_entries[] = {
	{ .name = "instances", .type = ENTRY_DIR, .dir = CLASS_INSPECT_MEMBERS },
};

const struct class class_inspect_snapshot = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT_SNAPSHOTS,
	.kind = KIND_SNAPSHOT,
	.entries = snapshot_entries,
	.nentries = ARRAY_SIZE(snapshot_entries),
};

static int members_list(const struct ref *dir, member_fn fn, void *arg)
{
	return snapshot_members(dir, CLASS_INSPECT_MEMBER, fn, arg);
}

static const struct members members_members = { .list = members_list };

const struct class class_inspect_members = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT_SNAPSHOT,
	.kind = KIND_SNAPSHOT,
	.members = &members_members,
};

/* The disks that the instance has now: one that it had not then is not found when it is opened */
static int member_list(const struct ref *dir, member_fn fn, void *arg)
{
	struct disks of = { .kind = KIND_SNAPSHOT, .id = dir->item.id, .member = dir->owner.id };

	io_path(of.dir, "inspect/labs/%s/snapshots/%s/instances/%s", dir->lab.name, dir->item.name,
		dir->owner.name);
	return list_disks(&of, json_object_get(dir->owner.json, "disks"), fn, arg);
}

static const struct members member_members = { .list = member_list };

const struct class class_inspect_member = {
	.mode = S_IFDIR | 0555,
	.up = CLASS_INSPECT_MEMBERS,
	.kind = KIND_INSTANCE,
	.members = &member_members,
	.part = snapshot_member_part,
};
