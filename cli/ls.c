// SPDX-License-Identifier: GPL-2.0-or-later
/* ls.c - labctl ls: one table for each kind of object */
#define _GNU_SOURCE
#include "cli/ls.h"
#include "cli/commands.h"
#include "cli/table.h"

#include "lib/names.h"
#include "lib/util.h"

#include <string.h>

#define MAX_COLUMNS 8

/* How one cell is made: the key, and the text of its value */
struct column {
	const char *heading;
	const char *key;
	const char *(*text)(char buf[CELL_TEXT], const json_t *object, const char *key);
};

/*
 * A kind of object. @part is where it is in a lab; without it the objects are
 * what the path answers. The first column is the name that -q prints.
 */
struct kind {
	const char *name, *path, *part;
	struct column columns[MAX_COLUMNS];
};

static const char *text_string(char buf[CELL_TEXT], const json_t *object, const char *key)
{
	return cell_line(buf, cell_string(object, key));
}

static const char *text_path(char buf[CELL_TEXT], const json_t *object, const char *key)
{
	(void)key;
	return cell_path(buf, object);
}

static const char *text_yes(char buf[CELL_TEXT], const json_t *object, const char *key)
{
	snprintf(buf, CELL_TEXT, "%s", json_is_true(json_object_get(object, key)) ? "yes" : "no");
	return buf;
}

/* clang-format off */
static const struct kind kinds[] = {
	{ "labs", "/v1/labs", NULL, {
		{ "LAB", "name", text_string }, { "STATE", "state", text_string },
		{ ">INSTANCES", "instances", cell_count }, { "SINCE", "changed", cell_time },
		{ "FILE", "file", text_string }, { "~ERROR", "error", text_string } } },
	{ "instances", "/v1/labs", "instances", {
		{ "INSTANCE", "", text_path }, { "STATE", "state", text_string },
		{ "ADDRESS", "addr", text_string }, { "IMAGE", "image", text_string },
		{ ">CPUS", "vcpus", cell_count }, { ">MEMORY", "memory", cell_size },
		{ "SERVICES", "services", cell_list } } },
	{ "networks", "/v1/labs", "networks", {
		{ "NETWORK", "", text_path }, { "STATE", "state", text_string },
		{ "CIDR", "cidr", text_string }, { ">MTU", "mtu", cell_count },
		{ "UPLINK", "uplink", text_string }, { "DHCP", "dhcp", text_yes },
		{ ">PORTS", "ports", cell_count } } },
	{ "snapshots", "/v1/labs", "snapshots", {
		{ "SNAPSHOT", "", text_path }, { "KIND", "kind", text_string },
		{ "CREATED", "created", cell_time },
		{ ">SIZE", "size", cell_size }, { "MEMORY", "memory", text_yes },
		{ "PARENT", "parent", text_string }, { "~MEMBERS", "members", cell_list } } },
	{ "services", "/v1/services", NULL, {
		{ "SERVICE", "name", text_string }, { ">MEMORY", "memory", cell_size },
		{ ">DISK", "disk", cell_size }, { "NEEDS", "needs", cell_list },
		{ "~DESCRIPTION", "description", text_string }, { "~ERROR", "error", text_string } } },
	{ "images", "/v1/images", NULL, {
		{ "IMAGE", "name", text_string }, { "STATE", "state", text_string },
		{ ">SIZE", "size", cell_size }, { ">USED", "used", cell_size },
		{ "BASE", "base", text_string }, { "CREATED", "created", cell_time },
		{ "~USERS", "users", cell_list }, { "~ERROR", "error", text_string } } },
	{ "recipes", "/v1/recipes", NULL, {
		{ "RECIPE", "name", text_string }, { "FROM", "from", text_string },
		{ ">SIZE", "size", cell_size }, { "LOCKED", "locked", text_yes },
		{ "BUILT", "built", text_yes } } },
};
/* clang-format on */

static const struct kind *find_kind(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t singular = strlen(kinds[i].name) - 1;

		if (!strcmp(kinds[i].name, name) ||
		    (strlen(name) == singular && !strncmp(kinds[i].name, name, singular)))
			return &kinds[i];
	}
	return NULL;
}

