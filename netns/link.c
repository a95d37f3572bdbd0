// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * link.c - rtnetlink: bridges, taps, veth pairs, addresses, routes
 *
 * DOC: Theory of Operation
 *
 * What concerns many links is one struct netlink_batch: the kernel works on a
 * request while we write the next.
 *
 * Removing a link waits for all readers of the network stack to leave, some
 * 10 ms each. Links that share a group number are removed with one request and
 * one wait, so link_del_many() gives them a group nobody else uses first.
 */
#define _GNU_SOURCE
#include "netns/link.h"

#include "lib/util.h"
#include "netns/netlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/ethernet.h>
#include <netinet/ether.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>
#include <sys/ioctl.h>

#define LINK_DOOMED_GROUP 0x6c616264 /* "labd" */

static struct nl_msg *link_msg(int type, int flags, const char *ifname, unsigned int ifi_flags,
			       unsigned int ifi_change)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC,
				 .ifi_flags = ifi_flags,
				 .ifi_change = ifi_change };
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

	if (!msg)
		return NULL;
	if (nlmsg_append(msg, &ifi, sizeof(ifi), NLMSG_ALIGNTO) < 0 ||
	    (ifname && nla_put_string(msg, IFLA_IFNAME, ifname) < 0)) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

int link_batch_set(struct netlink_batch *b, const char *ifname, unsigned int master,
		   unsigned int mtu, bool up)
{
	autonlmsg struct nl_msg *msg = link_msg(RTM_NEWLINK, 0, ifname, up ? IFF_UP : 0, IFF_UP);

	if (!msg || (master && nla_put_u32(msg, IFLA_MASTER, master) < 0) ||
	    (mtu && nla_put_u32(msg, IFLA_MTU, mtu) < 0))
		return -ENOMEM;
	return netlink_batch_send(b, msg);
}

int link_set(struct nl_sock *sock, const char *ifname, unsigned int master, unsigned int mtu,
	     bool up)
{
	struct netlink_batch b;
	int r;

	netlink_batch_begin(&b, sock);
	r = link_batch_set(&b, ifname, master, mtu, up);
	return r < 0 ? r : netlink_batch_wait(&b);
}

int link_batch_rename(struct netlink_batch *b, const char *ifname, const char *to)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = (int)link_index(ifname) };
	autonlmsg struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWLINK, 0);

	if (!ifi.ifi_index)
		return -ENODEV;
	if (!msg || nlmsg_append(msg, &ifi, sizeof(ifi), NLMSG_ALIGNTO) < 0 ||
	    nla_put_string(msg, IFLA_IFNAME, to) < 0)
		return -ENOMEM;
	return netlink_batch_send(b, msg);
}

int link_bridge_add(struct nl_sock *sock, const char *ifname, const char *mac, unsigned int mtu)
{
	autonlmsg struct nl_msg *msg = link_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifname,
						IFF_UP, IFF_UP);
	const struct ether_addr *addr = ether_aton(mac);
	struct nlattr *info, *data;

	if (!addr)
		return -EINVAL;
	if (!msg || nla_put(msg, IFLA_ADDRESS, ETH_ALEN, addr) < 0 ||
	    nla_put_u32(msg, IFLA_MTU, mtu) < 0)
		return -ENOMEM;
	info = nla_nest_start(msg, IFLA_LINKINFO);
	if (!info || nla_put_string(msg, IFLA_INFO_KIND, "bridge") < 0)
		return -ENOMEM;
	data = nla_nest_start(msg, IFLA_INFO_DATA);
	/* without snooping no querier is needed for IPv6 neighbours to be heard */
	if (!data || nla_put_u32(msg, IFLA_BR_STP_STATE, 0) < 0 ||
	    nla_put_u32(msg, IFLA_BR_FORWARD_DELAY, 0) < 0 ||
	    nla_put_u8(msg, IFLA_BR_MCAST_SNOOPING, 0) < 0)
		return -ENOMEM;
	nla_nest_end(msg, data);
	nla_nest_end(msg, info);
	return netlink_request(sock, msg);
}

