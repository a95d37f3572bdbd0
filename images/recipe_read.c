// SPDX-License-Identifier: GPL-2.0-or-later
/* recipe_read.c - the keys of a recipe; what they mean is in recipe.c and recipe.yaml(5) */
#define _GNU_SOURCE
#include "images/compose.h"
#include "images/recipe.h"

#include "lib/names.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define RECIPE_MAX_DEPTH 8
#define RECIPE_MAX_USING 16
#define RECIPE_MAX_CMDLINE 512
#define RECIPE_MIN_SIZE (32ULL << 20)
#define RECIPE_DEFAULT_SIZE (2ULL << 30)

/**
 * struct reader - a recipe being read
 * @paths:	for recipes it builds on
 * @doc:	the parsed text
 * @spec:	being filled
 * @depth:	of `from` and `using`, against cycles
 */
struct reader {
	const struct paths *paths;
	struct ydoc *doc;
	json_t *spec;
	int depth;
};

/* In place of what should be a list and is not */
static const struct ynode no_list = { .type = YNODE_LIST };

static void set(json_t *o, const char *key, json_t *value)
{
	/* out of memory shows when the spec is used: the key is missing */
	(void)json_object_set_new(o, key, value);
}

/* Any text, lines and all */
static bool read_block(struct reader *r, const struct ynode *n, const char *what, const char **ret)
{
	char show[YNODE_SHOW];

	if (n->type == YNODE_SCALAR) {
		*ret = n->text;
		return true;
	}
	ydoc_problem(r->doc, n, "expected %s, found %s", what, ynode_show(show, n));
	return false;
}

static bool only(const char *s, const char *characters, size_t max)
{
	return *s && strlen(s) <= max && !s[strspn(s, characters)];
}

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* name, :arch and =version if wanted; never an option of apt, nor "package-" to remove it */
static bool package_valid(const char *s)
{
	size_t n = strlen(s);

	return n >= 2 && only(s, ALNUM "+.-:=~", 200) && strchr(ALNUM, s[0]) &&
	       (strchr(s, '=') || !strchr("-+", s[n - 1]) || !strcmp(s + n - 2, "++"));
}

static bool pattern_valid(const char *s)
{
	return only(s, ALNUM "+.-*?[]", 200);
}

static void read_words(struct reader *r, const struct ynode *n, const char *key, const char *what,
		       bool (*valid)(const char *s))
{
	json_t *list = json_array();
	char show[YNODE_SHOW];

	if (!ydoc_list(r->doc, n, key))
		n = &no_list;
	for (const struct ynode *v = n->child; v; v = v->next) {
		if (v->type == YNODE_SCALAR && valid(v->text))
			json_array_append_new(list, json_string(v->text));
		else
			ydoc_problem(r->doc, v, "expected %s, found %s", what, ynode_show(show, v));
	}
	set(r->spec, key, list);
}

static void read_packages(struct reader *r, const struct ynode *n)
{
	read_words(r, n, "packages", "the name of a package", package_valid);
}

static void read_exclude(struct reader *r, const struct ynode *n)
{
	read_words(r, n, "exclude", "the name of a package or a pattern", pattern_valid);
}

static void read_image(struct reader *r, const struct ynode *n)
{
	const char *s;

	if (ydoc_name(r->doc, n, "the image's name", &s))
		set(r->spec, "name", json_string(s));
}

static void read_suite(struct reader *r, const struct ynode *n)
{
	const char *s;

	if (ydoc_name(r->doc, n, "a Debian suite such as bookworm", &s))
		set(r->spec, "suite", json_string(s));
}

static void read_variant(struct reader *r, const struct ynode *n)
{
	char show[YNODE_SHOW];

	if (n->type == YNODE_SCALAR && (!strcmp(n->text, "minbase") || !strcmp(n->text, "extract")))
		set(r->spec, "variant", json_string(n->text));
	else
		ydoc_problem(r->doc, n, "expected minbase or extract, found %s",
			     ynode_show(show, n));
}

static void read_script(struct reader *r, const struct ynode *n)
{
	const char *s;

	if (read_block(r, n, "commands for /bin/sh", &s))
		set(r->spec, "script", json_string(s));
}

static void read_cmdline(struct reader *r, const struct ynode *n)
{
	const char *s;

	if (!ydoc_text(r->doc, n, "parameters of the kernel", &s))
		return;
	if (strlen(s) > RECIPE_MAX_CMDLINE || strchr(s, '\n'))
		ydoc_problem(r->doc, n, "expected one line of at most %d characters",
			     RECIPE_MAX_CMDLINE);
	else
		set(r->spec, "cmdline", json_string(s));
}

static void read_size(struct reader *r, const struct ynode *n)
{
	uint64_t size;

	if (ydoc_size(r->doc, n, RECIPE_MIN_SIZE, IMAGE_MAX_SIZE, 4096, &size))
		set(r->spec, "size", json_integer((json_int_t)size));
}

