// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * console.c - labctl console: a guest's serial console on this terminal
 *
 * DOC: Theory of Operation
 *
 * The main thread streams what the guest writes to standard output; a second
 * thread, with its own client, posts what is typed. The terminal is raw while
 * both run, and is set back on every way out: end of stream, Ctrl-], end of
 * input, and the signals that end a program. Their handler only sets a flag,
 * which the stream's idle function sees.
 *
 * Without a terminal on both sides nothing is raw: output is a plain stream
 * and standard input, if it is not a terminal, is typed as it comes. Its end
 * does not end the stream.
 */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/object.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <termios.h>

#define ESCAPE 0x1d /* Ctrl-] as telnet and virsh have it */
#define TAIL 8192

struct console {
	struct cli *cli;
	struct client *typing;
	char path[CLIENT_PATH];
	bool raw;
	int quit_fd;
	atomic_bool left;
	int write_error;
	struct termios saved;
};

static volatile sig_atomic_t ended_by;

static void on_signal(int sig)
{
	ended_by = sig;
}

static bool on_output(void *arg, const void *data, size_t len)
{
	struct console *con = arg;
	int r = io_write_all(STDOUT_FILENO, data, len);

	if (r < 0)
		con->write_error = r;
	return !r && !atomic_load(&con->left);
}

static bool on_idle(void *arg)
{
	struct console *con = arg;

	return !ended_by && !atomic_load(&con->left);
}

/* Post what was typed; a guest that cannot take it is told about once */
static void type(struct console *con, const char *data, size_t len, bool *told)
{
	struct lab_err err = LAB_ERR_INIT;

	if (!len)
		return;
	if (client_send(con->typing, "POST", con->path, data, len, &err) >= 0)
		*told = false;
	else if (!*told) {
		fprintf(stderr, "%slabctl: typing failed: %s%s\n", con->raw ? "\r\n" : "", err.text,
			con->raw ? "\r" : "");
		*told = true;
	}
}

/* Thread: from standard input to the console */
static void *typist(void *arg)
{
	struct console *con = arg;
	struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN },
				{ .fd = con->quit_fd, .events = POLLIN } };
	bool told = false;

	for (;;) {
		char buf[4096], *escape = NULL;
		ssize_t n;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		if (!fds[0].revents)
			continue;
		n = RETRY(read(STDIN_FILENO, buf, sizeof(buf)));
		if (n <= 0)
			break;
		if (con->raw)
			escape = memchr(buf, ESCAPE, (size_t)n);
		type(con, buf, escape ? (size_t)(escape - buf) : (size_t)n, &told);
		if (escape) {
			atomic_store(&con->left, true);
			break;
		}
	}
	/* A terminal that is gone ends it; a file that is typed does not */
	if (con->raw)
		atomic_store(&con->left, true);
	return NULL;
}

static int make_raw(struct console *con)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &con->saved) < 0)
		return -errno;
	raw = con->saved;
	cfmakeraw(&raw);
	return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0 ? -errno : 0;
}

/* Guests switch things on that a shell does not want */
static void restore_terminal(const struct console *con)
{
	static const char calm[] = "\033[0m\033[?25h\033[?7h\033[?1000l\033[?2004l\r\n";

	tcsetattr(STDIN_FILENO, TCSADRAIN, &con->saved);
	(void)io_write_all(STDOUT_FILENO, calm, sizeof(calm) - 1);
}

static int stream(struct console *con, uint64_t tail)
{
	char path[CLIENT_PATH + 48];

	snprintf(path, sizeof(path), "%s?follow=1&tail=%" PRIu64, con->path, tail);
	return client_stream(con->cli->client, "GET", path, NULL, on_output, on_idle, con,
			     &con->cli->err);
}

/* Stream with the typist at work; signals that end programs only set a flag */
static int stream_and_type(struct console *con, uint64_t tail)
{
	static const int signals[] = { SIGTERM, SIGHUP, SIGINT, SIGQUIT };
	struct sigaction ours = { .sa_handler = on_signal }, theirs[ARRAY_SIZE(signals)];
	uint64_t one = 1;
	pthread_t thread;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &ours, &theirs[i]);
	r = con->raw ? make_raw(con) : 0;
	if (r < 0)
		return lab_fail_errno(&con->cli->err, r, "terminal");
	r = -pthread_create(&thread, NULL, typist, con);
	if (!r) {
		r = stream(con, tail);
		(void)io_write_all(con->quit_fd, &one, sizeof(one));
		pthread_join(thread, NULL);
	} else {
		lab_fail_errno(&con->cli->err, r, "thread");
	}
	if (con->raw)
		restore_terminal(con);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &theirs[i], NULL);
	return r;
}

static int attach(struct console *con, const struct object *o, uint64_t tail)
{
	bool in = isatty(STDIN_FILENO), out = isatty(STDOUT_FILENO);
	int r;

	con->raw = in && out;
	client_path(con->path, "/v1/labs/%s/instances/%s/console", o->lab, o->name);
	if (con->raw && !con->cli->quiet)
		fprintf(stderr, "Console of %s/%s; Ctrl-] leaves.\n", o->lab, o->name);
	if (in && !out) /* the terminal shows what somebody else reads: only look */
		return stream(con, tail);
	con->typing = cli_second(con->cli);
	con->quit_fd = eventfd(0, EFD_CLOEXEC);
	if (!con->typing || con->quit_fd < 0)
		r = lab_fail_errno(&con->cli->err, -ENOMEM, "console");
	else
		r = stream_and_type(con, tail);
	client_free(con->typing);
	if (con->quit_fd >= 0)
		close(con->quit_fd);
	return r;
}

static int run_console(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "tail", required_argument, NULL, 't' },
						 CLI_LONG };
	struct console con = { .cli = cli, .quit_fd = -EBADF };
	uint64_t tail = TAIL;
	struct object o;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "t:", options)) != -1) {
		if (c == '?')
			return cli->exit;
		if (num_size(optarg, &tail) < 0)
			return cli_usage(cli, "'%s' is not a size such as 4096 or 64K", optarg);
	}
	if (!cli_nargs(cli, argc - optind, 1, 1))
		return CLI_USAGE;
	r = object_in_lab(cli, argv[optind], &o);
	if (!r)
		r = cli_ready(cli);
	if (!r)
		r = attach(&con, &o, tail);
	if (!r && con.write_error && con.write_error != -EPIPE)
		r = lab_fail_errno(&cli->err, con.write_error, "standard output");
	return ended_by ? 128 + ended_by : cli_end(cli, r);
}

const struct command cmd_console = {
	.name = "console",
	.args = "[LAB/]INSTANCE [--tail SIZE]",
	.summary = "Show and type into a guest's serial console",
	.details =
		"The end of what was recorded comes first. Ctrl-] leaves; the guest does not "
		"notice,\n"
		"and several readers do not disturb each other. Where standard output is not a\n"
		"terminal it is a plain stream; standard input that is not a terminal is typed.\n\n"
		"  -t, --tail SIZE  how much of the recorded output (8K)\n\n"
		"Example:\n  labctl console demo/db\n",
	.run = run_console,
};
