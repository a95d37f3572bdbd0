// SPDX-License-Identifier: GPL-2.0-or-later
/* logs.c - labctl logs: what a guest has written to its console */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/object.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

/*
 * The recorded part is kept back until its last lines are known: at the end of
 * the answer, or, when the live output follows in the same answer, as soon as
 * nothing comes for a moment.
 */
struct logs {
	struct cli *cli;
	struct lines_filter filter;
	bool live, fresh, filtered;
	uint64_t lines;
	char *kept;
	size_t len, room;
	int r;
};

#define LOGS_MAX_KEPT (64U << 20)

static void put(struct logs *l, const char *data, size_t len)
{
	autofree char *text = NULL;

	if (l->r < 0 || !len)
		return;
	if (!l->filtered) {
		l->r = io_write_all(STDOUT_FILENO, data, len);
		return;
	}
	text = malloc(len);
	if (!text) {
		l->r = -ENOMEM;
		return;
	}
	l->r = io_write_all(STDOUT_FILENO, text, lines_plain(&l->filter, text, data, len));
}

static void keep(struct logs *l, const char *data, size_t len)
{
	if (len > LOGS_MAX_KEPT - l->len) {
		l->r = -EMSGSIZE;
		return;
	}
	if (l->len + len > l->room) {
		size_t room = MAX(2 * l->room, l->len + len);
		char *more = realloc(l->kept, room);

		if (!more) {
			l->r = -ENOMEM;
			return;
		}
		l->kept = more;
		l->room = room;
	}
	memcpy(l->kept + l->len, data, len);
	l->len += len;
}

static void flush_kept(struct logs *l)
{
	size_t from = lines_tail(l->kept, l->len, l->lines);

	if (l->live)
		return;
	l->live = true;
	put(l, l->kept + from, l->len - from);
	l->len = 0;
}

static bool on_data(void *arg, const void *data, size_t len)
{
	struct logs *l = arg;

	l->fresh = true;
	if (l->live)
		put(l, data, len);
	else
		keep(l, data, len);
	return l->r >= 0;
}

static bool on_idle(void *arg)
{
	struct logs *l = arg;

	if (!l->fresh)
		flush_kept(l);
	l->fresh = false;
	return l->r >= 0;
}

static int show_logs(struct logs *l, const struct object *o, bool follow)
{
	struct cli *cli = l->cli;
	char path[CLIENT_PATH];
	int r;

	l->filtered = isatty(STDOUT_FILENO);
	l->live = l->lines == UINT64_MAX;
	/* the idle function must not take the time before the first byte for the end */
	l->fresh = true;
	client_path(path,
		    follow ? "/v1/labs/%s/instances/%s/console?follow=1"
			   : "/v1/labs/%s/instances/%s/console",
		    o->lab, o->name);
	r = client_stream(cli->client, "GET", path, NULL, on_data,
			  follow && !l->live ? on_idle : NULL, l, &cli->err);
	if (!r)
		flush_kept(l);
	if (!r && l->r < 0 && l->r != -EPIPE)
		r = lab_fail_errno(&cli->err, l->r, "standard output");
	free(l->kept);
	return r;
}

static int run_logs(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "follow", no_argument, NULL, 'f' },
						 { "lines", required_argument, NULL, 'n' },
						 CLI_LONG };
	struct logs l = { .cli = cli, .lines = UINT64_MAX };
	bool follow = false;
	struct object o;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "fn:", options)) != -1) {
		if (c == '?')
			return cli->exit;
		if (c == 'f')
			follow = true;
		else if (num_u64(optarg, INT64_MAX, &l.lines) < 0)
			return cli_usage(cli, "'%s' is not a number of lines", optarg);
	}
	if (!cli_nargs(cli, argc - optind, 1, 1))
		return CLI_USAGE;
	r = object_in_lab(cli, argv[optind], &o);
	if (!r)
		r = cli_ready(cli);
	if (!r)
		r = show_logs(&l, &o, follow);
	return cli_end(cli, r);
}

const struct command cmd_logs = {
	.name = "logs",
	.args = "[LAB/]INSTANCE [--follow] [--lines N]",
	.summary = "Print what a guest has written to its console",
	.details = "On a terminal without the guest's control sequences, else byte for byte.\n\n"
		   "  -f, --follow   go on with what it writes\n"
		   "  -n, --lines N  only the last N lines (default: all that is recorded)\n\n"
		   "Example:\n  labctl logs demo/db -n 20 -f\n",
	.run = run_logs,
};
