// SPDX-License-Identifier: GPL-2.0-or-later
/* layer.c - root trees of recipes, each over its parent's */
#define _GNU_SOURCE
#include "images/builder/builder.h"
#include "images/builder/sandbox.h"

#include "lib/digest.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>

#define LAYER_MAX_INFO (16 << 20)

static int lock_layer(const char *digest, int how, struct lab_err *err)
{
	char path[IO_PATH];
	autoclose int fd = open(io_path(path, "%s.lock", digest), O_RDWR | O_CREAT | O_CLOEXEC,
				0644);

	if (fd < 0)
		return lab_fail_errno(err, -errno, "layer %s", path);
	if (flock(fd, how | LOCK_NB) < 0) {
		builder_step("waiting for another build", 0, 0, "");
		if (RETRY(flock(fd, how)) < 0)
			return lab_fail_errno(err, -errno, "layer %s", path);
	}
	return steal_fd(&fd);
}

static const char *layer_id(const struct layer *layer)
{
	return layer ? recipe_str(layer->info, "id") : "";
}

/* What a layer's packages must be: the digest of its lock, "" without one */
static const char *lock_digest(const json_t *spec)
{
	return recipe_str(json_object_get(spec, "lock"), "digest");
}

/* layer.json, or NULL if there is none that is good over this parent */
static json_t *read_valid(const json_t *spec, const struct layer *from)
{
	autofree char *text = NULL;
	char path[IO_PATH];
	json_t *info;

	io_path(path, "%s/layer.json", recipe_str(spec, "digest"));
	if (io_read_file(AT_FDCWD, path, LAYER_MAX_INFO, &text, NULL) < 0)
		return NULL;
	info = json_loads(text, 0, NULL);
	if (info && !strcmp(recipe_str(info, "parent"), layer_id(from)) &&
	    (!*lock_digest(spec) || !strcmp(recipe_str(info, "contents"), lock_digest(spec))))
		return info;
	json_decref(info);
	return NULL;
}

/* Others' finished roots below /run/roots, writable, thrown away afterwards */
static int show_roots(const char *tmp, const char *root, struct layer *const *using_layers,
		      const json_t *using_specs, struct lab_err *err)
{
	size_t i;
	json_t *spec;

	json_array_foreach(using_specs, i, spec) {
		const char *name = recipe_str(spec, "name");
		char at[IO_PATH], upper[IO_PATH], work[IO_PATH];
		int r;

		if ((r = io_mkdirs(io_path(at, "%s/run/roots/%s", root, name), 0755)) < 0 ||
		    (r = io_mkdirs(io_path(upper, "%s/roots/%s/upper", tmp, name), 0755)) < 0 ||
		    (r = io_mkdirs(io_path(work, "%s/roots/%s/work", tmp, name), 0755)) < 0)
			return lab_fail_errno(err, r, "root of %s", name);
		r = root_overlay(at, using_layers[i]->lowers, upper, work, err);
		if (!r)
			r = root_enter(at, err);
		if (r < 0)
			return lab_wrap(err, r, "root of %s", name);
	}
	return 0;
}

static void hide_roots(const char *root, const json_t *using_specs)
{
	size_t i;
	json_t *spec;

	json_array_foreach(using_specs, i, spec) {
		char at[IO_PATH];

		root_leave(io_path(at, "%s/run/roots/%s", root, recipe_str(spec, "name")));
		umount2(at, MNT_DETACH);
	}
}

static int run_script(const struct builder *b, const json_t *spec, const char *tmp,
		      const char *root, struct layer *const *using_layers, const json_t *info,
		      struct lab_err *err)
{
	const json_t *using_specs = json_object_get(spec, "using");
	const char *script = recipe_str(spec, "script");
	int r;

	if (!*script)
		return 0;
	builder_step("script", 0, 0, "");
	r = root_enter(root, err);
	if (r < 0)
		return r;
	r = show_roots(tmp, root, using_layers, using_specs, err);
	if (!r)
		r = root_script(b, root, script,
				(uint64_t)json_integer_value(json_object_get(info, "epoch")), err);
	hide_roots(root, using_specs);
	root_leave(root);
	return r;
}

