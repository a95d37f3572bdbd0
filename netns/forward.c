// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * forward.c - ports of the host that lead into the lab
 *
 * DOC: Theory of Operation
 *
 * The listener was made by labd on the host and came here as a descriptor; what it
 * accepts is a socket of the host. The other half is a socket made here, in the
 * lab. The two directions are independent pipes: read when there is room, write
 * when there are bytes, and at the end of the input shut the output down once
 * the buffer is empty. So a half-closed connection works, and a slow reader
 * slows its writer and nobody else.
 *
 * An error of either side, a refused target above all, resets the other: whoever
 * connected sees what it would see without us, a moment later.
 *
 * A descriptor that waits for nothing is taken out of the event loop, or the
 * hang-up it shows for ever would spin it.
 */
#define _GNU_SOURCE
#include "netns/forward.h"

#include "lib/util.h"
#include "netns/dns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* A guest that is being restarted answers within that, or not at all: about 15 s */
#define CONNECT_SYN_RETRIES 3
/* A guest that was killed sends no end: find out within two minutes */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT 4
/* At one wake-up, so that one connection does not keep the others waiting */
#define PUMP_ROUNDS 4
#define ACCEPT_BURST 16

/**
 * struct half - one direction: from side i to the other
 * @eof:	nothing more to read
 * @shut:	and that was passed on
 */
struct half {
	char *buf;
	size_t start, len;
	bool eof, shut;
};

/**
 * struct connection - two sockets; side 0 is the host's, side 1 the lab's
 * @connecting:	side 1 is not connected yet
 */
struct connection {
	TAILQ_ENTRY(connection) entry;
	struct forward *forward;
	int fd[2];
	sd_event_source *io[2];
	struct half half[2];
	bool connecting;
};

