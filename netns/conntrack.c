// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * conntrack.c - the connections that the lab's kernel knows (ctnetlink)
 *
 * DOC: Theory of Operation
 *
 * A guest that went back to an earlier state does not know the connections it
 * has opened since. As long as the kernel knows them, answers from outside pass the
 * filter as "established", and a new connection with the same ports is taken for a
 * part of the old one. So they are deleted; what belongs to them meets a filter
 * that refuses by default.
 *
 * The socket is made when it is first needed, for that may load the kernel's module,
 * and kept: closing it takes the kernel some 10 ms. Connections that are to go are gathered during
 * the dump and deleted behind it, each by its addresses and its number, so that one that is opened
 * in between with the same addresses stays.
 */
#define _GNU_SOURCE
#include "netns/conntrack.h"

#include "lib/util.h"
#include "netns/netlink.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netlink/attr.h>
#include <netlink/netlink.h>
#include <string.h>
#include <sys/queue.h>

/* A dump that is disturbed is begun again so often; deletions of it are safe in any case */
#define DUMP_TRIES 5

#define CT_MESSAGE(type) ((NFNL_SUBSYS_CTNETLINK << 8) | (type))

static const struct nfgenmsg any_family = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
static const struct nfgenmsg ipv4 = { .nfgen_family = AF_INET, .version = NFNETLINK_V0 };

/**
 * struct doomed - a request that deletes one connection
 */
struct doomed {
	STAILQ_ENTRY(doomed) entry;
	struct nl_msg *msg;
};

/**
 * struct search - a dump under way
 * @found:	what is to be deleted
 * @code:	first failure
 */
struct search {
	bool (*match)(void *arg, struct in_addr src, struct in_addr dst);
	void *arg;
	STAILQ_HEAD(doomed_list, doomed) found;
	int code;
};

static struct nl_msg *delete_message(const struct nfgenmsg *head)
{
	struct nl_msg *msg = nlmsg_alloc_simple(CT_MESSAGE(IPCTNL_MSG_CT_DELETE), 0);

	if (msg && nlmsg_append(msg, (void *)head, sizeof(*head), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

static int copy_attr(struct nl_msg *msg, struct nlattr *attr, int nested)
{
	return attr ? nla_put(msg, nla_type(attr) | nested, nla_len(attr), nla_data(attr)) : 0;
}

/* Remember to delete the connection with these attributes */
static int doom(struct search *s, struct nlattr **ct)
{
	struct doomed *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	STAILQ_INSERT_TAIL(&s->found, d, entry);
	d->msg = delete_message(&ipv4);
	if (!d->msg || copy_attr(d->msg, ct[CTA_TUPLE_ORIG], NLA_F_NESTED) < 0 ||
	    copy_attr(d->msg, ct[CTA_ZONE], 0) < 0 || copy_attr(d->msg, ct[CTA_ID], 0) < 0)
		return -ENOMEM;
	return 0;
}

/* Who opened a connection, and to whom; false if it is none of IPv4 */
static bool ends_of(struct nlattr *tuple, struct in_addr *src, struct in_addr *dst)
{
	struct nlattr *part[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1];

	if (!tuple || nla_parse_nested(part, CTA_TUPLE_MAX, tuple, NULL) < 0 ||
	    !part[CTA_TUPLE_IP] || nla_parse_nested(ip, CTA_IP_MAX, part[CTA_TUPLE_IP], NULL) < 0 ||
	    !ip[CTA_IP_V4_SRC] || nla_len(ip[CTA_IP_V4_SRC]) != sizeof(*src) ||
	    !ip[CTA_IP_V4_DST] || nla_len(ip[CTA_IP_V4_DST]) != sizeof(*dst))
		return false;
	memcpy(src, nla_data(ip[CTA_IP_V4_SRC]), sizeof(*src));
	memcpy(dst, nla_data(ip[CTA_IP_V4_DST]), sizeof(*dst));
	return true;
}

static void on_connection(struct nlmsghdr *h, void *arg)
{
	struct nlattr *ct[CTA_MAX + 1];
	struct search *s = arg;
	struct in_addr src, dst;
	int r = 0;

	if (nlmsg_parse(h, sizeof(struct nfgenmsg), ct, CTA_MAX, NULL) < 0)
		return;
	/* addresses are only translated on the way out: guests are in the first tuple */
	if (ends_of(ct[CTA_TUPLE_ORIG], &src, &dst) && s->match(s->arg, src, dst))
		r = doom(s, ct);
	if (r < 0 && !s->code)
		s->code = r;
}

/* Delete what was found; the list is empty afterwards */
static int delete_found(struct nl_sock *sock, struct search *s)
{
	struct netlink_batch b;
	struct doomed *d;
	int r = 0, waited;

	netlink_batch_begin(&b, sock);
	b.gone_ok = true; /* ended or expired by itself */
	while ((d = STAILQ_FIRST(&s->found))) {
		STAILQ_REMOVE_HEAD(&s->found, entry);
		if (!r)
			r = netlink_batch_send(&b, d->msg);
		nlmsg_free(d->msg);
		free(d);
	}
	waited = netlink_batch_wait(&b);
	return r < 0 ? r : waited;
}

static int forget_some(struct nl_sock *sock, struct search *s)
{
	int dumped, deleted;

	for (int i = 0; i < DUMP_TRIES; i++) {
		s->code = 0;
		dumped = netlink_dump(sock, CT_MESSAGE(IPCTNL_MSG_CT_GET), &ipv4, sizeof(ipv4),
				      on_connection, s);
		deleted = delete_found(sock, s);
		if (dumped != -EAGAIN)
			break;
	}
	if (dumped < 0)
		return dumped;
	return s->code < 0 ? s->code : deleted;
}

static int forget_all(struct nl_sock *sock)
{
	autonlmsg struct nl_msg *msg = delete_message(&any_family);

	return netlink_request(sock, msg);
}

/* What a kernel answers that has no ctnetlink, or not for us */
static bool is_missing(int code)
{
	return code == -EINVAL || code == -EOPNOTSUPP || code == -EPROTONOSUPPORT;
}

int conntrack_forget(struct lab *lab,
		     bool (*match)(void *arg, struct in_addr src, struct in_addr dst), void *arg)
{
	struct search s = { .match = match, .arg = arg };
	int r;

	if (!lab->conntrack)
		lab->conntrack = netlink_open(NETLINK_NETFILTER);
	if (!lab->conntrack)
		return 0;
	STAILQ_INIT(&s.found);
	r = match ? forget_some(lab->conntrack, &s) : forget_all(lab->conntrack);
	return is_missing(r) ? 0 : r;
}

void conntrack_end(struct lab *lab)
{
	lab->conntrack = netlink_close(lab->conntrack);
}
