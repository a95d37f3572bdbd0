// SPDX-License-Identifier: GPL-2.0-or-later
/* attr_snapshot.c - snapshots, seen from their lab and from their instances */
#define _GNU_SOURCE
#include "fs/attr.h"
#include "fs/node.h"
#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>

static int show_state(const struct ref *ref, FILE *out)
{
	const char *state = attr_string(ref, "state");

	/* One that labd shows without a state is finished */
	fputs(*state ? state : "ready", out);
	return 0;
}

static int snapshot_removable(const struct ref *ref, struct lab_err *err)
{
	if (ref->owner.json)
		return class_instance.removable(ref, err);
	if (json_is_true(json_object_get(ref->lab.json, "protect")))
		return lab_fail(err, -EPERM, "lab %s is protected", ref->lab.name);
	return 0;
}

static const struct entry snapshot_entries[] = {
	{ .name = "state", .type = ENTRY_TEXT, .mode = 0444, .key = "state", .show = show_state },
	{ .name = "kind", .type = ENTRY_TEXT, .mode = 0444, .key = "kind", .show = show_string },
	{ .name = "created",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "created",
	  .show = show_time },
	{ .name = "size", .type = ENTRY_TEXT, .mode = 0444, .key = "size", .show = show_count },
	{ .name = "parent",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "parent",
	  .show = show_string },
	{ .name = "memory", .type = ENTRY_TEXT, .mode = 0444, .key = "memory", .show = show_bool },
	{ .name = "members",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "members",
	  .show = show_list },
	{ .name = "error", .type = ENTRY_TEXT, .mode = 0444, .key = "error", .show = show_error },
	/* Only of the whole snapshot: an instance has no instances */
	{ .name = "instances", .type = ENTRY_DIR, .dir = CLASS_SNAPSHOT_MEMBERS },
};

const struct class class_snapshot = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_SNAPSHOTS,
	.kind = KIND_SNAPSHOT,
	.entries = snapshot_entries,
	.nentries = ARRAY_SIZE(snapshot_entries),
	.removable = snapshot_removable,
};

static int snapshots_list(const struct ref *dir, member_fn fn, void *arg)
{
	return attr_members(KIND_SNAPSHOT, dir->lab.id, CLASS_SNAPSHOT, fn, arg);
}

static int snapshots_find(const struct ref *dir, const char *name, struct node *ret)
{
	return attr_member(KIND_SNAPSHOT, dir->lab.id, CLASS_SNAPSHOT, name, ret);
}

/* @instances: array, taken; NULL for the whole lab */
static int make(const struct ref *dir, json_t *instances, const char *name, struct action *ret)
{
	ret->method = "POST";
	client_path(ret->path, "/v1/labs/%s/snapshots", dir->lab.name);
	ret->body = json_pack("{s:s, s:o*}", "name", name, "instances", instances);
	ret->until = UNTIL_APPEARED;
	ret->kind = KIND_SNAPSHOT;
	ret->lab = dir->lab.id;
	return ret->body ? 0 : -ENOMEM;
}

static int destroy(const struct ref *ref, struct action *ret)
{
	ret->method = "DELETE";
	attr_path(&ref->item, &ref->lab, ret->path);
	ret->until = UNTIL_GONE;
	ret->kind = KIND_SNAPSHOT;
	ret->id = ref->item.id;
	return 0;
}

static int snapshots_make(const struct ref *dir, const char *name, struct action *ret,
			  struct lab_err *err)
{
	(void)err;
	return make(dir, NULL, name, ret);
}

static int snapshots_destroy(const struct ref *snapshot, struct action *ret, struct lab_err *err)
{
	(void)err;
	return destroy(snapshot, ret);
}

static const struct members snapshots_members = {
	.list = snapshots_list,
	.find = snapshots_find,
	.make = snapshots_make,
	.destroy = snapshots_destroy,
};

static int lab_removable(const struct ref *ref, struct lab_err *err)
{
	return class_lab.removable(ref, err);
}

const struct class class_snapshots = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_LAB,
	.kind = KIND_LAB,
	.members = &snapshots_members,
	.removable = lab_removable,
};

static bool has_member(const struct item *snapshot, const char *instance)
{
	json_t *member;
	size_t i;

	json_array_foreach(json_object_get(snapshot->json, "members"), i, member)
		if (json_is_string(member) && !strcmp(json_string_value(member), instance))
			return true;
	return false;
}

