// SPDX-License-Identifier: GPL-2.0-or-later
/* attr_instance.c - instances and what is in their directories */
#define _GNU_SOURCE
#include "fs/attr.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_VCPUS 255 /* what q35 can have */
#define MAX_WORDS 64 /* in a list that is written */

static int show_spec(const struct ref *ref, FILE *out)
{
	const json_t *spec = json_object_get(ref->item.json, "spec");

	if (spec && json_dumpf(spec, out, JSON_INDENT(2)) < 0)
		return -ENOMEM;
	return 0;
}

/* Whole seconds since QEMU was started */
static int show_uptime(const struct ref *ref, FILE *out)
{
	double started = json_number_value(json_object_get(ref->item.json, "started"));
	bool runs = json_integer_value(json_object_get(ref->item.json, "pid"));

	if (runs && started > 0)
		fprintf(out, "%.0f", MAX(num_wall() - started, 0.0));
	return 0;
}

/* The kernel's own count of what QEMU uses, as KEY VALUE lines */
static int show_stat(const struct ref *ref, FILE *out)
{
	json_int_t pid = json_integer_value(json_object_get(ref->item.json, "pid"));
	uint64_t user, system, threads, vsize, rss;
	autofree char *text = NULL;
	uint64_t tick = 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
	char path[64];
	const char *at;

	snprintf(path, sizeof(path), "/proc/%" JSON_INTEGER_FORMAT "/stat", pid);
	if (!pid || io_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return 0;
	/* The name in parentheses may hold anything, also parentheses */
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1,
			  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
			  " %*d %*d %*d %*d %" SCNu64 " %*d %*u %" SCNu64 " %" SCNu64,
			  &user, &system, &threads, &vsize, &rss) != 5)
		return 0;
	fprintf(out,
		"usage_usec %" PRIu64 "\nuser_usec %" PRIu64 "\nsystem_usec %" PRIu64
		"\nrss %" PRIu64 "\nthreads %" PRIu64 "\n",
		(user + system) * tick, user * tick, system * tick,
		rss * (uint64_t)sysconf(_SC_PAGESIZE), threads);
	return 0;
}

static bool runs(const struct ref *ref)
{
	return json_integer_value(json_object_get(ref->item.json, "pid")) > 0;
}

static int link_to(const char *path, char ret[IO_PATH])
{
	if (!*path)
		return -ENOENT;
	io_path(ret, "%s", path);
	return 0;
}

static int console_path(const struct ref *ref, char path[IO_PATH])
{
	return runs(ref) ? link_to(attr_string(ref, "console"), path) : -ENOENT;
}

static int qmp_path(const struct ref *ref, char path[IO_PATH])
{
	return runs(ref) ? link_to(attr_string(ref, "qmp"), path) : -ENOENT;
}

static int netns_path(const struct ref *ref, char path[IO_PATH])
{
	json_int_t pid = json_integer_value(json_object_get(ref->item.json, "pid"));

	/* Of the guest's QEMU: it runs in there, and is there as long as the link */
	if (!pid)
		return -ENOENT;
	io_path(path, "/proc/%" JSON_INTEGER_FORMAT "/ns/net", pid);
	return 0;
}

static int log_path(const struct ref *ref, char path[IO_PATH])
{
	return link_to(attr_string(ref, "console_log"), path);
}

static const char *ask_screen(const struct ref *ref, char path[CLIENT_PATH])
{
	return client_path(path, "/v1/labs/%s/instances/%s/screen", ref->lab.name, ref->item.name);
}

static int store_spec(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	json_error_t where;
	json_t *spec = json_loads(value, JSON_REJECT_DUPLICATES, &where);

	if (!json_is_object(spec)) {
		json_decref(spec);
		return lab_fail(err, -EINVAL, "spec:%d:%d: %s", where.line, where.column,
				spec ? "expected an object" : where.text);
	}
	ret->method = "PATCH";
	attr_path(&ref->item, &ref->lab, ret->path);
	ret->body = spec;
	return 0;
}

static int store_vcpus(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	uint64_t n;
	int r = num_u64(value, MAX_VCPUS, &n);

	if (!r && !n)
		r = -ERANGE;
	if (r < 0)
		return lab_fail(err, r, "vcpus is a number from 1 to %d, not '%.100s'", MAX_VCPUS,
				value);
	return attr_patch(ref, "vcpus", json_integer((json_int_t)n), ret);
}

static int store_memory(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	uint64_t bytes;
	int r = num_size(value, &bytes);

	if (r < 0)
		return lab_fail(err, r, "memory is a size such as 536870912 or 512M, not '%.100s'",
				value);
	return attr_patch(ref, "memory", json_integer((json_int_t)bytes), ret);
}

static int store_image(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	if (!name_valid(value))
		return lab_fail(err, strlen(value) > NAME_MAX_LEN ? -ENAMETOOLONG : -EINVAL,
				"'%.100s' is no name of an image (%s)", value, NAME_RULE);
	return attr_patch(ref, "image", json_string(value), ret);
}

