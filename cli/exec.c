// SPDX-License-Identifier: GPL-2.0-or-later
/* exec.c - labctl exec: a command in a guest, by its agent */
#define _GNU_SOURCE
#include "cli/exec.h"
#include "cli/base64.h"
#include "cli/commands.h"
#include "cli/object.h"
#include "cli/table.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define EXEC_MAX_STDIN (32U << 20)

/* The answer while it comes; code is the exit code, -1 until it is known */
struct answer_state {
	struct cli *cli;
	int code, r;
};

static int put_out(struct answer_state *st, const json_t *msg, const char *key, int fd)
{
	const char *text = json_string_value(json_object_get(msg, key));
	autofree unsigned char *bytes = NULL;
	size_t len = 0;
	int r;

	if (!text)
		return 0;
	r = base64_bytes(text, &bytes, &len);
	if (r < 0)
		return lab_fail_errno(&st->cli->err, r, "the command's %s", key);
	r = io_write_all(fd, bytes, len);
	return r < 0 ? lab_fail_errno(&st->cli->err, r, "%s of labctl", key) : 0;
}

static int take_message(struct answer_state *st, json_t *msg)
{
	const json_t *exit = json_object_get(msg, "exit"), *sig = json_object_get(msg, "signal");
	const char *name = NULL, *message = NULL;
	int r;

	r = put_out(st, msg, "stdout", STDOUT_FILENO);
	if (!r)
		r = put_out(st, msg, "stderr", STDERR_FILENO);
	if (r < 0)
		return r;
	if (exit)
		st->code = (int)(json_integer_value(exit) & 0xff);
	if (sig)
		st->code = 128 + (int)(json_integer_value(sig) & 0x7f);
	if (!json_unpack(msg, "{s:{s:s, s:s}}", "error", "errno", &name, "message", &message))
		return lab_fail(&st->cli->err, lab_errno_value(name), "%s", message);
	return 0;
}

static bool on_message(void *arg, json_t *msg)
{
	struct answer_state *st = arg;

	if (st->cli->json)
		cli_print_line(msg);
	st->r = st->cli->json && !json_object_get(msg, "exit") && !json_object_get(msg, "signal") &&
				!json_object_get(msg, "error")
			? 0
			: take_message(st, msg);
	return !st->r;
}

int exec_in_guest(struct cli *cli, const struct object *o, json_t *body)
{
	struct answer_state st = { .cli = cli, .code = -1 };
	char path[CLIENT_PATH];
	int r = cli_ready(cli);

	if (r < 0) {
		json_decref(body);
		return cli_end(cli, r);
	}
	client_path(path, "/v1/labs/%s/instances/%s/exec", o->lab, o->name);
	r = client_lines(cli->client, "POST", path, body, on_message, NULL, &st, &cli->err);
	if (!r)
		r = st.r;
	if (!r && st.code < 0)
		r = lab_fail(&cli->err, -EPROTO,
			     "the command's end is not known: labd's answer broke off");
	return r < 0 ? cli_end(cli, r) : st.code;
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
	.details =
		"The guest's agent runs it, so that it works without any network. There is no "
		"shell\n"
		"in between, and no terminal. The exit code is the command's, 128 + N if signal N\n"
		"ended it; labctl's own are 1, 2 and 3, with a message.\n\n"
		"  -e, --env NAME=VALUE  set in its environment; may be repeated\n"
		"  -i, --stdin           give it standard input, read to its end first\n"
		"  -t, --timeout TIME    kill it after TIME (90, 90s, 5m; default: 1h)\n\n"
		"Example:\n  labctl exec demo/db -- mysqladmin status\n",
	.run = run_exec,
};
