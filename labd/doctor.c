// SPDX-License-Identifier: GPL-2.0-or-later
/* doctor.c - whether this machine has what labs need, and what to do if not */
#define _GNU_SOURCE
#include "labd/doctor.h"

#include "labd/accel.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define PROGRAM_TIME 900000 /* us; of all programs that are asked for their version */
#define GIB (1ULL << 30)
#define MEMORY_LITTLE (2 * GIB) /* two small guests and a build of an image */
#define MEMORY_NONE (GIB / 2) /* not even one guest */
#define DISK_LITTLE (10 * GIB) /* some images and their layers */
#define DISK_NONE (2 * GIB) /* one build of an image */
#define FILES_WANTED 4096 /* some ten for each instance, and the API's clients */
#define QEMU_OLDEST 702 /* major * 100 + minor; what Debian 12 has */

/**
 * struct doctor - one examination
 * @paths:	as given
 * @checks:	findings so far
 * @accel:	what the probe found, from another thread
 * @deadline:	for programs
 * @failed:	out of memory
 */
struct doctor {
	const struct paths *paths;
	json_t *checks;
	struct accel accel;
	uint64_t deadline;
	bool failed;
};

/* One finding; @fix is left out of an "ok" */
static void finding(struct doctor *d, const char *check, const char *state, const char *fix,
		    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void finding(struct doctor *d, const char *check, const char *state, const char *fix,
		    const char *fmt, ...)
{
	json_t *found;
	va_list ap;

	va_start(ap, fmt);
	found = json_vsprintf(fmt, ap);
	va_end(ap);
	if (json_array_append_new(d->checks,
				  json_pack("{s:s, s:s, s:o, s:s}", "check", check, "state", state,
					    "found", found, "fix", *state == 'o' ? "" : fix)) < 0)
		d->failed = true;
}

static void check_kvm(struct doctor *d)
{
	finding(d, "kvm", d->accel.kvm ? "ok" : "warn",
		"guests run on QEMU's emulator (TCG), some ten times slower, and all works; for "
		"speed, use a machine where KVM works",
		"%s", d->accel.reason);
}

static void check_memory(struct doctor *d)
{
	autofree char *text = NULL;
	unsigned long long total = 0, available = 0;
	char a[NUM_TEXT], b[NUM_TEXT];
	const char *p;

	if (io_read_file(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL) < 0)
		return;
	p = strstr(text, "MemTotal:");
	if (p)
		sscanf(p, "MemTotal: %llu", &total);
	p = strstr(text, "MemAvailable:");
	if (p)
		sscanf(p, "MemAvailable: %llu", &available);
	total *= 1024;
	available *= 1024;
	finding(d, "memory",
		available < MEMORY_NONE	    ? "fail"
		: available < MEMORY_LITTLE ? "warn"
					    : "ok",
		"end other programs, or give the machine more memory: an instance needs its "
		"`memory` and about 60 MiB",
		"%s available of %s", num_size_text(a, available), num_size_text(b, total));
}

/* The directory itself, or what exists of the way to it */
static int stat_near(const char *path, struct statvfs *ret)
{
	char near[IO_PATH];

	snprintf(near, sizeof(near), "%s", path);
	while (statvfs(near, ret) < 0) {
		char *slash = strrchr(near, '/');

		if (errno != ENOENT || !slash || slash == near)
			return -errno;
		*slash = '\0';
	}
	return 0;
}

static void check_disk(struct doctor *d)
{
	static const char fix[] = "make room there, or set LABD_STATE to a directory on a "
				  "larger disk";
	struct statvfs fs;
	char text[NUM_TEXT];
	uint64_t left;
	int r = stat_near(d->paths->state, &fs);

	if (r < 0) {
		finding(d, "disk", "fail", fix, "%s: %s", d->paths->state, strerror(-r));
		return;
	}
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	finding(d, "disk",
		left < DISK_NONE || fs.f_flag & ST_RDONLY ? "fail"
		: left < DISK_LITTLE			  ? "warn"
							  : "ok",
		fix, "%s: %s free%s", d->paths->state, num_size_text(text, left),
		fs.f_flag & ST_RDONLY ? ", read-only" : "");
}

/* Find a program where ordinary users' PATH does not look, too; false if there is none */
static bool find_program(const char *name, char buf[IO_PATH])
{
	autofree char *path = NULL;
	const char *var = getenv("PATH");
	char *save = NULL;

	if (asprintf(&path, "%s:/usr/sbin:/usr/bin:/sbin:/bin", var ? var : "") < 0) {
		path = NULL;
		return false;
	}
	for (char *dir = strtok_r(path, ":", &save); dir; dir = strtok_r(NULL, ":", &save))
		if (!access(io_path(buf, "%s/%s", dir, name), X_OK))
			return true;
	return false;
}

/* Try to open a device for reading and writing; 0 or negative errno */
static int try_device(const char *path)
{
	autoclose int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : 0;
}

static void check_fuse(struct doctor *d)
{
	char path[IO_PATH];
	int r = try_device("/dev/fuse");

	if (r == -EACCES)
		finding(d, "fuse", "warn",
			"as root: chmod 666 /dev/fuse; until then labctl mount does not work",
			"/dev/fuse: %s", strerror(-r));
	else if (r < 0)
		finding(d, "fuse", "warn",
			"as root: modprobe fuse, and apt-get install fuse3; until then labctl "
			"mount "
			"does not work",
			"/dev/fuse: %s", strerror(-r));
	else if (!find_program("fusermount3", path))
		finding(d, "fuse", "warn",
			"as root: apt-get install fuse3; until then labctl mount does not work",
			"/dev/fuse opens, but there is no fusermount3");
	else
		finding(d, "fuse", "ok", "", "/dev/fuse opens, %s", path);
}

static void check_tun(struct doctor *d)
{
	int r = try_device("/dev/net/tun");

	if (r == -EACCES)
		finding(d, "tun", "fail", "as root: chmod 666 /dev/net/tun", "/dev/net/tun: %s",
			strerror(-r));
	else if (r < 0)
		finding(d, "tun", "fail",
			"as root: modprobe tun; if there is no device file: mkdir -p /dev/net && "
			"mknod -m 666 /dev/net/tun c 10 200",
			"/dev/net/tun: %s", strerror(-r));
	else
		finding(d, "tun", "ok", "", "/dev/net/tun opens");
}

/* Really make namespaces, in a child; 0 or negative errno */
static int try_namespaces(int flags)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(unshare(flags) < 0 ? errno : 0);
	if (pid < 0 || RETRY(waitpid(pid, &status, 0)) < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* Which of the known switches keeps an ordinary user from making namespaces */
static const char *namespace_fix(void)
{
	static const struct {
		const char *file, *off, *fix;
	} switches[] = {
		{ "/proc/sys/user/max_user_namespaces", "0",
		  "as root: sysctl -w user.max_user_namespaces=10000" },
		{ "/proc/sys/kernel/unprivileged_userns_clone", "0",
		  "as root: sysctl -w kernel.unprivileged_userns_clone=1" },
		{ "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
		  "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
		autofree char *text = NULL;

		if (io_read_file(AT_FDCWD, switches[i].file, 64, &text, NULL) < 0)
			continue;
		text[strcspn(text, "\n")] = '\0';
		if (!strcmp(text, switches[i].off))
			return switches[i].fix;
	}
	return "inside a container, allow it to make namespaces (CAP_SYS_ADMIN, or unprivileged "
	       "user namespaces in its seccomp profile)";
}

static void check_namespaces(struct doctor *d)
{
	bool root = !geteuid();
	int r = try_namespaces(CLONE_NEWNET | CLONE_NEWNS | (root ? 0 : CLONE_NEWUSER));
	const char *kinds = root ? "network and mount" : "user, network and mount";

	if (r < 0)
		finding(d, "namespaces", "fail", namespace_fix(), "%s namespaces: %s", kinds,
			strerror(-r));
	else
		finding(d, "namespaces", "ok", "", "%s namespaces can be made", kinds);
}

/* Whether a file like /etc/subuid has a range for the user */
static bool has_range(const char *file, const char *name, uid_t uid)
{
	autofree char *text = NULL;
	char number[16], *save = NULL;

	snprintf(number, sizeof(number), "%u", uid);
	if (io_read_file(AT_FDCWD, file, 1 << 20, &text, NULL) < 0)
		return false;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line[strcspn(line, ":")] = '\0';
		if (!strcmp(line, name) || !strcmp(line, number))
			return true;
	}
	return false;
}

/* Only an ordinary user needs these, to build images */
static void check_subids(struct doctor *d)
{
	struct passwd pw, *found = NULL;
	char buf[4096], path[IO_PATH];
	const char *name = "";

	if (!getpwuid_r(geteuid(), &pw, buf, sizeof(buf), &found) && found)
		name = pw.pw_name;
	if (!find_program("newuidmap", path))
		finding(d, "subids", "warn",
			"as root: apt-get install uidmap; until then images cannot be built",
			"no newuidmap");
	else if (!has_range("/etc/subuid", name, geteuid()) ||
		 !has_range("/etc/subgid", name, geteuid()))
		finding(d, "subids", "warn",
			"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "
			"USER; until then images cannot be built",
			"no range for user %s (%u) in /etc/subuid and /etc/subgid", name,
			geteuid());
	else
		finding(d, "subids", "ok", "", "user %s has ranges in /etc/subuid and /etc/subgid",
			name);
}

/* First line of PROGRAM --version, malloced; or NULL and why not */
static char *ask_version(struct doctor *d, const char *program, struct lab_err *err)
{
	const char *argv[] = { program, "--version", NULL };
	struct run run = { .argv = argv, .deadline = d->deadline };
	char *out = NULL;

	if (run_program(&run, &out, err) < 0)
		return NULL;
	out[strcspn(out, "\n")] = '\0';
	return out;
}

/* The number behind "version " as major * 100 + minor, 0 if there is none */
static unsigned int version_number(const char *text)
{
	const char *p = strstr(text, "version ");
	unsigned int major, minor;

	return p && sscanf(p, "version %3u.%2u", &major, &minor) == 2 ? major * 100 + minor : 0;
}

static void check_qemu(struct doctor *d, const char *check, const char *program, const char *fix)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *version = ask_version(d, program, &err);

	if (!version)
		finding(d, check, "fail", fix, "%s", err.text);
	else if (version_number(version) < QEMU_OLDEST)
		finding(d, check, "fail", "QEMU 7.2 or later is needed: use Debian 12 or later",
			"%s", version);
	else
		finding(d, check, "ok", "", "%s", version);
}

static void check_program(struct doctor *d, const char *name, const char *state, const char *fix)
{
	char path[IO_PATH];

	if (find_program(name, path))
		finding(d, name, "ok", "", "%s", path);
	else
		finding(d, name, state, fix, "not installed");
}

static void check_files(struct doctor *d)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	finding(d, "files", limit.rlim_max < FILES_WANTED ? "warn" : "ok",
		"raise the limit of open files (ulimit -n, LimitNOFILE=) to 4096 or more; until "
		"then "
		"large labs cannot start",
		"up to %llu open files", (unsigned long long)limit.rlim_max);
}

