// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sweep.c - removing what is of no use any more
 *
 * Partial directories end in ".tmp"; at start nobody is at work on them, and
 * of layers the lock tells. A finished layer is kept as long as it is that of a
 * recipe as it is now, of an image that exists, or a parent of such a one.
 */
#define _GNU_SOURCE
#include "images/recipe.h"

#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#define SWEEP_MAX_LAYER (16 << 20)

int image_remove_trees(const struct paths *paths, json_t *list, struct lab_err *err)
{
	autojson json_t *plan = json_pack("{sO}", "remove", list);
	char path[IO_PATH];
	bool denied = false;
	size_t i;
	json_t *p;
	int r = 0;

	json_array_foreach(list, i, p)
		if (io_remove_tree(AT_FDCWD, json_string_value(p)) < 0)
			denied = true;
	if (!denied)
		return 0;
	r = builder_run(paths, plan, io_path(path, "%s/sweep.json", paths->state), NULL, err);
	unlink(path);
	return r;
}

static int list_partial(const char *dir, json_t *list)
{
	autodir DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		size_t n = strlen(e->d_name);
		char path[IO_PATH];

		if (n > 4 && !strcmp(e->d_name + n - 4, ".tmp"))
			json_array_append_new(list,
					      json_string(io_path(path, "%s/%s", dir, e->d_name)));
	}
	return d || errno == ENOENT ? 0 : -errno;
}

/*
 * Remove layers that nobody is making any more: whoever makes one holds its
 * lock, and so do we while we remove it.
 */
int image_sweep_layers(const struct paths *paths, struct lab_err *err)
{
	autojson json_t *all = json_array();
	char path[IO_PATH];
	int r = list_partial(io_path(path, "%s/layers", paths->state), all), removed = 0;
	size_t i;
	json_t *p;

	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	json_array_foreach(all, i, p) {
		const char *tmp = json_string_value(p);
		autojson json_t *one = json_pack("[O]", p);
		autoclose int lock = open(io_path(path, "%.*s.lock", (int)strlen(tmp) - 4, tmp),
					  O_RDWR | O_CREAT | O_CLOEXEC, 0644);

		if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
			continue;
		r = image_remove_trees(paths, one, err);
		if (r < 0)
			return r;
		removed++;
	}
	return removed;
}

/* --- what nothing is built from any more --- */

static void keep_spec(json_t *keep, const json_t *spec)
{
	size_t i;
	json_t *other;

	if (!spec)
		return;
	json_object_set_new(keep, recipe_str(spec, "digest"), json_true());
	keep_spec(keep, json_object_get(spec, "from"));
	json_array_foreach(json_object_get(spec, "using"), i, other) {
		keep_spec(keep, other);
	}
}

/* The layers of all recipes as they are now; fails if one cannot be read */
static int keep_recipes(const struct paths *paths, json_t *keep)
{
	autojson json_t *names = NULL;
	size_t i;
	json_t *name;
	int r = recipe_names(paths, &names, NULL);

	json_array_foreach(names, i, name) {
		autojson json_t *spec = NULL;

		r = recipe_load_spec(paths, NULL, json_string_value(name), 0, &spec, NULL, NULL);
		if (r < 0)
			return r;
		keep_spec(keep, spec);
	}
	return r;
}

static void keep_images(const struct paths *paths, json_t *keep)
{
	char path[IO_PATH];
	autodir DIR *d = opendir(io_path(path, "%s/images", paths->state));
	struct dirent *e;

	while (d && (e = readdir(d))) {
		autojson json_t *manifest = NULL;

		if (e->d_name[0] == '.' ||
		    image_manifest(io_path(path, "%s/images/%s", paths->state, e->d_name),
				   &manifest, NULL) < 0)
			continue;
		json_object_set_new(keep, recipe_str(manifest, "recipe"), json_true());
	}
}

