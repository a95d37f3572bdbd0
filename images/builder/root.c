// SPDX-License-Identifier: GPL-2.0-or-later
/* root.c - work inside a root tree: mounts, files, scripts, cleaning */
#define _GNU_SOURCE
#include "images/builder/builder.h"
#include "images/builder/command.h"
#include "images/builder/sandbox.h"

#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int root_overlay(const char *at, const char *lowers, const char *upper, const char *work,
		 struct lab_err *err)
{
	/* without CAP_SYS_ADMIN outside, overlayfs keeps its marks in user.* */
	const char *mapped = sandbox_mapped() ? ",userxattr" : "";
	autofree char *options = NULL;
	int n;

	if (upper)
		n = asprintf(&options, "lowerdir=%s,upperdir=%s,workdir=%s%s", lowers, upper, work,
			     mapped);
	else if (strchr(lowers, ':'))
		n = asprintf(&options, "lowerdir=%s%s", lowers, mapped);
	else /* overlayfs wants two: one alone is bound */
		n = 0;
	if (n < 0)
		return lab_fail(err, -ENOMEM, "out of memory");
	if (options && mount("overlay", at, "overlay", 0, options) < 0)
		return lab_fail_errno(err, -errno,
				      "cannot put layers over each other (overlayfs) in the state "
				      "directory");
	if (!options && mount(lowers, at, NULL, MS_BIND, NULL) < 0)
		return lab_fail_errno(err, -errno, "cannot bind layer %s", lowers);
	return 0;
}

static int tmpfs_at(const char *root, const char *dir, const char *options, struct lab_err *err)
{
	char path[IO_PATH];
	int r = io_mkdirs(io_path(path, "%s/%s", root, dir), 0755);

	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	if (mount("tmpfs", path, "tmpfs", MS_NOSUID, options) < 0)
		return lab_fail_errno(err, -errno, "cannot mount a tmpfs at %s", path);
	return 0;
}

