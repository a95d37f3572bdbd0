// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * recipe.c - reading recipes
 *
 * DOC: Theory of Operation
 *
 * A recipe is one YAML mapping; recipe.yaml(5) is its manual.
 *
 *	image: NAME		what it makes; the file is NAME.yaml
 *	from: NAME		recipe to start from; or, for a base:
 *	suite: bookworm		Debian suite
 *	variant: minbase	minbase (default); or extract: unpack packages
 *				only, without dpkg or their scripts
 *	packages: [NAME, ...]	installed without recommended ones
 *	exclude: [GLOB, ...]	variant extract: packages to leave out again
 *	files:			written after the packages are installed
 *	  - path: /etc/x
 *	    mode: 0644		default
 *	    owner: root:root	default
 *	    content: |
 *	script: |		run by /bin/sh -eux in the root, no network
 *	using: [NAME, ...]	roots of other recipes, for the script, below
 *				/run/roots/NAME; changes there are dropped
 *	size: 2G		of the disk; default: that of `from`, or 2G
 *	cmdline: ...		more kernel parameters
 *
 * All problems of a text are found in one go, each with line and column. What
 * is wrong in a recipe it builds on is one problem at the `from` or `using`.
 *
 * The result is JSON ("spec") with `from` and `using` replaced by the specs of
 * those recipes, and "lock" put in where one is in force. The digest of a
 * recipe that is locked is that of the same text without a lock: the lock
 * was taken from an image of that digest and gives that image again. If the
 * text has changed since, the lock's contents are part of the digest.
 */
#define _GNU_SOURCE
#include "images/recipe.h"

#include "lib/io.h"
#include "lib/names.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <yaml.h>

#define RECIPE_MAX_TEXT (1 << 20)
#define RECIPE_MAX_DEPTH 8
#define RECIPE_MAX_LIST 4096
#define RECIPE_MAX_PROBLEMS 100
#define RECIPE_DEFAULT_SIZE (2ULL << 30)
#define RECIPE_BUILDER "labbuild 1" /* a change makes every image be built again */

/**
 * struct reader - a recipe being read
 * @paths:	for recipes it builds on
 * @doc:	the parsed text
 * @problems:	[{"line", "column", "message"}]
 * @spec:	being filled
 * @depth:	of `from` and `using`, against cycles
 */
struct reader {
	const struct paths *paths;
	yaml_document_t *doc;
	json_t *problems;
	json_t *spec;
	int depth;
};

static void problem(struct reader *r, const yaml_node_t *node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* In order of place, whatever the order in which they were found */
static void add_problem(json_t *problems, size_t line, size_t column, const char *text)
{
	size_t at = json_array_size(problems);

	if (at == RECIPE_MAX_PROBLEMS)
		return;
	for (; at; at--) {
		const json_t *p = json_array_get(problems, at - 1);
		size_t l = (size_t)json_integer_value(json_object_get(p, "line"));
		size_t c = (size_t)json_integer_value(json_object_get(p, "column"));

		if (l < line || (l == line && c <= column))
			break;
	}
	json_array_insert_new(problems, at,
			      json_pack("{sI sI ss}", "line", (json_int_t)line, "column",
					(json_int_t)column, "message", text));
}

static void problem(struct reader *r, const yaml_node_t *node, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add_problem(r->problems, node->start_mark.line + 1, node->start_mark.column + 1, text);
}

/* The text of a scalar without a NUL in it, or NULL and a problem */
static const char *scalar(struct reader *r, const yaml_node_t *node, const char *what)
{
	const char *s;

	if (node->type != YAML_SCALAR_NODE) {
		problem(r, node, "%s must be a single value", what);
		return NULL;
	}
	s = (const char *)node->data.scalar.value;
	if (strlen(s) != node->data.scalar.length) {
		problem(r, node, "%s has a NUL byte", what);
		return NULL;
	}
	return s;
}

static bool package_valid(const char *s)
{
	/* name, optionally :arch and =version; never an option of apt */
	return strlen(s) >= 2 && strlen(s) <= 200 && s[0] != '-' &&
	       !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			    "+.-:=~")];
}

