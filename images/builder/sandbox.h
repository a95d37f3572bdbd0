/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sandbox.h - the namespaces a build runs in
 *
 * DOC: Theory of Operation
 *
 * A build mounts, starts daemons and runs other people's scripts. All of it
 * happens in mount, pid, ipc and uts namespaces of its own, and for an
 * ordinary user in a user namespace with that user's range of /etc/subuid. The
 * builder itself is process 1 in there, and dies with the process
 * that was started: when that one is killed, even by SIGKILL, the kernel
 * ends every process and drops every mount of the build.
 */
#ifndef IMAGES_BUILDER_SANDBOX_H
#define IMAGES_BUILDER_SANDBOX_H

#include "lib/err.h"

#include <stdbool.h>
#include <sys/types.h>

/**
 * struct sandbox - what to run in new namespaces
 * @work:	run as process 1; its return value becomes the exit status
 * @arg:	for @work
 * @started:	called outside of the namespaces with the pid of process 1
 * @failed:	called instead of @work, in another process, if something fails;
 *		its return value becomes the exit status
 */
struct sandbox {
	int (*work)(void *arg);
	void *arg;
	void (*started)(pid_t pid);
	int (*failed)(int r, const struct lab_err *err);
};

/**
 * sandbox_run() - Run a function as process 1 of new namespaces
 *
 * Return: the exit status, or negative errno if there is none
 */
int sandbox_run(const struct sandbox *box, struct lab_err *err);

/** sandbox_mapped() - Whether we run in a user namespace made by sandbox_run() */
bool sandbox_mapped(void);

/** sandbox_kill_others() - End every process of the sandbox but the builder */
void sandbox_kill_others(void);

#endif
