// SPDX-License-Identifier: GPL-2.0-or-later
/* reset.c - labctl reset: fresh disks, and boot */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/object.h"

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

static int post_reset(struct cli *cli, char **args, uint64_t *ret_id)
{
	autojson json_t *names = json_array();
	struct object lab = { 0 };
	char path[CLIENT_PATH];
	int r = take_lab(cli, args, &lab);

	if (r >= 0)
		r = take_instances(cli, args + r, &lab, names);
	if (r < 0)
		return r;
	return cli_job(cli, "POST", client_path(path, "/v1/labs/%s/reset", lab.lab),
		       json_array_size(names) ? json_pack("{s:O}", "instances", names)
					      : json_object(),
		       ret_id);
}

static int run_reset(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "detach", no_argument, NULL, 'd' }, CLI_LONG };
	bool detach = false;
	uint64_t id = 0;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "d", options)) != -1) {
		if (c == '?')
			return cli->exit;
		detach = true;
	}
	r = post_reset(cli, argv + optind, &id);
	return cli_job_end(cli, r, id, detach);
}

const struct command cmd_reset = {
	.name = "reset",
	.args = "[LAB] [INSTANCE...] [--detach]",
	.summary = "Give a lab, or some of its instances, fresh disks and boot",
	.details =
		"What was written to the disks since the last reset is lost. The first argument is "
		"a\n"
		"lab if there is one of that name; instances may also be given as LAB/INSTANCE.\n\n"
		"  -d, --detach  do not wait\n\n"
		"Example:\n  labctl reset demo db\n",
	.run = run_reset,
};
