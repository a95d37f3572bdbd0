/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inguest.h - files of a running guest, by its agent: for cp and edit
 *
 * DOC: Theory of Operation
 *
 * Content goes in pieces of INGUEST_PIECE bytes by calls that keep no state:
 * labd opens, seeks and closes for each. Everything else (what a path is,
 * directories, modes, putting a file in its place) is done by short shell
 * scripts in the guest, whose text is constant; names are parameters.
 *
 * What goes into the guest is first written into a directory of mode 0700 on the
 * target's filesystem and then moved to its place, so a reader in the guest sees
 * the old file or the new one, and nobody sees the content of a file of mode 0600.
 * The directory is removed at the end, and after Ctrl-C.
 *
 * A stream through a command (tar) would be slower for a large file: a command takes
 * standard input as one piece of at most 1 MiB, through the same JSON, each costs the
 * start of a shell, 140 to 240 ms where guests are emulated, and what it prints is kept
 * in the guest's memory until it is fetched. For small files it is the other way round:
 * three questions to the agent for each cost 2 to 4 ms, and 70 where others use the
 * processors. So those go some hundred at a time with the script that puts them in
 * their places: as a tar archive into the guest, one behind the other out of it.
 *
 * What the guest says is not trusted: see cp_out.c for names.
 */
#ifndef CLI_INGUEST_H
#define CLI_INGUEST_H

#include "cli/meter.h"
#include "cli/object.h"

#define INGUEST_PIECE (256 << 10)
#define INGUEST_SMALL (64 << 10) /* files up to here go many at a time... */
#define INGUEST_BATCH (512 << 10) /* ...so many bytes */

/**
 * struct inguest - a guest that files are copied to or from
 * @files:	a client with more time than cli->client has
 */
struct inguest {
	struct cli *cli;
	struct object o;
	struct client *files;
};

/**
 * inguest_parse() - Whether an argument means a path in a guest
 * @ret_path:	points into @arg
 *
 * "LAB/INSTANCE:/PATH" and "INSTANCE:/PATH" do. A file here whose name looks
 * like that is given as "./NAME".
 *
 * Return: 1 with @ret and @ret_path, 0 if it is a file here, -EINVAL for a path that is
 * not absolute
 */
int inguest_parse(struct cli *cli, const char *arg, struct object *ret, const char **ret_path);

/** inguest_open() - Begin with a guest; fails only if labd cannot be reached */
int inguest_open(struct inguest *g, struct cli *cli, const struct object *o);
void inguest_close(struct inguest *g);

/**
 * struct script - a shell script to run in a guest
 * @text:	constant
 * @args:	NULL-terminated, $1 and on
 * @input:	its standard input: @input_len bytes, at most 1 MiB
 * @out:	what it printed, NUL-terminated; malloced, set on success and failure
 * @words:	what it said on standard error
 * @code:	its exit code
 */
struct script {
	const char *text;
	const char *const *args;
	const void *input;
	size_t input_len;
	char *out;
	size_t out_len;
	char words[LAB_ERR_TEXT - 200];
	int code;
};

/**
 * inguest_run() - Run a script to its end
 * Return: 0 whatever its code is; negative errno with cli->err set
 */
int inguest_run(struct inguest *g, struct script *s);

/** inguest_script() - The same, but a code that is not 0 is -EIO with the script's words */
int inguest_script(struct inguest *g, struct script *s);

/**
 * inguest_get() - Copy a regular file of the guest to a descriptor
 * Return: 0; -ECANCELED after Ctrl-C; negative errno with cli->err set
 */
int inguest_get(struct inguest *g, const char *path, int fd, struct meter *m);

/** inguest_put() - Copy what a descriptor holds to a new file in the guest; as inguest_get() */
int inguest_put(struct inguest *g, const char *path, int fd, struct meter *m);

/** inguest_random() - 16 digits for names nobody has */
const char *inguest_random(char buf[17]);

/** inguest_clean_up() - Remove a directory of ours in the guest; says so if that fails */
void inguest_clean_up(struct inguest *g, const char *dir);

#endif
