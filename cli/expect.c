// SPDX-License-Identifier: GPL-2.0-or-later
/* expect.c - whether the outcome of a step is as expected, and what it saves of it */
#define _GNU_SOURCE
#include "cli/expect.h"

#include "lib/jsonl.h"
#include "lib/text.h"
#include "lib/util.h"

#include <regex.h>
#include <stdarg.h>
#include <string.h>

#define SHOWN 200 /* of a text in a message */

/**
 * struct check - one comparison
 * @doc:	the output as JSON, when it was first asked for
 * @no:		what is looked for must not be there
 * @text, @at:	what differs, one a line
 */
struct check {
	const struct outcome *o;
	json_t *doc;
	bool no, parsed;
	char text[LAB_ERR_TEXT];
	size_t at;
};

__attribute__((format(printf, 2, 3))) static void differs(struct check *c, const char *fmt, ...)
{
	size_t room = sizeof(c->text) - c->at;
	va_list ap;
	int n;

	if (room < 80)
		return;
	if (c->at) {
		c->text[c->at++] = '\n';
		room--;
	}
	va_start(ap, fmt);
	n = vsnprintf(c->text + c->at, room, fmt, ap);
	va_end(ap);
	c->at += n < 0 ? 0 : MIN((size_t)n, room - 1);
}

/* ---- texts -------------------------------------------------------------------------- */

/* Whether a regular expression matches somewhere, -1 if it is none; @m: where, two places */
static int matches(const char *regex, const struct output *o, regmatch_t m[2])
{
	regex_t re;
	int found;

	/* it was read as one, but there may be no memory, or a large variable in it */
	if (regcomp(&re, regex, REG_EXTENDED | REG_NEWLINE))
		return -1;
	m[0] = (regmatch_t){ .rm_so = 0, .rm_eo = (regoff_t)o->len };
	/* the output may have NULs in it */
	found = !regexec(&re, o->text ? o->text : "", 2, m, REG_STARTEND);
	regfree(&re);
	return found;
}

static void not_compiled(struct check *c, const char *regex)
{
	differs(c, "'%.*s' cannot be compiled", SHOWN, regex);
}

static void check_regex(struct check *c, const char *what, const json_t *regex,
			const struct output *o)
{
	regmatch_t m[2];
	int found;

	if (!regex)
		return;
	found = matches(json_string_value(regex), o, m);
	if (found < 0)
		not_compiled(c, json_string_value(regex));
	else if (found == c->no)
		differs(c, "expected %s %s'%.*s'", what, c->no ? "not to match " : "to match ",
			SHOWN, json_string_value(regex));
}

static void check_contains(struct check *c, const json_t *texts)
{
	const struct output *o = &c->o->out;
	const json_t *text;
	size_t i;

	json_array_foreach(texts, i, text) {
		const char *s = json_string_value(text);

		if ((o->len ? memmem(o->text, o->len, s, strlen(s)) != NULL : !*s) == c->no)
			differs(c, "expected output %s '%.*s'", c->no ? "without" : "with", SHOWN,
				s);
	}
}

/* ---- documents ---------------------------------------------------------------------- */

static json_t *document(struct check *c)
{
	if (!c->parsed && c->o->out.text && jsonl_parse(c->o->out.text, c->o->out.len, &c->doc) < 0)
		c->doc = NULL;
	c->parsed = true;
	return c->doc;
}

static void check_value(struct check *c, const char *path, const json_t *want)
{
	const json_t *have = jsonpath_get(document(c), path);
	autofree char *found = have ? json_words(have) : NULL;
	autofree char *words = json_words(want);

	if (json_is_null(want)) {
		if (!have != c->no)
			differs(c, "expected %s value at %s, found %s", c->no ? "no" : "a", path,
				have	 ? "one"
				: c->doc ? "none"
					 : "no JSON");
		return;
	}
	/* texts and numbers are compared as people read them: "5" is 5 */
	if ((found && words && !strcmp(found, words)) == c->no)
		differs(c, "expected %s %s'%.*s', found %s%.*s%s", path, c->no ? "not to be " : "",
			SHOWN, words ? words : "", found ? "'" : "", SHOWN,
			found	 ? found
			: c->doc ? "nothing"
				 : "no JSON",
			found ? "'" : "");
}

static void check_values(struct check *c, const json_t *values)
{
	const char *path;
	json_t *want;

	json_object_foreach((json_t *)values, path, want) {
		check_value(c, path, want);
	}
}

static const char *header(const struct outcome *o, const char *name)
{
	const char *key;
	json_t *value;

	json_object_foreach(o->headers, key, value) {
		if (!strcasecmp(key, name))
			return json_string_value(value);
	}
	return NULL;
}

static void check_headers(struct check *c, const json_t *regexes)
{
	const char *name;
	json_t *regex;

	json_object_foreach((json_t *)regexes, name, regex) {
		const char *value = header(c->o, name);
		struct output o = { (char *)value, value ? strlen(value) : 0, 0 };
		regmatch_t m[2];
		int found = value ? matches(json_string_value(regex), &o, m) : 0;

		if (found < 0)
			not_compiled(c, json_string_value(regex));
		else if (found == c->no)
			differs(c, "expected header %s %sto match '%.*s', found %s%.*s%s", name,
				c->no ? "not " : "", SHOWN, json_string_value(regex),
				value ? "'" : "", SHOWN, value ? value : "none", value ? "'" : "");
	}
}

