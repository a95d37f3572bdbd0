/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lab.h - what one keeper holds, and its limits */
#ifndef NETNS_LAB_H
#define NETNS_LAB_H

#include "lib/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

/*
 * Limits, each with its reason. Beyond them a request fails with -EDQUOT; the
 * lab goes on.
 */
#define LAB_MAX_NETWORKS 256 /* one dnsmasq each, about 2 MiB */
#define LAB_MAX_NICS                                                                               \
	4000 /* one descriptor each, of the usual 2^20 hard limit; bridges take 1023               \
	      */
#define LAB_MAX_FORWARDS 512 /* one descriptor each */
#define LAB_MAX_CONSOLES 1024 /* four descriptors each */
#define LAB_MAX_CHILDREN 1024 /* that run; ended ones are remembered as follows */
#define LAB_MAX_ENDED 256 /* labd asks at once when a pidfd tells; the oldest go first */
#define LAB_MAX_CLIENTS 32 /* labd needs one; the rest is for tools and tests */

/*
 * A listener that cannot accept (no descriptors left) is always ready and would
 * spin the loop: none is looked at more often than this.
 */
#define LAB_ACCEPT_SPAN 100000 /* us */
#define LAB_ACCEPT_BURST 100

/* In RUN_DIR: where labd asks; sockets that consoles are served at, a line each */
#define LAB_SOCKET "keeper.sock"
#define LAB_FILES "keeper.files"

/* The lab's end of the way out. No name a person may give begins with '_' */
#define LAB_UPLINK "_uplink"

struct network;
struct nic;
struct tap;
struct child;
struct forward;
struct console;
struct client;

TAILQ_HEAD(network_list, network);
TAILQ_HEAD(nic_list, nic);
TAILQ_HEAD(tap_list, tap);
TAILQ_HEAD(child_list, child);
TAILQ_HEAD(forward_list, forward);
TAILQ_HEAD(console_list, console);
TAILQ_HEAD(client_list, client);

/**
 * struct lab - one keeper, one lab
 * @id:		unique on the host
 * @name:	for messages
 * @run_dir:	ours to write sockets and dnsmasq's files into
 * @state_dir:	labd's
 * @root:	started by root: there is no user namespace around us
 * @host_net:	the host's network namespace (root only), to make sockets in
 * @host_forward: the host's ip_forward, open for reading and writing (root only)
 * @nl:		rtnetlink socket of the lab, @nft its nftables context
 * @conntrack:	ctnetlink socket, NULL until it is needed
 * @uplink:	the way out, NULL until a network needs it
 * @resolver:	the host's, as labd last told
 * @clock_offset_us: the lab's time is CLOCK_REALTIME plus this
 */
struct lab {
	unsigned int id;
	const char *name;
	const char *run_dir;
	const char *state_dir;
	bool root;
	int host_net, lab_net;
	int host_forward;
	sd_event *event;
	struct nl_sock *nl, *conntrack;
	struct nft_ctx *nft;
	struct uplink *uplink;
	struct resolver *resolver;
	int64_t clock_offset_us;
	struct network_list networks;
	struct nic_list nics;
	struct tap_list taps;
	struct child_list children;
	struct forward_list forwards;
	struct console_list consoles;
	struct client_list clients;
	unsigned int n_networks, n_nics, n_taps, n_children, n_ended, n_forwards, n_consoles,
		n_clients;
};

/**
 * lab_enter_host() - Make the host's network the current one for a moment
 * Only a lab of root can. What is made there - sockets above all - stays there.
 *
 * Return: 0 or negative errno
 */
int lab_enter_host(const struct lab *lab);

/** lab_leave_host() - Back into the lab's network; a failure ends the keeper */
void lab_leave_host(const struct lab *lab);

/** lab_note_file() - Remember a socket outside RUN_DIR/net for keeper_sweep() */
void lab_note_file(const struct lab *lab, const char *path);

/** lab_remove_files() - Remove what every keeper makes in its run directory */
void lab_remove_files(const char *run_dir);

/** lab_end() - Undo everything, then leave the event loop */
void lab_end(struct lab *lab);

#endif