static int unknown_kind(struct cli *cli, const char *name)
{
	const char *names[ARRAY_SIZE(kinds) + 1] = { NULL }, *near;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		names[i] = kinds[i].name;
	near = name_nearest(name, names);
	if (near)
		return cli_usage(cli, "unknown kind '%s'; did you mean '%s'?", name, near);
	return cli_usage(
		cli,
		"unknown kind '%s'; known are labs, instances, networks, snapshots, services, "
		"images and recipes",
		name);
}

/* The objects of a kind as an array: the answer itself, or parts of one lab or of all */
static json_t *collect(const struct kind *kind, json_t *answer)
{
	json_t *all, *lab;
	size_t i;

	if (!kind->part)
		return json_incref(answer);
	if (json_is_object(answer))
		return json_incref(json_object_get(answer, kind->part));
	all = json_array();
	json_array_foreach(answer, i, lab) {
		json_array_extend(all, json_object_get(lab, kind->part));
	}
	return all;
}

static int add_row(struct table *t, const struct kind *kind, const json_t *object)
{
	char bufs[MAX_COLUMNS][CELL_TEXT];
	const char *cells[MAX_COLUMNS] = { NULL };

	for (size_t i = 0; i < MAX_COLUMNS && kind->columns[i].heading; i++)
		cells[i] = kind->columns[i].text(bufs[i], object, kind->columns[i].key);
	return table_row(t, cells);
}

static int print_table(const struct kind *kind, const json_t *objects)
{
	const char *headings[MAX_COLUMNS + 1] = { NULL };
	struct table *t;
	json_t *object;
	size_t i;

	for (i = 0; i < MAX_COLUMNS; i++)
		headings[i] = kind->columns[i].heading;
	t = table_new(headings);
	if (!t)
		return -ENOMEM;
	json_array_foreach(objects, i, object) {
		if (add_row(t, kind, object) < 0) {
			table_free(t);
			return -ENOMEM;
		}
	}
	return table_print(t);
}

static void print_names(const struct kind *kind, const json_t *objects)
{
	char buf[CELL_TEXT];
	json_t *object;
	size_t i;

	json_array_foreach(objects, i, object) {
		puts(kind->columns[0].text(buf, object, kind->columns[0].key));
	}
}

/* @lab: those of this one; NULL: of all */
static int list(struct cli *cli, const struct kind *kind, const char *lab)
{
	autojson json_t *answer = NULL, *objects = NULL;
	char path[CLIENT_PATH];
	int r;

	if (lab && !name_valid(lab)) {
		r = lab_fail(&cli->err, -EINVAL, "'%s' cannot be the name of a lab: use %s", lab,
			     NAME_RULE);
		return cli_end(cli, r);
	}
	if (lab)
		client_path(path, "/v1/labs/%s", lab);
	r = cli_call(cli, "GET", lab ? path : kind->path, NULL, &answer);
	if (r < 0)
		return cli_end(cli, r);
	objects = collect(kind, answer);
	if (cli->json)
		cli_print_json(objects);
	else if (cli->quiet)
		print_names(kind, objects);
	else if (json_array_size(objects) && print_table(kind, objects) < 0)
		r = lab_fail_errno(&cli->err, -ENOMEM, "table");
	return cli_end(cli, r);
}

int ls_images(struct cli *cli)
{
	return list(cli, find_kind("images"), NULL);
}

int ls_snapshots(struct cli *cli, const char *lab)
{
	return list(cli, find_kind("snapshots"), lab);
}

static int run_ls(struct cli *cli, int argc, char **argv)
{
	const struct kind *kind;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	if (optind == argc)
		return list(cli, find_kind("labs"), NULL);
	kind = find_kind(argv[optind]);
	return kind ? list(cli, kind, NULL) : unknown_kind(cli, argv[optind]);
}

const struct command cmd_ls = {
	.name = "ls",
	.args = "[labs|instances|networks|snapshots|services|images|recipes]",
	.summary = "List objects of one kind",
	.details = "Example:\n  labctl ls images\n",
	.run = run_ls,
};
