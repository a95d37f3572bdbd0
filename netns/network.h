/* SPDX-License-Identifier: GPL-2.0-or-later */
/* network.h - the segments of a lab and the nics on them */
#ifndef NETNS_NETWORK_H
#define NETNS_NETWORK_H

#include "lib/names.h"
#include "netns/lab.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>

#define NETWORK_MAX_HOST 128
#define NIC_MAX_ALIASES 1000

struct clock;
struct dnsmasq;

/**
 * struct network_spec - what is asked for; text is borrowed
 * Fields as in struct keeper_network.
 */
struct network_spec {
	const char *name, *cidr, *gateway, *domain;
	unsigned int mtu;
	bool nat, dhcp;
};

/**
 * struct network - a segment
 * @bridge:	its link, @ifindex its number
 * @addr, @prefix: of the segment; @gateway: the bridge's own
 * @dnsmasq:	serves it
 * @clock:	tells the time there
 */
struct network {
	TAILQ_ENTRY(network) entry;
	char name[NAME_MAX_LEN + 1];
	char bridge[IFNAMSIZ];
	unsigned int ifindex;
	struct in_addr addr, gateway;
	unsigned int prefix, mtu;
	char domain[NETWORK_MAX_HOST + 1];
	bool nat, dhcp;
	unsigned int n_nics;
	struct dnsmasq *dnsmasq;
	struct clock *clock;
};

/**
 * struct nic_spec - what is asked for; text is borrowed
 * Fields as in struct keeper_nic.
 */
struct nic_spec {
	const char *ifname, *network, *mac, *addr, *host, *aliases, *tap;
};

/**
 * struct nic - a tap on a network
 * @fd:		keeps the tap alive; a program that is given the nic inherits it
 * @has_addr:	whether @addr is set
 * @host:	"" for none
 * @aliases:	more names of its address, with blanks between; "" for none
 * @waits:	its link is down until flush_nics(): it was a tap that a program has already
 */
struct nic {
	TAILQ_ENTRY(nic) entry;
	struct network *network;
	char ifname[IFNAMSIZ];
	char mac[NAME_MAC_TEXT];
	struct in_addr addr;
	bool has_addr;
	char host[NETWORK_MAX_HOST + 1];
	char aliases[NIC_MAX_ALIASES + 1];
	bool waits;
	int fd;
};

/**
 * network_parse() - Check a network's text and read it
 * @ret:	name, bridge, addresses, domain and flags are set
 *
 * Return: 0, -EINVAL or -ERANGE with the field named
 */
int network_parse(const struct network_spec *spec, struct network *ret, struct lab_err *err);

/** nic_check_name() - Whether a nic or tap may have this name: 0 or -EINVAL */
int nic_check_name(const char *ifname, struct lab_err *err);

/** nic_parse() - The same for a nic; @ret->network must be set before */
int nic_parse(const struct nic_spec *spec, struct nic *ret, struct lab_err *err);

/** network_overlaps() - Whether two address ranges have an address in common */
bool network_overlaps(struct in_addr a, unsigned int a_prefix, struct in_addr b,
		      unsigned int b_prefix);

/**
 * network_add() - Make a segment: bridge, filters, dnsmasq and, if asked, the way out
 *
 * Return: 0 (also if it is there as asked), -EEXIST it is there otherwise or its
 * addresses overlap another's, or negative errno; on failure nothing is left
 */
int network_add(struct lab *lab, const struct network_spec *spec, struct lab_err *err);

/** network_del() - Remove a segment with the nics on it; 0 if there is none */
int network_del(struct lab *lab, const char *name, struct lab_err *err);

/**
 * nics_add() - Make taps, or take them from those of tap.h, all or none
 * Of the latter those that were named may be gone after a failure.
 * @more:	more follow: do not tell dnsmasq yet
 * @added:	@n flags: set for those that were not there before
 */
int nics_add(struct lab *lab, const struct nic_spec *specs, size_t n, bool more, bool *added,
	     struct lab_err *err);
/** nics_del() - Remove nics, and taps of tap.h; those that are not there are none */
int nics_del(struct lab *lab, const char *const *ifnames, size_t n, struct lab_err *err);

/** nic_set_link() - Whether packets pass a nic */
int nic_set_link(struct lab *lab, const char *ifname, bool up, struct lab_err *err);

struct nic *nic_find(const struct lab *lab, const char *ifname);
struct network *network_find(const struct lab *lab, const char *name);

/** network_end_all() - Forget all; links end with the namespace, dnsmasqs are killed here */
void network_end_all(struct lab *lab);

#endif
