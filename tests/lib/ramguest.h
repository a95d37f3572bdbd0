/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ramguest.h - a child of a test whose memory is saved and loaded as a guest's is
 *
 * The child does what it is told on a pipe. What its memory is to be is in rg_want, which
 * it shares with the test: it compares by itself, so nothing is trusted to /proc.
 */
#ifndef TESTS_LIB_RAMGUEST_H
#define TESTS_LIB_RAMGUEST_H

#include "labd/ram.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MIB (1024 * 1024U)
#define BIG (20 * MIB) /* more than what the kernel is asked for at a time */
#define PAGES(size) ((size) / RAM_PAGE)
#define ZERO "/dev/zero"

/**
 * struct ramguest - a process with memory
 * @order, @answer: pipes
 * @at:		where its memory is
 */
struct ramguest {
	pid_t pid;
	int pidfd, order, answer;
	char *at;
	uint64_t size;
};

/**
 * enum rg_op - what it does with its memory
 * @RG_RACE:	a thread begins to write pages, in any order, and to rg_want as well
 * @RG_REST:	that thread ends
 */
enum rg_op { RG_FILL, RG_READ, RG_COMPARE, RG_UNMAP, RG_RACE, RG_REST };

/* What memories are to be: BIG bytes */
extern char *rg_want;
/* The directory of the tests, which is the current one */
extern char rg_dir[64];

/** rg_set_up_all() - For cmocka, once; and its counterpart */
int rg_set_up_all(void **state);
int rg_tear_down_all(void **state);
/** rg_set_up() - For each test: an empty directory, and nothing wanted */
int rg_set_up(void **state);

/** rg_map() - Map a file: @prot, @flags and @offset as mmap() has them */
char *rg_map(char *at, const char *path, uint64_t size, int prot, int flags, off_t offset);

typedef char *(*rg_map_fn)(const char *path, uint64_t size);

/** rg_start() - A process that maps @path privately, or as @map_memory does */
void rg_start(struct ramguest *g, const char *path, uint64_t size);
void rg_start_with(struct ramguest *g, rg_map_fn map_memory, const char *path, uint64_t size);
/** rg_kill() - It ends, and is a zombie still */
void rg_kill(const struct ramguest *g);
void rg_end(struct ramguest *g);

/** rg_tell() - What it answers to an order */
bool rg_tell(struct ramguest *g, enum rg_op op, uint64_t page, uint64_t n, int byte);
/** rg_fill() - It writes pages, and that is wanted */
void rg_fill(struct ramguest *g, uint64_t page, uint64_t n, int byte);
/** rg_as_wanted() - Whether its memory is what is wanted */
bool rg_as_wanted(struct ramguest *g);

/** rg_open_ram() - ram_open(), which finds its memory */
void rg_open_ram(const struct ramguest *g, struct ram *ram);
/** rg_ok() - The test fails with the words of a failure */
void rg_ok(int r, const struct lab_err *err);
/** rg_save() - Save to a new memory in @dir on top of a chain, and close it */
void rg_save(const struct ram *ram, struct ram_chain *c, const char *dir);
/** rg_open_chain() - The chain of memories in @dirs, which end with NULL */
void rg_open_chain(struct ram_chain *c, uint64_t size, const char *const dirs[]);
#define DIRS(...) ((const char *const[]){ __VA_ARGS__, NULL })
/** rg_start_on_base() - A memory in "base", and a process that maps it */
void rg_start_on_base(struct ramguest *g, rg_map_fn map_memory, struct ram *ram, uint64_t size);
/** rg_file_is() - Whether a file is these bytes */
bool rg_file_is(const char *path, const char *data, size_t size);
/** rg_check_flat() - A whole memory made of a chain is what is wanted; it is closed */
void rg_check_flat(struct ram_chain *c);

#endif
