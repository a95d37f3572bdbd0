/* SPDX-License-Identifier: GPL-2.0-or-later */
/* uplink.h - the lab's way out: a veth pair for root, slirp4netns for a user */
#ifndef NETNS_UPLINK_H
#define NETNS_UPLINK_H

#include "netns/lab.h"

#include <netinet/in.h>

#define UPLINK_IFNAME_FORMAT "labd%u"

/**
 * uplink_prepare() - What must be done before the lab's namespaces are made
 * A lab of a user forks a helper that stays outside.
 *
 * Return: 0 or negative errno
 */
int uplink_prepare(struct lab *lab, struct lab_err *err);

/** uplink_attach() - Watch the helper in the event loop, once there is one */
int uplink_attach(struct lab *lab, struct lab_err *err);

/**
 * uplink_get() - A network with nat begins to use the way out; the first makes it
 *
 * Return: 0, -ENOENT slirp4netns is not installed, -EADDRNOTAVAIL every address
 * for the pair is in use, or negative errno
 */
int uplink_get(struct lab *lab, struct lab_err *err);

/** uplink_put() - One ceases to; the last removes it */
void uplink_put(struct lab *lab);

/** uplink_free() - Remove it in any case, and end the helper */
void uplink_free(struct lab *lab);

/** uplink_overlaps() - Whether a network cannot have these addresses */
bool uplink_overlaps(const struct lab *lab, struct in_addr addr, unsigned int prefix);

/** uplink_dns() - Where dnsmasq asks for names of the outside */
const char *uplink_dns(const struct lab *lab);

/** uplink_text() - State in words: "veth labd1 100.64.0.6", "slirp4netns running", "" */
const char *uplink_text(const struct lab *lab, char *buf, size_t size);

/**
 * uplink_sweep() - Remove what the way out of a killed keeper left on the host
 * Return: 0 or negative errno
 */
int uplink_sweep(unsigned int lab_id, struct lab_err *err);

/**
 * uplink_pick() - The address pair of a lab
 * @lab_id:	whose
 * @taken:	whether an address range is in use
 * @ret:	the first address of a /30: +1 is the host's, +2 the lab's
 *
 * Return: 0 or -EADDRNOTAVAIL
 */
int uplink_pick(unsigned int lab_id,
		bool (*taken)(void *arg, struct in_addr addr, unsigned int len), void *arg,
		struct in_addr *ret);

#endif
