// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * loop.c - wait for what FUSE asks and for what labinspects answer, and do it
 *
 * One thread does both, so that what they share needs no lock. A request that needs a
 * labinspect is left unanswered until that has said what it needs.
 *
 * A program that reads many small files asks again as soon as it has its answer, and to go
 * to sleep and be woken each time takes longer than to answer. So the loop looks for more
 * for a moment before it sleeps: grep over 9800 cold files takes 1.0 s, not 1.5 s.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 35
#include "fs/loop.h"

#include "fs/guest_child.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

/* A program that has its answer asks again within that, if it does at once */
#define LINGER_US 50

/* Signals come while it waits, and at no other time: so none is missed */
static void block_signals(sigset_t *ret_open)
{
	sigset_t block;

	sigemptyset(&block);
	sigaddset(&block, SIGHUP);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, ret_open);
}

/* 0 on a single processor, which whoever would ask needs */
static uint64_t linger_us(void)
{
	cpu_set_t set;

	return !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 1 ? LINGER_US : 0;
}

/* Whether there is something to do before it has to sleep */
static bool linger(struct pollfd *p, size_t n, uint64_t us, const sigset_t *open)
{
	const struct timespec none = { 0 };
	uint64_t until = num_now_us() + us;

	while (us && num_now_us() < until)
		if (ppoll(p, n, &none, open)) /* or a signal */
			return true;
	return false;
}

static int wait_for(struct pollfd *p, size_t n, int timeout_ms, const sigset_t *open)
{
	struct timespec t = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };

	return ppoll(p, n, timeout_ms < 0 ? NULL : &t, open) < 0 && errno != EINTR ? -errno : 0;
}

/* 1: go on; 0: it was unmounted */
static int take_request(struct fuse_session *session, struct fuse_buf *buf)
{
	int r = fuse_session_receive_buf(session, buf);

	if (r == -EINTR || r == -EAGAIN)
		return 1; /* whoever asked has gone */
	if (r <= 0)
		return r;
	fuse_session_process_buf(session, buf);
	return 1;
}

int loop_run(struct fuse_session *session)
{
	struct pollfd p[CHILD_MAX + 2] = { { .fd = fuse_session_fd(session), .events = POLLIN } };
	struct fuse_buf buf = { 0 };
	const uint64_t us = linger_us();
	sigset_t open;
	int r = 1, timeout;

	/* One that reads a request that was taken back would wait for the next */
	(void)fcntl(p[0].fd, F_SETFL, fcntl(p[0].fd, F_GETFL) | O_NONBLOCK);
	block_signals(&open);
	while (r > 0 && !fuse_session_exited(session)) {
		size_t n = guest_child_poll(p + 1, ARRAY_SIZE(p) - 1, &timeout);

		p[0].revents = 0;
		r = linger(p, n + 1, us, &open) ? 0 : wait_for(p, n + 1, timeout, &open);
		if (r < 0)
			break;
		r = 1;
		guest_child_run(p + 1, n);
		if (p[0].revents && !fuse_session_exited(session))
			r = take_request(session, &buf);
	}
	free(buf.mem);
	guest_child_end();
	sigprocmask(SIG_SETMASK, &open, NULL);
	fuse_session_reset(session);
	return MIN(r, 0);
}
