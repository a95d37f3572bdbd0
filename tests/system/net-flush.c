// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net-flush.c - a guest that goes back to an earlier state hears nothing of the later one
 *
 * TIMEOUT: 60
 * REQUIRES: root tun dnsmasq ip bridge nsenter
 */
#define _GNU_SOURCE
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/nettest.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MAC_A "52:54:00:00:00:0a"
#define MAC_B "52:54:00:00:00:0b"
#define MAC_C "52:54:00:00:00:0c"
#define OUTSIDE "198.51.100.2"
#define PORT 18080

static const char *const all[] = { "a0", "b0", "c0" };

static struct nt_lab lab;
static struct nt_box outside;
static struct nt_guest a, b;

static void flush(const char *const *ifnames, size_t n)
{
	struct lab_err err = LAB_ERR_INIT;

	NT_OK(keeper_flush(lab.k, ifnames, n, &err));
}

/* Whether a command in the lab's network prints a word */
static bool lab_shows(const char *command, const char *word)
{
	char line[512];
	FILE *p;
	int status;

	snprintf(line, sizeof(line), "nsenter --net=/proc/%d/ns/net %s | grep -qwi '%s'",
		 lab.k->pid, command, word);
	p = popen(line, "r"); /* NOLINT(cert-env33-c): a test's own words */
	NT_CHECK(p, "%s: %m", line);
	status = pclose(p);
	NT_CHECK(WIFEXITED(status) && WEXITSTATUS(status) < 2, "%s: status %d", line, status);
	return WEXITSTATUS(status) == 0;
}

/* Frames of IPv4 or ARP that wait in a tap; links themselves may send others */
static int count_frames(const struct nt_guest *g)
{
	uint8_t frame[2048];
	int n = 0;

	while (read(g->tap, frame, sizeof(frame)) > 0) {
		uint16_t type;

		memcpy(&type, frame + 10 + 12,
		       2); /* behind the header of virtio and two addresses */
		n += type == htons(ETHERTYPE_IP) || type == htons(ETHERTYPE_ARP);
	}
	return n;
}

static void say_hello(struct nt_guest *g)
{
	char answer[64];

	/* the gateway answers pings and names only: an ICMP error, which proves the way */
	NT_CHECK(nt_udp(g, "10.20.0.1", "10.20.0.1", 9, "x", 1, answer, sizeof(answer), 2000) ==
			 -ECONNREFUSED,
		 "the gateway does not refuse");
}

static void test_links(void)
{
	static const char *const only_a[] = { "a0", "a0" };

	say_hello(&a);
	say_hello(&b);
	NT_CHECK(lab_shows("bridge fdb show br mgmt", MAC_A) &&
			 lab_shows("bridge fdb show br mgmt", MAC_B),
		 "the bridge has not learned");
	NT_CHECK(lab_shows("ip neigh show", "10.20.0.10") &&
			 lab_shows("ip neigh show", "10.20.0.11"),
		 "there are no neighbours");
	flush(only_a, 2);
	NT_CHECK(!lab_shows("bridge fdb show br mgmt", MAC_A), "the bridge knows it still");
	NT_CHECK(!lab_shows("ip neigh show", "10.20.0.10"), "the neighbour is there still");
	NT_CHECK(lab_shows("bridge fdb show br mgmt", MAC_B) &&
			 lab_shows("ip neigh show", "10.20.0.11"),
		 "that of another is gone");
	say_hello(&a);
	nt_say("learned addresses and neighbours");
}

/* What a guest sends to everybody waits for those who do not read */
static void test_taps(void)
{
	char answer[64];

	count_frames(&a);
	/* nobody has that address: ARP asks all */
	NT_CHECK(nt_udp(&b, "10.20.0.99", "10.20.0.99", 9, "x", 1, answer, sizeof(answer), 0) ==
			 -EHOSTUNREACH,
		 "somebody has 10.20.0.99");
	NT_CHECK(count_frames(&a) >= 5, "five requests did not come");
	NT_CHECK(nt_udp(&b, "10.20.0.99", "10.20.0.99", 9, "x", 1, answer, sizeof(answer), 0) ==
			 -EHOSTUNREACH,
		 "somebody has 10.20.0.99");
	flush(all, 1);
	NT_CHECK(count_frames(&a) == 0, "frames of before are there still");
	nt_say("frames that wait");
}

/* A guest asks; the outside does not answer yet. Who asked, as the outside sees it */
static struct sockaddr_in ask(struct nt_guest *g, int fd, uint16_t port)
{
	struct sockaddr_in from = { 0 };
	socklen_t len = sizeof(from);
	char answer[64];

	NT_CHECK(nt_udp(g, "10.20.0.1", OUTSIDE, port, "ask", 3, answer, sizeof(answer), 0) ==
			 -ETIMEDOUT,
		 "an answer nobody gave");
	NT_CHECK(nt_wait_fd(fd, POLLIN, 3000) && recvfrom(fd, answer, sizeof(answer), 0,
							  (struct sockaddr *)&from, &len) == 3,
		 "the question did not come out");
	return from;
}

