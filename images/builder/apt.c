// SPDX-License-Identifier: GPL-2.0-or-later
/* apt.c - one use of apt for a root */
#define _GNU_SOURCE
#include "images/builder/apt.h"
#include "images/builder/command.h"

#include "lib/digest.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define PACKAGES_FRESH 3600
#define PACKAGES_EPOCH 1686355200 /* bookworm's release, if no list tells a date */

void apt_done(struct apt *a)
{
	char path[IO_PATH];

	umount2(io_path(path, "%s/var/cache/apt/archives", a->root), MNT_DETACH);
	umount2(io_path(path, "%s/var/lib/apt/lists", a->root), MNT_DETACH);
	if (a->lock >= 0)
		close(a->lock);
	json_decref(a->options);
	free(a->sources);
}

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

int apt_write_conf(const struct apt *a, struct lab_err *err)
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

int apt_init(struct apt *a, const struct builder *b, const json_t *spec, const char *root,
	     struct lab_err *err)
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
	return apt_write_conf(a, err);
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

int apt_bind(const struct apt *a, struct lab_err *err)
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
void apt_count_line(void *arg, const char *line)
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

int apt_run(struct apt *a, const char *const *argv, struct lab_err *err)
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
		.argv = argv, .env = env, .log = a->b->log, .line = apt_count_line, .arg = a
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

int apt_update(struct apt *a, struct lab_err *err)
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

uint64_t apt_epoch(const struct apt *a)
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

int apt_add_package(const struct apt *a, json_t *list, const json_t *before, const char *name,
		    const char *version, const char *arch, struct lab_err *err)
{
	const json_t *known = find_package(before, name, version, arch);
	autojson json_t *package = NULL;
	char file[IO_PATH], path[IO_PATH], sha[DIGEST_HEX];
	autoclose int fd = -EBADF;
	int r;

	if (known)
		return json_array_append(list, (json_t *)known) ? -ENOMEM : 0;
	package = json_pack("{ss ss ss}", "name", name, "version", version, "arch", arch);
	if (!package)
		return lab_fail(err, -ENOMEM, "out of memory");
	io_path(path, "%s/archives/%s", a->cache, recipe_deb_name(file, package));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return lab_fail_errno(err, -errno, "package %s %s was installed from %s", name,
				      version, path);
	r = digest_fd(fd, sha, err);
	if (r < 0)
		return r;
	if (json_object_set_new(package, "sha256", json_string(sha)) ||
	    json_array_append(list, package))
		return lab_fail(err, -ENOMEM, "out of memory");
	return 0;
}

int apt_list_installed(const struct apt *a, const json_t *before, json_t **ret, struct lab_err *err)
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
		r = apt_add_package(a, list, before, name, version, arch, err);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(list);
	return 0;
}
