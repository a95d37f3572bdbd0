// SPDX-License-Identifier: GPL-2.0-or-later
/* snapshot_show.c - labctl snapshot show, diff: what a snapshot holds, how two differ */
#define _GNU_SOURCE
#include "cli/compare.h"
#include "cli/snapshot.h"

#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define DISKS_TEXT 400

/* "root 3.5 MiB, data 1.0 MiB" of [{"name", KEY: bytes}] */
static const char *disks_text(char buf[DISKS_TEXT], const json_t *object, const char *key)
{
	const json_t *disk;
	size_t used = 0, i;

	buf[0] = '\0';
	json_array_foreach(json_object_get(object, "disks"), i, disk) {
		char size[CELL_TEXT];
		int n = snprintf(buf + used, DISKS_TEXT - used, "%s%s %s", i ? ", " : "",
				 cell_string(disk, "name"), cell_size(size, disk, key));

		used += (size_t)n;
		if (used >= DISKS_TEXT)
			break;
	}
	return buf;
}

static int print_parts(const json_t *obj)
{
	static const char *const headings[] = { "INSTANCE", ">MEMORY", ">SAVED",
						"DISKS",    "QEMU",    NULL };
	struct table *t = table_new(headings);
	const json_t *in;
	size_t i;

	json_array_foreach(json_object_get(obj, "instances"), i, in) {
		char memory[CELL_TEXT], saved[CELL_TEXT], disks[DISKS_TEXT];
		const char *cells[] = { cell_string(in, "name"), cell_size(memory, in, "memory"),
					cell_size(saved, in, "memory_used"),
					disks_text(disks, in, "used"), cell_string(in, "qemu") };

		(void)table_row(t, cells);
	}
	return table_print(t);
}

int snapshot_show(struct cli *cli, const struct object *o)
{
	autojson json_t *obj = NULL;
	char path[CLIENT_PATH], when[CELL_TEXT];
	int r = cli_call(cli, "GET", client_path(path, "/v1/labs/%s/snapshots/%s", o->lab, o->name),
			 NULL, &obj);

	if (r < 0)
		return cli_end(cli, r);
	if (cli->json)
		return cli_print_json(obj);
	printf("%s/%s: %s, made %s%s%s\n", o->lab, o->name, cell_string(obj, "kind"),
	       cell_time(when, obj, "created"), *cell_string(obj, "parent") ? ", after " : "",
	       cell_string(obj, "parent"));
	return cli_end(cli, print_parts(obj));
}

/* ---- files -------------------------------------------------------------------------- */

/** struct count - of files of a disk */
struct count {
	uint64_t n[3]; /* by enum inspect_found: added, removed, changed */
	bool trouble;
};

static void count_change(void *arg, const struct compare_change *change)
{
	struct count *count = arg;

	if (change->c->found <= INSPECT_CHANGED)
		count->n[change->c->found]++;
	else
		count->trouble = count->trouble || change->c->found == INSPECT_TROUBLE;
}

static int count_disk(struct cli *cli, const char *lab, const char *const snapshots[2],
		      const char *instance, const char *disk, struct count *count)
{
	struct compare cmp = { .cli = cli,
			       .name = instance,
			       .part = INSPECT_RAW,
			       .take = count_change,
			       .arg = count };
	autojson json_t *from = NULL, *to = NULL;
	int r = compare_chain(cli, lab, snapshots[0], instance, disk, &from);

	if (!r)
		r = compare_chain(cli, lab, snapshots[1], instance, disk, &to);
	return r < 0 ? r : compare_run(&cmp, from, to);
}

/* Put "files" into a disk's object, if it could be read */
static void count_files(struct cli *cli, const char *lab, const char *const snapshots[2],
			const char *instance, json_t *disk)
{
	struct count count = { 0 };

	if (cell_number(disk, "written") > 0 &&
	    count_disk(cli, lab, snapshots, instance, cell_string(disk, "name"), &count) < 0)
		count.trouble = true;
	cli->err.code = 0;
	if (!count.trouble)
		json_object_set_new(disk, "files",
				    json_pack("{s:I s:I s:I}", "added",
					      (json_int_t)count.n[INSPECT_ADDED], "removed",
					      (json_int_t)count.n[INSPECT_REMOVED], "changed",
					      (json_int_t)count.n[INSPECT_CHANGED]));
}