static void read_mode(struct reader *r, const struct ynode *n, json_t *file)
{
	char show[YNODE_SHOW];
	json_int_t mode = 0;

	if (n->type != YNODE_SCALAR || !only(n->text, "01234567", 5)) {
		ydoc_problem(r->doc, n, "expected permissions in octal such as 0644, found %s",
			     ynode_show(show, n));
		return;
	}
	for (const char *p = n->text; *p; p++)
		mode = mode * 8 + (*p - '0');
	if (mode > 07777)
		ydoc_problem(r->doc, n, "expected permissions of at most 7777, found %s",
			     ynode_show(show, n));
	else
		set(file, "mode", json_integer(mode));
}

static bool path_valid(const char *s)
{
	size_t n = strlen(s);

	return *s == '/' && n > 1 && n <= 1024 && s[n - 1] != '/' && !strstr(s, "//") &&
	       !strstr(s, "/../") && !strstr(s, "/./") && strcmp(s + n - 2, "/.") &&
	       (n < 3 || strcmp(s + n - 3, "/..") != 0);
}

/* A path inside the image, as @key of @o */
static void read_path(struct reader *r, const struct ynode *n, json_t *o, const char *key)
{
	char show[YNODE_SHOW];
	const char *s;

	if (!ydoc_text(r->doc, n, "the absolute path of a file", &s))
		return;
	if (!path_valid(s) || strchr(s, '\n'))
		ydoc_problem(r->doc, n, "expected the absolute path of a file, found %s",
			     ynode_show(show, n));
	else
		set(o, key, json_string(s));
}

static void read_disk(struct reader *r, const struct ynode *n)
{
	read_path(r, n, r->spec, "disk");
}

static void read_owner(struct reader *r, const struct ynode *n, json_t *file)
{
	char show[YNODE_SHOW];

	if (n->type == YNODE_SCALAR && only(n->text, ALNUM "_.-:", 63))
		set(file, "owner", json_string(n->text));
	else
		ydoc_problem(r->doc, n, "expected USER or USER:GROUP, found %s",
			     ynode_show(show, n));
}

static void read_file(struct reader *r, const struct ynode *n, json_t *list)
{
	static const char *const known[] = { "path", "mode", "owner", "content", NULL };
	autojson json_t *file = json_pack("{si ss ss}", "mode", 0644, "owner", "root:root",
					  "content", "");
	const struct ynode *v;
	const char *s;

	if (!ydoc_map(r->doc, n, known))
		return;
	v = ynode_get(n, "path");
	if (v)
		read_path(r, v, file, "path");
	else
		ydoc_problem(r->doc, n, "a file needs a path");
	v = ynode_get(n, "mode");
	if (v)
		read_mode(r, v, file);
	v = ynode_get(n, "owner");
	if (v)
		read_owner(r, v, file);
	v = ynode_get(n, "content");
	if (v && read_block(r, v, "the text of the file", &s))
		set(file, "content", json_string(s));
	json_array_append(list, file);
}

static void read_files(struct reader *r, const struct ynode *n)
{
	json_t *list = json_array();

	if (!ydoc_list(r->doc, n, "files"))
		n = &no_list;
	for (const struct ynode *v = n->child; v; v = v->next)
		read_file(r, v, list);
	set(r->spec, "files", list);
}

/* A recipe this one builds on: its spec, or NULL and a problem at @n */
static json_t *load_other(struct reader *r, const struct ynode *n)
{
	struct lab_err err = LAB_ERR_INIT;
	json_t *spec = NULL;
	const char *name;

	if (!ydoc_name(r->doc, n, "the name of a recipe", &name))
		return NULL;
	if (r->depth >= RECIPE_MAX_DEPTH)
		ydoc_problem(r->doc, n,
			     "recipes build on each other in a circle, or more than %d deep",
			     RECIPE_MAX_DEPTH);
	else if (recipe_load_spec(r->paths, NULL, name, r->depth + 1, &spec, NULL, &err) < 0)
		ydoc_problem(r->doc, n, "%s", err.text);
	return spec;
}

static void read_from(struct reader *r, const struct ynode *n)
{
	json_t *spec = load_other(r, n);

	if (spec)
		set(r->spec, "from", spec);
}

static void read_using(struct reader *r, const struct ynode *n)
{
	json_t *list = json_array();

	if (!ydoc_list(r->doc, n, "recipes"))
		n = &no_list;
	if (n->count > RECIPE_MAX_USING)
		ydoc_problem(r->doc, n, "expected at most %d recipes, found %zu", RECIPE_MAX_USING,
			     n->count);
	for (const struct ynode *v = n->child; v && n->count <= RECIPE_MAX_USING; v = v->next) {
		json_t *spec = load_other(r, v);

		if (spec)
			json_array_append_new(list, spec);
	}
	set(r->spec, "using", list);
}

