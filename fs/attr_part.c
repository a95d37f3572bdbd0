// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * attr_part.c - parts of objects that the store has no numbers for: disks, nics
 * and services of an instance, ports of a network
 *
 * Their inode numbers come from a hash of the name beside the object's id, so
 * that they stay the same when the list changes its order.
 */
#define _GNU_SOURCE
#include "fs/attr.h"
#include "fs/node.h"
#include "lib/util.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char *part_name(const json_t *part)
{
	const char *name = json_string_value(json_object_get(part, "name"));

	return name ? name : json_string_value(part) ? json_string_value(part) : "";
}

static bool is_taken(const uint32_t numbers[], size_t i)
{
	for (size_t before = 0; before < i; before++)
		if (numbers[before] == numbers[i])
			return true;
	return false;
}

/* The numbers of all parts, each kept apart from those before it; NULL without memory */
static uint32_t *part_numbers(const json_t *list)
{
	uint32_t *numbers = calloc(json_array_size(list) + 1, sizeof(*numbers));
	const json_t *part;
	size_t i;

	if (!numbers)
		return NULL;
	json_array_foreach(list, i, part) {
		numbers[i] = NODE_SUB_MASK &
			     (uint32_t)name_hash("labfs part", part_name(part), NULL, NULL);
		numbers[i] = numbers[i] ? numbers[i] : 1;
		while (is_taken(numbers, i))
			numbers[i] = numbers[i] % NODE_SUB_MASK + 1;
	}
	return numbers;
}

static json_t *find_part(const json_t *list, uint32_t number)
{
	autofree uint32_t *numbers = part_numbers(list);

	for (size_t i = 0; numbers && i < json_array_size(list); i++)
		if (numbers[i] == number)
			return json_array_get(list, i);
	return NULL;
}

static int list_parts(const struct ref *dir, const char *key, enum class_id class, member_fn fn,
		      void *arg)
{
	const json_t *list = json_object_get(dir->item.json, key), *part;
	autofree uint32_t *numbers = part_numbers(list);
	size_t i;

	if (!numbers)
		return -ENOMEM;
	json_array_foreach(list, i, part) {
		struct node node = { .class = class, .id = dir->item.id, .sub = numbers[i] };

		if (name_valid(part_name(part)) && !fn(arg, part_name(part), &node))
			break;
	}
	return 0;
}

static int owner_removable(const struct ref *ref, struct lab_err *err)
{
	return class_instance.removable(ref, err);
}

/* Read where it is: events do not carry it, since it changes all the time */
static int show_used(const struct ref *ref, FILE *out)
{
	struct stat st;

	if (!stat(attr_string(ref, "path"), &st))
		fprintf(out, "%" PRIu64, (uint64_t)st.st_blocks * 512);
	else
		show_count(ref, out);
	return 0;
}

static int files_path(const struct ref *ref, char path[IO_PATH])
{
	io_path(path, "../../../../../../inspect/labs/%s/instances/%s/%s", ref->lab.name,
		ref->item.name, attr_string(ref, "name"));
	return 0;
}

static const struct entry disk_entries[] = {
	{ .name = "size", .type = ENTRY_TEXT, .mode = 0444, .key = "size", .show = show_count },
	{ .name = "used", .type = ENTRY_TEXT, .mode = 0444, .key = "used", .show = show_used },
	{ .name = "format",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "format",
	  .show = show_string },
	{ .name = "base", .type = ENTRY_TEXT, .mode = 0444, .key = "base", .show = show_string },
	{ .name = "files", .type = ENTRY_LINK, .path = files_path },
};

static bool disk_part(struct ref *ref)
{
	ref->part = find_part(json_object_get(ref->item.json, "disks"), ref->node.sub);
	return ref->part;
}

const struct class class_disk = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_DISKS,
	.kind = KIND_INSTANCE,
	.entries = disk_entries,
	.nentries = ARRAY_SIZE(disk_entries),
	.part = disk_part,
	.removable = owner_removable,
};

