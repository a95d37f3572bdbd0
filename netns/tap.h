/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tap.h - taps that are on no network yet, for programs that wait to take a nic's place */
#ifndef NETNS_TAP_H
#define NETNS_TAP_H

#include "netns/lab.h"

#include <net/if.h>
#include <stddef.h>

/**
 * struct tap - a link that is down and on no bridge
 * @fd:		keeps it alive; a program that is given the tap inherits it
 */
struct tap {
	TAILQ_ENTRY(tap) entry;
	char ifname[IFNAMSIZ];
	int fd;
};

/** taps_add() - Make taps; those that are there already stay. All or none */
int taps_add(struct lab *lab, const char *const *ifnames, size_t n, struct lab_err *err);

struct tap *tap_find(const struct lab *lab, const char *ifname);

/** tap_take() - Forget a tap; its descriptor is the caller's, and with it the link. -ENOENT */
int tap_take(struct lab *lab, const char *ifname);

/** taps_end_all() - Forget all; their links end with the namespace */
void taps_end_all(struct lab *lab);

#endif
