// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * imagetool.c - the functions of images/image.h as a program, for tests
 *
 *	imagetool build NAME|FILE.yaml DIR [fresh]
 *	imagetool check FILE.yaml		all problems, one a line
 *	imagetool digest NAME
 *	imagetool inspect FILE FORMAT
 *	imagetool import FILE FORMAT DIR [take]	take: it is handed over
 *	imagetool export DIR FILE FORMAT
 *	imagetool lock NAME DIR
 *	imagetool sweep
 *
 * State, data and helpers are where LABD_STATE, LABD_DATA and LABD_EXEC say.
 */
#define _GNU_SOURCE
#include "images/image.h"

#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

static void report(void *arg, const char *step, uint64_t done, uint64_t total, const char *unit)
{
	(void)arg;
	fprintf(stderr, "%s %" PRIu64 "/%" PRIu64 " %s\n", step, done, total, unit);
}

static const struct image_progress progress = { .report = report };

static int load(const struct paths *paths, const char *what, struct recipe **ret, json_t **problems,
		struct lab_err *err)
{
	autofree char *text = NULL;
	int r;

	if (!strchr(what, '.'))
		return recipe_load(paths, NULL, NULL, what, ret, problems, err);
	r = io_read_file(AT_FDCWD, what, 2 << 20, &text, NULL);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", what);
	return recipe_load(paths, text, what, NULL, ret, problems, err);
}

static int build(const struct paths *paths, char **argv, struct lab_err *err)
{
	struct recipe *recipe = NULL;
	int r = load(paths, argv[2], &recipe, NULL, err);

	if (!r && recipe) {
		recipe->fresh = argv[4] && !strcmp(argv[4], "fresh");
		r = recipe_build(paths, recipe, argv[3], &progress, err);
	}
	recipe_free(recipe);
	return r;
}

static int check(const struct paths *paths, char **argv, struct lab_err *err)
{
	autojson json_t *problems = NULL;
	struct recipe *recipe = NULL;
	int r = load(paths, argv[2], &recipe, &problems, err);
	size_t i;
	json_t *p;

	json_array_foreach(problems, i, p) {
		printf("%d:%d: %s\n", (int)json_integer_value(json_object_get(p, "line")),
		       (int)json_integer_value(json_object_get(p, "column")),
		       json_string_value(json_object_get(p, "message")));
	}
	if (recipe)
		json_dumpf(recipe->spec, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
	recipe_free(recipe);
	return r;
}

static int digest(const struct paths *paths, char **argv, struct lab_err *err)
{
	struct recipe *recipe = NULL;
	int r = load(paths, argv[2], &recipe, NULL, err);

	if (!r && recipe)
		printf("%s%s\n", recipe->digest, recipe->locked ? " locked" : "");
	recipe_free(recipe);
	return r;
}

static int lock(const struct paths *paths, char **argv, struct lab_err *err)
{
	struct recipe *recipe = NULL;
	int r = load(paths, argv[2], &recipe, NULL, err);

	if (!r)
		r = recipe_lock(paths, recipe, argv[3], &progress, err);
	recipe_free(recipe);
	return r;
}

static int open_file(const char *path, struct lab_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? lab_fail_errno(err, -errno, "%s", path) : fd;
}

static int inspect(const struct paths *paths, char **argv, struct lab_err *err)
{
	struct image_header h;
	autoclose int fd = open_file(argv[2], err);
	int r = fd < 0 ? fd : image_inspect(fd, argv[3], IMAGE_MAX_SIZE, &h, err);

	(void)paths;
	if (!r)
		printf("%s %" PRIu64 "\n", h.format, h.size);
	return r;
}

static int import(const struct paths *paths, char **argv, struct lab_err *err)
{
	const char *spool = argv[5] && !strcmp(argv[5], "take") ? argv[2] : NULL;
	autoclose int fd = open_file(argv[2], err);
	char sha[DIGEST_HEX];

	(void)paths;
	return fd < 0 ? fd
		      : image_import(fd, argv[3], spool, argv[4], &progress, err)
				?: image_digest(argv[4], sha, err) ?: image_sync(argv[4], err);
}

static int export(const struct paths *paths, char **argv, struct lab_err *err)
{
	(void)paths;
	return image_export(argv[2], argv[3], argv[4], &progress, err);
}

static int sweep(const struct paths *paths, char **argv, struct lab_err *err)
{
	int r = image_sweep(paths, err);

	(void)argv;
	if (r >= 0)
		printf("%d\n", r);
	return r < 0 ? r : 0;
}

static const struct {
	const char *name;
	int args;
	int (*run)(const struct paths *paths, char **argv, struct lab_err *err);
} commands[] = {
	{ "build", 2, build },	   { "check", 1, check },   { "digest", 1, digest },
	{ "inspect", 2, inspect }, { "import", 3, import }, { "export", 3, export },
	{ "lock", 2, lock },	   { "sweep", 0, sweep },
};

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	struct paths paths;
	int r = paths_find(&paths, &err);

	for (size_t i = 0; !r && argc > 1 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) || argc - 2 < commands[i].args)
			continue;
		r = commands[i].run(&paths, argv, &err);
		if (r < 0)
			fprintf(stderr, "imagetool: %s: %s\n", lab_errno_name(r), err.text);
		return r < 0;
	}
	fprintf(stderr, r < 0 ? "imagetool: %s\n" : "usage: see the head of imagetool.c%s\n",
		err.text);
	return 2;
}
