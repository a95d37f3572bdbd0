// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lock.c - keeping what an image was made of
 *
 * DOC: Theory of Operation
 *
 * A lock is taken of a recipe and of every recipe it builds on, each with the
 * packages that its own layer added, in a pool of its own (STATE/pool/NAME), and
 * STATE/locks/NAME.json with all the packages of the layer. What a layer was made
 * of stands in its layer.json; the image's manifest must say the same, else
 * the layer is not the one that the image was made from.
 *
 * The pool is an archive apt can use ("Packages" index, copy: URI). It is made
 * as NAME.tmp and renamed before the lock is written: a lock without its pool
 * cannot be. The .deb files are those apt kept in STATE/apt, linked if
 * possible; one that is gone is fetched again, and each is verified.
 */
#define _GNU_SOURCE
#include "images/recipe.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define LOCK_MAX (16 << 20)

int recipe_read_lock(const struct paths *paths, const char *name, json_t **ret, struct lab_err *err)
{
	autofree char *text = NULL;
	char path[IO_PATH];
	int r = io_read_file(AT_FDCWD, io_path(path, "%s/locks/%s.json", paths->state, name),
			     LOCK_MAX, &text, NULL);

	*ret = NULL;
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	*ret = json_loads(text, 0, NULL);
	if (!json_is_object(*ret) || !json_is_array(json_object_get(*ret, "packages"))) {
		json_decref(steal_ptr(*ret));
		return lab_fail(err, -EINVAL, "%s is damaged; remove it to build without a lock",
				path);
	}
	return 0;
}

static int read_layer(const struct paths *paths, const json_t *spec, json_t **ret,
		      struct lab_err *err)
{
	autofree char *text = NULL;
	char path[IO_PATH];
	int r = io_read_file(AT_FDCWD,
			     io_path(path, "%s/layers/%s/layer.json", paths->state,
				     recipe_str(spec, "digest")),
			     LOCK_MAX, &text, NULL);

	if (!r)
		*ret = json_loads(text, 0, NULL);
	if (r < 0 || !*ret)
		return lab_fail(
			err, -ENOENT,
			"the layer of recipe %s is not there any more; build the image again, "
			"then lock it",
			recipe_str(spec, "name"));
	return 0;
}

/**
 * struct pool - the pool being filled
 * @paths:	where things are
 * @suite:	whose package files
 * @dir:	NAME.tmp
 * @index:	its Packages file
 * @priorities:	"name version" -> the archive's priority
 */
struct pool {
	const struct paths *paths;
	const char *suite;
	char dir[IO_PATH];
	FILE *index;
	json_t *priorities;
};

static int verify(const char *path, const json_t *p, struct lab_err *err)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	char sha[DIGEST_HEX];
	int r = fd < 0 ? -errno : digest_fd(fd, sha, err);

	if (r < 0)
		return r;
	return strcmp(sha, recipe_str(p, "sha256")) ? -EBADMSG : 0;
}

/* The URI apt would fetch this version from: 'URI' name size digest */
static int find_uri(const struct pool *pool, const json_t *p, char **ret, struct lab_err *err)
{
	char lists[IO_PATH], list[IO_PATH], what[256];
	autofree char *out = NULL;
	const char *argv[] = { "apt-get",
			       "-o",
			       lists,
			       "-o",
			       list,
			       "-o",
			       "Dir::Etc::SourceParts=/dev/null",
			       "-o",
			       "Dir::State::status=/dev/null",
			       "-o",
			       "APT::Sandbox::User=root",
			       "--print-uris",
			       "download",
			       what,
			       NULL };
	struct run run = { .argv = argv, .deadline = num_now_us() + 120 * 1000000ULL };
	char *end;
	int r;

	io_path(lists, "Dir::State::Lists=%s/apt/%s/lists", pool->paths->state, pool->suite);
	io_path(list, "Dir::Etc::SourceList=%s/apt/%s/sources.list", pool->paths->state,
		pool->suite);
	snprintf(what, sizeof(what), "%s=%s", recipe_str(p, "name"), recipe_str(p, "version"));
	r = run_program(&run, &out, err);
	if (r < 0)
		return r;
	end = out[0] == '\'' ? strchr(out + 1, '\'') : NULL;
	if (!end)
		return lab_fail(err, -ENOENT, "no source has it");
	*end = '\0';
	*ret = strdup(out + 1);
	return *ret ? 0 : -ENOMEM;
}

