// SPDX-License-Identifier: GPL-2.0-or-later
/* nettest.c - keepers, guests and what they say on the wire, for tests of netns/ */
#define _GNU_SOURCE
#include "tests/lib/nettest.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MAX_LABS 16
#define VNET_HDR 10

static struct nt_lab *live_labs[MAX_LABS];
static int home_net = -1;

static void end_labs(void)
{
	for (size_t i = 0; i < MAX_LABS; i++)
		if (live_labs[i] && live_labs[i]->k)
			(void)keeper_shutdown(steal_ptr(live_labs[i]->k), NULL);
}

void nt_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: FAILED: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	for (size_t i = 0; i < MAX_LABS; i++)
		if (live_labs[i]) {
			autofree char *text = NULL;

			if (io_read_file(AT_FDCWD, live_labs[i]->log, 1 << 20, &text, NULL) == 0)
				fprintf(stderr, "--- %s:\n%s", live_labs[i]->log, text);
		}
	end_labs();
	exit(1);
}

void nt_skip(const char *why)
{
	end_labs();
	printf("skip: %s\n", why);
	exit(77);
}

void nt_say(const char *fmt, ...)
{
	static uint64_t start;
	va_list ap;

	if (!start)
		start = num_now_us();
	printf("%6.2f  ", (double)(num_now_us() - start) / 1e6);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* As a child of the keeper: 3 is ourselves, 4 a socket, 5 the tap */
static void give_tap(void)
{
	const int tap = 5;

	_exit(io_send_fds(4, "t", 1, &tap, 1) < 0);
}

void nt_main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--give-tap"))
		give_tap();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	home_net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	atexit(end_labs);
	nt_say("start");
}

void nt_start(struct nt_lab *lab, unsigned int id)
{
	const char *base = getenv("TEST_DIR"), *exec = getenv("LABD_EXEC");
	struct lab_err err = LAB_ERR_INIT;
	struct keeper_config config = { .lab_id = id,
					.lab = "test",
					.exec_dir = exec ? exec : "build",
					.run_dir = lab->run,
					.state_dir = lab->state,
					.log = lab->log };

	*lab = (struct nt_lab){ .id = id };
	snprintf(lab->dir, sizeof(lab->dir), "%s/%u", base ? base : "/tmp", id);
	snprintf(lab->run, sizeof(lab->run), "%s/run", lab->dir);
	snprintf(lab->state, sizeof(lab->state), "%s/state", lab->dir);
	snprintf(lab->guest_log, sizeof(lab->guest_log), "%s/guest.log", lab->state);
	snprintf(lab->log, sizeof(lab->log), "%s/keeper.log", lab->dir);
	NT_CHECK(io_mkdirs(lab->run, 0755) == 0 && io_mkdirs(lab->state, 0755) == 0,
		 "cannot make %s", lab->dir);
	for (size_t i = 0; i < MAX_LABS; i++)
		if (!live_labs[i] || live_labs[i] == lab) {
			live_labs[i] = lab;
			break;
		}
	NT_CHECK(keeper_start(&config, &lab->k, &err) == 0, "keeper_start: %s", err.text);
}

void nt_forget(struct nt_lab *lab)
{
	lab->k = keeper_close(lab->k);
	for (size_t i = 0; i < MAX_LABS; i++)
		if (live_labs[i] == lab)
			live_labs[i] = NULL;
}

/* What sanitizers say of the keeper comes last; the log may be that of several keepers */
static void check_log(const struct nt_lab *lab)
{
	autofree char *text = NULL;

	NT_CHECK(io_read_file(AT_FDCWD, lab->log, 16 << 20, &text, NULL) == 0, "no log");
	NT_CHECK(!strstr(text, "Sanitizer") && !strstr(text, "runtime error"), "in the log: %s",
		 text);
}

void nt_shutdown(struct nt_lab *lab)
{
	struct lab_err err = LAB_ERR_INIT;
	struct keeper *k = lab->k;
	autodir DIR *dir = NULL;
	struct dirent *de;

	lab->k = NULL;
	NT_OK(keeper_shutdown(k, &err));
	dir = opendir(lab->run);
	NT_CHECK(dir, "%s is gone", lab->run);
	while ((de = readdir(dir)))
		NT_CHECK(de->d_name[0] == '.', "left in the run directory: %s", de->d_name);
	check_log(lab);
	nt_forget(lab);
}

