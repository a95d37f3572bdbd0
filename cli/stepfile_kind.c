// SPDX-License-Identifier: GPL-2.0-or-later
/* stepfile_kind.c - what the steps of a test file do */
#define _GNU_SOURCE
#include "cli/stepfile.h"

#include "lib/names.h"
#include "lib/probe.h"
#include "lib/util.h"

#include <string.h>

/* ---- values ---------------------------------------------------------------------- */

/* true, 12, 1.5: as JSON has them. Everything else is a text */
static json_t *plain_json(const struct ynode *n)
{
	json_t *v;

	if (n->quoted)
		return json_string(n->text);
	if (ynode_null(n))
		return json_null();
	v = json_loads(n->text, JSON_DECODE_ANY, NULL);
	return v ? v : json_string(n->text);
}

json_t *stepfile_json(const struct ynode *n)
{
	autojson json_t *to = NULL;

	if (n->type == YNODE_SCALAR)
		return plain_json(n);
	to = n->type == YNODE_LIST ? json_array() : json_object();
	for (const struct ynode *v = n->child; v; v = v->next) {
		json_t *value = stepfile_json(v);

		if (n->type == YNODE_LIST ? json_array_append_new(to, value)
					  : json_object_set_new(to, v->key->text, value))
			return NULL;
	}
	return steal_ptr(to);
}

json_t *stepfile_texts(struct ydoc *doc, const struct ynode *n, const char *what)
{
	autojson json_t *to = json_object();
	char show[YNODE_SHOW];

	if (n->type != YNODE_MAP) {
		ydoc_problem(doc, n, "expected a map of %s, found %s", what, ynode_show(show, n));
		return steal_ptr(to);
	}
	for (const struct ynode *v = n->child; v; v = v->next) {
		const char *text = "";

		/* nothing is a text too, an empty one */
		if (!ynode_null(v) && ydoc_text(doc, v, "a text", &text) && strchr(text, '\n'))
			ydoc_problem(doc, v, "expected a text of one line");
		if (json_object_set_new(to, v->key->text, json_string(text)) < 0)
			return NULL;
	}
	return steal_ptr(to);
}

/* The text with an x for each variable, to see whether it makes sense; malloced */
static char *with_samples(const char *text)
{
	char *to = malloc(strlen(text) + 1), *at = to;

	while (to && *text) {
		size_t name = strncmp(text, "${", 2) ? 0 : strcspn(text, "}");

		if (name && text[name]) {
			*at++ = 'x';
			text += name + 1;
		} else {
			*at++ = *text++;
		}
	}
	if (to)
		*at = '\0';
	return to;
}

const char *stepfile_regex(struct ydoc *doc, const struct ynode *n)
{
	autofree char *sample = NULL;
	const char *text;

	if (!ydoc_text(doc, n, "a regular expression", &text))
		return NULL;
	sample = with_samples(text);
	return sample && probe_regex(doc, n, sample) ? text : NULL;
}

const char *stepfile_path(struct ydoc *doc, const struct ynode *n, const char *text)
{
	char show[YNODE_SHOW];

	if (text && jsonpath_valid(text))
		return text;
	ydoc_problem(doc, n, "expected a path such as token.roles[0].name, found %s",
		     ynode_show(show, n));
	return NULL;
}

json_t *stepfile_program(struct ydoc *doc, const struct ynode *n)
{
	const char *text;
	json_t *words;

	if (n->type == YNODE_LIST) {
		words = probe_words(doc, n);
		return json_pack("{s:o, s:b}", "argv", words, "shell", 0);
	}
	if (!ydoc_text(doc, n, "a list of words, or a text for sh", &text))
		return NULL;
	return json_pack("{s:[s, s, s], s:b}", "argv", "sh", "-ec", text, "shell", 1);
}

/* ---- kinds ------------------------------------------------------------------------- */

