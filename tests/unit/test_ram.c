// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_ram.c - a guest's memory, saved and loaded; the guest is a child of the test
 *
 * TIMEOUT: 120
 */
#define _GNU_SOURCE
#include "lib/io.h"
#include "lib/util.h"
#include "tests/lib/ramguest.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- finding it --------------------------------------------------------------- */

static void test_open(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram ram = { .mem = 77 };
	struct ramguest g;

	(void)state;
	rg_start(&g, ZERO, 3 * MIB);
	assert_int_equal(ram_open(g.pid, g.pidfd, 2 * MIB, &ram, &err), -ENODATA);
	assert_non_null(strstr(err.text, "restart it"));
	assert_int_equal(ram_open(g.pid, g.pidfd, 0, &ram, &err), -ENODATA);
	assert_int_equal(ram_open(g.pid, g.pidfd, 3 * MIB + 1, &ram, &err), -ENODATA);
	assert_int_equal(ram.mem, 77);
	rg_open_ram(&g, &ram);
	assert_string_equal(ram.mapped, ZERO);
	ram_close(&ram);
	assert_int_equal(ram.mem, -EBADF);
	ram_close(&ram);
	/* its guest has less than QEMU maps, which are whole MiB */
	g.size = 3 * MIB - 5;
	assert_int_equal(ram_open(g.pid, g.pidfd, g.size, &ram, &err), 0);
	assert_int_equal(ram.size, 3 * MIB);
	ram_close(&ram);
	rg_end(&g);
}

/*
 * Mappings at rising addresses, none of which is a guest's memory; last, twice, one that
 * is: the first of the two is found
 */
static char *map_decoys(const char *path, uint64_t size)
{
	const int rw = PROT_READ | PROT_WRITE, fixed = MAP_FIXED | MAP_PRIVATE;
	char *at = mmap(NULL, 10 * (size + MIB), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *p;

	rg_map(at, path, size, rw, MAP_FIXED | MAP_SHARED, 0);
	rg_map(at += size + MIB, path, size, PROT_READ, fixed, 0);
	rg_map(at += size + MIB, path, size, rw | PROT_EXEC, fixed, 0);
	rg_map(at += size + MIB, path, size, rw, fixed, RAM_PAGE);
	rg_map(at += size + MIB, path, size - RAM_PAGE, rw, fixed, 0);
	rg_map(at += size + MIB, path, size + RAM_PAGE, rw, fixed, 0);
	(void)mmap(at += size + MIB, size, rw, fixed | MAP_ANONYMOUS, -1, 0);
	rg_map(at += size + MIB, "ram.dir/ramdisk", size, rw, fixed, 0);
	p = rg_map(at += size + MIB, path, size, rw, fixed, 0);
	rg_map(at + size + MIB, ZERO, size, rw, fixed, 0);
	return p;
}

static void make_file(const char *path, const char *data, uint64_t size)
{
	assert_int_equal(io_write_file(AT_FDCWD, path, data, size, 0600), 0);
}

static void test_open_one_of_many(void **state)
{
	char path[IO_PATH];
	struct ram ram;
	struct ramguest g;

	(void)state;
	assert_int_equal(io_mkdirs("ram.dir", 0700), 0);
	assert_int_equal(io_mkdirs("a dir\nof two", 0700), 0);
	make_file("ram.dir/ramdisk", rg_want, MIB);
	make_file("a dir\nof two/ram", rg_want, MIB + RAM_PAGE);
	rg_start_with(&g, map_decoys, "a dir\nof two/ram", MIB);
	rg_open_ram(&g, &ram);
	/* as the kernel writes it */
	assert_string_equal(ram.mapped, io_path(path, "%s/a dir\\012of two/ram", rg_dir));
	ram_close(&ram);
	/* the snapshot that it was is gone, and it runs on */
	assert_int_equal(unlink("a dir\nof two/ram"), 0);
	rg_open_ram(&g, &ram);
	ram_close(&ram);
	rg_end(&g);
}

/* A name that is longer than what is read of a line */
static void test_open_long_name(void **state)
{
	char name[201], path[IO_PATH] = ".";
	struct ram ram;
	struct ramguest g;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (int i = 0; i < 12; i++) {
		size_t n = strlen(path);

		snprintf(path + n, sizeof(path) - n, "/%s", name);
	}
	assert_int_equal(io_mkdirs(path, 0700), 0);
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "/ram");
	make_file(path, rg_want, MIB);
	rg_start(&g, path, MIB);
	/* not found, rather than something else at the end of the line */
	assert_int_equal(ram_open(g.pid, g.pidfd, MIB, &ram, NULL), -ENODATA);
	rg_end(&g);
}

