// SPDX-License-Identifier: GPL-2.0-or-later
/* down.c - labctl down: stop a lab, keep its disks */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/object.h"

static int run_down(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "kill", no_argument, NULL, 'k' },
						 { "detach", no_argument, NULL, 'd' },
						 CLI_LONG };
	bool kill = false, detach = false;
	char path[CLIENT_PATH];
	struct object o;
	uint64_t id = 0;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "kd", options)) != -1) {
		if (c == '?')
			return cli->exit;
		kill = kill || c == 'k';
		detach = detach || c == 'd';
	}
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	r = object_lab(cli, argv[optind], &o);
	if (!r)
		r = cli_job(cli, "POST", client_path(path, "/v1/labs/%s/down", o.lab),
			    json_pack("{s:b}", "kill", kill), &id);
	return cli_job_end(cli, r, id, detach);
}

const struct command cmd_down = {
	.name = "down",
	.args = "[LAB] [--kill] [--detach]",
	.summary = "Stop all instances of a lab; its disks stay",
	.details = "  -k, --kill    do not ask the guests to shut down: switch them off\n"
		   "  -d, --detach  do not wait\n\n"
		   "Example:\n  labctl down demo\n",
	.run = run_down,
};