/* ---- all ---------------------------------------------------------------------------- */

static bool has_status(const json_t *list, int status)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		if (json_integer_value(v) == status)
			return true;
	}
	return false;
}

static void check_status(struct check *c, enum step_kind kind, const json_t *list)
{
	autofree char *words = list ? json_dumps(list, JSON_COMPACT) : NULL;
	int status = c->o->status;

	if (list && has_status(list, status) == c->no)
		differs(c, "expected status %s%.*s, found %d", c->no ? "other than " : "",
			(int)strlen(words) - 2, words + 1, status);
	if (!list && !c->no && kind == STEP_HTTP && (status < 200 || status > 299))
		differs(c, "expected a status from 200 to 299, found %d", status);
	if (!list && !c->no && kind != STEP_HTTP && status)
		differs(c, "expected status 0, found %d", status);
}

static void check_all(struct check *c, const json_t *expect)
{
	check_regex(c, "stdout", json_object_get(expect, "stdout"), &c->o->out);
	check_regex(c, "stderr", json_object_get(expect, "stderr"), &c->o->err);
	check_regex(c, "the body", json_object_get(expect, "body"), &c->o->out);
	check_headers(c, json_object_get(expect, "headers"));
	check_contains(c, json_object_get(expect, "contains"));
	check_values(c, json_object_get(expect, "json"));
}

int expect_met(enum step_kind kind, const json_t *expect, const json_t *forbid,
	       const struct outcome *o, struct lab_err *err)
{
	const json_t *status = json_object_get(expect, "status");
	const json_t *other = json_object_get(forbid, "status");
	struct check c = { .o = o };

	/* whoever names a status that must not be has no other in mind */
	if (status || !other)
		check_status(&c, kind, status);
	check_all(&c, expect);
	c.no = true;
	if (other)
		check_status(&c, kind, other);
	check_all(&c, forbid);
	json_decref(c.doc);
	return c.at ? lab_fail(err, -EBADMSG, "%s", c.text) : 0;
}

static bool is_regex(const char *key)
{
	return !strcmp(key, "stdout") || !strcmp(key, "stderr") || !strcmp(key, "body") ||
	       !strcmp(key, "headers") || !strcmp(key, "match");
}

int expect_expand(const struct vars *v, const json_t *expect, json_t **ret, struct lab_err *err)
{
	autojson json_t *to = expect ? json_object() : NULL;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)expect, key, value) {
		json_t *full = NULL;
		int r = vars_expand_json(v, value, is_regex(key) ? VARS_REGEX : VARS_TEXT, &full,
					 err);

		if (r < 0)
			return r;
		json_object_set_new(to, key, full);
	}
	*ret = steal_ptr(to);
	return 0;
}

/* ---- what is saved ------------------------------------------------------------------- */

static int save_json(const char *path, const struct outcome *o, char **ret, struct lab_err *err)
{
	struct check c = { .o = o };
	const json_t *value = jsonpath_get(document(&c), path);

	*ret = value ? json_words(value) : NULL;
	if (!*ret)
		lab_fail(err, -ENODATA, "there is no %s to save%s", path,
			 c.doc ? "" : ": the output is not JSON");
	json_decref(c.doc);
	return *ret ? 0 : -ENODATA;
}

/* The first group of a match, or all of it */
static int save_match(const char *regex, const struct outcome *o, char **ret, size_t *ret_len,
		      struct lab_err *err)
{
	regmatch_t m[2];
	int i;

	if (matches(regex, &o->out, m) <= 0)
		return lab_fail(err, -ENODATA, "nothing matches '%.*s', to be saved", SHOWN, regex);
	i = m[1].rm_so >= 0 ? 1 : 0;
	*ret_len = (size_t)(m[i].rm_eo - m[i].rm_so);
	*ret = strndup(o->out.text ? o->out.text + m[i].rm_so : "", *ret_len);
	return *ret ? 0 : -ENOMEM;
}

/* Everything, without the newlines at its end, as a shell takes it */
static int save_all(const struct outcome *o, char **ret, size_t *ret_len, struct lab_err *err)
{
	size_t len = o->out.len;

	if (o->out.lost)
		return lab_fail(err, -ENODATA, "the output is too long to be saved");
	while (len && o->out.text[len - 1] == '\n')
		len--;
	*ret = malloc(len + 1);
	if (!*ret)
		return -ENOMEM;
	if (len)
		memcpy(*ret, o->out.text, len);
	(*ret)[len] = '\0';
	*ret_len = len;
	return 0;
}

int expect_save(const json_t *source, const struct outcome *o, char **ret, size_t *ret_len,
		struct lab_err *err)
{
	const json_t *path = json_object_get(source, "json"), *name, *regex;
	const char *value;
	int r;

	name = json_object_get(source, "header");
	regex = json_object_get(source, "match");
	if (regex)
		return save_match(json_string_value(regex), o, ret, ret_len, err);
	if (!path && !name)
		return save_all(o, ret, ret_len, err);
	if (path) {
		r = save_json(json_string_value(path), o, ret, err);
	} else {
		value = header(o, json_string_value(name));
		*ret = value ? strdup(value) : NULL;
		r = value ? 0
			  : lab_fail(err, -ENODATA, "there is no header %s to save",
				     json_string_value(name));
	}
	if (r < 0)
		return r;
	if (!*ret)
		return -ENOMEM;
	*ret_len = strlen(*ret);
	return 0;
}
