// SPDX-License-Identifier: GPL-2.0-or-later
/* show.c - labctl show: everything about one object */
#define _GNU_SOURCE
#include "cli/show.h"

#include "cli/commands.h"
#include "cli/object.h"
#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define MAX_KEY 256

static bool is_one_of(const char *key, const char *const *words)
{
	const char *dot = strrchr(key, '.'), *last = dot ? dot + 1 : key;

	for (; *words; words++)
		if (!strcmp(last, *words))
			return true;
	return false;
}

static void print_number(const char *key, const json_t *v)
{
	static const char *const times[] = { "created", "changed", "started", "ended", NULL };
	static const char *const sizes[] = { "memory", "size", "used", "rss", NULL };
	autojson json_t *wrap = json_pack("{s:O}", "v", v);
	char text[CELL_TEXT] = "";

	if (is_one_of(key, times))
		cell_time(text, wrap, "v");
	else if (is_one_of(key, sizes) && json_integer_value(v) >= 1024)
		cell_size(text, wrap, "v");
	if (json_is_integer(v))
		printf("%s: %lld", key, (long long)json_integer_value(v));
	else
		printf("%s: %.3f", key, json_real_value(v));
	printf(*text ? " (%s)\n" : "\n", text);
}

/* Text of several lines is indented below its key */
static void print_string(const char *key, const char *s)
{
	printf("%s:%s", key, *s ? " " : "");
	for (; *s; s++) {
		putchar(*s);
		if (*s == '\n')
			fputs("    ", stdout);
	}
	putchar('\n');
}

static bool is_flat(const json_t *array)
{
	json_t *v;
	size_t i;

	json_array_foreach(array, i, v) {
		if (!json_is_string(v))
			return false;
	}
	return true;
}

static void print_array(const char *key, const json_t *array)
{
	char sub[MAX_KEY];
	json_t *v;
	size_t i;

	if (!is_flat(array)) {
		json_array_foreach(array, i, v) {
			const char *name = cell_string(v, "name");

			if (*name)
				snprintf(sub, sizeof(sub), "%s.%s", key, name);
			else
				snprintf(sub, sizeof(sub), "%s.%zu", key, i);
			show_value(sub, v);
		}
		return;
	}
	printf("%s:", key);
	json_array_foreach(array, i, v) {
		printf(" %s", json_string_value(v));
	}
	putchar('\n');
}

void show_value(const char *key, const json_t *value)
{
	char sub[MAX_KEY];
	const char *k;
	json_t *v;

	if (!value)
		return;
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		json_object_foreach((json_t *)value, k, v) {
			snprintf(sub, sizeof(sub), "%s%s%s", key, *key ? "." : "", k);
			show_value(sub, v);
		}
		break;
	case JSON_ARRAY:
		print_array(key, value);
		break;
	case JSON_STRING:
		print_string(key, json_string_value(value));
		break;
	case JSON_INTEGER:
	case JSON_REAL:
		print_number(key, value);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		printf("%s: %s\n", key, json_is_true(value) ? "yes" : "no");
		break;
	case JSON_NULL:
		printf("%s:\n", key);
		break;
	}
}

/* One element by its name; new reference or NULL */
static json_t *pick(const json_t *array, const char *name)
{
	json_t *v;
	size_t i;

	json_array_foreach(array, i, v) {
		if (!strcmp(cell_string(v, "name"), name))
			return json_incref(v);
	}
	return NULL;
}

static int get_part(struct cli *cli, const char *arg, const char *part, json_t **ret)
{
	autojson json_t *lab = NULL;
	char path[CLIENT_PATH];
	struct object o;
	int r = object_in_lab(cli, arg, &o);

	if (!r)
		r = cli_call(cli, "GET", client_path(path, "/v1/labs/%s", o.lab), NULL, &lab);
	if (r < 0)
		return r;
	*ret = pick(json_object_get(lab, part), o.name);
	if (*ret)
		return 0;
	return lab_fail(&cli->err, -ENOENT,
			"there is no %.*s %s in lab %s; 'labctl ls %s' lists them",
			(int)strlen(part) - 1, part, o.name, o.lab, part);
}

static int get_path(struct cli *cli, const char *fmt, const char *name, json_t **ret)
{
	char path[CLIENT_PATH];

	if (!name_valid(name))
		return lab_fail(&cli->err, -EINVAL, "'%s' cannot be a name: use %s", name,
				NAME_RULE);
	return cli_call(cli, "GET", client_path(path, fmt, name), NULL, ret);
}

/* Without a kind: LAB/INSTANCE; else a lab, an instance of the only lab, an image */
static int get_any(struct cli *cli, const char *arg, json_t **ret)
{
	struct lab_err first;
	int r;

	if (strchr(arg, '/'))
		return get_part(cli, arg, "instances", ret);
	r = get_path(cli, "/v1/labs/%s", arg, ret);
	if (r != -ENOENT)
		return r;
	first = cli->err;
	r = get_part(cli, arg, "instances", ret);
	if (r == -ENOENT || r == -EINVAL)
		r = get_path(cli, "/v1/images/%s", arg, ret);
	if (r == -ENOENT)
		cli->err = first,
		lab_fail(&cli->err, r,
			 "there is no lab, no instance of the only lab and no image "
			 "'%s'; 'labctl ls' lists labs",
			 arg);
	return r;
}

static int get_object(struct cli *cli, const char *arg, json_t **ret)
{
	static const struct {
		const char *prefix, *path, *part;
	} kinds[] = {
		{ "lab:", "/v1/labs/%s", NULL },  { "image:", "/v1/images/%s", NULL },
		{ "job:", "/v1/jobs/%s", NULL },  { "instance:", NULL, "instances" },
		{ "network:", NULL, "networks" }, { "snapshot:", NULL, "snapshots" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t len = strlen(kinds[i].prefix);

		if (strncmp(arg, kinds[i].prefix, len) != 0)
			continue;
		if (kinds[i].part)
			return get_part(cli, arg + len, kinds[i].part, ret);
		return get_path(cli, kinds[i].path, arg + len, ret);
	}
	return get_any(cli, arg, ret);
}

static int run_show(struct cli *cli, int argc, char **argv)
{
	autojson json_t *object = NULL;
	int r;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 1, 1))
		return CLI_USAGE;
	r = get_object(cli, argv[optind], &object);
	if (r < 0)
		return cli_end(cli, r);
	if (cli->json)
		cli_print_json(object);
	else if (cli->quiet)
		puts(cell_string(object, "name"));
	else
		show_value("", object);
	return CLI_OK;
}

const struct command cmd_show = {
	.name = "show",
	.args = "OBJECT",
	.summary = "Print everything about one object",
	.details = "OBJECT is LAB, [LAB/]INSTANCE or IMAGE; or, where that could be mistaken, "
		   "lab:LAB,\n"
		   "instance:[LAB/]NAME, network:[LAB/]NAME, snapshot:[LAB/]NAME, image:NAME or "
		   "job:ID.\n\n"
		   "Example:\n  labctl show demo/db\n",
	.run = run_show,
};
