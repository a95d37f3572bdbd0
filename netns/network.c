// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * network.c - the segments of a lab and the nics on them
 *
 * DOC: Theory of Operation
 *
 * A network is a bridge with the gateway's address on it, an entry in the lab's
 * filter (nat.c), a clock (clock.c), a dnsmasq (dhcp.c) and, the first one with
 * nat, the lab's way out (uplink.c). They are made in this order and undone in the reverse one.
 *
 * A nic is a tap that is a port of the bridge. The tap exists as long as its
 * descriptor is open: here from nics_add() to nics_del(), so a guest can be
 * restarted on it, and in the QEMU that inherited it. nics_del() removes the
 * link itself, so a QEMU that still holds it has a dead descriptor. A QEMU that waits to
 * take a guest's place has a tap without a network (tap.h), which nics_add() makes the nic.
 *
 * Invariants: a nic's network outlives it (network_del() removes its nics);
 * links, addresses of nics and names of networks are unique in the lab.
 */
#define _GNU_SOURCE
#include "netns/network.h"

#include "lib/num.h"
#include "lib/util.h"
#include "netns/clock.h"
#include "netns/dhcp.h"
#include "netns/link.h"
#include "netns/nat.h"
#include "netns/netlink.h"
#include "netns/tap.h"
#include "netns/uplink.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <netinet/ether.h>
#include <string.h>

/* The C library's queue.h has no safe loop */
#define TAILQ_FOREACH_SAFE(var, head, field, tvar)                                                 \
	for ((var) = TAILQ_FIRST(head); (var) && ((tvar) = TAILQ_NEXT(var, field), 1);             \
	     (var) = (tvar))

#define MTU_MIN 576 /* RFC 791: every IPv4 host takes this */
#define MTU_MAX 65521 /* what a tap allows */

static uint32_t mask_of(unsigned int prefix)
{
	return prefix ? 0xffffffffu << (32 - prefix) : 0;
}

bool network_overlaps(struct in_addr a, unsigned int a_prefix, struct in_addr b,
		      unsigned int b_prefix)
{
	uint32_t mask = mask_of(MIN(a_prefix, b_prefix));

	return (ntohl(a.s_addr) & mask) == (ntohl(b.s_addr) & mask);
}

/* A name for DNS: it is written into dnsmasq's files, so nothing else may be in it */
static bool host_valid(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return !s[n] && n <= NETWORK_MAX_HOST && s[0] != '.' && s[0] != '-';
}

static bool aliases_valid(const char *s)
{
	char text[NIC_MAX_ALIASES + 1], *rest = text, *name;

	if (strlen(s) > NIC_MAX_ALIASES)
		return false;
	snprintf(text, sizeof(text), "%s", s);
	while ((name = strsep(&rest, " ")))
		if (!host_valid(name))
			return false;
	return true;
}

static int parse_cidr(const char *cidr, struct network *net)
{
	char text[INET_ADDRSTRLEN];
	const char *slash = strchr(cidr, '/');
	uint64_t prefix;

	if (!slash || (size_t)(slash - cidr) >= sizeof(text))
		return -EINVAL;
	snprintf(text, sizeof(text), "%.*s", (int)(slash - cidr), cidr);
	/* a bridge needs its own address, a guest's, the network's and a broadcast */
	if (inet_pton(AF_INET, text, &net->addr) != 1 || num_u64(slash + 1, 30, &prefix) < 0 ||
	    prefix < 8)
		return -EINVAL;
	net->prefix = (unsigned int)prefix;
	return ntohl(net->addr.s_addr) & ~mask_of(net->prefix) ? -EINVAL : 0;
}

/* Whether @addr can be a host of the network: inside, and not its first or last */
static bool host_of(const struct network *net, struct in_addr addr)
{
	uint32_t host = ntohl(addr.s_addr) & ~mask_of(net->prefix);

	return network_overlaps(net->addr, net->prefix, addr, 32) && host &&
	       host != ~mask_of(net->prefix);
}

