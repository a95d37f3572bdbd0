// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * clock.c - the lab's own time, told to its guests (SNTP, RFC 4330)
 *
 * DOC: Theory of Operation
 *
 * Guests that were put back to an earlier state go on with the time of that
 * state, without a jump: behind the host's, and every lab by another span. What
 * they need is one that all of them agree on. It is told here, at the gateway's
 * address of every network, to which DHCP points: the host's CLOCK_REALTIME plus
 * the lab's offset. labd sets the offset, we only apply it; a lab begins with 0.
 *
 * A question of 48 bytes is answered by 48 bytes at once, without any state about
 * who asked, so there is nothing to fill up and nothing to amplify. Extensions
 * and authentication behind these bytes are ignored (RFC 7822 3): a client that
 * insists on them drops the answer. The kernel notes when a question came in, so
 * that a keeper that was busy does not look like a slow network to one side only.
 *
 * A socket a network, bound to its bridge: what a guest of another network sends
 * to this address is dropped by the filter (nat.c) and would not reach the socket
 * either.
 */
#define _GNU_SOURCE
#include "netns/clock.h"

#include "lib/util.h"
#include "netns/network.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define NTP_PORT 123
/* Questions at one wake-up, and wake-ups in a span: 10000 answers a second for a network */
#define BURST 16
#define WAKE_SPAN 100000 /* us */
#define WAKE_BURST 64

#define NTP_MODE_CLIENT 3
#define NTP_MODE_SERVER 4
#define NTP_STRATUM 10 /* "local clock": any real server is better */
#define NTP_PRECISION -20 /* 2^-20 s: about a microsecond */
#define NTP_EPOCH 2208988800u /* 1970 in seconds since 1900 */

/**
 * struct clock - a network's socket
 */
struct clock {
	struct lab *lab;
	int fd;
	sd_event_source *source;
};

/**
 * struct ntp_packet - as in RFC 4330 section 4; big-endian
 */
struct ntp_packet {
	uint8_t flags; /* leap indicator 2, version 3, mode 3 bits */
	uint8_t stratum, poll;
	int8_t precision;
	uint32_t root_delay, root_dispersion;
	char refid[4];
	uint64_t reference, originate, receive, transmit;
} __attribute__((packed));

static_assert(sizeof(struct ntp_packet) == CLOCK_PACKET, "no packing");

/* Seconds since 1900, modulo the era, and their fraction of 2^32 */
static uint64_t ntp_time(const struct timespec *ts)
{
	uint32_t seconds = (uint32_t)((uint64_t)ts->tv_sec + NTP_EPOCH);
	uint32_t fraction = (uint32_t)(((uint64_t)ts->tv_nsec << 32) / 1000000000u);

	return htobe64((uint64_t)seconds << 32 | fraction);
}

size_t clock_answer(const void *request, size_t len, const struct timespec *received,
		    const struct timespec *now, unsigned char ret[CLOCK_PACKET])
{
	struct ntp_packet in, out = { .stratum = NTP_STRATUM, .precision = NTP_PRECISION };
	unsigned int version;

	if (len < sizeof(in) || len > CLOCK_MAX_REQUEST || len % 4)
		return 0;
	memcpy(&in, request, sizeof(in));
	version = in.flags >> 3 & 7;
	if ((in.flags & 7) != NTP_MODE_CLIENT || version < 3 || version > 4)
		return 0;
	out.flags = (uint8_t)(version << 3 | NTP_MODE_SERVER);
	out.poll = in.poll;
	memcpy(out.refid, "LAB ", sizeof(out.refid));
	out.reference = ntp_time(received);
	out.originate = in.transmit;
	out.receive = ntp_time(received);
	out.transmit = ntp_time(now);
	memcpy(ret, &out, sizeof(out));
	return sizeof(out);
}

/* The host's time as the lab's */
static struct timespec lab_time(const struct lab *lab, struct timespec ts)
{
	int64_t us = lab->clock_offset_us % 1000000;

	ts.tv_sec += lab->clock_offset_us / 1000000;
	ts.tv_nsec += us * 1000;
	if (ts.tv_nsec < 0) {
		ts.tv_nsec += 1000000000;
		ts.tv_sec--;
	} else if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	return ts;
}

static struct timespec host_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

/* When the kernel got the datagram; now, if it does not say */
static struct timespec time_received(struct msghdr *msg)
{
	struct timespec ts = host_time();

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS)
			memcpy(&ts, CMSG_DATA(c), sizeof(ts));
	return ts;
}

/* Answer one datagram; false if there is none */
static bool serve_one(const struct clock *c)
{
	unsigned char request[CLOCK_MAX_REQUEST + 1], answer[CLOCK_PACKET];
	char control[CMSG_SPACE(sizeof(struct timespec))];
	struct iovec iov = { request, sizeof(request) };
	struct sockaddr_in from;
	struct msghdr msg = { .msg_name = &from,
			      .msg_namelen = sizeof(from),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(c->fd, &msg, 0);
	struct timespec received, now;

	if (n < 0)
		return false;
	received = lab_time(c->lab, time_received(&msg));
	now = lab_time(c->lab, host_time());
	if (clock_answer(request, (size_t)n, &received, &now, answer))
		(void)sendto(c->fd, answer, sizeof(answer), 0, (struct sockaddr *)&from,
			     sizeof(from));
	return true;
}

static int on_request(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	(void)source;
	(void)fd;
	(void)revents;
	for (int i = 0; i < BURST && serve_one(arg); i++)
		;
	return 0;
}

static int open_socket(const struct network *net)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
					.sin_port = htons(NTP_PORT),
					.sin_addr = net->gateway };
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int on = 1;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, net->bridge,
		       (socklen_t)strlen(net->bridge) + 1) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	return steal_fd(&fd);
}

int clock_start(struct lab *lab, struct network *net, struct lab_err *err)
{
	struct clock *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return lab_fail(err, -ENOMEM, "out of memory");
	c->lab = lab;
	net->clock = c;
	r = c->fd = open_socket(net);
	if (r >= 0)
		r = sd_event_add_io(lab->event, &c->source, c->fd, EPOLLIN, on_request, c);
	if (r >= 0)
		r = sd_event_source_set_ratelimit(c->source, WAKE_SPAN, WAKE_BURST);
	if (r >= 0)
		return 0;
	clock_stop(net);
	return lab_fail_errno(err, r, "network %s: cannot tell the time at its gateway", net->name);
}

void clock_stop(struct network *net)
{
	struct clock *c = net->clock;

	if (!c)
		return;
	sd_event_source_disable_unref(c->source);
	if (c->fd >= 0)
		close(c->fd);
	net->clock = NULL;
	free(c);
}

int clock_set(struct lab *lab, int64_t offset_us, struct lab_err *err)
{
	if (offset_us > CLOCK_MAX_OFFSET_US || offset_us < -CLOCK_MAX_OFFSET_US)
		return lab_fail(err, -ERANGE, "the lab's time is at most 50 years off the host's");
	lab->clock_offset_us = offset_us;
	return 0;
}
