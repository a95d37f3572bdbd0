// SPDX-License-Identifier: GPL-2.0-or-later
/* labctl.c - the command line of labd: global options and the subcommands */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/help.h"

#include "lib/names.h"
#include "lib/util.h"

#include <locale.h>
#include <string.h>

static const struct command *const commands[] = {
	&cmd_up,     &cmd_down,	    &cmd_reset,	  &cmd_rm,	&cmd_plan,
	&cmd_status, &cmd_ls,	    &cmd_show,	  &cmd_exec,	&cmd_cp,
	&cmd_edit,   &cmd_console,  &cmd_logs,	  &cmd_capture, &cmd_screenshot,
	&cmd_start,  &cmd_stop,	    &cmd_kill,	  &cmd_pause,	&cmd_resume,
	&cmd_reboot, &cmd_snapshot, &cmd_diff,	  &cmd_golden,	&cmd_suspend,
	&cmd_clone,  &cmd_export,   &cmd_import,  &cmd_image,	&cmd_trash,
	&cmd_check,  &cmd_test,	    &cmd_env,	  &cmd_run,	&cmd_openstack,
	&cmd_mount,  &cmd_umount,   &cmd_jobs,	  &cmd_wait,	&cmd_cancel,
	&cmd_events, &cmd_doctor,   &cmd_version, &cmd_help,	NULL,
};

const struct command *const *cli_commands(void)
{
	return commands;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	const char *names[ARRAY_SIZE(commands)] = { NULL };
	const char *near;

	for (size_t i = 0; commands[i]; i++)
		names[i] = commands[i]->name;
	near = name_nearest(name, names);
	fprintf(stderr, "labctl: unknown command '%s'", name);
	if (near)
		fprintf(stderr, "; did you mean '%s'?\n", near);
	else
		fprintf(stderr, "; 'labctl help' lists them\n");
	return CLI_USAGE;
}

static int run_command(struct cli *cli, int argc, char **argv)
{
	char title[64];

	cli->command = find_command(argv[0]);
	if (!cli->command)
		return unknown_command(argv[0]);
	/* getopt's own messages begin with argv[0] */
	snprintf(title, sizeof(title), "labctl %s", cli->command->name);
	argv[0] = title;
	optind = 0;
	return cli->command->run(cli, argc, argv);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "version", no_argument, NULL, 'V' }, CLI_LONG };
	struct cli cli = { .command = &cmd_help, .may_start = true };
	int c, code;

	setlocale(LC_CTYPE, "");
	if (paths_find(&cli.paths, &cli.err) < 0) {
		fprintf(stderr, "labctl: %s\n", cli.err.text);
		return CLI_FAILED;
	}
	cli.socket = cli.paths.socket;
	while ((c = cli_getopt(&cli, argc, argv, "+" CLI_SHORT "V", options)) != -1) {
		if (c != 'V')
			return cli.exit;
		printf("labctl %s\n", LAB_VERSION);
		return CLI_OK;
	}
	if (optind == argc) {
		help_command(&cmd_help);
		return CLI_USAGE;
	}
	code = run_command(&cli, argc - optind, argv + optind);
	client_free(cli.client);
	json_decref(cli.labs);
	json_decref(cli.problems);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "labctl: standard output: %s\n", strerror(errno));
		return code ? code : CLI_FAILED;
	}
	return code;
}
