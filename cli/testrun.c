// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * testrun.c - running the steps of one test file, and the report of it
 *
 * DOC: Theory of Operation
 *
 * Steps are selected first (--from, --only), then done in the order of the file.
 * What is not selected is taken to be so already. A step is done unless
 *
 *	one before it has failed, without --keep-going: but `always` steps are done;
 *	one that it needs was not done well: that holds for `always` steps too, as
 *	there is nothing to clean up;
 *	there was a Ctrl-C: `always` steps are done; a second one ends these too.
 *
 * Each is one point of the report. What is wrong with the report or with what is
 * kept beside it does not stop a test, but is told.
 */
#define _GNU_SOURCE
#include "cli/testrun.h"

#include "cli/labenv.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <limits.h>
#include <string.h>

#define QUIET_US 2000000 /* what takes longer gets a line of progress */
#define PAINT_US 1000000
#define TAIL_LINES 12 /* of an output, in the report; all of it is in the log */
#define TAIL_BYTES 2000

/* What has become of a step; what is not selected is as good as passed */
enum state { UNSELECTED, SELECTED, PASSED, FAILED, NOTHING_TO_DO, NOT_DONE };

/**
 * struct testrun - a file while it runs
 * @states:	of its steps
 * @failed:	the first that failed
 * @at, @begin, @painted, @result: the step that runs, for the line of progress
 * @selected, @number: how many there are, and the one that runs
 */
struct testrun {
	struct cli *cli;
	const struct stepfile *f;
	const struct testrun_options *opt;
	const struct keep *keep;
	struct tap *tap;
	const char *lab;
	struct vars vars;
	enum state *states;
	const struct step *failed, *at;
	struct step_result result;
	uint64_t begin, painted;
	size_t selected, number;
	struct testrun_count count;
};

static void testrun_done(struct testrun *t)
{
	json_decref(t->vars.values);
	json_decref(t->vars.lab);
	outcome_done(&t->result.outcome);
	free(t->states);
}

/* ---- which steps ------------------------------------------------------------------- */

static void select_needs(const struct stepfile *f, enum state *states, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (f->steps[i].needs[k] && states[k] == UNSELECTED) {
			states[k] = SELECTED;
			select_needs(f, states, k);
		}
	}
}

/* Whether a step needs some, and all of them are selected */
static bool needs_selected(const struct stepfile *f, const enum state *states, size_t i)
{
	size_t needed = 0;

	for (size_t k = 0; k < i; k++) {
		if (!f->steps[i].needs[k])
			continue;
		if (states[k] != SELECTED)
			return false;
		needed++;
	}
	return needed > 0;
}

/* What cleans up after steps that are selected */
static void select_cleaners(const struct stepfile *f, enum state *states)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->steps[i].always && needs_selected(f, states, i))
			states[i] = SELECTED;
}

/* Malloced states, one a step; NULL with cli->err */
static enum state *select_steps(struct cli *cli, const struct stepfile *f,
				const struct testrun_options *opt, size_t *ret_n)
{
	enum state *states = calloc(f->n, sizeof(*states));
	size_t first = 0;

	if (!states) {
		lab_fail_errno(&cli->err, -ENOMEM, "%s", f->file);
		return NULL;
	}
	while (opt->from && first < f->n && strcmp(f->steps[first].name, opt->from) != 0)
		first++;
	for (size_t i = first; i < f->n; i++) {
		if (opt->only && regexec(opt->only, f->steps[i].name, 0, NULL, 0))
			continue;
		states[i] = SELECTED;
		/* --from says that what is before is there */
		if (opt->only && !opt->from)
			select_needs(f, states, i);
	}
	select_cleaners(f, states);
	*ret_n = 0;
	for (size_t i = 0; i < f->n; i++)
		*ret_n += states[i] == SELECTED;
	return states;
}

static void list_step(struct cli *cli, const struct stepfile *f, const struct step *s)
{
	char time[NUM_TEXT];
	json_t *line;

	if (cli->json) {
		line = json_pack("{s:s, s:s, s:s, s:i, s:I, s:b}", "file", f->file, "step", s->name,
				 "kind", step_kind_name(s->kind), "line", (int)s->line, "deadline",
				 (json_int_t)(s->deadline_us / 1000000), "always", s->always);
		cli_print_line(line);
		json_decref(line);
	} else if (cli->quiet) {
		puts(s->name);
	} else {
		printf("%s:%u: %s (%s, at most %s%s)\n", f->file, s->line, s->name,
		       step_kind_name(s->kind), num_seconds_text(time, s->deadline_us / 1000000),
		       s->always ? ", always" : "");
	}
}

