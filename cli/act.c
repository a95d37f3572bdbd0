// SPDX-License-Identifier: GPL-2.0-or-later
/* act.c - labctl start, stop, kill, pause, resume, reboot: actions on instances */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/object.h"

#include "lib/util.h"

static int post_action(struct cli *cli, const char *action, const struct object *o, uint64_t *ret)
{
	char path[CLIENT_PATH];

	client_path(path, "/v1/labs/%s/instances/%s/%s", o->lab, o->name, action);
	return cli_job(cli, "POST", path, json_object(), ret);
}

/* Start the jobs of all instances; what is started is followed even if another is refused */
static int act_on(struct cli *cli, const struct object *objects, size_t n, bool detach)
{
	autofree uint64_t *ids = calloc(n, sizeof(*ids));
	int code = CLI_OK, follow;

	if (!ids)
		return cli_end(cli, lab_fail_errno(&cli->err, -ENOMEM, "instances"));
	for (size_t i = 0; i < n; i++) {
		int r = post_action(cli, cli->command->name, &objects[i], &ids[i]);

		if (r < 0)
			code = cli_end(cli, r);
		else if (detach)
			cli_job_end(cli, 0, ids[i], true);
		if (code == CLI_UNREACHABLE)
			return code;
	}
	follow = detach ? CLI_OK : cli_follow(cli, ids, n);
	return code ? code : follow;
}

static int run_act(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "detach", no_argument, NULL, 'd' }, CLI_LONG };
	autofree struct object *objects = NULL;
	bool detach = false;
	size_t n;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "d", options)) != -1) {
		if (c == '?')
			return cli->exit;
		detach = true;
	}
	if (!cli_nargs(cli, argc - optind, 1, 1000))
		return CLI_USAGE;
	n = (size_t)(argc - optind);
	objects = calloc(n, sizeof(*objects));
	if (!objects)
		return cli_end(cli, lab_fail_errno(&cli->err, -ENOMEM, "instances"));
	for (size_t i = 0; i < n; i++) {
		r = object_in_lab(cli, argv[optind + (int)i], &objects[i]);
		if (r < 0)
			return cli_end(cli, r);
	}
	return act_on(cli, objects, n, detach);
}

#define ACTION(NAME, SUMMARY, REMARK)                                                              \
	const struct command cmd_##NAME = {                                                        \
		.name = #NAME,                                                                     \
		.args = "[LAB/]INSTANCE... [--detach]",                                            \
		.summary = SUMMARY,                                                                \
		.details = REMARK "  -d, --detach  do not wait\n\nExample:\n  labctl " #NAME       \
				  " demo/db\n",                                                    \
		.run = run_act,                                                                    \
	}

ACTION(start, "Start instances", "");
ACTION(stop, "Ask instances to shut down, and switch off those that do not", "");
ACTION(kill, "Switch instances off",
       "As pulling the plug: what the guest has not written is lost.\n\n");
ACTION(pause, "Stop the clock of instances", "");
ACTION(resume, "Go on with paused instances", "");
ACTION(reboot, "Shut instances down and start them again", "");
