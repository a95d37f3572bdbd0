// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qemu-life.c - a guest's QEMU from start to end, and found again by a later labd
 *
 * TIMEOUT: 180
 * REQUIRES: root tun
 * IMAGES: tiny
 */
#define _GNU_SOURCE
#include "labd/agent.h"
#include "labd/ready.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/qemutest.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

static struct qt_guest g;

static void check_status(const char *expected)
{
	char status[32];

	qt_status(&g, status, sizeof(status));
	NT_CHECK(!strcmp(status, expected), "status is %s, expected %s", status, expected);
}

/* Wait for an event on a monitor */
static void expect_event(struct qmp *q, const char *name, double seconds)
{
	uint64_t deadline = qt_in(seconds);

	while (num_now_us() < deadline) {
		autojson json_t *event = NULL;
		int r = qmp_event(q, &event);

		if (r == 1 && !strcmp(json_string_value(json_object_get(event, "event")), name))
			return;
		NT_CHECK(r == 1 || r == -EAGAIN, "waiting for event %s: %d", name, r);
		if (r == -EAGAIN)
			nt_wait_fd(qmp_fd(q), POLLIN, 100);
	}
	NT_CHECK(false, "event %s did not come", name);
}

static void wait_ready(const char *probes)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *list = json_loads(probes, 0, NULL);
	char path[300];
	struct agent *a;
	struct ready ready = { .keeper = g.lab.k, .addr = "10.9.0.2", .console_log = g.console };

	snprintf(path, sizeof(path), "%s/agent", g.dir);
	ready.agent = a = agent_new(path);
	NT_OK(ready_wait(&ready, list, &err));
	agent_free(a);
}

/* All sockets are there before the first instruction, and belong to the guest's uid */
static void test_start(void)
{
	static const char *const sockets[] = { "qmp", "events", "serial", "agent", "vnc" };
	uint64_t begin = num_now_us(), rss;
	char path[300];
	double cpu;

	qt_start(&g);
	nt_say("QEMU answers %.0f ms after its start", (double)(num_now_us() - begin) / 1000);
	check_status("prelaunch");
	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++) {
		snprintf(path, sizeof(path), "%s/%s", g.dir, sockets[i]);
		NT_CHECK(!access(path, F_OK), "%s is not there", path);
	}
	NT_CHECK(!qemu_usage(g.proc.pid, &rss, &cpu) && rss > (4 << 20) && rss < (1 << 30),
		 "usage: %llu bytes", (unsigned long long)rss);
	nt_say("before it runs: %llu KiB resident", (unsigned long long)rss / 1024);
}

static void test_pause(struct qmp *events)
{
	struct lab_err err = LAB_ERR_INIT;

	NT_OK(qemu_cont(g.qmp, qt_in(5), &err));
	expect_event(events, "RESUME", 5);
	check_status("running");
	NT_OK(qemu_pause(g.qmp, qt_in(5), &err));
	expect_event(events, "STOP", 5);
	check_status("paused");
	NT_OK(qemu_cont(g.qmp, qt_in(5), &err));
	check_status("running");
}

/* What QEMU refuses is told in its words, and the monitor stays usable */
static void test_refused(void)
{
	struct lab_err err = LAB_ERR_INIT;

	NT_FAILS(EIO, qmp_call(g.qmp, "device_del", json_pack("{s:s}", "id", "no-such"), qt_in(5),
			       NULL, &err));
	NT_CHECK(strstr(err.text, "no-such"), "%s", err.text);
	check_status("running");
}

static void test_adopt(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qemu_proc found = { .pidfd = -EBADF };
	struct qmp *q = NULL;
	uint64_t begin;

	g.qmp = qmp_close(g.qmp);
	begin = num_now_us();
	NT_OK(qemu_adopt(g.proc.pid, g.proc.start_time, g.proc.digest, g.dir, qt_in(5), &found, &q,
			 &err));
	nt_say("adopted in %.1f ms", (double)(num_now_us() - begin) / 1000);
	close(g.proc.pidfd);
	g.proc = found;
	g.qmp = q;
	check_status("running");
	NT_FAILS(ESRCH, qemu_adopt(g.proc.pid, g.proc.start_time + 1, g.proc.digest, g.dir,
				   qt_in(5), &found, &q, &err));
	NT_FAILS(ESRCH, qemu_adopt(g.proc.pid, g.proc.start_time, "0123", g.dir, qt_in(5), &found,
				   &q, &err));
	NT_FAILS(ESRCH, qemu_adopt(getpid(), g.proc.start_time, g.proc.digest, g.dir, qt_in(5),
				   &found, &q, &err));
	NT_FAILS(ESRCH, qemu_adopt(0, 0, "", g.dir, qt_in(5), &found, &q, &err));
}

