// SPDX-License-Identifier: GPL-2.0-or-later
/* exec.c - labctl exec: a command in a guest, by its agent */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/guest.h"
#include "cli/lines.h"

#include "lib/base64.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define EXEC_MAX_STDIN (32U << 20)

/**
 * struct output - where a command's output goes
 * @filters:	of standard output and error: it is a guest that writes there
 */
struct output {
	const struct cli *cli;
	struct lines_filter filters[2];
};

/* With -j all is printed as it comes, but the end is looked at too */
static bool on_message(void *arg, json_t *msg)
{
	const struct cli *cli = ((const struct output *)arg)->cli;

	if (cli->json)
		cli_print_line(msg);
	return cli->json && !json_object_get(msg, "exit") && !json_object_get(msg, "signal") &&
	       !json_object_get(msg, "error");
}

static int on_output(void *arg, int stream, const void *data, size_t len)
{
	struct output *o = arg;

	return stream == 2 ? lines_put(&o->filters[1], STDERR_FILENO, data, len)
			   : lines_put(&o->filters[0], STDOUT_FILENO, data, len);
}

/* Return: the command's exit code, or labctl's own after a message */
static int exec_in_guest(struct cli *cli, const struct object *o, json_t *body)
{
	struct output out = { .cli = cli };
	const struct guest_exec x = {
		.object = o, .body = body, .message = on_message, .output = on_output, .arg = &out
	};
	int code = 0, r = guest_exec(cli, &x, &code);

	return r < 0 ? cli_end(cli, r) : code;
}

struct options {
	bool input;
	uint64_t timeout; /* seconds */
	json_t *env;
};

/* Returns 0, or an exit code after a message */
static int take_env(struct cli *cli, json_t *env, const char *arg)
{
	const char *equals = strchr(arg, '=');

	if (!equals || equals == arg)
		return cli_usage(cli, "'%s' is not of the form NAME=VALUE", arg);
	if (json_object_setn_new(env, arg, (size_t)(equals - arg), json_string(equals + 1)) < 0)
		return cli_usage(cli, "'%s' is not UTF-8", arg);
	return 0;
}

static int take_timeout(struct cli *cli, struct options *opt, const char *arg)
{
	uint64_t us = 0;

	if (num_duration(arg, &us) < 0 || !us)
		return cli_usage(cli, "'%s' is not a duration such as 90, 90s or 5m", arg);
	opt->timeout = (us + 999999) / 1000000;
	return 0;
}

static const struct option exec_options[] = { { "env", required_argument, NULL, 'e' },
					      { "timeout", required_argument, NULL, 't' },
					      { "stdin", no_argument, NULL, 'i' },
					      CLI_LONG };

/*
 * Options before and after INSTANCE, but never those of the command: "+" stops
 * at the first other word. Returns -1, or the exit code.
 */
static int take_options(struct cli *cli, int argc, char **argv, struct options *opt)
{
	int c, code = 0;

	while ((c = cli_getopt(cli, argc, argv, "+" CLI_SHORT "e:t:i", exec_options)) != -1) {
		if (c == '?')
			return cli->exit;
		if (c == 'i')
			opt->input = true;
		else if (c == 'e')
			code = take_env(cli, opt->env, optarg);
		else
			code = take_timeout(cli, opt, optarg);
		if (code)
			return code;
	}
	return -1;
}

/* The request's body, or NULL with cli->err set */
static json_t *make_body(struct cli *cli, char **words, const struct options *opt)
{
	autojson json_t *argv = json_array(), *body = NULL;
	autofree char *input = NULL, *text = NULL;
	size_t len = 0;
	int r;

	for (; *words; words++) {
		if (json_array_append_new(argv, json_string(*words)) < 0) {
			lab_fail(&cli->err, -EINVAL, "the command has a word that is not UTF-8");
			return NULL;
		}
	}
	body = json_pack("{s:O, s:O}", "argv", argv, "env", opt->env);
	if (opt->timeout > 0)
		json_object_set_new(body, "timeout", json_integer((json_int_t)opt->timeout));
	if (opt->input) {
		r = io_read_fd(STDIN_FILENO, EXEC_MAX_STDIN, &input, &len);
		text = r < 0 ? NULL : base64_text(input, len);
		if (!text) {
			lab_fail_errno(&cli->err, r < 0 ? r : -ENOMEM, "standard input");
			return NULL;
		}
		json_object_set_new(body, "stdin", json_string(text));
	}
	return steal_ptr(body);
}

static int exec_in(struct cli *cli, int argc, char **argv, struct options *opt)
{
	struct object o;
	const char *instance;
	json_t *body;
	int code = take_options(cli, argc, argv, opt), r;

	if (code >= 0)
		return code;
	if (optind == argc)
		return cli_usage(cli, "an instance and a command are missing");
	instance = argv[optind++];
	code = take_options(cli, argc, argv, opt);
	if (code >= 0)
		return code;
	if (optind == argc)
		return cli_usage(cli, "a command is missing");
	r = object_in_lab(cli, instance, &o);
	if (r < 0)
		return cli_end(cli, r);
	body = make_body(cli, argv + optind, opt);
	return body ? exec_in_guest(cli, &o, body) : cli_end(cli, cli->err.code);
}

static int run_exec(struct cli *cli, int argc, char **argv)
{
	autojson json_t *env = json_object();
	struct options opt = { .env = env };

	return exec_in(cli, argc, argv, &opt);
}

const struct command cmd_exec = {
	.name = "exec",
	.args = "[OPTION]... [LAB/]INSTANCE [OPTION]... [--] COMMAND [ARGUMENT]...",
	.summary = "Run a command in a guest",
	.details = "The guest's agent runs it, so that it works without any network. There is no "
		   "shell\n"
		   "in between, and no terminal; on yours its control sequences are left out. The "
		   "exit\n"
		   "code is the command's, 128 + N if signal N ended it; labctl's own are 1, 2 and "
		   "3,\n"
		   "with a message.\n\n"
		   "  -e, --env NAME=VALUE  set in its environment; may be repeated\n"
		   "  -i, --stdin           give it standard input, read to its end first\n"
		   "  -t, --timeout TIME    kill it after TIME (90, 90s, 5m; default: 1h)\n\n"
		   "Example:\n  labctl exec demo/db -- mysqladmin status\n",
	.run = run_exec,
};
