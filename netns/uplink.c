// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uplink.c - the lab's way out: a veth pair for root, slirp4netns for a user
 *
 * DOC: Theory of Operation
 *
 * The first network with nat makes it, the last takes it away; in between it is
 * counted. Inside it is always the link "_uplink" with the default route; filters
 * and translation (nat.c) know only that name.
 *
 * As root: a veth pair "labdID" on the host. Its addresses are a /30 out of
 * 100.64.0.0/10 (RFC 6598: between a provider and its customers, so neither a
 * home's nor a company's network) at a place that follows from the lab's id; where a
 * route of the host covers that (some VPNs use the range too) the next ones are
 * tried, and then 198.18.0.0/15. What must happen on the host is done with
 * sockets made there: see lab_enter_host().
 *
 * As a user: nobody in the lab's user namespace can go back to the host's network,
 * so a helper process is forked before the namespaces are made. It waits; told
 * to, it starts slirp4netns, which enters the lab to make its tap and speaks
 * for it from the host. slirp4netns ends when the pipe --exit-fd does, the
 * helper when its socket to the keeper does: nothing outlives the keeper.
 */
#define _GNU_SOURCE
#include "netns/uplink.h"

#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"
#include "netns/dns.h"
#include "netns/link.h"
#include "netns/nat.h"
#include "netns/netlink.h"
#include "netns/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SLIRP_PROGRAM "/usr/bin/slirp4netns"
#define SLIRP_NET "100.127.255.0"
#define SLIRP_PREFIX 24
#define SLIRP_DNS "100.127.255.3"
#define SLIRP_RESTART_MAX 5
#define SLIRP_RESTART_SPAN (60 * 1000000ULL)

#define PICK_TRIES 256

/* The helper's language: one byte a message */
enum { HELPER_START = 's', HELPER_STOP = 'x', HELPER_UP = 'u', HELPER_DIED = 'd' };

/**
 * struct uplink - the way out of one lab
 * @users:	networks with nat
 * @net:	the /30 of the veth pair
 * @helper:	pid and @sock of the helper, 0 and negative for root
 * @up:		slirp4netns is ready
 * @failed:	it does not stay
 */
struct uplink {
	unsigned int users;
	struct in_addr net;
	pid_t helper;
	int sock;
	sd_event_source *source;
	bool up, failed;
	uint64_t since;
	unsigned int restarts;
};

/* ------------------------------------------------------------ addresses */

int uplink_pick(unsigned int lab_id,
		bool (*taken)(void *arg, struct in_addr addr, unsigned int len), void *arg,
		struct in_addr *ret)
{
	static const struct {
		uint32_t base, count;
	} pools[] = {
		/* without the last 256 addresses, which slirp4netns has */
		{ 0x64400000, (1U << 20) - 64 }, /* 100.64.0.0/10 */
		{ 0xc6120000, 1U << 15 }, /* 198.18.0.0/15 */
	};

	for (size_t p = 0; p < ARRAY_SIZE(pools); p++)
		for (uint32_t i = 0; i < PICK_TRIES; i++) {
			/* far steps: what covers one place covers its neighbours */
			uint32_t slot = (lab_id + i * 4099) % pools[p].count;
			struct in_addr addr = { htonl(pools[p].base + slot * 4) };

			if (!taken(arg, addr, 30)) {
				*ret = addr;
				return 0;
			}
		}
	return -EADDRNOTAVAIL;
}

struct range {
	struct in_addr addr;
	unsigned int prefix;
};

/**
 * struct ranges - address ranges in use on the host, and the lab's networks
 */
struct ranges {
	const struct lab *lab;
	struct range *list;
	size_t n, room;
	bool failed;
};

static void add_range(void *arg, struct in_addr addr, unsigned int prefix)
{
	struct ranges *r = arg;

	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 64;
		struct range *more = reallocarray(r->list, room, sizeof(*more));

		if (!more) {
			r->failed = true;
			return;
		}
		r->list = more;
		r->room = room;
	}
	r->list[r->n++] = (struct range){ addr, prefix };
}

static bool is_taken(void *arg, struct in_addr addr, unsigned int prefix)
{
	const struct ranges *r = arg;
	const struct network *net;

	for (size_t i = 0; i < r->n; i++)
		if (network_overlaps(addr, prefix, r->list[i].addr, r->list[i].prefix))
			return true;
	TAILQ_FOREACH(net, &r->lab->networks, entry)
		if (network_overlaps(addr, prefix, net->addr, net->prefix))
			return true;
	return false;
}

