// SPDX-License-Identifier: GPL-2.0-or-later
/* vars.c - ${VARIABLES} of a test, and values in JSON documents */
#define _GNU_SOURCE
#include "cli/vars.h"

#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define REGEX_SPECIAL "\\^$.[]|()*+?{}"

bool vars_name_valid(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
		      (i && c >= '0' && c <= '9')))
			return false;
	}
	return len > 0;
}

/**
 * next_use() - The next "${NAME}" of a text
 * @ret_len:	of the name; 0 for the escape "$${"
 *
 * Return: its first dollar, NULL if there is none
 */
static const char *next_use(const char *text, size_t *ret_len)
{
	const char *at = strstr(text, "${");

	if (!at)
		return NULL;
	if (at > text && at[-1] == '$') {
		*ret_len = 0;
		return at - 1;
	}
	*ret_len = strcspn(at + 2, "}");
	return at;
}

/* Where the text goes on behind a use */
static const char *behind(const char *at, size_t len)
{
	if (!len && at[1] == '$')
		return at + 3;
	return at + 2 + len + (at[2 + len] ? 1 : 0);
}

void vars_uses(const char *text, void (*use)(void *arg, const char *name, size_t len), void *arg)
{
	const char *at;
	size_t len;

	for (; (at = next_use(text, &len)); text = behind(at, len))
		if (at[1] != '$')
			use(arg, at + 2, len);
}

static const char *get(const struct vars *v, const char *name, size_t len)
{
	autofree char *key = strndup(name, len);
	const json_t *value = json_object_get(v->values, key ? key : "");

	if (!value)
		value = json_object_get(v->lab, key ? key : "");
	return json_string_value(value);
}

static void put_value(FILE *f, const char *value, enum vars_into into)
{
	for (; *value; value++) {
		if (into == VARS_REGEX && strchr(REGEX_SPECIAL, *value))
			fputc('\\', f);
		fputc(*value, f);
	}
}

static int expand_to(FILE *f, const struct vars *v, const char *text, enum vars_into into,
		     struct lab_err *err)
{
	const char *at, *value;
	size_t len;

	for (; (at = next_use(text, &len)); text = behind(at, len)) {
		fwrite(text, 1, (size_t)(at - text), f);
		if (at[1] == '$') {
			fputs("${", f);
			continue;
		}
		value = get(v, at + 2, len);
		if (!value)
			return lab_fail(
				err, -ENOENT,
				"the variable %.*s has no value: the step that saves it has "
				"not run",
				(int)MIN(len, (size_t)100), at + 2);
		put_value(f, value, into);
	}
	fputs(text, f);
	return 0;
}

int vars_expand(const struct vars *v, const char *text, enum vars_into into, char **ret,
		struct lab_err *err)
{
	autofree char *buf = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&buf, &size);
	int r;

	if (!f)
		return lab_fail_errno(err, -ENOMEM, "variables");
	r = expand_to(f, v, text, into, err);
	if (fclose(f) == EOF && !r)
		r = lab_fail_errno(err, -ENOMEM, "variables");
	if (!r)
		*ret = steal_ptr(buf);
	return r;
}

static int expand_array(const struct vars *v, const json_t *doc, enum vars_into into, json_t *to,
			struct lab_err *err)
{
	const json_t *item;
	size_t i;

	json_array_foreach(doc, i, item) {
		json_t *value = NULL;
		int r = vars_expand_json(v, item, into, &value, err);

		if (r < 0)
			return r;
		json_array_append_new(to, value);
	}
	return 0;
}

static int expand_object(const struct vars *v, const json_t *doc, enum vars_into into, json_t *to,
			 struct lab_err *err)
{
	const char *key;
	json_t *item;

	json_object_foreach((json_t *)doc, key, item) {
		json_t *value = NULL;
		int r = vars_expand_json(v, item, into, &value, err);

		if (r < 0)
			return r;
		json_object_set_new(to, key, value);
	}
	return 0;
}

int vars_expand_json(const struct vars *v, const json_t *doc, enum vars_into into, json_t **ret,
		     struct lab_err *err)
{
	autojson json_t *to = NULL;
	autofree char *text = NULL;
	int r = 0;