static int fetch(const struct pool *pool, const json_t *p, const char *to, struct lab_err *err)
{
	autofree char *uri = NULL, *digest = NULL;
	int r = find_uri(pool, p, &uri, err);

	if (!r && asprintf(&digest, "SHA256:%s", recipe_str(p, "sha256")) < 0)
		r = -ENOMEM;
	if (!r) {
		const char *argv[] = { "/usr/lib/apt/apt-helper",
				       "-o",
				       "APT::Sandbox::User=root",
				       "download-file",
				       uri,
				       to,
				       digest,
				       NULL };
		struct run run = { .argv = argv, .deadline = num_now_us() + 1800 * 1000000ULL };

		r = run_program(&run, NULL, err);
	}
	if (r < 0)
		unlink(to);
	return r;
}

static int copy_deb(const char *from, const char *to)
{
	autoclose int in = open(from, O_RDONLY | O_CLOEXEC), out = -EBADF;
	ssize_t n;

	if (in < 0)
		return -errno;
	if (!link(from, to))
		return 0;
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (out < 0)
		return -errno;
	while ((n = RETRY(sendfile(out, in, NULL, 1 << 24))) > 0)
		;
	return n < 0 ? -errno : 0;
}

static int get_deb(const struct pool *pool, const json_t *p, const char *file, struct lab_err *err)
{
	char from[IO_PATH], to[IO_PATH];
	int r;

	io_path(from, "%s/apt/%s/archives/%s", pool->paths->state, pool->suite, file);
	io_path(to, "%s/%s", pool->dir, file);
	r = copy_deb(from, to);
	if (!r)
		r = verify(to, p, err);
	if (r == -ENOSPC)
		return lab_fail_errno(err, r, "%s", to);
	if (r < 0) {
		unlink(to);
		r = fetch(pool, p, to, err);
		if (!r)
			r = verify(to, p, err);
	}
	if (r < 0)
		return lab_wrap(err, r, "package %s %s is neither kept nor to be had any more",
				recipe_str(p, "name"), recipe_str(p, "version"));
	return 0;
}

static void read_list(FILE *f, json_t *wanted)
{
	autofree char *line = NULL, *key = NULL;
	char name[200] = "";
	size_t room = 0;
	ssize_t n;

	/* Package, Version and Priority come in this order in every list */
	while ((n = getline(&line, &room, f)) > 0) {
		if (line[n - 1] == '\n')
			line[--n] = '\0';
		if (!strncmp(line, "Package: ", 9)) {
			snprintf(name, sizeof(name), "%s", line + 9);
			free(steal_ptr(key));
		} else if (!strncmp(line, "Version: ", 9) && json_object_get(wanted, name)) {
			free(steal_ptr(key));
			if (asprintf(&key, "%s %s", name, line + 9) < 0)
				key = NULL;
		} else if (!strncmp(line, "Priority: ", 10) && key) {
			json_object_set_new(wanted, key, json_string(line + 10));
		}
	}
}

/*
 * An archive's priority of a package may differ from the one in the package, and
 * mmdebstrap goes by it: "name version" -> priority
 */
static json_t *read_priorities(const struct pool *pool, const json_t *packages)
{
	json_t *wanted = json_object();
	char path[IO_PATH];
	autodir DIR *dir =
		opendir(io_path(path, "%s/apt/%s/lists", pool->paths->state, pool->suite));
	struct dirent *d;
	size_t i;
	json_t *p;

	json_array_foreach(packages, i, p) {
		json_object_set_new(wanted, recipe_str(p, "name"), json_true());
	}
	while (dir && (d = readdir(dir))) {
		size_t n = strlen(d->d_name);
		autofile FILE *f = NULL;

		if (n < 9 || strcmp(d->d_name + n - 9, "_Packages"))
			continue;
		f = fopen(io_path(path, "%s/apt/%s/lists/%s", pool->paths->state, pool->suite,
				  d->d_name),
			  "re");
		if (f)
			read_list(f, wanted);
	}
	return wanted;
}

