// SPDX-License-Identifier: GPL-2.0-or-later
/* logs.c - labctl logs: what a guest has written to its console */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/exec.h"
#include "cli/lines.h"
#include "cli/object.h"
#include "cli/table.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <inttypes.h>
#include <string.h>

#define FOLLOW_SECONDS (7 * 86400)
#define READ_SECONDS 300
#define LOGS_MAX_KEPT (64U << 20)

/*
 * The last lines of a record that goes on growing are found in two steps: what
 * is recorded now is fetched to see where they begin; then the record is
 * streamed with all that comes, and what is before that place is skipped.
 */
struct logs {
	struct cli *cli;
	struct lines_filter filter;
	bool filtered;
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
	autofree char *text = NULL;

	l->skip -= skip;
	data = (const char *)data + skip;
	len -= skip;
	if (!l->filtered) {
		l->r = io_write_all(STDOUT_FILENO, data, len);
		return !l->r;
	}
	text = malloc(len + 1);
	l->r = text ? io_write_all(STDOUT_FILENO, text, lines_plain(&l->filter, text, data, len))
		    : -ENOMEM;
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

	l->filtered = isatty(STDOUT_FILENO);
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

/* The one of a name in the answer to a GET; borrowed from *ret */
static int find_named(struct cli *cli, const char *path, const char *name, json_t **ret,
		      const json_t **ret_found)
{
	const json_t *o;
	size_t i;
	int r = cli_call(cli, "GET", path, NULL, ret);

	json_array_foreach(*ret, i, o)
		if (!strcmp(cell_string(o, "name"), name)) {
			*ret_found = o;
			return r;
		}
	return r < 0 ? r
		     : lab_fail(&cli->err, -ENOENT, "there is no service '%s': labctl status",
				name);
}

/* Its log file, or the journal of its units */
static json_t *log_command(const json_t *service, uint64_t lines, bool follow)
{
	const char *log = cell_string(service, "log");
	const json_t *unit;
	json_t *argv;
	size_t i;

	if (*log) {
		argv = json_pack("[s s o]", "tail", "-n",
				 lines == UINT64_MAX ? json_string("+1")
						     : json_sprintf("%" PRIu64, lines));
		if (follow)
			json_array_append_new(argv, json_string("-F"));
		json_array_append_new(argv, json_string(log));
		return argv;
	}
	argv = json_pack("[s s s]", "journalctl", "-q", "--no-pager");
	if (lines != UINT64_MAX)
		json_array_append_new(argv, json_sprintf("-n%" PRIu64, lines));
	if (follow)
		json_array_append_new(argv, json_string("-f"));
	json_array_foreach(json_object_get(service, "units"), i, unit)
		json_array_append_new(argv, json_sprintf("-u%s", json_string_value(unit)));
	return argv;
}

static int service_logs(struct cli *cli, const struct object *o, uint64_t lines, bool follow)
{
	autojson json_t *placed = NULL, *known = NULL;
	const json_t *place, *service;
	struct object in = *o;
	char path[CLIENT_PATH];
	int r = find_named(cli, client_path(path, "/v1/labs/%s/services", o->lab), o->name, &placed,
			   &place);

	if (!r)
		r = find_named(cli, "/v1/services", o->name, &known, &service);
	if (!r && !*cell_string(service, "log") &&
	    !json_array_size(json_object_get(service, "units")))
		r = lab_fail(&cli->err, -ENODATA, "service %s has no log: see labctl logs %s/%s",
			     o->name, o->lab, cell_string(place, "instance"));
	if (r < 0)
		return cli_end(cli, r);
	snprintf(in.name, sizeof(in.name), "%s", cell_string(place, "instance"));
	return exec_in_guest(cli, &in,
			     json_pack("{s:o s:i}", "argv", log_command(service, lines, follow),
				       "timeout", follow ? FOLLOW_SECONDS : READ_SECONDS));
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
		return service_logs(cli, &o, lines, follow);
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
