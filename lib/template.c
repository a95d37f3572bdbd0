// SPDX-License-Identifier: GPL-2.0-or-later
/* template.c - text filled from JSON */
#define _GNU_SOURCE
#include "lib/template.h"

#include "lib/util.h"

#include <string.h>

#define MAX_DEPTH 16 /* of sections */
#define MAX_TAG 120

/**
 * struct filling - a template while it is filled
 * @scopes:	where names are looked for, the innermost last
 * @depth:	how many there are
 */
struct filling {
	const char *text, *name;
	const json_t *scopes[MAX_DEPTH + 1];
	size_t depth;
	FILE *out;
	struct lab_err *err;
};

/**
 * struct tag - {{...}}
 * @kind:	'#', '^', '/', '!' or 0 for a value
 * @begin, @end: of what it takes the place of
 */
struct tag {
	char kind, name[MAX_TAG];
	const char *begin, *end;
};

static int wrong(const struct filling *f, const char *at, const char *what, const char *name)
{
	size_t line = 1;

	for (const char *p = f->text; p < at; p++)
		line += *p == '\n';
	return lab_fail(f->err, -EINVAL, "%s:%zu: %s%s", f->name, line, what, name);
}

/* The member a.b.c of an object; NULL if there is none */
static const json_t *member(const json_t *object, const char *path)
{
	while (object && *path) {
		size_t n = strcspn(path, ".");

		object = json_object_getn(object, path, n);
		path += n + (path[n] == '.');
	}
	return object;
}

static const json_t *look_up(const struct filling *f, const char *path)
{
	const json_t *v;

	if (!strcmp(path, "."))
		return f->scopes[f->depth];
	for (size_t i = f->depth + 1; i-- > 0;)
		if ((v = member(f->scopes[i], path)))
			return v;
	return NULL;
}

/* Blanks only, between the tag and an end of its line */
static bool alone(const struct filling *f, const struct tag *t)
{
	const char *p = t->begin, *q = t->end;

	while (p > f->text && (p[-1] == ' ' || p[-1] == '\t'))
		p--;
	while (*q == ' ' || *q == '\t')
		q++;
	return (p == f->text || p[-1] == '\n') && (!*q || *q == '\n');
}

static void take_line(const struct filling *f, struct tag *t)
{
	while (t->begin > f->text && t->begin[-1] != '\n')
		t->begin--;
	t->end += strcspn(t->end, "\n");
	t->end += *t->end == '\n';
}

/* The next tag from @p on: 1, 0 if there is none, or an error */
static int next_tag(const struct filling *f, const char *p, struct tag *t)
{
	const char *close;
	size_t n;

	t->begin = strstr(p, "{{");
	if (!t->begin)
		return 0;
	close = strstr(t->begin, "}}");
	if (!close)
		return wrong(f, t->begin, "this {{ is never closed", "");
	t->end = close + 2;
	p = t->begin + 2;
	t->kind = strchr("#^/!", *p) ? *p++ : '\0';
	p += strspn(p, " \t");
	n = (size_t)(close - p);
	while (n && strchr(" \t", p[n - 1]))
		n--;
	if (t->kind != '!' && (!n || n >= MAX_TAG || strcspn(p, " \t\n{") < n))
		return wrong(f, t->begin, "expected a name between {{ and }}", "");
	snprintf(t->name, sizeof(t->name), "%.*s", (int)(t->kind == '!' ? 0 : n), p);
	if (t->kind && alone(f, t))
		take_line(f, t);
	return 1;
}

static int put_value(const struct filling *f, const struct tag *t)
{
	const json_t *v = look_up(f, t->name);
	autofree char *text = NULL;

	if (json_is_string(v))
		return fputs(json_string_value(v), f->out) < 0 ? -ENOMEM : 0;
	if (!json_is_number(v) && !json_is_boolean(v))
		return wrong(f, t->begin, v ? "this is no single value: " : "there is no ",
			     t->name);
	text = json_dumps(v, JSON_ENCODE_ANY);
	return !text || fputs(text, f->out) < 0 ? -ENOMEM : 0;
}

static bool is_true(const json_t *v)
{
	if (json_is_array(v))
		return json_array_size(v);
	if (json_is_string(v))
		return *json_string_value(v);
	if (json_is_number(v))
		return json_number_value(v) != 0;
	return v && !json_is_false(v) && !json_is_null(v);
}

static int fill(struct filling *f, const char *p, const char *section, bool silent,
		const char **ret);

/* What is between a section's tags, with @scope inside of the others */
static int fill_with(struct filling *f, const struct tag *t, const json_t *scope, bool silent,
		     const char **ret)
{
	int r;

	if (f->depth == MAX_DEPTH)
		return wrong(f, t->begin, "too many sections in each other: ", t->name);
	f->scopes[++f->depth] = scope;
	r = fill(f, t->end, t->name, silent, ret);
	f->depth--;
	return r;
}

static int fill_section(struct filling *f, const struct tag *t, bool silent, const char **ret)
{
	const json_t *v = silent ? NULL : look_up(f, t->name), *each;
	bool show = !silent && is_true(v) == (t->kind == '#');
	size_t i;
	int r = 0;

	if (!show || !json_is_array(v) || t->kind == '^')
		/* an object's members are names inside; another value leaves them as they are */
		return fill_with(f, t, show && v ? v : f->scopes[f->depth], !show, ret);
	json_array_foreach(v, i, each)
		if (!r)
			r = fill_with(f, t, each, false, ret);
	return r;
}

/* Up to the end of @section, or of the text for NULL; *ret: after that */
static int fill(struct filling *f, const char *p, const char *section, bool silent,
		const char **ret)
{
	const char *begin = p;
	struct tag t;
	int r;

	while ((r = next_tag(f, p, &t)) > 0) {
		if (!silent)
			fwrite(p, 1, (size_t)(t.begin - p), f->out);
		p = t.end;
		if (t.kind == '/') {
			*ret = p;
			if (section && !strcmp(section, t.name))
				return 0;
			return wrong(f, t.begin, "this is not the end of a section: ", t.name);
		}
		if (!t.kind && !silent)
			r = put_value(f, &t);
		else if (t.kind == '#' || t.kind == '^')
			r = fill_section(f, &t, silent, &p);
		if (r < 0)
			return r;
	}
	if (!r && section)
		return wrong(f, begin - 1, "this section has no end: ", section);
	if (!r)
		fputs(p, f->out);
	return r;
}

int template_render(const char *text, const char *name, const json_t *context, char **ret,
		    struct lab_err *err)
{
	struct filling f = { .text = text, .name = name, .scopes = { context }, .err = err };
	autofree char *buf = NULL;
	const char *end;
	size_t len;
	int r;

	f.out = open_memstream(&buf, &len);
	if (!f.out)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = fill(&f, text, NULL, false, &end);
	if (fclose(f.out) && !r)
		r = lab_fail(err, -ENOMEM, "out of memory");
	if (!r)
		*ret = steal_ptr(buf);
	return r;
}
