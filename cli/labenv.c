// SPDX-License-Identifier: GPL-2.0-or-later
/* labenv.c - what programs of the host are told of a lab */
#define _GNU_SOURCE
#include "cli/labenv.h"

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

int lab_environment(struct cli *cli, const char *lab, json_t **ret)
{
	autojson json_t *env = json_pack("{s:s}", "LAB", lab), *object = NULL;
	const json_t *in, *forward;
	char path[CLIENT_PATH];
	size_t i, k;
	int r;

	client_path(path, "/v1/labs/%s", lab);
	r = cli_call(cli, "GET", path, NULL, &object);
	if (r < 0 && r != -ENOENT)
		return r;
	json_array_foreach(json_object_get(object, "instances"), i, in) {
		json_array_foreach(json_object_get(in, "forwards"), k, forward) {
			add_forward(env, cell_string(in, "name"), forward);
		}
	}
	*ret = steal_ptr(env);
	return 0;
}
