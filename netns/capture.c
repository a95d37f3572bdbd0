// SPDX-License-Identifier: GPL-2.0-or-later
/* capture.c - a socket at which the packets of a link of the lab can be had */
#define _GNU_SOURCE
#include "netns/capture.h"

#include "lib/util.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#define BUFFER (4 << 20) /* what a burst may be ahead of its reader; the rest is counted */

int capture_open(const char *ifname, struct lab_err *err)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex(ifname) };
	const int size = BUFFER, on = 1;
	autoclose int fd = -EBADF;

	if (!at.sll_ifindex)
		return lab_fail(err, -ENODEV, "the lab has no link %s", ifname);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return lab_fail_errno(err, -errno, "packet socket");
	/* more than the default may be allowed to root of the machine only */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return lab_fail_errno(err, -errno, "packet socket of %s", ifname);
	return steal_fd(&fd);
}
