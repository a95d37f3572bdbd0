// SPDX-License-Identifier: GPL-2.0-or-later
/* pollvalue.c - print a file of the tree, wait by poll(2) until it changes, print it again */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define WAIT_MS 20000

static int print(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	return n < 0 || write(STDOUT_FILENO, buf, (size_t)n) != n;
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	struct pollfd p = { .fd = fd, .events = POLLPRI };

	if (fd < 0 || print(fd)) {
		perror("pollvalue FILE");
		return 2;
	}
	if (poll(&p, 1, WAIT_MS) != 1 || !(p.revents & (POLLPRI | POLLERR))) {
		fputs("pollvalue: not woken\n", stderr);
		return 1;
	}
	return lseek(fd, 0, SEEK_SET) < 0 || print(fd);
}