/* All finished layers: digest -> layer.json */
static json_t *read_layers(const struct paths *paths)
{
	char path[IO_PATH];
	autodir DIR *d = opendir(io_path(path, "%s/layers", paths->state));
	json_t *layers = json_object();
	struct dirent *e;

	while (d && (e = readdir(d))) {
		autofree char *text = NULL;

		if (strlen(e->d_name) != DIGEST_HEX - 1)
			continue;
		io_path(path, "%s/layers/%s/layer.json", paths->state, e->d_name);
		if (io_read_file(AT_FDCWD, path, SWEEP_MAX_LAYER, &text, NULL) < 0)
			continue;
		json_object_set_new(layers, e->d_name, json_loads(text, 0, NULL));
	}
	return layers;
}

/* A kept layer is nothing without its parents */
static void keep_parents(json_t *keep, json_t *layers)
{
	const char *digest, *other;
	json_t *info, *parent;
	bool more = true;

	while (more) {
		more = false;
		json_object_foreach(layers, digest, info) {
			if (!json_object_get(keep, digest))
				continue;
			json_object_foreach(layers, other, parent) {
				if (strcmp(recipe_str(info, "parent"), recipe_str(parent, "id")) ||
				    json_object_get(keep, other))
					continue;
				json_object_set_new(keep, other, json_true());
				more = true;
			}
		}
	}
}

static void remove_layer(const struct paths *paths, const char *digest)
{
	autojson json_t *list = json_array();
	char lock_path[IO_PATH], path[IO_PATH];
	autoclose int lock = open(io_path(lock_path, "%s/layers/%s.lock", paths->state, digest),
				  O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
		return;
	json_array_append_new(list,
			      json_string(io_path(path, "%s/layers/%s", paths->state, digest)));
	if (!image_remove_trees(paths, list, NULL))
		unlink(lock_path);
}

/* The .deb files that the layers were made of may be wanted for a lock; others not */
static void prune_debs(const struct paths *paths, const json_t *layers, const char *suite)
{
	char path[IO_PATH], file[IO_PATH];
	autodir DIR *d = opendir(io_path(path, "%s/apt/%s/archives", paths->state, suite));
	autojson json_t *used = json_object();
	const char *digest;
	json_t *info, *p;
	struct dirent *e;
	size_t i;

	json_object_foreach((json_t *)layers, digest, info) {
		json_array_foreach(json_object_get(info, "packages"), i, p) {
			json_object_set_new(used, recipe_deb_name(file, p), json_true());
		}
	}
	while (d && (e = readdir(d)))
		if (e->d_type == DT_REG && strcmp(e->d_name, "lock") &&
		    !json_object_get(used, e->d_name))
			unlinkat(dirfd(d), e->d_name, 0);
}

/* Layers of recipes that have changed, of images that are gone, and their packages */
static void prune(const struct paths *paths)
{
	autojson json_t *keep = json_object(), *layers = read_layers(paths);
	char path[IO_PATH];
	autodir DIR *d = NULL;
	const char *digest;
	struct dirent *e;
	json_t *info;
	void *next;

	if (keep_recipes(paths, keep) < 0)
		return;
	keep_images(paths, keep);
	keep_parents(keep, layers);
	json_object_foreach_safe(layers, next, digest, info) {
		if (json_object_get(keep, digest))
			continue;
		remove_layer(paths, digest);
		json_object_del(layers, digest);
	}
	d = opendir(io_path(path, "%s/apt", paths->state));
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			prune_debs(paths, layers, e->d_name);
}

int image_sweep(const struct paths *paths, struct lab_err *err)
{
	static const char *const dirs[] = { "images", "pool", "locks" };
	autojson json_t *list = json_array();
	char path[IO_PATH];
	int r = 0, removed;

	for (size_t i = 0; i < ARRAY_SIZE(dirs) && !r; i++)
		r = list_partial(io_path(path, "%s/%s", paths->state, dirs[i]), list);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	removed = image_sweep_layers(paths, err);
	if (removed < 0)
		return removed;
	r = json_array_size(list) ? image_remove_trees(paths, list, err) : 0;
	if (r < 0)
		return r;
	prune(paths);
	return removed + (int)json_array_size(list);
}
