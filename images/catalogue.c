// SPDX-License-Identifier: GPL-2.0-or-later
/* catalogue.c - the services that labs are made of: their files */
#define _GNU_SOURCE
#include "images/catalogue.h"

#include "lib/io.h"
#include "lib/jobj.h"
#include "lib/names.h"
#include "lib/template.h"
#include "lib/util.h"

#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FILE (256 << 10)
#define MAX_CATALOGUE 256

static int is_name(const struct dirent *de)
{
	return name_valid(de->d_name);
}

int catalogue_names(const struct paths *paths, json_t **ret, struct lab_err *err)
{
	char path[IO_PATH], file[IO_PATH];
	struct dirent **list = NULL;
	json_t *names = json_array();
	int n = scandir(io_path(path, "%s/services", paths->data), &list, is_name, alphasort);

	if (n < 0) {
		json_decref(names);
		return lab_fail_errno(err, -errno, "services in %s", path);
	}
	for (int i = 0; i < n; i++) {
		io_path(file, "%s/%s/service.yaml", path, list[i]->d_name);
		if (!access(file, R_OK))
			json_array_append_new(names, json_string(list[i]->d_name));
		free(list[i]);
	}
	free(list);
	*ret = names;
	return 0;
}

static int no_such_service(const struct paths *paths, const char *name, struct lab_err *err)
{
	const char *known[MAX_CATALOGUE + 1] = { NULL }, *near = NULL;
	autojson json_t *names = NULL;
	const json_t *v;
	size_t i;

	if (!catalogue_names(paths, &names, NULL))
		json_array_foreach(names, i, v)
			if (i < MAX_CATALOGUE)
				known[i] = json_string_value(v);
	near = name_nearest(name, known);
	if (near)
		return lab_fail(err, -ENOENT, "there is no service '%s'; did you mean '%s'?", name,
				near);
	return lab_fail(err, -ENOENT, "there is no service '%s': labctl ls services", name);
}

/* @path: IO_PATH bytes, becomes the file's name. One that is not YAML is a document with problems
 */
static int open_service(const struct paths *paths, const char *name, char *path, struct ydoc **ret,
			struct lab_err *err)
{
	autofree char *text = NULL;
	size_t len;
	int r;

	if (!name_valid(name))
		return lab_fail(err, -EINVAL, "'%.60s' is not a name: " NAME_RULE, name);
	io_path(path, "%s/services/%s/service.yaml", paths->data, name);
	r = io_read_file(AT_FDCWD, path, MAX_FILE, &text, &len);
	if (r == -ENOENT || r == -ENOTDIR)
		return no_such_service(paths, name, err);
	if (r < 0)
		return lab_fail_errno(err, r, "service %s: %s", name, path);
	return ydoc_load(text, len, MAX_FILE, ret) < 0 ? lab_fail(err, -ENOMEM, "out of memory")
						       : 0;
}

static void cleanup_doc(struct ydoc **doc)
{
	ydoc_free(*doc);
}

int catalogue_load(const struct paths *paths, const char *name,
		   int (*read)(struct ydoc *doc, const char *name, json_t **ret), json_t **ret,
		   struct lab_err *err)
{
	__attribute__((cleanup(cleanup_doc))) struct ydoc *doc = NULL;
	autojson json_t *service = NULL;
	char path[IO_PATH];
	int r = open_service(paths, name, path, &doc, err);

	if (r < 0)
		return r;
	if (read(doc, name, &service) < 0)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = ydoc_finish(doc, path, NULL, err);
	if (!r)
		*ret = steal_ptr(service);
	return lab_wrap(err, r, "service %s", name);
}

/* ---- several ---------------------------------------------------------------------- */

static const char *name_of(const json_t *service)
{
	return json_string_value(json_object_get(service, "name"));
}

/* The place of the first of @services that needs none of the others; -1 for a circle */
static int next_free(const json_t *services)
{
	const json_t *s, *other;
	size_t i, j;

	json_array_foreach(services, i, s) {
		bool waits = false;

		json_array_foreach(services, j, other)
			waits |= jlist_has(json_object_get(s, "needs"), name_of(other));
		if (!waits)
			return (int)i;
	}
	return -1;
}

int catalogue_set(const struct paths *paths, const json_t *names, json_t **ret, struct lab_err *err)
{
	autojson json_t *all = json_array(), *sorted = json_array();
	const json_t *name;
	size_t i;

	json_array_foreach(names, i, name) {
		json_t *service = NULL;
		int r = catalogue_load(paths, json_string_value(name), catalogue_read, &service,
				       err);

		if (r < 0)
			return r;
		json_array_append_new(all, service);
	}
	while (json_array_size(all)) {
		int at = next_free(all);

		if (at < 0)
			return lab_fail(err, -EINVAL,
					"service %s: it needs itself, by way of others",
					name_of(json_array_get(all, 0)));
		json_array_append(sorted, json_array_get(all, (size_t)at));
		json_array_remove(all, (size_t)at);
	}
	*ret = steal_ptr(sorted);
	return 0;
}

