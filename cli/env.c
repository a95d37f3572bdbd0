// SPDX-License-Identifier: GPL-2.0-or-later
/* env.c - labctl env: the environment for programs of the host that use a lab */
#define _GNU_SOURCE
#include "cli/env.h"
#include "cli/commands.h"

#include "lib/util.h"

#include <string.h>

int env_get(struct cli *cli, const struct object *lab, bool inside, json_t **ret)
{
	char path[CLIENT_PATH];

	client_path(path, inside ? "/v1/labs/%s/env?inside=1" : "/v1/labs/%s/env", lab->lab);
	return cli_call(cli, "GET", path, NULL, ret);
}

/* As a shell reads it: in quotes, each ' as '\'' */
static void print_export(const char *line)
{
	size_t name = strcspn(line, "=");

	printf("export %.*s='", (int)name, line);
	for (const char *p = line + name + 1; *p; p++) {
		if (*p == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*p);
	}
	puts("'");
}

static int run_env(struct cli *cli, int argc, char **argv)
{
	autojson json_t *answer = NULL;
	const json_t *line;
	struct object o;
	size_t i;
	int r;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	r = object_lab(cli, argv[optind], &o);
	if (!r)
		r = env_get(cli, &o, false, &answer);
	if (r < 0)
		return cli_end(cli, r);
	if (cli->json)
		return cli_print_json(json_object_get(answer, "env"));
	json_array_foreach(json_object_get(answer, "env"), i, line)
		print_export(json_string_value(line));
	return CLI_OK;
}

const struct command cmd_env = {
	.name = "env",
	.args = "[LAB]",
	.summary = "Print the environment for programs that use a lab",
	.details = "Lines for a shell, as the lab's services give them: addresses of their APIs at "
		   "the forwarded\n"
		   "ports, user and password.\n\n"
		   "Example:\n  eval \"$(labctl env core)\"; openstack server list\n",
	.run = run_env,
};
