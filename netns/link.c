// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * link.c - rtnetlink: bridges, taps, veth pairs, addresses, routes
 *
 * DOC: Theory of Operation
 *
 * Requests are sent without waiting and their answers are counted afterwards
 * (struct link_batch): the kernel works on them while we write the next. Every
 * request has NLM_F_ACK, answers carry the sequence number of their request,
 * and numbers of a batch follow each other, so an answer is tied to its link.
 *
 * Removing a link waits for all readers of the network stack to leave, some
 * 10 ms each. Links that share a group number are removed with one request and
 * one wait, so link_del_many() gives them a group nobody else uses first.
 */
#define _GNU_SOURCE
#include "netns/link.h"

#include "lib/util.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/ethernet.h>
#include <netinet/ether.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>
#include <sys/ioctl.h>

#define LINK_DOOMED_GROUP 0x6c616264 /* "labd" */
#define LINK_RCVBUF (1 << 20)

static void cleanup_msg(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

#define automsg __attribute__((cleanup(cleanup_msg)))

/* libnl has its own error numbers; those it made from an errno lose which */
static int nl_to_errno(int code)
{
	static const struct {
		int nle, err;
	} table[] = {
		{ NLE_NOMEM, ENOMEM },	       { NLE_INTR, EINTR },
		{ NLE_AGAIN, EAGAIN },	       { NLE_EXIST, EEXIST },
		{ NLE_INVAL, EINVAL },	       { NLE_RANGE, ERANGE },
		{ NLE_MSGSIZE, EMSGSIZE },     { NLE_OPNOTSUPP, EOPNOTSUPP },
		{ NLE_OBJ_NOTFOUND, ENOENT },  { NLE_PERM, EPERM },
		{ NLE_NOACCESS, EACCES },      { NLE_BUSY, EBUSY },
		{ NLE_NODEV, ENODEV },	       { NLE_DUMP_INTR, EAGAIN },
		{ NLE_NOADDR, EADDRNOTAVAIL },
	};

	if (code >= 0)
		return code;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (-code == table[i].nle)
			return -table[i].err;
	return -EIO;
}

struct nl_sock *link_open(void)
{
	struct nl_sock *sock = nl_socket_alloc();

	if (!sock)
		return NULL;
	nl_socket_disable_auto_ack(sock);
	nl_socket_disable_seq_check(sock);
	if (nl_connect(sock, NETLINK_ROUTE) < 0)
		return link_close(sock);
	/* answers to a batch of hundreds wait in the socket */
	(void)nl_socket_set_buffer_size(sock, LINK_RCVBUF, LINK_RCVBUF);
	return sock;
}

struct nl_sock *link_close(struct nl_sock *sock)
{
	nl_socket_free(sock);
	return NULL;
}

void link_batch_begin(struct link_batch *b, struct nl_sock *sock)
{
	*b = (struct link_batch){ .sock = sock, .failed = -1 };
}

static void note_answer(struct link_batch *b, unsigned int seq, int code)
{
	unsigned int index = seq - b->first;

	if (index >= b->sent)
		return; /* of an earlier batch that was given up */
	b->acked++;
	if (code < 0 && (b->failed < 0 || (int)index < b->failed)) {
		b->failed = (int)index;
		b->code = code;
	}
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	note_answer(arg, nlmsg_hdr(msg)->nlmsg_seq, 0);
	return NL_OK;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *nlerr, void *arg)
{
	(void)from;
	note_answer(arg, nlerr->msg.nlmsg_seq, nlerr->error);
	return NL_SKIP;
}

/* Send one request of a batch; @msg may be NULL for want of memory */
static int batch_send(struct link_batch *b, struct nl_msg *msg)
{
	struct nlmsghdr *h;
	int r;

	if (!msg)
		return -ENOMEM;
	h = nlmsg_hdr(msg);
	h->nlmsg_flags |= NLM_F_ACK;
	nl_complete_msg(b->sock, msg);
	if (!b->sent)
		b->first = h->nlmsg_seq;
	r = nl_send(b->sock, msg);
	if (r < 0)
		return nl_to_errno(r);
	b->sent++;
	return 0;
}

int link_batch_wait(struct link_batch *b)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r = 0;

	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, b);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, b);
	/* answers are there already: the kernel works inside our send() */
	while (r >= 0 && b->acked < b->sent)
		r = nl_recvmsgs(b->sock, cb);
	nl_cb_put(cb);
	return b->failed >= 0 ? b->code : nl_to_errno(r < 0 ? r : 0);
}

/* One request and its answer */
static int send_wait(struct nl_sock *sock, struct nl_msg *msg)
{
	struct link_batch b;
	int r;

	link_batch_begin(&b, sock);
	r = batch_send(&b, msg);
	return r < 0 ? r : link_batch_wait(&b);
}

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

int link_batch_set(struct link_batch *b, const char *ifname, unsigned int master, unsigned int mtu,
		   bool up)
{
	automsg struct nl_msg *msg = link_msg(RTM_NEWLINK, 0, ifname, up ? IFF_UP : 0, IFF_UP);

	if (!msg || (master && nla_put_u32(msg, IFLA_MASTER, master) < 0) ||
	    (mtu && nla_put_u32(msg, IFLA_MTU, mtu) < 0))
		return -ENOMEM;
	return batch_send(b, msg);
}

