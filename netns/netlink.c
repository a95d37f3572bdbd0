// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * netlink.c - requests to the kernel: one, many at once, dumps
 *
 * DOC: Theory of Operation
 *
 * Requests of a batch are sent without waiting and their answers are counted
 * afterwards: the kernel works inside of our send(). Every request has NLM_F_ACK,
 * answers carry the sequence number of their request, and numbers of a batch
 * follow each other, so an answer is tied to its request. Answers wait in the
 * socket, whose buffer the host's rmem_max limits: no more than MAX_PENDING do,
 * or the kernel would drop one and a batch would wait for it for ever.
 */
#define _GNU_SOURCE
#include "netns/netlink.h"

#include "lib/util.h"

#include <netlink/errno.h>
#include <netlink/netlink.h>

/* An answer takes up to 1 KiB of the 208 KiB that a socket has by default */
#define MAX_PENDING 128
#define RCVBUF (1 << 20)

void cleanup_nlmsg(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

int netlink_errno(int code)
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

struct nl_sock *netlink_open(int protocol)
{
	struct nl_sock *sock = nl_socket_alloc();

	if (!sock)
		return NULL;
	nl_socket_disable_auto_ack(sock);
	nl_socket_disable_seq_check(sock);
	if (nl_connect(sock, protocol) < 0)
		return netlink_close(sock);
	/* parts of a dump are large, and come faster than they are read */
	(void)nl_socket_set_buffer_size(sock, RCVBUF, RCVBUF);
	return sock;
}

struct nl_sock *netlink_close(struct nl_sock *sock)
{
	nl_socket_free(sock);
	return NULL;
}

void netlink_batch_begin(struct netlink_batch *b, struct nl_sock *sock)
{
	*b = (struct netlink_batch){ .sock = sock, .failed = -1 };
}

static void note_answer(struct netlink_batch *b, unsigned int seq, int code)
{
	unsigned int index = seq - b->first;

	if (index >= b->sent)
		return; /* of an earlier batch that was given up */
	b->acked++;
	if (b->gone_ok && (code == -ENOENT || code == -ENODEV))
		return;
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

/* Take in all answers that are due; they are there already, or nearly */
static int collect(struct netlink_batch *b)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r = 0;

	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, b);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, b);
	while (r >= 0 && b->acked < b->sent)
		r = nl_recvmsgs(b->sock, cb);
	nl_cb_put(cb);
	return netlink_errno(r < 0 ? r : 0);
}

int netlink_batch_send(struct netlink_batch *b, struct nl_msg *msg)
{
	struct nlmsghdr *h;
	int r = 0;

	if (!msg)
		return -ENOMEM;
	if (b->sent - b->acked >= MAX_PENDING)
		r = collect(b);
	if (r < 0)
		return r;
	h = nlmsg_hdr(msg);
	h->nlmsg_flags |= NLM_F_ACK;
	nl_complete_msg(b->sock, msg);
	if (!b->sent)
		b->first = h->nlmsg_seq;
	r = nl_send(b->sock, msg);
	if (r < 0)
		return netlink_errno(r);
	b->sent++;
	return 0;
}

int netlink_batch_wait(struct netlink_batch *b)
{
	int r = collect(b);

	return b->failed >= 0 ? b->code : r;
}

int netlink_request(struct nl_sock *sock, struct nl_msg *msg)
{
	struct netlink_batch b;
	int r;

	netlink_batch_begin(&b, sock);
	r = netlink_batch_send(&b, msg);
	return r < 0 ? r : netlink_batch_wait(&b);
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

int netlink_dump(struct nl_sock *sock, int type, const void *head, size_t len,
		 void (*each)(struct nlmsghdr *, void *), void *arg)
{
	autonlmsg struct nl_msg *msg = nlmsg_alloc_simple(type, NLM_F_DUMP);
	struct dump d = { .each = each, .arg = arg };
	struct nl_cb *cb;
	int r;

	if (!msg || nlmsg_append(msg, (void *)head, len, NLMSG_ALIGNTO) < 0)
		return -ENOMEM;
	nl_complete_msg(sock, msg);
	r = nl_send(sock, msg);
	if (r < 0)
		return netlink_errno(r);
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
	return d.code ? d.code : netlink_errno(r < 0 ? r : 0);
}
