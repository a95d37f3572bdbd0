// SPDX-License-Identifier: GPL-2.0-or-later
/* attr_root.c - the top of the tree: what labfs answers by itself */
#define _GNU_SOURCE
#include "fs/attr.h"
#include "fs/events.h"
#include "fs/mirror.h"
#include "fs/node.h"
#include "fs/upload.h"
#include "lib/util.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static int show_version(const struct ref *ref, FILE *out)
{
	(void)ref;
	fputs(LAB_VERSION, out);
	return 0;
}

/* Never asks labd: this is where one looks when labd is stuck */
static int show_status(const struct ref *ref, FILE *out)
{
	struct mirror_status st;

	(void)ref;
	mirror_status(&st);
	fprintf(out, "labd %s\nsince %.3f\nsocket %s\n",
		!st.online ? "down"
		: st.stuck ? "stuck"
			   : "up",
		st.since, st.socket);
	if (st.labd_pid)
		fprintf(out, "labd_pid %" PRIu64 "\n", st.labd_pid);
	fprintf(out, "pid %d\nseq %" PRIu64 "\nimages %zu\nlabs %zu\ninstances %zu\nuploads %zu\n",
		getpid(), model_seq(), model_count(KIND_IMAGE), model_count(KIND_LAB),
		model_count(KIND_INSTANCE), upload_count());
	if (!st.online && *st.why)
		fprintf(out, "error %s\n", st.why);
	return 0;
}

static int show_last_error(const struct ref *ref, FILE *out)
{
	double time;
	autofree char *text = action_last_error(&time);

	(void)ref;
	fputs(text ? text : "", out);
	return 0;
}

static const struct entry root_entries[] = {
	{ .name = "status", .type = ENTRY_TEXT, .mode = 0444, .show = show_status },
	{ .name = "version", .type = ENTRY_TEXT, .mode = 0444, .show = show_version },
	{ .name = "events", .type = ENTRY_EVENTS, .mode = 0444 },
	{ .name = "error", .type = ENTRY_TEXT, .mode = 0444, .show = show_last_error },
	{ .name = "images", .type = ENTRY_DIR, .dir = CLASS_IMAGES },
	{ .name = "labs", .type = ENTRY_DIR, .dir = CLASS_LABS },
	{ .name = "inspect", .type = ENTRY_DIR, .dir = CLASS_INSPECT },
};

const struct class class_root = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_ROOT,
	.entries = root_entries,
	.nentries = ARRAY_SIZE(root_entries),
};

static int labs_list(const struct ref *dir, member_fn fn, void *arg)
{
	(void)dir;
	return attr_members(KIND_LAB, 0, CLASS_LAB, fn, arg);
}

static int labs_find(const struct ref *dir, const char *name, struct node *ret)
{
	(void)dir;
	return attr_member(KIND_LAB, 0, CLASS_LAB, name, ret);
}

/* A lab with nothing in it: fill it with mkdir, or write a lab file to its spec */
static int labs_make(const struct ref *dir, const char *name, struct action *ret,
		     struct lab_err *err)
{
	char text[NAME_MAX_LEN + 16];

	(void)dir;
	(void)err;
	/* Quoted: a lab may be called 1e3 or null */
	snprintf(text, sizeof(text), "lab: \"%s\"\n", name);
	ret->method = "POST";
	client_path(ret->path, "/v1/labs");
	ret->body = json_pack("{s:s, s:s, s:b}", "text", text, "file", "", "up", 0);
	ret->until = UNTIL_APPEARED;
	ret->kind = KIND_LAB;
	return ret->body ? 0 : -ENOMEM;
}

static int labs_destroy(const struct ref *lab, struct action *ret, struct lab_err *err)
{
	struct item *items;
	int n = model_list(KIND_INSTANCE, lab->item.id, &items);

	if (n < 0)
		return n;
	model_list_free(items, n);
	if (n)
		return lab_fail(err, -EBUSY,
				"lab %s has %d instance%s: destroy them first (rm -r does)",
				lab->item.name, n, n == 1 ? "" : "s");
	ret->method = "DELETE";
	attr_path(&lab->item, NULL, ret->path);
	ret->until = UNTIL_GONE;
	ret->kind = KIND_LAB;
	ret->id = lab->item.id;
	return 0;
}

static const struct members labs_members = {
	.list = labs_list,
	.find = labs_find,
	.make = labs_make,
	.destroy = labs_destroy,
};

const struct class class_labs = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_ROOT,
	.members = &labs_members,
};
