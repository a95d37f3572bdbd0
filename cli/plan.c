// SPDX-License-Identifier: GPL-2.0-or-later
/* plan.c - labctl plan: the lab with all defaults, and what up would change */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/source.h"
#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

static bool is_change(const json_t *change)
{
	return strcmp(cell_string(change, "action"), "none") != 0;
}

static void print_changes(const json_t *plan)
{
	bool any = false;
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(plan, "images"), i, v) {
		if (!strcmp(cell_string(v, "state"), "ready"))
			continue;
		any = true;
		printf("#   image %s: %s\n", cell_string(v, "name"), cell_string(v, "state"));
	}
	json_array_foreach(json_object_get(plan, "changes"), i, v) {
		const char *reason = cell_string(v, "reason");

		if (!is_change(v))
			continue;
		any = true;
		printf("#   %s: %s%s%s%s\n", cell_string(v, "object"), cell_string(v, "action"),
		       *reason ? " (" : "", reason, *reason ? ")" : "");
	}
	if (!any)
		puts("#   nothing");
}

static void print_fit(const json_t *fit)
{
	char need[CELL_TEXT], have[CELL_TEXT];
	const char *message = cell_string(fit, "message");

	if (!fit)
		return;
	cell_size(need, fit, "memory_needed");
	printf("# Memory: needs %s", *need ? need : "nothing");
	printf(", %s free\n", cell_size(have, fit, "memory_free"));
	cell_size(need, fit, "disk_needed");
	printf("# Disk: needs %s", *need ? need : "nothing");
	printf(", %s free\n", cell_size(have, fit, "disk_free"));
	if (!json_is_true(json_object_get(fit, "ok")))
		printf("# It does not fit: %s\n", message);
}

/* Where services are, and why there was room for them */
static void print_machines(const json_t *machines)
{
	char size[CELL_TEXT];
	json_t *m, *s;
	size_t i, k;

	puts("# Services, and the memory they take:");
	json_array_foreach(machines, i, m) {
		json_int_t left = json_integer_value(json_object_get(m, "memory")) -
				  json_integer_value(json_object_get(m, "system"));
		char text[NUM_TEXT];

		if (!json_array_size(json_object_get(m, "services")))
			continue;
		printf("#   %s, %s:", cell_string(m, "name"), cell_size(size, m, "memory"));
		printf(" system %s", cell_size(size, m, "system"));
		json_array_foreach(json_object_get(m, "services"), k, s) {
			cell_size(size, s, "memory");
			printf(", %s %s", cell_string(s, "name"), *size ? size : "0 B");
			left -= json_integer_value(json_object_get(s, "memory"));
		}
		printf("; %s %s\n", num_size_text(text, (uint64_t)llabs(left)),
		       left < 0 ? "more than it has" : "left");
	}
}

static bool any_service(const json_t *machines)
{
	json_t *m;
	size_t i;

	json_array_foreach(machines, i, m)
		if (json_array_size(json_object_get(m, "services")))
			return true;
	return false;
}

/* The rest are comments, so that the output is a lab file */
static void print_plan(const struct cli *cli, const json_t *plan)
{
	json_t *v;
	size_t i;

	if (cli->quiet) {
		json_array_foreach(json_object_get(plan, "changes"), i, v) {
			if (is_change(v))
				puts(cell_string(v, "object"));
		}
		return;
	}
	fputs(cell_string(plan, "yaml"), stdout);
	puts("\n# What up would change:");
	print_changes(plan);
	if (any_service(json_object_get(plan, "machines")))
		print_machines(json_object_get(plan, "machines"));
	print_fit(json_object_get(plan, "fit"));
}

static int run_plan(struct cli *cli, int argc, char **argv)
{
	autojson json_t *plan = NULL;
	struct source source;
	json_t *body;
	int r;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	r = source_find(cli, argv[optind], &source);
	if (!r && *source.lab)
		r = source_of_lab(cli, &source);
	if (r < 0) {
		free(source.text);
		return cli_end(cli, r);
	}
	body = json_pack("{s:s, s:s}", "text", source.text, "file", source.file);
	free(source.text);
	if (!body)
		return cli_end(cli,
			       lab_fail(&cli->err, -EINVAL, "%s is not UTF-8 text", source.file));
	r = cli_call(cli, "POST", "/v1/plan", body, &plan);
	if (r < 0)
		return cli_end(cli, r);
	if (cli->json)
		cli_print_json(plan);
	else
		print_plan(cli, plan);
	return CLI_OK;
}

const struct command cmd_plan = {
	.name = "plan",
	.args = "[FILE|LAB]",
	.summary = "Print a lab file with all defaults filled in, and what up would change",
	.details = "What is not the lab file is printed as comments. FILE and LAB as with up.\n\n"
		   "Example:\n  labctl plan ./demo.yaml\n",
	.run = run_plan,
};