static int choose(struct lab *lab, struct nl_sock *host, struct in_addr *ret)
{
	struct ranges ranges = { .lab = lab };
	int r = link_routes(host, add_range, &ranges);

	if (!r && ranges.failed)
		r = -ENOMEM;
	if (!r)
		r = uplink_pick(lab->id, is_taken, &ranges, ret);
	free(ranges.list);
	return r;
}

static struct in_addr plus(struct in_addr addr, uint32_t n)
{
	return (struct in_addr){ htonl(ntohl(addr.s_addr) + n) };
}

/* ---------------------------------------------------------------- root */

static const char *host_ifname(char buf[IFNAMSIZ], unsigned int lab_id)
{
	snprintf(buf, IFNAMSIZ, UPLINK_IFNAME_FORMAT, lab_id);
	return buf;
}

/* The host's end; called with the host's network as the current one */
static int make_host_end(struct lab *lab, struct nl_sock *host, struct lab_err *err)
{
	struct uplink *up = lab->uplink;
	char ifname[IFNAMSIZ];
	int r = choose(lab, host, &up->net);

	host_ifname(ifname, lab->id);
	if (r < 0)
		return lab_fail_errno(err, r, "no free addresses for the lab's way out");
	r = link_veth_add(host, ifname, LAB_UPLINK, lab->lab_net);
	if (r == -EEXIST) {
		/* a keeper of this lab was killed: its namespace may live on in a guest */
		(void)link_del(host, ifname);
		r = link_veth_add(host, ifname, LAB_UPLINK, lab->lab_net);
	}
	if (!r)
		r = link_addr_add(host, if_nametoindex(ifname), plus(up->net, 1), 30);
	if (r < 0)
		return lab_fail_errno(err, r, "cannot make the veth pair %s of the lab's way out",
				      ifname);
	r = nat_host_add(lab->id, ifname, plus(up->net, 2), lab->host_forward, err);
	return lab_wrap(err, r, "the lab's way out");
}

static void remove_host_end(const struct lab *lab)
{
	struct lab_err err = LAB_ERR_INIT;
	struct nl_sock *host;
	char ifname[IFNAMSIZ];

	if (lab_enter_host(lab) < 0)
		return;
	host = netlink_open(NETLINK_ROUTE);
	if (host)
		(void)link_del(host, host_ifname(ifname, lab->id));
	if (nat_host_del(lab->id, lab->host_forward, &err) < 0)
		log_warn("removing the lab's way out: %s, ignoring", err.text);
	netlink_close(host);
	lab_leave_host(lab);
}

static int make_veth(struct lab *lab, struct lab_err *err)
{
	struct uplink *up = lab->uplink;
	struct nl_sock *host;
	int r = lab_enter_host(lab);

	if (r < 0)
		return lab_fail_errno(err, r, "cannot enter the host's network");
	host = netlink_open(NETLINK_ROUTE);
	r = host ? make_host_end(lab, host, err) : lab_fail(err, -ENOMEM, "no netlink socket");
	netlink_close(host);
	lab_leave_host(lab);
	if (r < 0)
		goto undo;
	r = link_addr_add(lab->nl, link_index(LAB_UPLINK), plus(up->net, 2), 30);
	if (!r)
		r = link_set(lab->nl, LAB_UPLINK, 0, 0, true);
	if (!r)
		r = link_default_route(lab->nl, plus(up->net, 1));
	if (r < 0) {
		lab_fail_errno(err, r, "cannot set up the lab's end of its way out");
		goto undo;
	}
	r = resolver_start(lab, err);
	if (!r)
		return 0;
undo:
	remove_host_end(lab);
	return r;
}

/* -------------------------------------------- a user's: the helper's side */

/**
 * struct slirp - the helper's child
 * @pid:	0 while there is none
 * @exit_fd:	closing it ends slirp4netns
 * @ready_fd:	readable when it is ready
 */
struct slirp {
	pid_t pid;
	int pidfd, exit_fd, ready_fd;
};