void nt_network(struct nt_lab *lab, const char *name, const char *cidr, const char *gateway,
		bool nat)
{
	struct lab_err err = LAB_ERR_INIT;
	const struct keeper_network net = { .name = name,
					    .cidr = cidr,
					    .gateway = gateway,
					    .domain = "lab.test",
					    .mtu = 1500,
					    .nat = nat,
					    .dhcp = true };

	NT_OK(keeper_network_add(lab->k, &net, &err));
}

void nt_nic(struct nt_lab *lab, const char *ifname, const char *network, const char *mac,
	    const char *addr, const char *host)
{
	struct lab_err err = LAB_ERR_INIT;
	const struct keeper_nic nic = {
		.ifname = ifname, .network = network, .mac = mac, .addr = addr, .host = host
	};

	NT_OK(keeper_nics_add(lab->k, &nic, 1, &err));
}

int nt_self(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	NT_CHECK(fd >= 0, "/proc/self/exe: %m");
	return fd;
}

bool nt_wait_fd(int fd, short events, int ms)
{
	struct pollfd p = { fd, events, 0 };

	return RETRY(poll(&p, 1, ms)) == 1;
}

int nt_wait_exit(struct nt_lab *lab, pid_t pid, int pidfd)
{
	struct lab_err err = LAB_ERR_INIT;
	uint64_t deadline = num_now_us() + 10000000;
	int status, r;

	NT_CHECK(nt_wait_fd(pidfd, POLLIN, 10000), "pid %d does not end", pid);
	do /* the keeper may hear of it a moment after us */
		r = NT_OK(keeper_exit_status(lab->k, pid, &status, &err));
	while (!r && num_now_us() < deadline);
	NT_CHECK(r == 1, "the keeper takes pid %d for running", pid);
	return status;
}

int nt_tap(struct nt_lab *lab, const char *ifname)
{
	const char *const argv[] = { "/proc/self/fd/3", "--give-tap", NULL };
	const char *const nics[] = { ifname };
	struct lab_err err = LAB_ERR_INIT;
	autoclose int self = nt_self(), ours = -1, theirs = -1, pidfd = -1;
	struct keeper_spawn spawn = {
		.argv = argv, .nics = nics, .nnics = 1, .log = lab->guest_log, .unprivileged = true
	};
	int pair[2], fds[2], got[IO_MAX_FDS];
	size_t n;
	char byte;
	pid_t pid;

	NT_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "%m");
	ours = pair[0];
	theirs = pair[1];
	fds[0] = self;
	fds[1] = theirs;
	spawn.fds = fds;
	spawn.nfds = 2;
	NT_OK(keeper_spawn(lab->k, &spawn, &pid, &pidfd, &err));
	NT_CHECK(nt_wait_fd(ours, POLLIN, 5000), "no tap came back");
	NT_CHECK(io_recv_fds(ours, &byte, 1, got, &n) == 1 && n == 1, "no tap came back");
	NT_CHECK(nt_wait_exit(lab, pid, pidfd) == 0, "the program that gave the tap failed");
	return got[0];
}

/* ---------------------------------------------------------------- frames */

/**
 * struct frame - Ethernet, IPv4 and UDP with room for a payload
 */
struct frame {
	uint8_t vnet[VNET_HDR];
	struct ether_header eth;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t data[1500];
} __attribute__((packed));

struct arp_frame {
	uint8_t vnet[VNET_HDR];
	struct ether_header eth;
	struct arphdr arp;
	uint8_t sha[6], spa[4], tha[6], tpa[4];
} __attribute__((packed));

static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };

