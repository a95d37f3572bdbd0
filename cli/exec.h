/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exec.h - a command in a guest, with its output on ours */
#ifndef CLI_EXEC_H
#define CLI_EXEC_H

#include "cli/object.h"

/**
 * exec_in_guest() - Run a command and pass on what it writes
 * @body:	of the API's call; reference is taken
 *
 * Return: the command's exit code, or labctl's own after a message
 */
int exec_in_guest(struct cli *cli, const struct object *o, json_t *body);

#endif