__attribute__((noreturn)) static void exec_slirp(pid_t keeper, int ready, int exit_fd)
{
	char cidr_opt[48], ready_opt[32], exit_opt[32], pid[16];
	const char *argv[] = { SLIRP_PROGRAM,
			       "--configure",
			       "--mtu=65520",
			       cidr_opt,
			       "--disable-host-loopback",
			       "--enable-sandbox",
			       "--enable-seccomp",
			       ready_opt,
			       exit_opt,
			       pid,
			       LAB_UPLINK,
			       NULL };
	sigset_t none;

	snprintf(cidr_opt, sizeof(cidr_opt), "--cidr=%s/%d", SLIRP_NET, SLIRP_PREFIX);
	snprintf(ready_opt, sizeof(ready_opt), "--ready-fd=%d", ready);
	snprintf(exit_opt, sizeof(exit_opt), "--exit-fd=%d", exit_fd);
	snprintf(pid, sizeof(pid), "%d", keeper);
	fcntl(ready, F_SETFD, 0);
	fcntl(exit_fd, F_SETFD, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

static int slirp_start(struct slirp *s, pid_t keeper)
{
	int ready[2], leave[2];

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(leave, O_CLOEXEC) < 0) {
		close(ready[0]);
		close(ready[1]);
		return -EMFILE;
	}
	s->pid = fork();
	if (!s->pid)
		exec_slirp(keeper, ready[1], leave[0]);
	close(ready[1]);
	close(leave[0]);
	s->ready_fd = ready[0];
	s->exit_fd = leave[1];
	if (s->pid < 0)
		return -EAGAIN;
	s->pidfd = pidfd_open(s->pid, 0);
	return s->pidfd < 0 ? -errno : 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(steal_fd(fd));
}

static void slirp_stop(struct slirp *s)
{
	close_fd(&s->exit_fd);
	close_fd(&s->ready_fd);
	close_fd(&s->pidfd);
	if (s->pid > 0) {
		kill(s->pid, SIGTERM);
		RETRY(waitpid(s->pid, NULL, 0));
	}
	s->pid = 0;
}

static void helper_say(int sock, char word)
{
	(void)send(sock, &word, 1, MSG_NOSIGNAL);
}

/* One command of the keeper; false at the end of the connection */
static bool helper_command(int sock, struct slirp *s, pid_t keeper)
{
	char word = '\0';

	if (RETRY(recv(sock, &word, 1, 0)) <= 0)
		return false;
	slirp_stop(s);
	if (word == HELPER_START && slirp_start(s, keeper) < 0) {
		slirp_stop(s);
		helper_say(sock, HELPER_DIED);
	}
	return true;
}

__attribute__((noreturn)) static void helper_main(int sock, pid_t keeper)
{
	struct slirp s = { .pidfd = -EBADF, .exit_fd = -EBADF, .ready_fd = -EBADF };
	char word = '\0';

	for (;;) {
		struct pollfd p[] = { { sock, POLLIN, 0 },
				      { s.pidfd, POLLIN, 0 },
				      { s.ready_fd, POLLIN, 0 } };

		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[0].revents && !helper_command(sock, &s, keeper))
			break;
		if (p[0].revents) /* the descriptors polled are not those of now */
			continue;
		if (p[2].revents) {
			if (read(s.ready_fd, &word, 1) == 1)
				helper_say(sock, HELPER_UP);
			close_fd(&s.ready_fd);
		}
		if (p[1].revents) {
			slirp_stop(&s);
			helper_say(sock, HELPER_DIED);
		}
	}
	slirp_stop(&s);
	_exit(0);
}

/* -------------------------------------------- a user's: the keeper's side */