int testrun_list(struct cli *cli, const struct stepfile *f, const struct testrun_options *opt)
{
	size_t n;
	autofree enum state *states = select_steps(cli, f, opt, &n);

	if (!states)
		return cli->err.code;
	for (size_t i = 0; i < f->n; i++)
		if (states[i] == SELECTED)
			list_step(cli, f, &f->steps[i]);
	return 0;
}

/* ---- whether a step is done ----------------------------------------------------------- */

/* Whether a step that this one needs has not come to what it needs */
static bool lacks(const struct testrun *t, const struct step *s, size_t k)
{
	enum state state = t->states[k];

	return (s->needs[k] && (state == FAILED || state == NOT_DONE)) ||
	       (s->needs[k] & STEP_USES && state == NOTHING_TO_DO);
}

/* Why a step is not done: malloced, or NULL if it is */
static char *reason_not(const struct testrun *t, const struct step *s)
{
	/* whoever reads the report no more, has stopped it as well */
	int sig, n = 0, signals = step_signals(&sig) + !!ferror(stdout);
	char *why = NULL;

	for (size_t k = 0; &t->f->steps[k] < s; k++) {
		if (!lacks(t, s, k))
			continue;
		n = asprintf(&why, "needs '%s'", t->f->steps[k].name);
		return n < 0 ? NULL : why;
	}
	if (signals > (s->always ? 1 : 0))
		n = asprintf(&why, "interrupted");
	else if (t->failed && !t->opt->keep_going && !s->always)
		n = asprintf(&why, "'%s' failed", t->failed->name);
	return n < 0 ? NULL : why;
}

/* ---- the report ----------------------------------------------------------------------- */

static void on_tick(void *arg)
{
	struct testrun *t = arg;
	char took[NUM_TEXT], most[NUM_TEXT], tries[48] = "";
	uint64_t now = num_now_us();

	if (!t->tap->live || now - t->begin < QUIET_US || now - t->painted < PAINT_US)
		return;
	t->painted = now;
	if (t->result.tries > 1)
		snprintf(tries, sizeof(tries), ", try %u", t->result.tries);
	tap_progress(t->tap, "%zu of %zu: %s of at most %s%s: %s", t->number, t->selected,
		     num_seconds_text(took, (now - t->begin) / 1000000),
		     num_seconds_text(most, t->at->deadline_us / 1000000), tries, t->at->name);
}

/* Where the last lines of a text begin, of which there are at most TAIL_BYTES */
static const char *tail_of(const char *text, size_t len)
{
	size_t at = len;

	for (int lines = 0; at && len - at < TAIL_BYTES && lines < TAIL_LINES;)
		if (text[--at] == '\n' && ++lines == TAIL_LINES)
			at++;
	while ((text[at] & 0xc0) == 0x80) /* not within a character */
		at++;
	return text + at;
}

/* The end of an output, as text */
static void add_tail(json_t *map, const char *key, const struct output *o)
{
	autofree char *text = o->len ? strndup(o->text, o->len) : NULL;
	size_t len;

	if (!text)
		return;
	text_clean(text);
	len = strlen(text);
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	if (len)
		json_object_set_new(map, key, json_string(tail_of(text, len)));
}

static void add_text(json_t *map, const char *key, const char *text)
{
	if (text && *text)
		json_object_set_new(map, key, json_string(text));
}

/* All that is known of a step that was done */
static json_t *describe(const struct testrun *t, const char *message, const char *log,
			const char *lab)
{
	const struct outcome *o = &t->result.outcome;
	bool http = t->at->kind == STEP_HTTP;
	json_t *map = json_object();
	autofree char *where = NULL;
	autofree char *what = o->what ? text_clean(strdup(o->what)) : NULL;

	add_text(map, "message", message);
	if (asprintf(&where, "%s:%u", t->f->file, t->at->line) < 0)
		where = NULL;
	add_text(map, "at", where);
	add_text(map, step_kind_name(t->at->kind), what);
	if (o->status >= 0)
		json_object_set_new(map, "status", json_integer(o->status));
	json_object_set_new(map, "duration_ms",
			    json_integer((json_int_t)(t->result.seconds * 1000)));
	if (t->result.tries > 1)
		json_object_set_new(map, "tries", json_integer((json_int_t)t->result.tries));
	add_tail(map, http ? "body" : "stdout", &o->out);
	add_tail(map, "stderr", &o->err);
	add_text(map, "log", log);
	add_text(map, "lab", lab);
	return map;
}

/* With -j, one line a step */
static void report_json(const struct testrun *t, const char *state, const char *reason, json_t *map)
{
	autojson json_t *line = json_pack("{s:s, s:s, s:s, s:i}", "file", t->f->file, "step",
					  t->at->name, "state", state, "number", (int)t->number);

	add_text(line, "reason", reason);
	json_object_update(line, map);
	cli_print_line(line);
}

