// SPDX-License-Identifier: GPL-2.0-or-later
/* test_inspect.c - links that stay in the guest; disks that are chains of files */
#define _GNU_SOURCE
#include "fs/inspect/disk.h"
#include "fs/inspect/link.h"
#include "fs/inspect/same.h"
#include "labd/qcow2.h"
#include "lib/util.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_link(void **state)
{
	static const struct {
		const char *target;
		uint32_t depth;
		const char *shown;
	} cases[] = {
		{ "plain", 0, "plain" },
		{ "a/b/c", 3, "a/b/c" },
		{ "../x", 1, "../x" },
		{ "./../x", 1, "./../x" },
		{ "../x", 0, "x" },
		{ "../../../x", 2, "../../x" },
		{ "/etc/passwd", 0, "etc/passwd" },
		{ "/etc/passwd", 2, "../../etc/passwd" },
		{ "/", 0, "." },
		{ "/", 2, "../.." },
		{ "//..//etc///x/", 1, "../etc/x/" },
		{ "a/../b", 3, "b" },
		{ "a/../../../b", 1, "../b" },
		{ "a/..", 3, "." },
		{ "..a/...", 0, "..a/..." },
		{ "/a/../..", 1, ".." },
		{ "..", 0, "." },
	};
	char shown[INSPECT_TARGET];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(link_show(cases[i].target, cases[i].depth, shown), 0);
		assert_string_equal(shown, cases[i].shown);
	}
}

static void test_long_link(void **state)
{
	char target[INSPECT_TARGET], shown[INSPECT_TARGET];

	(void)state;
	memset(target, 'x', sizeof(target) - 1);
	target[0] = '/';
	target[sizeof(target) - 1] = '\0';
	assert_int_equal(link_show(target, 0, shown), 0);
	assert_int_equal(strlen(shown), sizeof(target) - 2);
	assert_int_equal(link_show(target, INSPECT_MAX_DEPTH, shown), -ENAMETOOLONG);
}

/* A file in the test's own directory, open; its name goes to @path */
static int make_file(char *path, const char *name)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	snprintf(path, 256, "%s/%s.%d", dir ? dir : "/tmp", name, getpid());
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

#define SIZE (1ULL << 20)

