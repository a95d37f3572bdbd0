// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * callname.c - do one system call with a path and print what came of it: 0 or the name of the errno
 *
 *	callname CALL PATH [ARGUMENT]
 *
 * read and readfd print what they read to standard error, so that a script can have both.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Read to the end; 0 or -1. The path of readfd is the number of a descriptor */
static int read_all(int fd)
{
	char buf[65536];
	ssize_t n = -1;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		if (write(STDERR_FILENO, buf, (size_t)n) != n)
			return -1;
	return n < 0 ? -1 : 0;
}

static int call_read(const char *path, const char *arg)
{
	(void)arg;
	return read_all(open(path, O_RDONLY | O_CLOEXEC));
}

static int call_readfd(const char *path, const char *arg)
{
	(void)arg;
	return read_all((int)strtol(path, NULL, 10));
}

/* As a shell does: what is refused on close counts as well */
static int call_write(const char *path, const char *arg)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	ssize_t n = fd < 0 ? -1 : write(fd, arg, strlen(arg));

	if (fd < 0 || n < 0)
		return -1;
	return close(fd);
}

static int open_with(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0666);

	return fd < 0 ? -1 : close(fd);
}

static int call_openr(const char *path, const char *arg)
{
	(void)arg;
	return open_with(path, O_RDONLY);
}

static int call_openw(const char *path, const char *arg)
{
	(void)arg;
	return open_with(path, O_WRONLY);
}

static int call_openrw(const char *path, const char *arg)
{
	(void)arg;
	return open_with(path, O_RDWR);
}

static int call_create(const char *path, const char *arg)
{
	(void)arg;
	return open_with(path, O_WRONLY | O_CREAT | O_EXCL);
}

static int call_mkdir(const char *path, const char *arg)
{
	(void)arg;
	return mkdir(path, 0777);
}

static int call_rmdir(const char *path, const char *arg)
{
	(void)arg;
	return rmdir(path);
}

static int call_unlink(const char *path, const char *arg)
{
	(void)arg;
	return unlink(path);
}

static int call_rename(const char *path, const char *arg)
{
	return rename(path, arg);
}

static int call_link(const char *path, const char *arg)
{
	return link(path, arg);
}

static int call_symlink(const char *path, const char *arg)
{
	(void)arg;
	return symlink("target", path);
}

static int call_mkfifo(const char *path, const char *arg)
{
	(void)arg;
	return mkfifo(path, 0666);
}

static int call_chmod(const char *path, const char *arg)
{
	return chmod(path, (mode_t)strtoul(arg, NULL, 8));
}

static int call_chown(const char *path, const char *arg)
{
	return chown(path, (uid_t)strtoul(arg, NULL, 10), (gid_t)-1);
}

static int call_utimens(const char *path, const char *arg)
{
	(void)arg;
	return utimensat(AT_FDCWD, path, NULL, 0);
}

static int call_truncate(const char *path, const char *arg)
{
	return truncate(path, strtol(arg, NULL, 10));
}

static int call_setxattr(const char *path, const char *arg)
{
	(void)arg;
	return setxattr(path, "user.x", "1", 1, 0);
}

static int call_getxattr(const char *path, const char *arg)
{
	char value[16];

	(void)arg;
	return getxattr(path, "user.x", value, sizeof(value)) < 0 ? -1 : 0;
}

static const struct {
	const char *name;
	int (*call)(const char *path, const char *arg);
} calls[] = {
	{ "read", call_read },	       { "readfd", call_readfd },     { "write", call_write },
	{ "openr", call_openr },       { "openw", call_openw },	      { "openrw", call_openrw },
	{ "create", call_create },     { "mkdir", call_mkdir },	      { "rmdir", call_rmdir },
	{ "unlink", call_unlink },     { "rename", call_rename },     { "link", call_link },
	{ "symlink", call_symlink },   { "mkfifo", call_mkfifo },     { "chmod", call_chmod },
	{ "chown", call_chown },       { "utimens", call_utimens },   { "truncate", call_truncate },
	{ "setxattr", call_setxattr }, { "getxattr", call_getxattr },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc >= 3 && i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(calls[i].name, argv[1]) != 0)
			continue;
		if (calls[i].call(argv[2], argc > 3 ? argv[3] : "") < 0)
			puts(errno == EOPNOTSUPP ? "EOPNOTSUPP" : strerrorname_np(errno));
		else
			puts("0");
		return 0;
	}
	fputs("callname CALL PATH [ARGUMENT]\n", stderr);
	return 2;
}