bool snapshot_member_part(struct ref *ref)
{
	struct item *items;
	int n = model_list(KIND_SNAPSHOT, ref->lab.id, &items);

	for (int i = 0; i < n && !ref->owner.kind; i++) {
		if ((items[i].id & NODE_SUB_MASK) != ref->node.sub ||
		    !has_member(&items[i], ref->item.name))
			continue;
		ref->owner = ref->item;
		ref->item = items[i];
		items[i] = (struct item){ 0 };
	}
	if (n >= 0)
		model_list_free(items, n);
	return ref->owner.kind;
}

const struct class class_member_snapshot = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_MEMBER_SNAPSHOTS,
	.kind = KIND_INSTANCE,
	.entries = snapshot_entries,
	.nentries = ARRAY_SIZE(snapshot_entries) - 1,
	.part = snapshot_member_part,
	.removable = snapshot_removable,
};

static int members_list(const struct ref *dir, member_fn fn, void *arg)
{
	struct item *items;
	int n = model_list(KIND_SNAPSHOT, dir->lab.id, &items);

	for (int i = 0; i < n; i++) {
		struct node node = { .class = CLASS_MEMBER_SNAPSHOT,
				     .id = dir->item.id,
				     .sub = items[i].id & NODE_SUB_MASK };

		if (has_member(&items[i], dir->item.name) && !fn(arg, items[i].name, &node))
			break;
	}
	if (n >= 0)
		model_list_free(items, n);
	return MIN(n, 0);
}

static int members_make(const struct ref *dir, const char *name, struct action *ret,
			struct lab_err *err)
{
	(void)err;
	return make(dir, json_pack("[s]", dir->item.name), name, ret);
}

/*
 * One of more instances stays when one of them goes. Refused, it would keep rm -r from
 * getting on with an instance that labd lets go.
 */
static bool members_elsewhere(const struct ref *snapshot)
{
	return json_array_size(json_object_get(snapshot->item.json, "members")) > 1;
}

static int owner_removable(const struct ref *ref, struct lab_err *err)
{
	return class_instance.removable(ref, err);
}

static const struct members member_snapshots_members = {
	.list = members_list,
	.make = members_make,
	.destroy = snapshots_destroy,
	.elsewhere = members_elsewhere,
};

const struct class class_member_snapshots = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_INSTANCE,
	.kind = KIND_INSTANCE,
	.members = &member_snapshots_members,
	.removable = owner_removable,
};

/* ---- labs/LAB/snapshots/S/instances/NAME ---------------------------------------- */

/* Where the disk is, or where all of them are if there are several */
static int files_path(const struct ref *ref, char path[IO_PATH])
{
	const json_t *disks = json_object_get(ref->owner.json, "disks");
	const char *disk = json_string_value(json_object_get(json_array_get(disks, 0), "name"));
	bool one = json_array_size(disks) == 1 && disk;

	io_path(path, "../../../../../../inspect/labs/%s/snapshots/%s/instances/%s%s%s",
		ref->lab.name, ref->item.name, ref->owner.name, one ? "/" : "", one ? disk : "");
	return 0;
}

static const struct entry member_entries[] = {
	{ .name = "files", .type = ENTRY_LINK, .path = files_path },
};

const struct class class_snapshot_member = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_SNAPSHOT_MEMBERS,
	.kind = KIND_INSTANCE,
	.entries = member_entries,
	.nentries = ARRAY_SIZE(member_entries),
	.part = snapshot_member_part,
	.removable = snapshot_removable,
};

int snapshot_members(const struct ref *dir, enum class_id class, member_fn fn, void *arg)
{
	const json_t *member;
	size_t i;

	json_array_foreach(json_object_get(dir->item.json, "members"), i, member) {
		autoitem struct item instance = { 0 };
		const char *name = json_string_value(member);
		struct node node = { .class = class, .sub = dir->item.id & NODE_SUB_MASK };

		if (!name || !model_find(KIND_INSTANCE, dir->lab.id, name, &instance))
			continue;
		node.id = instance.id;
		if (!fn(arg, name, &node))
			break;
	}
	return 0;
}

static int snapshot_members_list(const struct ref *dir, member_fn fn, void *arg)
{
	return snapshot_members(dir, CLASS_SNAPSHOT_MEMBER, fn, arg);
}

static const struct members snapshot_members_members = { .list = snapshot_members_list };

const struct class class_snapshot_members = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_SNAPSHOT,
	.kind = KIND_SNAPSHOT,
	.members = &snapshot_members_members,
	.removable = snapshot_removable,
};
