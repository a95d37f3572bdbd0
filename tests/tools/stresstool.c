// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * stresstool.c - several processes do random things with a few names of one directory: as fsstress
 *does
 *
 *	stresstool DIR PROCESSES OPERATIONS SEED
 *
 * Names have a dot in front, as those of copies that wait to be renamed. Each call may fail as
 * the others' work can make it fail, and in no other way: what does is printed, and the exit
 * status is 1. So is a call that takes longer than LONGEST_MS. At the end the names are removed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMES 6
#define LONGEST_MS 2000

static unsigned int seed;
static int dir;

static unsigned int below(unsigned int n)
{
	return (unsigned int)rand_r(&seed) % n;
}

static const char *name(char buf[16])
{
	snprintf(buf, 16, ".s%u", below(NAMES));
	return buf;
}

/* Write some, at some place, through a descriptor that others may have pulled the file from under
 */
static int use(int fd)
{
	char data[20000];
	int r = 0;

	if (fd < 0)
		return -1;
	memset(data, (int)below(256), sizeof(data));
	for (unsigned int n = below(8); !r && n; n--)
		r = pwrite(fd, data, 1 + below(sizeof(data)), below(1 << 20)) < 0 ? -1 : 0;
	if (!r && !below(3))
		r = ftruncate(fd, below(1 << 20));
	if (!r && !below(3))
		r = fallocate(fd, 0, below(1 << 20), 1 + below(1 << 16));
	if (r < 0) {
		int code = errno;

		close(fd);
		errno = code;
		return -1;
	}
	return close(fd);
}

static int do_create(void)
{
	char a[16];

	return use(openat(dir, name(a), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

static int do_open(void)
{
	char a[16];

	return use(openat(dir, name(a), O_RDWR | O_CREAT | O_CLOEXEC | (below(2) ? O_TRUNC : 0),
			  0600));
}

static int do_read(void)
{
	char a[16], data[4096];
	int fd = openat(dir, name(a), O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -1;
	r = pread(fd, data, sizeof(data), below(1 << 20)) < 0 ? errno : 0;
	close(fd);
	errno = r;
	return r ? -1 : 0;
}

static int do_unlink(void)
{
	char a[16];

	return unlinkat(dir, name(a), 0);
}

static int do_rename(void)
{
	char a[16], b[16];

	return renameat2(dir, name(a), dir, name(b), below(2) ? RENAME_NOREPLACE : 0);
}

static int do_stat(void)
{
	struct stat st;
	char a[16];

	return fstatat(dir, name(a), &st, AT_SYMLINK_NOFOLLOW);
}

static int do_list(void)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		return -1;
	while (readdir(d))
		;
	return closedir(d);
}

static int do_chmod(void)
{
	char a[16];

	return fchmodat(dir, name(a), 0600, 0);
}

static const struct {
	const char *name;
	int (*call)(void);
	int errors[6];
} operations[] = {
	{ "create", do_create, { EEXIST, ENODEV, EBUSY } },
	{ "open", do_open, { EBUSY, ENODEV, ENOENT, EEXIST, ESTALE } },
	{ "read", do_read, { ENOENT, ENODEV, ESTALE } },
	{ "unlink", do_unlink, { ENOENT, ESTALE } },
	{ "rename", do_rename, { ENOENT, EEXIST, EBUSY, ESTALE } },
	{ "stat", do_stat, { ENOENT, ENODEV, ESTALE } }, /* ENODEV: others have it open */
	{ "list", do_list, { 0 } },
	{ "chmod", do_chmod, { ENOENT, ENODEV, ESTALE } },
};

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int one(void)
{
	unsigned int i = below(sizeof(operations) / sizeof(operations[0]));
	long start = now_ms(), took;
	int r = operations[i].call(), code = errno;

	took = now_ms() - start;
	if (took > LONGEST_MS) {
		printf("%s took %ld ms\n", operations[i].name, took);
		return 1;
	}
	if (!r)
		return 0;
	for (size_t k = 0; k < sizeof(operations[i].errors) / sizeof(int); k++)
		if (operations[i].errors[k] && operations[i].errors[k] == code)
			return 0;
	printf("%s: %s\n", operations[i].name, strerrorname_np(code));
	return 1;
}

int main(int argc, char **argv)
{
	unsigned int count, processes;
	int status, bad = 0;

	if (argc != 5) {
		fputs("stresstool DIR PROCESSES OPERATIONS SEED\n", stderr);
		return 2;
	}
	processes = (unsigned int)strtoul(argv[2], NULL, 10);
	count = (unsigned int)strtoul(argv[3], NULL, 10);
	dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		perror(argv[1]);
		return 1;
	}
	for (unsigned int p = 0; p < processes; p++) {
		if (fork())
			continue;
		seed = (unsigned int)strtoul(argv[4], NULL, 10) + p;
		for (unsigned int i = 0; i < count; i++)
			bad |= one();
		fflush(stdout);
		_exit(bad);
	}
	while (wait(&status) > 0)
		bad |= status;
	for (unsigned int i = 0; i < NAMES; i++) {
		char a[16];

		snprintf(a, sizeof(a), ".s%u", i);
		if (unlinkat(dir, a, 0) < 0 && errno != ENOENT)
			bad = printf("%s at the end: %s\n", a, strerrorname_np(errno));
	}
	return !!bad;
}
