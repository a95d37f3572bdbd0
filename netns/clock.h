/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clock.h - the lab's own time, told to its guests (SNTP, RFC 4330) */
#ifndef NETNS_CLOCK_H
#define NETNS_CLOCK_H

#include "netns/lab.h"

#include <stddef.h>
#include <time.h>

struct clock;
struct network;

#define CLOCK_PACKET 48

/* A datagram that is longer is no client's: one has a packet and a few extensions */
#define CLOCK_MAX_REQUEST 1024

/* Within that, guests of NTP's 136-year era find the right one, and years stay positive */
#define CLOCK_MAX_OFFSET_US (50LL * 366 * 86400 * 1000000)

/**
 * clock_start() - Tell the time at a network's gateway
 * The bridge must have its address.
 */
int clock_start(struct lab *lab, struct network *net, struct lab_err *err);
void clock_stop(struct network *net);

/**
 * clock_set() - Set the lab's time
 * @offset_us:	added to CLOCK_REALTIME
 *
 * Return: 0, or -ERANGE beyond CLOCK_MAX_OFFSET_US
 */
int clock_set(struct lab *lab, int64_t offset_us, struct lab_err *err);

/**
 * clock_answer() - Make the answer to a datagram
 * @request:	@len bytes, anything
 * @received, @now: lab's time when it came, and now
 * @ret:	the answer
 *
 * Return: CLOCK_PACKET, or 0 if it is not a question of an NTP client
 */
size_t clock_answer(const void *request, size_t len, const struct timespec *received,
		    const struct timespec *now, unsigned char ret[CLOCK_PACKET]);

#endif
