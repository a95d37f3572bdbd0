// SPDX-License-Identifier: GPL-2.0-or-later
/* up.c - labctl up: bring a lab up, from a file or as it is known */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/source.h"
#include "cli/table.h"

#include "lib/util.h"

#include <string.h>

static int post_up(struct cli *cli, const struct source *source, uint64_t *ret_id)
{
	char path[CLIENT_PATH];
	json_t *body;

	if (*source->lab)
		return cli_job(cli, "POST", client_path(path, "/v1/labs/%s/up", source->lab),
			       json_object(), ret_id);
	body = json_pack("{s:s, s:s, s:b}", "text", source->text, "file", source->file, "up", 1);
	if (!body)
		return lab_fail(&cli->err, -EINVAL, "%s is not UTF-8 text", source->file);
	return cli_job(cli, "POST", "/v1/labs", body, ret_id);
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

static int up(struct cli *cli, const char *arg, bool detach, bool wait)
{
	struct source source;
	uint64_t id = 0;
	int r = source_find(cli, arg, &source), code;

	if (!r)
		r = post_up(cli, &source, &id);
	free(source.text);
	if (r < 0 || detach || !id)
		return cli_job_end(cli, r, id, detach);
	code = follow_until(cli, &id, 1, wait ? NULL : all_started);
	if (!code && !cli->json && !cli->quiet)
		show_result(cli, id);
	return code;
}

static int run_up(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "detach", no_argument, NULL, 'd' },
						 { "no-wait", no_argument, NULL, 'n' },
						 CLI_LONG };
	bool detach = false, wait = true;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "dn", options)) != -1) {
		if (c == '?')
			return cli->exit;
		detach = detach || c == 'd';
		wait = wait && c != 'n';
	}
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	return up(cli, argv[optind], detach, wait);
}

const struct command cmd_up = {
	.name = "up",
	.args = "[FILE|LAB] [--detach|--no-wait]",
	.summary = "Bring a lab up: define it, build its images, start it, wait until it is ready",
	.details = "FILE is a lab file; its path has a '/' or ends in .yaml; - is standard input. "
		   "LAB is\n"
		   "a lab that labd knows, or one that is shipped. Without either: ./lab.yaml, "
		   "else the\n"
		   "only lab.\n"
		   "A second up changes only what differs. Ctrl-C asks labd to stop the work.\n\n"
		   "  -d, --detach   print the job's number and leave\n"
		   "  -n, --no-wait  leave when all instances run, before they are ready\n\n"
		   "Example:\n  labctl up ./demo.yaml\n",
	.run = run_up,
};
