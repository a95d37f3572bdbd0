// SPDX-License-Identifier: GPL-2.0-or-later
/* ramguest.c - a child of a test whose memory is saved and loaded as a guest's is */
#define _GNU_SOURCE
#include "tests/lib/ramguest.h"

#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

/* ---- the guest -------------------------------------------------------------- */

struct order {
	enum rg_op op;
	uint64_t page, n;
	int byte;
};

char rg_dir[64];
char *rg_want;

static atomic_bool racing;
static pthread_t racer;

struct race {
	char *mem;
	uint64_t size;
};

static void *race(void *arg)
{
	const struct race *r = arg;
	unsigned short seed[3] = { 4, 5, 6 };

	while (atomic_load(&racing)) {
		uint64_t page = (uint64_t)nrand48(seed) % PAGES(r->size);
		int byte = (int)(nrand48(seed) % 5);

		memset(r->mem + page * RAM_PAGE, byte, RAM_PAGE);
		memset(rg_want + page * RAM_PAGE, byte, RAM_PAGE);
	}
	return NULL;
}

static bool start_race(char *mem, uint64_t size)
{
	static struct race r;

	r = (struct race){ mem, size };
	atomic_store(&racing, true);
	return !pthread_create(&racer, NULL, race, &r);
}

static bool end_race(void)
{
	atomic_store(&racing, false);
	return !pthread_join(racer, NULL);
}

static bool obey(char *mem, uint64_t size, const struct order *o)
{
	volatile char sum = 0;

	switch (o->op) {
	case RG_FILL:
		memset(mem + o->page * RAM_PAGE, o->byte, o->n * RAM_PAGE);
		break;
	case RG_READ:
		for (uint64_t i = o->page; i < o->page + o->n; i++)
			sum = (char)(sum + mem[i * RAM_PAGE]);
		break;
	case RG_COMPARE:
		return !memcmp(mem, rg_want, size);
	case RG_UNMAP:
		return !munmap(mem + o->page * RAM_PAGE, o->n * RAM_PAGE);
	case RG_RACE:
		return start_race(mem, size);
	case RG_REST:
		return end_race();
	}
	return true;
}

char *rg_map(char *at, const char *path, uint64_t size, int prot, int flags, off_t offset)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *p = fd < 0 ? MAP_FAILED : mmap(at, size, prot, flags, fd, offset);

	close(fd);
	return p;
}

static char *map_one(const char *path, uint64_t size)
{
	return rg_map(NULL, path, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
}

static void live(int order, int answer, rg_map_fn map_memory, const char *path, uint64_t size)
{
	char *mem = map_memory(path, size);
	struct order o;
	bool ok;

	if (write(answer, &mem, sizeof(mem)) != sizeof(mem))
		_exit(1);
	while (read(order, &o, sizeof(o)) == sizeof(o)) {
		ok = obey(mem, size, &o);
		if (write(answer, &ok, sizeof(ok)) != sizeof(ok))
			break;
	}
	_exit(0);
}

void rg_start_with(struct ramguest *g, rg_map_fn map_memory, const char *path, uint64_t size)
{
	int order[2], answer[2];

	assert_int_equal(pipe2(order, O_CLOEXEC), 0);
	assert_int_equal(pipe2(answer, O_CLOEXEC), 0);
	g->pid = fork();
	assert_true(g->pid >= 0);
	if (!g->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(order[1]);
		live(order[0], answer[1], map_memory, path, size);
	}
	close(order[0]);
	close(answer[1]);
	g->pidfd = pidfd_open(g->pid, 0);
	assert_true(g->pidfd >= 0);
	g->order = order[1];
	g->answer = answer[0];
	g->size = size;
	assert_int_equal(read(g->answer, &g->at, sizeof(g->at)), sizeof(g->at));
	assert_ptr_not_equal(g->at, MAP_FAILED);
}

void rg_start(struct ramguest *g, const char *path, uint64_t size)
{
	rg_start_with(g, map_one, path, size);
}

void rg_kill(const struct ramguest *g)
{
	siginfo_t info;

	assert_int_equal(kill(g->pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)g->pid, &info, WEXITED | WNOWAIT), 0);
}

void rg_end(struct ramguest *g)
{
	kill(g->pid, SIGKILL);
	assert_int_equal(waitpid(g->pid, NULL, 0), g->pid);
	close(g->pidfd);
	close(g->order);
	close(g->answer);
}

