/* SPDX-License-Identifier: GPL-2.0-or-later */
/* spawn.h - start a program with exactly the privileges it needs */
#ifndef NETNS_SPAWN_H
#define NETNS_SPAWN_H

#include "netns/lab.h"

#include <stddef.h>

#define SPAWN_MAX_ENV 8
#define SPAWN_MAX_FDS 64 /* what a message carries (16) and a machine's nics */

/**
 * enum spawn_as - what a program may do
 * @SPAWN_AS_KEEPER:	what the keeper may, inside the lab's namespaces
 * @SPAWN_AS_GUEST:	nothing: no capability, now or later; as root the lab's
 *			own uid and the group of /dev/kvm
 * @SPAWN_AS_DNSMASQ:	network administration of the lab; as root a uid of its own
 */
enum spawn_as { SPAWN_AS_KEEPER, SPAWN_AS_GUEST, SPAWN_AS_DNSMASQ };

/**
 * struct spawn - a program to start
 * @argv:	absolute argv[0]
 * @env:	at most SPAWN_MAX_ENV of its own, beside those all have; NULL: none
 * @fds:	@nfds descriptors, at most SPAWN_MAX_FDS, it gets as 3, 4, ...
 * @output:	its standard output and error
 * @dies:	end it when the keeper ends, however that ends
 * @no_hup:	it begins with SIGHUP ignored
 */
struct spawn {
	const char *const *argv, *const *env;
	const int *fds;
	size_t nfds;
	int output;
	enum spawn_as as;
	bool dies, no_hup;
};

/**
 * spawn_program() - Start a program
 *
 * It has its own session, /dev/null as standard input, default signals, no other
 * descriptor, no core dumps, and is what the kernel ends first without memory.
 *
 * Return: 0, the errno of the step that failed (also of exec), or negative errno
 */
int spawn_program(const struct lab *lab, const struct spawn *spawn, pid_t *ret,
		  struct lab_err *err);

/** spawn_end() - Kill a child and wait for it */
void spawn_end(pid_t pid);

#endif
