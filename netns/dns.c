// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dns.c - questions of the lab's dnsmasq, carried to the host's resolvers
 *
 * DOC: Theory of Operation
 *
 * The host's resolver is often 127.0.0.53 or another address of the host itself,
 * which nothing inside a lab can reach. So dnsmasq asks us, at a port of the lab's
 * loopback, and we ask with a socket made in the host's network: the lab gets the
 * answers the host would get, also behind a VPN.
 *
 * Datagrams: a socket for each question, so its source port is new and the
 * kernel drops what does not come from the resolver. It lives until the answer
 * or QUERY_TIMEOUT; dnsmasq's clients ask again themselves. A resolver that
 * refuses or is silent makes the next one the first. Without a resolver, or with
 * too many questions open, the answer is "server failure", at once.
 *
 * Connections (answers that were cut) are relayed as those of a forward.
 */
#define _GNU_SOURCE
#include "netns/dns.h"

#include "lib/num.h"
#include "lib/util.h"
#include "netns/forward.h"

#include <arpa/inet.h>
#include <string.h>

#define QUERY_TIMEOUT (5 * 1000000ULL)
/* dnsmasq has at most 150 open (dns-forward-max), for each of a few networks */
#define MAX_QUERIES 512
#define MAX_PACKET 4096
#define FORWARD_ID "_resolver"

/**
 * struct query - a question on its way
 * @from:	who asked
 */
struct query {
	TAILQ_ENTRY(query) entry;
	struct lab *lab;
	struct sockaddr_in from;
	int fd;
	sd_event_source *io, *timer;
};

/**
 * struct resolver - all of it
 * @fd:		where dnsmasq asks; negative while not started
 * @current:	the server to ask first
 */
struct resolver {
	int fd;
	sd_event_source *source;
	struct {
		struct sockaddr_storage addr;
		socklen_t len;
	} servers[RESOLVER_MAX_SERVERS];
	size_t n_servers, current;
	TAILQ_HEAD(query_list, query) queries;
	unsigned int n_queries;
};

socklen_t resolver_parse(const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	*ret = (struct sockaddr_storage){ 0 };
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(53);
		return sizeof(*in);
	}
	if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(53);
		return sizeof(*in6);
	}
	return 0;
}

size_t resolver_refuse(unsigned char *packet, size_t len)
{
	if (len < 12 || packet[2] & 0x80)
		return 0;
	packet[2] |= 0x80; /* an answer */
	packet[3] = 0x80 | 2; /* recursion available, server failure */
	return len;
}

/* The lab's resolver, made when it is first spoken of */
static struct resolver *get(struct lab *lab)
{
	struct resolver *res = lab->resolver;

	if (res)
		return res;
	res = calloc(1, sizeof(*res));
	if (!res)
		return NULL;
	res->fd = -EBADF;
	TAILQ_INIT(&res->queries);
	lab->resolver = res;
	return res;
}

int resolver_set(struct lab *lab, const char *const *addrs, size_t n)
{
	struct resolver *res = get(lab);

	if (!res)
		return -ENOMEM;
	res->n_servers = 0;
	res->current = 0;
	for (size_t i = 0; i < n && res->n_servers < RESOLVER_MAX_SERVERS; i++) {
		__auto_type s = &res->servers[res->n_servers];

		s->len = resolver_parse(addrs[i], &s->addr);
		if (s->len)
			res->n_servers++;
	}
	return 0;
}

