/* SPDX-License-Identifier: GPL-2.0-or-later */
/* child.h - the programs labd had started in the lab, and how they ended */
#ifndef NETNS_CHILD_H
#define NETNS_CHILD_H

#include "netns/lab.h"

#include <stddef.h>

/**
 * struct child - a program
 * @name:	file name of the program
 * @status:	as from waitpid(), once @ended
 */
struct child {
	TAILQ_ENTRY(child) entry;
	pid_t pid;
	char name[64];
	bool ended;
	int status;
	sd_event_source *source;
};

/**
 * struct child_spec - a program to start; fields as in struct keeper_spawn
 * @nics:	names of taps whose descriptors follow behind @fds
 */
struct child_spec {
	const char *const *argv, *const *env;
	const int *fds;
	size_t nfds;
	const char *const *nics;
	size_t nnics;
	const char *log;
	bool unprivileged;
};

/**
 * child_spawn() - Start a program
 * @ret_pidfd:	readable when it has ended; the caller owns it
 */
int child_spawn(struct lab *lab, const struct child_spec *spec, pid_t *ret_pid, int *ret_pidfd,
		struct lab_err *err);

/**
 * child_status() - How a program ended
 * Return: 1 with *ret_status, 0 if it still runs, -ESRCH if it is not known
 */
int child_status(const struct lab *lab, pid_t pid, int *ret_status, struct lab_err *err);

/** child_end_all() - Kill all and wait for them */
void child_end_all(struct lab *lab);

#endif
