// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * clocktool.c - the time a lab tells its guests, as a program, for tests
 *
 *	clocktool RUN_DIR		print the offset from the host's time, in microseconds
 *	clocktool RUN_DIR OFFSET_US	set it
 *
 * RUN_DIR is the lab's: where keeper.sock is.
 */
#define _GNU_SOURCE
#include "netns/keeper.h"

#include "lib/util.h"

#include <inttypes.h>

static int use(struct keeper *k, const char *offset, struct lab_err *err)
{
	int64_t us = 0;
	char end;
	int r;

	if (offset && sscanf(offset, "%" SCNd64 "%c", &us, &end) != 1)
		return lab_fail(err, -EINVAL, "'%s' is no number", offset);
	if (offset)
		return keeper_clock_set(k, us, err);
	r = keeper_clock_get(k, &us, err);
	if (!r)
		printf("%" PRId64 "\n", us);
	return r;
}

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	struct keeper *k = NULL;
	int r;

	if (argc < 2 || argc > 3) {
		fputs("usage: clocktool RUN_DIR [OFFSET_US]\n", stderr);
		return 2;
	}
	r = keeper_connect(argv[1], &k, &err);
	if (!r)
		r = use(k, argv[2], &err);
	keeper_close(k);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	return r < 0;
}
