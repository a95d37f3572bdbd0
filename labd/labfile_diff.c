// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * labfile_diff.c - what differs between two specifications, in words
 *
 * In the order in which it can be done: networks, instances, then what goes:
 * instances before the networks they are on. A network whose place or
 * properties change is made anew, so the instances on it start again too.
 */
#define _GNU_SOURCE
#include "labd/labfile.h"

#include "lib/num.h"
#include "lib/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/**
 * struct reason - why an object changes
 * @text:	one or more, with ", " between; cut if there are very many
 * @restart:	one of them cannot be applied to what runs
 */
struct reason {
	char text[1024];
	bool restart;
};

__attribute__((format(printf, 3, 4))) static void because(struct reason *why, bool restart,
							  const char *fmt, ...)
{
	size_t used = strlen(why->text);
	va_list ap;

	why->restart |= restart;
	if (used)
		used += (size_t)snprintf(why->text + used, sizeof(why->text) - used, ", ");
	if (used >= sizeof(why->text))
		return;
	va_start(ap, fmt);
	vsnprintf(why->text + used, sizeof(why->text) - used, fmt, ap);
	va_end(ap);
}

static int add(json_t *list, const char *type, const char *name, const char *action,
	       const char *reason)
{
	json_t *change = json_pack("{s:s+++, s:s, s:s, s:s, s:s}", "object", type, " ", name, "",
				   "type", type, "name", name, "action", action, "reason", reason);

	return json_array_append_new(list, change) < 0 ? -ENOMEM : 0;
}

/* A value as a reason shows it: ASCII, so that cutting it cannot spoil it */
static const char *show(char *buf, size_t len, const char *key, const json_t *v)
{
	bool size = !strcmp(key, "memory") || !strcmp(key, "size") || !strcmp(key, "root");
	autofree char *json = NULL;
	char text[NUM_TEXT];

	if (!v || (json_is_string(v) && !*json_string_value(v)))
		snprintf(buf, len, "none");
	else if (json_is_string(v))
		snprintf(buf, len, "%s", json_string_value(v));
	else if (size && json_integer_value(v))
		snprintf(buf, len, "%s", num_size_text(text, (uint64_t)json_integer_value(v)));
	else if (size)
		snprintf(buf, len, "the image's");
	else if ((json = json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII)))
		snprintf(buf, len, "%s", json);
	return buf;
}

/* Elements of a list, as reasons show them */
static const char *join(char *buf, size_t len, const json_t *list)
{
	size_t used = 0, i;
	json_t *v;

	snprintf(buf, len, "none");
	json_array_foreach(list, i, v) {
		const char *comma = i ? ", " : "";
		int n;

		if (json_is_string(v))
			n = snprintf(buf + used, len - used, "%s%s", comma, json_string_value(v));
		else
			n = snprintf(buf + used, len - used, "%s%lld:%lld", comma,
				     json_integer_value(json_object_get(v, "host")),
				     json_integer_value(json_object_get(v, "guest")));
		used += (size_t)n;
		if (used >= len)
			break;
	}
	return buf;
}

/* Compare one key of two objects */
static void compare(struct reason *why, bool restart, const char *what, const char *key,
		    const json_t *from, const json_t *to)
{
	const json_t *a = json_object_get(from, key), *b = json_object_get(to, key);
	char was[200] = "", is[200] = "";

	if (a == b || (a && b && json_equal(a, b)))
		return;
	if (json_is_array(a) || json_is_array(b))
		because(why, restart, "%s %s -> %s", what, join(was, sizeof(was), a),
			join(is, sizeof(is), b));
	else
		because(why, restart, "%s %s -> %s", what, show(was, sizeof(was), key, a),
			show(is, sizeof(is), key, b));
}

static void compare_disks(struct reason *why, const json_t *from, const json_t *to)
{
	char what[80];
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)to, name, v) {
		snprintf(what, sizeof(what), "disk %s", name);
		if (json_object_get(from, name))
			compare(why, true, what, "size", json_object_get(from, name), v);
		else
			because(why, true, "%s added", what);
	}
	json_object_foreach((json_t *)from, name, v)
		if (!json_object_get(to, name))
			because(why, true, "disk %s removed, with all that is on it", name);
}

/* Whether two objects have the same keys in the same order */
static bool same_order(const json_t *from, const json_t *to)
{
	void *a = json_object_iter((json_t *)from), *b = json_object_iter((json_t *)to);

	while (a && b && !strcmp(json_object_iter_key(a), json_object_iter_key(b))) {
		a = json_object_iter_next((json_t *)from, a);
		b = json_object_iter_next((json_t *)to, b);
	}
	return !a && !b;
}

/**
 * compare_nics() - Why an instance's nics are others
 * @changed:	networks that are made anew (keys)
 */
static void compare_nics(struct reason *why, const json_t *from, const json_t *to,
			 const json_t *changed)
{
	size_t before = strlen(why->text);
	char what[80];
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)to, name, v) {
		const json_t *was = json_object_get(from, name);

		if (!was) {
			because(why, true, "network %s added", name);
			continue;
		}
		snprintf(what, sizeof(what), "address on %s", name);
		compare(why, true, what, "addr", was, v);
		snprintf(what, sizeof(what), "MAC address on %s", name);
		compare(why, true, what, "mac", was, v);
		if (json_object_get(changed, name))
			because(why, true, "network %s is made anew", name);
	}
	json_object_foreach((json_t *)from, name, v)
		if (!json_object_get(to, name))
			because(why, true, "network %s removed", name);
	if (before == strlen(why->text) && !same_order(from, to))
		because(why, true, "order of networks changed");
}

