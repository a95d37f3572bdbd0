// SPDX-License-Identifier: GPL-2.0-or-later
/* golden.c - labctl golden, suspend, clone: the running state of a whole lab */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/object.h"
#include "cli/repair.h"

#include "lib/util.h"

#include <string.h>

#define OPT_FORCE CLI_OPT_OWN /* -f is --from */
#define FORCE_HELP "even if an instance runs guests of its own on AMD's KVM\n"

/* POST /v1/labs/LAB/WHAT, and wait for the job */
static int run(struct cli *cli, int argc, char **argv, const char *what)
{
	static const struct option options[] = { { "detach", no_argument, NULL, 'd' },
						 { "force", no_argument, NULL, 'f' },
						 CLI_LONG };
	char path[CLIENT_PATH];
	struct object o;
	bool detach = false, force = false;
	uint64_t id = 0;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "df", options)) != -1) {
		if (c == '?')
			return cli->exit;
		detach = detach || c == 'd';
		force = force || c == 'f';
	}
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	r = object_lab(cli, argv[optind], &o);
	if (r < 0)
		return cli_end(cli, r);
	r = cli_job(cli, "POST", client_path(path, "/v1/labs/%s/%s", o.lab, what),
		    json_pack("{s:b}", "force", force), &id);
	return cli_job_end(cli, r, id, detach);
}

static int run_clone(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "detach", no_argument, NULL, 'd' },
						 { "from", required_argument, NULL, 'f' },
						 { "force", no_argument, NULL, OPT_FORCE },
						 REPAIR_LONG,
						 CLI_LONG };
	struct repair_options repair = { 0 };
	const char *from = NULL;
	char path[CLIENT_PATH];
	struct object o;
	bool detach = false, force = false;
	uint64_t id = 0;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "df:", options)) != -1) {
		if (c == '?')
			return cli->exit;
		detach = detach || c == 'd';
		from = c == 'f' ? optarg : from;
		force = force || c == OPT_FORCE;
		repair_option(&repair, c);
	}
	if (!cli_nargs(cli, argc - optind, 2, 2))
		return CLI_USAGE;
	r = object_lab(cli, argv[optind], &o);
	if (r < 0)
		return cli_end(cli, r);
	r = cli_job(cli, "POST", client_path(path, "/v1/labs/%s/clone", o.lab),
		    repair_body(&repair, json_pack("{s:s, s:s*, s:b}", "name", argv[optind + 1],
						   "from", from, "force", force)),
		    &id);
	return cli_job_end(cli, r, id, detach);
}

static int run_golden(struct cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, "golden");
}

static int run_suspend(struct cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, "suspend");
}

const struct command cmd_golden = {
	.name = "golden",
	.args = "[LAB] [--force] [--detach]",
	.summary = "Make a running lab, as it is now, what `up` and `reset` go back to",
	.details = "All instances are frozen at one instant, with disks and memory, and go on. The "
		   "first `up`\n"
		   "of a lab whose instances all have `ready` probes makes a golden by itself.\n\n"
		   "  -f, --force   " FORCE_HELP "  -d, --detach  do not wait\n\n"
		   "Example:\n  labctl golden demo\n",
	.run = run_golden,
};

const struct command cmd_suspend = {
	.name = "suspend",
	.args = "[LAB] [--force] [--detach]",
	.summary = "Save a running lab with its memory and end it; `up` goes on where it was",
	.details = "  -f, --force   " FORCE_HELP "  -d, --detach  do not wait\n\n"
		   "Example:\n  labctl suspend demo\n",
	.run = run_suspend,
};

const struct command cmd_clone = {
	.name = "clone",
	.args = "LAB NEW [--from SNAPSHOT] [--force] [--detach]",
	.summary = "Start a second lab beside a first, as it is now or was in a snapshot",
	.details = "The clone has the same names and addresses inside and is isolated from the "
		   "first; ports\n"
		   "of the host that are forwarded to it are others: labctl show NEW/INSTANCE.\n\n"
		   "  -f, --from NAME  of this snapshot, for example golden; else of what runs "
		   "now\n"
		   "      --force      " FORCE_HELP REPAIR_HELP "  -d, --detach     do not wait\n\n"
		   "Example:\n  labctl clone demo demo2 --from golden\n",
	.run = run_clone,
};