static void count_all(struct cli *cli, const char *lab, const char *const snapshots[2],
		      json_t *instances)
{
	json_t *in, *disk;
	size_t i, k;

	json_array_foreach(instances, i, in)
		json_array_foreach(json_object_get(in, "disks"), k, disk)
			count_files(cli, lab, snapshots, cell_string(in, "name"), disk);
}

/* "3 added, 1 removed, 2 changed", without what is none of them */
static const char *files_text(char buf[CELL_TEXT], const json_t *disk)
{
	static const char *const keys[] = { "added", "removed", "changed" };
	const json_t *files = json_object_get(disk, "files");
	size_t used = 0;

	snprintf(buf, CELL_TEXT, "%s", files ? "none" : "cannot be read");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		double n = cell_number(files, keys[i]);

		if (n > 0)
			used += (size_t)snprintf(buf + used, CELL_TEXT - used, "%s%.0f %s",
						 used ? ", " : "", n, keys[i]);
	}
	return buf;
}

/* A disk of an instance; @disk is NULL for one that has none in both, @first: also its memory */
static void add_row(struct table *t, const json_t *in, const json_t *disk, bool first)
{
	double bytes = cell_number(in, "pages") * cell_number(in, "page_size");
	autojson json_t *memory = json_pack("{s:I}", "v", (json_int_t)bytes);
	char pages[CELL_TEXT], size[CELL_TEXT], written[CELL_TEXT], files[CELL_TEXT];
	const char *change = cell_string(in, "change");
	const char *cells[] = { first ? cell_string(in, "name") : "",
				first && strcmp(change, "both") ? change : "",
				first ? cell_count(pages, in, "pages") : "",
				first ? cell_size(size, memory, "v") : "",
				cell_string(disk, "name"),
				disk ? cell_size(written, disk, "written") : "",
				disk ? files_text(files, disk) : "" };

	(void)table_row(t, cells);
}

static int print_diff(const json_t *obj)
{
	static const char *const headings[] = { "INSTANCE", "CHANGE",	">PAGES", ">MEMORY",
						"DISK",	    ">WRITTEN", "FILES",  NULL };
	struct table *t = table_new(headings);
	const json_t *in, *disk;
	size_t i, k;

	json_array_foreach(json_object_get(obj, "instances"), i, in) {
		json_array_foreach(json_object_get(in, "disks"), k, disk)
			add_row(t, in, disk, !k);
		if (!json_array_size(json_object_get(in, "disks")))
			add_row(t, in, NULL, true);
	}
	return table_print(t);
}

/* For each disk on which files differ, the command that names them */
static void print_commands(const char *lab, const char *const snapshots[2], const json_t *obj)
{
	const json_t *in, *disk;
	const char *key;
	size_t i, k;

	json_array_foreach(json_object_get(obj, "instances"), i, in)
		json_array_foreach(json_object_get(in, "disks"), k, disk) {
			const json_t *files = json_object_get(disk, "files"), *n;
			double all = 0;

			json_object_foreach((json_t *)files, key, n)
				all += json_number_value(n);
			if (all > 0)
				printf("labctl diff %s/%s %s %s/%s:\n", lab, snapshots[0],
				       snapshots[1], cell_string(in, "name"),
				       cell_string(disk, "name"));
		}
}

int snapshot_diff(struct cli *cli, const struct object *to, const char *from)
{
	autojson json_t *obj = NULL;
	const char *snapshots[2];
	char path[CLIENT_PATH];
	int r = cli_call(cli, "GET",
			 client_path(path, "/v1/labs/%s/snapshots/%s/diff/%s", to->lab, to->name,
				     from ? from : "-"),
			 NULL, &obj);

	if (r < 0)
		return cli_end(cli, r);
	snapshots[0] = cell_string(obj, "from");
	snapshots[1] = to->name;
	count_all(cli, to->lab, snapshots, json_object_get(obj, "instances"));
	if (cli->json)
		return cli_print_json(obj);
	printf("%s: from %s to %s\n", to->lab, snapshots[0], to->name);
	r = print_diff(obj);
	if (!cli->quiet)
		print_commands(to->lab, snapshots, obj);
	return cli_end(cli, r);
}
