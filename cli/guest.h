/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest.h - programs in guests, as clients of labd run them */
#ifndef CLI_GUEST_H
#define CLI_GUEST_H

#include "cli/object.h"

/**
 * struct guest_exec - a program to run
 * @object:	the instance
 * @body:	of the call, see docs/api.md; stolen; NULL: it is a GET of @path
 * @path:	what to GET, which answers as exec does
 * @message:	called with each message, true if it has been dealt with; may be NULL
 * @output:	called with what the program writes, @stream 1 or 2; 0 or negative errno
 * @idle:	called ten times a second, false ends the program; may be NULL
 * @arg:	for the three
 */
struct guest_exec {
	const struct object *object;
	json_t *body;
	const char *path;
	bool (*message)(void *arg, json_t *msg);
	int (*output)(void *arg, int stream, const void *data, size_t len);
	bool (*idle)(void *arg);
	void *arg;
};

/**
 * guest_exec() - Run a program in a guest to its end
 * @ret_code:	its exit code, 128 + N if signal N ended it
 *
 * Return: 0; -ECANCELED if @idle ended it; negative errno with cli->err
 */
int guest_exec(struct cli *cli, const struct guest_exec *x, int *ret_code);

#endif
