// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * packages.c - installing a recipe's packages, and knowing exactly which
 *
 * Variant "extract" (no dpkg, no scripts, for images that are only a kernel
 * and a few programs): apt solves the dependencies against an empty status
 * file, `exclude` drops from the result, dpkg-deb unpacks the rest in order.
 */
#define _GNU_SOURCE
#include "images/builder/apt.h"
#include "images/builder/command.h"

#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/mount.h>

static json_t *make_info(struct apt *a, const json_t *spec, json_t *packages, uint64_t epoch)
{
	const json_t *lock = json_object_get(spec, "lock");
	const char *sources = a->sources;

	if (lock) {
		epoch = (uint64_t)json_integer_value(json_object_get(lock, "epoch"));
		sources = recipe_str(lock, "sources");
	}
	return json_pack("{sO ss sI}", "packages", packages, "sources", sources, "epoch",
			 (json_int_t)epoch);
}

/* argv of fixed words and a recipe's packages; free() it */
static const char **with_packages(const char *const *words, const json_t *packages)
{
	size_t n = 0, i;
	const char **argv;
	json_t *p;

	while (words[n])
		n++;
	argv = calloc(n + json_array_size(packages) + 1, sizeof(*argv));
	if (!argv)
		return NULL;
	memcpy(argv, words, n * sizeof(*argv));
	json_array_foreach(packages, i, p) {
		argv[n + i] = json_string_value(p);
	}
	return argv;
}

static char *include_option(const json_t *packages)
{
	char *text = NULL;
	size_t len = 0, i;
	FILE *out = open_memstream(&text, &len);
	json_t *p;

	if (!out)
		return NULL;
	fprintf(out, "--include=");
	json_array_foreach(packages, i, p) {
		fprintf(out, "%s%s", i ? "," : "", json_string_value(p));
	}
	fclose(out);
	return text;
}

/*
 * mmdebstrap makes a configuration of its own for apt; the lists and files
 * are bound into the root by its hook, once it has checked that the root is
 * empty. Its "update" then finds the lists it wants.
 */
static int debootstrap(struct apt *a, const json_t *spec, uint64_t epoch, struct lab_err *err)
{
	static const char hook[] = "mkdir -p \"$1/var/cache/apt/archives\" \"$1/var/lib/apt/lists\""
				   " && mount --bind \"$LAB_APT/archives\""
				   " \"$1/var/cache/apt/archives\""
				   " && mount --bind \"$LAB_APT/lists\" \"$1/var/lib/apt/lists\"";
	const json_t *packages = json_object_get(spec, "packages");
	autofree char *include = include_option(packages);
	autofree char *cache = NULL, *date = NULL, *setup = NULL, *variant = NULL;
	autofree const char **argv = calloc(json_array_size(a->options) + 32, sizeof(*argv));
	const char *env[] = { NULL,	NULL, "INITRD=No", "PYTHONHASHSEED=0", "LC_ALL=C.UTF-8",
			      "TZ=UTC", NULL };
	struct command cmd = {
		.argv = argv, .env = env, .log = a->b->log, .line = apt_count_line, .arg = a
	};
	size_t n = 0, i;
	json_t *o;

	if (!include || !argv || asprintf(&cache, "LAB_APT=%s", a->cache) < 0 ||
	    asprintf(&date, "SOURCE_DATE_EPOCH=%llu", (unsigned long long)epoch) < 0 ||
	    asprintf(&setup, "--setup-hook=%s", hook) < 0 ||
	    asprintf(&variant, "--variant=%s", recipe_str(spec, "variant")) < 0)
		return lab_fail(err, -ENOMEM, "out of memory");
	env[0] = cache;
	env[1] = date;
	argv[n++] = "mmdebstrap";
	argv[n++] = "--mode=root";
	argv[n++] = "--format=directory";
	argv[n++] = "--architectures=amd64";
	argv[n++] = "--verbose";
	argv[n++] = "--skip=download/empty,essential/unlink,cleanup/apt";
	argv[n++] = variant;
	argv[n++] = setup;
	if (json_array_size(packages))
		argv[n++] = include;
	argv[n++] = "--aptopt=APT::Sandbox::User \"root\"";
	argv[n++] = "--aptopt=Acquire::Languages \"none\"";
	argv[n++] = "--dpkgopt=force-unsafe-io";
	argv[n++] = "--dpkgopt=path-exclude=/usr/share/man/*";
	argv[n++] = "--dpkgopt=path-exclude=/usr/share/locale/*";
	argv[n++] = "--dpkgopt=path-exclude=/usr/share/doc/*";
	argv[n++] = "--dpkgopt=path-include=/usr/share/doc/*/copyright";
	json_array_foreach(a->options, i, o) {
		char *opt = NULL;
		const char *text = json_string_value(o), *eq = strchr(text, '=');

		if (asprintf(&opt, "--aptopt=%.*s \"%s\"", (int)(eq - text), text, eq + 1) < 0)
			return lab_fail(err, -ENOMEM, "out of memory");
		argv[n++] = opt; /* the process ends soon */
	}
	argv[n++] = a->suite;
	argv[n++] = a->root;
	argv[n++] = a->list;
	return command_run(&cmd, err);
}

