// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qemu-ready.c - all kinds of readiness probes on a guest while it boots
 *
 * TIMEOUT: 180
 * REQUIRES: root tun
 * IMAGES: tiny
 */
#define _GNU_SOURCE
#include "labd/ready.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/qemutest.h"

#include <poll.h>
#include <string.h>

static struct qt_guest g;
static struct agent *a;

static bool is_alive(void *arg)
{
	(void)arg;
	return !nt_wait_fd(g.proc.pidfd, POLLIN, 0);
}

static void on_step(void *arg, const char *text)
{
	(void)arg;
	nt_say("waiting for %s", text);
}

static int wait_for(const char *text, struct lab_err *err)
{
	autojson json_t *probes = json_loads(text, 0, NULL);
	struct ready ready = { .keeper = g.lab.k,
			       .agent = a,
			       .addr = "10.9.0.2",
			       .console_log = g.console,
			       .alive = is_alive,
			       .step = on_step };

	NT_CHECK(probes, "%s", text);
	return ready_wait(&ready, probes, err);
}

static const char all_probes[] =
	"[{\"console\": \"login ready\", \"timeout\": 60},"
	" {\"tcp\": 80, \"timeout\": 60},"
	" {\"http\": \"http:///\", \"status\": 200, \"body\": \"guest\", \"timeout\": 60},"
	" {\"agent\": true, \"timeout\": 60},"
	" {\"exec\": [\"test\", \"-d\", \"/run\"], \"timeout\": 60}]";

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	char path[300];

	nt_main(argc, argv);
	qt_init(&g, 93);
	qt_start(&g);
	snprintf(path, sizeof(path), "%s/agent", g.dir);
	a = agent_new(path);
	/* stopped before its first instruction, it cannot be ready */
	NT_FAILS(ETIMEDOUT, wait_for("[{\"tcp\": 80, \"timeout\": 1}]", &err));
	NT_FAILS(ETIMEDOUT, wait_for("[{\"agent\": true, \"timeout\": 1}]", &err));
	nt_say("as told: %s", err.text);
	NT_OK(qemu_cont(g.qmp, qt_in(5), &err));
	NT_OK(wait_for(all_probes, &err));
	nt_say("ready");
	NT_FAILS(ETIMEDOUT, wait_for("[{\"tcp\": 81, \"timeout\": 1}]", &err));
	NT_CHECK(strstr(err.text, "refused") && strstr(err.text, "login ready"), "%s", err.text);
	NT_FAILS(ETIMEDOUT, wait_for("[{\"exec\": [\"ls\", \"/no-such\"], \"timeout\": 3}]", &err));
	NT_CHECK(strstr(err.text, "exit status 1: ls: /no-such"), "%s", err.text);
	NT_FAILS(ETIMEDOUT, wait_for("[{\"exec\": [\"no-such\"], \"timeout\": 2}]", &err));
	NT_CHECK(strstr(err.text, "no such program"), "%s", err.text);
	/* the wait ends with the guest */
	NT_OK(qemu_kill(&g.proc, qt_in(5), &err));
	NT_FAILS(ECHILD, wait_for("[{\"tcp\": 81, \"timeout\": 60}]", &err));
	agent_free(a);
	qt_done(&g);
	return 0;
}
