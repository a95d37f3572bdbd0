/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - the builder's programs: logged, watched, and quoted when they fail
 *
 * lib/run.h keeps standard output apart from standard error; a build log wants
 * both in order, and many of these programs run inside a root of their own.
 */
#ifndef IMAGES_BUILDER_COMMAND_H
#define IMAGES_BUILDER_COMMAND_H

#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>

/**
 * struct command - a program of a build
 * @argv:	NULL-terminated; argv[0] is looked up in PATH
 * @env:	NULL-terminated "NAME=VALUE", added to the builder's own
 * @root:	directory to chroot into first, or NULL
 * @alone:	run in an own network namespace that has loopback only
 * @log:	descriptor its output is appended to
 * @line:	called for each line of its output; may be NULL
 * @arg:	for @line
 */
struct command {
	const char *const *argv;
	const char *const *env;
	const char *root;
	bool alone;
	int log;
	void (*line)(void *arg, const char *line);
	void *arg;
};

/**
 * command_run() - Run a program to its end, output to the log
 * @err:	names the program, how it ended and the last lines it printed
 *
 * Return: 0, -EIO if it failed, or negative errno
 */
int command_run(const struct command *cmd, struct lab_err *err);

#endif
