// SPDX-License-Identifier: GPL-2.0-or-later
/* stepfile_expect.c - what the steps of a test file expect and save */
#define _GNU_SOURCE
#include "cli/stepfile.h"

#include "lib/util.h"

#include <string.h>

/* One number or several */
static json_t *read_status(struct ydoc *doc, const struct ynode *n, bool http)
{
	uint64_t min = http ? 100 : 0, max = http ? 599 : 255, v;
	autojson json_t *list = json_array();

	if (n->type != YNODE_LIST && ydoc_u64(doc, n, min, max, &v))
		json_array_append_new(list, json_integer((json_int_t)v));
	if (n->type == YNODE_LIST)
		for (const struct ynode *i = n->child; i; i = i->next)
			if (ydoc_u64(doc, i, min, max, &v))
				json_array_append_new(list, json_integer((json_int_t)v));
	if (n->type == YNODE_LIST && !n->child)
		ydoc_problem(doc, n, "expected a status, or a list of them");
	return steal_ptr(list);
}

static json_t *read_contains(struct ydoc *doc, const struct ynode *n)
{
	autojson json_t *list = json_array();
	const char *text;

	if (n->type == YNODE_SCALAR && ydoc_text(doc, n, "a text, or a list of them", &text))
		json_array_append_new(list, json_string(text));
	if (n->type == YNODE_MAP)
		ydoc_list(doc, n, "texts");
	if (n->type == YNODE_LIST)
		for (const struct ynode *v = n->child; v; v = v->next)
			if (ydoc_text(doc, v, "a text", &text))
				json_array_append_new(list, json_string(text));
	return steal_ptr(list);
}

/* {PATH: value}; nothing means that there is a value */
static json_t *read_values(struct ydoc *doc, const struct ynode *n)
{
	autojson json_t *values = json_object();

	if (n->type != YNODE_MAP) {
		ydoc_problem(doc, n, "expected a map of paths and values");
		return steal_ptr(values);
	}
	for (const struct ynode *v = n->child; v; v = v->next)
		if (stepfile_path(doc, v->key, v->key->text))
			json_object_set_new(values, v->key->text, stepfile_json(v));
	return steal_ptr(values);
}

static json_t *read_header_regexes(struct ydoc *doc, const struct ynode *n)
{
	autojson json_t *headers = json_object();

	if (n->type != YNODE_MAP) {
		ydoc_problem(doc, n, "expected a map of headers and regular expressions");
		return steal_ptr(headers);
	}
	for (const struct ynode *v = n->child; v; v = v->next) {
		const char *text = stepfile_regex(doc, v);

		json_object_set_new(headers, v->key->text, json_string(text ? text : ""));
	}
	return steal_ptr(headers);
}

static json_t *read_expectation(struct ydoc *doc, bool http, const struct ynode *v)
{
	const char *key = v->key->text, *text;

	if (!strcmp(key, "status"))
		return read_status(doc, v, http);
	if (!strcmp(key, "contains"))
		return read_contains(doc, v);
	if (!strcmp(key, "json"))
		return read_values(doc, v);
	if (!strcmp(key, "headers"))
		return read_header_regexes(doc, v);
	text = stepfile_regex(doc, v);
	return json_string(text ? text : "");
}

static json_t *read_expectations(struct ydoc *doc, const struct step *step, const struct ynode *n,
				 bool inner)
{
	/* the last is for the outer one only */
	static const char *const of_program[] = { "status", "stdout", "stderr", "contains",
						  "json",   "not",    NULL };
	static const char *const of_reply[] = { "status", "body", "headers", "contains",
						"json",	  "not",  NULL };
	bool http = step->kind == STEP_HTTP;
	const char *const *known = http ? of_reply : of_program;
	autojson json_t *to = json_object();

	if (!ydoc_map(doc, n, known))
		return steal_ptr(to);
	for (const struct ynode *v = n->child; v; v = v->next) {
		size_t i = 0;

		while (known[i] && strcmp(known[i], v->key->text))
			i++;
		if (!known[i])
			continue;
		if (!strcmp(known[i], "not")) {
			if (inner)
				ydoc_problem(doc, v->key, "'not' within 'not'");
			continue;
		}
		json_object_set_new(to, known[i], read_expectation(doc, http, v));
	}
	return steal_ptr(to);
}

void stepfile_expect(struct ydoc *doc, struct step *step, const struct ynode *n)
{
	const struct ynode *not = stepfile_given(n, "not");

	if (step->kind == STEP_WAIT) {
		ydoc_problem(doc, ynode_name(n), "a wait expects what it waits for");
		return;
	}
	step->expect = read_expectations(doc, step, n, false);
	if (not )
		step->forbid = read_expectations(doc, step, not, true);
}

/* A text of one line, or NULL with a problem */
static const char *one_line(struct ydoc *doc, const struct ynode *n, const char *what)
{
	const char *text;

	if (!ydoc_text(doc, n, what, &text))
		return NULL;
	if (!strchr(text, '\n'))
		return text;
	ydoc_problem(doc, n, "expected %s of one line", what);
	return NULL;
}

/* {}, or one of {json: PATH}, {header: NAME}, {match: REGEX} */
static json_t *read_source(struct ydoc *doc, const struct step *step, const struct ynode *n)
{
	static const char *const known[] = { "json", "match", "header", NULL };
	const struct ynode *v = n->child;
	const char *text = NULL;

	if (ynode_null(n) || !ydoc_map(doc, n, known))
		return json_object();
	if (n->count != 1) {
		ydoc_problem(doc, n, "expected one of json, match or header");
		return json_object();
	}
	if (!strcmp(v->key->text, "json"))
		text = stepfile_path(doc, v, v->text);
	else if (!strcmp(v->key->text, "match"))
		text = stepfile_regex(doc, v);
	else
		text = one_line(doc, v, "a header's name");
	if (!strcmp(v->key->text, "header") && step->kind != STEP_HTTP)
		ydoc_problem(doc, v->key, "only http has headers");
	return json_pack("{s:s}", v->key->text, text ? text : "");
}

static void save_into(struct ydoc *doc, json_t *to, const struct ynode *at, const char *name,
		      json_t *source)
{
	if (!vars_name_valid(name, strlen(name)) || !strncmp(name, "LAB", 3))
		ydoc_problem(doc, at,
			     "expected a variable's name (letters, digits and '_', not LAB...)");
	json_object_set_new(to, name, source);
}

json_t *stepfile_save(struct ydoc *doc, const struct step *step, const struct ynode *n)
{
	autojson json_t *to = json_object();
	char show[YNODE_SHOW];

	if (step->kind == STEP_WAIT)
		ydoc_problem(doc, ynode_name(n), "a wait has nothing to save");
	else if (n->type == YNODE_SCALAR)
		save_into(doc, to, n, n->text, json_object());
	else if (n->type == YNODE_MAP)
		for (const struct ynode *v = n->child; v; v = v->next)
			save_into(doc, to, v->key, v->key->text, read_source(doc, step, v));
	else
		ydoc_problem(doc, n, "expected a variable's name, or a map of them, found %s",
			     ynode_show(show, n));
	return steal_ptr(to);
}
