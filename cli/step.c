// SPDX-License-Identifier: GPL-2.0-or-later
/* step.c - doing a step: its tries, until it is as expected or its time is over */
#define _GNU_SOURCE
#include "cli/step.h"

#include "cli/expect.h"
#include "lib/num.h"
#include "lib/util.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

#define SLICE_MS 200 /* how often Ctrl-C is looked at between two tries */

/* ---- output --------------------------------------------------------------------- */

void output_add(struct output *o, const void *data, size_t len)
{
	size_t n = MIN(len, (size_t)OUTPUT_MAX - o->len);
	char *more = n ? realloc(o->text, o->len + n + 1) : NULL;

	if (more) {
		o->text = more;
		memcpy(more + o->len, data, n);
		o->len += n;
		more[o->len] = '\0';
		len -= n;
	}
	o->lost += len;
}

void outcome_done(struct outcome *o)
{
	free(o->out.text);
	free(o->err.text);
	json_decref(o->headers);
	free(o->what);
	*o = (struct outcome){ 0 };
}

char *step_words(const json_t *spec)
{
	const json_t *argv = json_object_get(spec, "argv"), *word;
	char *text = NULL;
	size_t size = 0, i;
	FILE *f;

	if (json_is_true(json_object_get(spec, "shell")))
		return strdup(json_string_value(json_array_get(argv, json_array_size(argv) - 1)));
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	json_array_foreach(argv, i, word) {
		fprintf(f, "%s%s", i ? " " : "", json_string_value(word));
	}
	fclose(f);
	return text;
}

/* ---- Ctrl-C ----------------------------------------------------------------------- */

static volatile sig_atomic_t signals, last_signal;

static void on_signal(int sig)
{
	signals++;
	last_signal = sig;
}

void step_watch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	/* a report that nobody reads must not keep steps that clean up from running */
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
}

int step_signals(int *ret_last)
{
	*ret_last = last_signal;
	return signals;
}

bool step_stopped(const struct step_control *c)
{
	if (c->tick)
		c->tick(c->arg);
	return signals >= c->stops;
}

/* ---- tries ------------------------------------------------------------------------ */

/* What a program is: words with variables; a text for sh has its own */
static int expand_program(const struct vars *v, const json_t *spec, json_t **ret,
			  struct lab_err *err)
{
	autojson json_t *rest = json_copy((json_t *)spec);
	json_t *argv = json_object_get(spec, "argv");
	int r;

	if (!json_is_true(json_object_get(spec, "shell")))
		return vars_expand_json(v, spec, VARS_TEXT, ret, err);
	json_object_del(rest, "argv");
	r = vars_expand_json(v, rest, VARS_TEXT, ret, err);
	return r < 0 ? r : json_object_set(*ret, "argv", argv);
}

/* Probes: those for a line of the console are regular expressions */
static int expand_probes(const struct vars *v, const json_t *ready, json_t **ret,
			 struct lab_err *err)
{
	autojson json_t *to = json_is_array(ready) ? json_array() : json_object();
	const char *key;
	json_t *item;
	size_t i;
	int r = 0;

	json_array_foreach(ready, i, item) {
		json_t *one = NULL;

		r = expand_probes(v, item, &one, err);
		if (r < 0)
			return r;
		json_array_append_new(to, one);
	}
	json_object_foreach((json_t *)ready, key, item) {
		json_t *value = NULL;

		r = vars_expand_json(v, item, strcmp(key, "console") ? VARS_TEXT : VARS_REGEX,
				     &value, err);
		if (r < 0)
			return r;
		json_object_set_new(to, key, value);
	}
	*ret = json_is_string(ready) ? json_incref((json_t *)ready) : steal_ptr(to);
	return 0;
}

static int expand_wait(const struct vars *v, const json_t *spec, json_t **ret, struct lab_err *err)
{
	autojson json_t *rest = json_copy((json_t *)spec);
	json_t *ready = NULL;
	int r;

	json_object_del(rest, "ready");
	r = expand_probes(v, json_object_get(spec, "ready"), &ready, err);
	if (!r)
		r = vars_expand_json(v, rest, VARS_TEXT, ret, err);
	if (r < 0)
		json_decref(ready);
	else
		json_object_set_new(*ret, "ready", ready);
	return r;
}

/* A step with the variables put in */
struct doing {
	const struct step *step;
	struct vars *vars;
	json_t *spec, *expect, *forbid, *save;
	struct try try;
};

static void doing_done(struct doing *g)
{
	json_decref(g->spec);
	json_decref(g->expect);
	json_decref(g->forbid);
	json_decref(g->save);
}

static int expand_save(struct doing *g, struct lab_err *err)
{
	const char *name;
	json_t *source;

	g->save = json_object();
	json_object_foreach(g->step->save, name, source) {
		json_t *full = NULL;
		int r = expect_expand(g->vars, source, &full, err);

		if (r < 0)
			return r;
		json_object_set_new(g->save, name, full);
	}
	return 0;
}

