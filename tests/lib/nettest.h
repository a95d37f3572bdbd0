/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nettest.h - keepers, guests and what they say on the wire, for tests of netns/
 *
 * A guest here is a tap's descriptor. The test gets it as QEMU does: it has the
 * keeper start a program with the nic - itself, through /proc/self/fd/3 - and
 * that program hands the descriptor back. Then the test writes and reads frames
 * (nt_dhcp(), nt_udp()), or ties the tap to a network stack of its own
 * (struct nt_box).
 */
#ifndef TESTS_LIB_NETTEST_H
#define TESTS_LIB_NETTEST_H

#include "netns/keeper.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** nt_fail() - Say what is wrong, clean up (keepers are ended), exit with 1 */
void nt_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

#define NT_CHECK(cond, ...)                                                                        \
	do {                                                                                       \
		if (!(cond))                                                                       \
			nt_fail(__FILE__, __LINE__, __VA_ARGS__);                                  \
	} while (0)

/** NT_OK() - A call with a struct lab_err called err must not fail; gives its value */
#define NT_OK(expr)                                                                                \
	({                                                                                         \
		__auto_type nt_v_ = (expr);                                                        \
		NT_CHECK(nt_v_ >= 0, "%s: %s", #expr, err.text);                                   \
		nt_v_;                                                                             \
	})

/** NT_FAILS() - A call must fail with an errno, and say why */
#define NT_FAILS(code, expr)                                                                       \
	({                                                                                         \
		err = (struct lab_err)LAB_ERR_INIT;                                                \
		int nt_v_ = (expr);                                                                \
		NT_CHECK(nt_v_ == -(code), "%s: %d, expected %d: %s", #expr, nt_v_, -(code),       \
			 err.text);                                                                \
		NT_CHECK(*err.text, "%s: no words", #expr);                                        \
	})

/** nt_skip() - Exit with 77; @why names what is missing */
void nt_skip(const char *why) __attribute__((noreturn));

/** nt_say() - A line with the time since the start */
void nt_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * struct nt_lab - a lab under test
 * @dir:	below $TEST_DIR: run/, state/, keeper.log; @guest_log is in state/
 */
struct nt_lab {
	unsigned int id;
	char dir[200], run[220], state[220], log[220], guest_log[240];
	struct keeper *k;
};

/**
 * nt_main() - To be called first in main(): the program may be here as a child
 * of the keeper. Makes the process end with its parent.
 */
void nt_main(int argc, char **argv);

/** nt_start() - Start a keeper in a new directory; ended at exit if it still is there */
void nt_start(struct nt_lab *lab, unsigned int id);

/** nt_shutdown() - End it the regular way and check that its directory is empty */
void nt_shutdown(struct nt_lab *lab);

/** nt_forget() - It is gone already */
void nt_forget(struct nt_lab *lab);

/** nt_network(), nt_nic() - Add one, or fail the test */
void nt_network(struct nt_lab *lab, const char *name, const char *cidr, const char *gateway,
		bool nat);
void nt_nic(struct nt_lab *lab, const char *ifname, const char *network, const char *mac,
	    const char *addr, const char *host);

/** nt_self() - A descriptor of this program; spawned as "/proc/self/fd/3" it needs no path */
int nt_self(void);

/** nt_tap() - The descriptor of a nic's tap, as QEMU would have it */
int nt_tap(struct nt_lab *lab, const char *ifname);

/** nt_wait_exit() - Wait for a pidfd with a deadline, then its status from the keeper */
int nt_wait_exit(struct nt_lab *lab, pid_t pid, int pidfd);

/**
 * struct nt_guest - an end of the wire without a network stack
 */
struct nt_guest {
	int tap;
	uint8_t mac[6];
	struct in_addr addr;
};

/**
 * struct nt_lease - what a DHCP server granted; zero and "" where it did not
 */
struct nt_lease {
	struct in_addr addr, mask, router, dns, ntp;
	unsigned int mtu;
	uint32_t seconds;
	char host[64], domain[64];
};

void nt_guest_init(struct nt_guest *g, int tap, const char *mac, const char *addr);

/** nt_dhcp() - DISCOVER to ACK. Return: 0 or -ETIMEDOUT without a lease in @ms */
int nt_dhcp(struct nt_guest *g, int ms, struct nt_lease *ret);

/**
 * nt_udp() - Send a datagram by way of @via and wait for an answer from @to
 * Return: bytes of the answer, -ETIMEDOUT, -EHOSTUNREACH if nobody has @via's
 * address, -ECONNREFUSED if an ICMP error came
 */
ssize_t nt_udp(struct nt_guest *g, const char *via, const char *to, uint16_t port, const void *data,
	       size_t len, void *answer, size_t room, int ms);

/**
 * nt_dns() - Ask for an address, or for a name if @name ends in .in-addr.arpa
 * Return: the response code, 0 with the first answer in @ret (@size bytes), or
 * negative as nt_udp()
 */
int nt_dns(struct nt_guest *g, const char *server, const char *name, char *ret, size_t size,
	   int ms);

/** nt_dns_serve() - Answer one question at @fd: A records are @addr. Returns the bytes */
ssize_t nt_dns_serve(int fd, const char *addr);

/**
 * nt_sntp() - Ask a server for the time
 * @version:	of NTP
 * @ret_us:	microseconds since 1970; from the half of the era the present is in
 *
 * Checks all of the answer that does not depend on the time.
 * Return: 0, or negative as nt_udp()
 */
int nt_sntp(struct nt_guest *g, const char *via, const char *server, unsigned int version,
	    int64_t *ret_us, int ms);

/** nt_now_us() - The host's CLOCK_REALTIME in microseconds */
int64_t nt_now_us(void);

/**
 * struct nt_box - a network namespace with one link
 */
struct nt_box {
	int net;
	pid_t pump;
};

/** nt_box_init() - A namespace whose eth0 is the tap; @via "" for no default route */
void nt_box_init(struct nt_box *box, int tap, const char *mac, const char *addr,
		 unsigned int prefix, const char *via);

/** nt_box_done() - Remove it */
void nt_box_done(struct nt_box *box);

/** nt_outside() - A namespace behind a veth pair: ours has @own, it has @addr (both /24) */
void nt_outside(struct nt_box *box, const char *own, const char *addr);

/** nt_udp_bind() - A socket for datagrams in a box (NULL: here) */
int nt_udp_bind(const struct nt_box *box, const char *addr, uint16_t port);

/** nt_tcp_listen() - In a box (NULL: here) */
int nt_tcp_listen(const struct nt_box *box, const char *addr, uint16_t port);

/** nt_tcp_connect() - From a box (NULL: here). Return: blocking socket or negative errno */
int nt_tcp_connect(const struct nt_box *box, const char *addr, uint16_t port, int ms);

/** nt_wait_fd() - Wait for an event of a descriptor; false if it did not come in @ms */
bool nt_wait_fd(int fd, short events, int ms);

/** nt_world() - Links, nftables, mounts, sockets and processes of labs, as malloced text */
char *nt_world(void);

/** nt_same_world() - Wait up to two seconds for the world to be as it was, or fail */
void nt_same_world(const char *before);

/** nt_sh() - Run a command of a test's own with a shell; fails the test unless it exits 0 */
void nt_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