/* A list of names with blanks or commas between them; nothing clears it */
static int store_names(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	autojson json_t *list = json_array();
	char *rest = value, *word;

	while ((word = strsep(&rest, " \t\n,"))) {
		if (!*word)
			continue;
		if (!name_valid(word))
			return lab_fail(err, -EINVAL, "'%.100s' is no name (%s)", word, NAME_RULE);
		if (json_array_size(list) >= MAX_WORDS)
			return lab_fail(err, -E2BIG, "%s takes at most %d names", ref->entry->name,
					MAX_WORDS);
		json_array_append_new(list, json_string(word));
	}
	return attr_patch(ref, ref->entry->key, steal_ptr(list), ret);
}

static int post(const struct ref *ref, const char *action, const char *wanted, struct action *ret)
{
	ret->method = "POST";
	client_path(ret->path, "/v1/labs/%s/instances/%s/%s", ref->lab.name, ref->item.name,
		    action);
	ret->body = json_object();
	ret->kind = KIND_INSTANCE;
	ret->id = ref->item.id;
	ret->wanted = wanted;
	return ret->body ? 0 : -ENOMEM;
}

static int act_running(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		       struct lab_err *err)
{
	bool paused = !strcmp(attr_string(ref, "state"), "paused");

	(void)word;
	(void)arg;
	(void)err;
	return post(ref, paused ? "resume" : "start", "running", ret);
}

static int act_stopped(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		       struct lab_err *err)
{
	(void)word;
	(void)arg;
	(void)err;
	return post(ref, "stop", "stopped", ret);
}

static int act_paused(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		      struct lab_err *err)
{
	(void)word;
	(void)arg;
	(void)err;
	return post(ref, "pause", "paused", ret);
}

static int act_same(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		    struct lab_err *err)
{
	(void)arg;
	(void)err;
	return post(ref, word, NULL, ret);
}

/* A snapshot is restored whole: from an instance only what is of it alone */
static int act_restore(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		       struct lab_err *err)
{
	autoitem struct item snapshot = { 0 };

	(void)word;
	if (!model_find(KIND_SNAPSHOT, ref->lab.id, arg, &snapshot))
		return lab_fail(err, -ENOENT, "lab %s has no snapshot %s", ref->lab.name, arg);
	if (json_array_size(json_object_get(snapshot.json, "members")) > 1)
		return lab_fail(
			err, -EINVAL,
			"snapshot %s is of more than this instance: write \"restore %s\" to "
			"the lab's ctl",
			arg, arg);
	ret->method = "POST";
	attr_path(&snapshot, &ref->lab, ret->path);
	strncat(ret->path, "/restore", sizeof(ret->path) - strlen(ret->path) - 1);
	ret->body = json_object();
	return 0;
}

static const struct verb state_verbs[] = {
	{ "running", false, act_running },
	{ "stopped", false, act_stopped },
	{ "paused", false, act_paused },
};

static const struct verb ctl_verbs[] = {
	{ "reset", false, act_same },	    { "reboot", false, act_same },
	{ "poweroff", false, act_stopped }, { "kill", false, act_same },
	{ "nmi", false, act_same },	    { "pause", false, act_paused },
	{ "resume", false, act_running },   { "restore", true, act_restore },
};

static int store_state(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	return attr_verb(state_verbs, ARRAY_SIZE(state_verbs), ref, value, ret, err);
}

static int store_ctl(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	return attr_verb(ctl_verbs, ARRAY_SIZE(ctl_verbs), ref, value, ret, err);
}

static int instance_removable(const struct ref *ref, struct lab_err *err)
{
	const struct item *i = ref->owner.json ? &ref->owner : &ref->item;
	const char *state = json_string_value(json_object_get(i->json, "state"));

	if (json_is_true(json_object_get(ref->lab.json, "protect")))
		return lab_fail(err, -EPERM, "lab %s is protected: echo 0 > protect there",
				ref->lab.name);
	if (json_is_true(json_object_get(i->json, "protect")))
		return lab_fail(err, -EPERM, "instance %s is protected: echo 0 > protect", i->name);
	if (!state ||
	    (strcmp(state, "defined") && strcmp(state, "stopped") && strcmp(state, "failed")))
		return lab_fail(err, -EBUSY, "instance %s is %s: echo stopped > state first",
				i->name, state ? state : "busy");
	if (json_integer_value(json_object_get(i->json, "job")))
		return lab_fail(err, -EBUSY, "job %" JSON_INTEGER_FORMAT " works on instance %s",
				json_integer_value(json_object_get(i->json, "job")), i->name);
	return 0;
}

/* Of one with several disks: disks/D/files */
static int files_path(const struct ref *ref, char path[IO_PATH])
{
	const json_t *disks = json_object_get(ref->item.json, "disks");
	const char *name = json_string_value(json_object_get(json_array_get(disks, 0), "name"));

	if (json_array_size(disks) != 1 || !name)
		return -ENOENT;
	io_path(path, "../../../../inspect/labs/%s/instances/%s/%s", ref->lab.name, ref->item.name,
		name);
	return 0;
}