static bool glob_valid(const char *s)
{
	return *s && strlen(s) <= 200 &&
	       !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+.-*?[]")];
}

static bool word_list(struct reader *r, const yaml_node_t *node, const char *key,
		      bool (*valid)(const char *s), const char *rule)
{
	json_t *list = json_array();

	if (node->type != YAML_SEQUENCE_NODE) {
		problem(r, node, "'%s' must be a list, like [a, b]", key);
		json_decref(list);
		return false;
	}
	for (yaml_node_item_t *i = node->data.sequence.items.start;
	     i < node->data.sequence.items.top; i++) {
		const yaml_node_t *item = yaml_document_get_node(r->doc, *i);
		const char *s = scalar(r, item, "an entry of the list");

		if (s && !valid(s))
			problem(r, item, "'%.100s' is not %s", s, rule);
		else if (s)
			json_array_append_new(list, json_string(s));
		if (json_array_size(list) > RECIPE_MAX_LIST) {
			problem(r, item, "'%s' has more than %d entries", key, RECIPE_MAX_LIST);
			break;
		}
	}
	return !json_object_set_new(r->spec, key, list);
}

static void read_packages(struct reader *r, const yaml_node_t *node)
{
	word_list(r, node, "packages", package_valid, "the name of a package");
}

static void read_exclude(struct reader *r, const yaml_node_t *node)
{
	word_list(r, node, "exclude", glob_valid, "a package name or pattern");
}

static void read_image(struct reader *r, const yaml_node_t *node)
{
	const char *s = scalar(r, node, "'image'");
	bool good = s && name_valid(s);

	if (s && !good)
		problem(r, node, "'%.60s' is not a name: " NAME_RULE, s);
	json_object_set_new(r->spec, "name", json_string(good ? s : ""));
}

static void read_suite(struct reader *r, const yaml_node_t *node)
{
	const char *s = scalar(r, node, "'suite'");

	if (s && !name_valid(s))
		problem(r, node, "'%.60s' is not the name of a Debian suite", s);
	else if (s)
		json_object_set_new(r->spec, "suite", json_string(s));
}

static void read_variant(struct reader *r, const yaml_node_t *node)
{
	const char *s = scalar(r, node, "'variant'");

	if (s && strcmp(s, "minbase") && strcmp(s, "extract"))
		problem(r, node, "'%.60s' is not a variant: minbase or extract", s);
	else if (s)
		json_object_set_new(r->spec, "variant", json_string(s));
}

static void read_script(struct reader *r, const yaml_node_t *node)
{
	const char *s = scalar(r, node, "'script'");

	if (s)
		json_object_set_new(r->spec, "script", json_string(s));
}

static void read_cmdline(struct reader *r, const yaml_node_t *node)
{
	const char *s = scalar(r, node, "'cmdline'");

	if (s && (strlen(s) > 512 || strpbrk(s, "\n\r")))
		problem(r, node, "'cmdline' must be one line of at most 512 characters");
	else if (s)
		json_object_set_new(r->spec, "cmdline", json_string(s));
}

static void read_size(struct reader *r, const yaml_node_t *node)
{
	const char *s = scalar(r, node, "'size'");
	uint64_t size;

	if (!s)
		return;
	if (num_size(s, &size) < 0)
		problem(r, node, "'%.60s' is not a size, like 2G or 512M", s);
	else if (size < (32ULL << 20) || size > IMAGE_MAX_SIZE)
		problem(r, node, "the size %.60s is outside of 32M to 2T", s);
	else
		json_object_set_new(r->spec, "size", json_integer((json_int_t)(size & ~4095ULL)));
}

static void read_mode(struct reader *r, const yaml_node_t *node, json_t *file)
{
	const char *s = scalar(r, node, "'mode'");
	unsigned int mode = 0;

	if (!s)
		return;
	if (!*s || strlen(s) > 5 || s[strspn(s, "01234567")]) {
		problem(r, node, "'%.20s' is not a mode in octal, like 0644", s);
		return;
	}
	for (; *s; s++)
		mode = mode * 8 + (unsigned int)(*s - '0');
	if (mode > 07777)
		problem(r, node, "a mode is at most 7777");
	else
		json_object_set_new(file, "mode", json_integer(mode));
}

