/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemutest.h - real QEMUs in a real lab, without labd, for tests of labd/qemu.c,
 * agent.c and ready.c. Failures and skips as in nettest.h.
 */
#ifndef TESTS_LIB_QEMUTEST_H
#define TESTS_LIB_QEMUTEST_H

#include "labd/qemu.h"
#include "tests/lib/nettest.h"

/**
 * struct qt_guest - a guest of image "tiny" with one nic, 10.9.0.2 in network "net"
 * @lab:	its lab, with a keeper of its own
 * @dir:	run directory of the guest, below the lab's
 * @console:	recorded console
 * @config:	may be changed before qt_start()
 */
struct qt_guest {
	struct nt_lab lab;
	char dir[256], kernel[300], initrd[300], disk[300], console[300], listen[300], log[300];
	char preload[300];
	char cmdline[512];
	struct accel accel;
	struct qemu_config config;
	struct qemu_proc proc;
	struct qmp *qmp;
};

/** qt_init() - Start a keeper, make the network, the tap and the disk; no QEMU yet */
void qt_init(struct qt_guest *g, unsigned int id);

/** qt_start() - Start QEMU, stopped; the console is recorded */
void qt_start(struct qt_guest *g);

/** qt_done() - Kill QEMU if it runs, end the lab */
void qt_done(struct qt_guest *g);

/** qt_in() - A deadline in so many seconds (times $TEST_TIMES) */
uint64_t qt_in(double seconds);

/** qt_status() - What query-status says: "running", "paused", ... */
void qt_status(struct qt_guest *g, char *buf, size_t len);

/** qt_wait_end() - Wait for the end of QEMU; false if it did not come */
bool qt_wait_end(struct qt_guest *g, double seconds);

#endif
