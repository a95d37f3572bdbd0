// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * capture.c - labctl capture: what goes through a guest's nic, for tcpdump and tshark
 *
 * The answer's bytes are a pcap file that grows, and go out as they come. Ctrl-C, or the end
 * of who reads them, ends the capture; how much it was is asked for just before.
 */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/inguest.h"
#include "cli/table.h"

#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

struct capturing {
	struct cli *cli;
	int fd, r;
};

static bool on_bytes(void *arg, const void *data, size_t len)
{
	struct capturing *c = arg;

	c->r = io_write_all(c->fd, data, len);
	return !c->r;
}

/* False when nobody reads any more, which a quiet nic would not show */
static bool on_idle(void *arg)
{
	const struct capturing *c = arg;
	struct pollfd p = { .fd = c->fd };

	return !meter_interrupted() && !(poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLHUP));
}

/* Before the stream is closed, or labd would have forgotten it */
static void say_counts(struct cli *cli, const char *id)
{
	struct client *client = cli_second(cli);
	autojson json_t *all = NULL;
	const json_t *one;
	size_t i;

	if (!client || client_call(client, "GET", "/v1/captures", NULL, &all, NULL, NULL) < 0)
		all = NULL;
	client_free(client);
	json_array_foreach(all, i, one)
		if (!strcmp(cell_string(one, "id"), id))
			fprintf(stderr, "%.0f packets, %.0f dropped\n", cell_number(one, "packets"),
				cell_number(one, "dropped"));
}

struct watched {
	struct capturing c;
	const char *id;
};

static bool idle_or_counts(void *arg)
{
	struct watched *w = arg;
	bool on = on_idle(&w->c);

	if (!on && !w->c.cli->quiet)
		say_counts(w->c.cli, w->id);
	return on;
}

static bool bytes_of(void *arg, const void *data, size_t len)
{
	return on_bytes(&((struct watched *)arg)->c, data, len);
}

/* "LAB/INSTANCE/NIC", or without NIC: the first */
static int take_nic(struct cli *cli, const char *arg, struct object *o, char nic[NAME_MAX_LEN + 1])
{
	const char *first = strchr(arg, '/'), *second = first ? strchr(first + 1, '/') : NULL;
	char name[2 * NAME_MAX_LEN + 2];

	snprintf(nic, NAME_MAX_LEN + 1, "%s", second ? second + 1 : "eth0");
	if (!name_valid(nic) || (second && second - arg >= (int)sizeof(name)))
		return lab_fail(&cli->err, -EINVAL, "'%s' is not LAB/INSTANCE/NIC", arg);
	snprintf(name, sizeof(name), "%.*s", second ? (int)(second - arg) : (int)sizeof(name), arg);
	return object_in_lab(cli, name, o);
}

/* The filter's words, with blanks between; malloced */
static char *join(char **words)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	for (int i = 0; f && words[i]; i++)
		fprintf(f, "%s%s", i ? " " : "", words[i]);
	if (f)
		fclose(f);
	return text;
}

static int run_stream(struct cli *cli, const struct object *o, const char *nic, char **words,
		      int fd)
{
	autofree char *filter = join(words);
	char id[17], path[CLIENT_PATH];
	struct watched w = { .c = { .cli = cli, .fd = fd }, .id = inguest_random(id) };
	struct meter m;
	int r = cli_ready(cli);

	if (r < 0)
		return r;
	client_path(path, "/v1/labs/%s/instances/%s/nics/%s/pcap?id=%s&filter=%s", o->lab, o->name,
		    nic, id, filter ? filter : "");
	if (!*path)
		return lab_fail(&cli->err, -E2BIG, "the filter is too long");
	meter_begin(&m, true); /* for its Ctrl-C */
	signal(SIGPIPE, SIG_IGN);
	r = client_stream(cli->client, "GET", path, NULL, bytes_of, idle_or_counts, &w, &cli->err);
	if (!r && w.c.r < 0 && w.c.r != -EPIPE)
		r = lab_fail_errno(&cli->err, w.c.r, "writing the capture");
	return r;
}

static int run_capture(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "write", required_argument, NULL, 'w' },
						 CLI_LONG };
	const char *file = "-";
	char nic[NAME_MAX_LEN + 1];
	autoclose int fd = -EBADF;
	struct object o;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, "+" CLI_SHORT "w:", options)) != -1) {
		if (c == '?')
			return cli->exit;
		file = optarg;
	}
	if (!cli_nargs(cli, argc - optind, 1, 1000))
		return CLI_USAGE;
	r = take_nic(cli, argv[optind++], &o, nic);
	while (!r && (c = cli_getopt(cli, argc, argv, "+" CLI_SHORT "w:", options)) != -1) {
		if (c == '?')
			return cli->exit;
		file = optarg;
	}
	if (!r && !strcmp(file, "-") && isatty(STDOUT_FILENO))
		return cli_usage(cli, "a capture is no text: say -w FILE, or | tcpdump -r -");
	if (!r && strcmp(file, "-") != 0) {
		fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0)
			r = lab_fail_errno(&cli->err, -errno, "%s", file);
	}
	if (!r)
		r = run_stream(cli, &o, nic, argv + optind, fd < 0 ? STDOUT_FILENO : fd);
	return cli_end(cli, r);
}

const struct command cmd_capture = {
	.name = "capture",
	.args = "LAB/INSTANCE[/NIC] [-w FILE] [FILTER]",
	.summary = "Capture what goes through a guest's nic",
	.details =
		"Written as a pcap file, which tcpdump and tshark read, while it happens; until\n"
		"Ctrl-C, the end of the guest, or of who reads it. NIC: eth0 if it is left out.\n"
		"FILTER is that of tcpdump, pcap-filter(7). Neither needs root.\n\n"
		"  -w, --write FILE  write to FILE instead of standard output\n\n"
		"Example:\n  labctl capture demo/db tcp port 3306 | tcpdump -nr -\n",
	.run = run_capture,
};
