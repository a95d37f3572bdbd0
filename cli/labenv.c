// SPDX-License-Identifier: GPL-2.0-or-later
/* labenv.c - what programs of the host are told of a lab */
#define _GNU_SOURCE
#include "cli/labenv.h"

#include "cli/env.h"
#include "cli/table.h"
#include "lib/util.h"

#include <string.h>

/* "web-1" as "WEB_1" */
static void variable_name(char *s)
{
	for (; *s; s++) {
		if (*s >= 'a' && *s <= 'z')
			*s = (char)(*s - 'a' + 'A');
		else if (!(*s >= 'A' && *s <= 'Z') && !(*s >= '0' && *s <= '9'))
			*s = '_';
	}
}

static void add_forward(json_t *env, const char *instance, const json_t *forward)
{
	char upper[64], name[128], value[64];
	const char *bind = cell_string(forward, "bind");

	snprintf(upper, sizeof(upper), "%s", instance);
	variable_name(upper);
	snprintf(name, sizeof(name), "LAB_FORWARD_%s_%d", upper,
		 (int)cell_number(forward, "guest"));
	/* one that listens everywhere listens here too */
	snprintf(value, sizeof(value), "%s:%d",
		 !*bind || !strcmp(bind, "0.0.0.0") ? "127.0.0.1" : bind,
		 (int)cell_number(forward, "host"));
	json_object_set_new(env, name, json_string(value));
}

/* What the lab's services give, see env.h */
static int add_services(struct cli *cli, json_t *env, const char *lab)
{
	autojson json_t *answer = NULL;
	struct object o = { .name = "" };
	const json_t *line;
	size_t i;
	int r;

	snprintf(o.lab, sizeof(o.lab), "%s", lab);
	r = env_get(cli, &o, false, &answer);
	if (r < 0)
		return r;
	json_array_foreach(json_object_get(answer, "env"), i, line) {
		const char *text = json_string_value(line);
		size_t name = strcspn(text, "=");

		if (text[name])
			json_object_setn_new(env, text, name, json_string(text + name + 1));
	}
	return 0;
}

int lab_environment(struct cli *cli, const char *lab, json_t **ret)
{
	autojson json_t *env = json_object(), *object = NULL;
	const json_t *in, *forward;
	char path[CLIENT_PATH];
	size_t i, k;
	int r;

	client_path(path, "/v1/labs/%s", lab);
	r = cli_call(cli, "GET", path, NULL, &object);
	if (!r)
		r = add_services(cli, env, lab);
	if (r < 0 && r != -ENOENT)
		return r;
	json_object_set_new(env, "LAB", json_string(lab));
	json_array_foreach(json_object_get(object, "instances"), i, in) {
		json_array_foreach(json_object_get(in, "forwards"), k, forward) {
			add_forward(env, cell_string(in, "name"), forward);
		}
	}
	*ret = steal_ptr(env);
	return 0;
}
