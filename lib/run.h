/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run.h - run a program, without a shell, and wait for it with a deadline */
#ifndef LIB_RUN_H
#define LIB_RUN_H

#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct run - what to run and how
 * @argv:	NULL-terminated; argv[0] is looked up in PATH
 * @deadline:	num_now_us() time at which it is killed; UINT64_MAX: never
 * @max_memory:	RLIMIT_AS in bytes, 0 for none: for parsers of foreign data
 * @max_cpu:	RLIMIT_CPU in seconds, 0 for none
 * @cancel:	polled a few times a second; when true the program is killed
 * @cancel_arg:	its argument
 * @line:	called for each line of standard output (without newline;
 *		a carriage return ends one too)
 *		instead of collecting it; may be NULL
 * @line_arg:	its argument
 * @output:	called with what it writes, @stream 1 or 2, instead of collecting
 *		or cutting it, and without a limit; may be NULL
 * @output_arg:	its argument
 * @env:	NULL-terminated "NAME=value", in which PATH is looked up too; NULL: ours
 * @ret_status:	as of waitpid(); then a program that ran has succeeded, however
 *		it ended; may be NULL
 * @grace:	microseconds that one that is to be killed has to end after SIGTERM; 0: none
 *
 * The child gets /dev/null as standard input, its own session, default
 * signals, and dies with the thread that started it (PR_SET_PDEATHSIG).
 */
struct run {
	const char *const *argv;
	uint64_t deadline;
	uint64_t max_memory;
	uint64_t max_cpu;
	bool (*cancel)(void *arg);
	void *cancel_arg;
	void (*line)(void *arg, const char *line);
	void *line_arg;
	void (*output)(void *arg, int stream, const void *data, size_t len);
	void *output_arg;
	const char *const *env;
	int *ret_status;
	uint64_t grace;
};

/**
 * run_program() - Run a program to its end
 * @ret_out:	its standard output (malloced, NUL-terminated, at most 4 MiB);
 *		may be NULL
 * @err:	names the program, its exit status and the last lines of its
 *		standard error
 *
 * Return: 0 if it exited with 0; -EIO if with another status or by a signal;
 * -ETIMEDOUT, -ECANCELED, -ENOENT if there is no such program, or negative
 * errno
 */
int run_program(const struct run *run, char **ret_out, struct lab_err *err);

#endif