static void set_option(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void tune(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
}

int forward_connect(const struct sockaddr_in *target)
{
	autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	set_option(fd, IPPROTO_TCP, TCP_SYNCNT, CONNECT_SYN_RETRIES);
	if (connect(fd, (const struct sockaddr *)target, sizeof(*target)) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return steal_fd(&fd);
}

/* Close with a reset, so that the peer does not take it for a regular end */
static void reset_fd(int fd)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (fd < 0)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void conn_free(struct connection *c, bool reset)
{
	struct forward *f = c->forward;

	for (int i = 0; i < 2; i++) {
		sd_event_source_disable_unref(c->io[i]);
		if (reset)
			reset_fd(c->fd[i]);
		else
			close(c->fd[i]);
		free(c->half[i].buf);
	}
	TAILQ_REMOVE(&f->conns, c, entry);
	/* there is room again */
	if (f->n_conns-- == FORWARD_MAX_CONNECTIONS)
		(void)sd_event_source_set_enabled(f->source, SD_EVENT_ON);
	free(c);
}

/* Wait for what each side can do next */
static int wait_for(struct connection *c)
{
	for (int i = 0; i < 2; i++) {
		const struct half *in = &c->half[i], *out = &c->half[!i];
		uint32_t events = 0;
		int r;

		if (c->connecting && i == 1)
			events = EPOLLOUT;
		else if (!c->connecting || i == 0)
			events = (!in->eof && in->start + in->len < FORWARD_BUFFER ? EPOLLIN : 0) |
				 (out->len ? EPOLLOUT : 0);
		r = sd_event_source_set_io_events(c->io[i], events);
		if (r >= 0)
			r = sd_event_source_set_enabled(c->io[i],
							events ? SD_EVENT_ON : SD_EVENT_OFF);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Read into a direction: 1 something, 0 nothing now, negative errno */
static int half_read(struct half *h, int from)
{
	size_t end = h->start + h->len;
	ssize_t n;

	if (h->eof || end == FORWARD_BUFFER)
		return 0;
	n = recv(from, h->buf + end, FORWARD_BUFFER - end, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!n)
		h->eof = true;
	h->len += (size_t)n;
	return n > 0;
}

/* Write what a direction holds: bytes written or negative errno */
static ssize_t half_write(struct half *h, int to)
{
	ssize_t n = 0;

	if (h->len) {
		n = send(to, h->buf + h->start, h->len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		h->start += (size_t)n;
		h->len -= (size_t)n;
	}
	if (!h->len)
		h->start = 0;
	if (h->eof && !h->len && !h->shut) {
		h->shut = true;
		if (shutdown(to, SHUT_WR) < 0)
			return -errno;
	}
	return n;
}

/* Move what can be moved from side @i to the other */
static int pump(struct connection *c, int i)
{
	struct half *h = &c->half[i];
	uint64_t *count = i ? &c->forward->bytes_out : &c->forward->bytes_in;

	for (int round = 0; round < PUMP_ROUNDS; round++) {
		int got = half_read(h, c->fd[i]);
		ssize_t put;

		if (got < 0)
			return got;
		if (c->connecting)
			return 0;
		put = half_write(h, c->fd[!i]);
		if (put < 0)
			return (int)put;
		*count += (uint64_t)put;
		if (!got && !put)
			break;
	}
	return 0;
}

static int finish_connect(struct connection *c)
{
	int code = 0;
	socklen_t len = sizeof(code);

	if (getsockopt(c->fd[1], SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		return -errno;
	if (code) {
		c->forward->refused++;
		return -code;
	}
	c->connecting = false;
	return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct connection *c = arg;
	int r = 0;

	(void)source;
	if (c->connecting && fd == c->fd[1])
		r = finish_connect(c);
	else if (revents & EPOLLERR)
		r = -ECONNRESET;
	for (int i = 0; !r && i < 2; i++)
		r = pump(c, i);
	if (!r && !(c->half[0].shut && c->half[1].shut))
		r = wait_for(c);
	if (r < 0)
		conn_free(c, true);
	else if (c->half[0].shut && c->half[1].shut)
		conn_free(c, false);
	return 0;
}

/* Connect an accepted socket (owned here) to where it leads */
static int conn_new(struct forward *f, int accepted)
{
	struct connection *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c) {
		reset_fd(accepted);
		return -ENOMEM;
	}
	c->forward = f;
	c->connecting = true;
	c->fd[0] = accepted;
	TAILQ_INSERT_TAIL(&f->conns, c, entry);
	f->n_conns++;
	c->fd[1] = f->to_resolver ? resolver_connect(f->lab) : forward_connect(&f->target);
	if (c->fd[1] < 0) {
		r = c->fd[1];
		f->refused++;
	}
	for (int i = 0; !r && i < 2; i++) {
		tune(c->fd[i]);
		c->half[i].buf = malloc(FORWARD_BUFFER);
		r = c->half[i].buf
			    ? sd_event_add_io(f->lab->event, &c->io[i], c->fd[i], 0, on_io, c)
			    : -ENOMEM;
	}
	if (r >= 0)
		r = wait_for(c);
	if (r < 0)
		conn_free(c, true);
	return r;
}

static int on_accept(sd_event_source *source, int listener, uint32_t revents, void *arg)
{
	struct forward *f = arg;

	(void)revents;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		int fd;

		if (f->n_conns >= FORWARD_MAX_CONNECTIONS) {
			(void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
			return 0;
		}
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return 0;
		f->accepted++;
		(void)conn_new(f, fd);
	}
	return 0;
}

static struct forward *find(const struct lab *lab, const char *id)
{
	struct forward *f;

	TAILQ_FOREACH(f, &lab->forwards, entry)
		if (!strcmp(f->id, id))
			return f;
	return NULL;
}

static void forward_free(struct forward *f)
{
	f->n_conns += FORWARD_MAX_CONNECTIONS; /* nobody waits for room any more */
	while (!TAILQ_EMPTY(&f->conns))
		conn_free(TAILQ_FIRST(&f->conns), true);
	sd_event_source_disable_unref(f->source);
	close(f->listener);
	TAILQ_REMOVE(&f->lab->forwards, f, entry);
	f->lab->n_forwards--;
	free(f);
}

/* Make a forward and watch its listener, which it owns then */
static int forward_new(struct lab *lab, const char *id, int listener, struct forward **ret)
{
	struct forward *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		close(listener);
		return -ENOMEM;
	}
	f->lab = lab;
	f->listener = listener;
	snprintf(f->id, sizeof(f->id), "%s", id);
	TAILQ_INIT(&f->conns);
	TAILQ_INSERT_TAIL(&lab->forwards, f, entry);
	lab->n_forwards++;
	r = sd_event_add_io(lab->event, &f->source, listener, EPOLLIN, on_accept, f);
	if (r >= 0)
		r = sd_event_source_set_ratelimit(f->source, LAB_ACCEPT_SPAN, LAB_ACCEPT_BURST);
	if (r < 0) {
		forward_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

static int check_listener(int fd, struct lab_err *err)
{
	int listening = 0, domain = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || !listening ||
	    (domain != AF_INET && domain != AF_INET6))
		return lab_fail(err, -EINVAL, "the descriptor is not a listening TCP socket");
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return lab_fail_errno(err, -errno, "the listening socket");
	return 0;
}

int forward_add(struct lab *lab, const char *id, int listener, const char *addr, uint16_t port,
		struct lab_err *err)
{
	autoclose int owned = listener;
	struct sockaddr_in target = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct forward *f;
	int r;

	if (!*id || strlen(id) >= sizeof(f->id) || id[0] == '_')
		return lab_fail(err, -EINVAL, "bad name of a forward");
	if (!port || inet_pton(AF_INET, addr, &target.sin_addr) != 1)
		return lab_fail(err, -EINVAL, "forward %s: '%.32s' port %u is no address", id, addr,
				port);
	r = check_listener(owned, err);
	if (r < 0)
		return lab_wrap(err, r, "forward %s", id);
	f = find(lab, id);
	if (f) /* a new listener for the same port: labd has lost the other one */
		forward_free(f);
	else if (lab->n_forwards >= LAB_MAX_FORWARDS)
		return lab_fail(err, -EDQUOT, "a lab has at most %d forwards", LAB_MAX_FORWARDS);
	r = forward_new(lab, id, steal_fd(&owned), &f);
	if (r < 0)
		return lab_fail_errno(err, r, "forward %s", id);
	f->target = target;
	return 0;
}

int forward_add_resolver(struct lab *lab, const char *id, int listener)
{
	struct forward *f = NULL;
	int fd = fcntl(listener, F_DUPFD_CLOEXEC, 3);
	int r = fd < 0 ? -errno : forward_new(lab, id, fd, &f);

	if (f)
		f->to_resolver = true;
	return r;
}

int forward_del(struct lab *lab, const char *id)
{
	struct forward *f = find(lab, id);

	if (!f)
		return 0;
	forward_free(f);
	return 1;
}

void forward_reset(struct lab *lab, struct in_addr addr)
{
	struct forward *f;

	TAILQ_FOREACH(f, &lab->forwards, entry)
		if (!f->to_resolver && f->target.sin_addr.s_addr == addr.s_addr)
			while (!TAILQ_EMPTY(&f->conns))
				conn_free(TAILQ_FIRST(&f->conns), true);
}

void forward_end_all(struct lab *lab)
{
	while (!TAILQ_EMPTY(&lab->forwards))
		forward_free(TAILQ_FIRST(&lab->forwards));
}