static int disks_list(const struct ref *dir, member_fn fn, void *arg)
{
	return list_parts(dir, "disks", CLASS_DISK, fn, arg);
}

static const struct members disks_members = { .list = disks_list };

const struct class class_disks = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_INSTANCE,
	.kind = KIND_INSTANCE,
	.members = &disks_members,
	.removable = owner_removable,
};

static int show_nic_stat(const struct ref *ref, FILE *out)
{
	json_int_t pid = json_integer_value(json_object_get(ref->item.json, "pid"));

	return attr_net_stat(pid, attr_string(ref, "ifname"), true, out);
}

static const char *ask_packets(const struct ref *ref, char path[CLIENT_PATH])
{
	return client_path(path, "/v1/labs/%s/instances/%s/nics/%s/pcap?id=labfs", ref->lab.name,
			   ref->item.name, part_name(ref->part));
}

static const struct entry nic_entries[] = {
	{ .name = "network",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "network",
	  .show = show_string },
	{ .name = "mac", .type = ENTRY_TEXT, .mode = 0444, .key = "mac", .show = show_string },
	{ .name = "addr", .type = ENTRY_TEXT, .mode = 0444, .key = "addr", .show = show_string },
	{ .name = "state", .type = ENTRY_TEXT, .mode = 0444, .key = "state", .show = show_string },
	{ .name = "stat", .type = ENTRY_TEXT, .mode = 0444, .show = show_nic_stat },
	{ .name = "pcap", .type = ENTRY_CAPTURE, .mode = 0444, .ask = ask_packets },
};

static bool nic_part(struct ref *ref)
{
	ref->part = find_part(json_object_get(ref->item.json, "nics"), ref->node.sub);
	return ref->part;
}

const struct class class_nic = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_NICS,
	.kind = KIND_INSTANCE,
	.entries = nic_entries,
	.nentries = ARRAY_SIZE(nic_entries),
	.part = nic_part,
	.removable = owner_removable,
};

static int nics_list(const struct ref *dir, member_fn fn, void *arg)
{
	return list_parts(dir, "nics", CLASS_NIC, fn, arg);
}

static const struct members nics_members = { .list = nics_list };

const struct class class_nics = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_INSTANCE,
	.kind = KIND_INSTANCE,
	.members = &nics_members,
	.removable = owner_removable,
};

/* labd says "db/eth0"; no name that people give has a colon in it */
static int ports_list(const struct ref *dir, member_fn fn, void *arg)
{
	const json_t *list = json_object_get(dir->item.json, "ports"), *port;
	autofree uint32_t *numbers = part_numbers(list);
	char name[2 * NAME_MAX_LEN + 2];
	size_t i;

	if (!numbers)
		return -ENOMEM;
	json_array_foreach(list, i, port) {
		struct node node = { .class = CLASS_PORT, .id = dir->item.id, .sub = numbers[i] };
		char *slash;

		snprintf(name, sizeof(name), "%s", part_name(port));
		slash = strchr(name, '/');
		if (!slash)
			continue;
		*slash = ':';
		if (!fn(arg, name, &node))
			break;
	}
	return 0;
}

static bool port_part(struct ref *ref)
{
	ref->part = find_part(json_object_get(ref->item.json, "ports"), ref->node.sub);
	return ref->part;
}

/* From networks/N/ports/I:NIC to the nic of the instance */
static int port_path(const struct ref *ref, char path[IO_PATH])
{
	const char *port = json_string_value(ref->part), *slash = port ? strchr(port, '/') : NULL;

	if (!slash)
		return -ENOENT;
	io_path(path, "../../../instances/%.*s/nics/%s", (int)(slash - port), port, slash + 1);
	return 0;
}

static int ports_removable(const struct ref *ref, struct lab_err *err)
{
	return class_lab.removable(ref, err);
}

