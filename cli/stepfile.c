// SPDX-License-Identifier: GPL-2.0-or-later
/* stepfile.c - a test file: its steps, and how they depend on each other */
#define _GNU_SOURCE
#include "cli/stepfile.h"

#include "lib/util.h"

#include <string.h>

static const char *const kind_names[] = {
	[STEP_RUN] = "run",
	[STEP_EXEC] = "exec",
	[STEP_HTTP] = "http",
	[STEP_WAIT] = "wait",
};
_Static_assert(ARRAY_SIZE(kind_names) == STEP_WAIT + 1, "a name for each kind");

const char *step_kind_name(enum step_kind kind)
{
	return kind_names[kind];
}

const struct ynode *stepfile_given(const struct ynode *map, const char *key)
{
	const struct ynode *n = ynode_get(map, key);

	return ynode_null(n) ? NULL : n;
}

void stepfile_free(struct stepfile *f)
{
	for (size_t i = 0; i < f->n; i++) {
		json_decref(f->steps[i].spec);
		json_decref(f->steps[i].expect);
		json_decref(f->steps[i].forbid);
		json_decref(f->steps[i].save);
		json_decref(f->steps[i].skip_if);
		free(f->steps[i].needs);
	}
	free(f->steps);
	json_decref(f->vars);
	json_decref(f->given);
	ydoc_free(f->doc);
	*f = (struct stepfile){ 0 };
}

/* ---- variables ----------------------------------------------------------------- */

/**
 * struct scan - looking for variables in a step
 * @at:		where a problem is
 * @lenient:	it is a text for sh, which has variables of its own
 */
struct scan {
	struct stepfile *f;
	struct step *step;
	const struct ynode *at;
	bool lenient;
};

static bool is_lab_name(const char *name)
{
	return !strcmp(name, "LAB") || !strncmp(name, "LAB_", 4);
}

/* The step needs the last earlier one that saves the variable */
static bool need_saver(const struct scan *s, const char *name)
{
	for (size_t i = (size_t)(s->step - s->f->steps); i-- > 0;) {
		if (json_object_get(s->f->steps[i].save, name)) {
			s->step->needs[i] |= STEP_USES;
			return true;
		}
	}
	return false;
}

static void on_use(void *arg, const char *text, size_t len)
{
	const struct scan *s = arg;
	autofree char *name = strndup(text, len);

	if (!name || need_saver(s, name) || s->lenient)
		return;
	if (!vars_name_valid(text, len))
		ydoc_problem(s->f->doc, s->at,
			     "expected ${NAME}; where a text has \"${\", write \"$${\"");
	else if (!is_lab_name(name) && !json_object_get(s->f->vars, name) &&
		 !json_object_get(s->f->given, name))
		ydoc_problem(s->f->doc, s->at,
			     "no earlier step saves the variable %.64s, and 'vars' has it not",
			     name);
}

static void scan_node(struct scan *s, const struct ynode *n)
{
	if (n->type == YNODE_SCALAR) {
		s->at = n;
		vars_uses(n->text, on_use, s);
	}
	for (const struct ynode *v = n->child; v; v = v->next)
		scan_node(s, v);
}

static bool is_shell(const struct ynode *n)
{
	return n->type == YNODE_SCALAR &&
	       (!strcmp(n->key->text, "run") || !strcmp(n->key->text, "skip-if"));
}

/* Variables of one key of a step: `exec` has its own `run` */
static void scan_key(struct scan *s, const struct ynode *n)
{
	if (!strcmp(n->key->text, "name") || !strcmp(n->key->text, "needs"))
		return;
	if (!strcmp(n->key->text, "exec") && n->type == YNODE_MAP) {
		for (const struct ynode *v = n->child; v; v = v->next)
			scan_key(s, v);
		return;
	}
	s->lenient = is_shell(n);
	scan_node(s, n);
}

static void find_uses(struct stepfile *f, struct step *step, const struct ynode *n)
{
	struct scan s = { .f = f, .step = step };

	for (const struct ynode *v = n->child; v; v = v->next)
		scan_key(&s, v);
}

/* ---- a step --------------------------------------------------------------------- */