static void test_open_ended(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram ram = { .mem = 77 };
	struct ramguest g;

	(void)state;
	rg_start(&g, ZERO, MIB);
	rg_kill(&g);
	assert_int_equal(ram_open(g.pid, g.pidfd, g.size, &ram, &err), -ESRCH);
	assert_non_null(strstr(err.text, "has ended"));
	assert_int_equal(waitpid(g.pid, NULL, 0), g.pid);
	assert_int_equal(ram_open(g.pid, g.pidfd, g.size, &ram, &err), -ESRCH);
	/* its number is that of another process now, which looks the same */
	close(g.order);
	close(g.answer);
	int old = g.pidfd;

	rg_start(&g, ZERO, MIB);
	assert_int_equal(ram_open(g.pid, old, g.size, &ram, &err), -ESRCH);
	assert_int_equal(ram.mem, 77);
	close(old);
	rg_end(&g);
}

/* ---- saving --------------------------------------------------------------------- */

static void test_whole(void **state)
{
	struct ram_chain c = { .size = 2 * MIB };
	struct lab_err err = LAB_ERR_INIT;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start(&g, ZERO, 2 * MIB);
	rg_open_ram(&g, &ram);
	rg_fill(&g, 0, 1, 'a');
	rg_fill(&g, 63, 3, 'b'); /* over the end of a batch */
	rg_fill(&g, 100, 200, 'c'); /* more neighbours than a batch has */
	rg_fill(&g, 301, 1, 0); /* written, and the same */
	rg_fill(&g, 511, 1, 'd'); /* the last one */
	rg_tell(&g, RG_READ, 400, 20, 0);
	assert_in_range(ram_private(&ram, &err), 206, 512);
	assert_int_equal(io_mkdirs("whole", 0700), 0);
	rg_ok(ram_chain_create(&c, "whole", &err), &err);
	assert_int_equal(c.n, 1);
	rg_ok(ram_save(&ram, &c, &err), &err);
	assert_int_equal(c.written, 205 * RAM_PAGE);
	rg_ok(ram_save(&ram, &c, &err), &err);
	assert_int_equal(c.written, 205 * RAM_PAGE); /* there is nothing more to do */
	rg_fill(&g, 0, 1, 'e');
	rg_fill(&g, 100, 1, 0);
	rg_ok(ram_save(&ram, &c, &err), &err);
	assert_int_equal(c.written, 207 * RAM_PAGE);
	rg_ok(ram_chain_finish(&c, "whole", &err), &err);
	ram_chain_close(&c);
	assert_true(rg_file_is("whole/ram", rg_want, 2 * MIB));
	assert_int_equal(access("whole/ram.map", F_OK), -1);
	rg_open_chain(&c, 2 * MIB, DIRS("whole"));
	rg_check_flat(&c);
	ram_close(&ram);
	rg_end(&g);
}

/* What the pages of a map are: "5,100-102" */
static void read_bits(const char *path, char *buf, size_t size)
{
	autofree char *bits = NULL;
	size_t len = 0;

	buf[0] = '\0';
	assert_int_equal(io_read_file(AT_FDCWD, path, BIG, &bits, &len), 0);
	for (size_t i = 0, end; i < len * 8; i = end + 1) {
		for (end = i; end < len * 8 && bits[end / 8] >> end % 8 & 1;)
			end++;
		if (end > i)
			snprintf(buf + strlen(buf), size - strlen(buf),
				 end > i + 1 ? "%s%zu-%zu" : "%s%zu", *buf ? "," : "", i, end - 1);
	}
}

