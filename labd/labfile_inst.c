// SPDX-License-Identifier: GPL-2.0-or-later
/* labfile_inst.c - instances of a lab file */
#define _GNU_SOURCE
#include "labd/labfile_impl.h"
#include "lib/names.h"
#include "lib/num.h"
#include "lib/util.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_MEMORY (512ULL << 20)
#define MIN_DISK (1ULL << 20)
#define MAX_DISK_NAME 20 /* a virtio disk's serial number */

static int put(json_t *spec, const char *key, json_t *value)
{
	return json_object_set_new(spec, key, value) < 0 ? -ENOMEM : 0;
}

/* image: "" says that it will be chosen later; until then it cannot start */
static bool not_chosen(const struct ynode *n)
{
	return n && n->type == YNODE_SCALAR && n->quoted && n->text && !*n->text;
}

/* "" for one with services: labfile_placed() */
static int read_image(struct lab_reader *r, const struct lab_inst *inst)
{
	const struct ynode *n = labfile_given(inst->node, "image");
	const char *name = "";

	if (n && !not_chosen(n))
		ydoc_name(r->doc, n, "an image's name", &name);
	else if (!n && !not_chosen(ynode_get(inst->node, "image")) &&
		 !labfile_given(inst->node, "services") && !json_object_get(r->placed, inst->name))
		ydoc_problem(r->doc, ynode_name(inst->node),
			     "instance '%s' has neither an image nor services", inst->name);
	return put(inst->spec, "image", json_string(name));
}

/* A number of the file, else of the services, else the default */
static int read_vcpus(struct lab_reader *r, const struct lab_inst *inst, const json_t *defaults)
{
	const struct ynode *n = labfile_given(inst->node, "vcpus");
	const json_t *value = json_object_get(defaults, "vcpus");
	uint64_t vcpus = value ? (uint64_t)json_integer_value(value) : 1;

	if (n)
		ydoc_u64(r->doc, n, 1, LAB_MAX_VCPUS, &vcpus);
	return put(inst->spec, "vcpus", json_integer((json_int_t)vcpus));
}

/* With an image of its own it may be another system than the one whose services these are */
static void too_small(struct lab_reader *r, const struct ynode *n, const struct lab_inst *inst,
		      uint64_t has, uint64_t needs)
{
	char a[NUM_TEXT], b[NUM_TEXT];

	ydoc_problem(r->doc, n, "instance '%s' has %s, but its services and the system need %s",
		     inst->name, num_size_text(a, has), num_size_text(b, needs));
}

static int read_memory(struct lab_reader *r, const struct lab_inst *inst, const json_t *defaults)
{
	const struct ynode *n = labfile_given(inst->node, "memory");
	const json_t *value = json_object_get(defaults, "memory");
	uint64_t memory = value ? (uint64_t)json_integer_value(value) : DEFAULT_MEMORY;

	if (n && ydoc_size(r->doc, n, LAB_MIN_MEMORY, LAB_MAX_MEMORY, 1 << 20, &memory) && value &&
	    !labfile_given(inst->node, "image") && memory < (uint64_t)json_integer_value(value))
		too_small(r, n, inst, memory, (uint64_t)json_integer_value(value));
	return put(inst->spec, "memory", json_integer((json_int_t)memory));
}

static int read_root(struct lab_reader *r, const struct lab_inst *inst)
{
	const struct ynode *n = labfile_given(inst->node, "root");
	uint64_t size = 0;

	if (n && (n->type != YNODE_SCALAR || strcmp(n->text, "0")))
		ydoc_size(r->doc, n, MIN_DISK, LAB_MAX_DISK, 512, &size);
	return put(inst->spec, "root", json_integer((json_int_t)size));
}