static void report(struct testrun *t, bool ok, const char *skip, json_t *map)
{
	if (t->cli->json) {
		report_json(t, skip ? "skipped" : ok ? "passed" : "failed", skip, map);
	} else if (t->cli->quiet) {
		if (!ok)
			puts(t->at->name);
	} else {
		tap_point(t->tap, ok, t->at->name, skip);
		if (!ok)
			tap_diagnostic(t->tap, map);
	}
	fflush(stdout);
}

/* ---- running ---------------------------------------------------------------------------- */

/* What could not be kept is told once for each step, and nothing else */
static void keep_all(struct testrun *t, int r, const char *message, char *log, char *lab)
{
	struct lab_err err = LAB_ERR_INIT;
	int k = keep_log(t->keep, t->number, t->at, &t->result, r ? message : "passed", log, &err);

	*lab = '\0';
	if (!k)
		k = keep_variables(t->keep, &t->vars, &err);
	/* a step may have failed because labd is no more: that starts it again */
	t->cli->ready = false;
	if (!k && r && *t->lab)
		k = keep_lab(t->cli, t->keep, t->number, t->at, t->lab, lab, &err);
	if (k < 0)
		fprintf(stderr, "labctl: %s\n", err.text);
}

/*
 * The environment may have changed: a step may have brought the lab up. Without labd it
 * stays as it was: not every step needs it, and one that has ended labd may be followed
 * by one that cleans up. The next call starts labd again.
 */
static void renew_lab(struct testrun *t)
{
	autofree char *real = realpath(t->f->file, NULL);
	char *slash = real ? strrchr(real, '/') : NULL;
	json_t *env = NULL;

	t->cli->ready = false;
	if (*t->lab && lab_environment(t->cli, t->lab, &env) < 0)
		return;
	env = env ? env : json_object();
	if (slash)
		*slash = '\0';
	json_object_set_new(env, "LAB_TEST_DIR", json_string(!slash ? "." : *real ? real : "/"));
	json_object_set_new(env, "LAB_TEST_OUT", json_string(t->keep->dir));
	json_decref(t->vars.lab);
	t->vars.lab = env;
}

static void do_step(struct testrun *t, size_t i)
{
	const struct step *s = t->at;
	char log[IO_PATH], lab[IO_PATH];
	struct step_control control = { .tick = on_tick, .arg = t };
	struct lab_err err = LAB_ERR_INIT;
	json_t *map;
	int sig, r;

	control.stops = step_signals(&sig) + 1;
	outcome_done(&t->result.outcome);
	t->result = (struct step_result){ 0 };
	t->begin = t->painted = num_now_us();
	renew_lab(t);
	r = step_do(t->cli, s, t->lab, &t->vars, &control, &t->result, &err);
	if (!r && t->result.skipped) {
		t->states[i] = NOTHING_TO_DO;
		t->count.skipped++;
		report(t, true, "skip-if", NULL);
		return;
	}
	keep_all(t, r, err.text, log, lab);
	t->states[i] = r ? FAILED : PASSED;
	t->failed = r && !t->failed ? s : t->failed;
	*(r ? &t->count.failed : &t->count.passed) += 1;
	map = describe(t, r ? err.text : NULL, log, lab);
	report(t, !r, NULL, map);
	json_decref(map);
}

static void take_step(struct testrun *t, size_t i)
{
	autofree char *why = NULL;

	t->at = &t->f->steps[i];
	t->number++;
	why = reason_not(t, t->at);
	if (!why) {
		do_step(t, i);
		return;
	}
	t->states[i] = NOT_DONE;
	t->count.skipped++;
	report(t, true, why, NULL);
}

int testrun_file(struct cli *cli, const struct stepfile *f, const struct testrun_options *opt,
		 const struct keep *keep, struct tap *tap, struct testrun_count *ret)
{
	struct testrun t __attribute__((cleanup(testrun_done))) = {
		.cli = cli,
		.f = f,
		.opt = opt,
		.keep = keep,
		.tap = tap,
		.lab = opt->lab,
	};
	int r = 0;

	*ret = (struct testrun_count){ 0 };
	t.states = select_steps(cli, f, opt, &t.selected);
	if (!t.states)
		return cli->err.code;
	t.vars.values = json_deep_copy(f->vars);
	if (opt->from)
		r = keep_known(keep, &t.vars, &cli->err);
	if (r < 0)
		return r;
	if (!cli->json && !cli->quiet)
		tap_plan(tap, t.selected);
	for (size_t i = 0; i < f->n; i++)
		if (t.states[i] == SELECTED)
			take_step(&t, i);
	*ret = t.count;
	return 0;
}
