// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flush.c - what an abandoned run has left in the lab's network
 *
 * DOC: Theory of Operation
 *
 * A guest that was put back to an earlier state must not hear of what it did
 * later. Its network remembers that in five places, which are emptied in the order
 * in which each may still fill the next one:
 *
 *	forwards	connections to it, reset. The guest's end of them is a packet
 *			on its way to it, like all the rest
 *	conntrack	so that the outside's answers do not pass the filter any more
 *	neighbours	with the packets that wait for an answer to ARP
 *	bridges		the ports they have learned its addresses on
 *	taps		last: frames nobody has read
 *
 * The guests stand still meanwhile, or what they send would fill it again. Within
 * the lab a packet goes from tap to tap inside of the write() that sent it, so
 * behind guests that stand still nothing is on its way. What the uplink still has
 * in its queue is refused by the filter afterwards.
 *
 * The link of a nic whose program has it already, as it was made of a tap that waited (tap.h),
 * is down until now: what came to it the program would have taken before it is emptied.
 *
 * If all nics of the lab are meant, all of conntrack goes, and the questions that
 * dnsmasq has open: whose these are, nobody knows.
 */
#define _GNU_SOURCE
#include "netns/flush.h"

#include "lib/util.h"
#include "netns/conntrack.h"
#include "netns/dns.h"
#include "netns/forward.h"
#include "netns/link.h"
#include "netns/netlink.h"
#include "netns/network.h"

#include <string.h>

/**
 * struct flush - the nics that are meant
 * @nics:	@n of them, each once, sorted by address
 */
struct flush {
	struct nic **nics;
	size_t n;
};

static int by_addr(const void *a, const void *b)
{
	const struct nic *x = *(struct nic *const *)a, *y = *(struct nic *const *)b;

	if (x->addr.s_addr != y->addr.s_addr)
		return x->addr.s_addr < y->addr.s_addr ? -1 : 1;
	return strcmp(x->ifname, y->ifname);
}

static int find_nics(const struct lab *lab, const char *const *ifnames, size_t n, struct flush *f,
		     struct lab_err *err)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		f->nics[i] = nic_find(lab, ifnames[i]);
		if (!f->nics[i])
			return lab_fail(err, -ENOENT, "there is no nic %.15s", ifnames[i]);
	}
	qsort(f->nics, n, sizeof(struct nic *), by_addr);
	for (size_t i = 0; i < n; i++)
		if (!i || f->nics[i] != f->nics[i - 1])
			f->nics[kept++] = f->nics[i];
	f->n = kept;
	return 0;
}

static bool has_addr(const struct flush *f, struct in_addr addr)
{
	size_t low = 0, high = f->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (f->nics[mid]->addr.s_addr == addr.s_addr)
			return f->nics[mid]->has_addr;
		if (f->nics[mid]->addr.s_addr < addr.s_addr)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

static bool is_theirs(void *arg, struct in_addr src, struct in_addr dst)
{
	return has_addr(arg, src) || has_addr(arg, dst);
}

static int forget_links(struct lab *lab, const struct flush *f)
{
	struct netlink_batch b;
	int r = 0, waited;

	netlink_batch_begin(&b, lab->nl);
	b.gone_ok = true;
	for (size_t i = 0; !r && i < f->n; i++) {
		if (f->nics[i]->has_addr)
			r = link_batch_forget_neighbour(&b, f->nics[i]->network->ifindex,
							f->nics[i]->addr);
		if (!r)
			r = link_batch_forget_port(&b, f->nics[i]->ifname);
	}
	waited = netlink_batch_wait(&b);
	return r < 0 ? r : waited;
}

static int raise_links(struct lab *lab, const struct flush *f)
{
	struct netlink_batch b;
	int r = 0, waited;

	netlink_batch_begin(&b, lab->nl);
	for (size_t i = 0; !r && i < f->n; i++)
		if (f->nics[i]->waits)
			r = link_batch_set(&b, f->nics[i]->ifname, 0, 0, true);
	waited = netlink_batch_wait(&b);
	for (size_t i = 0; !r && !waited && i < f->n; i++)
		f->nics[i]->waits = false;
	return r < 0 ? r : waited;
}

static int forget(struct lab *lab, struct flush *f, struct lab_err *err)
{
	bool all = f->n == lab->n_nics;
	int r;

	for (size_t i = 0; i < f->n; i++)
		if (f->nics[i]->has_addr)
			forward_reset(lab, f->nics[i]->addr);
	if (all)
		resolver_drop(lab);
	r = conntrack_forget(lab, all ? NULL : is_theirs, f);
	if (r < 0)
		return lab_fail_errno(err, r, "cannot forget the connections of nics");
	r = forget_links(lab, f);
	if (r < 0)
		return lab_fail_errno(err, r, "cannot forget the addresses of nics");
	for (size_t i = 0; i < f->n; i++)
		link_tap_drain(f->nics[i]->fd);
	r = raise_links(lab, f);
	return r < 0 ? lab_fail_errno(err, r, "cannot set the links of nics up") : 0;
}

int flush_nics(struct lab *lab, const char *const *ifnames, size_t n, struct lab_err *err)
{
	autofree struct nic **nics = calloc(n + 1, sizeof(struct nic *));
	struct flush f = { .nics = nics };
	int r;

	if (!nics)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = find_nics(lab, ifnames, n, &f, err);
	if (r < 0 || !f.n)
		return r;
	return forget(lab, &f, err);
}
