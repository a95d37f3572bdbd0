// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net-lab.c - leases, names, isolation and the way out of a lab's networks
 *
 * TIMEOUT: 60
 * REQUIRES: root tun dnsmasq ip nft ss
 */
#define _GNU_SOURCE
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/nettest.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MAC_A "52:54:00:00:00:0a"
#define MAC_B "52:54:00:00:00:0b"
#define MAC_C "52:54:00:00:00:0c"

static struct nt_lab lab;

static void check_addr(const char *what, struct in_addr got, const char *want)
{
	NT_CHECK(got.s_addr == inet_addr(want), "%s is %s, expected %s", what, inet_ntoa(got),
		 want);
}

/* A resolver of the host on an address only the host itself reaches */
static pid_t start_resolver(void)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
					.sin_port = htons(53),
					.sin_addr = { inet_addr("127.0.0.53") } };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	NT_CHECK(bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0, "127.0.0.53: %m");
	pid = fork();
	if (!pid) {
		while (nt_dns_serve(fd, "203.0.113.7") >= 0)
			;
		_exit(1);
	}
	close(fd);
	return pid;
}

static void use_resolv_conf(const char *text)
{
	char path[IO_PATH];

	io_path(path, "%s/resolv.conf", getenv("TEST_DIR"));
	NT_CHECK(io_write_file(AT_FDCWD, path, text, strlen(text), 0644) == 0, "%s", path);
	NT_CHECK(mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0, "/etc/resolv.conf: %m");
}

static void nft(const char *rules)
{
	nt_sh("nft '%s'", rules);
}

static void test_leases(struct nt_guest *a, struct nt_guest *b)
{
	struct nt_lease l;

	NT_CHECK(nt_dhcp(a, 5000, &l) == 0, "no lease on mgmt");
	check_addr("address", l.addr, "10.20.0.10");
	check_addr("mask", l.mask, "255.255.255.0");
	check_addr("router", l.router, "10.20.0.1");
	check_addr("dns", l.dns, "10.20.0.1");
	NT_CHECK(l.mtu == 1500 && l.seconds == ~0U, "mtu %u, %u s", l.mtu, l.seconds);
	NT_CHECK(!strcmp(l.host, "db") && !strcmp(l.domain, "lab.test"), "host %s, domain %s",
		 l.host, l.domain);
	NT_CHECK(nt_dhcp(b, 5000, &l) == 0, "no lease on data");
	check_addr("address", l.addr, "10.20.1.10");
	check_addr("router", l.router, "0.0.0.0");
	nt_say("leases");
}

static void test_names(struct nt_guest *a, struct nt_guest *b)
{
	char name[256];

	NT_CHECK(nt_dns(a, "10.20.0.1", "web", name, sizeof(name), 2000) == 0 &&
			 !strcmp(name, "10.20.1.10"),
		 "web is %s", name);
	NT_CHECK(nt_dns(a, "10.20.0.1", "db.lab.test", name, sizeof(name), 2000) == 0 &&
			 !strcmp(name, "10.20.0.10"),
		 "db.lab.test is %s", name);
	NT_CHECK(nt_dns(a, "10.20.0.1", "10.0.20.10.in-addr.arpa", name, sizeof(name), 2000) == 0 &&
			 !strcmp(name, "db.lab.test"),
		 "10.20.0.10 is %s", name);
	NT_CHECK(nt_dns(a, "10.20.0.1", "nobody.lab.test", name, sizeof(name), 2000) == 3,
		 "nobody has an address");
	NT_CHECK(nt_dns(b, "10.20.1.1", "db", name, sizeof(name), 2000) == 0 &&
			 !strcmp(name, "10.20.0.10"),
		 "db is %s on data", name);
	nt_say("names");
}

static void test_outside_names(struct nt_guest *a, struct nt_guest *b)
{
	char name[256];
	int r;

	r = nt_dns(a, "10.20.0.1", "outside.example", name, sizeof(name), 3000);
	NT_CHECK(r == 0 && !strcmp(name, "203.0.113.7"), "outside.example: %d %s", r, name);
	r = nt_dns(b, "10.20.1.1", "other.example", name, sizeof(name), 2000);
	NT_CHECK(r == 5, "a network without a way out resolves other.example: %d %s", r, name);
	/* the gateway of another network is not for it either */
	r = nt_dns(b, "10.20.0.1", "other.example", name, sizeof(name), 500);
	NT_CHECK(r < 0, "data reaches the gateway of mgmt: %d", r);
	nt_say("names of the outside");
}

