// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net-user.c - an ordinary user's lab: leases, names, a way out, and nothing on the host
 *
 * TIMEOUT: 60
 * REQUIRES: root userns dnsmasq slirp4netns ip nft ss
 */
#define _GNU_SOURCE
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/nettest.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define USER 65534
#define MAC_A "52:54:00:00:00:0a"
#define MAC_B "52:54:00:00:00:0b"
#define OUTSIDE "198.51.100.1"

static struct nt_lab lab;

static int udp_server(const char *addr, uint16_t port)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
					.sin_port = htons(port),
					.sin_addr = { inet_addr(addr) } };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	NT_CHECK(bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0, "%s: %m", addr);
	return fd;
}

/* On the host: a resolver at 127.0.0.53, and an echo at OUTSIDE */
static pid_t start_servers(void)
{
	struct pollfd p[2] = { { udp_server("127.0.0.53", 53), POLLIN, 0 },
			       { udp_server(OUTSIDE, 7), POLLIN, 0 } };
	pid_t pid = fork();

	while (!pid) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		char buf[1500];
		ssize_t n;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (poll(p, 2, -1) < 0)
			_exit(1);
		if (p[0].revents)
			(void)nt_dns_serve(p[0].fd, "203.0.113.7");
		if (!p[1].revents)
			continue;
		n = recvfrom(p[1].fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
		if (n > 0)
			(void)sendto(p[1].fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
	close(p[0].fd);
	close(p[1].fd);
	return pid;
}

/* What a workstation has, and a container may not: /dev/net/tun for everybody */
static void prepare_host(void)
{
	static const char conf[] = "nameserver 127.0.0.53\n";
	char path[IO_PATH];

	io_path(path, "%s/resolv.conf", getenv("TEST_DIR"));
	NT_CHECK(io_write_file(AT_FDCWD, path, conf, strlen(conf), 0644) == 0, "%s", path);
	NT_CHECK(mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0, "resolv.conf: %m");
	NT_CHECK(mount("none", "/dev/net", "tmpfs", 0, "mode=755") == 0, "/dev/net: %m");
	NT_CHECK(mknod("/dev/net/tun", S_IFCHR, makedev(10, 200)) == 0 &&
			 chmod("/dev/net/tun", 0666) == 0,
		 "/dev/net/tun: %m");
	nt_sh("ip addr add %s/32 dev lo", OUTSIDE);
}

static void restore_host(void)
{
	umount2("/dev/net", MNT_DETACH);
	umount2("/etc/resolv.conf", MNT_DETACH);
	nt_sh("ip addr del %s/32 dev lo", OUTSIDE);
}

static void become_user(void)
{
	char dir[IO_PATH];

	io_path(dir, "%s/u", getenv("TEST_DIR"));
	NT_CHECK(mkdir(dir, 0755) == 0 && chown(dir, USER, USER) == 0, "%s: %m", dir);
	NT_CHECK(setgroups(0, NULL) == 0 && setresgid(USER, USER, USER) == 0 &&
			 setresuid(USER, USER, USER) == 0,
		 "becoming a user: %m");
	setenv("TEST_DIR", dir, 1);
	/* a change of uid makes it undumpable, and its /proc root's */
	prctl(PR_SET_DUMPABLE, 1);
}

static void wait_uplink(void)
{
	struct lab_err err = LAB_ERR_INIT;
	uint64_t deadline = num_now_us() + 10000000;

	for (;;) {
		autojson json_t *state = NULL;
		const char *s;

		NT_OK(keeper_state(lab.k, &state, &err));
		s = json_string_value(json_object_get(json_object_get(state, "uplink"), "state"));
		if (!strcmp(s, "slirp4netns running"))
			return;
		NT_CHECK(num_now_us() < deadline, "the way out is: %s", s);
	}
}

static void test_lab(void)
{
	struct nt_guest a, b;
	struct nt_lease l;
	char buf[256];
	ssize_t n;
	int r;

	nt_guest_init(&a, nt_tap(&lab, "db0"), MAC_A, "10.20.0.10");
	nt_guest_init(&b, nt_tap(&lab, "web0"), MAC_B, "10.20.1.10");
	NT_CHECK(nt_dhcp(&a, 5000, &l) == 0 && l.addr.s_addr == a.addr.s_addr, "no lease");
	NT_CHECK(nt_dhcp(&b, 5000, &l) == 0 && l.addr.s_addr == b.addr.s_addr, "no lease");
	NT_CHECK(nt_dns(&a, "10.20.0.1", "web", buf, sizeof(buf), 2000) == 0 &&
			 !strcmp(buf, "10.20.1.10"),
		 "web is %s", buf);
	nt_say("leases and names");
	wait_uplink();
	r = nt_dns(&a, "10.20.0.1", "outside.example", buf, sizeof(buf), 3000);
	NT_CHECK(r == 0 && !strcmp(buf, "203.0.113.7"), "outside.example: %d %s", r, buf);
	n = nt_udp(&a, "10.20.0.1", OUTSIDE, 7, "hello", 5, buf, sizeof(buf), 3000);
	NT_CHECK(n == 5 && !memcmp(buf, "hello", 5), "no way out: %zd", n);
	n = nt_udp(&b, "10.20.1.1", OUTSIDE, 7, "hello", 5, buf, sizeof(buf), 500);
	NT_CHECK(n == -ECONNREFUSED, "a network without a way out: %zd", n);
	close(a.tap);
	close(b.tap);
	nt_say("the way out by slirp4netns");
}

static void test_spawn(void)
{
	const char *const argv[] = { "/usr/bin/cat", "/proc/self/status", NULL };
	const char *const look[] = { "/usr/bin/ls", "/root", "/home", "/etc/shadow", NULL };
	struct lab_err err = LAB_ERR_INIT;
	struct keeper_spawn spawn = { .argv = argv, .log = lab.guest_log, .unprivileged = true };
	autofree char *text = NULL;
	int pidfd;
	pid_t pid;

	NT_CHECK(keeper_uid(lab.id) == USER, "keeper_uid is %u", keeper_uid(lab.id));
	unlink(lab.guest_log);
	NT_OK(keeper_spawn(lab.k, &spawn, &pid, &pidfd, &err));
	NT_CHECK(nt_wait_exit(&lab, pid, pidfd) == 0, "cat failed");
	close(pidfd);
	NT_CHECK(io_read_file(AT_FDCWD, lab.guest_log, 1 << 20, &text, NULL) == 0, "no log");
	NT_CHECK(strstr(text, "CapPrm:\t0000000000000000") &&
			 strstr(text, "CapBnd:\t0000000000000000") &&
			 strstr(text, "NoNewPrivs:\t1"),
		 "%s", text);
	spawn.argv = look;
	NT_OK(keeper_spawn(lab.k, &spawn, &pid, &pidfd, &err));
	NT_CHECK(WEXITSTATUS(nt_wait_exit(&lab, pid, pidfd)) == 2, "ls sees the host");
	close(pidfd);
	nt_say("a guest has no privilege and sees the lab only");
}

static void fill(void)
{
	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", true);
	nt_network(&lab, "data", "10.20.1.0/24", "10.20.1.1", false);
	nt_nic(&lab, "db0", "mgmt", MAC_A, "10.20.0.10", "db");
	nt_nic(&lab, "web0", "data", MAC_B, "10.20.1.10", "web");
}

/* Port 123 and conntrack belong to the user's namespace too */
static void test_time_and_flush(void)
{
	static const char *const both[] = { "db0", "web0" };
	struct lab_err err = LAB_ERR_INIT;
	struct nt_guest a, b;
	int64_t before, told_a, told_b;

	nt_guest_init(&a, nt_tap(&lab, "db0"), MAC_A, "10.20.0.10");
	nt_guest_init(&b, nt_tap(&lab, "web0"), MAC_B, "10.20.1.10");
	NT_OK(keeper_clock_set(lab.k, -3600000000LL, &err));
	before = nt_now_us() - 3600000000LL;
	NT_CHECK(nt_sntp(&a, "10.20.0.1", "10.20.0.1", 4, &told_a, 2000) == 0 &&
			 nt_sntp(&b, "10.20.1.1", "10.20.1.1", 4, &told_b, 2000) == 0,
		 "no time");
	NT_CHECK(told_a >= before - 1 && told_b >= told_a && told_b <= nt_now_us() - 3600000000LL,
		 "time is %lld and %lld us off", (long long)(told_a - before),
		 (long long)(told_b - before));
	NT_OK(keeper_flush(lab.k, both, 1, &err));
	NT_OK(keeper_flush(lab.k, both, 2, &err));
	NT_OK(keeper_clock_set(lab.k, 0, &err));
	close(a.tap);
	close(b.tap);
	nt_say("the lab's time, and a flush");
}

static void test_slirp_dies(void)
{
	struct lab_err err = LAB_ERR_INIT;
	uint64_t deadline = num_now_us() + 10000000;
	autojson json_t *state = NULL;
	struct nt_guest a;
	char buf[16];

	/* child of the helper, which is a child of the keeper */
	nt_sh("pkill -9 -P $(pgrep -P %d labkeeper) slirp4netns", lab.k->pid);
	wait_uplink();
	nt_guest_init(&a, nt_tap(&lab, "db0"), MAC_A, "10.20.0.10");
	while (nt_udp(&a, "10.20.0.1", OUTSIDE, 7, "hello", 5, buf, sizeof(buf), 300) != 5)
		NT_CHECK(num_now_us() < deadline, "no way out after slirp4netns was killed");
	close(a.tap);
	NT_OK(keeper_network_del(lab.k, "mgmt", &err));
	NT_OK(keeper_state(lab.k, &state, &err));
	NT_CHECK(!*json_string_value(json_object_get(json_object_get(state, "uplink"), "state")),
		 "the way out stays");
	nt_say("slirp4netns killed, and taken away");
}

static void test_killed(void)
{
	struct lab_err err = LAB_ERR_INIT;
	autoclose int keeper = -1;

	nt_start(&lab, 7);
	fill();
	wait_uplink();
	keeper = pidfd_open(lab.k->pid, 0);
	NT_CHECK(pidfd_send_signal(keeper, SIGKILL, NULL, 0) == 0, "kill: %m");
	NT_CHECK(nt_wait_fd(keeper, POLLIN, 3000), "it does not die");
	NT_OK(keeper_sweep(lab.id, lab.run, &err));
	NT_CHECK(rmdir(lab.run) == 0, "the run directory is not empty");
	nt_forget(&lab);
	nt_say("killed and swept");
}

static int as_user(void)
{
	become_user();
	nt_start(&lab, 7);
	fill();
	test_lab();
	test_time_and_flush();
	test_spawn();
	test_slirp_dies();
	nt_shutdown(&lab);
	test_killed();
	return 0;
}

int main(int argc, char **argv)
{
	autofree char *before = NULL;
	pid_t servers, user;
	int status;

	nt_main(argc, argv);
	prepare_host();
	servers = start_servers();
	before = nt_world();
	user = fork();
	if (!user)
		return as_user();
	RETRY(waitpid(user, &status, 0));
	NT_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
	nt_same_world(before);
	kill(servers, SIGKILL);
	RETRY(waitpid(servers, NULL, 0));
	restore_host();
	return 0;
}