static void read_path(struct reader *r, const yaml_node_t *node, json_t *file)
{
	const char *s = scalar(r, node, "'path'");
	bool bad = !s || *s != '/' || !s[1] || strlen(s) > 1024 || s[strlen(s) - 1] == '/' ||
		   strstr(s, "//") || strstr(s, "/../") || strchr(s, '\n');

	if (s && bad)
		problem(r, node, "'%.100s' is not the absolute path of a file", s);
	json_object_set_new(file, "path", json_string(bad ? "" : s));
}

static void read_file_key(struct reader *r, json_t *file, const yaml_node_t *key,
			  const yaml_node_t *value)
{
	static const char *const known[] = { "path", "mode", "owner", "content", NULL };
	const char *k = scalar(r, key, "a key"), *s, *near;

	if (!k)
		return;
	if (!strcmp(k, "path")) {
		read_path(r, value, file);
	} else if (!strcmp(k, "mode")) {
		read_mode(r, value, file);
	} else if (!strcmp(k, "content")) {
		s = scalar(r, value, "'content'");
		if (s)
			json_object_set_new(file, "content", json_string(s));
	} else if (!strcmp(k, "owner")) {
		s = scalar(r, value, "'owner'");
		if (s && (!*s || strlen(s) > 63 || strpbrk(s, " \n/")))
			problem(r, value, "'%.60s' is not USER or USER:GROUP", s);
		else if (s)
			json_object_set_new(file, "owner", json_string(s));
	} else {
		near = name_nearest(k, known);
		problem(r, key, "unknown key '%.60s' of a file%s%s%s", k,
			near ? "; did you mean '" : "; known are path, mode, owner, content",
			near ? near : "", near ? "'?" : "");
	}
}

static void read_file(struct reader *r, const yaml_node_t *node, json_t *list)
{
	autojson json_t *file = json_pack("{si ss ss}", "mode", 0644, "owner", "root:root",
					  "content", "");

	if (node->type != YAML_MAPPING_NODE) {
		problem(r, node, "a file is a mapping with path, mode, owner, content");
		return;
	}
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
	     p++)
		read_file_key(r, file, yaml_document_get_node(r->doc, p->key),
			      yaml_document_get_node(r->doc, p->value));
	if (!json_object_get(file, "path"))
		problem(r, node, "a file needs a 'path'");
	json_array_append(list, file);
}

static void read_files(struct reader *r, const yaml_node_t *node)
{
	json_t *list = json_array();

	if (node->type != YAML_SEQUENCE_NODE) {
		problem(r, node, "'files' must be a list of mappings with path and content");
		json_decref(list);
		return;
	}
	for (yaml_node_item_t *i = node->data.sequence.items.start;
	     i < node->data.sequence.items.top && json_array_size(list) < RECIPE_MAX_LIST; i++)
		read_file(r, yaml_document_get_node(r->doc, *i), list);
	json_object_set_new(r->spec, "files", list);
}

static int load(const struct paths *paths, const char *text, size_t len, const char *name,
		int depth, json_t *problems, json_t **ret, struct lab_err *err);

/* A recipe this one builds on: its spec, or NULL and a problem at @node */
static json_t *load_other(struct reader *r, const yaml_node_t *node, const char *key)
{
	struct lab_err err = LAB_ERR_INIT;
	const char *s = scalar(r, node, key);
	json_t *spec = NULL;

	if (!s)
		return NULL;
	if (!name_valid(s)) {
		problem(r, node, "'%.60s' is not a name: " NAME_RULE, s);
		return NULL;
	}
	if (r->depth >= RECIPE_MAX_DEPTH) {
		problem(r, node, "recipes build on each other in a circle, or more than %d deep",
			RECIPE_MAX_DEPTH);
		return NULL;
	}
	if (load(r->paths, NULL, 0, s, r->depth + 1, NULL, &spec, &err) < 0)
		problem(r, node, "%s", err.text);
	return spec;
}