/* A guest's apt uses the mirror the build used */
static int write_sources(const char *root, const json_t *info, struct lab_err *err)
{
	const char *text = recipe_str(info, "sources");
	char path[IO_PATH];
	struct stat st;
	int r;

	if (stat(io_path(path, "%s/usr/bin/apt-get", root), &st) < 0)
		return 0;
	r = io_write_file(AT_FDCWD, io_path(path, "%s/etc/apt/sources.list", root), text,
			  strlen(text), 0644);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

static int fill(const struct builder *b, const json_t *spec, const char *tmp, const char *root,
		const struct layer *from, struct layer *const *using_layers, json_t **ret_info,
		struct lab_err *err)
{
	autojson json_t *info = NULL;
	int r;

	builder_log(b, "packages");
	if (from) {
		r = root_enter(root, err);
		if (r < 0)
			return r;
		r = packages_add(b, spec, root, from->info, &info, err);
		root_leave(root);
	} else {
		r = packages_base(b, spec, root, &info, err);
		sandbox_kill_others();
	}
	if (r < 0)
		return r;
	if ((r = write_sources(root, info, err)) < 0 ||
	    (r = root_files(root, json_object_get(spec, "files"), err)) < 0)
		return r;
	builder_log(b, "script");
	if ((r = run_script(b, spec, tmp, root, using_layers, info, err)) < 0 ||
	    (r = root_clean(root, err)) < 0)
		return r;
	*ret_info = steal_ptr(info);
	return 0;
}

/* Identity and parent; "contents" names exactly what was installed */
static int write_info(const json_t *spec, const struct layer *from, const char *tmp, json_t *info,
		      struct lab_err *err)
{
	char contents[DIGEST_HEX], id[33], path[IO_PATH];
	autofree char *text = NULL;
	unsigned char rnd[16];
	int r;

	if (getrandom(rnd, sizeof(rnd), 0) != sizeof(rnd))
		return lab_fail_errno(err, -errno, "getrandom");
	for (size_t i = 0; i < sizeof(rnd); i++)
		snprintf(id + 2 * i, 3, "%02x", rnd[i]);
	text = json_dumps(json_object_get(info, "packages"), JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	digest_hex(contents, text, strlen(text));
	if (json_object_set_new(info, "id", json_string(id)) ||
	    json_object_set_new(info, "name", json_string(recipe_str(spec, "name"))) ||
	    json_object_set_new(info, "parent", json_string(layer_id(from))) ||
	    json_object_set_new(info, "contents", json_string(contents)))
		return lab_fail(err, -ENOMEM, "out of memory");
	free(text);
	text = json_dumps(info, JSON_INDENT(1) | JSON_SORT_KEYS);
	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = io_write_file(AT_FDCWD, io_path(path, "%s/layer.json", tmp), text, strlen(text), 0444);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

/* The tree must be on the disk before the name says that it is whole */
static int publish(const char *tmp, const char *digest, struct lab_err *err)
{
	autoclose int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (dir < 0 || syncfs(dir) < 0)
		return lab_fail_errno(err, -errno, "layer %s: sync", digest);
	r = io_remove_tree(AT_FDCWD, digest);
	if (r >= 0)
		r = rename(tmp, digest) < 0 ? -errno : 0;
	if (r < 0)
		return lab_fail_errno(err, r, "layer %s", digest);
	return fsync(dir) < 0 ? lab_fail_errno(err, -errno, "layers: sync") : 0;
}

static int mount_stack(const char *tmp, const struct layer *from, char root[IO_PATH],
		       struct lab_err *err)
{
	char upper[IO_PATH], work[IO_PATH];
	int r;

	io_path(upper, "%s/root", tmp);
	io_path(root, "%s/%s", tmp, from ? "merged" : "root");
	if ((r = io_mkdirs(upper, 0755)) < 0 || (r = io_mkdirs(root, 0755)) < 0 ||
	    (r = io_mkdirs(io_path(work, "%s/work", tmp), 0755)) < 0)
		return lab_fail_errno(err, r, "layer %s", tmp);
	return from ? root_overlay(root, from->lowers, upper, work, err) : 0;
}

static int build_layer(const struct builder *b, const json_t *spec, const struct layer *from,
		       struct layer *const *using_layers, struct lab_err *err)
{
	const char *digest = recipe_str(spec, "digest");
	char tmp[IO_PATH], sub[IO_PATH], abs[IO_PATH];
	autojson json_t *info = NULL;
	int r;

	io_path(tmp, "%s.tmp", digest);
	r = io_remove_tree(AT_FDCWD, tmp);
	if (r < 0)
		return lab_fail_errno(err, r, "layer %s", tmp);
	builder_log(b, "layer %s (%s)", recipe_str(spec, "name"), digest);
	r = mount_stack(tmp, from, sub, err);
	if (!r) {
		io_path(abs, "%s/layers/%s", b->state, sub);
		r = fill(b, spec, tmp, abs, from, using_layers, &info, err);
		if (from && umount2(sub, r < 0 ? MNT_DETACH : 0) < 0 && !r)
			r = lab_fail_errno(err, -errno, "layer %s: still in use", tmp);
	}
	io_remove_tree(AT_FDCWD, io_path(sub, "%s/work", tmp));
	io_remove_tree(AT_FDCWD, io_path(sub, "%s/roots", tmp));
	if (from)
		io_remove_tree(AT_FDCWD, io_path(sub, "%s/merged", tmp));
	if (!r)
		r = write_info(spec, from, tmp, info, err);
	builder_log(b, "sync");
	if (!r)
		r = publish(tmp, digest, err);
	if (r < 0)
		io_remove_tree(AT_FDCWD, tmp);
	return r;
}

static bool wanted_anew(const struct builder *b, const json_t *spec)
{
	return spec == b->spec && b->fresh;
}

static int make_or_find(const struct builder *b, const json_t *spec, struct layer *layer,
			struct layer *const *using_layers, struct lab_err *err)
{
	const char *digest = recipe_str(spec, "digest");
	int r;

	layer->lock = lock_layer(digest, LOCK_SH, err);
	if (layer->lock < 0)
		return layer->lock;
	if (!wanted_anew(b, spec))
		layer->info = read_valid(spec, layer->from);
	if (layer->info)
		return 0;
	close(layer->lock);
	layer->lock = lock_layer(digest, LOCK_EX, err);
	if (layer->lock < 0)
		return layer->lock;
	/* somebody else may have made it meanwhile */
	if (!wanted_anew(b, spec))
		layer->info = read_valid(spec, layer->from);
	if (!layer->info) {
		r = build_layer(b, spec, layer->from, using_layers, err);
		if (r < 0)
			return r;
		layer->info = read_valid(spec, layer->from);
	}
	if (!layer->info)
		return lab_fail(err, -ESTALE,
				"the packages that were installed are not those of the lock");
	return flock(layer->lock, LOCK_SH) < 0 ? lab_fail_errno(err, -errno, "flock") : 0;
}

static void put_all(struct layer **layers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		layer_put(layers[i]);
}

static int get_using(const struct builder *b, const json_t *specs, struct layer **layers,
		     struct lab_err *err)
{
	size_t i;
	json_t *spec;

	json_array_foreach(specs, i, spec) {
		int r = layer_get(b, spec, &layers[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

int layer_get(const struct builder *b, const json_t *spec, struct layer **ret, struct lab_err *err)
{
	const json_t *from = json_object_get(spec, "from"), *specs = json_object_get(spec, "using");
	size_t n = json_array_size(specs);
	autofree struct layer **using_layers = calloc(n + 1, sizeof(struct layer *));
	struct layer *layer = calloc(1, sizeof(*layer));
	int r = 0;

	if (!layer || !using_layers) {
		free(layer);
		return lab_fail(err, -ENOMEM, "out of memory");
	}
	layer->lock = -EBADF;
	if (from)
		r = layer_get(b, from, &layer->from, err);
	if (!r)
		r = get_using(b, specs, using_layers, err);
	if (!r)
		r = make_or_find(b, spec, layer, using_layers, err);
	put_all(using_layers, n);
	if (r < 0) {
		layer_put(layer);
		return lab_wrap(err, r, "recipe %s", recipe_str(spec, "name"));
	}
	io_path(layer->lowers, "%s/root%s%s", recipe_str(spec, "digest"), layer->from ? ":" : "",
		layer->from ? layer->from->lowers : "");
	*ret = layer;
	return 0;
}

struct layer *layer_put(struct layer *layer)
{
	if (!layer)
		return NULL;
	layer_put(layer->from);
	if (layer->lock >= 0)
		close(layer->lock);
	json_decref(layer->info);
	free(layer);
	return NULL;
}