static void test_nics(void)
{
	const struct keeper_nic none[] = { { "x0", "nowhere", MAC_A, "", "", NULL, NULL } };
	const struct keeper_nic taken[] = { { "x0", "mgmt", MAC_C, "10.20.0.30", "x", NULL, NULL },
					    { "x1", "mgmt", MAC_C, "10.20.0.10", "y", NULL,
					      NULL } };
	const struct keeper_nic bad[] = { { "x0", "mgmt", MAC_C, "10.20.0.1", "", NULL, NULL },
					  { "x0", "mgmt", MAC_C, "10.20.0.255", "", NULL, NULL },
					  { "x0", "mgmt", MAC_C, "10.9.0.2", "", NULL, NULL },
					  { "x0", "mgmt", "junk", "", "", NULL, NULL },
					  { "x0", "mgmt", "01:00:00:00:00:01", "", "", NULL, NULL },
					  { "x/0", "mgmt", MAC_C, "", "", NULL, NULL },
					  { "x0", "mgmt", MAC_C, "", "a b", NULL, NULL },
					  { "x0", "mgmt", MAC_C, "", "a\nb", NULL, NULL },
					  { "x0123456789abcdef", "mgmt", MAC_C, "", "", NULL,
					    NULL } };
	const char *const gone[] = { "x0", "x1", "never" };
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *state = NULL;

	NT_FAILS(ENOENT, keeper_nics_add(lab.k, none, 1, &err));
	NT_FAILS(EEXIST, keeper_nics_add(lab.k, taken, 2, &err));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		NT_FAILS(EINVAL, keeper_nics_add(lab.k, &bad[i], 1, &err));
	NT_OK(keeper_state(lab.k, &state, &err));
	NT_CHECK(!json_object_get(json_object_get(state, "nics"), "x0"),
		 "a refused request left a nic");
	NT_OK(keeper_nics_del(lab.k, gone, 3, &err));
	NT_CHECK(json_object_size(json_object_get(state, "nics")) == 2, "not two nics");
	nt_say("refused nics leave nothing");
}

static bool has_nic(const char *ifname)
{
	autojson json_t *state = NULL;
	struct lab_err err = LAB_ERR_INIT;

	NT_OK(keeper_state(lab.k, &state, &err));
	return json_object_get(json_object_get(state, "nics"), ifname);
}

/* A tap that waits becomes a nic, once */
static void test_taps(void)
{
	struct keeper_nic nic = { "x0", "mgmt", MAC_C, "10.20.0.30", "x", NULL, "wait0" };
	const char *const taps[] = { "wait0", "wait1" }, *const x0 = "x0";
	const char *const bad[] = { "wait1", "wait2", "a/b" };
	struct lab_err err = LAB_ERR_INIT;

	NT_FAILS(ENOENT, keeper_nics_add(lab.k, &nic, 1, &err));
	NT_OK(keeper_taps_add(lab.k, taps, 2, &err));
	NT_OK(keeper_taps_add(lab.k, taps, 2, &err));
	NT_CHECK(!has_nic("wait0"), "a tap that waits is a nic");
	NT_OK(keeper_nics_add(lab.k, &nic, 1, &err));
	NT_CHECK(has_nic("x0"), "a tap has not become a nic");
	NT_FAILS(ENOENT, keeper_nics_add(lab.k, &nic, 1, &err));
	nic.tap = "wait1";
	NT_FAILS(EEXIST, keeper_nics_add(lab.k, &nic, 1, &err));
	NT_OK(keeper_link_set(lab.k, "x0", true, &err));
	NT_OK(keeper_nics_del(lab.k, &x0, 1, &err));
	NT_OK(keeper_nics_add(lab.k, &nic, 1, &err));
	NT_OK(keeper_nics_del(lab.k, &x0, 1, &err));
	NT_FAILS(EINVAL, keeper_taps_add(lab.k, bad, 3, &err));
	NT_OK(keeper_taps_add(lab.k, taps, 2, &err));
	NT_OK(keeper_nics_del(lab.k, bad, 2, &err));
	NT_OK(keeper_nics_del(lab.k, taps, 2, &err));
	nt_say("taps that wait");
}