static void *probe_thread(void *arg)
{
	accel_probe(arg);
	return NULL;
}

static void check_all(struct doctor *d)
{
	pthread_t thread;
	size_t last;
	/* half of the time limit is this probe's; the rest is looked at meanwhile */
	bool threaded = !pthread_create(&thread, NULL, probe_thread, &d->accel);

	if (!threaded)
		accel_probe(&d->accel);
	check_memory(d);
	check_disk(d);
	check_fuse(d);
	check_tun(d);
	check_namespaces(d);
	if (geteuid())
		check_subids(d);
	check_qemu(d, "qemu", "qemu-system-x86_64", "as root: apt-get install qemu-system-x86");
	check_qemu(d, "qemu-img", "qemu-img", "as root: apt-get install qemu-utils");
	check_program(d, "dnsmasq", "fail", "as root: apt-get install dnsmasq-base");
	check_program(
		d, "mmdebstrap", "warn",
		"as root: apt-get install mmdebstrap; until then images cannot be built, only "
		"imported");
	if (geteuid())
		check_program(d, "slirp4netns", "warn",
			      "as root: apt-get install slirp4netns; until then guests have no way "
			      "out of the lab");
	check_files(d);
	if (threaded)
		pthread_join(thread, NULL);
	check_kvm(d);
	/* the most asked for comes first */
	last = json_array_size(d->checks) - 1;
	json_array_insert(d->checks, 0, json_array_get(d->checks, last));
	json_array_remove(d->checks, last + 1);
}

int doctor_check(const struct paths *paths, json_t **ret, struct lab_err *err)
{
	struct doctor d = {
		.paths = paths,
		.checks = json_array(),
		.deadline = num_now_us() + PROGRAM_TIME,
	};

	if (d.checks)
		check_all(&d);
	if (!d.checks || d.failed) {
		json_decref(d.checks);
		return lab_fail(err, -ENOMEM, "out of memory");
	}
	*ret = d.checks;
	return 0;
}