static uint16_t checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void send_udp(const struct nt_guest *g, const uint8_t *to_mac, struct in_addr from,
		     struct in_addr to, uint16_t sport, uint16_t dport, const void *data,
		     size_t len)
{
	struct frame f = { .eth.ether_type = htons(ETHERTYPE_IP) };
	size_t udp = sizeof(f.udp) + len;

	NT_CHECK(len <= sizeof(f.data), "datagram too long");
	memcpy(f.eth.ether_dhost, to_mac, 6);
	memcpy(f.eth.ether_shost, g->mac, 6);
	f.ip = (struct iphdr){ .version = 4,
			       .ihl = 5,
			       .tot_len = htons((uint16_t)(sizeof(f.ip) + udp)),
			       .ttl = 64,
			       .protocol = IPPROTO_UDP,
			       .saddr = from.s_addr,
			       .daddr = to.s_addr };
	f.ip.check = checksum(&f.ip, sizeof(f.ip));
	f.udp = (struct udphdr){ .uh_sport = htons(sport),
				 .uh_dport = htons(dport),
				 .uh_ulen = htons((uint16_t)udp) };
	memcpy(f.data, data, len);
	NT_CHECK(write(g->tap, &f, offsetof(struct frame, data) + len) > 0, "tap: %m");
}

static void send_arp(const struct nt_guest *g, uint16_t op, const uint8_t *to_mac,
		     struct in_addr to)
{
	struct arp_frame f = {
		.eth.ether_type = htons(ETHERTYPE_ARP),
		.arp = { .ar_hrd = htons(ARPHRD_ETHER),
			 .ar_pro = htons(ETHERTYPE_IP),
			 .ar_hln = 6,
			 .ar_pln = 4,
			 .ar_op = htons(op) },
	};

	memcpy(f.eth.ether_dhost, to_mac, 6);
	memcpy(f.eth.ether_shost, g->mac, 6);
	memcpy(f.sha, g->mac, 6);
	memcpy(f.spa, &g->addr, 4);
	memcpy(f.tha, op == ARPOP_REPLY ? to_mac : (const uint8_t[6]){ 0 }, 6);
	memcpy(f.tpa, &to, 4);
	NT_CHECK(write(g->tap, &f, sizeof(f)) > 0, "tap: %m");
}

/* The next frame before @deadline; bytes, or 0 */
static size_t recv_frame(const struct nt_guest *g, struct frame *f, uint64_t deadline)
{
	for (;;) {
		uint64_t now = num_now_us();
		ssize_t n = read(g->tap, f, sizeof(*f));

		if (n > 0)
			return (size_t)n;
		if (now >= deadline)
			return 0;
		(void)nt_wait_fd(g->tap, POLLIN, (int)((deadline - now) / 1000) + 1);
	}
}

/* Answer an ARP request for our address; true if the frame was ARP */
static bool serve_arp(const struct nt_guest *g, const struct frame *f, uint8_t *learn,
		      struct in_addr whose, bool *learned)
{
	const struct arp_frame *a = (const struct arp_frame *)f;

	if (f->eth.ether_type != htons(ETHERTYPE_ARP))
		return false;
	if (a->arp.ar_op == htons(ARPOP_REQUEST) && !memcmp(a->tpa, &g->addr, 4)) {
		struct in_addr asker;

		memcpy(&asker, a->spa, 4);
		send_arp(g, ARPOP_REPLY, a->sha, asker);
	}
	if (learn && a->arp.ar_op == htons(ARPOP_REPLY) && !memcmp(a->spa, &whose, 4)) {
		memcpy(learn, a->sha, 6);
		*learned = true;
	}
	return true;
}

void nt_guest_init(struct nt_guest *g, int tap, const char *mac, const char *addr)
{
	g->tap = tap;
	memcpy(g->mac, ether_aton(mac), 6);
	g->addr.s_addr = inet_addr(addr);
	fcntl(tap, F_SETFL, O_RDWR | O_NONBLOCK);
}

/* ------------------------------------------------------------------ DHCP */

#define DHCP_MAGIC 0x63825363
#define DHCP_XID 0x6c616264
#define DHCP_HEAD 240

