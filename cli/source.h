/* SPDX-License-Identifier: GPL-2.0-or-later */
/* source.h - files that a command is about, and what up and plan are about: a lab, or its file */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H

#include "cli/object.h"
#include "lib/io.h"

#define SOURCE_MAX_FILE (1U << 20) /* labd takes less; it says so better */

/**
 * struct source - a lab by name, or a file with its text
 * @lab:	"" if it is a file
 * @file:	absolute path
 * @text:	malloced; NULL if it is a lab
 */
struct source {
	char lab[NAME_MAX_LEN + 1];
	char file[IO_PATH];
	char *text;
};

/**
 * source_find() - What the argument of up or plan means
 * @arg:	a path of a file, a known lab, a shipped lab; NULL: ./lab.yaml,
 *		else the only lab
 *
 * Return: 0 or negative errno; free @ret->text
 */
int source_find(struct cli *cli, const char *arg, struct source *ret);

/** source_file() - Read a lab file or recipe; @ret->text is malloced */
int source_file(struct cli *cli, const char *path, struct source *ret);

/** source_of_lab() - Turn a known lab into the file that it was made from */
int source_of_lab(struct cli *cli, struct source *source);

/** source_new_file() - The absolute path of a file that does not exist yet */
int source_new_file(struct cli *cli, const char *path, char ret[IO_PATH]);

#endif
