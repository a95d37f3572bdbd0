// SPDX-License-Identifier: GPL-2.0-or-later
/* guest.c - programs in guests, as clients of labd run them */
#define _GNU_SOURCE
#include "cli/guest.h"

#include "lib/base64.h"
#include "lib/util.h"

/* The answer while it comes; code is the exit code, -1 until it is known */
struct answer_state {
	struct cli *cli;
	const struct guest_exec *x;
	int code, r;
	bool left;
};

static int put_out(struct answer_state *st, const json_t *msg, const char *key, int stream)
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
	r = st->x->output(st->x->arg, stream, bytes, len);
	return r < 0 ? lab_fail_errno(&st->cli->err, r, "%s of labctl", key) : 0;
}

static int take_message(struct answer_state *st, json_t *msg)
{
	const json_t *exit = json_object_get(msg, "exit"), *sig = json_object_get(msg, "signal");
	const char *name = NULL, *message = NULL;
	int r;

	r = put_out(st, msg, "stdout", 1);
	if (!r)
		r = put_out(st, msg, "stderr", 2);
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

	st->r = st->x->message && st->x->message(st->x->arg, msg) ? 0 : take_message(st, msg);
	return !st->r;
}

static bool on_idle(void *arg)
{
	struct answer_state *st = arg;

	st->left = st->x->idle && !st->x->idle(st->x->arg);
	return !st->left;
}

int guest_exec(struct cli *cli, const struct guest_exec *x, int *ret_code)
{
	struct answer_state st = { .cli = cli, .x = x, .code = -1 };
	char path[CLIENT_PATH];
	int r = cli_ready(cli);

	if (r < 0) {
		json_decref(x->body);
		return r;
	}
	client_path(path, "/v1/labs/%s/instances/%s/exec", x->object->lab, x->object->name);
	r = client_lines(cli->client, x->body ? "POST" : "GET", x->body ? path : x->path, x->body,
			 on_message, x->idle ? on_idle : NULL, &st, &cli->err);
	if (!r)
		r = st.left ? lab_fail(&cli->err, -ECANCELED, "interrupted") : st.r;
	if (!r && st.code < 0)
		r = lab_fail(&cli->err, -EPROTO,
			     "the command's end is not known: labd's answer broke off");
	if (!r)
		*ret_code = st.code;
	return r;
}