/* The instance that a step is about: NAME or LAB/NAME */
static const char *read_on(struct ydoc *doc, const struct ynode *n, const struct ynode *map)
{
	autofree char *sample = NULL;
	char show[YNODE_SHOW];
	const char *slash;

	if (!n) {
		ydoc_problem(doc, map, "expected the key on: an instance");
		return NULL;
	}
	sample = n->type == YNODE_SCALAR ? with_samples(n->text) : NULL;
	slash = sample ? strchr(sample, '/') : NULL;
	if (sample && name_valid(slash ? slash + 1 : sample) &&
	    (!slash || slash - sample <= NAME_MAX_LEN))
		return n->text;
	ydoc_problem(doc, n, "expected an instance, NAME or LAB/NAME, found %s",
		     ynode_show(show, n));
	return NULL;
}

static json_t *read_exec(struct ydoc *doc, const struct ynode *n)
{
	static const char *const known[] = { "on", "run", NULL };
	const struct ynode *run = stepfile_given(n, "run");
	autojson json_t *spec = NULL;
	const char *on;

	if (!ydoc_map(doc, n, known))
		return NULL;
	on = read_on(doc, stepfile_given(n, "on"), n);
	if (!run)
		ydoc_problem(doc, n, "expected the key run: a command");
	spec = run ? stepfile_program(doc, run) : NULL;
	if (!spec || !on)
		return NULL;
	json_object_set_new(spec, "on", json_string(on));
	return steal_ptr(spec);
}

/* Whether a URL can be one: ":PORT/..." in an instance, "http://HOST..." from here */
static bool url_fits(const char *url, bool on)
{
	if (!strncmp(url, "${", 2))
		return true;
	for (const char *p = url; *p; p++)
		if (*p <= ' ' || *p == 0x7f)
			return false;
	if (!strncmp(url, "http://", 7) || !strncmp(url, "https://", 8)) {
		const char *host = strstr(url, "://") + 3;

		return on == (*host == ':') && *host;
	}
	return on && *url == ':';
}

static const char *read_url(struct ydoc *doc, const struct ynode *n, bool on)
{
	char show[YNODE_SHOW];

	if (n->type == YNODE_SCALAR && url_fits(n->text, on))
		return n->text;
	ydoc_problem(doc, n, "expected a URL such as %s, found %s",
		     on ? ":5000/v3/, on the instance" : "http://127.0.0.1:8080/, or the key on",
		     ynode_show(show, n));
	return NULL;
}

