/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netlink.h - requests to the kernel: one, many at once, dumps
 *
 * A struct nl_sock belongs to the network namespace it was opened in. Functions
 * return 0 or a negative errno of the kernel; no libnl code passes this border.
 */
#ifndef NETNS_NETLINK_H
#define NETNS_NETLINK_H

#include <linux/netlink.h>
#include <netlink/msg.h>
#include <stdbool.h>
#include <stddef.h>

struct nl_sock;

void cleanup_nlmsg(struct nl_msg **msg);
#define autonlmsg __attribute__((cleanup(cleanup_nlmsg)))

/**
 * netlink_open() - A socket in the current network namespace
 * @protocol:	NETLINK_ROUTE, ...
 *
 * Return: NULL without memory, or if the kernel has no such protocol
 */
struct nl_sock *netlink_open(int protocol);
struct nl_sock *netlink_close(struct nl_sock *sock);

/**
 * netlink_errno() - A negative errno for libnl's own numbers; what is not negative stays
 * Those libnl made from an errno lose which.
 */
int netlink_errno(int code);

/**
 * struct netlink_batch - requests sent without waiting, then waited for together
 * @sock:	borrowed
 * @gone_ok:	what is not there (ENOENT, ENODEV) is no failure
 * @first:	sequence number of the first request
 * @sent, @acked: how many
 * @failed:	index of the first request that failed, -1 for none
 * @code:	its negative errno
 */
struct netlink_batch {
	struct nl_sock *sock;
	bool gone_ok;
	unsigned int first, sent, acked;
	int failed;
	int code;
};

void netlink_batch_begin(struct netlink_batch *b, struct nl_sock *sock);

/**
 * netlink_batch_send() - Send one request of a batch
 * @msg:	borrowed; NULL for want of memory is -ENOMEM
 */
int netlink_batch_send(struct netlink_batch *b, struct nl_msg *msg);

/**
 * netlink_batch_wait() - Wait for the answers to all that was sent
 * Return: 0, or the negative errno of the first that failed (see @failed)
 */
int netlink_batch_wait(struct netlink_batch *b);

/** netlink_request() - One request, @msg as above, and its answer */
int netlink_request(struct nl_sock *sock, struct nl_msg *msg);

/**
 * netlink_dump() - Call @each for every object of a dump
 * @type:	of the request; @head its header of @len bytes
 * @each:	may keep nothing of the message and send nothing on @sock
 */
int netlink_dump(struct nl_sock *sock, int type, const void *head, size_t len,
		 void (*each)(struct nlmsghdr *h, void *arg), void *arg);

#endif
