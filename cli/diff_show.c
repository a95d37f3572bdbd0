// SPDX-License-Identifier: GPL-2.0-or-later
/* diff_show.c - what labctl diff prints */
#define _GNU_SOURCE
#include "cli/diff.h"

#include "lib/base64.h"
#include "lib/text.h"
#include "lib/util.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char *type_name(const struct inspect_was *w, const char *kind)
{
	switch (w->mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "link";
	case S_IFCHR:
		return "character device";
	case S_IFBLK:
		return "block device";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	default:
		return *kind ? kind : "unknown"; /* a partition as a whole */
	}
}

/* What there is of a thing that was removed, or as it is now of all others */
static const struct inspect_was *thing(const struct inspect_change *c)
{
	return &c->side[c->found == INSPECT_REMOVED ? 0 : 1];
}

/* Neither a partition nor a file: a disk that is one filesystem, or none */
static bool is_whole_disk(const struct compare_change *change)
{
	return !*change->path && (!change->c->part || change->c->part == INSPECT_RAW);
}

char *diff_where(const char *instance, const char *disk, const struct compare_change *change)
{
	autofree char *path = text_escape(change->path, strlen(change->path));
	bool root = !*disk || !strcmp(disk, "root");
	const struct inspect_change *c = change->c;
	char part[16] = "", *text;

	if (c->part && c->part != INSPECT_RAW)
		snprintf(part, sizeof(part), "p%u", c->part);
	if (!path ||
	    asprintf(&text, "%s%s%s:%s%s%s", instance, root ? "" : "/", root ? "" : disk, part,
		     path, S_ISDIR(thing(c)->mode) && strcmp(change->path, "/") ? "/" : "") < 0)
		return NULL;
	return text;
}

/* ---- lines ------------------------------------------------------------------------------ */

static void print_word(const char **before, const char *word)
{
	printf("%s%s", *before, word);
	*before = ", ";
}

static void print_target(const char **before, const struct compare_change *change)
{
	autofree char *from = text_escape(change->target[0], strlen(change->target[0]));
	autofree char *to = text_escape(change->target[1], strlen(change->target[1]));

	print_word(before, "target ");
	printf("%s -> %s", from ? from : "", to ? to : "");
}

static void print_what(const struct compare_change *change)
{
	const struct inspect_was *a = &change->c->side[0], *b = &change->c->side[1];
	const char *before = " (", *types[2];
	uint32_t what = change->c->what;

	if (is_whole_disk(change))
		print_word(&before, "whole disk");
	for (size_t i = 0; i < 2; i++)
		types[i] = type_name(&change->c->side[i], change->target[i]);
	if (strcmp(types[0], types[1]) != 0) {
		autofree char *from = text_escape(types[0], strlen(types[0]));
		autofree char *to = text_escape(types[1], strlen(types[1]));

		print_word(&before, "type ");
		printf("%s -> %s", from ? from : "", to ? to : "");
	}
	if (what & INSPECT_OF_MODE) {
		print_word(&before, "mode ");
		printf("%o -> %o", a->mode & 07777, b->mode & 07777);
	}
	if (what & INSPECT_OF_OWNER) {
		print_word(&before, "owner ");
		printf("%u:%u -> %u:%u", a->uid, a->gid, b->uid, b->gid);
	}
	if (what & INSPECT_OF_DEVICE) {
		print_word(&before, "device ");
		printf("%u:%u -> %u:%u", major(a->rdev), minor(a->rdev), major(b->rdev),
		       minor(b->rdev));
	}
	if (what & INSPECT_OF_TARGET)
		print_target(&before, change);
	if (what & INSPECT_OF_CONTENT)
		print_word(&before, "content");
	fputs(*before == ',' ? ")" : "", stdout);
}

/* ---- objects ---------------------------------------------------------------------------- */

/* A guest's text: as it is where JSON can have it, and else also in base64 */
static void put_text(json_t *o, const char *key, const char *text)
{
	autofree char *shown = NULL, *exact = NULL;
	char name[32];

	if (text_is_utf8(text, strlen(text))) {
		json_object_set_new(o, key, json_string(text));
		return;
	}
	shown = text_escape(text, strlen(text));
	exact = base64_text(text, strlen(text));
	snprintf(name, sizeof(name), "%s_base64", key);
	json_object_set_new(o, key, json_string(shown ? shown : ""));
	json_object_set_new(o, name, json_string(exact ? exact : ""));
}

static json_t *side_json(const struct inspect_was *w, const char *target)
{
	char mode[16];
	json_t *o;

	if (!w->mode)
		return json_pack("{s:s s:I}", "type", type_name(w, target), "size",
				 (json_int_t)w->size);
	snprintf(mode, sizeof(mode), "%04o", w->mode & 07777);
	o = json_pack("{s:s s:s s:I s:I}", "type", type_name(w, ""), "mode", mode, "uid",
		      (json_int_t)w->uid, "gid", (json_int_t)w->gid);
	if (S_ISREG(w->mode))
		json_object_set_new(o, "size", json_integer((json_int_t)w->size));
	if (S_ISLNK(w->mode))
		put_text(o, "target", target);
	if (S_ISCHR(w->mode) || S_ISBLK(w->mode))
		json_object_set_new(o, "device",
				    json_pack("[i,i]", major(w->rdev), minor(w->rdev)));
	return o;
}

static json_t *what_json(uint32_t what)
{
	static const char *const names[] = {
		"type", "mode", "owner", "content", "target", "device"
	};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (what & 1U << i)
			json_array_append_new(list, json_string(names[i]));
	return list;
}

static void print_object(const char *instance, const char *disk,
			 const struct compare_change *change)
{
	static const char *const words[] = { "added", "removed", "changed" };
	const struct inspect_change *c = change->c;
	autojson json_t *o = json_pack("{s:s s:s}", "change", words[c->found], "instance",
				       instance);

	if (*disk)
		json_object_set_new(o, "disk", json_string(disk));
	if (c->part != INSPECT_RAW) {
		json_object_set_new(o, "part", json_integer(c->part));
		if (*change->path)
			put_text(o, "path", change->path);
		if (c->found != INSPECT_ADDED)
			json_object_set_new(o, "from", side_json(&c->side[0], change->target[0]));
		if (c->found != INSPECT_REMOVED)
			json_object_set_new(o, "to", side_json(&c->side[1], change->target[1]));
	}
	if (c->found == INSPECT_CHANGED)
		json_object_set_new(o, "what", what_json(c->what));
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
}

void diff_print(const struct cli *cli, const char *instance, const char *disk,
		const struct compare_change *change)
{
	autofree char *where = diff_where(instance, disk, change);

	if (cli->json) {
		print_object(instance, disk, change);
		return;
	}
	if (!cli->quiet)
		printf("%c ", "ADM"[change->c->found]);
	fputs(where ? where : instance, stdout);
	if (!cli->quiet && change->c->found == INSPECT_CHANGED)
		print_what(change);
	else if (!cli->quiet && is_whole_disk(change))
		fputs(" (whole disk)", stdout);
	putchar('\n');
}
