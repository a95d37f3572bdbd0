// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * packages.c - installing a recipe's packages, and knowing exactly which
 *
 * DOC: Theory of Operation
 *
 * apt runs outside of the root it fills (Dir, DPkg::Chroot-Directory), so it
 * uses the host's network and keyrings, and a root needs neither a
 * resolver nor a proxy setting. Package lists and .deb files are in STATE/apt/SUITE
 * and bound into the root while apt works; lists younger than an hour are not
 * fetched again. apt has checked every .deb in there against the signed lists,
 * so the digest of the file is the digest the archive promised.
 *
 * A recipe with a lock sees its own pool and those of its parents as the only
 * source, with lists and files of its own in the build's scratch directory.
 *
 * Variant "extract" (no dpkg, no scripts, for images that are only a kernel
 * and a few programs): apt solves the dependencies against an empty status
 * file, `exclude` drops from the result, dpkg-deb unpacks the rest in order.
 */
#define _GNU_SOURCE
#include "images/builder/builder.h"
#include "images/builder/command.h"

#include "lib/digest.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <ctype.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define PACKAGES_FRESH 3600
#define PACKAGES_EPOCH 1686355200 /* bookworm's release, if no list tells a date */

/**
 * struct apt - one use of apt
 * @b:		the build
 * @root:	the root it works on
 * @suite:	"bookworm"
 * @cache:	directory with lists/ and archives/
 * @conf:	its configuration file
 * @list:	its sources file
 * @sources:	what is in there
 * @options:	"Acquire::...=value" of the host
 * @lock:	one apt at a time uses a cache
 * @locked:	whether sources are pools
 * @done, @total: packages, for progress
 */
struct apt {
	const struct builder *b;
	const char *root, *suite;
	char cache[IO_PATH], conf[IO_PATH], list[IO_PATH];
	char *sources;
	json_t *options;
	int lock;
	bool locked;
	uint64_t done, total;
};

static void apt_done(struct apt *a)
{
	char path[IO_PATH];

	umount2(io_path(path, "%s/var/cache/apt/archives", a->root), MNT_DETACH);
	umount2(io_path(path, "%s/var/lib/apt/lists", a->root), MNT_DETACH);
	if (a->lock >= 0)
		close(a->lock);
	json_decref(a->options);
	free(a->sources);
}

#define autoapt __attribute__((cleanup(apt_done)))

/* A locked recipe's sources: its own pool and those of all it is built from */
static int pool_sources(const struct apt *a, const json_t *spec, char **ret, struct lab_err *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (; spec; spec = json_object_get(spec, "from"))
		if (json_object_get(spec, "lock"))
			fprintf(out, "deb [trusted=yes] copy:%s/pool/%s ./\n", a->b->state,
				recipe_str(spec, "name"));
	if (fclose(out))
		return lab_fail(err, -ENOMEM, "out of memory");
	*ret = text;
	return 0;
}

static int write_conf(const struct apt *a, struct lab_err *err)
{
	autofile FILE *f = fopen(a->conf, "we");
	size_t i;
	json_t *o;

	if (!f)
		return lab_fail_errno(err, -errno, "%s", a->conf);
	fprintf(f,
		"Dir \"%s\";\n"
		"Dir::Etc::SourceList \"%s\";\n"
		"Dir::Etc::SourceParts \"/dev/null\";\n"
		"Dir::Etc::Trusted \"/etc/apt/trusted.gpg\";\n"
		"Dir::Etc::TrustedParts \"/etc/apt/trusted.gpg.d/\";\n"
		"Dir::Log \"/dev/null\";\n"
		"DPkg::Chroot-Directory \"%s\";\n"
		"DPkg::Use-Pty \"0\";\n"
		"DPkg::Options { \"--force-unsafe-io\"; \"--force-confdef\"; \"--force-confold\"; "
		"};\n"
		"APT::Architecture \"amd64\";\n"
		"APT::Architectures { \"amd64\"; };\n"
		"APT::Sandbox::User \"root\";\n"
		"APT::Install-Recommends \"false\";\n"
		"APT::Get::Assume-Yes \"true\";\n"
		"APT::Keep-Downloaded-Packages \"true\";\n"
		"APT::Update::Error-Mode \"any\";\n"
		"Acquire::Languages \"none\";\n"
		"Acquire::Retries \"3\";\n"
		"quiet \"1\";\n",
		a->root, a->list, a->root);
	json_array_foreach(a->options, i, o) {
		const char *text = json_string_value(o), *eq = strchr(text, '=');

		fprintf(f, "%.*s \"%s\";\n", (int)(eq - text), text, eq + 1);
	}
	return ferror(f) ? lab_fail(err, -EIO, "%s: cannot write", a->conf) : 0;
}