static int expand_all(struct doing *g, struct lab_err *err)
{
	const struct step *s = g->step;
	int r = s->kind == STEP_WAIT ? expand_wait(g->vars, s->spec, &g->spec, err)
				     : expand_program(g->vars, s->spec, &g->spec, err);

	if (!r)
		r = expect_expand(g->vars, s->expect, &g->expect, err);
	if (!r)
		r = expect_expand(g->vars, s->forbid, &g->forbid, err);
	return r ? r : expand_save(g, err);
}

/* All or none, so that no step sees the variables of a failed one */
static int save_all(const struct doing *g, const struct outcome *o, struct lab_err *err)
{
	autojson json_t *before = json_copy(g->vars->values);
	const char *name;
	json_t *source;

	json_object_foreach(g->save, name, source) {
		autofree char *text = NULL;
		size_t len = 0;
		int r = expect_save(source, o, &text, &len, err);

		if (!r)
			r = vars_set(g->vars, name, text, len, err);
		if (r < 0) {
			json_decref(g->vars->values);
			g->vars->values = steal_ptr(before);
			return r;
		}
	}
	return 0;
}

static int try_kind(const struct doing *g, struct outcome *o, struct lab_err *err)
{
	switch (g->step->kind) {
	case STEP_RUN:
		return try_run(&g->try, o, err);
	case STEP_EXEC:
		return try_exec(&g->try, o, err);
	case STEP_HTTP:
		return try_http(&g->try, o, err);
	case STEP_WAIT:
		return try_wait(&g->try, o, err);
	}
	return -EINVAL;
}

static int try_once(const struct doing *g, struct outcome *o, struct lab_err *err)
{
	int r;

	outcome_done(o);
	o->status = -1;
	r = try_kind(g, o, err);
	if (!r && g->step->kind != STEP_WAIT)
		r = expect_met(g->step->kind, g->expect, g->forbid, o, err);
	return r ? r : save_all(g, o, err);
}

/* Wait for the next try; false if there is none */
static bool pause_until(const struct doing *g, uint64_t until)
{
	uint64_t now;

	if (until >= g->try.deadline)
		return false;
	while (!step_stopped(g->try.control)) {
		now = num_now_us();
		if (now >= until)
			return true;
		poll(NULL, 0, (int)MIN((until - now) / 1000 + 1, (uint64_t)SLICE_MS));
	}
	return false;
}

/* Why the last of several tries failed; a try that was cut off tells nothing */
static int tries_failed(const struct doing *g, unsigned int tries, int r,
			const struct lab_err *before, struct lab_err *err)
{
	char time[NUM_TEXT];

	if (r == -ECANCELED || tries == 1)
		return r;
	num_seconds_text(time, g->step->deadline_us / 1000000);
	if (r == -ETIMEDOUT && before->code)
		return lab_fail(err, r, "not within %s, in %u tries; the last whole one: %s", time,
				tries, before->text);
	return lab_wrap(err, r, "not within %s, in %u tries", time, tries);
}

static int try_all(const struct doing *g, struct step_result *ret, struct lab_err *err)
{
	struct lab_err before = LAB_ERR_INIT;

	for (;;) {
		int r;

		*err = (struct lab_err)LAB_ERR_INIT;
		ret->tries++;
		r = try_once(g, &ret->outcome, err);
		if (!r || !g->step->every_us)
			return r;
		if (r == -ECANCELED || r == -ETIMEDOUT ||
		    !pause_until(g, num_now_us() + g->step->every_us))
			return tries_failed(g, ret->tries,
					    step_stopped(g->try.control) ? -ECANCELED : r, &before,
					    err);
		before = *err;
	}
}

/* Whether there is nothing to do: 1, 0, or negative errno */
static int ask_skip(struct doing *g, struct lab_err *err)
{
	struct outcome o = { 0 };
	struct try try = g->try;
	int r = expand_program(g->vars, g->step->skip_if, &g->spec, err);

	try.spec = g->spec;
	if (!r)
		r = try_run(&try, &o, err);
	if (!r)
		r = !o.status;
	outcome_done(&o);
	json_decref(g->spec);
	g->spec = NULL;
	return lab_wrap(err, r, "skip-if");
}

int step_do(struct cli *cli, const struct step *step, const char *lab, struct vars *vars,
	    const struct step_control *control, struct step_result *ret, struct lab_err *err)
{
	uint64_t begin = num_now_us();
	struct doing g __attribute__((cleanup(doing_done))) = {
		.step = step,
		.vars = vars,
		.try = { .cli = cli,
			 .lab = lab,
			 .vars = vars,
			 .deadline = begin + step->deadline_us,
			 .control = control },
	};
	int r = step->skip_if ? ask_skip(&g, err) : 0;

	*ret = (struct step_result){ .skipped = r > 0 };
	if (!r)
		r = expand_all(&g, err);
	g.try.spec = g.spec;
	if (!r)
		r = try_all(&g, ret, err);
	ret->seconds = (double)(num_now_us() - begin) / 1e6;
	return MIN(r, 0);
}