/* A disk's name is a device's id in QEMU and the disk's serial number */
static bool check_disk_name(struct ydoc *doc, const struct ynode *key)
{
	char show[YNODE_SHOW];
	const char *name;

	if (!ydoc_name(doc, key, "a disk's name", &name))
		return false;
	if (!strcmp(name, "root")) {
		ydoc_problem(doc, key,
			     "'root' is the image's own disk; its size is the "
			     "instance's key 'root'");
		return false;
	}
	if (isalpha((unsigned char)*name) && strlen(name) <= MAX_DISK_NAME)
		return true;
	ydoc_problem(doc, key,
		     "expected a disk's name that starts with a letter and has at most %d "
		     "characters, found %s",
		     MAX_DISK_NAME, ynode_show(show, key));
	return false;
}

/* 4G or {size: 4G} */
static uint64_t read_disk(struct ydoc *doc, const struct ynode *n)
{
	static const char *const known[] = { "size", NULL };
	const struct ynode *size_node = n;
	uint64_t size = 0;

	size_t before = ydoc_problems(doc);

	if (n->type == YNODE_MAP) {
		ydoc_map(doc, n, known);
		size_node = ynode_get(n, "size");
	}
	if (size_node)
		ydoc_size(doc, size_node, MIN_DISK, LAB_MAX_DISK, 512, &size);
	else if (ydoc_problems(doc) == before) /* not a misspelt one */
		ydoc_problem(doc, n, "expected the key size");
	return size;
}