static const struct entry instance_entries[] = {
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
	  .key = "spec",
	  .show = show_spec,
	  .store = store_spec },
	{ .name = "vcpus",
	  .type = ENTRY_TEXT,
	  .mode = 0644,
	  .key = "vcpus",
	  .show = show_count,
	  .store = store_vcpus },
	{ .name = "memory",
	  .type = ENTRY_TEXT,
	  .mode = 0644,
	  .key = "memory",
	  .show = show_count,
	  .store = store_memory },
	{ .name = "image",
	  .type = ENTRY_TEXT,
	  .mode = 0644,
	  .key = "image",
	  .show = show_string,
	  .store = store_image },
	{ .name = "services",
	  .type = ENTRY_TEXT,
	  .mode = 0644,
	  .key = "services",
	  .show = show_list,
	  .store = store_names },
	{ .name = "needs",
	  .type = ENTRY_TEXT,
	  .mode = 0644,
	  .key = "needs",
	  .show = show_list,
	  .store = store_names },
	{ .name = "protect",
	  .type = ENTRY_TEXT,
	  .mode = 0644,
	  .key = "protect",
	  .show = show_bool,
	  .store = store_protect },
	{ .name = "pid", .type = ENTRY_TEXT, .mode = 0444, .key = "pid", .show = show_int },
	{ .name = "uptime",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "started",
	  .show = show_uptime },
	{ .name = "addr", .type = ENTRY_TEXT, .mode = 0444, .key = "addr", .show = show_string },
	{ .name = "stat", .type = ENTRY_TEXT, .mode = 0444, .key = "pid", .show = show_stat },
	{ .name = "error", .type = ENTRY_TEXT, .mode = 0444, .key = "error", .show = show_error },
	{ .name = "ready", .type = ENTRY_TEXT, .mode = 0444, .key = "ready", .show = show_string },
	{ .name = "console.log", .type = ENTRY_LOG, .mode = 0444, .path = log_path },
	{ .name = "console", .type = ENTRY_LINK, .path = console_path },
	{ .name = "qmp", .type = ENTRY_LINK, .path = qmp_path },
	{ .name = "netns", .type = ENTRY_LINK, .path = netns_path },
	{ .name = "disks", .type = ENTRY_DIR, .dir = CLASS_DISKS },
	{ .name = "nics", .type = ENTRY_DIR, .dir = CLASS_NICS },
	{ .name = "snapshots", .type = ENTRY_DIR, .dir = CLASS_MEMBER_SNAPSHOTS },
	{ .name = "files", .type = ENTRY_LINK, .path = files_path },
	{ .name = "screen.png", .type = ENTRY_SHOT, .mode = 0444, .ask = ask_screen },
};

const struct class class_instance = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_INSTANCES,
	.kind = KIND_INSTANCE,
	.entries = instance_entries,
	.nentries = ARRAY_SIZE(instance_entries),
	.removable = instance_removable,
};

static int instances_list(const struct ref *dir, member_fn fn, void *arg)
{
	return attr_members(KIND_INSTANCE, dir->lab.id, CLASS_INSTANCE, fn, arg);
}

static int instances_find(const struct ref *dir, const char *name, struct node *ret)
{
	return attr_member(KIND_INSTANCE, dir->lab.id, CLASS_INSTANCE, name, ret);
}

static int instances_make(const struct ref *dir, const char *name, struct action *ret,
			  struct lab_err *err)
{
	(void)err;
	ret->method = "POST";
	client_path(ret->path, "/v1/labs/%s/instances", dir->lab.name);
	ret->body = json_pack("{s:s, s:{}}", "name", name, "spec");
	ret->until = UNTIL_APPEARED;
	ret->kind = KIND_INSTANCE;
	ret->lab = dir->lab.id;
	return ret->body ? 0 : -ENOMEM;
}

static int instances_rename(const struct ref *instance, const char *to, struct action *ret,
			    struct lab_err *err)
{
	(void)err;
	return attr_patch(instance, "name", json_string(to), ret);
}

static int instances_destroy(const struct ref *instance, struct action *ret, struct lab_err *err)
{
	(void)err;
	ret->method = "DELETE";
	attr_path(&instance->item, &instance->lab, ret->path);
	ret->until = UNTIL_GONE;
	ret->kind = KIND_INSTANCE;
	ret->id = instance->item.id;
	return 0;
}

static const struct members instances_members = {
	.list = instances_list,
	.find = instances_find,
	.make = instances_make,
	.rename = instances_rename,
	.destroy = instances_destroy,
};

static int lab_removable(const struct ref *ref, struct lab_err *err)
{
	return class_lab.removable(ref, err);
}

const struct class class_instances = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_LAB,
	.kind = KIND_LAB,
	.members = &instances_members,
	.removable = lab_removable,
};