/* ---- templates ---------------------------------------------------------------------- */

/* A service as templates see it: what it provides, where it is, its secret */
static json_t *seen(const json_t *service, const json_t *place, bool here)
{
	json_t *o = json_copy(json_object_get(service, "provides"));

	json_object_update(o, (json_t *)place);
	json_object_set(o, "name", json_object_get(service, "name"));
	json_object_set_new(o, "here", json_boolean(here));
	return o;
}

json_t *catalogue_context(const json_t *services, const json_t *places, const json_t *here)
{
	json_t *list = json_array(), *any = json_object(), *at = json_object(), *on = json_object();
	json_t *secrets = json_object(), *bcrypt = json_object();
	const json_t *s;
	size_t i;

	json_array_foreach(services, i, s) {
		const char *name = name_of(s);
		const json_t *place = json_object_get(places, name);

		json_array_append_new(list, seen(s, place, jlist_has(here, name)));
		json_object_set_new(any, name, json_true());
		json_object_set(at, name, json_object_get(place, "addr"));
		json_object_set(on, name, json_object_get(place, "instance"));
		json_object_set(secrets, name, json_object_get(place, "secret"));
		json_object_set(bcrypt, name, json_object_get(place, "bcrypt"));
	}
	return json_pack("{s:o s:o s:o s:o s:o s:o}", "services", list, "has", any, "at", at, "on",
			 on, "secrets", secrets, "bcrypt", bcrypt);
}

/* @shown: what messages call it */
static int fill_file(const char *path, const char *shown, const json_t *context, char **ret,
		     struct lab_err *err)
{
	autofree char *text = NULL;
	size_t len;
	int r = io_read_file(AT_FDCWD, path, MAX_FILE, &text, &len);

	if (r == -ENOENT)
		return r;
	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	if (strlen(text) != len)
		return lab_fail(err, -EINVAL, "%s: this is no text", path);
	return template_render(text, shown, context, ret, err);
}

int catalogue_script(const struct paths *paths, const char *service, const char *script,
		     const json_t *context, char **ret, struct lab_err *err)
{
	char path[IO_PATH], shown[IO_PATH];
	int r;

	io_path(path, "%s/services/%s/%s", paths->data, service, script);
	r = fill_file(path, io_path(shown, "services/%s/%s", service, script), context, ret, err);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

static int add_file(const json_t *service, const FTSENT *e, size_t root, const json_t *context,
		    json_t *list, struct lab_err *err)
{
	const char *path = e->fts_path + root;
	const json_t *given = json_object_get(json_object_get(service, "files"), path);
	const json_t *owner = json_object_get(given, "owner"),
		     *mode = json_object_get(given, "mode");
	autofree char *text = NULL;
	char shown[IO_PATH];
	int r;

	io_path(shown, "services/%s/files%s", name_of(service), path);
	if (e->fts_info != FTS_F)
		return lab_fail(err, -EINVAL, "%s: it is not a file", shown);
	r = fill_file(e->fts_path, shown, context, &text, err);
	if (r < 0)
		return r;
	json_array_append_new(list,
			      json_pack("{s:s s:s s:I s:s}", "path", path, "owner",
					owner ? json_string_value(owner) : "root:root", "mode",
					mode			       ? json_integer_value(mode)
					: e->fts_statp->st_mode & 0111 ? (json_int_t)0755
								       : (json_int_t)0644,
					"content", text));
	return 0;
}

/* A key that names no file would leave one with the wrong owner and mode */
static int check_listed(const json_t *service, const json_t *list, struct lab_err *err)
{
	const char *path;
	json_t *given, *file;
	size_t i;

	json_object_foreach(json_object_get(service, "files"), path, given) {
		bool there = false;

		json_array_foreach(list, i, file)
			there |= !strcmp(json_string_value(json_object_get(file, "path")), path);
		if (!there)
			return lab_fail(err, -EINVAL,
					"service %s: 'files' names %s, but there is no files%s",
					name_of(service), path, path);
	}
	return 0;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

int catalogue_files(const struct paths *paths, const json_t *service, const json_t *context,
		    json_t **ret, struct lab_err *err)
{
	char path[IO_PATH];
	char *dirs[] = { path, NULL };
	autojson json_t *list = json_array();
	size_t root;
	FTSENT *e;
	FTS *tree;
	int r = 0;

	io_path(path, "%s/services/%s/files", paths->data, name_of(service));
	root = strlen(path);
	tree = fts_open(dirs, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	if (!tree)
		return lab_fail(err, -ENOMEM, "out of memory");
	while (!r && (e = fts_read(tree)))
		if (e->fts_info != FTS_D && e->fts_info != FTS_DP && e->fts_level > 0)
			r = add_file(service, e, root, context, list, err);
	fts_close(tree);
	if (!r)
		r = check_listed(service, list, err);
	if (!r)
		*ret = steal_ptr(list);
	return r;
}
