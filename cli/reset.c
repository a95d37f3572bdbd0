// SPDX-License-Identifier: GPL-2.0-or-later
/* reset.c - labctl reset: back to the golden state */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/object.h"
#include "cli/repair.h"

#include "lib/util.h"

#include <string.h>

/*
 * The first argument is a lab if one has that name, else all are instances.
 * Return: how many arguments named the lab (0 or 1), or negative errno
 */
static int take_lab(struct cli *cli, char **args, struct object *ret)
{
	const char *first = args[0];
	int r;

	if (!first || strchr(first, '/'))
		return first ? 0 : object_lab(cli, NULL, ret);
	r = object_lab_exists(cli, first);
	if (r < 0)
		return r;
	if (r) {
		r = object_lab(cli, first, ret);
		return r < 0 ? r : 1;
	}
	r = object_lab(cli, NULL, ret);
	/* Not the word that was typed would be complained about */
	if (r < 0)
		return lab_fail(&cli->err, r, "there is no lab '%s'; 'labctl ls' lists labs",
				first);
	return 0;
}

static int take_instances(struct cli *cli, char **args, struct object *lab, json_t *names)
{
	for (; *args; args++) {
		struct object o;
		int r = object_parse(*args, &o, &cli->err);

		if (r < 0)
			return r;
		if (*o.lab && *lab->lab && strcmp(o.lab, lab->lab) != 0)
			return lab_fail(&cli->err, -EINVAL,
					"%s is not in lab %s: one reset is of one lab", *args,
					lab->lab);
		if (*o.lab)
			snprintf(lab->lab, sizeof(lab->lab), "%s", o.lab);
		json_array_append_new(names, json_string(o.name));
	}
	return *lab->lab ? 0 : object_lab(cli, NULL, lab);
}

struct options {
	bool detach, boot;
	struct repair_options repair;
};

static int post_reset(struct cli *cli, char **args, const struct options *opt, uint64_t *ret_id)
{
	autojson json_t *names = json_array();
	struct object lab = { 0 };
	char path[CLIENT_PATH];
	json_t *body;
	int r = take_lab(cli, args, &lab);

	if (r >= 0)
		r = take_instances(cli, args + r, &lab, names);
	if (r < 0)
		return r;
	body = repair_body(&opt->repair, json_pack("{s:b}", "boot", opt->boot));
	if (json_array_size(names))
		json_object_set(body, "instances", names);
	return cli_job(cli, "POST", client_path(path, "/v1/labs/%s/reset", lab.lab), body, ret_id);
}

static int run_reset(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "detach", no_argument, NULL, 'd' },
						 { "boot", no_argument, NULL, 'b' },
						 REPAIR_LONG,
						 CLI_LONG };
	struct options opt = { 0 };
	uint64_t id = 0;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "db", options)) != -1) {
		if (c == '?')
			return cli->exit;
		opt.detach = opt.detach || c == 'd';
		opt.boot = opt.boot || c == 'b';
		repair_option(&opt.repair, c);
	}
	r = post_reset(cli, argv + optind, &opt, &id);
	return cli_job_end(cli, r, id, opt.detach);
}

const struct command cmd_reset = {
	.name = "reset",
	.args = "[LAB] [INSTANCE...] [--boot] [--detach]",
	.summary = "Take a lab, or some of its instances, back to its golden state",
	.details =
		"Disks, memory and devices become those of the golden, in about a second; where "
		"there is\n"
		"none that fits, the disks are made anew and the guests boot. What happened since "
		"is lost.\n"
		"The first argument is a lab if there is one of that name; instances may also be "
		"given as\n"
		"LAB/INSTANCE.\n\n"
		"  -b, --boot       fresh disks and boot, whatever was saved\n" REPAIR_HELP
		"  -d, --detach     do not wait\n\n"
		"Example:\n  labctl reset demo db\n",
	.run = run_reset,
};