static size_t dhcp_message(uint8_t *p, const struct nt_guest *g, uint8_t type, struct in_addr asked)
{
	const uint32_t magic = htonl(DHCP_MAGIC), xid = htonl(DHCP_XID);
	size_t n = DHCP_HEAD;

	memset(p, 0, 400);
	p[0] = 1;
	p[1] = 1;
	p[2] = 6;
	memcpy(p + 4, &xid, 4);
	memcpy(p + 28, g->mac, 6);
	memcpy(p + 236, &magic, 4);
	memcpy(p + n, (const uint8_t[]){ 53, 1, type }, 3);
	n += 3;
	if (asked.s_addr) {
		p[n] = 50;
		p[n + 1] = 4;
		memcpy(p + n + 2, &asked, 4);
		n += 6;
	}
	/* mask, router, DNS, host, domain, mtu, NTP */
	memcpy(p + n, (const uint8_t[]){ 55, 7, 1, 3, 6, 12, 15, 26, 42, 255 }, 10);
	return n + 10 < 300 ? 300 : n + 10;
}

static void copy_text(char *to, size_t size, const uint8_t *from, size_t len)
{
	snprintf(to, size, "%.*s", (int)len, (const char *)from);
}

static uint8_t dhcp_options(const uint8_t *p, size_t len, struct nt_lease *l)
{
	uint8_t type = 0;
	uint32_t v;

	for (size_t i = DHCP_HEAD; i + 1 < len && p[i] != 255; i += p[i] ? 2u + p[i + 1] : 1) {
		const uint8_t *o = p + i + 2;

		memcpy(&v, o, 4);
		switch (p[i]) {
		case 53:
			type = *o;
			break;
		case 1:
			l->mask.s_addr = v;
			break;
		case 3:
			l->router.s_addr = v;
			break;
		case 6:
			l->dns.s_addr = v;
			break;
		case 12:
			copy_text(l->host, sizeof(l->host), o, p[i + 1]);
			break;
		case 15:
			copy_text(l->domain, sizeof(l->domain), o, p[i + 1]);
			break;
		case 26:
			l->mtu = (unsigned int)(o[0] << 8 | o[1]);
			break;
		case 42:
			l->ntp.s_addr = v;
			break;
		case 51:
			l->seconds = ntohl(v);
			break;
		default:
			break;
		}
	}
	return type;
}

static int dhcp_exchange(struct nt_guest *g, uint8_t send, uint8_t want, struct in_addr asked,
			 uint64_t deadline, struct nt_lease *ret)
{
	const struct in_addr none = { 0 }, all = { ~0U };
	uint8_t msg[400];
	struct frame f;
	size_t n;

	send_udp(g, broadcast, none, all, 68, 67, msg, dhcp_message(msg, g, send, asked));
	while ((n = recv_frame(g, &f, deadline))) {
		struct nt_lease l = { 0 };

		if (serve_arp(g, &f, NULL, none, NULL) || f.ip.protocol != IPPROTO_UDP ||
		    f.udp.uh_dport != htons(68) || memcmp(f.data + 28, g->mac, 6) != 0)
			continue;
		if (dhcp_options(f.data, n - offsetof(struct frame, data), &l) != want)
			continue;
		memcpy(&l.addr, f.data + 16, 4);
		*ret = l;
		return 0;
	}
	return -ETIMEDOUT;
}

int nt_dhcp(struct nt_guest *g, int ms, struct nt_lease *ret)
{
	uint64_t deadline = num_now_us() + (uint64_t)ms * 1000;
	struct in_addr none = { 0 };
	int r = -ETIMEDOUT;

	/* as a client does: ask again while nobody answers */
	while (r == -ETIMEDOUT && num_now_us() < deadline)
		r = dhcp_exchange(g, 1, 2, none, MIN(deadline, num_now_us() + 500000), ret);
	if (!r)
		r = dhcp_exchange(g, 3, 5, ret->addr, deadline, ret);
	return r;
}

/* ------------------------------------------------------------- datagrams */

static int resolve(struct nt_guest *g, struct in_addr whose, uint8_t mac[6])
{
	bool found = false;
	struct frame f;

	for (int i = 0; i < 5 && !found; i++) {
		uint64_t deadline = num_now_us() + 200000;

		send_arp(g, ARPOP_REQUEST, broadcast, whose);
		while (!found && recv_frame(g, &f, deadline))
			(void)serve_arp(g, &f, mac, whose, &found);
	}
	return found ? 0 : -EHOSTUNREACH;
}

