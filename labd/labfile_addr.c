// SPDX-License-Identifier: GPL-2.0-or-later
/* labfile_addr.c - addresses in lab files */
#define _GNU_SOURCE
#include "labd/labfile_impl.h"
#include "lib/names.h"
#include "lib/num.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/ether.h>
#include <stdio.h>
#include <string.h>

const char *labfile_addr_text(char buf[LABFILE_ADDR], uint32_t addr)
{
	struct in_addr in = { htonl(addr) };

	return inet_ntop(AF_INET, &in, buf, LABFILE_ADDR);
}

bool labfile_addr(struct ydoc *doc, const struct ynode *n, uint32_t *ret)
{
	char buf[YNODE_SHOW];
	struct in_addr in;

	if (n->type != YNODE_SCALAR || inet_pton(AF_INET, n->text, &in) != 1) {
		ydoc_problem(doc, n, "expected an IPv4 address such as 10.20.0.5, found %s",
			     ynode_show(buf, n));
		return false;
	}
	*ret = ntohl(in.s_addr);
	return true;
}

/* Split "ADDRESS/PREFIX" */
static bool split_cidr(const char *text, uint32_t *ret_addr, uint64_t *ret_prefix)
{
	char copy[32];
	struct in_addr in;
	char *slash;

	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return false;
	slash = strchr(copy, '/');
	if (!slash)
		return false;
	*slash = '\0';
	if (inet_pton(AF_INET, copy, &in) != 1 || num_u64(slash + 1, 32, ret_prefix) < 0)
		return false;
	*ret_addr = ntohl(in.s_addr);
	return true;
}

/* This host, loopback, link-local, multicast and reserved: no lab's network */
static bool special(uint32_t addr)
{
	return addr >> 24 == 0 || addr >> 24 == 127 || addr >> 16 == 0xa9fe || addr >> 28 >= 0xe;
}

bool labfile_cidr(struct ydoc *doc, const struct ynode *n, uint32_t *ret_base,
		  unsigned int *ret_prefix)
{
	char show[YNODE_SHOW], addr[LABFILE_ADDR];
	uint64_t prefix;
	uint32_t base;

	ynode_show(show, n);
	if (n->type != YNODE_SCALAR || !split_cidr(n->text, &base, &prefix)) {
		ydoc_problem(doc, n, "expected a network such as 10.20.0.0/24, found %s", show);
		return false;
	}
	if (prefix < 8 || prefix > 30) {
		ydoc_problem(doc, n, "expected a network from /8 to /30, found %s", show);
		return false;
	}
	if (base & ~labfile_mask((unsigned int)prefix)) {
		base &= labfile_mask((unsigned int)prefix);
		ydoc_problem(doc, n, "%s has host bits set; did you mean %s/%u?", show,
			     labfile_addr_text(addr, base), (unsigned int)prefix);
		return false;
	}
	if (special(base)) {
		ydoc_problem(doc, n,
			     "expected a network for hosts such as 10.20.0.0/24, found %s, which "
			     "has another use",
			     show);
		return false;
	}
	*ret_base = base;
	*ret_prefix = (unsigned int)prefix;
	return true;
}

bool labfile_mac(struct ydoc *doc, const struct ynode *n, char buf[18])
{
	static const struct ether_addr zero;
	const char *text = n->type == YNODE_SCALAR ? n->text : "?";
	struct ether_addr mac;
	char show[YNODE_SHOW];

	if (n->type == YNODE_SCALAR && !*text) {
		buf[0] = '\0';
		return true;
	}
	if (strlen(text) != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17 ||
	    !ether_aton_r(text, &mac)) {
		ydoc_problem(doc, n, "expected a MAC address such as 52:54:00:12:34:56, found %s",
			     ynode_show(show, n));
		return false;
	}
	if (mac.ether_addr_octet[0] & 1 || !memcmp(&mac, &zero, sizeof(mac))) {
		ydoc_problem(doc, n, "expected the MAC address of one host, found %s",
			     ynode_show(show, n));
		return false;
	}
	for (int i = 0; i < ETH_ALEN; i++)
		snprintf(buf + 3 * i, 4, "%02x%s", mac.ether_addr_octet[i],
			 i < ETH_ALEN - 1 ? ":" : "");
	return true;
}

bool labfile_domain(const char *s)
{
	size_t label = 0;

	if (!name_valid(s))
		return false;
	for (; *s; s++) {
		if (*s == '.' && (!label || s[-1] == '-' || s[1] == '-'))
			return false;
		label = *s == '.' ? 0 : label + 1;
	}
	return label && s[-1] != '-';
}