static void test_delta(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c;
	char bits[256];
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_on_base(&g, NULL, &ram, 2 * MIB);
	rg_fill(&g, 5, 1, 'X');
	rg_fill(&g, 9, 1, rg_want[9 * RAM_PAGE]); /* the same: the guest's own, but not another */
	rg_fill(&g, 12, 1, 0); /* was not zero */
	rg_fill(&g, 130, 150, 'Y');
	rg_fill(&g, 511, 1, 'Z');
	rg_tell(&g, RG_READ, 300, 100, 0);
	assert_int_equal(ram_private(&ram, &err), 154);
	rg_open_chain(&c, 2 * MIB, DIRS("base"));
	rg_save(&ram, &c, "delta");
	assert_int_equal(c.written, 153 * RAM_PAGE);
	read_bits("delta/ram.map", bits, sizeof(bits));
	assert_string_equal(bits, "5,12,130-279,511");
	rg_open_chain(&c, 2 * MIB, DIRS("base", "delta"));
	rg_check_flat(&c);
	ram_close(&ram);
	rg_end(&g);
}

/* Saved while it runs: what has changed back since is in the map, and right */
static void test_delta_twice(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c;
	char bits[256], was;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_on_base(&g, NULL, &ram, MIB);
	was = rg_want[7 * RAM_PAGE];
	rg_open_chain(&c, MIB, DIRS("base"));
	assert_int_equal(io_mkdirs("delta", 0700), 0);
	rg_ok(ram_chain_create(&c, "delta", &err), &err);
	rg_ok(ram_save(&ram, &c, &err), &err);
	assert_int_equal(c.written, 0);
	rg_fill(&g, 7, 2, 'X');
	rg_ok(ram_save(&ram, &c, &err), &err);
	rg_fill(&g, 7, 1, was);
	rg_fill(&g, 20, 1, 'Y');
	rg_ok(ram_save(&ram, &c, &err), &err);
	assert_int_equal(c.written, 4 * RAM_PAGE);
	rg_ok(ram_chain_finish(&c, "delta", &err), &err);
	ram_chain_close(&c);
	read_bits("delta/ram.map", bits, sizeof(bits));
	assert_string_equal(bits, "7-8,20");
	rg_open_chain(&c, MIB, DIRS("base", "delta"));
	rg_check_flat(&c);
	ram_close(&ram);
	rg_end(&g);
}

static int64_t diff(const char *const a[], const char *const b[], size_t common)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain one, two;
	int64_t n;

	rg_open_chain(&one, 0, a);
	rg_open_chain(&two, 0, b);
	n = ram_chain_diff(&one, &two, common, &err);
	assert_int_equal(ram_chain_diff(&two, &one, common, &err), n);
	ram_chain_close(&one);
	ram_chain_close(&two);
	return n;
}

/* Two memories of one guest: how many pages are others */
static void test_diff(void **state)
{
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;
	char was;

	(void)state;
	rg_start_on_base(&g, NULL, &ram, 2 * MIB);
	was = rg_want[200 * RAM_PAGE];
	rg_fill(&g, 10, 1, 'X');
	rg_fill(&g, 200, 3, 'X');
	rg_open_chain(&c, 2 * MIB, DIRS("base"));
	rg_save(&ram, &c, "one");
	rg_fill(&g, 200, 1, was); /* as it was in "base" */
	rg_fill(&g, 511, 1, 'Y');
	rg_open_chain(&c, 2 * MIB, DIRS("base", "one"));
	rg_save(&ram, &c, "two");
	rg_open_chain(&c, 2 * MIB, DIRS("base"));
	rg_save(&ram, &c, "three"); /* the same as "two" */
	for (size_t common = 0; common < 2; common++) {
		assert_int_equal(diff(DIRS("base"), DIRS("base"), common), 0);
		assert_int_equal(diff(DIRS("base"), DIRS("base", "one"), common), 4);
		assert_int_equal(diff(DIRS("base"), DIRS("base", "one", "two"), common), 4);
		assert_int_equal(diff(DIRS("base", "one", "two"), DIRS("base", "three"), common),
				 0);
	}
	assert_int_equal(diff(DIRS("base", "one"), DIRS("base", "one", "two"), 2), 2);
	assert_int_equal(diff(DIRS("base", "one"), DIRS("base", "one"), 2), 0);
	ram_close(&ram);
	rg_end(&g);
	/* of another size: all are */
	rg_start(&g, ZERO, 3 * MIB);
	rg_open_ram(&g, &ram);
	c.size = 3 * MIB;
	rg_save(&ram, &c, "large");
	assert_int_equal(diff(DIRS("base"), DIRS("large"), 0), PAGES(3 * MIB));
	ram_close(&ram);
	rg_end(&g);
}

