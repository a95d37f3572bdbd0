/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client.h - what starting a labinspect needs: the files of a disk, a process */
#ifndef FS_INSPECT_CLIENT_H
#define FS_INSPECT_CLIENT_H

#include "lib/err.h"

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * inspect_open_file() - Open a file of a chain
 * @file:	as labd names it in an answer about a chain
 *
 * Return: a descriptor, or negative errno
 */
int inspect_open_file(const json_t *file, struct lab_err *err);

/** inspect_send_files() - Hand the @n files of one disk over, top first; 0 or negative errno */
int inspect_send_files(int sock, const int *fds, size_t n);

/**
 * inspect_spawn() - Start a labinspect
 * @path:	of the program
 * @mode:	its argument, or NULL
 * @sock:	becomes its descriptor 0; no signal is blocked or ignored there
 */
int inspect_spawn(const char *path, const char *mode, int sock, pid_t *ret, struct lab_err *err);

#endif