static void read_from(struct reader *r, const yaml_node_t *node)
{
	json_t *spec = load_other(r, node, "'from'");

	if (spec)
		json_object_set_new(r->spec, "from", spec);
}

static void read_using(struct reader *r, const yaml_node_t *node)
{
	json_t *list = json_array();

	if (node->type != YAML_SEQUENCE_NODE) {
		problem(r, node, "'using' must be a list of recipes, like [identity]");
		json_decref(list);
		return;
	}
	for (yaml_node_item_t *i = node->data.sequence.items.start;
	     i < node->data.sequence.items.top && json_array_size(list) < 16; i++) {
		json_t *spec = load_other(r, yaml_document_get_node(r->doc, *i), "'using'");

		if (spec)
			json_array_append_new(list, spec);
	}
	json_object_set_new(r->spec, "using", list);
}

static const struct {
	const char *name;
	void (*read)(struct reader *r, const yaml_node_t *node);
} keys[] = {
	{ "image", read_image },     { "from", read_from },	    { "suite", read_suite },
	{ "variant", read_variant }, { "packages", read_packages }, { "exclude", read_exclude },
	{ "files", read_files },     { "script", read_script },	    { "using", read_using },
	{ "size", read_size },	     { "cmdline", read_cmdline },
};

static void unknown_key(struct reader *r, const yaml_node_t *node, const char *key)
{
	const char *known[ARRAY_SIZE(keys) + 1] = { NULL }, *near;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		known[i] = keys[i].name;
	near = name_nearest(key, known);
	if (near)
		problem(r, node, "unknown key '%.60s'; did you mean '%s'?", key, near);
	else
		problem(r, node,
			"unknown key '%.60s'; known are image, from, suite, variant, packages, "
			"exclude, files, script, using, size, cmdline",
			key);
}

static void read_mapping(struct reader *r, const yaml_node_t *root)
{
	unsigned int seen = 0;

	for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
	     p++) {
		const yaml_node_t *key = yaml_document_get_node(r->doc, p->key);
		const yaml_node_t *value = yaml_document_get_node(r->doc, p->value);
		const char *k = scalar(r, key, "a key");
		size_t i = 0;

		if (!k)
			continue;
		while (i < ARRAY_SIZE(keys) && strcmp(keys[i].name, k))
			i++;
		if (i == ARRAY_SIZE(keys)) {
			unknown_key(r, key, k);
			continue;
		}
		if (seen & 1U << i)
			problem(r, key, "'%s' is there twice", k);
		seen |= 1U << i;
		keys[i].read(r, value);
	}
}

/* What depends on several keys, and what is not given */
static void complete(struct reader *r, const yaml_node_t *root)
{
	json_t *from = json_object_get(r->spec, "from");
	bool is_extract = !strcmp(recipe_str(r->spec, "variant"), "extract");

	if (!json_object_get(r->spec, "name"))
		problem(r, root, "a recipe needs 'image: NAME'");
	if (from && json_object_get(r->spec, "suite"))
		problem(r, root, "'suite' is that of 'from'; leave one of the two out");
	if (from && json_object_get(r->spec, "variant"))
		problem(r, root, "'variant' is that of 'from'; leave one of the two out");
	if (from && !strcmp(recipe_str(from, "variant"), "extract") &&
	    json_array_size(json_object_get(r->spec, "packages")))
		problem(r, root,
			"recipe '%s' has no dpkg (variant extract): no packages can be "
			"added to it",
			recipe_str(from, "name"));
	if (!is_extract && json_object_get(r->spec, "exclude"))
		problem(r, root, "'exclude' is only for 'variant: extract'");
	if (from) {
		json_object_set(r->spec, "suite", json_object_get(from, "suite"));
		json_object_set(r->spec, "variant", json_object_get(from, "variant"));
		if (!json_object_get(r->spec, "cmdline"))
			json_object_set(r->spec, "cmdline", json_object_get(from, "cmdline"));
		if (!json_object_get(r->spec, "size"))
			json_object_set(r->spec, "size", json_object_get(from, "size"));
	}
	if (!json_object_get(r->spec, "suite"))
		json_object_set_new(r->spec, "suite", json_string("bookworm"));
	if (!json_object_get(r->spec, "variant"))
		json_object_set_new(r->spec, "variant", json_string("minbase"));
	if (!json_object_get(r->spec, "size"))
		json_object_set_new(r->spec, "size", json_integer(RECIPE_DEFAULT_SIZE));
}

