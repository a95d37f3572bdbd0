/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nat.h - packet filters and address translation (libnftables), inside and on the host */
#ifndef NETNS_NAT_H
#define NETNS_NAT_H

#include "lib/err.h"

#include <netinet/in.h>

struct lab;
struct network;

/** nat_lab_start() - The lab's own rule set; nothing passes between networks */
int nat_lab_start(struct lab *lab, struct lab_err *err);

/** nat_lab_end() - Free what is held for it; the rules end with the namespace */
void nat_lab_end(struct lab *lab);

/** nat_network_add() - Let a network reach its gateway, itself and, with nat, the outside */
int nat_network_add(const struct lab *lab, const struct network *net, struct lab_err *err);
void nat_network_del(const struct lab *lab, const struct network *net);

/**
 * nat_host_add() - The host's side of a lab's way out
 * @lab_id:	names the table, "labd-ID"
 * @ifname:	the host's end of the veth pair
 * @peer:	the lab's address on it
 * @forward_fd:	/proc/sys/net/ipv4/ip_forward of the host, read-write
 *
 * Must be called with the host's network as the current one. Switches the
 * host's forwarding on if it is off, and remembers that.
 */
int nat_host_add(unsigned int lab_id, const char *ifname, struct in_addr peer, int forward_fd,
		 struct lab_err *err);

/**
 * nat_host_del() - Undo nat_host_add(), also that of a keeper that was killed
 * The last lab to leave switches forwarding off if one of us switched it on.
 *
 * Return: 1 removed, 0 there was nothing, negative errno
 */
int nat_host_del(unsigned int lab_id, int forward_fd, struct lab_err *err);

#endif