/* A connected socket of the host to the current resolver */
static int ask_socket(const struct lab *lab, int type)
{
	const struct resolver *res = lab->resolver;
	int fd, r;

	if (!res->n_servers)
		return -EHOSTUNREACH;
	r = lab_enter_host(lab);
	if (r < 0)
		return r;
	fd = socket(res->servers[res->current].addr.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	r = fd < 0 ? -errno : 0;
	if (!r &&
	    connect(fd, (const struct sockaddr *)&res->servers[res->current].addr,
		    res->servers[res->current].len) < 0 &&
	    errno != EINPROGRESS) {
		r = -errno;
		close(fd);
	}
	lab_leave_host(lab);
	return r < 0 ? r : fd;
}

int resolver_connect(const struct lab *lab)
{
	return ask_socket(lab, SOCK_STREAM);
}

static void next_server(struct resolver *res)
{
	if (res->n_servers)
		res->current = (res->current + 1) % res->n_servers;
}

static void query_free(struct query *q)
{
	struct resolver *res = q->lab->resolver;

	TAILQ_REMOVE(&res->queries, q, entry);
	res->n_queries--;
	sd_event_source_disable_unref(q->io);
	sd_event_source_disable_unref(q->timer);
	close(q->fd);
	free(q);
}

static int on_answer(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct query *q = arg;
	struct resolver *res = q->lab->resolver;
	char packet[MAX_PACKET];
	ssize_t n = recv(fd, packet, sizeof(packet), 0);

	(void)source;
	(void)revents;
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		next_server(res);
	else
		(void)sendto(res->fd, packet, (size_t)n, 0, (struct sockaddr *)&q->from,
			     sizeof(q->from));
	query_free(q);
	return 0;
}

static int on_silence(sd_event_source *source, uint64_t usec, void *arg)
{
	struct query *q = arg;

	(void)source;
	(void)usec;
	next_server(q->lab->resolver);
	query_free(q);
	return 0;
}

/* Carry one question out; 0 or negative errno */
static int carry(struct lab *lab, const void *packet, size_t len, const struct sockaddr_in *from)
{
	struct resolver *res = lab->resolver;
	struct query *q;
	int r;

	if (res->n_queries >= MAX_QUERIES)
		return -EBUSY;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->lab = lab;
	q->from = *from;
	q->fd = ask_socket(lab, SOCK_DGRAM);
	if (q->fd < 0) {
		r = q->fd;
		free(q);
		return r;
	}
	TAILQ_INSERT_TAIL(&res->queries, q, entry);
	res->n_queries++;
	r = sd_event_add_io(lab->event, &q->io, q->fd, EPOLLIN, on_answer, q);
	if (r >= 0)
		r = sd_event_add_time_relative(lab->event, &q->timer, CLOCK_MONOTONIC,
					       QUERY_TIMEOUT, 0, on_silence, q);
	if (r >= 0 && send(q->fd, packet, len, 0) < 0)
		r = -errno;
	if (r < 0)
		query_free(q);
	return r < 0 ? r : 0;
}

static int on_question(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct lab *lab = arg;
	unsigned char packet[MAX_PACKET];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&from, &len);

	(void)source;
	(void)revents;
	if (n < 0 || carry(lab, packet, (size_t)n, &from) == 0)
		return 0;
	next_server(lab->resolver);
	n = (ssize_t)resolver_refuse(packet, (size_t)n);
	if (n)
		(void)sendto(fd, packet, (size_t)n, 0, (struct sockaddr *)&from, len);
	return 0;
}

static int listen_local(int type)
{
	const struct sockaddr_in addr = { .sin_family = AF_INET,
					  .sin_port = htons(RESOLVER_PORT),
					  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	autoclose int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 16) < 0))
		return -errno;
	return steal_fd(&fd);
}

int resolver_start(struct lab *lab, struct lab_err *err)
{
	struct resolver *res = get(lab);
	autoclose int stream = -EBADF;
	int r;

	if (!res)
		return lab_fail(err, -ENOMEM, "out of memory");
	res->fd = listen_local(SOCK_DGRAM);
	stream = listen_local(SOCK_STREAM);
	if (res->fd < 0 || stream < 0)
		r = res->fd < 0 ? res->fd : stream;
	else
		r = sd_event_add_io(lab->event, &res->source, res->fd, EPOLLIN, on_question, lab);
	if (r >= 0)
		r = forward_add_resolver(lab, FORWARD_ID, stream);
	if (r < 0) {
		resolver_stop(lab);
		return lab_fail_errno(err, r, "cannot serve names of the outside");
	}
	return 0;
}

void resolver_drop(struct lab *lab)
{
	struct resolver *res = lab->resolver;

	while (res && !TAILQ_EMPTY(&res->queries))
		query_free(TAILQ_FIRST(&res->queries));
}

void resolver_stop(struct lab *lab)
{
	struct resolver *res = lab->resolver;

	if (!res)
		return;
	(void)forward_del(lab, FORWARD_ID);
	resolver_drop(lab);
	res->source = sd_event_source_disable_unref(res->source);
	if (res->fd >= 0)
		close(steal_fd(&res->fd));
}

void resolver_free(struct lab *lab)
{
	resolver_stop(lab);
	free(lab->resolver);
	lab->resolver = NULL;
}
