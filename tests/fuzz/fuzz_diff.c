// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_diff.c - any bytes as two disks to be compared, as labinspect does it for labctl
 *
 * The disk is behind the head; the other one is the same with eight bytes changed in four places,
 * or its very file, if the first byte says so. What is said must have the form of a message.
 */
#define _GNU_SOURCE
#include "fs/inspect/diff.h"
#include "lib/util.h"

#include <string.h>
#include <sys/mman.h>

#define PATCHES 4
#define HEAD (2 + PATCHES * 12)
#define MAX_MESSAGES 500

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool take(void *arg, const void *message, size_t len)
{
	const struct inspect_change *c = message;
	unsigned int *left = arg;

	if (len < sizeof(*c) || c->found >= INSPECT_FOUND || c->path_len >= INSPECT_PATH ||
	    c->target_len[0] >= INSPECT_TARGET || c->target_len[1] >= INSPECT_TARGET ||
	    len != sizeof(*c) + c->path_len + c->target_len[0] + c->target_len[1] ||
	    (c->path_len && *c->text != '/') || memchr(c->text, '\0', c->path_len))
		abort();
	return --*left;
}

static int make_disk(const uint8_t *data, size_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, data, size) != (ssize_t)size) {
		close(fd);
		return -EBADF;
	}
	return fd;
}

static void patch(int fd, const uint8_t *from, size_t size)
{
	for (size_t i = 0; i < PATCHES; i++, from += 12) {
		uint32_t at;

		memcpy(&at, from, sizeof(at));
		at = (uint32_t)(at % size);
		if (pwrite(fd, from + 4, MIN((size_t)8, size - at), at) < 0)
			abort();
	}
}

static void compare(struct disk *disk[2], const int fd[2], bool part)
{
	static struct diff d;
	static struct inspect_diff q;
	static struct parts parts[2];
	static unsigned int left;

	left = MAX_MESSAGES;
	q = (struct inspect_diff){ .part = INSPECT_RAW };
	if (part) {
		memcpy(q.path, "/a/b", 4);
		q.path_len = 4;
	}
	memset(&d, 0, sizeof(d));
	d.q = &q;
	d.send = take;
	d.arg = &left;
	for (size_t i = 0; i < 2; i++) {
		d.disk[i] = disk[i];
		d.parts[i] = &parts[i];
		if (parts_scan(disk[i], fd[i], &parts[i]) < 0)
			return;
	}
	(void)diff_run(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct disk *disk[2] = { disk_new(), disk_new() };
	int fd[2] = { -EBADF, -EBADF };

	if (size > HEAD && disk[0] && disk[1]) {
		fd[0] = make_disk(data + HEAD, size - HEAD);
		fd[1] = data[0] & 2 ? dup(fd[0]) : make_disk(data + HEAD, size - HEAD);
	}
	if (fd[0] >= 0 && fd[1] >= 0) {
		patch(fd[1], data + 2, size - HEAD);
		if (!disk_add(disk[0], dup(fd[0]), data[0] & 1, NULL) && disk_size(disk[0]) &&
		    !disk_add(disk[1], dup(fd[1]), data[0] & 1, NULL) && disk_size(disk[1]))
			compare(disk, fd, data[1] & 1);
	}
	for (size_t i = 0; i < 2; i++) {
		disk_free(disk[i]);
		if (fd[i] >= 0)
			close(fd[i]);
	}
	return 0;
}
