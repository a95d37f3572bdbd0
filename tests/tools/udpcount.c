// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * udpcount.c - datagrams with numbers that grow; runs in guests, linked statically
 *
 *	udpcount send ADDR PORT
 *	udpcount receive PORT FILE BAD	the last number into FILE; a line into BAD for
 *					each that is not larger than the one before
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address(const char *addr, const char *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };

	if (addr && inet_pton(AF_INET, addr, &sa.sin_addr) != 1)
		exit(2);
	return sa;
}

__attribute__((noreturn)) static void send_all(const char *addr, const char *port)
{
	struct sockaddr_in sa = address(addr, port);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	for (uint64_t n = 1;; n++) {
		(void)sendto(fd, &n, sizeof(n), 0, (struct sockaddr *)&sa, sizeof(sa));
		usleep(1000);
	}
}

static void note(const char *path, int flags, uint64_t n, uint64_t last)
{
	int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);

	dprintf(fd, flags == O_APPEND ? "udp %" PRIu64 " after %" PRIu64 "\n" : "%" PRIu64 "\n", n,
		last);
	close(fd);
}

static int receive_all(const char *port, const char *file, const char *bad)
{
	struct sockaddr_in sa = address(NULL, port);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint64_t last = 0, n;

	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return 1;
	while (recv(fd, &n, sizeof(n), 0) == sizeof(n)) {
		if (n <= last)
			note(bad, O_APPEND, n, last);
		last = n;
		note(file, O_TRUNC, n, 0);
	}
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "send"))
		send_all(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "receive"))
		return receive_all(argv[2], argv[3], argv[4]);
	return 2;
}