/* ---- loading -------------------------------------------------------------------- */

static void test_load(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *base = malloc(2 * MIB), *first = malloc(2 * MIB);
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_on_base(&g, NULL, &ram, 2 * MIB);
	memcpy(base, rg_want, 2 * MIB);
	rg_fill(&g, 0, 70, 'X');
	rg_fill(&g, 500, 12, 'Y');
	rg_open_chain(&c, 2 * MIB, DIRS("base"));
	rg_save(&ram, &c, "first");
	memcpy(first, rg_want, 2 * MIB);
	rg_fill(&g, 60, 20, 'Z');
	rg_fill(&g, 499, 2, rg_want[498 * RAM_PAGE]);
	rg_open_chain(&c, 2 * MIB, DIRS("base", "first"));
	rg_save(&ram, &c, "second");

	/* back to each of them, in the process that has run, and in one that has not */
	for (int fresh = 0; fresh < 2; fresh++) {
		memcpy(rg_want, base, 2 * MIB);
		rg_open_chain(&c, 2 * MIB, DIRS("base"));
		assert_true(rg_as_wanted(&g) == fresh);
		rg_ok(ram_load(&ram, &c, &err), &err);
		ram_chain_close(&c);
		assert_true(rg_as_wanted(&g));
		memcpy(rg_want, first, 2 * MIB);
		rg_open_chain(&c, 2 * MIB, DIRS("base", "first"));
		rg_ok(ram_load(&ram, &c, &err), &err);
		assert_int_equal(c.written, 82 * RAM_PAGE);
		rg_ok(ram_load(&ram, &c, &err), &err);
		assert_int_equal(c.written, 82 * RAM_PAGE);
		assert_true(rg_as_wanted(&g));
		rg_check_flat(&c);
		memset(rg_want + 60 * RAM_PAGE, 'Z', 20 * RAM_PAGE);
		memcpy(rg_want + 499 * RAM_PAGE, rg_want + 498 * RAM_PAGE, RAM_PAGE);
		memcpy(rg_want + 500 * RAM_PAGE, rg_want + 498 * RAM_PAGE, RAM_PAGE);
		rg_open_chain(&c, 2 * MIB, DIRS("base", "first", "second"));
		rg_ok(ram_load(&ram, &c, &err), &err);
		assert_true(rg_as_wanted(&g));
		rg_check_flat(&c);
		ram_close(&ram);
		rg_end(&g);
		rg_start(&g, "base/ram", 2 * MIB);
		rg_open_ram(&g, &ram);
	}
	/* none of it has changed what others map */
	assert_true(rg_file_is("base/ram", base, 2 * MIB));
	ram_close(&ram);
	rg_end(&g);
}

#define LAYERS 8

/* Any writes, a memory after each, and back to any of them; the seed is always the same */
static void test_many(void **state)
{
	const uint64_t size = BIG, pages = PAGES(size);
	char names[LAYERS][16], *then[LAYERS];
	struct lab_err err = LAB_ERR_INIT;
	unsigned short seed[3] = { 1, 2, 3 };
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_on_base(&g, NULL, &ram, size);
	for (int i = 0; i < LAYERS; i++) {
		const char *dirs[LAYERS + 2] = { "base" };

		for (int k = 0; k < 40; k++) {
			uint64_t page = (uint64_t)nrand48(seed) % pages;
			uint64_t n = (uint64_t)nrand48(seed) % 100 + 1;

			rg_fill(&g, page, MIN(n, pages - page), (int)(nrand48(seed) % 4));
		}
		for (int k = 0; k < i; k++)
			dirs[k + 1] = names[k];
		snprintf(names[i], sizeof(names[i]), "%d", i);
		rg_open_chain(&c, size, dirs);
		rg_save(&ram, &c, names[i]);
		then[i] = malloc(size);
		memcpy(then[i], rg_want, size);
	}
	for (int k = 0; k < 2 * LAYERS; k++) {
		const char *dirs[LAYERS + 2] = { "base" };
		int i = (int)(nrand48(seed) % LAYERS);

		for (int l = 0; l <= i; l++)
			dirs[l + 1] = names[l];
		rg_open_chain(&c, size, dirs);
		rg_ok(ram_load(&ram, &c, &err), &err);
		memcpy(rg_want, then[i], size);
		assert_true(rg_as_wanted(&g));
		if (k % 4 == 0)
			rg_check_flat(&c);
		ram_chain_close(&c);
	}
	for (int i = 0; i < LAYERS; i++)
		free(then[i]);
	ram_close(&ram);
	rg_end(&g);
}

