// SPDX-License-Identifier: GPL-2.0-or-later
/* jobs.c - labctl jobs, wait, cancel: work that takes time */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

static int add_job(struct table *t, const json_t *job)
{
	char id[CELL_TEXT], started[CELL_TEXT], error[CELL_TEXT], took[NUM_TEXT] = "";
	double from = cell_number(job, "started"), to = cell_number(job, "ended");
	const char *lab = cell_string(job, "lab"), *target = cell_string(job, "target");
	char object[CELL_TEXT];

	if (from > 0)
		num_seconds_text(took, (uint64_t)MAX((to > 0 ? to : num_wall()) - from, 0.0));
	snprintf(object, sizeof(object), "%s%s%s", lab, *lab && *target ? "/" : "", target);
	return table_row(t, (const char *[]){
				    cell_count(id, job, "id"),
				    cell_string(job, "kind"),
				    object,
				    cell_string(job, "state"),
				    cell_string(job, "step"),
				    cell_time(started, job, "started"),
				    took,
				    cell_line(error, cell_string(job, "error")),
			    });
}

static int print_jobs(const json_t *jobs)
{
	static const char *const headings[] = { ">JOB",	   "KIND",  "OBJECT", "STATE", "STEP",
						"STARTED", ">TIME", "~ERROR", NULL };
	struct table *t = table_new(headings);
	json_t *job;
	size_t i;

	if (!t)
		return -ENOMEM;
	json_array_foreach(jobs, i, job) {
		if (add_job(t, job) < 0) {
			table_free(t);
			return -ENOMEM;
		}
	}
	return table_print(t);
}

static int run_jobs(struct cli *cli, int argc, char **argv)
{
	autojson json_t *jobs = NULL;
	char id[CELL_TEXT];
	json_t *job;
	size_t i;
	int r;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 0, 0))
		return CLI_USAGE;
	r = cli_call(cli, "GET", "/v1/jobs", NULL, &jobs);
	if (r < 0)
		return cli_end(cli, r);
	if (cli->json)
		return cli_print_json(jobs);
	if (cli->quiet) {
		json_array_foreach(jobs, i, job) {
			puts(cell_count(id, job, "id"));
		}
	} else if (json_array_size(jobs) && print_jobs(jobs) < 0) {
		r = lab_fail_errno(&cli->err, -ENOMEM, "table");
	}
	return cli_end(cli, r);
}

/* The only argument as a job's number; 0 after a message */
static uint64_t job_argument(struct cli *cli, int argc, char **argv)
{
	uint64_t id = 0;

	if (cli_plain(cli, argc, argv) != -1)
		return 0;
	cli->exit = CLI_USAGE;
	if (!cli_nargs(cli, argc - optind, 1, 1))
		return 0;
	if (num_u64(argv[optind], INT64_MAX, &id) < 0 || !id) {
		cli_usage(cli, "'%s' is not the number of a job; 'labctl jobs' lists them",
			  argv[optind]);
		return 0;
	}
	return id;
}

static int run_wait(struct cli *cli, int argc, char **argv)
{
	uint64_t id = job_argument(cli, argc, argv);

	return id ? cli_follow(cli, &id, 1) : cli->exit;
}

static int run_cancel(struct cli *cli, int argc, char **argv)
{
	uint64_t id = job_argument(cli, argc, argv);
	autojson json_t *job = NULL;
	char path[64];
	int r;

	if (!id)
		return cli->exit;
	snprintf(path, sizeof(path), "/v1/jobs/%ju", (uintmax_t)id);
	r = cli_call(cli, "DELETE", path, NULL, NULL);
	if (!r)
		r = cli_call(cli, "GET", path, NULL, &job);
	if (r < 0)
		return cli_end(cli, r);
	if (cli->json)
		return cli_print_json(job);
	if (!cli->quiet)
		printf("job %ju was asked to stop; it is %s\n", (uintmax_t)id,
		       cell_string(job, "state"));
	return CLI_OK;
}

const struct command cmd_jobs = {
	.name = "jobs",
	.args = "",
	.summary = "List running and recent jobs",
	.details = "Example:\n  labctl jobs\n",
	.run = run_jobs,
};

const struct command cmd_wait = {
	.name = "wait",
	.args = "JOB",
	.summary = "Show a job until it has ended",
	.details = "The exit code is 0 if the job succeeded. Ctrl-C asks the job to stop.\n\n"
		   "Example:\n  labctl wait 12\n",
	.run = run_wait,
};

const struct command cmd_cancel = {
	.name = "cancel",
	.args = "JOB",
	.summary = "Ask a job to stop",
	.details = "Example:\n  labctl cancel 12\n",
	.run = run_cancel,
};