static void add_service_name(struct reader *r, const struct ynode *n, json_t *list)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		if (!strcmp(json_string_value(v), n->text)) {
			ydoc_problem(r->doc, n, "service '%s' is given twice", n->text);
			return;
		}
	json_array_append_new(list, json_string(n->text));
}

/* What they bring is added when all else is read */
static void read_services(struct reader *r, const struct ynode *n)
{
	json_t *list = json_array();
	const char *name;

	if (!ydoc_list(r->doc, n, "services"))
		n = &no_list;
	for (const struct ynode *v = n->child; v; v = v->next)
		if (ydoc_name(r->doc, v, "a service's name", &name))
			add_service_name(r, v, list);
	set(r->spec, "services", list);
}

static const struct {
	const char *name;
	void (*read)(struct reader *r, const struct ynode *n);
} keys[] = {
	{ "image", read_image },     { "from", read_from },	    { "suite", read_suite },
	{ "variant", read_variant }, { "packages", read_packages }, { "exclude", read_exclude },
	{ "files", read_files },     { "script", read_script },	    { "using", read_using },
	{ "size", read_size },	     { "cmdline", read_cmdline },   { "services", read_services },
	{ "disk", read_disk },
};

static void read_keys(struct reader *r, const struct ynode *root)
{
	const char *known[ARRAY_SIZE(keys) + 1] = { NULL };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		known[i] = keys[i].name;
	ydoc_map(r->doc, root, known);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct ynode *n = ynode_get(root, keys[i].name);

		if (n && !ynode_null(n))
			keys[i].read(r, n);
	}
	if (ynode_null(ynode_get(root, "image")))
		ydoc_problem(r->doc, root, "a recipe needs a name: image: NAME");
}

/* What the recipe it starts from decides is not said again */
static void check_from(struct reader *r, const struct ynode *root, const json_t *from)
{
	static const char *const theirs[] = { "suite", "variant" };

	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
		if (json_object_get(r->spec, theirs[i]))
			ydoc_problem(r->doc, ynode_name(ynode_get(root, theirs[i])),
				     "'%s' is that of recipe %s: leave it out", theirs[i],
				     recipe_str(from, "name"));
	if (!strcmp(recipe_str(from, "variant"), "extract") &&
	    json_array_size(json_object_get(r->spec, "packages")))
		ydoc_problem(r->doc, ynode_name(ynode_get(root, "packages")),
			     "recipe %s has no dpkg (variant: extract): no packages can be added",
			     recipe_str(from, "name"));
}

static void inherit(json_t *spec, const json_t *from, const char *key, json_t *otherwise)
{
	json_t *theirs = json_object_get(from, key);

	if (!json_object_get(spec, key) && (theirs || otherwise))
		json_object_set(spec, key, theirs ? theirs : otherwise);
	json_decref(otherwise);
}

static void add_services(struct reader *r, const struct ynode *at)
{
	struct lab_err err = LAB_ERR_INIT;

	if (!ydoc_problems(r->doc) &&
	    compose(r->paths, json_object_get(r->spec, "services"), r->spec, &err) < 0)
		ydoc_problem(r->doc, at, "%s", err.text);
}

/* What depends on several keys, and what is not given */
static void complete(struct reader *r, const struct ynode *root)
{
	const json_t *from = json_object_get(r->spec, "from");

	if (from)
		check_from(r, root, from);
	if (json_object_get(r->spec, "exclude") &&
	    (from || strcmp(recipe_str(r->spec, "variant"), "extract")))
		ydoc_problem(r->doc, ynode_name(ynode_get(root, "exclude")),
			     "'exclude' is only for variant: extract");
	inherit(r->spec, from, "disk", NULL);
	if (json_object_get(r->spec, "disk") && json_object_get(r->spec, "cmdline"))
		ydoc_problem(r->doc, ynode_name(ynode_get(root, "cmdline")),
			     "the kernel's parameters are for the boot loader in %s to say: leave "
			     "'cmdline' out",
			     recipe_str(r->spec, "disk"));
	inherit(r->spec, from, "suite", json_string("bookworm"));
	inherit(r->spec, from, "variant", json_string("minbase"));
	inherit(r->spec, from, "size", json_integer(RECIPE_DEFAULT_SIZE));
	inherit(r->spec, from, "cmdline", NULL);
	if (json_array_size(json_object_get(r->spec, "services")))
		add_services(r, ynode_get(root, "services"));
}

void recipe_read(const struct paths *paths, struct ydoc *doc, int depth, json_t *spec)
{
	struct reader r = { .paths = paths, .doc = doc, .spec = spec, .depth = depth };
	const struct ynode *root = ydoc_root(doc);

	if (!root) {
		if (!ydoc_problems(doc))
			ydoc_problem(doc, NULL, "a recipe needs a name: image: NAME");
	} else if (root->type != YNODE_MAP) {
		ydoc_problem(doc, root, "a recipe is a map of keys: image: NAME, ...");
	} else {
		read_keys(&r, root);
		complete(&r, root);
	}
}
