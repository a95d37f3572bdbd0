/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dhcp.h - leases and names of a network, served by a dnsmasq of its own */
#ifndef NETNS_DHCP_H
#define NETNS_DHCP_H

#include "netns/lab.h"
#include "netns/network.h"

#include <stdio.h>

/** dhcp_start() - Start a network's dnsmasq; 0 or negative errno (-ENOENT: not installed) */
int dhcp_start(struct lab *lab, struct network *net, struct lab_err *err);

/** dhcp_stop() - End it and remove its files */
void dhcp_stop(struct lab *lab, struct network *net);

/** dhcp_reload() - Write leases and names anew and have every dnsmasq read them */
void dhcp_reload(struct lab *lab);

/** dhcp_running() - "running", or why not */
const char *dhcp_running(const struct network *net);

/**
 * dhcp_write_config() - The configuration of a network's dnsmasq
 * @upstream:	where names of the outside are asked, "ADDR" or "ADDR#PORT";
 *		NULL: nowhere
 */
void dhcp_write_config(FILE *f, const struct network *net, const char *upstream);

/** dhcp_write_leases() - The fixed leases of a network */
void dhcp_write_leases(FILE *f, const struct lab *lab, const struct network *net);

/** dhcp_write_hosts() - All names of the lab, in the form of /etc/hosts */
void dhcp_write_hosts(FILE *f, const struct lab *lab);

#endif