int network_parse(const struct network_spec *spec, struct network *ret, struct lab_err *err)
{
	struct network net = { .mtu = spec->mtu, .nat = spec->nat, .dhcp = spec->dhcp };

	if (!name_valid(spec->name))
		return lab_fail(err, -EINVAL, "bad name of a network (want " NAME_RULE ")");
	snprintf(net.name, sizeof(net.name), "%s", spec->name);
	name_ifname(net.bridge, spec->name);
	if (parse_cidr(spec->cidr, &net) < 0)
		return lab_fail(err, -EINVAL,
				"network %s: cidr '%.32s' is not an IPv4 network like 10.20.0.0/24",
				net.name, spec->cidr);
	if (inet_pton(AF_INET, spec->gateway, &net.gateway) != 1 || !host_of(&net, net.gateway))
		return lab_fail(err, -EINVAL, "network %s: gateway '%.32s' is not a host of %s",
				net.name, spec->gateway, spec->cidr);
	if (net.mtu < MTU_MIN || net.mtu > MTU_MAX)
		return lab_fail(err, -ERANGE, "network %s: mtu %u is not between %d and %d",
				net.name, net.mtu, MTU_MIN, MTU_MAX);
	if (!host_valid(spec->domain))
		return lab_fail(err, -EINVAL, "network %s: bad domain", net.name);
	snprintf(net.domain, sizeof(net.domain), "%s", spec->domain);
	*ret = net;
	return 0;
}

int nic_check_name(const char *ifname, struct lab_err *err)
{
	return name_valid(ifname) && strlen(ifname) < IFNAMSIZ
		       ? 0
		       : lab_fail(err, -EINVAL, "bad name of a nic (at most %d characters)",
				  IFNAMSIZ - 1);
}

int nic_parse(const struct nic_spec *spec, struct nic *ret, struct lab_err *err)
{
	struct nic nic = { .network = ret->network, .fd = -EBADF };
	const struct ether_addr *mac = ether_aton(spec->mac);

	if (nic_check_name(spec->ifname, err) < 0)
		return -EINVAL;
	snprintf(nic.ifname, sizeof(nic.ifname), "%s", spec->ifname);
	if (strlen(spec->mac) != NAME_MAC_TEXT - 1 || !mac || mac->ether_addr_octet[0] & 1)
		return lab_fail(err, -EINVAL, "nic %s: '%.32s' is not a MAC address of a host",
				nic.ifname, spec->mac);
	snprintf(nic.mac, sizeof(nic.mac), "%s", spec->mac);
	nic.has_addr = *spec->addr;
	if (nic.has_addr &&
	    (inet_pton(AF_INET, spec->addr, &nic.addr) != 1 || !host_of(nic.network, nic.addr) ||
	     nic.addr.s_addr == nic.network->gateway.s_addr))
		return lab_fail(err, -EINVAL,
				"nic %s: '%.32s' is not an address for a guest of network %s",
				nic.ifname, spec->addr, nic.network->name);
	if (!host_valid(spec->host))
		return lab_fail(err, -EINVAL, "nic %s: bad host name", nic.ifname);
	snprintf(nic.host, sizeof(nic.host), "%s", spec->host);
	if (spec->aliases && !aliases_valid(spec->aliases))
		return lab_fail(err, -EINVAL, "nic %s: bad names", nic.ifname);
	snprintf(nic.aliases, sizeof(nic.aliases), "%s", spec->aliases ? spec->aliases : "");
	*ret = nic;
	return 0;
}

struct network *network_find(const struct lab *lab, const char *name)
{
	struct network *net;

	TAILQ_FOREACH(net, &lab->networks, entry)
		if (!strcmp(net->name, name))
			return net;
	return NULL;
}

struct nic *nic_find(const struct lab *lab, const char *ifname)
{
	struct nic *nic;

	TAILQ_FOREACH(nic, &lab->nics, entry)
		if (!strcmp(nic->ifname, ifname))
			return nic;
	return NULL;
}

static bool same_network(const struct network *a, const struct network *b)
{
	return a->addr.s_addr == b->addr.s_addr && a->prefix == b->prefix &&
	       a->gateway.s_addr == b->gateway.s_addr && a->mtu == b->mtu && a->nat == b->nat &&
	       a->dhcp == b->dhcp && !strcmp(a->domain, b->domain);
}

static int check_overlap(const struct lab *lab, const struct network *net, struct lab_err *err)
{
	const struct network *other;

	TAILQ_FOREACH(other, &lab->networks, entry)
		if (network_overlaps(net->addr, net->prefix, other->addr, other->prefix))
			return lab_fail(err, -EEXIST,
					"network %s: its addresses overlap those of network %s",
					net->name, other->name);
	if (uplink_overlaps(lab, net->addr, net->prefix))
		return lab_fail(err, -EEXIST,
				"network %s: its addresses overlap those of the lab's way out "
				"(choose others)",
				net->name);
	return 0;
}