static void test_powerdown(void)
{
	struct lab_err err = LAB_ERR_INIT;
	int status;

	/* a guest misses the button until its acpid has opened the device */
	for (int i = 0; i < 10; i++) {
		NT_OK(qemu_powerdown(g.qmp, qt_in(5), &err));
		if (qt_wait_end(&g, 3))
			break;
		nt_say("the guest did not notice the power button");
	}
	NT_CHECK(qt_wait_end(&g, 0), "the guest did not power off");
	NT_CHECK(keeper_exit_status(g.lab.k, g.proc.pid, &status, &err) == 1 && !status,
		 "QEMU's exit status is %#x", status);
	/* what comes now is a clear error, and no signal reaches anybody */
	NT_FAILS(ECONNRESET, qemu_pause(g.qmp, qt_in(5), &err));
	NT_FAILS(ECONNRESET, qemu_cont(g.qmp, qt_in(5), &err));
	NT_OK(qemu_kill(&g.proc, qt_in(1), &err));
	g.qmp = qmp_close(g.qmp);
	close(steal_fd(&g.proc.pidfd));
}

/* A QEMU that hangs: each wait ends in time, and it can be killed */
static void test_hang(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qemu_proc found = { .pidfd = -EBADF };
	struct qmp *q = NULL;
	uint64_t begin;

	qt_start(&g);
	NT_OK(qemu_cont(g.qmp, qt_in(5), &err));
	NT_CHECK(!pidfd_send_signal(g.proc.pidfd, SIGSTOP, NULL, 0), "SIGSTOP");
	begin = num_now_us();
	NT_FAILS(ETIMEDOUT, qemu_pause(g.qmp, begin + 300000, &err));
	NT_CHECK(num_now_us() - begin < 1000000, "the time-out took too long");
	NT_CHECK(strstr(err.text, "stop") && strstr(err.text, "in time"), "%s", err.text);
	NT_FAILS(ETIMEDOUT, qemu_cont(g.qmp, qt_in(5), &err)); /* at once: it was given up */
	g.qmp = qmp_close(g.qmp);
	NT_FAILS(ETIMEDOUT, qemu_adopt(g.proc.pid, g.proc.start_time, g.proc.digest, g.dir,
				       num_now_us() + 300000, &found, &q, &err));
	NT_CHECK(found.pidfd >= 0 && !q, "a hanging QEMU is adopted without its monitor");
	begin = num_now_us();
	NT_OK(qemu_kill(&found, qt_in(5), &err));
	nt_say("killed in %.0f ms while stopped", (double)(num_now_us() - begin) / 1000);
	NT_FAILS(ESRCH, qemu_adopt(g.proc.pid, g.proc.start_time, g.proc.digest, g.dir, qt_in(1),
				   &found, &q, &err));
	close(found.pidfd);
	close(steal_fd(&g.proc.pidfd));
}

/* QEMU that ends at its start: its own words, and nothing is left */
static void test_dies(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qemu_config broken = g.config;
	struct qemu_proc p;
	struct qmp *q;

	broken.disks[0].path = "/nonexistent.qcow2";
	NT_CHECK(qemu_start(g.lab.k, &broken, qt_in(10), &p, &q, &err) < 0, "it started");
	NT_CHECK(strstr(err.text, "nonexistent") && strstr(err.text, "exit status 1"), "%s",
		 err.text);
	nt_say("as told: %s", err.text);
	broken = g.config;
	broken.nics[0].ifname = "no-such-tap";
	NT_CHECK(qemu_start(g.lab.k, &broken, qt_in(10), &p, &q, &err) < 0, "it started");
	nt_say("as told: %s", err.text);
}

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qmp *events = NULL;
	char path[300];

	nt_main(argc, argv);
	qt_init(&g, 91);
	test_dies();
	test_start();
	snprintf(path, sizeof(path), "%s/events", g.dir);
	NT_OK(qmp_open(path, qt_in(5), &events, &err));
	test_pause(events);
	test_refused();
	test_adopt();
	wait_ready("[{\"agent\": true, \"timeout\": 60}]");
	nt_say("the guest agent answers");
	test_powerdown();
	expect_event(events, "SHUTDOWN", 5);
	qmp_close(events);
	test_hang();
	qt_done(&g);
	return 0;
}
