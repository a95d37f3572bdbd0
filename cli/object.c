// SPDX-License-Identifier: GPL-2.0-or-later
/* object.c - which lab, instance or file is meant by an argument */
#define _GNU_SOURCE
#include "cli/object.h"

#include "lib/util.h"

#include <string.h>

static int take_name(const char *text, size_t len, const char *what, char ret[NAME_MAX_LEN + 1],
		     struct lab_err *err)
{
	char name[NAME_MAX_LEN + 1] = "";

	if (len <= NAME_MAX_LEN)
		memcpy(name, text, len);
	if (!name_valid(name))
		return lab_fail(err, -EINVAL, "'%.*s' cannot be the name of %s: use %s", (int)len,
				text, what, NAME_RULE);
	snprintf(ret, NAME_MAX_LEN + 1, "%s", name);
	return 0;
}

int object_parse(const char *text, struct object *ret, struct lab_err *err)
{
	const char *slash = strchr(text, '/');
	struct object o = { 0 };
	int r;

	if (slash) {
		r = take_name(text, (size_t)(slash - text), "a lab", o.lab, err);
		if (r < 0)
			return r;
		text = slash + 1;
	}
	r = take_name(text, strlen(text), slash ? "something in a lab" : "anything", o.name, err);
	if (r < 0)
		return r;
	*ret = o;
	return 0;
}

bool object_is_file(const char *arg)
{
	const char *dot = strrchr(arg, '.');

	return !strcmp(arg, "-") || strchr(arg, '/') ||
	       (dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml")));
}

/* The names of all labs that @labs holds, for a message */
static void list_labs(const json_t *labs, char *buf, size_t room)
{
	size_t i, at = 0;
	json_t *lab;

	buf[0] = '\0';
	json_array_foreach(labs, i, lab) {
		int n = snprintf(buf + at, room - at, "%s%s", i ? ", " : "",
				 json_string_value(json_object_get(lab, "name")));

		if (n < 0 || (size_t)n >= room - at)
			break;
		at += (size_t)n;
	}
}

/* The only lab there is */
static int only_lab(struct cli *cli, char ret[NAME_MAX_LEN + 1])
{
	char names[512];
	json_t *labs;
	const char *name = NULL;
	int r = cli_labs(cli, &labs);

	if (r < 0)
		return r;
	if (!json_array_size(labs))
		return lab_fail(&cli->err, -ENOENT,
				"there is no lab; 'labctl up FILE' makes one from a lab file");
	if (json_array_size(labs) > 1) {
		list_labs(labs, names, sizeof(names));
		return lab_fail(&cli->err, -EINVAL, "there are several labs (%s): say which",
				names);
	}
	if (json_unpack(json_array_get(labs, 0), "{s:s}", "name", &name) < 0 || !name_valid(name))
		return lab_fail(&cli->err, -EPROTO, "labd told of a lab without a name");
	snprintf(ret, NAME_MAX_LEN + 1, "%s", name);
	return 0;
}

int object_lab(struct cli *cli, const char *arg, struct object *ret)
{
	struct object o = { 0 };
	int r = arg ? take_name(arg, strlen(arg), "a lab", o.lab, &cli->err) : only_lab(cli, o.lab);

	if (r < 0)
		return r;
	*ret = o;
	return 0;
}

int object_in_lab(struct cli *cli, const char *arg, struct object *ret)
{
	int r = object_parse(arg, ret, &cli->err);

	if (r < 0 || *ret->lab)
		return r;
	r = only_lab(cli, ret->lab);
	return lab_wrap(&cli->err, r, "%s", arg);
}

int object_lab_exists(struct cli *cli, const char *name)
{
	json_t *labs, *lab;
	size_t i;
	int r = cli_labs(cli, &labs);

	if (r < 0)
		return r;
	json_array_foreach(labs, i, lab) {
		const char *known = json_string_value(json_object_get(lab, "name"));

		if (known && !strcmp(known, name))
			return 1;
	}
	return 0;
}
