// SPDX-License-Identifier: GPL-2.0-or-later
/* snapshot_show.c - labctl snapshot show, diff: what a snapshot holds, how two differ */
#define _GNU_SOURCE
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

static int print_diff(const json_t *obj)
{
	static const char *const headings[] = { "INSTANCE", "CHANGE",		">PAGES",
						">MEMORY",  "WRITTEN TO DISKS", NULL };
	struct table *t = table_new(headings);
	const json_t *in;
	size_t i;

	json_array_foreach(json_object_get(obj, "instances"), i, in) {
		double pages = cell_number(in, "pages");
		autojson json_t *bytes =
			json_pack("{s:I}", "v", (json_int_t)(pages * cell_number(in, "page_size")));
		char count[CELL_TEXT], memory[CELL_TEXT], disks[DISKS_TEXT];
		const char *change = cell_string(in, "change");
		const char *cells[] = { cell_string(in, "name"),
					strcmp(change, "both") ? change : "",
					cell_count(count, in, "pages"),
					cell_size(memory, bytes, "v"),
					disks_text(disks, in, "written") };

		(void)table_row(t, cells);
	}
	return table_print(t);
}

int snapshot_diff(struct cli *cli, const struct object *to, const char *from)
{
	autojson json_t *obj = NULL;
	char path[CLIENT_PATH];
	int r = cli_call(cli, "GET",
			 client_path(path, "/v1/labs/%s/snapshots/%s/diff/%s", to->lab, to->name,
				     from ? from : "-"),
			 NULL, &obj);

	if (r < 0)
		return cli_end(cli, r);
	if (cli->json)
		return cli_print_json(obj);
	printf("%s: from %s to %s\n", to->lab, cell_string(obj, "from"), cell_string(obj, "to"));
	return cli_end(cli, print_diff(obj));
}
