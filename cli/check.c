// SPDX-License-Identifier: GPL-2.0-or-later
/* check.c - labctl check: whether services really work */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/object.h"

#include "lib/util.h"

static int run_check(struct cli *cli, int argc, char **argv)
{
	autojson json_t *names = json_array();
	char path[CLIENT_PATH], **args;
	struct object o;
	uint64_t id = 0;
	int r;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	args = argv + optind;
	r = *args ? object_lab_exists(cli, *args) : 0;
	if (r >= 0)
		r = object_lab(cli, r ? *args++ : NULL, &o);
	for (; !r && *args; args++)
		json_array_append_new(names, json_string(*args));
	if (!r)
		r = cli_job(cli, "POST", client_path(path, "/v1/labs/%s/check", o.lab),
			    json_pack("{s:O}", "services", names), &id);
	return cli_job_end(cli, r, id, false);
}

const struct command cmd_check = {
	.name = "check",
	.args = "[LAB] [SERVICE...]",
	.summary = "Let the services of a lab say whether they really work",
	.details = "Each runs a check of its own, for example that a token is issued, where it is, "
		   "in the order of\n"
		   "their needs.\n\n"
		   "Example:\n  labctl check core identity image\n",
	.run = run_check,
};
