/* SPDX-License-Identifier: GPL-2.0-or-later */
/* capture.h - a socket at which the packets of a link of the lab can be had */
#ifndef NETNS_CAPTURE_H
#define NETNS_CAPTURE_H

#include "lib/err.h"

/**
 * capture_open() - A packet socket for a link
 * It gets nothing yet: who receives it attaches a filter and binds it again, to the same link
 * and ETH_P_ALL. It goes on working when it is passed out of the namespace.
 *
 * Return: the socket (not blocking), -ENODEV if there is no such link, or negative errno
 */
int capture_open(const char *ifname, struct lab_err *err);

#endif