int link_set(struct nl_sock *sock, const char *ifname, unsigned int master, unsigned int mtu,
	     bool up)
{
	struct link_batch b;
	int r;

	link_batch_begin(&b, sock);
	r = link_batch_set(&b, ifname, master, mtu, up);
	return r < 0 ? r : link_batch_wait(&b);
}

int link_bridge_add(struct nl_sock *sock, const char *ifname, const char *mac, unsigned int mtu)
{
	automsg struct nl_msg *msg = link_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifname,
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
	return send_wait(sock, msg);
}

int link_veth_add(struct nl_sock *sock, const char *ifname, const char *peer, int peer_net)
{
	automsg struct nl_msg *msg = link_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifname,
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
	return send_wait(sock, msg);
}

int link_del(struct nl_sock *sock, const char *ifname)
{
	automsg struct nl_msg *msg = link_msg(RTM_DELLINK, 0, ifname, 0, 0);
	int r = send_wait(sock, msg);

	if (r == -ENODEV)
		return 0;
	return r < 0 ? r : 1;
}

/* Put one link into the group that is removed; @b collects the answer */
static int doom(struct link_batch *b, const char *ifname)
{
	automsg struct nl_msg *msg = link_msg(RTM_NEWLINK, 0, ifname, 0, 0);

	if (!msg || nla_put_u32(msg, IFLA_GROUP, LINK_DOOMED_GROUP) < 0)
		return -ENOMEM;
	return batch_send(b, msg);
}

int link_del_many(struct nl_sock *sock, const char *const *ifnames, size_t n)
{
	automsg struct nl_msg *msg = link_msg(RTM_DELLINK, 0, NULL, 0, 0);
	struct link_batch b;
	int r;

	if (!n)
		return 0;
	link_batch_begin(&b, sock);
	for (size_t i = 0; i < n; i++) {
		r = doom(&b, ifnames[i]);
		if (r < 0)
			return r;
	}
	/* a link that is gone already answers ENODEV: nothing to remove */
	r = link_batch_wait(&b);
	if (r < 0 && r != -ENODEV)
		return r;
	if (!msg || nla_put_u32(msg, IFLA_GROUP, LINK_DOOMED_GROUP) < 0)
		return -ENOMEM;
	r = send_wait(sock, msg);
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
	automsg struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);

	if (!msg || nlmsg_append(msg, &ifa, sizeof(ifa), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, IFA_LOCAL, sizeof(addr), &addr) < 0 ||
	    nla_put(msg, IFA_ADDRESS, sizeof(addr), &addr) < 0 ||
	    (prefix < 31 && nla_put(msg, IFA_BROADCAST, sizeof(brd), &brd) < 0))
		return -ENOMEM;
	return send_wait(sock, msg);
}

int link_default_route(struct nl_sock *sock, struct in_addr via)
{
	struct rtmsg rt = { .rtm_family = AF_INET,
			    .rtm_table = RT_TABLE_MAIN,
			    .rtm_protocol = RTPROT_STATIC,
			    .rtm_scope = RT_SCOPE_UNIVERSE,
			    .rtm_type = RTN_UNICAST };
	automsg struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);

	if (!msg || nlmsg_append(msg, &rt, sizeof(rt), NLMSG_ALIGNTO) < 0 ||
	    nla_put(msg, RTA_GATEWAY, sizeof(via), &via) < 0)
		return -ENOMEM;
	return send_wait(sock, msg);
}

/**
 * struct dump - one dump under way
 * @each:	called for every object of it
 * @done:	the end was seen
 * @code:	negative errno if the kernel refused
 */
struct dump {
	void (*each)(struct nlmsghdr *h, void *arg);
	void *arg;
	bool done;
	int code;
};

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct dump *d = arg;

	d->each(nlmsg_hdr(msg), d->arg);
	return NL_OK;
}

static int on_finish(struct nl_msg *msg, void *arg)
{
	struct dump *d = arg;

	(void)msg;
	d->done = true;
	return NL_STOP;
}

static int on_refused(struct sockaddr_nl *from, struct nlmsgerr *nlerr, void *arg)
{
	struct dump *d = arg;

	(void)from;
	d->code = nlerr->error;
	d->done = true;
	return NL_STOP;
}

static int run_dump(struct nl_sock *sock, int type, const void *head, size_t len,
		    void (*each)(struct nlmsghdr *, void *), void *arg)
{
	automsg struct nl_msg *msg = nlmsg_alloc_simple(type, NLM_F_DUMP);
	struct dump d = { .each = each, .arg = arg };
	struct nl_cb *cb;
	int r;

	if (!msg || nlmsg_append(msg, (void *)head, len, NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	nl_complete_msg(sock, msg);
	r = nl_send(sock, msg);
	if (r < 0)
		return nl_to_errno(r);
	cb = nl_cb_alloc(NL_CB_DEFAULT);
	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &d);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, &d);
	nl_cb_err(cb, NL_CB_CUSTOM, on_refused, &d);
	r = 0;
	while (!d.done && r >= 0)
		r = nl_recvmsgs(sock, cb);
	nl_cb_put(cb);
	return d.code ? d.code : nl_to_errno(r < 0 ? r : 0);
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

	return run_dump(sock, RTM_GETROUTE, &rt, sizeof(rt), on_route, &routes);
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

	return run_dump(sock, RTM_GETLINK, &ifi, sizeof(ifi), on_link, &stats);
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