bool rg_tell(struct ramguest *g, enum rg_op op, uint64_t page, uint64_t n, int byte)
{
	struct order o = { op, page, n, byte };
	bool ok = false;

	assert_int_equal(write(g->order, &o, sizeof(o)), sizeof(o));
	assert_int_equal(read(g->answer, &ok, sizeof(ok)), sizeof(ok));
	return ok;
}

void rg_fill(struct ramguest *g, uint64_t page, uint64_t n, int byte)
{
	memset(rg_want + page * RAM_PAGE, byte, n * RAM_PAGE);
	assert_true(rg_tell(g, RG_FILL, page, n, byte));
}

bool rg_as_wanted(struct ramguest *g)
{
	return rg_tell(g, RG_COMPARE, 0, 0, 0);
}

/* ---- memories ---------------------------------------------------------------- */

void rg_open_ram(const struct ramguest *g, struct ram *ram)
{
	struct lab_err err = LAB_ERR_INIT;

	if (ram_open(g->pid, g->pidfd, g->size, ram, &err) < 0)
		fail_msg("%s", err.text);
	assert_true((char *)(uintptr_t)ram->addr == g->at);
	assert_int_equal(ram->size, g->size);
}

void rg_ok(int r, const struct lab_err *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
}

void rg_save(const struct ram *ram, struct ram_chain *c, const char *dir)
{
	struct lab_err err = LAB_ERR_INIT;

	assert_int_equal(io_mkdirs(dir, 0700), 0);
	rg_ok(ram_chain_create(c, dir, &err), &err);
	rg_ok(ram_save(ram, c, &err), &err);
	rg_ok(ram_chain_finish(c, dir, &err), &err);
	ram_chain_close(c);
}

void rg_open_chain(struct ram_chain *c, uint64_t size, const char *const dirs[])
{
	struct lab_err err = LAB_ERR_INIT;

	*c = (struct ram_chain){ .size = size };
	for (; *dirs; dirs++)
		rg_ok(ram_chain_push(c, *dirs, &err), &err);
}

bool rg_file_is(const char *path, const char *data, size_t size)
{
	autofree char *text = NULL;
	size_t len = 0;

	assert_int_equal(io_read_file(AT_FDCWD, path, BIG, &text, &len), 0);
	return len == size && !memcmp(text, data, size);
}

void rg_check_flat(struct ram_chain *c)
{
	struct lab_err err = LAB_ERR_INIT;
	uint64_t size = c->size;

	assert_int_equal(io_mkdirs("flat", 0700), 0);
	rg_ok(ram_chain_flatten(c, "flat", &err), &err);
	assert_int_equal(c->n, 1);
	assert_null(c->layers[0].map);
	rg_ok(ram_chain_finish(c, "flat", &err), &err);
	ram_chain_close(c);
	assert_true(rg_file_is("flat/ram", rg_want, size));
	assert_int_equal(access("flat/ram.map", F_OK), -1);
	assert_int_equal(io_remove_tree(AT_FDCWD, "flat"), 1);
}

void rg_start_on_base(struct ramguest *g, rg_map_fn map_memory, struct ram *ram, uint64_t size)
{
	struct ram_chain c = { .size = size };

	rg_start(g, ZERO, size);
	rg_open_ram(g, ram);
	for (uint64_t i = 0; i < PAGES(size); i += 3)
		rg_fill(g, i, MIN((uint64_t)2, PAGES(size) - i), 'a' + (int)(i % 23));
	rg_save(ram, &c, "base");
	ram_close(ram);
	rg_end(g);
	rg_start_with(g, map_memory ? map_memory : map_one, "base/ram", size);
	rg_open_ram(g, ram);
	assert_true(rg_as_wanted(g));
	assert_int_equal(ram_private(ram, NULL), 0);
}

int rg_set_up_all(void **state)
{
	const char *tmp = getenv("TEST_DIR");

	(void)state;
	rg_want = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(rg_dir, sizeof(rg_dir), "%.40s/ram.XXXXXX", tmp ? tmp : "/tmp");
	return rg_want != MAP_FAILED && mkdtemp(rg_dir) ? 0 : -1;
}

int rg_tear_down_all(void **state)
{
	(void)state;
	munmap(rg_want, BIG);
	return io_remove_tree(AT_FDCWD, rg_dir) == 1 ? 0 : -1;
}

int rg_set_up(void **state)
{
	(void)state;
	memset(rg_want, 0, BIG);
	if (chdir("/") < 0 || io_remove_tree(AT_FDCWD, rg_dir) < 0)
		return -1;
	return mkdir(rg_dir, 0700) || chdir(rg_dir) ? -1 : 0;
}
