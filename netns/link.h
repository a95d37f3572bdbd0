/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link.h - rtnetlink: bridges, taps, veth pairs, addresses, routes
 *
 * A struct nl_sock belongs to the network namespace it was opened in. Functions
 * return 0 or a negative errno of the kernel; no libnl code passes this border.
 */
#ifndef NETNS_LINK_H
#define NETNS_LINK_H

#include "lib/err.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct netlink_batch;
struct nl_sock;

/**
 * link_set() - Change a link
 * @ifname:	which
 * @master:	ifindex of the bridge to join; 0: leave as it is
 * @mtu:	bytes; 0: leave as it is
 * @up:		whether it is up afterwards
 */
int link_batch_set(struct netlink_batch *b, const char *ifname, unsigned int master,
		   unsigned int mtu, bool up);
int link_set(struct nl_sock *sock, const char *ifname, unsigned int master, unsigned int mtu,
	     bool up);

/** link_batch_rename() - Give a link that is down another name */
int link_batch_rename(struct netlink_batch *b, const char *ifname, const char *to);

/**
 * link_bridge_add() - Make a bridge that forwards at once (no STP, no delay)
 * @mac:	its own address. It is given, because a bridge without one takes
 *		the lowest of its ports and so changes it under its guests
 */
int link_bridge_add(struct nl_sock *sock, const char *ifname, const char *mac, unsigned int mtu);

/**
 * link_veth_add() - Make a veth pair whose far end is in another namespace
 * @ifname:	this end
 * @peer:	name of the far end
 * @peer_net:	descriptor of the namespace of the far end
 */
int link_veth_add(struct nl_sock *sock, const char *ifname, const char *peer, int peer_net);

/** link_del() - Remove a link. Return: 1 removed, 0 there was none, negative errno */
int link_del(struct nl_sock *sock, const char *ifname);

/**
 * link_del_many() - Remove links in one go
 * The kernel waits for every reader once instead of once for each link.
 */
int link_del_many(struct nl_sock *sock, const char *const *ifnames, size_t n);

/** link_index() - ifindex of a link, 0 if there is none */
unsigned int link_index(const char *ifname);

int link_addr_add(struct nl_sock *sock, unsigned int ifindex, struct in_addr addr,
		  unsigned int prefix);
int link_default_route(struct nl_sock *sock, struct in_addr via);

/**
 * link_routes() - Call @each for every IPv4 route of all tables but default routes
 * @each:	address and prefix length
 */
int link_routes(struct nl_sock *sock,
		void (*each)(void *arg, struct in_addr dst, unsigned int prefix), void *arg);

/**
 * struct link_stats - counters of a link, as the lab's side of it sees them
 */
struct link_stats {
	char ifname[IFNAMSIZ];
	bool up;
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets, rx_dropped, tx_dropped;
};

/** link_stats_all() - Call @each for every link of the namespace */
int link_stats_all(struct nl_sock *sock, void (*each)(void *arg, const struct link_stats *st),
		   void *arg);

/**
 * link_tap_open() - Make a tap
 * The tap lives as long as a descriptor of it is open; QEMU inherits one.
 *
 * Return: the descriptor or negative errno
 */
int link_tap_open(const char *ifname);

/**
 * link_batch_forget_port() - Delete the addresses a bridge has learned on a port
 * @ifname:	of the port
 */
int link_batch_forget_port(struct netlink_batch *b, const char *ifname);

/** link_batch_forget_neighbour() - Delete what a link knows of a neighbour, and what waits for it
 */
int link_batch_forget_neighbour(struct netlink_batch *b, unsigned int ifindex, struct in_addr addr);

/** link_tap_drain() - Throw away what waits in a tap for a guest that is gone */
void link_tap_drain(int fd);

#endif
