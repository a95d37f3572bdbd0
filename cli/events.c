// SPDX-License-Identifier: GPL-2.0-or-later
/* events.c - labctl events: what happens in labd */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <inttypes.h>
#include <string.h>

static void print_event(const json_t *ev)
{
	const json_t *object = json_object_get(ev, "object");
	const char *lab = cell_string(ev, "lab"), *name = cell_string(ev, "name");
	const char *type = cell_string(ev, "type"), *from = cell_string(ev, "from");
	const char *error = cell_string(object, "error");
	char when[CELL_TEXT], text[CELL_TEXT];

	if (!strcmp(type, "gap")) {
		puts("(events before this point are no longer kept)");
		return;
	}
	printf("%s %s %s %s", cell_time(when, ev, "time"), type, cell_string(ev, "action"), lab);
	if (strcmp(type, "lab") != 0)
		printf("%s%s", *lab ? "/" : "", name);
	if (*from)
		printf(" from=%s", from);
	if (*cell_string(object, "kind"))
		printf(" kind=%s", cell_string(object, "kind"));
	if (*cell_string(object, "state"))
		printf(" state=%s", cell_string(object, "state"));
	if (*cell_string(object, "ready"))
		printf(" ready=%s", cell_string(object, "ready"));
	if (*error)
		printf(" error=%s", cell_line(text, error));
	putchar('\n');
	fflush(stdout);
}

static bool on_event(void *arg, json_t *ev)
{
	const struct cli *cli = arg;

	if (cli->json)
		cli_print_line(ev);
	else
		print_event(ev);
	return !ferror(stdout);
}

static int run_events(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "follow", no_argument, NULL, 'f' },
						 { "since", required_argument, NULL, 's' },
						 CLI_LONG };
	bool follow = false, given = false;
	uint64_t since = 0;
	char path[96];
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "fs:", options)) != -1) {
		if (c == '?')
			return cli->exit;
		follow = follow || c == 'f';
		if (c != 's')
			continue;
		given = true;
		if (num_u64(optarg, INT64_MAX, &since) < 0)
			return cli_usage(cli, "'%s' is not the number of an event", optarg);
	}
	if (!cli_nargs(cli, argc - optind, 0, 0))
		return CLI_USAGE;
	if (follow && !given)
		snprintf(path, sizeof(path), "/v1/events?follow=1");
	else
		snprintf(path, sizeof(path), "/v1/events?since=%" PRIu64 "%s", since,
			 follow ? "&follow=1" : "");
	r = cli_ready(cli);
	if (!r)
		r = client_lines(cli->client, "GET", path, NULL, on_event, NULL, cli, &cli->err);
	return cli_end(cli, r);
}

const struct command cmd_events = {
	.name = "events",
	.args = "[--follow] [--since N]",
	.summary = "Print what happened, or what happens",
	.details = "  -f, --follow   print events as they happen, from now or from --since on\n"
		   "  -s, --since N  only events after number N\n\n"
		   "Without options: all events that labd still keeps. With -j one JSON object a "
		   "line.\n\n"
		   "Example:\n  labctl -j events -f\n",
	.run = run_events,
};