static int read_text(struct reader *r, const char *text, size_t len)
{
	yaml_parser_t parser;
	yaml_document_t doc;
	yaml_node_t *root;
	int ret = 0;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (!yaml_parser_load(&parser, &doc)) {
		char words[256];

		if (parser.error == YAML_MEMORY_ERROR)
			ret = -ENOMEM;
		snprintf(words, sizeof(words), "not YAML: %s%s%s",
			 parser.context ? parser.context : "", parser.context ? ", " : "",
			 parser.problem ? parser.problem : "unreadable");
		add_problem(r->problems, parser.problem_mark.line + 1,
			    parser.problem_mark.column + 1, words);
		yaml_parser_delete(&parser);
		return ret;
	}
	r->doc = &doc;
	root = yaml_document_get_root_node(&doc);
	if (!root || root->type != YAML_MAPPING_NODE) {
		add_problem(r->problems, 1, 1, "a recipe is a YAML mapping: image: NAME, ...");
	} else {
		read_mapping(r, root);
		complete(r, root);
	}
	r->doc = NULL;
	yaml_document_delete(&doc);
	yaml_parser_delete(&parser);
	return 0;
}

static int set_digest(const struct paths *paths, json_t *spec, const char *text, size_t len,
		      struct lab_err *err)
{
	autojson json_t *lock = NULL;
	char hex[DIGEST_HEX], all[DIGEST_HEX];
	autofree char *buf = NULL;
	size_t n = 0, i;
	json_t *other;
	FILE *out = open_memstream(&buf, &n);
	int r;