static int add_bridge(struct lab *lab, struct network *net, struct lab_err *err)
{
	char mac[NAME_MAC_TEXT];
	int r = link_bridge_add(lab->nl, net->bridge, name_mac(mac, lab->name, net->name, "bridge"),
				net->mtu);

	if (r < 0)
		return lab_fail_errno(err, r, "network %s: cannot make bridge %s", net->name,
				      net->bridge);
	net->ifindex = link_index(net->bridge);
	r = link_addr_add(lab->nl, net->ifindex, net->gateway, net->prefix);
	if (r < 0) {
		link_del(lab->nl, net->bridge);
		return lab_fail_errno(err, r, "network %s: cannot set the gateway's address",
				      net->name);
	}
	return 0;
}

/* Bring a new segment up; undo what was made if a step fails */
static int build(struct lab *lab, struct network *net, struct lab_err *err)
{
	int r = add_bridge(lab, net, err);

	if (r < 0)
		return r;
	r = nat_network_add(lab, net, err);
	if (r < 0)
		goto undo_bridge;
	if (net->nat) {
		r = uplink_get(lab, err);
		if (r < 0)
			goto undo_filter;
	}
	r = clock_start(lab, net, err);
	if (r < 0)
		goto undo_uplink;
	r = dhcp_start(lab, net, err);
	if (r < 0)
		goto undo_clock;
	return 0;

undo_clock:
	clock_stop(net);
undo_uplink:
	if (net->nat)
		uplink_put(lab);
undo_filter:
	nat_network_del(lab, net);
undo_bridge:
	link_del(lab->nl, net->bridge);
	return r;
}

int network_add(struct lab *lab, const struct network_spec *spec, struct lab_err *err)
{
	autofree struct network *net = calloc(1, sizeof(*net));
	const struct network *old;
	int r;

	if (!net)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = network_parse(spec, net, err);
	if (r < 0)
		return r;
	old = network_find(lab, net->name);
	if (old && same_network(old, net))
		return 0;
	if (old)
		return lab_fail(err, -EEXIST, "network %s is there with other settings", net->name);
	if (lab->n_networks >= LAB_MAX_NETWORKS)
		return lab_fail(err, -EDQUOT, "a lab has at most %d networks", LAB_MAX_NETWORKS);
	r = check_overlap(lab, net, err);
	if (!r)
		r = build(lab, net, err);
	if (r < 0)
		return r;
	TAILQ_INSERT_TAIL(&lab->networks, net, entry);
	lab->n_networks++;
	(void)steal_ptr(net);
	return 0;
}

static void nic_forget(struct lab *lab, struct nic *nic)
{
	TAILQ_REMOVE(&lab->nics, nic, entry);
	nic->network->n_nics--;
	lab->n_nics--;
	close(nic->fd);
	free(nic);
}

/**
 * remove_nics() - Remove nics with their links
 * @network:	those of one network, or NULL for all of them
 */
static int remove_nics(struct lab *lab, const struct network *network, struct lab_err *err)
{
	autofree const char **names = calloc(lab->n_nics + 1, sizeof(*names));
	struct nic *nic, *next;
	size_t n = 0;
	int r;

	if (!names)
		return lab_fail(err, -ENOMEM, "out of memory");
	TAILQ_FOREACH(nic, &lab->nics, entry)
		if (!network || nic->network == network)
			names[n++] = nic->ifname;
	/* closing a tap removes it too, but one by one: see link.c */
	r = link_del_many(lab->nl, names, n);
	if (r < 0)
		return lab_fail_errno(err, r, "cannot remove taps");
	TAILQ_FOREACH_SAFE(nic, &lab->nics, entry, next)
		if (!network || nic->network == network)
			nic_forget(lab, nic);
	return 0;
}

int network_del(struct lab *lab, const char *name, struct lab_err *err)
{
	struct network *net = network_find(lab, name);
	bool had_nics;
	int r;

	if (!net)
		return 0;
	had_nics = net->n_nics;
	r = remove_nics(lab, net, err);
	if (r < 0)
		return r;
	dhcp_stop(lab, net);
	clock_stop(net);
	if (net->nat)
		uplink_put(lab);
	nat_network_del(lab, net);
	r = link_del(lab->nl, net->bridge);
	if (r < 0)
		return lab_fail_errno(err, r, "network %s: cannot remove its bridge", name);
	TAILQ_REMOVE(&lab->networks, net, entry);
	lab->n_networks--;
	free(net);
	if (had_nics)
		dhcp_reload(lab);
	return 0;
}

