// SPDX-License-Identifier: GPL-2.0-or-later
/* version.c - labctl version: of labctl, and of the labd that runs */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/table.h"

#include "lib/util.h"

static int run_version(struct cli *cli, int argc, char **argv)
{
	autojson json_t *labd = NULL;
	int r;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 0, 0))
		return CLI_USAGE;
	cli->may_start = false;
	r = cli_call(cli, "GET", "/v1/version", NULL, &labd);
	if (cli->json) {
		autojson json_t *doc = json_pack("{s:s, s:O?}", "labctl", LAB_VERSION, "labd",
						 labd);

		return cli_print_json(doc);
	}
	if (cli->quiet) {
		puts(LAB_VERSION);
		return CLI_OK;
	}
	printf("labctl %s\n", LAB_VERSION);
	if (!r)
		printf("labd %s at %s, QEMU %s\n", cell_string(labd, "version"), cli->socket,
		       cell_string(labd, "qemu"));
	else
		printf("%s\n", cli->err.text);
	return CLI_OK;
}

const struct command cmd_version = {
	.name = "version",
	.args = "",
	.summary = "Print the versions of labctl and labd",
	.details = "labd is asked if it runs, but not started.\n\nExample:\n  labctl version\n",
	.run = run_version,
};
