// SPDX-License-Identifier: GPL-2.0-or-later
/* attr_lab.c - what is in a lab's directory */
#define _GNU_SOURCE
#include "fs/attr.h"
#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>

/* Copy the keys that a lab file knows from an object's JSON, if they say anything */
static json_t *spec_of_network(const json_t *network)
{
	static const char *const keys[] = { "cidr", "gateway", "mtu", "uplink", "dhcp" };
	json_t *spec = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *value = json_object_get(network, keys[i]);

		if (value && !(json_is_string(value) && !json_string_length(value)))
			json_object_set(spec, keys[i], value);
	}
	return spec;
}

static json_t *specs_of(enum kind kind, uint32_t lab)
{
	json_t *specs = json_object();
	struct item *items;
	int n = model_list(kind, lab, &items);

	for (int i = 0; i < n; i++) {
		if (kind == KIND_NETWORK)
			json_object_set_new(specs, items[i].name, spec_of_network(items[i].json));
		else
			json_object_set(specs, items[i].name,
					json_object_get(items[i].json, "spec"));
	}
	if (n >= 0)
		model_list_free(items, n);
	return specs;
}

/* The whole lab file, with all defaults filled in. It is JSON, and so YAML */
static int show_spec(const struct ref *ref, FILE *out)
{
	autojson json_t *spec = json_pack("{s:s, s:o, s:o}", "lab", ref->item.name, "networks",
					  specs_of(KIND_NETWORK, ref->item.id), "instances",
					  specs_of(KIND_INSTANCE, ref->item.id));

	if (!spec || json_dumpf(spec, out, JSON_INDENT(2)) < 0)
		return -ENOMEM;
	return 0;
}

/* labd reads it: it alone knows the language of lab files */
static int store_spec(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	(void)err;
	ret->method = "POST";
	client_path(ret->path, "/v1/labs");
	ret->body = json_pack("{s:s, s:s, s:s, s:b}", "text", value, "file", "spec", "lab",
			      ref->item.name, "up", 0);
	return ret->body ? 0 : -ENOMEM;
}

/* "INSTANCE NIC NETWORK ADDR MAC" a line */
static int show_topology(const struct ref *ref, FILE *out)
{
	struct item *items;
	int n = model_list(KIND_INSTANCE, ref->item.id, &items);

	for (int i = 0; i < n; i++) {
		json_t *nic;
		size_t j;

		json_array_foreach(json_object_get(items[i].json, "nics"), j, nic) {
			const char *name = "", *network = "", *addr = "", *mac = "";

			(void)json_unpack(nic, "{s?s, s?s, s?s, s?s}", "name", &name, "network",
					  &network, "addr", &addr, "mac", &mac);
			fprintf(out, "%s %s %s %s %s\n", items[i].name, name,
				*network ? network : "-", *addr ? addr : "-", *mac ? mac : "-");
		}
	}
	if (n >= 0)
		model_list_free(items, n);
	return MIN(n, 0);
}

static int act_lab(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		   struct lab_err *err)
{
	(void)arg;
	(void)err;
	ret->method = "POST";
	client_path(ret->path, "/v1/labs/%s/%s", ref->item.name, word);
	ret->body = json_object();
	ret->kind = KIND_LAB;
	ret->id = ref->item.id;
	return 0;
}

static int act_up(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		  struct lab_err *err)
{
	ret->wanted = "up";
	return act_lab(ref, word, arg, ret, err);
}

static int act_down(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		    struct lab_err *err)
{
	ret->wanted = "down";
	return act_lab(ref, word, arg, ret, err);
}

static int act_restore(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		       struct lab_err *err)
{
	(void)word;
	(void)err;
	ret->method = "POST";
	client_path(ret->path, "/v1/labs/%s/snapshots/%s/restore", ref->item.name, arg);
	ret->body = json_object();
	return 0;
}

static int act_suspend(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		       struct lab_err *err)
{
	ret->wanted = "down";
	return act_lab(ref, word, arg, ret, err);
}

static int act_clone(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		     struct lab_err *err)
{
	int r = act_lab(ref, word, NULL, ret, err);

	if (!r)
		json_object_set_new(ret->body, "name", json_string(arg));
	return r;
}

static const struct verb lab_verbs[] = {
	{ "up", false, act_up },	   { "down", false, act_down },
	{ "reset", false, act_lab },	   { "golden", false, act_lab },
	{ "suspend", false, act_suspend }, { "restore", true, act_restore },
	{ "clone", true, act_clone },
};

static int store_ctl(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	return attr_verb(lab_verbs, ARRAY_SIZE(lab_verbs), ref, value, ret, err);
}

/* state takes the two states that one can ask for */
static int store_state(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	return attr_verb(lab_verbs, 2, ref, value, ret, err);
}

/* What rm -r would need: nothing runs, nothing is protected */
static int lab_removable(const struct ref *ref, struct lab_err *err)
{
	struct item *items;
	int n, r = 0;

	if (json_is_true(json_object_get(ref->lab.json, "protect")))
		return lab_fail(err, -EPERM, "lab %s is protected", ref->lab.name);
	n = model_list(KIND_INSTANCE, ref->lab.id, &items);
	for (int i = 0; i < n && !r; i++) {
		const struct ref instance = { .item = items[i], .lab = ref->lab };

		r = class_instance.removable(&instance, err);
	}
	if (n >= 0)
		model_list_free(items, n);
	return n < 0 ? n : r;
}

static const struct entry lab_entries[] = {
	{ .name = "instances", .type = ENTRY_DIR, .dir = CLASS_INSTANCES },
	{ .name = "snapshots", .type = ENTRY_DIR, .dir = CLASS_SNAPSHOTS },
	{ .name = "networks", .type = ENTRY_DIR, .dir = CLASS_NETWORKS },
	{ .name = "services", .type = ENTRY_DIR, .dir = CLASS_SERVICES },
	{ .name = "state",
	  .type = ENTRY_TEXT,
	  .mode = 0644,
	  .key = "state",
	  .show = show_string,
	  .store = store_state },
	{ .name = "ctl", .type = ENTRY_TEXT, .mode = 0200, .store = store_ctl },
	{ .name = "spec",
	  .type = ENTRY_BULK,
	  .mode = 0644,
	  .show = show_spec,
	  .store = store_spec },
	{ .name = "topology", .type = ENTRY_TEXT, .mode = 0444, .show = show_topology },
	{ .name = "protect",
	  .type = ENTRY_TEXT,
	  .mode = 0644,
	  .key = "protect",
	  .show = show_bool,
	  .store = store_protect },
	{ .name = "error", .type = ENTRY_TEXT, .mode = 0444, .key = "error", .show = show_error },
};

const struct class class_lab = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_LABS,
	.kind = KIND_LAB,
	.entries = lab_entries,
	.nentries = ARRAY_SIZE(lab_entries),
	.removable = lab_removable,
};