ssize_t nt_udp(struct nt_guest *g, const char *via, const char *to, uint16_t port, const void *data,
	       size_t len, void *answer, size_t room, int ms)
{
	static uint16_t sport = 40000;
	uint64_t deadline = num_now_us() + (uint64_t)ms * 1000;
	struct in_addr gw = { inet_addr(via) }, dst = { inet_addr(to) };
	struct frame f;
	uint8_t mac[6];
	size_t n;
	int r = resolve(g, gw, mac);

	if (r < 0)
		return r;
	sport++;
	send_udp(g, mac, g->addr, dst, sport, port, data, len);
	while ((n = recv_frame(g, &f, deadline))) {
		size_t got = n - MIN(n, offsetof(struct frame, data));

		if (serve_arp(g, &f, NULL, gw, NULL) || f.eth.ether_type != htons(ETHERTYPE_IP))
			continue;
		if (f.ip.protocol == IPPROTO_ICMP && f.ip.daddr == g->addr.s_addr)
			return -ECONNREFUSED;
		if (f.ip.protocol != IPPROTO_UDP || f.ip.saddr != dst.s_addr ||
		    f.udp.uh_dport != htons(sport))
			continue;
		memcpy(answer, f.data, MIN(got, room));
		return (ssize_t)MIN(got, room);
	}
	return -ETIMEDOUT;
}

/* ------------------------------------------------------------------- DNS */

static size_t dns_question(uint8_t *p, const char *name)
{
	static uint16_t id = 1;
	size_t n = 12;
	bool pointer = strstr(name, ".in-addr.arpa") != NULL;

	memset(p, 0, 12);
	id++;
	p[0] = (uint8_t)(id >> 8);
	p[1] = (uint8_t)id;
	p[2] = 1;
	p[5] = 1;
	while (*name) {
		size_t len = strcspn(name, ".");

		p[n++] = (uint8_t)len;
		memcpy(p + n, name, len);
		n += len;
		name += len + (name[len] == '.');
	}
	memcpy(p + n, (const uint8_t[]){ 0, 0, pointer ? 12 : 1, 0, 1 }, 5);
	return n + 5;
}

/* A name in a message, with its pointers; returns where it ends */
static size_t dns_name(const uint8_t *p, size_t len, size_t at, char *ret, size_t size)
{
	size_t end = 0, out = 0;
	int hops = 0;

	while (at < len && p[at] && hops < 10) {
		if (p[at] >= 0xc0) {
			if (!end)
				end = at + 2;
			at = (size_t)(p[at] & 0x3f) << 8 | p[at + 1];
			hops++;
			continue;
		}
		if (out + p[at] + 2 < size) {
			if (out)
				ret[out++] = '.';
			memcpy(ret + out, p + at + 1, p[at]);
			out += p[at];
		}
		at += 1u + p[at];
	}
	ret[MIN(out, size - 1)] = '\0';
	return end ? end : at + 1;
}

int nt_dns(struct nt_guest *g, const char *server, const char *name, char *ret, size_t size, int ms)
{
	uint8_t q[300], a[1500];
	char skipped[256];
	size_t qlen = dns_question(q, name), at;
	ssize_t n = nt_udp(g, server, server, 53, q, qlen, a, sizeof(a), ms);

	if (n < 0)
		return (int)n;
	NT_CHECK(n >= 12, "DNS answer of %zd bytes", n);
	*ret = '\0';
	if (a[3] & 15 || !(a[6] | a[7]))
		return a[3] & 15;
	at = dns_name(a, (size_t)n, qlen, skipped, sizeof(skipped));
	if (a[at + 1] == 12)
		dns_name(a, (size_t)n, at + 10, ret, size);
	else
		inet_ntop(AF_INET, a + at + 10, ret, (socklen_t)size);
	return 0;
}

/* ------------------------------------------------------------------- NTP */