	if (!out)
		return lab_fail(err, -ENOMEM, "out of memory");
	fprintf(out, "%s\n%s\n", RECIPE_BUILDER, digest_hex(hex, text, len));
	fprintf(out, "from %s\n", recipe_str(json_object_get(spec, "from"), "digest"));
	json_array_foreach(json_object_get(spec, "using"), i, other)
		fprintf(out, "using %s\n", recipe_str(other, "digest"));
	fflush(out);
	digest_hex(all, buf, n);
	r = recipe_read_lock(paths, recipe_str(spec, "name"), &lock, err);
	if (!r && lock && strcmp(recipe_str(lock, "recipe"), all)) {
		fprintf(out, "lock %s\n", recipe_str(lock, "digest"));
		fflush(out);
		digest_hex(all, buf, n);
	}
	fclose(out);
	if (r < 0)
		return r;
	if (json_object_set_new(spec, "digest", json_string(all)) ||
	    (lock && json_object_set(spec, "lock", lock)))
		return lab_fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* The first problem as words, for those who want no list */
static int refuse(const json_t *problems, const char *file, struct lab_err *err)
{
	const json_t *p = json_array_get(problems, 0);
	size_t more = json_array_size(problems) - 1;
	char tail[48] = "";

	if (more)
		snprintf(tail, sizeof(tail), " (and %zu more)", more);
	return lab_fail(err, -EINVAL, "%s:%d:%d: %s%s", file,
			(int)json_integer_value(json_object_get(p, "line")),
			(int)json_integer_value(json_object_get(p, "column")),
			recipe_str(p, "message"), tail);
}

static int no_such_recipe(const struct paths *paths, const char *name, struct lab_err *err)
{
	autojson json_t *names = NULL;
	const char *known[256] = { NULL }, *near;
	autofree char *text = NULL;
	size_t i, len = 0;
	json_t *n;
	FILE *out;

	if (recipe_names(paths, &names, NULL) < 0)
		return lab_fail(err, -ENOENT, "there is no recipe '%s'", name);
	out = open_memstream(&text, &len);
	if (!out)
		return lab_fail(err, -ENOMEM, "out of memory");
	json_array_foreach(names, i, n) {
		if (i < ARRAY_SIZE(known) - 1)
			known[i] = json_string_value(n);
		fprintf(out, "%s%s", i ? ", " : "", json_string_value(n));
	}
	fclose(out);
	near = name_nearest(name, known);
	if (near)
		return lab_fail(err, -ENOENT, "there is no recipe '%s'; did you mean '%s'?", name,
				near);
	return lab_fail(err, -ENOENT, "there is no recipe '%s'; there are %s", name, text);
}

/* @text NULL: read the shipped recipe @name. @problems NULL: not wanted */
static int load(const struct paths *paths, const char *text, size_t len, const char *name,
		int depth, json_t *problems, json_t **ret, struct lab_err *err)
{
	autojson json_t *own = problems ? json_incref(problems) : json_array();
	autojson json_t *spec = json_object();
	struct reader rd = { .paths = paths, .problems = own, .spec = spec, .depth = depth };
	autofree char *buf = NULL;
	char path[IO_PATH];
	const char *file = name;
	int r;

	if (!text) {
		if (!name_valid(name))
			return lab_fail(err, -EINVAL, "'%.60s' is not a name: " NAME_RULE, name);
		file = io_path(path, "%s/images/%s.yaml", paths->data, name);
		r = io_read_file(AT_FDCWD, path, RECIPE_MAX_TEXT, &buf, &len);
		if (r == -ENOENT)
			return no_such_recipe(paths, name, err);
		if (r < 0)
			return lab_fail_errno(err, r, "%s", path);
		text = buf;
	}
	if (len > RECIPE_MAX_TEXT)
		return lab_fail(err, -EFBIG, "%s: a recipe has at most 1 MiB", file);
	r = read_text(&rd, text, len);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", file);
	if (json_array_size(own))
		return refuse(own, file, err);
	r = set_digest(paths, spec, text, len, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(spec);
	return 0;
}

int recipe_load(const struct paths *paths, const char *text, const char *file, const char *name,
		struct recipe **ret, json_t **ret_problems, struct lab_err *err)
{
	autojson json_t *problems = json_array();
	autojson json_t *spec = NULL;
	struct recipe *recipe;
	int r;

	r = load(paths, text, text ? strlen(text) : 0, text ? (file ? file : "recipe") : name, 0,
		 problems, &spec, err);
	if (ret_problems)
		*ret_problems = json_incref(problems);
	if (r < 0)
		return r;
	recipe = calloc(1, sizeof(*recipe));
	if (!recipe)
		return lab_fail(err, -ENOMEM, "out of memory");
	snprintf(recipe->name, sizeof(recipe->name), "%s", recipe_str(spec, "name"));
	snprintf(recipe->digest, sizeof(recipe->digest), "%s", recipe_str(spec, "digest"));
	snprintf(recipe->from, sizeof(recipe->from), "%s",
		 recipe_str(json_object_get(spec, "from"), "name"));
	recipe->size = (uint64_t)json_integer_value(json_object_get(spec, "size"));
	recipe->locked = json_object_get(spec, "lock");
	recipe->spec = steal_ptr(spec);
	*ret = recipe;
	return 0;
}

struct recipe *recipe_free(struct recipe *recipe)
{
	if (recipe)
		json_decref(recipe->spec);
	free(recipe);
	return NULL;
}

static int is_recipe(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 5 && !strcmp(d->d_name + n - 5, ".yaml") && d->d_name[0] != '.';
}

int recipe_names(const struct paths *paths, json_t **ret, struct lab_err *err)
{
	autojson json_t *names = json_array();
	struct dirent **entries = NULL;
	char path[IO_PATH];
	int n = scandir(io_path(path, "%s/images", paths->data), &entries, is_recipe, alphasort);

	if (n < 0)
		return lab_fail_errno(err, -errno, "recipes in %s", path);
	for (int i = 0; i < n; i++) {
		json_array_append_new(names, json_stringn(entries[i]->d_name,
							  strlen(entries[i]->d_name) - 5));
		free(entries[i]);
	}
	free(entries);
	*ret = steal_ptr(names);
	return 0;
}
