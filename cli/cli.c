// SPDX-License-Identifier: GPL-2.0-or-later
/* cli.c - options that all subcommands share, messages, exit codes */
#define _GNU_SOURCE
#include "cli/cli.h"

#include "cli/help.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void say_hint(const struct cli *cli)
{
	if (!strcmp(cli->command->name, "help"))
		fprintf(stderr, "Try 'labctl help'.\n");
	else
		fprintf(stderr, "Try 'labctl %s --help'.\n", cli->command->name);
}

int cli_getopt(struct cli *cli, int argc, char **argv, const char *shorts,
	       const struct option *longs)
{
	int c;

	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		switch (c) {
		case 'j':
			cli->json = true;
			break;
		case 'q':
			cli->quiet = true;
			break;
		case 'h':
			help_command(cli->command);
			cli->exit = CLI_OK;
			return '?';
		case CLI_OPT_SOCKET:
			cli->socket = optarg;
			cli->may_start = false;
			break;
		case CLI_OPT_NO_START:
			cli->may_start = false;
			break;
		case '?':
			say_hint(cli);
			cli->exit = CLI_USAGE;
			return '?';
		default:
			return c;
		}
	}
	return -1;
}

int cli_plain(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_LONG };

	return cli_getopt(cli, argc, argv, CLI_SHORT, options);
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "labctl %s: ", cli->command->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nUsage: labctl %s %s\n", cli->command->name, cli->command->args);
	say_hint(cli);
	return CLI_USAGE;
}

bool cli_nargs(struct cli *cli, int n, int min, int max)
{
	if (n < min)
		cli_usage(cli, "an argument is missing");
	else if (n > max)
		cli_usage(cli, "too many arguments");
	return n >= min && n <= max;
}

static void print_problems(const struct cli *cli)
{
	json_t *p;
	size_t i;

	json_array_foreach(cli->problems, i, p) {
		int line = 0, column = 0;
		const char *message = "";

		json_unpack(p, "{s?i, s?i, s?s}", "line", &line, "column", &column, "message",
			    &message);
		fprintf(stderr, "%s:%d:%d: %s\n", cli->file ? cli->file : "-", line, column,
			message);
	}
}

int cli_end(struct cli *cli, int r)
{
	if (r >= 0)
		return CLI_OK;
	if (cli->problems && json_array_size(cli->problems))
		print_problems(cli);
	else
		fprintf(stderr, "labctl: %s\n", cli->err.code ? cli->err.text : strerror(-r));
	return cli->unreachable ? CLI_UNREACHABLE : CLI_FAILED;
}

int cli_print_json(const json_t *doc)
{
	json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	return 0;
}

int cli_print_line(const json_t *doc)
{
	json_dumpf(doc, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
	putchar('\n');
	fflush(stdout);
	return 0;
}
