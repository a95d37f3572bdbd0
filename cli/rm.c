// SPDX-License-Identifier: GPL-2.0-or-later
/* rm.c - labctl rm: destroy a lab or an instance */
#define _GNU_SOURCE
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/object.h"

#include "lib/util.h"

#include <string.h>

static int remove_lab(struct cli *cli, const char *arg, bool yes, bool memory)
{
	char path[CLIENT_PATH];
	struct object o;
	uint64_t id = 0;
	int r = object_lab(cli, arg, &o);

	if (!r && !yes && !ask("Destroy lab %s with all its disks and snapshots?", o.lab))
		return CLI_FAILED;
	if (!r)
		r = cli_job(cli, "DELETE",
			    client_path(path, memory ? "/v1/labs/%s" : "/v1/labs/%s?memory=0",
					o.lab),
			    NULL, &id);
	return cli_job_end(cli, r, id, false);
}

static int remove_instance(struct cli *cli, const char *arg, bool yes)
{
	char path[CLIENT_PATH];
	struct object o;
	uint64_t id = 0;
	int r = object_in_lab(cli, arg, &o);

	if (!r && !yes && !ask("Destroy instance %s of lab %s with its disks?", o.name, o.lab))
		return CLI_FAILED;
	if (!r)
		r = cli_job(cli, "DELETE",
			    client_path(path, "/v1/labs/%s/instances/%s", o.lab, o.name), NULL,
			    &id);
	return r < 0 || id ? cli_job_end(cli, r, id, false) : CLI_OK;
}

static int run_rm(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "yes", no_argument, NULL, 'y' },
						 { "no-memory", no_argument, NULL, 'n' },
						 CLI_LONG };
	bool yes = false, memory = true;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "yn", options)) != -1) {
		if (c == '?')
			return cli->exit;
		yes = yes || c == 'y';
		memory = memory && c != 'n';
	}
	if (!cli_nargs(cli, argc - optind, 1, 1))
		return CLI_USAGE;
	if (strchr(argv[optind], '/') && !memory)
		return cli_usage(cli, "--no-memory is of a lab: an instance has to be stopped");
	if (strchr(argv[optind], '/'))
		return remove_instance(cli, argv[optind], yes);
	return remove_lab(cli, argv[optind], yes, memory);
}

const struct command cmd_rm = {
	.name = "rm",
	.args = "LAB|LAB/INSTANCE [--yes] [--no-memory]",
	.summary = "Destroy a lab, or one instance, with its disks",
	.details = "A lab is brought down first; an instance has to be stopped already.\n"
		   "Both can be had again: labctl trash. What is larger than the trash may be\n"
		   "(labd --trash-size) is gone at once.\n\n"
		   "  -y, --yes        do not ask (labctl asks on a terminal only)\n"
		   "  -n, --no-memory  of a lab that runs: do not keep what only its memory has\n\n"
		   "Example:\n  labctl rm demo\n",
	.run = run_rm,
};