static const char *read_method(struct ydoc *doc, const struct ynode *n, bool has_body)
{
	char show[YNODE_SHOW];

	if (!n)
		return has_body ? "POST" : "GET";
	if (n->type == YNODE_SCALAR && *n->text && strlen(n->text) <= 16 &&
	    strspn(n->text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(n->text))
		return n->text;
	ydoc_problem(doc, n, "expected a method such as GET, POST or DELETE, found %s",
		     ynode_show(show, n));
	return "GET";
}

static json_t *read_headers(struct ydoc *doc, const struct ynode *n)
{
	json_t *headers = n ? stepfile_texts(doc, n, "headers") : json_object();

	for (const struct ynode *v = n && n->type == YNODE_MAP ? n->child : NULL; v; v = v->next)
		if (!*v->key->text || strpbrk(v->key->text, " \t\r\n:"))
			ydoc_problem(doc, v->key, "expected a header's name such as Accept");
	return headers;
}

static void read_body(struct ydoc *doc, const struct ynode *n, json_t *spec)
{
	const struct ynode *body = ynode_get(n, "body"), *json = ynode_get(n, "json");
	const char *text = "";

	if (body && json)
		ydoc_problem(doc, json->key, "expected body or json, found both");
	if (body && (ynode_null(body) || ydoc_text(doc, body, "a text", &text)))
		json_object_set_new(spec, "body", json_string(text));
	else if (json)
		json_object_set_new(spec, "json", stepfile_json(json));
}

static json_t *read_http(struct ydoc *doc, const struct ynode *n)
{
	static const char *const known[] = {
		"url", "on", "method", "headers", "json", "body", NULL
	};
	const struct ynode *url = stepfile_given(n, "url"), *on = stepfile_given(n, "on");
	const char *address, *instance = NULL;
	autojson json_t *spec = NULL;

	if (n->type == YNODE_SCALAR && !ynode_null(n)) {
		address = read_url(doc, n, false);
		return address ? json_pack("{s:s, s:s, s:{}}", "url", address, "method", "GET",
					   "headers")
			       : NULL;
	}
	if (!ydoc_map(doc, n, known))
		return NULL;
	if (!url)
		ydoc_problem(doc, n, "expected the key url");
	if (on)
		instance = read_on(doc, on, n);
	address = url ? read_url(doc, url, on) : NULL;
	spec = json_pack("{s:s, s:s*, s:s, s:o}", "url", address ? address : "", "on", instance,
			 "method",
			 read_method(doc, stepfile_given(n, "method"),
				     ynode_get(n, "json") || ynode_get(n, "body")),
			 "headers", read_headers(doc, stepfile_given(n, "headers")));
	read_body(doc, n, spec);
	return steal_ptr(spec);
}

static bool has_variables(const json_t *value)
{
	autofree char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	return text && strstr(text, "${");
}

/*
 * Probes with variables cannot be read yet: what stands in for these tells
 * whether the rest makes sense
 */
static void check_samples(struct ydoc *doc, const struct ynode *n, const json_t *probes)
{
	autofree char *text = json_dumps(probes, JSON_ENCODE_ANY | JSON_COMPACT);
	autofree char *sample = text ? with_samples(text) : NULL;
	autojson json_t *problems = NULL;
	struct lab_err err = LAB_ERR_INIT;
	struct ydoc *other = NULL;

	if (!sample || ydoc_load(sample, strlen(sample), STEP_MAX_FILE, &other) < 0)
		return;
	if (ydoc_root(other))
		json_decref(probe_list(other, ydoc_root(other)));
	if (ydoc_finish(other, "", &problems, &err) == -EINVAL)
		ydoc_problem(
			doc, n, "%s",
			json_string_value(json_object_get(json_array_get(problems, 0), "message")));
	ydoc_free(other);
}

static json_t *read_wait(struct ydoc *doc, const struct ynode *n)
{
	static const char *const known[] = { "on", "for", "since", NULL };
	const struct ynode *probes = stepfile_given(n, "for"), *since = stepfile_given(n, "since");
	autojson json_t *ready = NULL;
	const char *on, *from = "boot";
	char show[YNODE_SHOW];

	if (!ydoc_map(doc, n, known))
		return NULL;
	on = read_on(doc, stepfile_given(n, "on"), n);
	if (since && ydoc_text(doc, since, "boot or now", &from) && strcmp(from, "boot") != 0 &&
	    strcmp(from, "now") != 0)
		ydoc_problem(doc, since, "expected boot or now, found %s", ynode_show(show, since));
	if (!probes) {
		ydoc_problem(doc, n, "expected the key for: a probe such as {tcp: 22}");
		return NULL;
	}
	ready = stepfile_json(probes);
	if (has_variables(ready))
		check_samples(doc, probes, ready);
	else
		json_decref(probe_list(doc, probes));
	return json_pack("{s:s, s:O, s:s}", "on", on ? on : "", "ready", ready, "since", from);
}

json_t *stepfile_spec(struct ydoc *doc, enum step_kind kind, const struct ynode *n)
{
	char show[YNODE_SHOW];

	if (ynode_null(n)) {
		ydoc_problem(doc, ynode_name(n), "expected what to do, found %s",
			     ynode_show(show, n));
		return NULL;
	}
	switch (kind) {
	case STEP_RUN:
		return stepfile_program(doc, n);
	case STEP_EXEC:
		return read_exec(doc, n);
	case STEP_HTTP:
		return read_http(doc, n);
	case STEP_WAIT:
		return read_wait(doc, n);
	}
	return NULL;
}