/* No whole number of batches, nor of bytes in the map */
static void test_odd_size(void **state)
{
	const uint64_t size = 100 * RAM_PAGE + RAM_PAGE;
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c = { .size = size };
	struct ram ram;
	struct ramguest g;
	char bits[64];
	int fd;

	(void)state;
	rg_start(&g, ZERO, MIB);
	rg_open_ram(&g, &ram);
	ram.size = size;
	rg_fill(&g, 90, 11, 'a');
	rg_tell(&g, RG_FILL, 101, 20, 'b'); /* behind its end */
	rg_save(&ram, &c, "base");
	assert_int_equal(c.written, 11 * RAM_PAGE);
	rg_fill(&g, 99, 2, 'c');
	rg_open_chain(&c, size, DIRS("base"));
	rg_save(&ram, &c, "delta");
	read_bits("delta/ram.map", bits, sizeof(bits));
	assert_string_equal(bits, "99-100");
	/* bits behind the last page say nothing */
	assert_int_equal(chmod("delta/ram.map", 0600), 0);
	fd = open("delta/ram.map", O_RDWR | O_CLOEXEC);
	assert_int_equal(lseek(fd, 0, SEEK_END), 13);
	assert_int_equal(pwrite(fd, "\xf8", 1, 12), 1);
	close(fd);
	read_bits("delta/ram.map", bits, sizeof(bits));
	assert_string_equal(bits, "99-103");
	rg_open_chain(&c, size, DIRS("base", "delta"));
	rg_fill(&g, 95, 6, 'd');
	rg_ok(ram_load(&ram, &c, &err), &err);
	memset(rg_want + 95 * RAM_PAGE, 'a', 4 * RAM_PAGE);
	memset(rg_want + 99 * RAM_PAGE, 'c', 2 * RAM_PAGE);
	memset(rg_want + 101 * RAM_PAGE, 'b', 20 * RAM_PAGE);
	assert_true(rg_as_wanted(&g));
	rg_check_flat(&c);
	ram_close(&ram);
	rg_end(&g);
}

/* ---- what must not work ----------------------------------------------------------- */

static void put_file(const char *path, const void *data, size_t len)
{
	unlink(path);
	assert_int_equal(io_write_file(AT_FDCWD, path, data, len, 0600), 0);
}

/* Pushing @dir on top of "base" fails, says which file, and changes nothing */
static void check_refused(const char *dir, int code, const char *words)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c;

	rg_open_chain(&c, MIB, DIRS("base"));
	assert_int_equal(ram_chain_push(&c, dir, &err), code);
	if (!strstr(err.text, words))
		fail_msg("'%s' does not say '%s'", err.text, words);
	assert_int_equal(c.n, 1);
	ram_chain_close(&c);
}