int link_veth_add(struct nl_sock *sock, const char *ifname, const char *peer, int peer_net)
{
	autonlmsg struct nl_msg *msg = link_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifname,
						IFF_UP, IFF_UP);
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct nlattr *info, *data, *far;

	if (!msg)
		return -ENOMEM;
	info = nla_nest_start(msg, IFLA_LINKINFO);
	if (!info || nla_put_string(msg, IFLA_INFO_KIND, "veth") < 0)
		return -ENOMEM;
	data = nla_nest_start(msg, IFLA_INFO_DATA);
	far = data ? nla_nest_start(msg, VETH_INFO_PEER) : NULL;
	if (!far || nlmsg_append(msg, &ifi, sizeof(ifi), NLMSG_ALIGNTO) < 0 ||
	    nla_put_string(msg, IFLA_IFNAME, peer) < 0 ||
	    nla_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)peer_net) < 0)
		return -ENOMEM;
	nla_nest_end(msg, far);
	nla_nest_end(msg, data);
	nla_nest_end(msg, info);
	return netlink_request(sock, msg);
}

int link_del(struct nl_sock *sock, const char *ifname)
{
	autonlmsg struct nl_msg *msg = link_msg(RTM_DELLINK, 0, ifname, 0, 0);
	int r = netlink_request(sock, msg);

	if (r == -ENODEV)
		return 0;
	return r < 0 ? r : 1;
}

/* Put one link into the group that is removed; @b collects the answer */
static int doom(struct netlink_batch *b, const char *ifname)
{
	autonlmsg struct nl_msg *msg = link_msg(RTM_NEWLINK, 0, ifname, 0, 0);

	if (!msg || nla_put_u32(msg, IFLA_GROUP, LINK_DOOMED_GROUP) < 0)
		return -ENOMEM;
	return netlink_batch_send(b, msg);
}

int link_del_many(struct nl_sock *sock, const char *const *ifnames, size_t n)
{
	autonlmsg struct nl_msg *msg = link_msg(RTM_DELLINK, 0, NULL, 0, 0);
	struct netlink_batch b;
	int r;

	if (!n)
		return 0;
	netlink_batch_begin(&b, sock);
	for (size_t i = 0; i < n; i++) {
		r = doom(&b, ifnames[i]);
		if (r < 0)
			return r;
	}
	/* a link that is gone already answers ENODEV: nothing to remove */
	r = netlink_batch_wait(&b);
	if (r < 0 && r != -ENODEV)
		return r;
	if (!msg || nla_put_u32(msg, IFLA_GROUP, LINK_DOOMED_GROUP) < 0)
		return -ENOMEM;
	r = netlink_request(sock, msg);
	return r == -ENODEV ? 0 : r;
}

unsigned int link_index(const char *ifname)
{
	return if_nametoindex(ifname);
}

int link_addr_add(struct nl_sock *sock, unsigned int ifindex, struct in_addr addr,
		  unsigned int prefix)
{
	struct ifaddrmsg ifa = { .ifa_family = AF_INET,
				 .ifa_prefixlen = (uint8_t)prefix,
				 .ifa_index = ifindex };
	struct in_addr brd = { addr.s_addr | htonl(prefix < 32 ? 0xffffffffu >> prefix : 0) };
	autonlmsg struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWADDR,
							  NLM_F_CREATE | NLM_F_REPLACE);

	if (!msg || nlmsg_append(msg, &ifa, sizeof(ifa), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, IFA_LOCAL, sizeof(addr), &addr) < 0 ||
	    nla_put(msg, IFA_ADDRESS, sizeof(addr), &addr) < 0 ||
	    (prefix < 31 && nla_put(msg, IFA_BROADCAST, sizeof(brd), &brd) < 0))
		return -ENOMEM;
	return netlink_request(sock, msg);
}

int link_default_route(struct nl_sock *sock, struct in_addr via)
{
	struct rtmsg rt = { .rtm_family = AF_INET,
			    .rtm_table = RT_TABLE_MAIN,
			    .rtm_protocol = RTPROT_STATIC,
			    .rtm_scope = RT_SCOPE_UNIVERSE,
			    .rtm_type = RTN_UNICAST };
	autonlmsg struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWROUTE,
							  NLM_F_CREATE | NLM_F_REPLACE);

	if (!msg || nlmsg_append(msg, &rt, sizeof(rt), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, RTA_GATEWAY, sizeof(via), &via) < 0)
		return -ENOMEM;
	return netlink_request(sock, msg);
}

