// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fsxtool.c - random operations on one file, each compared with what memory says: as fsx does
 *
 *	fsxtool FILE OPERATIONS SEED [MAX-SIZE]
 *
 * DOC: Theory of Operation
 *
 * Writes, appends, truncates, punches holes, allocates, reads, maps and seeks at random places of a
 *file that is made here, and does the same with a buffer in memory. What is read has to be what the
 *buffer has; where data and holes are may differ, but a hole must be zeros there. The seed makes a
 *run repeatable: a failure says which operation it was.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_SIZE ((size_t)1 << 20)
#define MAX_CHUNK ((size_t)160 << 10) /* more than one request to a FUSE server */

static struct {
	const char *path;
	int fd;
	unsigned int seed, op, mapped;
	size_t max, size;
	unsigned char *good, *buf;
} fsx;

static size_t below(size_t n)
{
	return n ? ((size_t)rand_r(&fsx.seed) << 15 ^ (size_t)rand_r(&fsx.seed)) % n : 0;
}

static int complain(const char *what, size_t off, size_t len)
{
	fprintf(stderr, "fsxtool: operation %u: %s at %zu, %zu bytes of %zu: %s\n", fsx.op, what,
		off, len, fsx.size, errno ? strerror(errno) : "differs");
	return -1;
}

static int same(const char *what, const unsigned char *got, size_t off, size_t len)
{
	errno = 0;
	for (size_t i = 0; i < len; i++)
		if (got[i] != fsx.good[off + i])
			return complain(what, off + i, len - i);
	return 0;
}

static void grow(size_t end)
{
	if (end > fsx.size)
		fsx.size = end; /* what is behind is zero always */
}

static int do_write(void)
{
	size_t off = below(fsx.max - 1), len = 1 + below(MAX_CHUNK);

	len = len > fsx.max - off ? fsx.max - off : len;
	for (size_t i = 0; i < len; i++)
		fsx.good[off + i] = (unsigned char)rand_r(&fsx.seed);
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fsx.fd, fsx.good + off + done, len - done, (off_t)(off + done));

		if (n <= 0)
			return complain("write", off, len);
		done += (size_t)n;
	}
	grow(off + len);
	return 0;
}

static int do_read(void)
{
	size_t off = below(fsx.size), len = 1 + below(MAX_CHUNK), want = fsx.size - off;
	ssize_t n = pread(fsx.fd, fsx.buf, len, (off_t)off);

	want = want > len ? len : want;
	if (n != (ssize_t)want)
		return complain("short read", off, len);
	return same("read", fsx.buf, off, want);
}

static int do_truncate(void)
{
	size_t to = below(fsx.max);

	if (ftruncate(fsx.fd, (off_t)to) < 0)
		return complain("truncate", to, 0);
	if (to < fsx.size)
		memset(fsx.good + to, 0, fsx.size - to);
	fsx.size = to;
	return 0;
}

static int do_punch(void)
{
	size_t off = below(fsx.size), len = 1 + below(MAX_CHUNK);

	if (fallocate(fsx.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) <
	    0)
		return complain("punch", off, len);
	len = off + len > fsx.size ? fsx.size - off : len;
	memset(fsx.good + off, 0, len);
	return 0;
}

static int do_allocate(void)
{
	size_t off = below(fsx.max - 1), len = 1 + below(fsx.max - off - 1);

	if (fallocate(fsx.fd, 0, (off_t)off, (off_t)len) < 0)
		return complain("fallocate", off, len);
	grow(off + len);
	return 0;
}

/* Files that are not cached cannot be mapped shared: a private mapping reads all the same */
static int do_map(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), off = below(fsx.size) / page * page;
	size_t len = fsx.size - off;
	void *p;
	int r;

	len = len > MAX_CHUNK ? MAX_CHUNK : len;
	if (!len)
		return 0;
	p = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fsx.fd, (off_t)off);
	if (p == MAP_FAILED)
		return complain("mmap", off, len);
	r = same("mmap", p, off, len);
	munmap(p, len);
	fsx.mapped++;
	return r;
}

static int do_seek(void)
{
	size_t off = below(fsx.size);
	off_t data = lseek(fsx.fd, (off_t)off, SEEK_DATA);
	size_t end = data < 0 ? fsx.size : (size_t)data;

	if (!fsx.size || (data < 0 && errno != ENXIO))
		return fsx.size ? complain("seek", off, 0) : 0;
	for (size_t i = off; i < end; i++) {
		errno = 0;
		if (fsx.good[i])
			return complain("a hole with data", i, end - i);
	}
	return 0;
}

static int do_stat(void)
{
	struct stat st;

	if (fstat(fsx.fd, &st) < 0)
		return complain("fstat", 0, 0);
	errno = 0;
	return (size_t)st.st_size == fsx.size ? 0 : complain("size", (size_t)st.st_size, 0);
}

/* Go on through a second descriptor, which only reads: one name has one writer */
static int do_reopen(void)
{
	int fd = open(fsx.path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	size_t off = below(fsx.size);

	if (fd < 0)
		return complain("open", 0, 0);
	n = pread(fd, fsx.buf, MAX_CHUNK, (off_t)off);
	close(fd);
	if (n < 0)
		return complain("read of another descriptor", off, 0);
	return same("read of another descriptor", fsx.buf, off, (size_t)n);
}

static int (*const operations[])(void) = { do_write, do_write,	  do_write,    do_read,
					   do_read,  do_map,	  do_truncate, do_punch,
					   do_seek,  do_allocate, do_stat,     do_reopen };

/* The whole file, at the end */
static int check_all(void)
{
	size_t done = 0;

	while (done < fsx.size) {
		ssize_t n = pread(fsx.fd, fsx.buf, MAX_CHUNK, (off_t)done);

		if (n <= 0)
			return complain("read at the end", done, 0);
		if (same("read at the end", fsx.buf, done, (size_t)n) < 0)
			return -1;
		done += (size_t)n;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int count;
	int r = 0;

	if (argc < 4) {
		fputs("fsxtool FILE OPERATIONS SEED [MAX-SIZE]\n", stderr);
		return 2;
	}
	fsx.path = argv[1];
	count = (unsigned int)strtoul(argv[2], NULL, 10);
	fsx.seed = (unsigned int)strtoul(argv[3], NULL, 10);
	fsx.max = argc > 4 ? strtoul(argv[4], NULL, 10) : MAX_SIZE;
	fsx.good = calloc(1, fsx.max + MAX_CHUNK);
	fsx.buf = calloc(1, MAX_CHUNK);
	fsx.fd = open(fsx.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (!fsx.good || !fsx.buf || fsx.fd < 0) {
		perror(fsx.path);
		return 1;
	}
	for (fsx.op = 1; !r && fsx.op <= count; fsx.op++)
		r = operations[below(sizeof(operations) / sizeof(operations[0]))]();
	if (!r)
		r = check_all();
	if (close(fsx.fd) < 0) {
		perror("close");
		r = -1;
	}
	if (!r)
		printf("%u operations, %u mappings, %zu bytes\n", count, fsx.mapped, fsx.size);
	return r ? 1 : 0;
}