static void test_damaged(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	uint8_t map[40] = { 0xff };
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_on_base(&g, NULL, &ram, MIB);
	rg_fill(&g, 3, 1, 'X');
	rg_open_chain(&c, MIB, DIRS("base"));
	rg_save(&ram, &c, "delta");
	ram_close(&ram);
	rg_end(&g);

	put_file("delta/ram.map", map, 31);
	check_refused("delta", -EUCLEAN, "delta/ram.map");
	put_file("delta/ram.map", map, 0);
	check_refused("delta", -EUCLEAN, "delta/ram.map");
	put_file("delta/ram.map", map, 33);
	check_refused("delta", -EFBIG, "delta/ram.map");
	assert_int_equal(unlink("delta/ram.map"), 0);
	check_refused("delta", -ENOENT, "delta/ram.map");
	put_file("delta/ram.map", map, 32);
	assert_int_equal(truncate("delta/ram", MIB - RAM_PAGE), 0);
	check_refused("delta", -EUCLEAN, "delta/ram has 1044480 bytes, and not 1048576");
	assert_int_equal(truncate("delta/ram", 2 * MIB), 0);
	check_refused("delta", -EUCLEAN, "delta/ram has");
	assert_int_equal(truncate("delta/ram", 0), 0);
	check_refused("delta", -EUCLEAN, "delta/ram has 0 bytes");
	assert_int_equal(unlink("delta/ram"), 0);
	check_refused("delta", -ENOENT, "delta/ram");
	check_refused("nowhere", -ENOENT, "nowhere/ram");

	/* what is to stand on something cannot be at the bottom */
	assert_int_equal(rename("delta/ram.map", "base/ram.map"), 0);
	c = (struct ram_chain){ .size = MIB };
	assert_int_equal(ram_chain_push(&c, "base", &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "base/ram.map"));
	assert_int_equal(c.n, 0);
	ram_chain_close(&c);
}

static size_t descriptors(void)
{
	autodir DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(dir))
		n++;
	return n;
}

static void test_too_long(void **state)
{
	struct ram_chain c = { .size = MIB };
	struct lab_err err = LAB_ERR_INIT;
	size_t before = descriptors();
	char dir[16];
	int r = 0;

	(void)state;
	for (int i = 0; i < RAM_MAX_CHAIN; i++) {
		snprintf(dir, sizeof(dir), "%d", i);
		assert_int_equal(io_mkdirs(dir, 0700), 0);
		rg_ok(ram_chain_create(&c, dir, &err), &err);
		rg_ok(ram_chain_finish(&c, dir, &err), &err);
	}
	assert_int_equal(descriptors(), before + RAM_MAX_CHAIN);
	assert_int_equal(io_mkdirs("more", 0700), 0);
	assert_int_equal(ram_chain_create(&c, "more", &err), -E2BIG);
	assert_int_equal(ram_chain_push(&c, "1", &err), -E2BIG);
	assert_non_null(strstr(err.text, "64"));
	assert_int_equal(c.n, RAM_MAX_CHAIN);
	/* what is there can be made one */
	rg_check_flat(&c);
	assert_int_equal(descriptors(), before);
	/* and is not overwritten */
	r = ram_chain_create(&c, "1", &err);
	assert_int_equal(r, -EEXIST);
	r = ram_chain_flatten(&c, "1", &err);
	assert_int_equal(r, -EEXIST);
	assert_int_equal(c.n, 0);
	assert_int_equal(descriptors(), before);
}

/* A chain of another size than the guest, or of nothing at all */
static void test_other_size(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c = { .size = MIB };
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start(&g, ZERO, 2 * MIB);
	rg_open_ram(&g, &ram);
	rg_fill(&g, 0, PAGES(2 * MIB), 'a');
	c.size = 2 * MIB;
	assert_int_equal(ram_save(&ram, &c, &err), -EINVAL);
	assert_int_equal(ram_load(&ram, &c, &err), -EINVAL);
	for (uint64_t size = MIB; size <= 3 * MIB; size += 2 * MIB) {
		c.size = size;
		assert_int_equal(io_mkdirs("base", 0700), 0);
		rg_ok(ram_chain_create(&c, "base", &err), &err);
		err.text[0] = '\0';
		assert_int_equal(ram_save(&ram, &c, &err), -EINVAL);
		assert_int_equal(ram_load(&ram, &c, &err), -EINVAL);
		assert_non_null(strstr(err.text, "2097152"));
		ram_chain_close(&c);
		assert_int_equal(io_remove_tree(AT_FDCWD, "base"), 1);
	}
	assert_true(rg_as_wanted(&g));
	ram_close(&ram);
	rg_end(&g);
}