	switch (json_typeof(doc)) {
	case JSON_STRING:
		r = vars_expand(v, json_string_value(doc), into, &text, err);
		to = r < 0 ? NULL : json_string(text);
		break;
	case JSON_ARRAY:
		to = json_array();
		r = expand_array(v, doc, into, to, err);
		break;
	case JSON_OBJECT:
		to = json_object();
		r = expand_object(v, doc, into, to, err);
		break;
	case JSON_INTEGER:
	case JSON_REAL:
	case JSON_TRUE:
	case JSON_FALSE:
	case JSON_NULL:
		to = json_copy((json_t *)doc);
		break;
	}
	if (!r && !to)
		r = lab_fail_errno(err, -ENOMEM, "variables");
	if (!r)
		*ret = steal_ptr(to);
	return r;
}

int vars_set(struct vars *v, const char *name, const char *value, size_t len, struct lab_err *err)
{
	if (len > VARS_MAX_VALUE)
		return lab_fail(err, -E2BIG, "%s cannot be saved: it has %zu bytes, at most %u",
				name, len, VARS_MAX_VALUE);
	if (!v->values)
		v->values = json_object();
	if (memchr(value, '\0', len) ||
	    json_object_set_new(v->values, name, json_stringn(value, len)) < 0)
		return lab_fail(err, -EINVAL, "%s cannot be saved: it is not text", name);
	return 0;
}

/* ---- environments ------------------------------------------------------------ */

static bool is_set(const json_t *values, const char *entry)
{
	autofree char *name = strndup(entry, strcspn(entry, "="));

	return json_object_get(values, name ? name : "");
}

static void add_entry(char **env, size_t *n, const char *name, const char *value)
{
	if (asprintf(&env[*n], "%s=%s", name, value) > 0)
		(*n)++;
}

char **vars_environ(const struct vars *v, const char *path_first)
{
	autojson json_t *all = v->lab ? json_copy(v->lab) : json_object();
	const char *path = getenv("PATH");
	autofree char *both = NULL;
	size_t have = 0, n = 0;
	const char *name;
	json_t *value;
	char **env;

	json_object_update(all, v->values);
	if (path_first && asprintf(&both, "%s:%s", path_first, path ? path : "/usr/bin:/bin") > 0)
		json_object_set_new(all, "PATH", json_string(both));
	while (environ[have])
		have++;
	env = calloc(have + json_object_size(all) + 1, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < have; i++)
		if (!is_set(all, environ[i]) && (env[n] = strdup(environ[i])))
			n++;
	json_object_foreach(all, name, value) {
		add_entry(env, &n, name, json_string_value(value));
	}
	env[n] = NULL; /* what asprintf() leaves when it fails is not defined */
	return env;
}

void vars_environ_free(char ***env)
{
	for (char **e = *env; e && *e; e++)
		free(*e);
	free(*env);
}

/* ---- values in documents ------------------------------------------------------ */

/**
 * path_step() - Take the next step of a path
 * @path:	moved behind it
 * @name:	of a key, @len bytes; NULL: it is an index
 *
 * Return: 1, 0 at the end, -EINVAL if it is none
 */
static int path_step(const char **path, bool first, const char **name, size_t *len)
{
	const char *p = *path, *end;
	char digits[16];
	uint64_t v;

	if (!*p)
		return first ? -EINVAL : 0;
	if (*p == '[') {
		end = strchr(p, ']');
		if (!end || (size_t)(end - p) > sizeof(digits))
			return -EINVAL;
		snprintf(digits, sizeof(digits), "%.*s", (int)(end - p - 1), p + 1);
		if (num_u64(digits, INT32_MAX, &v) < 0)
			return -EINVAL;
		*name = NULL;
		*len = (size_t)v;
		*path = end + 1;
		return 1;
	}
	if (!first && *p++ != '.')
		return -EINVAL;
	*name = p;
	*len = strcspn(p, ".[");
	*path = p + *len;
	return *len ? 1 : -EINVAL;
}

bool jsonpath_valid(const char *path)
{
	const char *name;
	size_t len;
	int r = path_step(&path, true, &name, &len);

	while (r > 0)
		r = path_step(&path, false, &name, &len);
	return !r;
}

json_t *jsonpath_get(const json_t *doc, const char *path)
{
	const json_t *at = doc;
	bool first = true;
	const char *name;
	size_t len;
	int r;

	while (at && (r = path_step(&path, first, &name, &len)) != 0) {
		if (r < 0)
			return NULL;
		at = name ? json_object_getn(at, name, len) : json_array_get(at, len);
		first = false;
	}
	return (json_t *)at;
}

char *json_words(const json_t *value)
{
	return json_is_string(value) ? strdup(json_string_value(value))
				     : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}