int64_t nt_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* A timestamp of NTP; seconds from 1968 on have the first bit, those from 2036 on do not */
static int64_t ntp_to_us(const uint8_t *p)
{
	uint32_t s, f;

	memcpy(&s, p, 4);
	memcpy(&f, p + 4, 4);
	s = ntohl(s);
	return ((int64_t)s + (s >> 31 ? 0 : 1LL << 32) - 2208988800LL) * 1000000 +
	       (int64_t)((uint64_t)ntohl(f) * 1000000 >> 32);
}

int nt_sntp(struct nt_guest *g, const char *via, const char *server, unsigned int version,
	    int64_t *ret_us, int ms)
{
	uint8_t q[48] = { 0 }, a[100];
	ssize_t n;

	q[0] = (uint8_t)(version << 3 | 3);
	q[2] = 6;
	for (uint8_t i = 40; i < 48; i++)
		q[i] = i;
	n = nt_udp(g, via, server, 123, q, sizeof(q), a, sizeof(a), ms);
	if (n < 0)
		return (int)n;
	NT_CHECK(n == 48, "an answer of %zd bytes", n);
	NT_CHECK(a[0] == (version << 3 | 4), "leap, version and mode are %#x", a[0]);
	NT_CHECK(a[1] == 10 && a[2] == 6 && !memcmp(a + 12, "LAB ", 4), "stratum %u, poll %u, %.4s",
		 a[1], a[2], (char *)a + 12);
	NT_CHECK(!memcmp(a + 24, q + 40, 8), "not the answer to what was asked");
	*ret_us = ntp_to_us(a + 40);
	NT_CHECK(ntp_to_us(a + 32) <= *ret_us && ntp_to_us(a + 16) <= *ret_us,
		 "it came after it was answered");
	return 0;
}

ssize_t nt_dns_serve(int fd, const char *addr)
{
	uint8_t p[1500];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, p, 512, 0, (struct sockaddr *)&from, &len);
	const uint8_t record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4 };
	struct in_addr a = { inet_addr(addr) };
	char name[256];
	size_t end;

	if (n < 12)
		return n;
	end = dns_name(p, (size_t)n, 12, name, sizeof(name)) + 4;
	p[2] |= 0x80;
	p[3] = 0x80;
	p[7] = 1;
	p[11] = 0; /* without the question's EDNS record */
	memcpy(p + end, record, sizeof(record));
	memcpy(p + end + sizeof(record), &a, 4);
	return sendto(fd, p, end + sizeof(record) + 4, 0, (struct sockaddr *)&from, len);
}

/* ----------------------------------------------------------------- boxes */

void nt_sh(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	NT_CHECK(system(cmd) == 0, "command failed: %s", cmd);
}

static void go(int net)
{
	NT_CHECK(setns(net, CLONE_NEWNET) == 0, "setns: %m");
}

/* A new network namespace, without being in it afterwards */
static int new_net(void)
{
	int fd;

	NT_CHECK(unshare(CLONE_NEWNET) == 0, "unshare: %m");
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	go(home_net);
	NT_CHECK(fd >= 0, "ns/net: %m");
	return fd;
}

static void pump_frames(int a, int b)
{
	static char buf[70000];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		struct pollfd p[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };

		if (poll(p, 2, -1) < 0)
			_exit(1);
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? read(i ? b : a, buf, sizeof(buf)) : 0;

			if (p[i].revents & (POLLERR | POLLHUP))
				_exit(0);
			if (n > 0 && write(i ? a : b, buf, (size_t)n) < 0 && errno != EAGAIN &&
			    errno != EIO)
				_exit(1);
		}
	}
}

