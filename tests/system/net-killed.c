// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net-killed.c - a killed keeper spares the guests; what it left is swept; shutdowns leave nothing
 *
 * TIMEOUT: 120
 * REQUIRES: root tun dnsmasq ip nft ss
 */
#define _GNU_SOURCE
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/nettest.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#define ROUNDS 100

static struct nt_lab lab;

static void fill(void)
{
	struct lab_err err = LAB_ERR_INIT;
	char serial[300], listen[300], log[300];

	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", true);
	nt_network(&lab, "data", "10.20.1.0/24", "10.20.1.1", false);
	nt_nic(&lab, "db0", "mgmt", "52:54:00:00:00:0a", "10.20.0.10", "db");
	snprintf(serial, sizeof(serial), "%s/serial", lab.state);
	snprintf(listen, sizeof(listen), "%s/console", lab.run);
	snprintf(log, sizeof(log), "%s/console.log", lab.state);
	NT_OK(keeper_console_add(lab.k, "db", serial, listen, log, 1 << 20, &err));
}

static int stay(pid_t *ret_pid)
{
	const char *const argv[] = { "/proc/self/fd/3", "--stay", NULL };
	const char *const nics[] = { "db0" };
	struct lab_err err = LAB_ERR_INIT;
	autoclose int self = nt_self();
	struct keeper_spawn spawn = { .argv = argv,
				      .fds = &self,
				      .nfds = 1,
				      .nics = nics,
				      .nnics = 1,
				      .log = lab.guest_log,
				      .unprivileged = true };
	int pidfd;

	NT_OK(keeper_spawn(lab.k, &spawn, ret_pid, &pidfd, &err));
	return pidfd;
}

static void test_killed(const char *before)
{
	struct lab_err err = LAB_ERR_INIT;
	autoclose int guest = -1, keeper = -1;
	struct keeper *k = NULL;
	char path[300];
	struct stat st;
	pid_t pid;

	nt_start(&lab, 7);
	fill();
	guest = stay(&pid);
	NT_FAILS(EIO, keeper_sweep(lab.id, lab.run, &err)); /* it still runs */
	keeper = pidfd_open(lab.k->pid, 0);
	NT_CHECK(pidfd_send_signal(keeper, SIGKILL, NULL, 0) == 0, "kill: %m");
	NT_CHECK(nt_wait_fd(keeper, POLLIN, 3000), "it does not die");
	NT_FAILS(EPIPE, keeper_network_del(lab.k, "mgmt", &err));
	NT_FAILS(ECONNREFUSED, keeper_connect(lab.run, &k, &err));
	NT_CHECK(!nt_wait_fd(guest, POLLIN, 100), "the guest died with the keeper");
	NT_OK(keeper_sweep(lab.id, lab.run, &err));
	NT_OK(keeper_sweep(lab.id, lab.run, &err));
	snprintf(path, sizeof(path), "%s/console", lab.run);
	NT_CHECK(lstat(path, &st) < 0, "%s is left", path);
	NT_CHECK(rmdir(lab.run) == 0, "the run directory is not empty");
	nt_forget(&lab);
	NT_CHECK(pidfd_send_signal(guest, SIGKILL, NULL, 0) == 0, "kill: %m");
	nt_same_world(before);
	nt_say("killed and swept");
}

/* Killed and not swept: the next one of the same lab takes over what is there */
static void test_started_again(const char *before)
{
	autoclose int guest = -1, keeper = -1;
	pid_t pid;

	nt_start(&lab, 7);
	fill();
	guest = stay(&pid);
	keeper = pidfd_open(lab.k->pid, 0);
	NT_CHECK(pidfd_send_signal(keeper, SIGKILL, NULL, 0) == 0, "kill: %m");
	NT_CHECK(nt_wait_fd(keeper, POLLIN, 3000), "it does not die");
	nt_forget(&lab);
	nt_start(&lab, 7);
	fill();
	nt_shutdown(&lab);
	NT_CHECK(pidfd_send_signal(guest, SIGKILL, NULL, 0) == 0, "kill: %m");
	nt_same_world(before);
	nt_say("killed, and started again");
}

static void test_second(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct keeper *k = NULL;
	const struct keeper_config config = { .lab_id = lab.id,
					      .lab = "test",
					      .exec_dir = getenv("LABD_EXEC"),
					      .run_dir = lab.run,
					      .state_dir = lab.state,
					      .log = lab.log };

	nt_start(&lab, 7);
	NT_CHECK(keeper_start(&config, &k, &err) < 0 && strstr(err.text, "runs already"),
		 "two keepers: %s", err.text);
	NT_OK(keeper_connect(lab.run, &k, &err));
	NT_CHECK(k->pid == lab.k->pid, "another keeper answers");
	NT_OK(keeper_network_del(k, "none", &err));
	keeper_close(k);
	nt_shutdown(&lab);
	nt_say("a second keeper is refused, a second connection is not");
}

/* A dnsmasq that dies is started again; one that dies always is given up */
static void test_dnsmasq(void)
{
	struct lab_err err = LAB_ERR_INIT;
	uint64_t deadline = num_now_us() + 10000000;
	struct nt_guest g;
	struct nt_lease l;
	int kills = 0;

	nt_start(&lab, 7);
	fill();
	nt_guest_init(&g, nt_tap(&lab, "db0"), "52:54:00:00:00:0a", "10.20.0.10");
	nt_sh("pkill -9 -P %d dnsmasq", lab.k->pid);
	NT_CHECK(nt_dhcp(&g, 5000, &l) == 0, "no lease after dnsmasq was killed");
	for (;;) {
		autojson json_t *state = NULL;
		const char *s;

		NT_CHECK(num_now_us() < deadline, "dnsmasq is started for ever");
		NT_OK(keeper_state(lab.k, &state, &err));
		s = json_string_value(json_object_get(
			json_object_get(json_object_get(state, "networks"), "mgmt"), "dnsmasq"));
		if (!strncmp(s, "failed", 6))
			break;
		nt_sh("pkill -9 -P %d dnsmasq || true", lab.k->pid);
		kills++;
	}
	close(g.tap);
	nt_shutdown(&lab);
	nt_say("dnsmasq killed %d times", kills);
}

static void test_rounds(const char *before)
{
	uint64_t start = num_now_us(), up = 0, down = 0, t;

	for (int i = 0; i < ROUNDS; i++) {
		t = num_now_us();
		nt_start(&lab, 7);
		fill();
		up += num_now_us() - t;
		t = num_now_us();
		nt_shutdown(&lab);
		down += num_now_us() - t;
	}
	nt_same_world(before);
	nt_say("%d rounds in %.1f s: up %.1f ms, down %.1f ms", ROUNDS,
	       (double)(num_now_us() - start) / 1e6, (double)up / 1e3 / ROUNDS,
	       (double)down / 1e3 / ROUNDS);
}

int main(int argc, char **argv)
{
	autofree char *before = NULL;

	if (argc == 2 && !strcmp(argv[1], "--stay"))
		return pause();
	nt_main(argc, argv);
	nt_sh("nft 'table ip filter { chain FORWARD { type filter hook forward priority 0; "
	      "policy drop; }; }'");
	before = nt_world();
	test_killed(before);
	test_started_again(before);
	test_second();
	test_dnsmasq();
	test_rounds(before);
	nt_sh("nft delete table ip filter");
	return 0;
}