bool labfile_other_image(const json_t *was, const json_t *now)
{
	const char *before = json_string_value(json_object_get(was, "image"));
	const char *after = json_string_value(json_object_get(now, "image"));

	if (!before || !after || !strcmp(before, after))
		return false;
	/* the lab has more or fewer services, but what this one needs is in the old image */
	return !labfile_is_composed(before) || !labfile_is_composed(after) ||
	       !json_equal(json_object_get(was, "services"), json_object_get(now, "services"));
}

static void compare_image(struct reason *why, const json_t *from, const json_t *to)
{
	if (!labfile_other_image(from, to))
		return;
	compare(why, true, "image", "image", from, to);
	because(why, true, "with fresh disks");
}

static void compare_instance(struct reason *why, const json_t *from, const json_t *to,
			     const json_t *changed)
{
	compare_image(why, from, to);
	compare(why, true, "services", "services", from, to);
	compare(why, true, "vcpus", "vcpus", from, to);
	compare(why, true, "memory", "memory", from, to);
	compare(why, true, "root disk", "root", from, to);
	compare_disks(why, json_object_get(from, "disks"), json_object_get(to, "disks"));
	compare_nics(why, json_object_get(from, "networks"), json_object_get(to, "networks"),
		     changed);
	compare(why, false, "needs", "needs", from, to);
	if (!json_equal(json_object_get(from, "ready"), json_object_get(to, "ready")))
		because(why, false, "ready probes changed");
	if (!json_equal(json_object_get(from, "repair"), json_object_get(to, "repair")) &&
	    json_array_size(json_object_get(from, "repair")) +
		    json_array_size(json_object_get(to, "repair")))
		because(why, false, "repair commands changed");
	compare(why, false, "forwards", "forward", from, to);
	compare(why, false, "protect", "protect", from, to);
}

static void compare_network(struct reason *why, const json_t *from, const json_t *to)
{
	static const char *const keys[] = { "cidr", "gateway", "mtu", "uplink", "dhcp", "domain" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		compare(why, true, keys[i], keys[i], from, to);
}

/* Why an object is made: what a person wants to know of it */
static void describe(struct reason *why, const char *type, const json_t *spec)
{
	char memory[NUM_TEXT];
	json_int_t vcpus;

	if (!strcmp(type, "network")) {
		because(why, false, "%s, uplink %s",
			json_string_value(json_object_get(spec, "cidr")),
			json_string_value(json_object_get(spec, "uplink")));
		return;
	}
	vcpus = json_integer_value(json_object_get(spec, "vcpus"));
	num_size_text(memory, (uint64_t)json_integer_value(json_object_get(spec, "memory")));
	because(why, false, "image %s, %s, %lld %s",
		json_string_value(json_object_get(spec, "image")), memory, (long long)vcpus,
		vcpus == 1 ? "vcpu" : "vcpus");
}

/**
 * add_present() - Changes of those objects that are in the new specification
 * @type:	"network" or "instance"
 * @changed:	names of networks that change: written for networks, read for
 *		instances
 */
static int add_present(json_t *list, const char *type, const json_t *from, const json_t *to,
		       json_t *changed)
{
	bool network = !strcmp(type, "network");
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)to, name, v) {
		const json_t *was = json_object_get(from, name);
		struct reason why = { "", false };
		const char *action = "create";

		if (!was)
			describe(&why, type, v);
		else if (network)
			compare_network(&why, was, v);
		else
			compare_instance(&why, was, v, changed);
		if (!*why.text)
			continue;
		if (was)
			action = why.restart ? "restart" : "change";
		if (add(list, type, name, action, why.text) < 0 ||
		    (network && was && json_object_set_new(changed, name, json_true()) < 0))
			return -ENOMEM;
	}
	return 0;
}

static int add_gone(json_t *list, const char *type, const json_t *from, const json_t *to)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)from, name, v)
		if (!json_object_get(to, name) &&
		    add(list, type, name, "remove", "no longer in the lab file") < 0)
			return -ENOMEM;
	return 0;
}

int labfile_changes(const json_t *from, const json_t *to, json_t **ret, struct lab_err *err)
{
	const json_t *nets = json_object_get(from, "networks");
	const json_t *insts = json_object_get(from, "instances");
	const json_t *new_nets = json_object_get(to, "networks");
	const json_t *new_insts = json_object_get(to, "instances");
	autojson json_t *list = json_array(), *changed = json_object();

	if (!list || !changed || add_present(list, "network", nets, new_nets, changed) < 0 ||
	    add_present(list, "instance", insts, new_insts, changed) < 0 ||
	    add_gone(list, "instance", insts, new_insts) < 0 ||
	    add_gone(list, "network", nets, new_nets) < 0)
		return lab_fail(err, -ENOMEM, "comparing lab files: out of memory");
	*ret = steal_ptr(list);
	return 0;
}

const char *labfile_differs(const json_t *was, const json_t *now)
{
	static const char *const keys[] = { "services", "memory", "vcpus",
					    "root",	"disks",  "networks" };

	if (labfile_other_image(was, now))
		return "image";
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!json_equal(json_object_get(was, keys[i]), json_object_get(now, keys[i])))
			return keys[i];
	return NULL;
}
