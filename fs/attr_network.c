// SPDX-License-Identifier: GPL-2.0-or-later
/* attr_network.c - a lab's networks and what is in their directories */
#define _GNU_SOURCE
#include "fs/attr.h"
#include "lib/util.h"

#include <sys/stat.h>

static int show_stat(const struct ref *ref, FILE *out)
{
	json_int_t keeper = json_integer_value(json_object_get(ref->lab.json, "keeper"));

	return attr_net_stat(keeper, attr_string(ref, "bridge"), false, out);
}

/* Networks come and go with the lab's spec */
static int network_removable(const struct ref *ref, struct lab_err *err)
{
	return class_lab.removable(ref, err);
}

static const struct entry network_entries[] = {
	{ .name = "cidr", .type = ENTRY_TEXT, .mode = 0444, .key = "cidr", .show = show_string },
	{ .name = "gateway",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "gateway",
	  .show = show_string },
	{ .name = "mtu", .type = ENTRY_TEXT, .mode = 0444, .key = "mtu", .show = show_int },
	{ .name = "uplink",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "uplink",
	  .show = show_string },
	{ .name = "state", .type = ENTRY_TEXT, .mode = 0444, .key = "state", .show = show_string },
	{ .name = "bridge",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "bridge",
	  .show = show_string },
	{ .name = "stat", .type = ENTRY_TEXT, .mode = 0444, .show = show_stat },
	{ .name = "ports", .type = ENTRY_DIR, .dir = CLASS_PORTS },
};

const struct class class_network = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_NETWORKS,
	.kind = KIND_NETWORK,
	.entries = network_entries,
	.nentries = ARRAY_SIZE(network_entries),
	.removable = network_removable,
};

static int networks_list(const struct ref *dir, member_fn fn, void *arg)
{
	return attr_members(KIND_NETWORK, dir->lab.id, CLASS_NETWORK, fn, arg);
}

static int networks_find(const struct ref *dir, const char *name, struct node *ret)
{
	return attr_member(KIND_NETWORK, dir->lab.id, CLASS_NETWORK, name, ret);
}

static int networks_make(const struct ref *dir, const char *name, struct action *ret,
			 struct lab_err *err)
{
	(void)ret;
	return lab_fail(err, -EPERM, "network %s has no address range: write it to labs/%s/spec",
			name, dir->lab.name);
}

static const struct members networks_members = {
	.list = networks_list,
	.find = networks_find,
	.make = networks_make,
};

const struct class class_networks = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_LAB,
	.kind = KIND_LAB,
	.members = &networks_members,
	.removable = network_removable,
};