/* Another nic of the lab, or one before it in the same request, has this address */
static int check_addr(const struct lab *lab, struct nic *const *fresh, size_t n,
		      const struct nic *nic, struct lab_err *err)
{
	const struct nic *other;

	if (!nic->has_addr)
		return 0;
	TAILQ_FOREACH(other, &lab->nics, entry)
		if (other->has_addr && other->addr.s_addr == nic->addr.s_addr &&
		    strcmp(other->ifname, nic->ifname) != 0)
			return lab_fail(err, -EEXIST, "nic %s: its address belongs to nic %s",
					nic->ifname, other->ifname);
	for (size_t i = 0; i < n; i++)
		if (fresh[i]->has_addr && fresh[i]->addr.s_addr == nic->addr.s_addr)
			return lab_fail(err, -EEXIST, "nic %s: its address belongs to nic %s",
					nic->ifname, fresh[i]->ifname);
	return 0;
}

/* In the place of a descriptor: a nic that is there already takes a new lease and name */
#define NIC_IS_THERE (-EEXIST)

/**
 * prepare_nic() - Check one nic of a request
 * @fresh:	those of the request; the @i before it are set, it is set here
 */
static int prepare_nic(struct lab *lab, const struct nic_spec *spec, struct nic **fresh, size_t i,
		       struct lab_err *err)
{
	struct nic nic = { .network = network_find(lab, spec->network) };
	struct nic *old = nic_find(lab, spec->ifname);
	int r;

	if (!nic.network)
		return lab_fail(err, -ENOENT, "nic %.15s: there is no network %.48s", spec->ifname,
				spec->network);
	r = nic_parse(spec, &nic, err);
	if (!r)
		r = check_addr(lab, fresh, i, &nic, err);
	if (r < 0)
		return r;
	if (old && old->network != nic.network)
		return lab_fail(err, -EEXIST, "nic %s is on network %s", nic.ifname,
				old->network->name);
	for (size_t j = 0; j < i; j++)
		if (!strcmp(fresh[j]->ifname, nic.ifname))
			return lab_fail(err, -EINVAL, "nic %s is asked for twice", nic.ifname);
	if (spec->tap && !tap_find(lab, spec->tap))
		return lab_fail(err, -ENOENT, "nic %s: there is no tap %.15s", nic.ifname,
				spec->tap);
	if (spec->tap && old)
		return lab_fail(err, -EEXIST, "nic %s has a tap already", nic.ifname);
	nic.waits = spec->tap;
	nic.fd = old ? NIC_IS_THERE : -EBADF;
	*fresh[i] = nic;
	return 0;
}

static int open_taps(struct lab *lab, const struct nic_spec *specs, struct nic **fresh, size_t n,
		     struct lab_err *err)
{
	for (size_t i = 0; i < n; i++) {
		if (fresh[i]->fd == NIC_IS_THERE)
			continue;
		fresh[i]->fd = specs[i].tap ? tap_take(lab, specs[i].tap)
					    : link_tap_open(fresh[i]->ifname);
		if (fresh[i]->fd == -EACCES || fresh[i]->fd == -EPERM)
			return lab_fail_errno(err, fresh[i]->fd,
					      "cannot make tap %s: /dev/net/tun must be open to "
					      "you (mode 0666)",
					      fresh[i]->ifname);
		if (fresh[i]->fd < 0)
			return lab_fail_errno(err, fresh[i]->fd, "cannot make tap %s",
					      fresh[i]->ifname);
	}
	return 0;
}

/*
 * Put new taps on their bridges, in one exchange with the kernel; and up, but one that a program
 * has already: even one that stands still takes a frame, so first all is flushed (flush.c)
 */
static int join_bridges(struct lab *lab, const struct nic_spec *specs, struct nic **fresh, size_t n,
			struct lab_err *err)
{
	struct netlink_batch b;
	int r = 0, waited;

	netlink_batch_begin(&b, lab->nl);
	for (size_t i = 0; !r && i < n; i++) {
		assert(fresh[i]->network);
		if (specs[i].tap)
			r = link_batch_rename(&b, specs[i].tap, fresh[i]->ifname);
		if (!r && fresh[i]->fd != NIC_IS_THERE)
			r = link_batch_set(&b, fresh[i]->ifname, fresh[i]->network->ifindex,
					   fresh[i]->network->mtu, !fresh[i]->waits);
	}
	waited = netlink_batch_wait(&b);
	if (!r)
		r = waited;
	return r < 0 ? lab_fail_errno(err, r, "cannot put taps on their bridges") : 0;
}