/* Nodes cannot be made in a user namespace; binding works everywhere */
static int bind_device(const char *root, const char *name, struct lab_err *err)
{
	char from[IO_PATH], to[IO_PATH];
	autoclose int fd = open(io_path(to, "%s/dev/%s", root, name),
				O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	io_path(from, "/dev/%s", name);
	if (fd < 0 || mount(from, to, NULL, MS_BIND, NULL) < 0)
		return lab_fail_errno(err, -errno, "cannot bind %s", from);
	return 0;
}

static int make_dev(const char *root, struct lab_err *err)
{
	static const char *const devices[] = { "null", "zero", "full", "random", "urandom", "tty" };
	static const char *const links[][2] = { { "/proc/self/fd", "fd" },
						{ "/proc/self/fd/0", "stdin" },
						{ "/proc/self/fd/1", "stdout" },
						{ "/proc/self/fd/2", "stderr" } };
	char path[IO_PATH];
	int r = tmpfs_at(root, "dev", "mode=0755", err);

	for (size_t i = 0; i < ARRAY_SIZE(devices) && !r; i++)
		r = bind_device(root, devices[i], err);
	for (size_t i = 0; i < ARRAY_SIZE(links) && !r; i++)
		if (symlink(links[i][0], io_path(path, "%s/dev/%s", root, links[i][1])) < 0)
			r = lab_fail_errno(err, -errno, "%s", path);
	if (!r && mkdir(io_path(path, "%s/dev/shm", root), 01777) < 0)
		r = lab_fail_errno(err, -errno, "%s", path);
	return r;
}

int root_enter(const char *root, struct lab_err *err)
{
	char path[IO_PATH];
	int r = io_mkdirs(io_path(path, "%s/proc", root), 0755);

	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	if (mount("proc", path, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return lab_fail_errno(err, -errno, "cannot mount %s", path);
	r = make_dev(root, err);
	if (!r)
		r = tmpfs_at(root, "run", "mode=0755", err);
	if (!r)
		r = tmpfs_at(root, "tmp", "mode=1777", err);
	if (r < 0)
		root_leave(root);
	return r;
}

void root_leave(const char *root)
{
	static const char *const dirs[] = { "tmp", "run", "dev", "proc" };
	char path[IO_PATH];

	sandbox_kill_others();
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		umount2(io_path(path, "%s/%s", root, dirs[i]), MNT_DETACH);
}

int root_open(int root, const char *path, int flags, mode_t mode)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
				.mode = flags & O_CREAT ? mode : 0,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* A number or a name of the root's own passwd or group file */
static int find_id(int root, const char *file, const char *name, unsigned int *ret)
{
	uint64_t id;
	autofile FILE *f = NULL;
	int fd;

	if (!strcmp(name, "root"))
		name = "0"; /* also where there is no such file yet */
	if (!num_u64(name, 65535, &id)) {
		*ret = (unsigned int)id;
		return 0;
	}
	fd = root_open(root, file, O_RDONLY, 0);
	f = fd < 0 ? NULL : fdopen(fd, "r");
	if (!f)
		return -ENOENT;
	if (strstr(file, "passwd")) {
		for (struct passwd *p; (p = fgetpwent(f));)
			if (!strcmp(p->pw_name, name)) {
				*ret = p->pw_uid;
				return 0;
			}
	} else {
		for (struct group *g; (g = fgetgrent(f));)
			if (!strcmp(g->gr_name, name)) {
				*ret = g->gr_gid;
				return 0;
			}
	}
	return -ENOENT;
}

static int find_owner(int root, const char *owner, unsigned int *uid, unsigned int *gid)
{
	char user[64], *colon;

	*uid = *gid = 0;
	if (!*owner)
		return 0;
	snprintf(user, sizeof(user), "%s", owner);
	colon = strchr(user, ':');
	if (colon)
		*colon++ = '\0';
	if (find_id(root, "/etc/passwd", user, uid) < 0)
		return -ENOENT;
	return find_id(root, "/etc/group", colon ? colon : user, gid);
}

static int make_parents(int root, const char *path)
{
	char part[IO_PATH];

	for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		autoclose int dir = -EBADF;
		const char *name;
		char *slash;

		snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
		slash = strrchr(part, '/');
		name = slash + 1;
		*slash = '\0';
		dir = root_open(root, *part ? part : "/", O_PATH | O_DIRECTORY, 0);
		if (dir < 0)
			return dir;
		if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int write_file(int root, const json_t *file, struct lab_err *err)
{
	const char *path = recipe_str(file, "path"), *content = recipe_str(file, "content");
	mode_t mode = (mode_t)json_integer_value(json_object_get(file, "mode"));
	autoclose int fd = -EBADF;
	unsigned int uid, gid;
	int r = make_parents(root, path);

	if (!r) {
		fd = root_open(root, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		r = fd < 0 ? fd : io_write_all(fd, content, strlen(content));
	}
	if (r < 0)
		return lab_fail_errno(err, r, "file %s", path);
	r = find_owner(root, recipe_str(file, "owner"), &uid, &gid);
	if (r < 0)
		return lab_fail(err, -EINVAL, "file %s: the image has no user or group '%s'", path,
				recipe_str(file, "owner"));
	if (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
		return lab_fail_errno(err, -errno, "file %s", path);
	return 0;
}

int root_files(const char *root, const json_t *files, struct lab_err *err)
{
	autoclose int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t i;
	json_t *file;
	int r;

	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", root);
	json_array_foreach(files, i, file) {
		r = write_file(fd, file, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int root_script(const struct builder *b, const char *root, const char *script, uint64_t epoch,
		struct lab_err *err)
{
	const char *shell[] = { "/bin/sh", "-eux", "/tmp/script", NULL };
	const char *busybox[] = { "/bin/busybox", "sh", "-eux", "/tmp/script", NULL };
	autofree char *date = NULL;
	const char *env[] = { NULL,
			      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			      "HOME=/root",
			      "LC_ALL=C.UTF-8",
			      "TZ=UTC",
			      "PYTHONHASHSEED=0",
			      "DEBIAN_FRONTEND=noninteractive",
			      NULL };
	struct command cmd = {
		.argv = shell, .env = env, .root = root, .alone = true, .log = b->log
	};
	char path[IO_PATH];
	int r;

	if (asprintf(&date, "SOURCE_DATE_EPOCH=%llu", (unsigned long long)epoch) < 0)
		return lab_fail(err, -ENOMEM, "out of memory");
	env[0] = date;
	r = io_write_file(AT_FDCWD, io_path(path, "%s/tmp/script", root), script, strlen(script),
			  0600);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	if (faccessat(AT_FDCWD, io_path(path, "%s/bin/sh", root), F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		cmd.argv = busybox;
	return lab_wrap(err, command_run(&cmd, err), "script");
}

/* Remove the regular files below a directory; directories are services' to find */
static void empty_files(int root, const char *path)
{
	int fd = root_open(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		char sub[IO_PATH];

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		if (d->d_type == DT_DIR)
			empty_files(root, io_path(sub, "%s/%s", path, d->d_name));
		else
			unlinkat(fd, d->d_name, 0);
	}
}

static void remove_at(int root, const char *dir, const char *name)
{
	autoclose int fd = root_open(root, dir, O_PATH | O_DIRECTORY, 0);

	if (fd >= 0)
		unlinkat(fd, name, 0);
}

static void remove_matching(int root, const char *path, const char *prefix, const char *suffix)
{
	int fd = root_open(root, path, O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		size_t n = strlen(d->d_name), s = strlen(suffix);

		if (d->d_type == DT_REG && n >= s && !strncmp(d->d_name, prefix, strlen(prefix)) &&
		    !strcmp(d->d_name + n - s, suffix))
			unlinkat(fd, d->d_name, 0);
	}
}

int root_clean(const char *root, struct lab_err *err)
{
	static const char *const emptied[] = { "/var/cache/apt", "/var/lib/apt/lists",
					       "/var/cache/debconf/tmp.ci", "/var/log",
					       "/var/cache/ldconfig" };
	static const char *const removed[][2] = {
		{ "/etc", "hostname" },
		{ "/var/lib/dbus", "machine-id" },
		{ "/etc/apt/apt.conf.d", "99mmdebstrap" },
		{ "/etc/apt/sources.list.d", "0000sources.list" },
		{ "/root", ".bash_history" },
		{ "/var/lib/systemd", "random-seed" },
		{ "/etc", ".pwd.lock" },
		{ "/var/lib/dpkg", "lock" },
		{ "/var/lib/dpkg", "lock-frontend" },
		{ "/var/lib/apt", "extended_states" },
	};
	autoclose int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	autoclose int etc = -EBADF;
	struct stat st;

	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", root);
	for (size_t i = 0; i < ARRAY_SIZE(emptied); i++)
		empty_files(fd, emptied[i]);
	for (size_t i = 0; i < ARRAY_SIZE(removed); i++)
		remove_at(fd, removed[i][0], removed[i][1]);
	remove_matching(fd, "/etc", "", "-"); /* passwd-, group-, shadow-, ... */
	remove_matching(fd, "/var/lib/dpkg", "", "-old");
	remove_matching(fd, "/var/cache/debconf", "", "-old");
	remove_matching(fd, "/etc/ssh", "ssh_host_", "");
	etc = root_open(fd, "/etc", O_PATH | O_DIRECTORY, 0);
	/* mmdebstrap copies the host's resolver; a link of systemd's stays */
	if (etc >= 0 && !fstatat(etc, "resolv.conf", &st, AT_SYMLINK_NOFOLLOW) &&
	    S_ISREG(st.st_mode))
		unlinkat(etc, "resolv.conf", 0);
	/* empty, not missing: a missing one makes systemd think of a first boot */
	if (etc >= 0 && !fstatat(etc, "machine-id", &st, AT_SYMLINK_NOFOLLOW)) {
		autoclose int id = openat(etc, "machine-id",
					  O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);

		if (id < 0)
			return lab_fail_errno(err, -errno, "/etc/machine-id");
	}
	return 0;
}