/* The kind that a step's keys name; false with a problem if none or two do */
static bool find_kind(struct ydoc *doc, const struct ynode *n, enum step_kind *ret,
		      const struct ynode **ret_node)
{
	const struct ynode *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(kind_names); i++) {
		const struct ynode *v = ynode_get(n, kind_names[i]);

		if (v && found) {
			ydoc_problem(doc, v->key,
				     "expected one thing to do, found '%s' beside "
				     "'%s': make two steps",
				     kind_names[i], found->key->text);
			return false;
		}
		if (v) {
			found = v;
			*ret = (enum step_kind)i;
		}
	}
	if (!found)
		ydoc_problem(doc, n, "expected one of run, exec, http or wait");
	*ret_node = found;
	return found;
}

/* A name is the step's in the report and on the command line, so it is one line */
static const char *read_name(struct stepfile *f, const struct step *step, const struct ynode *n)
{
	const char *name = "";

	if (!n || !ydoc_text(f->doc, n, "a step's name", &name))
		return "";
	if (strpbrk(name, "\n\t") || strlen(name) > STEP_NAME_MAX)
		ydoc_problem(f->doc, n, "expected a name of one line and at most %d bytes",
			     STEP_NAME_MAX);
	for (const struct step *s = f->steps; s < step; s++)
		if (!strcmp(s->name, name))
			ydoc_problem(f->doc, n, "the step in line %u has this name already",
				     s->line);
	return name;
}

static void read_need(struct stepfile *f, struct step *step, const struct ynode *n)
{
	const char *name;

	if (!ydoc_text(f->doc, n, "a step's name", &name))
		return;
	for (size_t i = 0; f->steps + i < step; i++) {
		if (!strcmp(f->steps[i].name, name)) {
			step->needs[i] |= STEP_NEEDS;
			return;
		}
	}
	ydoc_problem(f->doc, n, "no earlier step has the name '%.*s'", STEP_NAME_MAX, name);
}

static void read_needs(struct stepfile *f, struct step *step, const struct ynode *n)
{
	if (n->type == YNODE_SCALAR) {
		read_need(f, step, n);
		return;
	}
	if (ydoc_list(f->doc, n, "steps"))
		for (const struct ynode *v = n->child; v; v = v->next)
			read_need(f, step, v);
}

static void read_time(struct ydoc *doc, const struct ynode *n, uint64_t *us)
{
	uint64_t seconds;

	if (n && ydoc_seconds(doc, n, STEP_MAX_DEADLINE_S, &seconds))
		*us = seconds * 1000000;
}

static void read_retry(struct ydoc *doc, struct step *step, const struct ynode *n)
{
	static const char *const known[] = { "every", NULL };
	const struct ynode *every = stepfile_given(n, "every");

	if (step->kind == STEP_WAIT)
		ydoc_problem(doc, ynode_name(n), "a wait tries again by itself");
	if (!ydoc_map(doc, n, known))
		return;
	if (!every)
		ydoc_problem(doc, n, "expected the key every: the time between tries");
	read_time(doc, every, &step->every_us);
}

static void read_common(struct stepfile *f, struct step *step, const struct ynode *n)
{
	const struct ynode *retry = stepfile_given(n, "retry"),
			   *skip = stepfile_given(n, "skip-if");
	const struct ynode *always = stepfile_given(n, "always"), *v;

	read_time(f->doc, stepfile_given(n, "deadline"), &step->deadline_us);
	if (retry)
		read_retry(f->doc, step, retry);
	if (always)
		ydoc_bool(f->doc, always, &step->always);
	if (skip)
		step->skip_if = stepfile_program(f->doc, skip);
	if ((v = stepfile_given(n, "needs")))
		read_needs(f, step, v);
	if ((v = stepfile_given(n, "expect")))
		stepfile_expect(f->doc, step, v);
	if ((v = stepfile_given(n, "save")))
		step->save = stepfile_save(f->doc, step, v);
}