static void answer(int fd, const struct sockaddr_in *to)
{
	NT_CHECK(sendto(fd, "late", 4, 0, (const struct sockaddr *)to, sizeof(*to)) == 4,
		 "answering: %m");
}

static void wait_frame(const struct nt_guest *g)
{
	uint64_t deadline = num_now_us() + 3000000;

	while (!count_frames(g)) {
		NT_CHECK(num_now_us() < deadline, "no frame");
		nt_wait_fd(g->tap, POLLIN, 100);
	}
}

/* Late answers to a guest that does not know any more that it has asked */
static void test_connections(void)
{
	int fd = nt_udp_bind(&outside, OUTSIDE, 7);
	struct sockaddr_in from_a = ask(&a, fd, 7), from_b = ask(&b, fd, 7);

	count_frames(&a);
	answer(fd, &from_a);
	wait_frame(&a);
	flush(all, 1);
	answer(fd, &from_a);
	answer(fd, &from_b); /* by the same way, behind it */
	wait_frame(&b);
	NT_CHECK(count_frames(&a) == 0, "a late answer passes");
	/* and all of them */
	flush(all, 3);
	from_a = ask(&a, fd, 7);
	count_frames(&b); /* the gateway's address was asked for by ARP */
	answer(fd, &from_b);
	answer(fd, &from_a);
	wait_frame(&a);
	NT_CHECK(count_frames(&b) == 0, "a late answer passes");
	close(fd);
	nt_say("late answers from outside");
}

static int pair(int listener, uint16_t port, int *ret_far)
{
	int near = nt_tcp_connect(NULL, "127.0.0.1", port, 3000);

	NT_CHECK(near >= 0, "connecting to the forward: %s", strerror(-near));
	NT_CHECK(nt_wait_fd(listener, POLLIN, 3000), "nothing came to the guest");
	*ret_far = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return near;
}

/* The guest stands still while its connections are reset, and hears nothing of it after */
static void test_forwards(void)
{
	static const char *const only_c[] = { "c0" };
	struct lab_err err = LAB_ERR_INIT;
	int listener = nt_tcp_listen(NULL, "127.0.0.1", PORT), inner, near, far, near2, far2;
	struct nt_box c;
	char byte;

	nt_box_init(&c, nt_tap(&lab, "c0"), MAC_C, "10.20.0.12", 24, "10.20.0.1");
	inner = nt_tcp_listen(&c, "10.20.0.12", 80);
	NT_OK(keeper_forward_add(lab.k, "web", listener, "10.20.0.12", 80, &err));
	near = pair(inner, PORT, &far);
	flush(all, 2);
	NT_CHECK(send(near, "x", 1, MSG_NOSIGNAL) == 1 && nt_wait_fd(far, POLLIN, 3000) &&
			 recv(far, &byte, 1, 0) == 1,
		 "the connection of another was dropped");
	kill(c.pump, SIGSTOP);
	NT_CHECK(waitpid(c.pump, NULL, WUNTRACED) == c.pump, "the guest does not stand still");
	flush(only_c, 1);
	NT_CHECK(nt_wait_fd(near, POLLIN, 3000) && recv(near, &byte, 1, 0) == -1 &&
			 errno == ECONNRESET,
		 "the connection is not reset");
	kill(c.pump, SIGCONT);
	near2 = pair(inner, PORT, &far2);
	NT_CHECK(recv(far, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN,
		 "the guest has heard of the reset");
	close(near);
	close(far);
	close(near2);
	close(far2);
	close(inner);
	close(listener);
	nt_box_done(&c);
	nt_say("forwarded connections");
}

static void test_unknown(void)
{
	static const char *const unknown[] = { "b0", "never" };
	struct lab_err err = LAB_ERR_INIT;

	say_hello(&b);
	NT_FAILS(ENOENT, keeper_flush(lab.k, unknown, 2, &err));
	NT_CHECK(lab_shows("ip neigh show", "10.20.0.11"), "a refused flush did something");
	flush(NULL, 0);
	NT_CHECK(lab_shows("ip neigh show", "10.20.0.11"), "a flush of nothing did something");
	nt_say("unknown nics");
}

int main(int argc, char **argv)
{
	autofree char *before = NULL;

	nt_main(argc, argv);
	before = nt_world();
	nt_start(&lab, 7);
	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", true);
	nt_nic(&lab, "a0", "mgmt", MAC_A, "10.20.0.10", "a");
	nt_nic(&lab, "b0", "mgmt", MAC_B, "10.20.0.11", "b");
	nt_nic(&lab, "c0", "mgmt", MAC_C, "10.20.0.12", "c");
	nt_outside(&outside, "198.51.100.1", OUTSIDE);
	nt_guest_init(&a, nt_tap(&lab, "a0"), MAC_A, "10.20.0.10");
	nt_guest_init(&b, nt_tap(&lab, "b0"), MAC_B, "10.20.0.11");
	test_links();
	test_taps();
	test_connections();
	test_forwards();
	test_unknown();
	close(a.tap);
	close(b.tap);
	nt_shutdown(&lab);
	nt_box_done(&outside);
	nt_sh("ip link del up0 2>/dev/null || true; ip route flush cache");
	nt_same_world(before);
	return 0;
}