/* An empty qcow2 of SIZE, in which the cluster at 64 KiB is at 1 MiB of the file, full of 'Q' */
static int make_qcow2(char *path)
{
	uint64_t l2 = htobe64(2 * SIZE | 1ULL << 63), data = htobe64(SIZE | 1ULL << 63);
	char cluster[65536];
	int fd = make_file(path, "q");

	close(fd);
	unlink(path);
	assert_int_equal(qcow2_create(path, SIZE, "", geteuid(), NULL), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	memset(cluster, 'Q', sizeof(cluster));
	assert_int_equal(pwrite(fd, &l2, sizeof(l2), 3 * 65536), sizeof(l2));
	assert_int_equal(pwrite(fd, cluster, sizeof(cluster), SIZE), sizeof(cluster));
	memset(cluster, 0, sizeof(cluster));
	memcpy(cluster + 8, &data, sizeof(data));
	assert_int_equal(pwrite(fd, cluster, sizeof(cluster), 2 * SIZE), sizeof(cluster));
	return fd;
}

static void test_chain(void **state)
{
	struct disk *d = disk_new();
	struct inspect_run run;
	char q[256], r[256], buf[8];
	int top = make_qcow2(q), bottom = make_file(r, "r");

	(void)state;
	assert_int_equal(pwrite(bottom, "RAWRAWRA", 8, 65536 - 4), 8);
	assert_int_equal(ftruncate(bottom, SIZE / 2), 0);
	assert_int_equal(disk_add(d, top, false, NULL), 0);
	assert_int_equal(disk_add(d, bottom, true, NULL), 0);
	assert_int_equal(disk_size(d), SIZE);

	/* what the top has not is below, and behind the end of that there are zeroes */
	assert_int_equal(disk_read(d, buf, 8, 65536 - 4), 0);
	assert_memory_equal(buf, "RAWRQQQQ", 8);
	assert_int_equal(disk_read(d, buf, 8, SIZE - 4), 0);
	assert_memory_equal(buf, "\0\0\0\0\0\0\0\0", 8);

	assert_int_equal(disk_map(d, 65536 + 512, SIZE, &run), 0);
	assert_int_equal(run.kind, INSPECT_DATA_RUN);
	assert_int_equal(run.file, 0);
	assert_int_equal(run.at, SIZE + 512);
	assert_int_equal(run.length, 65536 - 512);
	assert_int_equal(disk_map(d, SIZE / 2, SIZE / 2, &run), 0);
	assert_int_equal(run.kind, INSPECT_ZERO_RUN);
	assert_null(disk_free(d));
	unlink(q);
	unlink(r);
}

/* A table that points out of the file, or between clusters, is damage and nothing else */
static void test_damage(void **state)
{
	static const uint64_t entries[] = { 64ULL << 30, SIZE + 512, 0x00fffffffffffe00ULL };
	struct inspect_run run;
	char q[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		struct disk *d = disk_new();
		uint64_t entry = htobe64(entries[i]);
		int fd = make_qcow2(q);

		assert_int_equal(pwrite(fd, &entry, sizeof(entry), 2 * SIZE + 8), sizeof(entry));
		assert_int_equal(disk_add(d, fd, false, NULL), 0);
		assert_int_equal(disk_map(d, 65536, 1, &run), -EUCLEAN);
		disk_free(d);
		d = disk_new();
		fd = make_qcow2(q);
		assert_int_equal(pwrite(fd, &entry, sizeof(entry), 3 * 65536), sizeof(entry));
		assert_int_equal(disk_add(d, fd, false, NULL), 0);
		assert_int_equal(disk_map(d, 65536, 1, &run), -EUCLEAN);
		disk_free(d);
	}
	unlink(q);
}

static struct disk *make_chain(const char *top, const char *bottom)
{
	struct disk *d = disk_new();

	if (top)
		assert_int_equal(disk_add(d, open(top, O_RDONLY | O_CLOEXEC), false, NULL), 0);
	assert_int_equal(disk_add(d, open(bottom, O_RDONLY | O_CLOEXEC), true, NULL), 0);
	return d;
}

/* What one of two disks has in a file of its own may differ, and nothing else */
static void test_same(void **state)
{
	struct disk *a, *b;
	static const struct span marks[] = { { 3 * 65536, 3 * 65536 + 4096 },
					     { 4096, 8192 },
					     { 65536, 65536 + 512 } };
	struct same s = { 0 };
	char q[256], r[256];
	uint64_t len;
	int top = make_qcow2(q), bottom = make_file(r, "r");

	(void)state;
	assert_int_equal(pwrite(bottom, "RAW", 3, 0), 3);
	assert_int_equal(ftruncate(bottom, SIZE), 0);
	close(top);
	close(bottom);
	a = make_chain(NULL, r);
	b = make_chain(q, r);
	assert_int_equal(same_scan(a, b, &s), 0);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.v[0].at, 65536);
	assert_int_equal(s.v[0].end, 2 * 65536);
	assert_int_equal(s.v[1].at, SIZE);
	assert_true(same_all(&s, 0, 65536));
	assert_false(same_all(&s, 0, 65537));
	assert_false(same_at(&s, 65536 + 512, SIZE, &len));
	assert_int_equal(len, 65536 - 512);
	assert_true(same_at(&s, 2 * 65536, 2 * SIZE, &len));
	assert_int_equal(len, SIZE - 2 * 65536);
	assert_false(same_all(&s, SIZE, 1));

	/* marks: before, into, between, and one that joins two others */
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		assert_int_equal(same_mark(&s, &marks[i]), 0);
	same_sort(&s);
	assert_false(same_at(&s, 4096, 65536, &len));
	assert_int_equal(len, 4096);
	assert_true(same_all(&s, 8192, 65536 - 8192));
	assert_false(same_at(&s, 65536, SIZE, &len));
	assert_true(len >= 65536);
	assert_true(same_all(&s, 3 * 65536 + 4096, 4096));
	assert_false(same_at(&s, 3 * 65536, SIZE, &len));
	assert_int_equal(len, 4096);
	assert_false(same_all(&s, SIZE, 1));

	/* more than there is room for: all may differ, and there are no more than that */
	for (uint64_t i = 0; i <= SAME_MAX_SPANS; i++) {
		const struct span span = { 2 * i * 512, (2 * i + 1) * 512 };

		assert_int_equal(same_mark(&s, &span), 0);
		assert_true(s.n <= SAME_MAX_SPANS);
	}
	same_sort(&s);
	assert_int_equal(s.n, 1);
	assert_false(same_at(&s, 2 * 65536, SIZE, &len));
	assert_int_equal(len, SIZE);
	same_done(&s);

	/* the same file in both chains: nothing can differ */
	disk_free(a);
	a = make_chain(q, r);
	assert_int_equal(same_scan(a, b, &s), 0);
	assert_int_equal(s.n, 1);
	assert_true(same_all(&s, 0, SIZE));
	same_done(&s);
	disk_free(a);
	disk_free(b);
	unlink(q);
	unlink(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_link),  cmocka_unit_test(test_long_link),
		cmocka_unit_test(test_chain), cmocka_unit_test(test_damage),
		cmocka_unit_test(test_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
