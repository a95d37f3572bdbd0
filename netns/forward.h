/* SPDX-License-Identifier: GPL-2.0-or-later */
/* forward.h - ports of the host that lead into the lab */
#ifndef NETNS_FORWARD_H
#define NETNS_FORWARD_H

#include "netns/lab.h"

#include <netinet/in.h>

/*
 * A connection costs two descriptors and two buffers of 64 KiB: 32 MiB when all
 * are busy. A tool that opens more at once to one port is out of control. Further
 * ones wait in the listener's backlog until others end.
 */
#define FORWARD_MAX_CONNECTIONS 256
#define FORWARD_BUFFER (64 << 10)

struct connection;

/**
 * struct forward - a listener and its connections
 * @to_resolver: leads out to the host's resolver instead of to @target
 * @n_conns:	open now; the counters are since it was made
 * @bytes_in:	towards the lab
 */
struct forward {
	TAILQ_ENTRY(forward) entry;
	struct lab *lab;
	char id[80];
	int listener;
	sd_event_source *source;
	struct sockaddr_in target;
	bool to_resolver;
	TAILQ_HEAD(connection_list, connection) conns;
	unsigned int n_conns;
	uint64_t accepted, refused, bytes_in, bytes_out;
};

/**
 * forward_add() - Relay connections of a listener
 * @listener:	owned from here on, also on failure; becomes non-blocking
 * @addr:	IPv4 address inside the lab
 *
 * Asked again with the same id it starts anew: with this listener and target,
 * and without the connections that were open.
 *
 * Return: 0, -EINVAL, -EDQUOT or negative errno
 */
int forward_add(struct lab *lab, const char *id, int listener, const char *addr, uint16_t port,
		struct lab_err *err);

/** forward_add_resolver() - The same, towards the host's resolver; dups @listener */
int forward_add_resolver(struct lab *lab, const char *id, int listener);

/** forward_del() - Drop its connections (with a reset) and the listener; 1 done, 0 none */
int forward_del(struct lab *lab, const char *id);

/** forward_reset() - Drop the connections to an address; listeners stay */
void forward_reset(struct lab *lab, struct in_addr addr);

void forward_end_all(struct lab *lab);

/** forward_connect() - A TCP connection inside the lab, under way; socket or negative errno */
int forward_connect(const struct sockaddr_in *target);

#endif