static void test_networks(void)
{
	struct keeper_network net = { "mgmt", "10.20.0.0/24", "10.20.0.1", "lab.test",
				      1500,   true,	      true };
	struct lab_err err = LAB_ERR_INIT;

	NT_OK(keeper_network_add(lab.k, &net, &err));
	net.mtu = 1400;
	NT_FAILS(EEXIST, keeper_network_add(lab.k, &net, &err));
	net.name = "other";
	NT_FAILS(EEXIST, keeper_network_add(lab.k, &net, &err));
	net.cidr = "10.0.0.0/7";
	NT_FAILS(EINVAL, keeper_network_add(lab.k, &net, &err));
	net.cidr = "10.50.0.1/24";
	NT_FAILS(EINVAL, keeper_network_add(lab.k, &net, &err));
	net.cidr = "10.50.0.0/24";
	NT_FAILS(EINVAL, keeper_network_add(lab.k, &net, &err));
	net.gateway = "10.50.0.1";
	net.mtu = 17;
	NT_FAILS(ERANGE, keeper_network_add(lab.k, &net, &err));
	net.mtu = 1500;
	net.domain = "a\nserver=1.2.3.4";
	NT_FAILS(EINVAL, keeper_network_add(lab.k, &net, &err));
	net.domain = "";
	net.name = "../x";
	NT_FAILS(EINVAL, keeper_network_add(lab.k, &net, &err));
	net.name = "lo"; /* has a bridge of another name */
	NT_OK(keeper_network_add(lab.k, &net, &err));
	NT_OK(keeper_network_del(lab.k, net.name, &err));
	net.name = "a-network-with-a-long-name";
	NT_OK(keeper_network_add(lab.k, &net, &err));
	NT_OK(keeper_network_del(lab.k, net.name, &err));
	NT_OK(keeper_network_del(lab.k, net.name, &err));
	nt_say("refused networks");
}

/* From a guest with a real stack, over TCP, to a listener behind the host */
static void check_tcp(const struct nt_box *from, const char *addr, int listener, int want)
{
	autoclose int fd = nt_tcp_connect(from, addr, 8080, want ? 1500 : 5000);
	struct sockaddr_in peer = { 0 };
	socklen_t len = sizeof(peer);
	autoclose int got = -1;
	char byte = 'x';

	if (want) {
		NT_CHECK(fd == want, "connecting to %s: %d, expected %d", addr, fd, want);
		return;
	}
	NT_CHECK(fd >= 0, "connecting to %s: %s", addr, strerror(-fd));
	got = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
	NT_CHECK(got >= 0 && write(fd, &byte, 1) == 1 && read(got, &byte, 1) == 1, "no byte");
	nt_say("%s saw %s", addr, inet_ntoa(peer.sin_addr));
}

static void test_way_out(void)
{
	struct nt_box a, b, outside;
	struct lab_err err = LAB_ERR_INIT;
	int listener;

	/* the outside has no route to anything of the lab */
	nt_outside(&outside, "198.51.100.1", "198.51.100.2");
	listener = nt_tcp_listen(&outside, "198.51.100.2", 8080);
	nt_box_init(&a, nt_tap(&lab, "db0"), MAC_A, "10.20.0.10", 24, "10.20.0.1");
	nt_box_init(&b, nt_tap(&lab, "web0"), MAC_B, "10.20.1.10", 24, "10.20.1.1");
	check_tcp(&a, "198.51.100.2", listener, 0);
	/* refused by the gateway with an ICMP error, not lost */
	check_tcp(&b, "198.51.100.2", listener, -EHOSTUNREACH);
	close(nt_tcp_listen(&b, "10.20.1.10", 8080));
	check_tcp(&a, "10.20.1.10", listener, -EHOSTUNREACH);
	nt_say("isolation");
	NT_OK(keeper_link_set(lab.k, "db0", false, &err));
	check_tcp(&a, "198.51.100.2", listener, -ETIMEDOUT);
	NT_OK(keeper_link_set(lab.k, "db0", true, &err));
	check_tcp(&a, "198.51.100.2", listener, 0);
	NT_FAILS(ENOENT, keeper_link_set(lab.k, "nic9", true, &err));
	nt_say("link down and up");
	close(listener);
	nt_box_done(&a);
	nt_box_done(&b);
	nt_box_done(&outside);
	nt_sh("ip link del up0 2>/dev/null || true");
}