const struct class class_port = {
	.mode = S_IFLNK | 0777,
	.up = CLASS_PORTS,
	.kind = KIND_NETWORK,
	.part = port_part,
	.path = port_path,
	.removable = ports_removable,
};

static const struct members ports_members = { .list = ports_list };

const struct class class_ports = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_NETWORK,
	.kind = KIND_NETWORK,
	.members = &ports_members,
	.removable = ports_removable,
};

/* ---- services: parts of the lab's instances, in a directory of the lab ---------------- */

/* With the instance behind it if the lab has the service more than once, as compute:node2 */
static void service_name(const char *name, const struct item *in, const struct item *all, int n,
			 char *buf, size_t size)
{
	size_t count = 0, i;
	json_t *s;

	for (int k = 0; k < n; k++)
		json_array_foreach(json_object_get(all[k].json, "service_states"), i, s)
			count += !strcmp(part_name(s), name);
	snprintf(buf, size, "%s%s%s", name, count > 1 ? ":" : "", count > 1 ? in->name : "");
}

/* Those of one of the @n instances; 1: there is no need for more */
static int list_services(const struct item *in, const struct item *all, int n, member_fn fn,
			 void *arg)
{
	const json_t *list = json_object_get(in->json, "service_states"), *s;
	autofree uint32_t *numbers = part_numbers(list);
	char name[2 * NAME_MAX_LEN + 2];
	size_t i;

	if (!numbers)
		return -ENOMEM;
	json_array_foreach(list, i, s) {
		struct node node = { .class = CLASS_SERVICE, .id = in->id, .sub = numbers[i] };

		service_name(part_name(s), in, all, n, name, sizeof(name));
		if (!fn(arg, name, &node))
			return 1;
	}
	return 0;
}

static int services_list(const struct ref *dir, member_fn fn, void *arg)
{
	struct item *items;
	int n = model_list(KIND_INSTANCE, dir->item.id, &items), r = 0;

	for (int k = 0; k < n && !r; k++)
		r = list_services(&items[k], items, n, fn, arg);
	if (n >= 0)
		model_list_free(items, n);
	return n < 0 ? n : MIN(r, 0);
}

static bool service_part(struct ref *ref)
{
	ref->part = find_part(json_object_get(ref->item.json, "service_states"), ref->node.sub);
	return ref->part;
}

static int show_instance(const struct ref *ref, FILE *out)
{
	fputs(ref->item.name, out);
	return 0;
}

static int show_ready(const struct ref *ref, FILE *out)
{
	fputs(strcmp(attr_string(ref, "state"), "ready") ? "no" : "yes", out);
	return 0;
}

static const char *ask_log(const struct ref *ref, char path[CLIENT_PATH])
{
	return client_path(path, "/v1/labs/%s/instances/%s/services/%s/log?follow=1", ref->lab.name,
			   ref->item.name, part_name(ref->part));
}

static const struct entry service_entries[] = {
	{ .name = "state", .type = ENTRY_TEXT, .mode = 0444, .key = "state", .show = show_string },
	{ .name = "instance", .type = ENTRY_TEXT, .mode = 0444, .show = show_instance },
	{ .name = "ready", .type = ENTRY_TEXT, .mode = 0444, .key = "state", .show = show_ready },
	{ .name = "error", .type = ENTRY_TEXT, .mode = 0444, .key = "text", .show = show_string },
	{ .name = "log", .type = ENTRY_OUTPUT, .mode = 0444, .ask = ask_log },
};

/* Services come and go with the lab's spec */
static int service_removable(const struct ref *ref, struct lab_err *err)
{
	return class_lab.removable(ref, err);
}

const struct class class_service = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_SERVICES,
	.kind = KIND_INSTANCE,
	.entries = service_entries,
	.nentries = ARRAY_SIZE(service_entries),
	.part = service_part,
	.removable = service_removable,
};

static const struct members services_members = { .list = services_list };

const struct class class_services = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_LAB,
	.kind = KIND_LAB,
	.members = &services_members,
	.removable = service_removable,
};
