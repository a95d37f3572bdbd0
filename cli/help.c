// SPDX-License-Identifier: GPL-2.0-or-later
/* help.c - labctl help, and the usage of each subcommand */
#define _GNU_SOURCE
#include "cli/help.h"

#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

static void help_all(void)
{
	printf("Usage: labctl [OPTION]... COMMAND [ARGUMENT]...\n"
	       "Run labs of virtual machines.\n\n");
	for (const struct command *const *c = cli_commands(); *c; c++)
		printf("  %-10s %s\n", (*c)->name, (*c)->summary);
	printf("\nOptions, before or after COMMAND:\n"
	       "  -j, --json         print the objects of the API as JSON\n"
	       "  -q, --quiet        print names only, and no progress\n"
	       "      --socket PATH  the labd to talk to; it is not started if it is not there\n"
	       "      --no-start     do not start labd\n"
	       "  -h, --help         this text, or that of COMMAND\n\n"
	       "LAB may be left out where only one lab exists. See labctl(1).\n");
}

void help_command(const struct command *command)
{
	if (command == &cmd_help) {
		help_all();
		return;
	}
	printf("Usage: labctl %s %s\n%s.\n\n%s", command->name, command->args, command->summary,
	       command->details);
}

static int run_help(struct cli *cli, int argc, char **argv)
{
	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	if (optind == argc) {
		help_all();
		return CLI_OK;
	}
	for (const struct command *const *c = cli_commands(); *c; c++) {
		if (!strcmp((*c)->name, argv[optind])) {
			help_command(*c);
			return CLI_OK;
		}
	}
	return cli_usage(cli, "there is no command '%s'", argv[optind]);
}

const struct command cmd_help = {
	.name = "help",
	.args = "[COMMAND]",
	.summary = "Print the commands, or how to use one",
	.details = "Example:\n  labctl help up\n",
	.run = run_help,
};