/* dpkg-deb's output with the archive's priority in place of the package's */
static void print_control(FILE *out, const char *control, const char *priority)
{
	const char *line = strstr(control, "\nPriority: ");

	if (!line || !*priority) {
		fputs(control, out);
		return;
	}
	fprintf(out, "%.*s\nPriority: %s", (int)(line - control), control, priority);
	fputs(line + 1 + strcspn(line + 1, "\n"), out);
}

/* The control fields as dpkg-deb prints them, and where the file is */
static int index_deb(const struct pool *pool, const json_t *p, const char *file,
		     struct lab_err *err)
{
	char path[IO_PATH];
	const char *argv[] = { "dpkg-deb", "-f", io_path(path, "%s/%s", pool->dir, file), NULL };
	struct run run = { .argv = argv, .deadline = num_now_us() + 60 * 1000000ULL };
	autofree char *out = NULL, *key = NULL;
	struct stat st;
	int r = run_program(&run, &out, err);

	if (r < 0)
		return r;
	if (stat(path, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (asprintf(&key, "%s %s", recipe_str(p, "name"), recipe_str(p, "version")) < 0)
		return lab_fail(err, -ENOMEM, "out of memory");
	print_control(pool->index, out, recipe_str(pool->priorities, key));
	fprintf(pool->index, "Filename: ./%s\nSize: %lld\nSHA256: %s\n\n", file,
		(long long)st.st_size, recipe_str(p, "sha256"));
	return 0;
}

static bool in_list(const json_t *list, const json_t *p)
{
	size_t i;
	json_t *o;

	json_array_foreach(list, i, o)
		if (json_equal(o, p))
			return true;
	return false;
}

static int fill_pool(const struct pool *pool, const json_t *packages, const json_t *before,
		     const struct image_progress *progress, struct lab_err *err)
{
	size_t i;
	json_t *p;

	json_array_foreach(packages, i, p) {
		char file[IO_PATH];
		int r;

		if (in_list(before, p))
			continue;
		if (progress && progress->cancelled && progress->cancelled(progress->arg))
			return lab_fail(err, -ECANCELED, "cancelled");
		recipe_deb_name(file, p);
		r = get_deb(pool, p, file, err);
		if (!r)
			r = index_deb(pool, p, file, err);
		if (r < 0)
			return r;
		if (progress && progress->report)
			progress->report(progress->arg, "packages", i + 1,
					 json_array_size(packages), "packages");
	}
	return fflush(pool->index) || ferror(pool->index) || fsync(fileno(pool->index)) < 0
		       ? lab_fail_errno(err, -errno, "%s/Packages", pool->dir)
		       : 0;
}

/*
 * mmdebstrap asks apt for the suite's essential packages, and apt knows an
 * archive's suite from this file
 */
static int write_release(const struct pool *pool, struct lab_err *err)
{
	char path[IO_PATH], sha[DIGEST_HEX];
	autoclose int fd = open(io_path(path, "%s/Packages", pool->dir), O_RDONLY | O_CLOEXEC);
	autofree char *text = NULL;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	r = digest_fd(fd, sha, err);
	if (r < 0)
		return r;
	if (asprintf(
		    &text,
		    "Origin: Debian\nSuite: %s\nCodename: %s\nDate: Thu, 01 Jan 1970 00:00:00 UTC\n"
		    "SHA256:\n %s %lld Packages\n",
		    pool->suite, pool->suite, sha, (long long)st.st_size) < 0)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = io_write_file(AT_FDCWD, io_path(path, "%s/Release", pool->dir), text, strlen(text),
			  0644);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

static int make_pool(const struct paths *paths, const json_t *spec, const json_t *packages,
		     const json_t *before, const struct image_progress *progress,
		     struct lab_err *err)
{
	struct pool pool = { .paths = paths, .suite = recipe_str(spec, "suite") };
	char path[IO_PATH], final[IO_PATH];
	int r;

	io_path(final, "%s/pool/%s", paths->state, recipe_str(spec, "name"));
	io_path(pool.dir, "%s.tmp", final);
	io_remove_tree(AT_FDCWD, pool.dir);
	r = io_mkdirs(pool.dir, 0755);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", pool.dir);
	pool.priorities = read_priorities(&pool, packages);
	pool.index = fopen(io_path(path, "%s/Packages", pool.dir), "we");
	if (!pool.index) {
		r = lab_fail_errno(err, -errno, "%s", path);
	} else {
		r = fill_pool(&pool, packages, before, progress, err);
		fclose(pool.index);
	}
	if (!r)
		r = write_release(&pool, err);
	if (!r)
		r = io_remove_tree(AT_FDCWD, final);
	if (r >= 0 && rename(pool.dir, final) < 0)
		r = lab_fail_errno(err, -errno, "%s", final);
	if (r < 0)
		io_remove_tree(AT_FDCWD, pool.dir);
	json_decref(pool.priorities);
	return r < 0 ? r : 0;
}

static int write_lock(const struct paths *paths, const json_t *spec, const json_t *info,
		      struct lab_err *err)
{
	autojson json_t *lock = json_pack(
		"{sO sO ss sO sO sO}", "name", json_object_get(spec, "name"), "recipe",
		json_object_get(spec, "digest"), "digest", recipe_str(info, "contents"), "epoch",
		json_object_get(info, "epoch"), "sources", json_object_get(info, "sources"),
		"packages", json_object_get(info, "packages"));
	autofree char *text = lock ? json_dumps(lock, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
	char path[IO_PATH];
	int r;

	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = io_mkdirs(io_path(path, "%s/locks", paths->state), 0755);
	if (!r)
		r = io_write_file(AT_FDCWD,
				  io_path(path, "%s/locks/%s.json", paths->state,
					  recipe_str(spec, "name")),
				  text, strlen(text), 0644);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

static int lock_one(const struct paths *paths, const json_t *spec, json_t **ret_info,
		    const struct image_progress *progress, struct lab_err *err)
{
	const json_t *from = json_object_get(spec, "from");
	autojson json_t *info = NULL, *parent = NULL;
	json_t *other;
	size_t i;
	int r = 0;

	if (from)
		r = lock_one(paths, from, &parent, progress, err);
	json_array_foreach(json_object_get(spec, "using"), i, other)
		if (!r)
			r = lock_one(paths, other, NULL, progress, err);
	if (!r)
		r = read_layer(paths, spec, &info, err);
	if (r < 0)
		return r;
	if (strcmp(recipe_str(info, "parent"), recipe_str(parent, "id")))
		return lab_fail(
			err, -ESTALE,
			"recipe %s was built on a layer of %s that has been made anew since; "
			"build the image again, then lock it",
			recipe_str(spec, "name"), recipe_str(from, "name"));
	/* a lock that is in force already has its pool */
	if (!json_object_get(spec, "lock")) {
		r = make_pool(paths, spec, json_object_get(info, "packages"),
			      json_object_get(parent, "packages"), progress, err);
		if (!r)
			r = write_lock(paths, spec, info, err);
	}
	if (!r && ret_info)
		*ret_info = steal_ptr(info);
	return lab_wrap(err, r, "lock of %s", recipe_str(spec, "name"));
}

int recipe_lock(const struct paths *paths, const struct recipe *recipe, const char *image_dir,
		const struct image_progress *progress, struct lab_err *err)
{
	autojson json_t *manifest = NULL, *info = NULL;
	int r = image_manifest(image_dir, &manifest, err);

	if (!r)
		r = read_layer(paths, recipe->spec, &info, err);
	if (r < 0)
		return r;
	if (strcmp(recipe_str(manifest, "recipe"), recipe->digest) ||
	    !json_equal(json_object_get(manifest, "packages"), json_object_get(info, "packages")))
		return lab_fail(err, -ESTALE,
				"image %s is not of the recipe as it is now; build it again, then "
				"lock it",
				recipe->name);
	return lock_one(paths, recipe->spec, NULL, progress, err);
}
