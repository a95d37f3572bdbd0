// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_labram.c - what is loaded into QEMU, and what labd asks it; also one that lies
 *
 * The child of the test loads labram.so and calls its functions, as QEMU does.
 *
 * TIMEOUT: 120
 */
#define _GNU_SOURCE
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/ramguest.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#define WAIT (num_now_us() + 5000000)

/* ---- the guest, as QEMU maps its memory --------------------------------------------- */

static int (*its_open)(const char *path, int flags, ...);
static void *(*its_mmap)(void *addr, size_t len, int prot, int flags, int fd, off64_t offset);

static bool load_labram(const char *ram)
{
	const char *dir = getenv("LABD_EXEC");
	char path[IO_PATH];
	void *lib;

	if (setenv("LAB_RAM", ram, 1) || setenv("LAB_RAM_SOCKET", "socket", 1))
		return false;
	lib = dlopen(io_path(path, "%s/labram.so", dir ? dir : "."), RTLD_NOW);
	if (!lib)
		return false;
	its_open = (int (*)(const char *, int, ...))dlsym(lib, "open64");
	its_mmap = (void *(*)(void *, size_t, int, int, int, off64_t))dlsym(lib, "mmap64");
	return its_open && its_mmap;
}

/* memory-backend-file,share=on */
static char *map_as_qemu(const char *path, uint64_t size)
{
	struct stat st;
	int fd;

	if (!load_labram(path))
		return MAP_FAILED;
	fd = its_open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return MAP_FAILED;
	if ((uint64_t)st.st_size != size && ftruncate(fd, (off_t)size) < 0)
		return MAP_FAILED;
	return its_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
}

/* Other files are what they are: made with the mode that was asked for, and shared */
static char *map_another(const char *path, uint64_t size)
{
	char *other;
	int fd;

	if (map_as_qemu(path, size) == MAP_FAILED)
		return MAP_FAILED;
	fd = its_open("other", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0 || ftruncate(fd, MIB) < 0)
		return MAP_FAILED;
	other = its_mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (other != MAP_FAILED)
		memset(other, 'o', MIB);
	return other;
}

static void test_zero(void **state)
{
	struct ram_chain c = { .size = 2 * MIB };
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_with(&g, map_as_qemu, ZERO, 2 * MIB);
	rg_open_ram(&g, &ram);
	assert_string_equal(ram.mapped, ZERO);
	assert_true(rg_as_wanted(&g));
	rg_fill(&g, 5, 100, 'a');
	rg_save(&ram, &c, "base");
	assert_true(rg_file_is("base/ram", rg_want, 2 * MIB));
	ram_close(&ram);
	rg_end(&g);
}

static void test_file(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *base = malloc(2 * MIB);
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;
	int one;

	(void)state;
	rg_start_on_base(&g, map_as_qemu, &ram, 2 * MIB);
	memcpy(base, rg_want, 2 * MIB);
	/* nobody can write to it: it was opened for reading, and is mapped privately */
	one = open("base/ram", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fcntl(one, F_SETLEASE, F_RDLCK), 0);
	close(one);
	for (int i = 0; i < 3; i++) {
		rg_fill(&g, 0, 200, 'X' + i);
		rg_fill(&g, 510, 2, 'Y');
		assert_int_equal(ram_private(&ram, &err), 202);
		assert_true(rg_file_is("base/ram", base, 2 * MIB));
		memcpy(rg_want, base, 2 * MIB);
		assert_false(rg_as_wanted(&g));
		rg_open_chain(&c, 2 * MIB, DIRS("base"));
		rg_ok(ram_load(&ram, &c, &err), &err);
		ram_chain_close(&c);
		assert_true(rg_as_wanted(&g));
	}
	/* to a memory that stands on it */
	rg_fill(&g, 7, 3, 'Z');
	rg_open_chain(&c, 2 * MIB, DIRS("base"));
	rg_save(&ram, &c, "delta");
	rg_tell(&g, RG_FILL, 0, 300, 'W');
	rg_open_chain(&c, 0, DIRS("base", "delta"));
	assert_int_equal(c.size, 2 * MIB);
	rg_ok(ram_load(&ram, &c, &err), &err);
	assert_int_equal(c.written, 300 * RAM_PAGE);
	assert_true(rg_as_wanted(&g));
	ram_chain_close(&c);
	ram_close(&ram);
	rg_end(&g);
}