static int read_step(struct stepfile *f, const struct ynode *n, uint64_t deadline_us)
{
	static const char *const known[] = { "name",   "run",	  "exec",  "http",  "wait",
					     "expect", "save",	  "needs", "retry", "deadline",
					     "always", "skip-if", NULL };
	struct step *step = &f->steps[f->n];
	const struct ynode *what, *name = stepfile_given(n, "name");
	size_t before = ydoc_problems(f->doc);

	*step = (struct step){ .line = n->line, .deadline_us = deadline_us };
	step->needs = calloc(f->n + 1, sizeof(*step->needs));
	if (!step->needs)
		return -ENOMEM;
	f->n++;
	step->name = read_name(f, step, name);
	if (!ydoc_map(f->doc, n, known)) {
		if (ydoc_problems(f->doc) == before)
			ydoc_problem(f->doc, n, "expected a step, found nothing");
		return 0;
	}
	if (!name)
		ydoc_problem(f->doc, n, "expected the key name: what the step shows");
	/* a misspelt kind has been told of */
	if (ydoc_problems(f->doc) > before && !ynode_get(n, "run") && !ynode_get(n, "exec") &&
	    !ynode_get(n, "http") && !ynode_get(n, "wait"))
		return 0;
	if (!find_kind(f->doc, n, &step->kind, &what))
		return 0;
	step->spec = stepfile_spec(f->doc, step->kind, what);
	read_common(f, step, n);
	find_uses(f, step, n);
	return 0;
}

static int read_steps(struct stepfile *f, const struct ynode *n, uint64_t deadline_us)
{
	if (!n || !n->count) {
		ydoc_problem(f->doc, n, "expected the key steps: a list of steps");
		return 0;
	}
	if (!ydoc_list(f->doc, n, "steps"))
		return 0;
	if (n->count > STEP_MAX) {
		ydoc_problem(f->doc, n, "expected at most %d steps, found %zu", STEP_MAX, n->count);
		return 0;
	}
	f->steps = calloc(n->count, sizeof(*f->steps));
	if (!f->steps)
		return -ENOMEM;
	for (const struct ynode *v = n->child; v; v = v->next)
		if (read_step(f, v, deadline_us) < 0)
			return -ENOMEM;
	return 0;
}

/* One of the file's variables: a value, or nothing if the lab is to give it */
static void read_var(struct stepfile *f, const struct ynode *v)
{
	const char *name = v->key->text, *given = getenv(name), *text;

	if (!vars_name_valid(name, strlen(name)) || is_lab_name(name))
		ydoc_problem(f->doc, v->key,
			     "expected a variable's name (letters, digits and '_', not LAB or "
			     "LAB_...)");
	else if (given) /* whoever runs it has the last word */
		json_object_set_new(f->vars, name, json_string(given));
	else if (ynode_null(v))
		json_object_set_new(f->given, name, json_null());
	else if (ydoc_text(f->doc, v, "a text", &text))
		json_object_set_new(f->vars, name, json_string(text));
}

static void read_vars(struct stepfile *f, const struct ynode *n)
{
	f->vars = json_object();
	f->given = json_object();
	if (ydoc_map(f->doc, n, NULL))
		for (const struct ynode *v = n->child; v; v = v->next)
			read_var(f, v);
}

static int read_file(struct stepfile *f, const struct ynode *root)
{
	static const char *const known[] = {
		"lab", "description", "vars", "deadline", "steps", NULL
	};
	uint64_t deadline_us = STEP_DEADLINE_S * 1000000ULL;
	const struct ynode *v;
	const char *text;

	if (!root)
		return 0;
	if (ynode_null(root))
		ydoc_problem(f->doc, root, "expected the key steps: a list of steps");
	if (!ydoc_map(f->doc, root, known))
		return 0;
	if ((v = stepfile_given(root, "lab")))
		ydoc_name(f->doc, v, "a lab's name", &f->lab);
	if ((v = stepfile_given(root, "description")))
		ydoc_text(f->doc, v, "a text", &text);
	read_vars(f, stepfile_given(root, "vars"));
	read_time(f->doc, stepfile_given(root, "deadline"), &deadline_us);
	return read_steps(f, stepfile_given(root, "steps"), deadline_us);
}

int stepfile_read(const char *text, size_t len, const char *file, struct stepfile *ret,
		  json_t **ret_problems, struct lab_err *err)
{
	struct stepfile f = { .file = file };
	int r = ydoc_load(text, len, STEP_MAX_FILE, &f.doc);

	if (!r)
		r = read_file(&f, ydoc_root(f.doc));
	if (!r)
		r = ydoc_finish(f.doc, file, ret_problems, err);
	if (r == -ENOMEM)
		lab_fail_errno(err, r, "%s", file);
	if (r < 0)
		stepfile_free(&f);
	*ret = f;
	return r;
}