static void test_disk_full(void **state)
{
	struct ram_chain c = { .size = MIB };
	struct lab_err err = LAB_ERR_INIT;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start(&g, ZERO, MIB);
	rg_open_ram(&g, &ram);
	rg_fill(&g, 0, 1, 'a');
	assert_int_equal(io_mkdirs("base", 0700), 0);
	rg_ok(ram_chain_create(&c, "base", &err), &err);
	close(c.layers[0].fd);
	c.layers[0].fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	assert_int_equal(ram_save(&ram, &c, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "No space"));
	ram_chain_close(&c);
	ram_close(&ram);
	rg_end(&g);
}

/* ---- it ends, or lies --------------------------------------------------------------- */

static void test_ended(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_on_base(&g, NULL, &ram, MIB);
	rg_fill(&g, 3, 1, 'X');
	rg_open_chain(&c, MIB, DIRS("base"));
	assert_int_equal(io_mkdirs("delta", 0700), 0);
	rg_ok(ram_chain_create(&c, "delta", &err), &err);
	rg_ok(ram_save(&ram, &c, &err), &err);
	for (int reaped = 0; reaped < 2; reaped++) {
		if (reaped)
			rg_end(&g);
		else
			rg_kill(&g);
		assert_int_equal(ram_save(&ram, &c, &err), -EIO);
		assert_int_equal(ram_load(&ram, &c, &err), -EIO);
		assert_int_equal(ram_private(&ram, &err), -EIO);
	}
	ram_chain_close(&c);
	ram_close(&ram);
}

static void *kill_it(void *arg)
{
	kill(*(const pid_t *)arg, SIGKILL);
	return NULL;
}

/* At any moment of a save: it has all, or it says so */
static void test_ends_meanwhile(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	pthread_t killer;
	struct ram ram;
	struct ramguest g;

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct ram_chain c = { .size = BIG };
		int r;

		rg_start(&g, ZERO, BIG);
		rg_open_ram(&g, &ram);
		assert_true(rg_tell(&g, RG_FILL, 0, PAGES(BIG), 'a'));
		assert_int_equal(io_mkdirs("base", 0700), 0);
		rg_ok(ram_chain_create(&c, "base", &err), &err);
		assert_int_equal(pthread_create(&killer, NULL, kill_it, &g.pid), 0);
		r = ram_save(&ram, &c, &err);
		assert_int_equal(pthread_join(killer, NULL), 0);
		if (r)
			assert_int_equal(r, -EIO);
		else
			assert_int_equal(c.written, BIG);
		ram_chain_close(&c);
		ram_close(&ram);
		rg_end(&g);
		assert_int_equal(io_remove_tree(AT_FDCWD, "base"), 1);
	}
}

/* A QEMU that was taken over gives its memory away under our hands */
static void test_unmapped(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_on_base(&g, NULL, &ram, MIB);
	rg_fill(&g, 0, 200, 'X');
	rg_open_chain(&c, MIB, DIRS("base"));
	rg_save(&ram, &c, "delta");
	assert_true(rg_tell(&g, RG_UNMAP, 100, 50, 0));
	assert_int_equal(ram_private(&ram, &err), 150);
	rg_open_chain(&c, MIB, DIRS("base", "delta"));
	assert_int_equal(ram_load(&ram, &c, &err), -EIO);
	assert_non_null(strstr(err.text, "loading"));
	assert_int_equal(ram_open(g.pid, g.pidfd, MIB, &ram, &err), -ENODATA);
	ram_chain_close(&c);
	ram_close(&ram);
	rg_end(&g);
}

#define T(name) cmocka_unit_test_setup(name, rg_set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_open),		T(test_open_one_of_many),
		T(test_open_long_name), T(test_open_ended),
		T(test_whole),		T(test_delta),
		T(test_delta_twice),	T(test_diff),
		T(test_load),		T(test_many),
		T(test_odd_size),	T(test_damaged),
		T(test_too_long),	T(test_other_size),
		T(test_disk_full),	T(test_ended),
		T(test_ends_meanwhile), T(test_unmapped),
	};

	return cmocka_run_group_tests(tests, rg_set_up_all, rg_tear_down_all);
}
