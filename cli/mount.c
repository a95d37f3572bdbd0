// SPDX-License-Identifier: GPL-2.0-or-later
/* mount.c - labctl mount and umount: the tree of labfs */
#define _GNU_SOURCE
#include "cli/commands.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define MOUNT_US 15000000ULL
#define DEFAULT_DIR "lab"
#define TYPE "fuse.labfs"

/*
 * The absolute path, without following what is mounted there: a dead mount
 * cannot be looked into, but its parent can.
 */
static int absolute(const char *dir, char ret[IO_PATH], struct lab_err *err)
{
	autofree char *copy = strdup(dir), *parent = NULL;
	size_t len = copy ? strlen(copy) : 0;
	char *slash;

	if (!copy)
		return lab_fail_errno(err, -ENOMEM, "%s", dir);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	if (!strcmp(copy, ".") || !strcmp(copy, "..") || !strcmp(copy, "/"))
		return lab_fail(err, -EINVAL, "%s: name a directory to mount at", dir);
	if (slash)
		*slash = '\0';
	parent = realpath(slash ? (slash == copy ? "/" : copy) : ".", NULL);
	if (!parent)
		return lab_fail_errno(err, -errno, "%s", dir);
	io_path(ret, "%s/%s", strcmp(parent, "/") ? parent : "", slash ? slash + 1 : copy);
	return *ret ? 0 : lab_fail_errno(err, -ENAMETOOLONG, "%s", dir);
}

/* The type of what is mounted at a path last, "" if nothing is */
static void mounted_type(const char *path, char type[64])
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;

	type[0] = '\0';
	if (!f)
		return;
	while ((m = getmntent(f)))
		if (!strcmp(m->mnt_dir, path))
			snprintf(type, 64, "%s", m->mnt_type);
	endmntent(f);
}

/*
 * A labfs that ended without unmounting: everything in it is ENOTCONN. stat()
 * may still be answered from the kernel's cache, opening is not.
 */
static bool is_dead(const char *path)
{
	autoclose int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 && errno == ENOTCONN;
}

/* Unmount as root or, by fusermount3, as the user who mounted */
static int unmount(const char *path, bool lazy, struct lab_err *err)
{
	const char *argv[] = { "fusermount3", "-u", lazy ? "-z" : "--", path, NULL };
	struct run run = { .argv = argv, .deadline = num_now_us() + MOUNT_US };

	if (!umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)))
		return 0;
	if (errno == EBUSY)
		return lab_fail(
			err, -EBUSY,
			"%s is in use: leave it (a shell's current directory counts), or take "
			"--lazy",
			path);
	if (errno != EPERM)
		return lab_fail_errno(err, -errno, "unmount %s", path);
	return run_program(&run, NULL, err);
}

static int make_directory(const char *path, struct lab_err *err)
{
	if (!mkdir(path, 0755) || errno == EEXIST)
		return 0;
	return lab_fail_errno(err, -errno, "mkdir %s", path);
}

static int mount_at(struct cli *cli, const char *path)
{
	char program[IO_PATH], type[64];
	const char *argv[] = { cli_program(cli, "labfs", program), "--socket", cli->socket, path,
			       NULL };
	struct run run = { .argv = argv, .deadline = num_now_us() + MOUNT_US };
	int r;

	mounted_type(path, type);
	if (*type && is_dead(path)) {
		r = unmount(path, true, &cli->err);
		if (r < 0)
			return lab_wrap(&cli->err, r, "clear the dead mount");
	} else if (!strcmp(type, TYPE)) {
		return 1;
	}
	r = make_directory(path, &cli->err);
	return r < 0 ? r : run_program(&run, NULL, &cli->err);
}

static int run_mount(struct cli *cli, int argc, char **argv)
{
	char path[IO_PATH];
	int r;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	r = absolute(optind < argc ? argv[optind] : DEFAULT_DIR, path, &cli->err);
	if (!r)
		r = cli_ready(cli);
	if (!r)
		r = mount_at(cli, path);
	if (r >= 0 && cli->quiet)
		puts(path);
	else if (r >= 0 && !cli->json)
		printf("the labs are %s at %s\n", r ? "mounted already" : "mounted", path);
	return cli_end(cli, r);
}

static int run_umount(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "lazy", no_argument, NULL, 'l' }, CLI_LONG };
	char path[IO_PATH], type[64];
	bool lazy = false;
	int c, r;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "l", options)) != -1) {
		if (c == '?')
			return cli->exit;
		lazy = true;
	}
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	r = absolute(optind < argc ? argv[optind] : DEFAULT_DIR, path, &cli->err);
	if (r < 0)
		return cli_end(cli, r);
	mounted_type(path, type);
	if (!*type)
		r = lab_fail(&cli->err, -EINVAL, "nothing is mounted at %s", path);
	else if (strcmp(type, TYPE) != 0)
		r = lab_fail(&cli->err, -EINVAL, "what is mounted at %s is not labfs but %s", path,
			     type);
	else
		r = unmount(path, lazy || is_dead(path), &cli->err);
	return cli_end(cli, r);
}

const struct command cmd_mount = {
	.name = "mount",
	.args = "[DIR]",
	.summary = "Show labs and images as a directory tree (labfs)",
	.details = "DIR is ./lab if it is left out, and made if it is missing. A dead mount, left "
		   "by a\n"
		   "labfs that was killed, is cleared first.\n\n"
		   "Example:\n  labctl mount ./lab && ls lab/labs\n",
	.run = run_mount,
};

const struct command cmd_umount = {
	.name = "umount",
	.args = "[DIR] [--lazy]",
	.summary = "Take the directory tree away",
	.details = "  -l, --lazy  also while somebody uses it; it goes when they leave\n\n"
		   "Example:\n  labctl umount ./lab\n",
	.run = run_umount,
};