static bool excluded(const json_t *exclude, const char *name)
{
	size_t i;
	json_t *e;

	json_array_foreach(exclude, i, e)
		if (!fnmatch(json_string_value(e), name, 0))
			return true;
	return false;
}

/* "Inst name (version archive [arch])" */
static int parse_inst(char *line, char **name, char **version, char **arch)
{
	char *open, *close;

	if (strncmp(line, "Inst ", 5))
		return 0;
	*name = line + 5;
	open = strstr(line, " (");
	if (!open)
		return 0;
	*open = '\0';
	*version = open + 2;
	close = strchr(*version, ' ');
	if (!close)
		return 0;
	*close = '\0';
	*arch = strchr(close + 1, '[');
	if (!*arch)
		return 0;
	(*arch)++;
	(*arch)[strcspn(*arch, "]")] = '\0';
	return 1;
}

static int solve(struct apt *a, const json_t *spec, json_t **ret, struct lab_err *err)
{
	static const char *const simulate[] = { "apt-get", "-s", "install", NULL };
	static const char *const download[] = { "apt-get", "--download-only", "install", NULL };
	const json_t *packages = json_object_get(spec, "packages");
	autofree const char **sim = with_packages(simulate, packages);
	autofree const char **down = with_packages(download, packages);
	struct run run = { .argv = sim, .deadline = num_now_us() + 300 * 1000000ULL };
	autojson json_t *list = json_array();
	autofree char *out = NULL;
	char *rest, *line, *name, *version, *arch;
	int r;

	if (!sim || !down)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = apt_run(a, down, err);
	if (r < 0)
		return r;
	setenv("APT_CONFIG", a->conf, 1);
	r = run_program(&run, &out, err);
	unsetenv("APT_CONFIG");
	if (r < 0)
		return r;
	rest = out;
	while ((line = strsep(&rest, "\n"))) {
		if (!parse_inst(line, &name, &version, &arch) ||
		    excluded(json_object_get(spec, "exclude"), name))
			continue;
		r = apt_add_package(a, list, NULL, name, version, arch, err);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(list);
	return 0;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(recipe_str(*(json_t *const *)x, "name"),
		      recipe_str(*(json_t *const *)y, "name"));
}

static int sort_packages(json_t **list)
{
	size_t n = json_array_size(*list);
	autofree json_t **all = calloc(n + 1, sizeof(json_t *));
	json_t *sorted = json_array();

	if (!all || !sorted) {
		json_decref(sorted);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		all[i] = json_array_get(*list, i);
	qsort(all, n, sizeof(json_t *), by_name);
	for (size_t i = 0; i < n; i++)
		json_array_append(sorted, all[i]);
	json_decref(*list);
	*list = sorted;
	return 0;
}

static int unpack(const struct apt *a, const json_t *list, const char *pool, struct lab_err *err)
{
	size_t i;
	json_t *p;

	json_array_foreach(list, i, p) {
		char file[IO_PATH], path[IO_PATH];
		const char *argv[] = { "dpkg-deb", "-x", path, a->root, NULL };
		struct command cmd = { .argv = argv, .log = a->b->log };
		int r;

		recipe_deb_name(file, p);
		io_path(path, "%s/%s", pool, file);
		builder_log(a->b, "unpacking %s", file);
		r = command_run(&cmd, err);
		if (r < 0)
			return r;
		builder_step("packages", i + 1, json_array_size(list), "packages");
	}
	return 0;
}

/* apt and dpkg want these even to look at an empty root */
static int prepare_empty(const char *root, struct lab_err *err)
{
	static const char *const dirs[] = { "var/lib/dpkg", "etc/apt/apt.conf.d",
					    "etc/apt/preferences.d" };
	char path[IO_PATH];
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs) && !r; i++)
		r = io_mkdirs(io_path(path, "%s/%s", root, dirs[i]), 0755);
	if (!r)
		r = io_write_file(AT_FDCWD, io_path(path, "%s/var/lib/dpkg/status", root), "", 0,
				  0644);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

static int extract(struct apt *a, const json_t *spec, json_t **ret, struct lab_err *err)
{
	const json_t *lock = json_object_get(spec, "lock");
	autojson json_t *list = NULL;
	char pool[IO_PATH];
	int r;

	if (lock) {
		list = json_incref(json_object_get(lock, "packages"));
		io_path(pool, "%s/pool/%s", a->b->state, recipe_str(spec, "name"));
	} else {
		r = solve(a, spec, &list, err);
		if (r < 0)
			return r;
		io_path(pool, "%s/archives", a->cache);
	}
	if (sort_packages(&list) < 0)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = unpack(a, list, pool, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(list);
	return 0;
}

int packages_base(const struct builder *b, const json_t *spec, const char *root, json_t **ret_info,
		  struct lab_err *err)
{
	autoapt struct apt a = { .root = root, .lock = -EBADF };
	bool is_extract = !strcmp(recipe_str(spec, "variant"), "extract");
	autojson json_t *list = NULL;
	char scratch[IO_PATH];
	uint64_t epoch = 0;
	int r = apt_init(&a, b, spec, root, err);

	if (r < 0)
		return r;
	/* mmdebstrap wants an empty root: the lists are fetched through another */
	io_path(scratch, "%s/empty", b->dir);
	a.root = is_extract ? root : scratch;
	if ((r = prepare_empty(a.root, err)) < 0 || (r = apt_write_conf(&a, err)) < 0 ||
	    (r = apt_bind(&a, err)) < 0)
		return r;
	if (!a.locked || !is_extract)
		r = apt_update(&a, err);
	if (r < 0)
		return r;
	epoch = a.locked ? (uint64_t)json_integer_value(
				   json_object_get(json_object_get(spec, "lock"), "epoch"))
			 : apt_epoch(&a);
	if (is_extract) {
		r = extract(&a, spec, &list, err);
	} else {
		char path[IO_PATH];

		umount2(io_path(path, "%s/var/cache/apt/archives", scratch), MNT_DETACH);
		umount2(io_path(path, "%s/var/lib/apt/lists", scratch), MNT_DETACH);
		a.root = root;
		r = debootstrap(&a, spec, epoch, err);
		if (!r)
			r = apt_list_installed(&a, NULL, &list, err);
	}
	if (r < 0)
		return r;
	*ret_info = make_info(&a, spec, list, epoch);
	return *ret_info ? 0 : lab_fail(err, -ENOMEM, "out of memory");
}

/* Services must not start while a build installs them */
static int forbid_services(const char *root, bool forbid, struct lab_err *err)
{
	static const char text[] = "#!/bin/sh\nexit 101\n";
	char path[IO_PATH];
	int r;

	io_path(path, "%s/usr/sbin/policy-rc.d", root);
	if (!forbid) {
		unlink(path);
		return 0;
	}
	r = io_write_file(AT_FDCWD, path, text, strlen(text), 0755);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

int packages_add(const struct builder *b, const json_t *spec, const char *root, const json_t *info,
		 json_t **ret_info, struct lab_err *err)
{
	static const char *const words[] = { "apt-get", "--no-install-recommends", "install",
					     NULL };
	const json_t *packages = json_object_get(spec, "packages");
	const json_t *before = json_object_get(info, "packages");
	uint64_t epoch = (uint64_t)json_integer_value(json_object_get(info, "epoch"));
	autofree const char **argv = with_packages(words, packages);
	autoapt struct apt a = { .root = root, .lock = -EBADF };
	autojson json_t *list = NULL;
	int r;

	if (!argv)
		return lab_fail(err, -ENOMEM, "out of memory");
	if (!json_array_size(packages)) {
		*ret_info = json_deep_copy(info);
		return *ret_info ? 0 : lab_fail(err, -ENOMEM, "out of memory");
	}
	if ((r = apt_init(&a, b, spec, root, err)) < 0 || (r = apt_bind(&a, err)) < 0 ||
	    (r = apt_update(&a, err)) < 0 || (r = forbid_services(root, true, err)) < 0)
		return r;
	r = apt_run(&a, argv, err);
	forbid_services(root, false, NULL);
	if (r < 0)
		return r;
	r = apt_list_installed(&a, before, &list, err);
	if (r < 0)
		return r;
	*ret_info = make_info(&a, spec, list, MAX(epoch, apt_epoch(&a)));
	return *ret_info ? 0 : lab_fail(err, -ENOMEM, "out of memory");
}