static void tell_helper(struct uplink *up, char word)
{
	(void)send(up->sock, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void slirp_died(struct uplink *up)
{
	uint64_t now = num_now_us();

	up->up = false;
	if (!up->users)
		return;
	if (now - up->since > SLIRP_RESTART_SPAN) {
		up->since = now;
		up->restarts = 0;
	}
	up->failed = up->restarts++ >= SLIRP_RESTART_MAX;
	if (up->failed) {
		log_error("slirp4netns does not stay; the lab has no way out");
		return;
	}
	log_warn("slirp4netns ended, starting it again");
	tell_helper(up, HELPER_START);
}

static int on_helper(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct uplink *up = arg;
	char word = '\0';

	(void)revents;
	if (RETRY(recv(fd, &word, 1, MSG_DONTWAIT)) <= 0) {
		log_error("the helper that holds the way out is gone");
		up->up = false;
		up->failed = true;
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return 0;
	}
	if (word == HELPER_UP)
		up->up = true;
	else if (word == HELPER_DIED)
		slirp_died(up);
	return 0;
}

int uplink_prepare(struct lab *lab, struct lab_err *err)
{
	struct uplink *up = calloc(1, sizeof(*up));
	pid_t keeper = getpid();
	int pair[2];

	if (!up)
		return lab_fail(err, -ENOMEM, "out of memory");
	up->sock = -EBADF;
	lab->uplink = up;
	if (lab->root)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return lab_fail_errno(err, -errno, "cannot make a socket pair");
	up->helper = fork();
	if (up->helper < 0)
		return lab_fail_errno(err, -errno, "cannot start the helper");
	if (!up->helper) {
		/* nothing of the keeper's stays open here, whose end we wait for */
		int sock = dup2(pair[1], 3);

		close_range(4, ~0U, 0);
		fcntl(sock, F_SETFD, FD_CLOEXEC);
		helper_main(sock, keeper);
	}
	close(pair[1]);
	up->sock = pair[0];
	return 0;
}

int uplink_attach(struct lab *lab, struct lab_err *err)
{
	struct uplink *up = lab->uplink;
	int r = 0;

	if (!lab->root)
		r = sd_event_add_io(lab->event, &up->source, up->sock, EPOLLIN, on_helper, up);
	return r < 0 ? lab_fail_errno(err, r, "cannot watch the helper") : 0;
}

/* ---------------------------------------------------------------- both */

int uplink_get(struct lab *lab, struct lab_err *err)
{
	struct uplink *up = lab->uplink;
	int r = 0;

	if (!up->users && lab->root)
		r = make_veth(lab, err);
	else if (!up->users && access(SLIRP_PROGRAM, X_OK) < 0)
		r = lab_fail(err, -ENOENT,
			     "a way out (uplink: nat) needs slirp4netns when labd is not root; "
			     "install the package slirp4netns");
	else if (!up->users)
		tell_helper(up, HELPER_START);
	if (r < 0)
		return r;
	up->users++;
	return 0;
}

static void take_down(struct lab *lab)
{
	struct uplink *up = lab->uplink;

	if (!lab->root) {
		tell_helper(up, HELPER_STOP);
		up->up = false;
		return;
	}
	resolver_stop(lab);
	remove_host_end(lab);
	up->net.s_addr = 0;
}

void uplink_put(struct lab *lab)
{
	if (!--lab->uplink->users)
		take_down(lab);
}

void uplink_free(struct lab *lab)
{
	struct uplink *up = lab->uplink;

	if (!up)
		return;
	if (up->users)
		take_down(lab);
	sd_event_source_disable_unref(up->source);
	close_fd(&up->sock);
	if (up->helper > 0) /* it ends with its socket, after slirp4netns */
		RETRY(waitpid(up->helper, NULL, 0));
	free(up);
	lab->uplink = NULL;
}

bool uplink_overlaps(const struct lab *lab, struct in_addr addr, unsigned int prefix)
{
	struct in_addr slirp;

	if (lab->root)
		return lab->uplink->users && network_overlaps(addr, prefix, lab->uplink->net, 30);
	inet_pton(AF_INET, SLIRP_NET, &slirp);
	return network_overlaps(addr, prefix, slirp, SLIRP_PREFIX);
}

const char *uplink_dns(const struct lab *lab)
{
	return lab->root ? RESOLVER_SERVER : SLIRP_DNS;
}

const char *uplink_text(const struct lab *lab, char *buf, size_t size)
{
	const struct uplink *up = lab->uplink;
	char addr[INET_ADDRSTRLEN];
	struct in_addr own = plus(up->net, 2);

	if (!up->users)
		return "";
	if (!lab->root)
		return up->up	    ? "slirp4netns running"
		       : up->failed ? "slirp4netns failed: see the keeper's log"
				    : "slirp4netns starting";
	inet_ntop(AF_INET, &own, addr, sizeof(addr));
	snprintf(buf, size, "veth " UPLINK_IFNAME_FORMAT " %s", lab->id, addr);
	return buf;
}

int uplink_sweep(unsigned int lab_id, struct lab_err *err)
{
	autoclose int forward = open("/proc/sys/net/ipv4/ip_forward", O_RDWR | O_CLOEXEC);
	struct nl_sock *host = netlink_open(NETLINK_ROUTE);
	char ifname[IFNAMSIZ];
	int r;

	if (forward < 0 || !host) {
		netlink_close(host);
		return lab_fail(err, -EIO, "cannot reach the host's network settings");
	}
	r = link_del(host, host_ifname(ifname, lab_id));
	netlink_close(host);
	if (r < 0)
		return lab_fail_errno(err, r, "cannot remove %s", ifname);
	r = nat_host_del(lab_id, forward, err);
	return r < 0 ? r : 0;
}
