/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sandbox.h - the lab's namespaces and the little of the host that is seen in them */
#ifndef NETNS_SANDBOX_H
#define NETNS_SANDBOX_H

#include "lib/err.h"

#include <stdbool.h>

/**
 * sandbox_enter() - Leave the host: own network, mounts, and user if not root
 * @root:	there is no need for a user namespace
 * @state_dir, @run_dir: the only writable directories, at the same paths
 * @hide:	a file in @run_dir that must not be reached from inside, or NULL
 * @extra:	a directory of @run_dir that appears as "/net"
 *
 * The lab's sysctls are set on the way: they cannot be reached afterwards.
 *
 * Return: 0 or negative errno; after a failure the process is good for nothing
 */
int sandbox_enter(bool root, const char *state_dir, const char *run_dir, const char *hide,
		  const char *extra, struct lab_err *err);

#endif
