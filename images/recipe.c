// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * recipe.c - recipes, and what an image made from one depends on
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
 *	services: [NAME, ...]	of the catalogue, with all they need of an image (compose.h)
 *	size: 2G		of the disk; default: that of `from`, or 2G
 *	cmdline: ...		more kernel parameters
 *	disk: /x.raw		a whole disk, made in the root by the script, which
 *				is the image instead of a file system of the root
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
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

#define RECIPE_MAX_TEXT (1 << 20)
#define RECIPE_BUILDER "labbuild 1" /* a change makes every image be built again */

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
	if (json_object_get(spec, "composed"))
		fprintf(out, "services %s\n", recipe_str(spec, "composed"));
	json_array_foreach(json_object_get(spec, "using"), i, other) {
		fprintf(out, "using %s\n", recipe_str(other, "digest"));
	}
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

/* Read a shipped recipe's file; @path becomes its name */
static int read_shipped(const struct paths *paths, const char *name, char path[IO_PATH], char **ret,
			size_t *ret_len, struct lab_err *err)
{
	int r;

	if (!name_valid(name))
		return lab_fail(err, -EINVAL, "'%.60s' is not a name: " NAME_RULE, name);
	r = io_read_file(AT_FDCWD, io_path(path, "%s/images/%s.yaml", paths->data, name),
			 RECIPE_MAX_TEXT, ret, ret_len);
	if (r == -ENOENT)
		return no_such_recipe(paths, name, err);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

int recipe_load_spec(const struct paths *paths, const char *text, const char *name, int depth,
		     json_t **ret, json_t **ret_problems, struct lab_err *err)
{
	autojson json_t *spec = json_object();
	autofree char *buf = NULL;
	char path[IO_PATH];
	const char *file = name;
	struct ydoc *doc = NULL;
	size_t len = text ? strlen(text) : 0;
	int r = 0;

	if (!text) {
		r = read_shipped(paths, name, path, &buf, &len, err);
		text = buf;
		file = path;
	}
	if (r < 0)
		return r;
	if (!spec || ydoc_load(text, len, RECIPE_MAX_TEXT, &doc) < 0)
		return lab_fail(err, -ENOMEM, "%s: out of memory", file);
	recipe_read(paths, doc, depth, spec);
	r = ydoc_finish(doc, file, ret_problems, err);
	ydoc_free(doc);
	if (!r)
		r = set_digest(paths, spec, text, len, err);
	if (!r)
		*ret = steal_ptr(spec);
	return r;
}

int recipe_load(const struct paths *paths, const char *text, const char *file, const char *name,
		struct recipe **ret, json_t **ret_problems, struct lab_err *err)
{
	autojson json_t *spec = NULL;
	struct recipe *recipe;
	int r;

	if (ret_problems)
		*ret_problems = NULL;
	r = recipe_load_spec(paths, text, text ? (file ? file : "recipe") : name, 0, &spec,
			     ret_problems, err);
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
