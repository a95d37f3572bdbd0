// SPDX-License-Identifier: GPL-2.0-or-later
/* peer.c - the other end of a unix socket, misbehaving by script; for unit tests */
#define _GNU_SOURCE
#include "tests/lib/peer.h"

#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

static void *serve(void *arg)
{
	struct peer *p = arg;

	while (!p->stop) {
		int sock = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);

		if (sock < 0)
			break;
		p->served++;
		if (!p->stop)
			p->script(p, sock);
		close(sock);
	}
	return NULL;
}

void peer_start(struct peer *p, void (*script)(struct peer *p, int sock))
{
	const char *base = getenv("TEST_DIR");

	signal(SIGPIPE, SIG_IGN);
	memset(p, 0, sizeof(*p));
	p->script = script;
	snprintf(p->dir, sizeof(p->dir), "%.40s/peer-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(p->dir))
		abort();
	snprintf(p->path, sizeof(p->path), "%s/sock", p->dir);
	p->listener = io_listen_unix(p->path, SOCK_STREAM, 0600);
	if (p->listener < 0 || pthread_create(&p->thread, NULL, serve, p))
		abort();
}

void peer_stop(struct peer *p)
{
	p->stop = true;
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
	(void)io_remove_tree(AT_FDCWD, p->dir);
}

bool peer_write(int sock, const void *data, size_t len)
{
	while (len) {
		ssize_t n = send(sock, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data = (const char *)data + n;
		len -= (size_t)n;
	}
	return true;
}

bool peer_say(int sock, const char *text)
{
	return peer_write(sock, text, strlen(text));
}

bool peer_read_line(int sock, char *buf, size_t len)
{
	size_t n = 0;
	char c;

	while (recv(sock, &c, 1, 0) == 1) {
		if (c == '\n') {
			buf[n] = '\0';
			return true;
		}
		if (n + 1 < len)
			buf[n++] = c;
	}
	return false;
}

void peer_wait_end(struct peer *p, int sock)
{
	char buf[4096];

	while (!p->stop) {
		struct pollfd fd = { .fd = sock, .events = POLLIN };

		if (poll(&fd, 1, 50) > 0 && recv(sock, buf, sizeof(buf), 0) <= 0)
			return;
	}
}

size_t peer_rss(void)
{
	autofree char *text = NULL;
	size_t pages = 0;

	if (!io_read_file(AT_FDCWD, "/proc/self/statm", 256, &text, NULL))
		(void)sscanf(text, "%*u %zu", &pages);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}