static void free_fresh(struct nic **fresh, size_t n)
{
	for (size_t i = 0; i < n && fresh[i]; i++) {
		if (fresh[i]->fd >= 0)
			close(fresh[i]->fd);
		free(fresh[i]);
	}
	free(fresh);
}

static struct nic **alloc_fresh(size_t n)
{
	struct nic **fresh = calloc(n + 1, sizeof(struct nic *));

	for (size_t i = 0; fresh && i < n; i++) {
		fresh[i] = calloc(1, sizeof(struct nic));
		if (!fresh[i]) {
			free_fresh(fresh, n);
			return NULL;
		}
		fresh[i]->fd = -EBADF;
	}
	return fresh;
}

/* A nic of a request that succeeded: keep it, or what is new of it */
static void take_nic(struct lab *lab, struct nic *nic)
{
	struct nic *old;

	assert(nic->network);
	if (nic->fd != NIC_IS_THERE) {
		TAILQ_INSERT_TAIL(&lab->nics, nic, entry);
		nic->network->n_nics++;
		lab->n_nics++;
		return;
	}
	old = nic_find(lab, nic->ifname);
	assert(old);
	memcpy(old->mac, nic->mac, sizeof(old->mac));
	memcpy(old->host, nic->host, sizeof(old->host));
	memcpy(old->aliases, nic->aliases, sizeof(old->aliases));
	old->addr = nic->addr;
	old->has_addr = nic->has_addr;
	free(nic);
}

int nics_add(struct lab *lab, const struct nic_spec *specs, size_t n, bool more, bool *added,
	     struct lab_err *err)
{
	struct nic **fresh;
	int r = 0;

	if (lab->n_nics + n > LAB_MAX_NICS)
		return lab_fail(err, -EDQUOT, "a lab has at most %d nics", LAB_MAX_NICS);
	fresh = alloc_fresh(n);
	if (!fresh)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; !r && i < n; i++)
		r = prepare_nic(lab, &specs[i], fresh, i, err);
	if (!r)
		r = open_taps(lab, specs, fresh, n, err);
	if (!r)
		r = join_bridges(lab, specs, fresh, n, err);
	if (r < 0) {
		free_fresh(fresh, n);
		return r;
	}
	for (size_t i = 0; i < n; i++) {
		added[i] = fresh[i]->fd != NIC_IS_THERE;
		take_nic(lab, fresh[i]);
	}
	free(fresh);
	if (!more)
		dhcp_reload(lab);
	return 0;
}

/* Forget one whose link is gone; true if leases and names are to be told */
static bool forget_link(struct lab *lab, const char *ifname)
{
	struct nic *nic = nic_find(lab, ifname);

	if (nic)
		nic_forget(lab, nic);
	else
		close(tap_take(lab, ifname));
	return nic;
}

int nics_del(struct lab *lab, const char *const *ifnames, size_t n, struct lab_err *err)
{
	autofree const char **names = calloc(n ? n : 1, sizeof(*names));
	bool reload = false;
	size_t found = 0;
	int r;

	if (!names)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (nic_find(lab, ifnames[i]) || tap_find(lab, ifnames[i]))
			names[found++] = ifnames[i];
	r = link_del_many(lab->nl, names, found);
	if (r < 0)
		return lab_fail_errno(err, r, "cannot remove taps");
	for (size_t i = 0; i < found; i++)
		reload |= forget_link(lab, names[i]);
	if (reload)
		dhcp_reload(lab);
	return 0;
}

int nic_set_link(struct lab *lab, const char *ifname, bool up, struct lab_err *err)
{
	int r;

	if (!nic_find(lab, ifname))
		return lab_fail(err, -ENOENT, "there is no nic %.15s", ifname);
	r = link_set(lab->nl, ifname, 0, 0, up);
	return r < 0 ? lab_fail_errno(err, r, "nic %s: cannot set its link %s", ifname,
				      up ? "up" : "down")
		     : 0;
}

void network_end_all(struct lab *lab)
{
	struct network *net;

	(void)remove_nics(lab, NULL, NULL);
	while ((net = TAILQ_FIRST(&lab->networks))) {
		dhcp_stop(lab, net);
		clock_stop(net);
		if (net->nat)
			uplink_put(lab);
		TAILQ_REMOVE(&lab->networks, net, entry);
		lab->n_networks--;
		free(net);
	}
}