static void test_connect(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct nt_box b;
	int code = 0, fd, listener;
	socklen_t len = sizeof(code);

	nt_box_init(&b, nt_tap(&lab, "web0"), MAC_B, "10.20.1.10", 24, "");
	listener = nt_tcp_listen(&b, "10.20.1.10", 22);
	fd = NT_OK(keeper_connect_tcp(lab.k, "10.20.1.10", 22, &err));
	NT_CHECK(nt_wait_fd(fd, POLLOUT, 3000), "connect() does not end");
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len);
	NT_CHECK(!code, "connecting into the lab: %s", strerror(code));
	close(fd);
	fd = NT_OK(keeper_connect_tcp(lab.k, "10.20.1.10", 23, &err));
	NT_CHECK(nt_wait_fd(fd, POLLOUT, 3000), "connect() does not end");
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len);
	NT_CHECK(code == ECONNREFUSED, "a closed port of the lab: %s", strerror(code));
	NT_FAILS(EINVAL, keeper_connect_tcp(lab.k, "db", 22, &err));
	close(fd);
	close(listener);
	nt_box_done(&b);
	nt_say("connections into the lab");
}

static void check_forwarding(char want)
{
	autofree char *text = NULL;

	NT_CHECK(io_read_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", 16, &text, NULL) == 0 &&
			 *text == want,
		 "the host's ip_forward is %s", text);
}

/* Forwarding is switched off by the last of two labs, and not if it was on before */
static void test_two_labs(void)
{
	struct nt_lab other;
	autofree char *before = NULL;

	nt_sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
	before = nt_world();
	nt_start(&lab, 7);
	nt_start(&other, 70000);
	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", true);
	nt_network(&other, "mgmt", "10.20.0.0/24", "10.20.0.1", true);
	check_forwarding('1');
	nt_shutdown(&lab);
	check_forwarding('1');
	nt_shutdown(&other);
	check_forwarding('0');
	nt_same_world(before);
	nt_sh("echo 1 >/proc/sys/net/ipv4/ip_forward");
	nt_start(&lab, 7);
	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", true);
	nt_shutdown(&lab);
	check_forwarding('1');
	nt_sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
	nt_say("two labs with the same addresses");
}

static void test_addresses_in_use(void)
{
	struct nt_lab other;

	/* lab 3 would take 100.64.0.12/30 */
	nt_sh("ip link add busy type bridge && ip addr add 100.64.0.13/24 dev busy && "
	      "ip link set busy up");
	nt_start(&other, 3);
	nt_network(&other, "mgmt", "10.20.0.0/24", "10.20.0.1", true);
	nt_sh("ip -4 addr show dev labd3 | grep -q 'inet 100.64.64.'");
	nt_shutdown(&other);
	nt_sh("ip link del busy");
	nt_say("addresses in use are left alone");
}

int main(int argc, char **argv)
{
	autofree char *before = NULL;
	struct nt_guest a, b;
	pid_t resolver;

	nt_main(argc, argv);
	resolver = start_resolver();
	/* as Docker leaves it */
	nft("table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop;"
	    " iifname \"docker0\" accept; }; }");
	use_resolv_conf("nameserver 127.0.0.53\noptions edns0\n");
	before = nt_world();
	nt_start(&lab, 7);
	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", true);
	nt_network(&lab, "data", "10.20.1.0/24", "10.20.1.1", false);
	nt_nic(&lab, "db0", "mgmt", MAC_A, "10.20.0.10", "db");
	nt_nic(&lab, "web0", "data", MAC_B, "10.20.1.10", "web");
	nt_guest_init(&a, nt_tap(&lab, "db0"), MAC_A, "10.20.0.10");
	nt_guest_init(&b, nt_tap(&lab, "web0"), MAC_B, "10.20.1.10");
	test_leases(&a, &b);
	test_names(&a, &b);
	test_outside_names(&a, &b);
	close(a.tap);
	close(b.tap);
	test_nics();
	test_taps();
	test_networks();
	test_connect();
	test_way_out();
	nt_shutdown(&lab);
	nt_sh("ip route flush cache");
	nt_same_world(before);
	test_two_labs();
	test_addresses_in_use();
	nft("delete table ip filter");
	kill(resolver, SIGKILL);
	RETRY(waitpid(resolver, NULL, 0));
	umount2("/etc/resolv.conf", MNT_DETACH);
	return 0;
}