void nt_box_init(struct nt_box *box, int tap, const char *mac, const char *addr,
		 unsigned int prefix, const char *via)
{
	struct ifreq ifr = { .ifr_name = "eth0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	autoclose int end = -1;

	fcntl(tap, F_SETFL, O_RDWR | O_NONBLOCK);
	box->net = new_net();
	go(box->net);
	end = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	NT_CHECK(end >= 0, "/dev/net/tun: %m");
	NT_CHECK(ioctl(end, TUNSETIFF, &ifr) == 0, "TUNSETIFF: %m");
	go(home_net);
	box->pump = fork();
	if (!box->pump)
		pump_frames(tap, end);
	close(tap);
	go(box->net);
	nt_sh("ip link set lo up && ip link set eth0 address %s && ip link set eth0 up && "
	      "ip addr add %s/%u dev eth0",
	      mac, addr, prefix);
	if (*via)
		nt_sh("ip route add default via %s", via);
	go(home_net);
}

void nt_outside(struct nt_box *box, const char *own, const char *addr)
{
	box->net = new_net();
	box->pump = fork();
	if (!box->pump) {
		/* ip wants a process to name the namespace by */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		go(box->net);
		nt_sh("ip link add out0 type veth peer name up0 && ip link set lo up && "
		      "ip addr add %s/24 dev out0 && ip link set up0 netns %d && "
		      "ip link set out0 up",
		      addr, getppid());
		raise(SIGSTOP);
		_exit(0);
	}
	RETRY(waitpid(box->pump, NULL, WUNTRACED));
	nt_sh("ip addr add %s/24 dev up0 && ip link set up0 up && ip route add default via %s", own,
	      addr);
}

void nt_box_done(struct nt_box *box)
{
	if (box->pump > 0) {
		kill(box->pump, SIGKILL);
		RETRY(waitpid(box->pump, NULL, 0));
	}
	close(box->net);
}

static int box_socket(const struct nt_box *box, int type)
{
	int fd;

	if (box)
		go(box->net);
	fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	if (box)
		go(home_net);
	NT_CHECK(fd >= 0, "socket: %m");
	return fd;
}

int nt_udp_bind(const struct nt_box *box, const char *addr, uint16_t port)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
					.sin_port = htons(port),
					.sin_addr = { inet_addr(addr) } };
	int fd = box_socket(box, SOCK_DGRAM);

	NT_CHECK(bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0, "bind %s:%u: %m", addr,
		 port);
	return fd;
}

int nt_tcp_listen(const struct nt_box *box, const char *addr, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr = { inet_addr(addr) } };
	int fd = box_socket(box, SOCK_STREAM), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	NT_CHECK(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0, "bind %s:%u: %m", addr, port);
	NT_CHECK(listen(fd, 512) == 0, "listen: %m");
	return fd;
}

int nt_tcp_connect(const struct nt_box *box, const char *addr, uint16_t port, int ms)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr = { inet_addr(addr) } };
	autoclose int fd = box_socket(box, SOCK_STREAM);
	int code = 0;
	socklen_t len = sizeof(code);

	fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
		return -errno;
	if (!nt_wait_fd(fd, POLLOUT, ms))
		return -ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len);
	if (code)
		return -code;
	fcntl(fd, F_SETFL, O_RDWR);
	return steal_fd(&fd);
}

/* ----------------------------------------------------------------- world */

char *nt_world(void)
{
	FILE *f = popen("ip -o link | sed 's/^[0-9]*: //; s/[@:].*//' | sort;"
			"nft list ruleset; cut -d' ' -f5 /proc/self/mountinfo | sort;"
			"cat /proc/sys/net/ipv4/ip_forward;"
			"[ -z \"$TEST_CGROUP\" ] || "
			"for p in $(cat $TEST_CGROUP/cgroup.procs); do "
			"cat /proc/$p/comm; done 2>/dev/null | "
			"grep -E 'dnsmasq|slirp|labkeeper' | sort;"
			"ss -xlH 2>/dev/null | awk '{print $5}' | grep keeper | sort",
			"re");
	char *text = NULL;

	NT_CHECK(f && io_read_fd(fileno(f), 1 << 20, &text, NULL) == 0, "cannot list the world");
	pclose(f);
	return text;
}

void nt_same_world(const char *before)
{
	uint64_t deadline = num_now_us() + 2000000;
	autofree char *now = nt_world();

	while (strcmp(now, before) != 0) {
		NT_CHECK(num_now_us() < deadline, "left behind; before:\n%s\nnow:\n%s", before,
			 now);
		free(now);
		now = nt_world();
	}
}
