// SPDX-License-Identifier: GPL-2.0-or-later
/* step_guest.c - steps that labd does: a program in a guest, a wait for one */
#define _GNU_SOURCE
#include "cli/guest.h"
#include "cli/step.h"
#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define LATE_US 3000000 /* labd ends what takes too long, with better words than ours */

/**
 * struct asking - a call whose answer comes bit by bit
 * @until:	when even labd's own deadline is over
 */
struct asking {
	const struct try *t;
	struct outcome *o;
	uint64_t until;
	bool ready, late, stopped;
	int r;
};

static bool on_idle(void *arg)
{
	struct asking *a = arg;

	a->late = num_now_us() >= a->until;
	a->stopped = step_stopped(a->t->control);
	return !a->late && !a->stopped;
}

/* Whole seconds until the deadline, at least one */
static json_int_t seconds_left(const struct try *t)
{
	uint64_t now = num_now_us();

	return (json_int_t)(now >= t->deadline ? 1 : (t->deadline - now + 999999) / 1000000);
}

int step_instance(const struct try *t, struct object *ret, struct lab_err *err)
{
	int r = object_parse(json_string_value(json_object_get(t->spec, "on")), ret, err);

	if (!r && !*ret->lab)
		snprintf(ret->lab, sizeof(ret->lab), "%s", t->lab);
	if (!r && !*ret->lab)
		return lab_fail(err, -EINVAL,
				"of which lab is %s? Name one: labctl test LAB FILE, or the file's "
				"key lab",
				ret->name);
	return r;
}

/* What a call came to: the client's result, or why we have left it */
static int conclude(const struct asking *a, int r, struct lab_err *err)
{
	if (a->stopped)
		return lab_fail(err, -ECANCELED, "interrupted");
	if (a->late)
		return lab_fail(err, -ETIMEDOUT, "it did not end in time");
	if (r < 0)
		*err = a->t->cli->err;
	return r;
}

/* ---- exec -------------------------------------------------------------------------- */

static int on_output(void *arg, int stream, const void *data, size_t len)
{
	struct asking *a = arg;

	output_add(stream == 2 ? &a->o->err : &a->o->out, data, len);
	return 0;
}

/* The variables that steps have saved and the file has; the lab's are the host's */
static json_t *exec_body(const struct try *t)
{
	autojson json_t *env = t->vars->values ? json_incref(t->vars->values) : json_object();

	return json_pack("{s:O, s:O, s:I}", "argv", json_object_get(t->spec, "argv"), "env", env,
			 "timeout", seconds_left(t));
}

int try_exec(const struct try *t, struct outcome *o, struct lab_err *err)
{
	struct asking a = { .t = t, .o = o, .until = t->deadline + LATE_US };
	struct guest_exec x = { .output = on_output, .idle = on_idle, .arg = &a };
	autofree char *words = step_words(t->spec);
	struct object in;
	int r = step_instance(t, &in, err);

	if (r < 0)
		return r;
	if (asprintf(&o->what, "in %s/%s: %s", in.lab, in.name, words ? words : "") < 0)
		o->what = NULL;
	x.object = &in;
	x.body = exec_body(t);
	return conclude(&a, guest_exec(t->cli, &x, &o->status), err);
}

/* ---- wait -------------------------------------------------------------------------- */

static void limit_probe(json_t *probe, json_int_t left)
{
	json_t *given = json_object_get(probe, "timeout");

	/* a shorter one of its own has been read by labd's rules, with a unit or without */
	if (json_is_object(probe) && !given)
		json_object_set_new(probe, "timeout", json_integer(left));
}

/* Probes without a time of their own have that of the step */
static json_t *limited(const json_t *ready, json_int_t left)
{
	json_t *to = json_deep_copy(ready), *probe;
	size_t i;

	limit_probe(to, left);
	json_array_foreach(to, i, probe) {
		limit_probe(probe, left);
	}
	return to;
}

static bool on_message(void *arg, json_t *msg)
{
	struct asking *a = arg;
	const char *name = NULL, *message = NULL, *step = cell_string(msg, "step");

	if (*step) {
		free(a->o->what);
		if (asprintf(&a->o->what, "wait for %s", step) < 0)
			a->o->what = NULL;
	}
	a->ready = json_is_true(json_object_get(msg, "ready"));
	if (!json_unpack(msg, "{s:{s:s, s:s}}", "error", "errno", &name, "message", &message))
		a->r = lab_fail(&a->t->cli->err, lab_errno_value(name), "%s", message);
	return !a->r;
}

int try_wait(const struct try *t, struct outcome *o, struct lab_err *err)
{
	struct asking a = { .t = t, .o = o, .until = t->deadline + LATE_US };
	char path[CLIENT_PATH];
	struct object in;
	json_t *body;
	int r = step_instance(t, &in, err);

	if (r < 0)
		return r;
	r = cli_ready(t->cli);
	if (r < 0)
		return conclude(&a, r, err);
	body = json_pack("{s:o, s:O}", "ready",
			 limited(json_object_get(t->spec, "ready"), seconds_left(t)), "since",
			 json_object_get(t->spec, "since"));
	client_path(path, "/v1/labs/%s/instances/%s/wait", in.lab, in.name);
	r = client_lines(t->cli->client, "POST", path, body, on_message, on_idle, &a, &t->cli->err);
	if (!r)
		r = a.r;
	if (!r && !a.ready && !a.late && !a.stopped)
		r = lab_fail(&t->cli->err, -EPROTO,
			     "whether it is ready is not known: labd's answer broke off");
	return conclude(&a, r, err);
}