static int read_disks(struct lab_reader *r, const struct lab_inst *inst)
{
	const struct ynode *n = labfile_given(inst->node, "disks");
	json_t *disks = json_object();

	if (put(inst->spec, "disks", disks) < 0)
		return -ENOMEM;
	if (!n || !ydoc_map(r->doc, n, NULL))
		return 0;
	if (n->count > LAB_MAX_DISKS) {
		ydoc_problem(r->doc, ynode_name(n), "expected at most %d disks, found %zu",
			     LAB_MAX_DISKS, n->count);
		return 0;
	}
	for (const struct ynode *v = n->child; v; v = v->next) {
		bool good = check_disk_name(r->doc, v->key);
		uint64_t size = read_disk(r->doc, v);

		if (good &&
		    put(disks, v->key->text, json_pack("{s:I}", "size", (json_int_t)size)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int read_ready(struct lab_reader *r, const struct lab_inst *inst)
{
	const struct ynode *n = labfile_given(inst->node, "ready");

	return put(inst->spec, "ready",
		   n ? probe_list(r->doc, n)
		     : json_pack("[{s:b, s:i}]", "agent", 1, "timeout", PROBE_TIMEOUT));
}

/* What is not there is left out, so that older specifications mean the same */
static int read_repair(struct lab_reader *r, const struct lab_inst *inst, const json_t *defaults)
{
	const struct ynode *n = labfile_given(inst->node, "repair");
	json_t *brought = json_object_get(defaults, "repair");

	if (n)
		return put(inst->spec, "repair", labfile_repair(r->doc, n));
	return brought ? put(inst->spec, "repair", json_deep_copy(brought)) : 0;
}

/*
 * Refuse a port of the host that another forward of the lab listens on: the same
 * address, or one of the two listens on all.
 */
static int claim_port(struct lab_reader *r, const struct lab_inst *inst, const struct ynode *at,
		      const json_t *forward)
{
	const char *addr = json_string_value(json_object_get(forward, "bind"));
	int port = (int)json_integer_value(json_object_get(forward, "host"));
	json_t *users, *user;
	char key[8];
	size_t i;

	snprintf(key, sizeof(key), "%d", port);
	users = json_object_get(r->ports, key);
	if (!users) {
		users = json_array();
		if (put(r->ports, key, users) < 0)
			return -ENOMEM;
	}
	json_array_foreach(users, i, user) {
		const char *other = json_string_value(json_array_get(user, 0));

		if (strcmp(addr, other) && strcmp(addr, "0.0.0.0") && strcmp(other, "0.0.0.0"))
			continue;
		ydoc_problem(r->doc, at, "port %d of the host is given twice: instance '%s' has it",
			     port, json_string_value(json_array_get(user, 1)));
		return 0;
	}
	return json_array_append_new(users, json_pack("[s, s]", addr, inst->name)) < 0 ? -ENOMEM
										       : 0;
}

static int read_forward(struct lab_reader *r, const struct lab_inst *inst, const json_t *defaults)
{
	const struct ynode *n = labfile_given(inst->node, "forward"), *at = n ? n->child : NULL;
	const struct ynode *services = labfile_given(inst->node, "services");
	json_t *brought = json_object_get(defaults, "forward"), *forwards, *f;
	size_t before = ydoc_problems(r->doc), i;

	if (n)
		forwards = labfile_forward(r->doc, n);
	else
		forwards = brought ? json_deep_copy(brought) : json_array();
	if (put(inst->spec, "forward", forwards) < 0)
		return -ENOMEM;
	if (!n && json_array_size(forwards) > LAB_MAX_FORWARDS)
		ydoc_problem(r->doc, services,
			     "these services have %zu forwards, at most %d are possible",
			     json_array_size(forwards), LAB_MAX_FORWARDS);
	if (ydoc_problems(r->doc) != before)
		return 0;
	json_array_foreach(forwards, i, f) {
		const struct ynode *where = at ? ynode_name(at) : services;

		if (claim_port(r, inst, where, f) < 0)
			return -ENOMEM;
		at = at ? at->next : NULL;
	}
	return 0;
}

static int read_instance(struct lab_reader *r, struct lab_inst *inst)
{
	static const char *const known[] = { "image",	"services", "vcpus",	"memory", "root",
					     "disks",	"needs",    "networks", "ready",  "repair",
					     "forward", "protect",  NULL };
	const struct ynode *protect_node = labfile_given(inst->node, "protect");
	autojson json_t *defaults = NULL, *names = NULL;
	bool protect = false;
	size_t before = ydoc_problems(r->doc);

	if (!ydoc_map(r->doc, inst->node, known) && ydoc_problems(r->doc) != before)
		return 0; /* something else than an instance */
	if (labfile_services(r, inst, &names, &defaults) < 0)
		return -ENOMEM;
	inst->wants = json_incref(json_object_get(defaults, "needs"));
	/* `needs` has its place here and is filled when all instances are known */
	if (read_image(r, inst) < 0 || put(inst->spec, "services", json_incref(names)) < 0 ||
	    read_vcpus(r, inst, defaults) < 0 || read_memory(r, inst, defaults) < 0 ||
	    read_root(r, inst) < 0 || read_disks(r, inst) < 0 ||
	    put(inst->spec, "needs", json_array()) < 0 ||
	    labfile_nics(r, inst, labfile_given(inst->node, "networks")) < 0 ||
	    read_ready(r, inst) < 0 || read_repair(r, inst, defaults) < 0 ||
	    read_forward(r, inst, defaults) < 0)
		return -ENOMEM;
	if (protect_node)
		ydoc_bool(r->doc, protect_node, &protect);
	return put(inst->spec, "protect", json_boolean(protect));
}

static int add_instance(struct lab_reader *r, json_t *specs, const char *name,
			const struct ynode *node)
{
	struct lab_inst *inst = &r->insts[r->ninsts];

	*inst = (struct lab_inst){ .name = name, .node = node, .spec = json_object() };
	if (put(specs, name, inst->spec) < 0 ||
	    put(r->index, name, json_integer((json_int_t)r->ninsts)) < 0)
		return -ENOMEM;
	r->ninsts++;
	return read_instance(r, inst);
}

int labfile_instances(struct lab_reader *r, const struct ynode *n)
{
	json_t *specs = json_object();

	if (put(r->spec, "instances", specs) < 0)
		return -ENOMEM;
	if (!n || !ydoc_map(r->doc, n, NULL))
		return 0;
	if (n->count > LAB_MAX_INSTANCES) {
		ydoc_problem(r->doc, ynode_name(n), "expected at most %d instances, found %zu",
			     LAB_MAX_INSTANCES, n->count);
		return 0;
	}
	for (const struct ynode *v = n->child; v; v = v->next) {
		const char *name;

		if (ydoc_name(r->doc, v->key, "an instance's name", &name) &&
		    !json_object_get(specs, name) && add_instance(r, specs, name, v) < 0)
			return -ENOMEM;
	}
	return 0;
}
