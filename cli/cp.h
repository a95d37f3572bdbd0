/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cp.h - the two directions of labctl cp */
#ifndef CLI_CP_H
#define CLI_CP_H

#include "cli/inguest.h"

#include <limits.h>

/**
 * struct copy - one call of cp
 * @recursive:	directories with all in them
 * @failed:	something was left out, and a message said what
 */
struct copy {
	struct inguest guest;
	struct meter meter;
	bool recursive, failed;
};

/** cp_failed() - Print cli->err; the copy goes on, and ends with exit code 1 */
void cp_failed(struct copy *c);

/**
 * cp_base() - What a source is called: the last part of its path
 * Return: 0, or -EINVAL for one that ends in ".."; "" for "/" and "."
 */
int cp_base(struct copy *c, const char *path, char ret[NAME_MAX + 1]);

/**
 * cp_in() - Into the guest
 * @dest:	there: a directory to put all of them into, or the name of the only one
 *
 * Return: 0, or negative errno with cli->err set for what ended it all
 */
int cp_in(struct copy *c, char **sources, size_t n, const char *dest);

/** cp_out() - Out of the guest: one of the sources, each a path there */
int cp_out(struct copy *c, const char *source, const char *dest, bool dest_is_dir);

#endif
