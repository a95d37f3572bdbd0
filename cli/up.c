// SPDX-License-Identifier: GPL-2.0-or-later
/* up.c - labctl up: bring a lab up, from a file or as it is known */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/repair.h"
#include "cli/source.h"
#include "cli/table.h"

#include "lib/util.h"

#include <string.h>

struct options {
	bool detach, no_wait, boot, no_golden, force;
	struct repair_options repair;
};

static int post_up(struct cli *cli, const struct source *source, const struct options *opt,
		   uint64_t *ret_id)
{
	char path[CLIENT_PATH];
	json_t *body;

	if (*source->lab)
		return cli_job(cli, "POST", client_path(path, "/v1/labs/%s/up", source->lab),
			       repair_body(&opt->repair,
					   json_pack("{s:b, s:b, s:b}", "boot", opt->boot, "golden",
						     !opt->no_golden, "force", opt->force)),
			       ret_id);
	body = json_pack("{s:s, s:s, s:b, s:b, s:b, s:b}", "text", source->text, "file",
			 source->file, "up", 1, "boot", opt->boot, "golden", !opt->no_golden,
			 "force", opt->force);
	if (!body)
		return lab_fail(&cli->err, -EINVAL, "%s is not UTF-8 text", source->file);
	return cli_job(cli, "POST", "/v1/labs", repair_body(&opt->repair, body), ret_id);
}

/* All instances run; whether they are ready is not waited for */
static bool all_started(const json_t *job)
{
	const json_t *items = json_object_get(job, "items");
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item) {
		const char *state = cell_string(item, "state"), *step = cell_string(item, "step");

		if (!strcmp(state, "waiting") ||
		    (!strcmp(state, "running") && strncmp(step, "wait", 4) != 0))
			return false;
	}
	return json_array_size(items) > 0;
}

/* The lab's name is the job's, if the file has said it */
static void show_result(struct cli *cli, uint64_t id)
{
	autojson json_t *job = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/v1/jobs/%llu", (unsigned long long)id);
	if (!cli_call(cli, "GET", path, NULL, &job) && *cell_string(job, "lab"))
		cli_status(cli, cell_string(job, "lab"));
}

static int up(struct cli *cli, const char *arg, const struct options *opt)
{
	struct source source;
	uint64_t id = 0;
	int r = source_find(cli, arg, &source), code;

	if (!r)
		r = post_up(cli, &source, opt, &id);
	free(source.text);
	if (r < 0 || opt->detach || !id)
		return cli_job_end(cli, r, id, opt->detach);
	code = follow_until(cli, &id, 1, opt->no_wait ? all_started : NULL);
	if (!code && !cli->json && !cli->quiet)
		show_result(cli, id);
	return code;
}

static int run_up(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{ "detach", no_argument, NULL, 'd' }, { "no-wait", no_argument, NULL, 'n' },
		{ "boot", no_argument, NULL, 'b' },   { "no-golden", no_argument, NULL, 'G' },
		{ "force", no_argument, NULL, 'f' },  CLI_LONG
	};
	struct options opt = { 0 };
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "dnbGf", options)) != -1) {
		if (c == '?')
			return cli->exit;
		opt.detach = opt.detach || c == 'd';
		opt.no_wait = opt.no_wait || c == 'n';
		opt.boot = opt.boot || c == 'b';
		opt.no_golden = opt.no_golden || c == 'G';
		opt.force = opt.force || c == 'f';
		repair_option(&opt.repair, c);
	}
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	return up(cli, argv[optind], &opt);
}

const struct command cmd_up = {
	.name = "up",
	.args = "[FILE|LAB] [--boot] [--no-golden] [--force] [--detach|--no-wait]",
	.summary = "Bring a lab up: define it, build its images, start it, wait until it is ready",
	.details = "FILE is a lab file; its path has a '/' or ends in .yaml; - is standard input. "
		   "LAB is\n"
		   "a lab that labd knows, or one that is shipped. Without either: ./lab.yaml, "
		   "else the\n"
		   "only lab.\n"
		   "A second up changes only what differs. Of a lab that is down, up goes on "
		   "where it was\n"
		   "suspended, else restores its golden, else boots. Ctrl-C asks labd to stop the "
		   "work.\n\n"
		   "  -b, --boot       boot, whatever was saved\n"
		   "  -G, --no-golden  make no golden when all instances are ready\n" REPAIR_HELP
		   "  -f, --force      even if it does not fit into memory or on the disk\n"
		   "  -d, --detach     print the job's number and leave\n"
		   "  -n, --no-wait    leave when all instances run, before they are ready\n\n"
		   "Example:\n  labctl up ./demo.yaml\n",
	.run = run_up,
};
