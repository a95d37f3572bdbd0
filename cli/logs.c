// SPDX-License-Identifier: GPL-2.0-or-later
/* logs.c - labctl logs: what a guest has written to its console */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/guest.h"
#include "cli/lines.h"
#include "cli/object.h"
#include "cli/table.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <inttypes.h>
#include <string.h>

#define LOGS_MAX_KEPT (64U << 20)

/*
 * The last lines of a record that goes on growing are found in two steps: what
 * is recorded now is fetched to see where they begin; then the record is
 * streamed with all that comes, and what is before that place is skipped.
 */
struct logs {
	struct cli *cli;
	struct lines_filter filter, complaints;
	uint64_t skip;
	char *kept;
	size_t len, room;
	int r;
};

static bool on_record(void *arg, const void *data, size_t len)
{
	struct logs *l = arg;

	if (len > LOGS_MAX_KEPT - l->len) {
		l->r = -EMSGSIZE;
		return false;
	}
	if (l->len + len > l->room) {
		size_t room = MAX(2 * l->room, l->len + len);
		char *more = realloc(l->kept, room);

		if (!more) {
			l->r = -ENOMEM;
			return false;
		}
		l->kept = more;
		l->room = room;
	}
	memcpy(l->kept + l->len, data, len);
	l->len += len;
	return true;
}

static bool on_data(void *arg, const void *data, size_t len)
{
	struct logs *l = arg;
	size_t skip = (size_t)MIN(l->skip, (uint64_t)len);

	l->skip -= skip;
	l->r = lines_put(&l->filter, STDOUT_FILENO, (const char *)data + skip, len - skip);
	return !l->r;
}

/* Where the last lines of what is recorded now begin */
static int find_lines(struct logs *l, const char *path, uint64_t lines)
{
	int r = client_stream(l->cli->client, "GET", path, NULL, on_record, NULL, l, &l->cli->err);

	if (!r && l->r < 0)
		r = lab_fail_errno(&l->cli->err, l->r, "the record of the console");
	if (!r)
		l->skip = lines_tail(l->kept, l->len, lines);
	free(l->kept);
	return r;
}

static int show_logs(struct logs *l, const struct object *o, uint64_t lines, bool follow)
{
	char path[CLIENT_PATH], all[CLIENT_PATH + 16];
	int r = 0;

	client_path(path, "/v1/labs/%s/instances/%s/console", o->lab, o->name);
	snprintf(all, sizeof(all), "%s%s", path, follow ? "?follow=1" : "");
	if (lines != UINT64_MAX)
		r = find_lines(l, path, lines);
	if (!r)
		r = client_stream(l->cli->client, "GET", all, NULL, on_data, NULL, l, &l->cli->err);
	if (!r && l->r < 0 && l->r != -EPIPE)
		r = lab_fail_errno(&l->cli->err, l->r, "standard output");
	return r;
}

/* ---- of a service -------------------------------------------------------------------- */

/* Which instance carries it: its name goes into @in */
static int find_carrier(struct cli *cli, const struct object *o, struct object *in)
{
	autojson json_t *placed = NULL;
	char path[CLIENT_PATH];
	const json_t *s;
	size_t i;
	int r = cli_call(cli, "GET", client_path(path, "/v1/labs/%s/services", o->lab), NULL,
			 &placed);

	if (r < 0)
		return r;
	*in = *o;
	json_array_foreach(placed, i, s)
		if (!strcmp(cell_string(s, "name"), o->name)) {
			snprintf(in->name, sizeof(in->name), "%s", cell_string(s, "instance"));
			return 0;
		}
	return lab_fail(&cli->err, -ENOENT, "there is no service '%s': labctl status", o->name);
}

static int on_output(void *arg, int stream, const void *data, size_t len)
{
	struct logs *l = arg;

	return stream == 2 ? lines_put(&l->complaints, STDERR_FILENO, data, len)
			   : lines_put(&l->filter, STDOUT_FILENO, data, len);
}

static int service_logs(struct logs *l, const struct object *o, uint64_t lines, bool follow)
{
	char path[CLIENT_PATH], all[CLIENT_PATH + 48], count[32] = "";
	struct object in;
	const struct guest_exec x = { .object = &in, .path = all, .output = on_output, .arg = l };
	int code = 0, r = find_carrier(l->cli, o, &in);

	if (r < 0)
		return cli_end(l->cli, r);
	if (lines != UINT64_MAX)
		snprintf(count, sizeof(count), "&lines=%" PRIu64, lines);
	client_path(path, "/v1/labs/%s/instances/%s/services/%s/log", in.lab, in.name, o->name);
	snprintf(all, sizeof(all), "%s?follow=%d%s", path, follow, count);
	r = guest_exec(l->cli, &x, &code);
	return r < 0 ? cli_end(l->cli, r) : code;
}

static int run_logs(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "follow", no_argument, NULL, 'f' },
						 { "lines", required_argument, NULL, 'n' },
						 { "service", no_argument, NULL, 's' },
						 CLI_LONG };
	struct logs l = { .cli = cli };
	uint64_t lines = UINT64_MAX;
	bool follow = false, service = false;
	struct object o;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "fn:s", options)) != -1) {
		if (c == '?')
			return cli->exit;
		if (c == 'f')
			follow = true;
		else if (c == 's')
			service = true;
		else if (num_u64(optarg, INT64_MAX, &lines) < 0)
			return cli_usage(cli, "'%s' is not a number of lines", optarg);
	}
	if (!cli_nargs(cli, argc - optind, 1, 1))
		return CLI_USAGE;
	r = object_in_lab(cli, argv[optind], &o);
	if (!r && service)
		return service_logs(&l, &o, lines, follow);
	if (!r)
		r = cli_ready(cli);
	if (!r)
		r = show_logs(&l, &o, lines, follow);
	return cli_end(cli, r);
}

const struct command cmd_logs = {
	.name = "logs",
	.args = "[LAB/]INSTANCE | --service [LAB/]SERVICE [--follow] [--lines N]",
	.summary = "Print what a guest has written to its console, or a service to its log",
	.details = "On a terminal without the guest's control sequences, else byte for byte.\n\n"
		   "  -f, --follow   go on with what it writes\n"
		   "  -n, --lines N  only the last N lines (default: all that is recorded)\n"
		   "  -s, --service  the log of a service, wherever it is\n\n"
		   "Example:\n  labctl logs demo/db -n 20 -f\n",
	.run = run_logs,
};
