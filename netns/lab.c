// SPDX-License-Identifier: GPL-2.0-or-later
/* lab.c - the two networks a keeper moves between, its files, and its end */
#define _GNU_SOURCE
#include "netns/lab.h"

#include "lib/io.h"
#include "lib/util.h"
#include "netns/child.h"
#include "netns/conntrack.h"
#include "netns/console.h"
#include "netns/dns.h"
#include "netns/forward.h"
#include "netns/link.h"
#include "netns/nat.h"
#include "netns/netlink.h"
#include "netns/network.h"
#include "netns/tap.h"
#include "netns/uplink.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

int lab_enter_host(const struct lab *lab)
{
	if (!lab->root)
		return -EPERM;
	return setns(lab->host_net, CLONE_NEWNET) < 0 ? -errno : 0;
}

void lab_leave_host(const struct lab *lab)
{
	/* on the host's side with the lab's rules in mind: nothing good can follow */
	if (setns(lab->lab_net, CLONE_NEWNET) < 0)
		abort();
}

void lab_note_file(const struct lab *lab, const char *path)
{
	char list[IO_PATH];
	autoclose int fd = open(io_path(list, "%s/" LAB_FILES, lab->run_dir),
				O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0)
		(void)dprintf(fd, "%s\n", path);
}

void lab_remove_files(const char *run_dir)
{
	char path[IO_PATH];

	unlink(io_path(path, "%s/" LAB_FILES, run_dir));
	(void)io_remove_tree(AT_FDCWD, io_path(path, "%s/net", run_dir));
	/* inside a lab it is covered, and what is a mount point cannot be removed */
	io_path(path, "%s/" LAB_SOCKET, run_dir);
	(void)umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	unlink(path);
}

void lab_end(struct lab *lab)
{
	child_end_all(lab);
	forward_end_all(lab);
	console_end_all(lab);
	network_end_all(lab);
	taps_end_all(lab);
	uplink_free(lab);
	resolver_free(lab);
	nat_lab_end(lab);
	conntrack_end(lab);
	lab->nl = netlink_close(lab->nl);
	lab_remove_files(lab->run_dir);
	(void)sd_event_exit(lab->event, 0);
}