/* Sources, cache directories and configuration for work on @root */
static int apt_init(struct apt *a, const struct builder *b, const json_t *spec, const char *root,
		    const json_t *parent, struct lab_err *err)
{
	char path[IO_PATH];
	int r;

	a->b = b;
	a->root = root;
	a->suite = recipe_str(spec, "suite");
	a->locked = json_object_get(spec, "lock");
	a->options = json_array();
	io_path(a->conf, "%s/apt.conf", b->dir);
	io_path(a->list, "%s/sources.list", b->dir);
	if (a->locked) {
		io_path(a->cache, "%s/apt", b->dir);
		r = pool_sources(a, spec, &a->sources, err);
	} else {
		io_path(a->cache, "%s/apt/%s", b->state, a->suite);
		r = sources_find("/etc/apt", a->suite, &a->sources, err);
		json_decref(a->options);
		a->options = NULL;
		if (!r)
			r = sources_options(&a->options, err);
	}
	if (r < 0)
		return r;
	(void)parent;
	if ((r = io_mkdirs(io_path(path, "%s/lists/partial", a->cache), 0755)) < 0 ||
	    (r = io_mkdirs(io_path(path, "%s/archives/partial", a->cache), 0755)) < 0)
		return lab_fail_errno(err, r, "%s", path);
	a->lock = open(io_path(path, "%s/lock", a->cache), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (a->lock < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (flock(a->lock, LOCK_EX | LOCK_NB) < 0) {
		builder_step("waiting for another build", 0, 0, "");
		if (RETRY(flock(a->lock, LOCK_EX)) < 0)
			return lab_fail_errno(err, -errno, "%s", path);
	}
	r = io_write_file(AT_FDCWD, a->list, a->sources, strlen(a->sources), 0644);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", a->list);
	return write_conf(a, err);
}

static int bind_dir(const char *from, const char *to, struct lab_err *err)
{
	int r = io_mkdirs(to, 0755);

	if (r < 0)
		return lab_fail_errno(err, r, "%s", to);
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		return lab_fail_errno(err, -errno, "cannot bind %s to %s", from, to);
	return 0;
}

static int apt_bind(const struct apt *a, struct lab_err *err)
{
	char from[IO_PATH], to[IO_PATH];
	int r = bind_dir(io_path(from, "%s/lists", a->cache),
			 io_path(to, "%s/var/lib/apt/lists", a->root), err);

	if (r < 0)
		return r;
	return bind_dir(io_path(from, "%s/archives", a->cache),
			io_path(to, "%s/var/cache/apt/archives", a->root), err);
}

/* dpkg and apt say what they do in words that have been the same for decades */
static void count_line(void *arg, const char *line)
{
	struct apt *a = arg;
	const char *n = strstr(line, " newly installed");
	uint64_t v = 0;

	if (n && strstr(line, "upgraded, ")) {
		const char *p = n;
		char digits[24];

		while (p > line && isdigit((unsigned char)p[-1]))
			p--;
		snprintf(digits, sizeof(digits), "%.*s", (int)(n - p), p);
		if (!num_u64(digits, 100000, &v) && v)
			a->total = a->done + v;
		return;
	}
	if (!strncmp(line, "Get:", 4))
		builder_step("download", 0, 0, "");
	if (strncmp(line, "Setting up ", 11))
		return;
	a->done++;
	builder_step("packages", a->done, MAX(a->total, a->done), "packages");
}

static int apt_run(struct apt *a, const char *const *argv, struct lab_err *err)
{
	autofree char *conf = NULL;
	const char *env[] = { NULL,
			      "DEBIAN_FRONTEND=noninteractive",
			      "DEBCONF_NONINTERACTIVE_SEEN=true",
			      "INITRD=No", /* we make our own: initrd.c */
			      "LC_ALL=C.UTF-8",
			      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			      "PYTHONHASHSEED=0",
			      "TZ=UTC",
			      NULL };
	struct command cmd = {
		.argv = argv, .env = env, .log = a->b->log, .line = count_line, .arg = a
	};

	if (asprintf(&conf, "APT_CONFIG=%s", a->conf) < 0)
		return lab_fail(err, -ENOMEM, "out of memory");
	env[0] = conf;
	return command_run(&cmd, err);
}

/* Lists are fresh if they are young and were fetched from the same sources */
static bool lists_fresh(const struct apt *a)
{
	autofree char *was = NULL;
	char path[IO_PATH];
	struct stat st;

	if (stat(io_path(path, "%s/sources.list", a->cache), &st) < 0 ||
	    time(NULL) - st.st_mtime > PACKAGES_FRESH || st.st_mtime > time(NULL))
		return false;
	return !io_read_file(AT_FDCWD, path, 1 << 20, &was, NULL) && !strcmp(was, a->sources);
}

static int apt_update(struct apt *a, struct lab_err *err)
{
	static const char *const argv[] = { "apt-get", "update", NULL };
	char path[IO_PATH];
	int r;

	if (!a->locked && lists_fresh(a))
		return 0;
	builder_step("package lists", 0, 0, "");
	r = apt_run(a, argv, err);
	if (r < 0)
		return lab_wrap(err, r, "package lists");
	r = io_write_file(AT_FDCWD, io_path(path, "%s/sources.list", a->cache), a->sources,
			  strlen(a->sources), 0644);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

/* The newest date of the archives' signed release files */
static uint64_t lists_epoch(const struct apt *a)
{
	char path[IO_PATH];
	autodir DIR *dir = opendir(io_path(path, "%s/lists", a->cache));
	uint64_t epoch = PACKAGES_EPOCH;
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		autofree char *text = NULL;
		struct tm tm = { 0 };
		const char *date;
		time_t t;

		if (!strstr(d->d_name, "_InRelease") && !strstr(d->d_name, "_Release"))
			continue;
		if (io_read_file(dirfd(dir), d->d_name, 4 << 20, &text, NULL) < 0)
			continue;
		date = strstr(text, "\nDate: ");
		if (!date || !strptime(date + 7, "%a, %d %b %Y %H:%M:%S", &tm))
			continue;
		t = timegm(&tm);
		if (t > 0 && (uint64_t)t > epoch)
			epoch = (uint64_t)t;
	}
	return epoch;
}

static const json_t *find_package(const json_t *list, const char *name, const char *version,
				  const char *arch)
{
	size_t i;
	json_t *p;

	json_array_foreach(list, i, p)
		if (!strcmp(recipe_str(p, "name"), name) &&
		    !strcmp(recipe_str(p, "version"), version) &&
		    !strcmp(recipe_str(p, "arch"), arch))
			return p;
	return NULL;
}

/* apt's name for a downloaded file: a colon in the version becomes %3a */
static void deb_name(char buf[IO_PATH], const char *name, const char *version, const char *arch)
{
	char v[256];
	size_t n = 0;

	for (const char *p = version; *p && n + 4 < sizeof(v); p++) {
		if (*p == ':') {
			memcpy(v + n, "%3a", 3);
			n += 3;
		} else {
			v[n++] = *p;
		}
	}
	v[n] = '\0';
	io_path(buf, "%s_%s_%s.deb", name, v, arch);
}

static int add_package(const struct apt *a, json_t *list, const json_t *before, const char *name,
		       const char *version, const char *arch, struct lab_err *err)
{
	const json_t *known = find_package(before, name, version, arch);
	char file[IO_PATH], path[IO_PATH], sha[DIGEST_HEX];
	autoclose int fd = -EBADF;
	int r;

	if (known)
		return json_array_append(list, (json_t *)known) ? -ENOMEM : 0;
	deb_name(file, name, version, arch);
	fd = open(io_path(path, "%s/archives/%s", a->cache, file), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return lab_fail_errno(err, -errno, "package %s %s was installed from %s", name,
				      version, path);
	r = digest_fd(fd, sha, err);
	if (r < 0)
		return r;
	if (json_array_append_new(list, json_pack("{ss ss ss ss}", "name", name, "version", version,
						  "arch", arch, "sha256", sha)))
		return lab_fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* What dpkg has installed in the root, with the digests of the .deb files */
static int list_installed(const struct apt *a, const json_t *before, json_t **ret,
			  struct lab_err *err)
{
	char admin[IO_PATH];
	const char *argv[] = { "dpkg-query",
			       "--admindir",
			       io_path(admin, "%s/var/lib/dpkg", a->root),
			       "-W",
			       "-f",
			       "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n",
			       NULL };
	struct run run = { .argv = argv, .deadline = num_now_us() + 60 * 1000000ULL };
	autojson json_t *list = json_array();
	autofree char *out = NULL;
	char *rest, *line;
	int r = run_program(&run, &out, err);

	if (r < 0)
		return r;
	rest = out;
	while ((line = strsep(&rest, "\n"))) {
		char *status = strsep(&line, "\t"), *name = strsep(&line, "\t");
		char *version = strsep(&line, "\t"), *arch = line;

		if (!arch || strncmp(status, "ii", 2))
			continue;
		r = add_package(a, list, before, name, version, arch, err);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(list);
	return 0;
}

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
	json_array_foreach(packages, i, p)
		argv[n + i] = json_string_value(p);
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
	json_array_foreach(packages, i, p)
		fprintf(out, "%s%s", i ? "," : "", json_string_value(p));
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
		.argv = argv, .env = env, .log = a->b->log, .line = count_line, .arg = a
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
		r = add_package(a, list, NULL, name, version, arch, err);
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

		deb_name(file, recipe_str(p, "name"), recipe_str(p, "version"),
			 recipe_str(p, "arch"));
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
	int r = apt_init(&a, b, spec, root, NULL, err);

	if (r < 0)
		return r;
	/* mmdebstrap wants an empty root: the lists are fetched through another */
	io_path(scratch, "%s/empty", b->dir);
	a.root = is_extract ? root : scratch;
	if ((r = prepare_empty(a.root, err)) < 0 || (r = write_conf(&a, err)) < 0 ||
	    (r = apt_bind(&a, err)) < 0)
		return r;
	if (!a.locked || !is_extract)
		r = apt_update(&a, err);
	if (r < 0)
		return r;
	epoch = a.locked ? (uint64_t)json_integer_value(
				   json_object_get(json_object_get(spec, "lock"), "epoch"))
			 : lists_epoch(&a);
	if (is_extract) {
		r = extract(&a, spec, &list, err);
	} else {
		char path[IO_PATH];

		umount2(io_path(path, "%s/var/cache/apt/archives", scratch), MNT_DETACH);
		umount2(io_path(path, "%s/var/lib/apt/lists", scratch), MNT_DETACH);
		a.root = root;
		r = debootstrap(&a, spec, epoch, err);
		if (!r)
			r = list_installed(&a, NULL, &list, err);
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
	if ((r = apt_init(&a, b, spec, root, info, err)) < 0 || (r = apt_bind(&a, err)) < 0 ||
	    (r = apt_update(&a, err)) < 0 || (r = forbid_services(root, true, err)) < 0)
		return r;
	r = apt_run(&a, argv, err);
	forbid_services(root, false, NULL);
	if (r < 0)
		return r;
	r = list_installed(&a, before, &list, err);
	if (r < 0)
		return r;
	*ret_info = make_info(&a, spec, list, MAX(epoch, lists_epoch(&a)));
	return *ret_info ? 0 : lab_fail(err, -ENOMEM, "out of memory");
}
