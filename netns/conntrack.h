/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conntrack.h - the connections that the lab's kernel knows (ctnetlink) */
#ifndef NETNS_CONNTRACK_H
#define NETNS_CONNTRACK_H

#include "netns/lab.h"

#include <netinet/in.h>
#include <stdbool.h>

/**
 * conntrack_forget() - Delete connections
 * @match:	whether one that was opened from @src to @dst is meant; NULL: all are
 *
 * Return: 0, also with a kernel that does not track or cannot be asked, or
 * negative errno
 */
int conntrack_forget(struct lab *lab,
		     bool (*match)(void *arg, struct in_addr src, struct in_addr dst), void *arg);

/** conntrack_end() - Close what conntrack_forget() opened */
void conntrack_end(struct lab *lab);

#endif