static void test_other_file(void **state)
{
	struct ramguest g;
	struct stat st;
	char o[16];
	int fd;

	(void)state;
	rg_start_with(&g, map_another, ZERO, 2 * MIB);
	fd = open("other", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(pread(fd, o, sizeof(o), MIB - sizeof(o)), sizeof(o));
	assert_memory_equal(o, "oooooooooooooooo", sizeof(o));
	close(fd);
	rg_end(&g);
}

/* ---- what is written while it is saved ------------------------------------------------ */

static bool track(struct ram *ram)
{
	struct lab_err err = LAB_ERR_INIT;

	if (!ram_track(ram, "socket", WAIT, &err))
		return true;
	print_message("this kernel does not remember what is written: %s\n", err.text);
	assert_false(ram->tracked);
	return false;
}

/* Save in two passes, of which the second has only what was written in between */
static void check_twice(struct ramguest *g, struct ram *ram, struct ram_chain *c, int byte)
{
	struct lab_err err = LAB_ERR_INIT;
	bool tracked = track(ram);
	uint64_t before;

	rg_ok(ram_save(ram, c, &err), &err);
	before = c->written;
	rg_ok(ram_save_again(ram, c, &err), &err);
	assert_int_equal(c->written, before);
	rg_fill(g, 3, 1, byte);
	rg_fill(g, 63, 200, byte);
	rg_fill(g, 400, 1, rg_want[400 * RAM_PAGE]); /* the same */
	rg_tell(g, RG_READ, 0, PAGES(g->size), 0);
	rg_ok(ram_save_again(ram, c, &err), &err);
	assert_int_equal(c->written, before + 201 * RAM_PAGE);
	rg_fill(g, 100, 1, byte + 1);
	rg_ok(ram_save_again(ram, c, &err), &err);
	assert_int_equal(c->written, before + 202 * RAM_PAGE);
	assert_true(ram->tracked == tracked);
}

static void test_written(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c = { .size = 2 * MIB };
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_with(&g, map_as_qemu, ZERO, 2 * MIB);
	rg_open_ram(&g, &ram);
	rg_fill(&g, 10, 30, 'a');
	assert_int_equal(io_mkdirs("whole", 0700), 0);
	rg_ok(ram_chain_create(&c, "whole", &err), &err);
	check_twice(&g, &ram, &c, 'p');
	check_twice(&g, &ram, &c, 's'); /* the next snapshot */
	rg_ok(ram_chain_finish(&c, "whole", &err), &err);
	ram_chain_close(&c);
	assert_true(rg_file_is("whole/ram", rg_want, 2 * MIB));
	ram_close(&ram);
	rg_end(&g);
}

static void test_written_on_file(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_on_base(&g, map_as_qemu, &ram, 2 * MIB);
	rg_fill(&g, 10, 30, 'A');
	rg_open_chain(&c, 2 * MIB, DIRS("base"));
	assert_int_equal(io_mkdirs("delta", 0700), 0);
	rg_ok(ram_chain_create(&c, "delta", &err), &err);
	check_twice(&g, &ram, &c, 'P');
	rg_ok(ram_chain_finish(&c, "delta", &err), &err);
	rg_check_flat(&c);
	/* it goes back, and what is remembered of its pages is of no harm */
	rg_open_chain(&c, 2 * MIB, DIRS("base", "delta"));
	rg_tell(&g, RG_FILL, 0, 512, 'B');
	rg_ok(ram_load(&ram, &c, &err), &err);
	assert_true(rg_as_wanted(&g));
	rg_fill(&g, 20, 5, 'C');
	assert_int_equal(io_mkdirs("more", 0700), 0);
	rg_ok(ram_chain_create(&c, "more", &err), &err);
	check_twice(&g, &ram, &c, 'S');
	rg_check_flat(&c);
	ram_close(&ram);
	rg_end(&g);
}

/* A guest that runs all the while, and rests for the second pass */
static void race(rg_map_fn map_memory)
{
	const uint64_t size = 8 * MIB;
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;

	rg_start_on_base(&g, map_memory, &ram, size);
	for (int i = 0; i < 8; i++) {
		char dir[16];

		assert_true(rg_tell(&g, RG_RACE, 0, 0, 0));
		snprintf(dir, sizeof(dir), "%d", i);
		rg_open_chain(&c, size, DIRS("base"));
		assert_int_equal(io_mkdirs(dir, 0700), 0);
		rg_ok(ram_chain_create(&c, dir, &err), &err);
		if (map_memory)
			(void)track(&ram);
		rg_ok(ram_save(&ram, &c, &err), &err);
		assert_true(rg_tell(&g, RG_REST, 0, 0, 0));
		rg_ok(ram_save_again(&ram, &c, &err), &err);
		rg_check_flat(&c);
	}
	ram_close(&ram);
	rg_end(&g);
}

static void test_race(void **state)
{
	(void)state;
	race(map_as_qemu);
}

/* As on kernels that remember nothing */
static void test_race_untracked(void **state)
{
	(void)state;
	race(NULL);
}

/* ---- one that lies --------------------------------------------------------------------- */

struct liar {
	int listener;
	const char *says;
	size_t len;
};

static void *lie(void *arg)
{
	const struct liar *l = arg;
	autoclose int fd = accept4(l->listener, NULL, NULL, SOCK_CLOEXEC);
	char op;

	if (fd >= 0 && recv(fd, &op, 1, 0) == 1 && l->says)
		(void)send(fd, l->says, l->len, MSG_NOSIGNAL);
	return NULL;
}

/* What is made of an answer of @len bytes; NULL: it hangs up */
static void check_answer(const char *says, size_t len, int want)
{
	struct liar l = { io_listen_unix("liar", SOCK_SEQPACKET, 0600), says, len };
	struct ram ram = { .mem = -EBADF, .pagemap = -EBADF, .addr = RAM_PAGE, .size = RAM_PAGE };
	struct lab_err err = LAB_ERR_INIT;
	pthread_t thread;

	assert_true(l.listener >= 0);
	assert_int_equal(pthread_create(&thread, NULL, lie, &l), 0);
	assert_int_equal(ram_track(&ram, "liar", WAIT, &err), want);
	assert_int_equal(err.code, want);
	assert_non_null(strstr(err.text, "liar"));
	assert_false(ram.tracked);
	assert_int_equal(pthread_join(thread, NULL), 0);
	close(l.listener);
	unlink("liar");
}

static void check_code(int code, int want)
{
	check_answer((const char *)&code, sizeof(code), want);
}

static void test_lies(void **state)
{
	struct ram ram = { .mem = -EBADF, .pagemap = -EBADF, .addr = RAM_PAGE, .size = RAM_PAGE };
	char much[64] = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	int listener;
	char path[200];
	uint64_t began;

	(void)state;
	check_code(ENOMEM, -ENOMEM);
	check_code(-ENOMEM, -EPROTO);
	check_code(INT_MIN, -EPROTO);
	check_code(INT_MAX, -EPROTO);
	check_code(4096, -EPROTO);
	check_answer(NULL, 0, -ECONNRESET);
	check_answer("x", 1, -ECONNRESET);
	check_answer(much, 0, -ECONNRESET);
	assert_int_equal(ram_track(&ram, "nobody", WAIT, &err), -ENOENT);
	memset(path, 'p', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(ram_track(&ram, path, WAIT, &err), -ENAMETOOLONG);
	/* one that never answers, nor takes anybody's connection */
	listener = io_listen_unix("liar", SOCK_SEQPACKET, 0600);
	began = num_now_us();
	assert_int_equal(ram_track(&ram, "liar", began + 30000, &err), -ETIMEDOUT);
	assert_in_range(num_now_us() - began, 20000, 5000000);
	assert_int_equal(ram_track(&ram, "liar", 0, &err), -ETIMEDOUT);
	close(listener);
}

/* It answers that the kernel remembers, and it does not: it is looked at all the same */
static void test_lie_of_track(void **state)
{
	struct liar l = { io_listen_unix("liar", SOCK_SEQPACKET, 0600), "\0\0\0\0", sizeof(int) };
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c = { .size = MIB };
	struct ram ram;
	struct ramguest g;
	pthread_t thread;

	(void)state;
	rg_start(&g, ZERO, MIB);
	rg_open_ram(&g, &ram);
	assert_int_equal(pthread_create(&thread, NULL, lie, &l), 0);
	assert_true(ram_track(&ram, "liar", WAIT, &err) < 0);
	assert_non_null(strstr(err.text, "remembering"));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(ram.tracked);
	assert_int_equal(io_mkdirs("base", 0700), 0);
	rg_ok(ram_chain_create(&c, "base", &err), &err);
	rg_fill(&g, 1, 2, 'x');
	rg_ok(ram_save_again(&ram, &c, &err), &err);
	ram_chain_close(&c);
	assert_true(rg_file_is("base/ram", rg_want, MIB));
	close(l.listener);
	ram_close(&ram);
	rg_end(&g);
}

static void test_ended_meanwhile(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct ram_chain c;
	struct ram ram;
	struct ramguest g;

	(void)state;
	rg_start_on_base(&g, map_as_qemu, &ram, MIB);
	rg_open_chain(&c, MIB, DIRS("base"));
	assert_int_equal(io_mkdirs("delta", 0700), 0);
	rg_ok(ram_chain_create(&c, "delta", &err), &err);
	(void)track(&ram);
	rg_ok(ram_save(&ram, &c, &err), &err);
	rg_fill(&g, 4, 4, 'x');
	rg_kill(&g);
	assert_in_range(-ram_save_again(&ram, &c, &err), 1, 4095);
	assert_int_equal(ram_track(&ram, "socket", WAIT, &err), -ECONNREFUSED);
	ram_chain_close(&c);
	ram_close(&ram);
	rg_end(&g);
}

#define T(name) cmocka_unit_test_setup(name, rg_set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_zero),
		T(test_file),
		T(test_other_file),
		T(test_written),
		T(test_written_on_file),
		T(test_race),
		T(test_race_untracked),
		T(test_lies),
		T(test_lie_of_track),
		T(test_ended_meanwhile),
	};

	return cmocka_run_group_tests(tests, rg_set_up_all, rg_tear_down_all);
}