int link_batch_forget_port(struct netlink_batch *b, const char *ifname)
{
	autonlmsg struct nl_msg *msg = link_msg(RTM_NEWLINK, 0, ifname, 0, 0);
	struct nlattr *info, *data;

	if (!msg)
		return -ENOMEM;
	info = nla_nest_start(msg, IFLA_LINKINFO);
	if (!info || nla_put_string(msg, IFLA_INFO_SLAVE_KIND, "bridge") < 0)
		return -ENOMEM;
	data = nla_nest_start(msg, IFLA_INFO_SLAVE_DATA);
	if (!data || nla_put_flag(msg, IFLA_BRPORT_FLUSH) < 0)
		return -ENOMEM;
	nla_nest_end(msg, data);
	nla_nest_end(msg, info);
	return netlink_batch_send(b, msg);
}

int link_batch_forget_neighbour(struct netlink_batch *b, unsigned int ifindex, struct in_addr addr)
{
	struct ndmsg head = { .ndm_family = AF_INET, .ndm_ifindex = (int)ifindex };
	autonlmsg struct nl_msg *msg = nlmsg_alloc_simple(RTM_DELNEIGH, 0);

	if (!msg || nlmsg_append(msg, &head, sizeof(head), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, NDA_DST, sizeof(addr), &addr) < 0)
		return -ENOMEM;
	return netlink_batch_send(b, msg);
}

struct routes {
	void (*each)(void *arg, struct in_addr dst, unsigned int prefix);
	void *arg;
};

static void on_route(struct nlmsghdr *h, void *arg)
{
	struct routes *routes = arg;
	const struct rtmsg *rt = nlmsg_data(h);
	struct nlattr *dst = nlmsg_find_attr(h, sizeof(*rt), RTA_DST);
	struct in_addr addr;

	if (rt->rtm_family != AF_INET || !rt->rtm_dst_len || !dst ||
	    nla_len(dst) < (int)sizeof(addr))
		return;
	memcpy(&addr, nla_data(dst), sizeof(addr));
	routes->each(routes->arg, addr, rt->rtm_dst_len);
}

int link_routes(struct nl_sock *sock,
		void (*each)(void *arg, struct in_addr dst, unsigned int prefix), void *arg)
{
	struct rtmsg rt = { .rtm_family = AF_INET };
	struct routes routes = { each, arg };

	return netlink_dump(sock, RTM_GETROUTE, &rt, sizeof(rt), on_route, &routes);
}

struct stats {
	void (*each)(void *arg, const struct link_stats *st);
	void *arg;
};

static void on_link(struct nlmsghdr *h, void *arg)
{
	const struct ifinfomsg *ifi = nlmsg_data(h);
	struct nlattr *name = nlmsg_find_attr(h, sizeof(*ifi), IFLA_IFNAME);
	struct nlattr *counters = nlmsg_find_attr(h, sizeof(*ifi), IFLA_STATS64);
	struct rtnl_link_stats64 raw = { 0 };
	struct stats *stats = arg;
	struct link_stats st = { .up = ifi->ifi_flags & IFF_UP };

	if (!name)
		return;
	if (counters)
		memcpy(&raw, nla_data(counters), MIN(sizeof(raw), (size_t)nla_len(counters)));
	nla_strlcpy(st.ifname, name, sizeof(st.ifname));
	st.rx_bytes = raw.rx_bytes;
	st.tx_bytes = raw.tx_bytes;
	st.rx_packets = raw.rx_packets;
	st.tx_packets = raw.tx_packets;
	st.rx_dropped = raw.rx_dropped;
	st.tx_dropped = raw.tx_dropped;
	stats->each(stats->arg, &st);
}

int link_stats_all(struct nl_sock *sock, void (*each)(void *arg, const struct link_stats *st),
		   void *arg)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct stats stats = { each, arg };

	return netlink_dump(sock, RTM_GETLINK, &ifi, sizeof(ifi), on_link, &stats);
}

int link_tap_open(const char *ifname)
{
	autoclose int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL };

	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	return steal_fd(&fd);
}

void link_tap_drain(int fd)
{
	char frame[65536 + 64];
	int limit = 4096; /* more than a tap's queue holds; a flood must not keep us here */

	while (limit-- && read(fd, frame, sizeof(frame)) > 0)
		;
}
