// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ready_net.c - probes over the lab's network: tcp and http
 *
 * The keeper makes the socket, so no route into the lab is needed. What answers
 * is not trusted: a reply is read up to HTTP_MAX bytes and a deadline. HTTP/1.0
 * is asked for, as then the end of the reply is the end of the connection.
 */
#define _GNU_SOURCE
#include "labd/ready_impl.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECT_TIME 1000000 /* us; longer than a SYN and its answer in a busy guest */
#define HTTP_TIME 30000000 /* us; a service's first answer may load half of Python */
#define HTTP_MAX (256 << 10)

/* Connect to a port in the lab; *ret is a descriptor if the return is 1 */
static int connect_lab(struct ready_try *t, const char *addr, uint16_t port, int *ret)
{
	struct lab_err err = LAB_ERR_INIT;
	socklen_t len = sizeof(int);
	autoclose int sock = -EBADF;
	int r, error = 0;

	sock = keeper_connect_tcp(t->ready->keeper, addr, port, &err);
	if (sock < 0) {
		snprintf(t->last, sizeof(t->last), "%.280s", err.text);
		return 0;
	}
	r = ready_wait_fd(t, sock, POLLOUT, num_now_us() + CONNECT_TIME);
	if (r < 0)
		return r;
	if (r && getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (!r || error) {
		snprintf(t->last, sizeof(t->last), "connecting to %s port %u: %s", addr, port,
			 r ? strerror(error) : "no answer");
		return 0;
	}
	*ret = steal_fd(&sock);
	return 1;
}

/* The address to probe, or NULL with t->last set */
static const char *probe_addr(struct ready_try *t)
{
	if (*t->ready->addr)
		return t->ready->addr;
	snprintf(t->last, sizeof(t->last), "the instance has no address");
	return NULL;
}

int ready_try_tcp(struct ready_try *t, uint16_t port)
{
	const char *addr = probe_addr(t);
	autoclose int sock = -EBADF;

	return addr ? connect_lab(t, addr, port, &sock) : 0;
}

int ready_url_parse(const char *url, struct ready_url *ret)
{
	size_t host, digits;
	uint64_t port = 80;
	char text[8];

	if (strncmp(url, "http://", 7) != 0)
		return -EINVAL;
	url += 7;
	host = strcspn(url, ":/");
	if (host >= sizeof(ret->host))
		return -EINVAL;
	memcpy(ret->host, url, host);
	ret->host[host] = '\0';
	url += host;
	if (*url == ':') {
		digits = strcspn(++url, "/");
		if (digits >= sizeof(text))
			return -EINVAL;
		memcpy(text, url, digits);
		text[digits] = '\0';
		if (num_u64(text, 65535, &port) < 0 || !port)
			return -EINVAL;
		url += digits;
	}
	ret->port = (uint16_t)port;
	ret->path = *url ? url : "/";
	return 0;
}

/* Send the request; 1 if it was sent */
static int send_request(struct ready_try *t, int sock, const struct ready_url *url,
			const char *addr, uint64_t until)
{
	autofree char *text = NULL;
	size_t done = 0, len;
	int n = asprintf(&text,
			 "GET %s HTTP/1.0\r\nHost: %s:%u\r\nUser-Agent: labd\r\n"
			 "Accept: */*\r\nConnection: close\r\n\r\n",
			 url->path, *url->host ? url->host : addr, url->port);

	if (n < 0) {
		text = NULL;
		return -ENOMEM;
	}
	for (len = (size_t)n; done < len;) {
		ssize_t sent = send(sock, text + done, len - done, MSG_NOSIGNAL);
		int r;

		if (sent > 0) {
			done += (size_t)sent;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR) {
			snprintf(t->last, sizeof(t->last), "sending the request: %m");
			return 0;
		}
		r = ready_wait_fd(t, sock, POLLOUT, until);
		if (r <= 0) {
			snprintf(t->last, sizeof(t->last), "the request was not taken");
			return r;
		}
	}
	return 1;
}

/* Read the reply to its end or to HTTP_MAX; 1 if there is one */
static int read_reply(struct ready_try *t, int sock, uint64_t until, char *buf, size_t *ret_len)
{
	size_t len = 0;

	while (len < HTTP_MAX) {
		ssize_t n = recv(sock, buf + len, HTTP_MAX - len, 0);
		int r;

		if (n > 0) {
			len += (size_t)n;
			if (num_now_us() < until)
				continue;
		}
		if (n == 0)
			break;
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			snprintf(t->last, sizeof(t->last), "reading the reply: %m");
			return 0;
		}
		r = ready_wait_fd(t, sock, POLLIN, until);
		if (r < 0) /* the probe's own time may be shorter */
			snprintf(t->last, sizeof(t->last), "connected, but no whole reply");
		if (!r || num_now_us() >= until)
			snprintf(t->last, sizeof(t->last), "connected, but no whole reply in %d s",
				 HTTP_TIME / 1000000);
		if (r <= 0 || num_now_us() >= until)
			return r < 0 ? r : 0;
	}
	*ret_len = len;
	return 1;
}

/* Whether the reply is what the probe wants; @text is NUL-terminated */
static int judge(struct ready_try *t, char *text, size_t len)
{
	int want = (int)json_integer_value(json_object_get(t->probe, "status"));
	const char *part = json_string_value(json_object_get(t->probe, "body"));
	const char *body;
	int status = 0;

	if (sscanf(text, "HTTP/%*1[0-9].%*1[0-9] %3d", &status) != 1 || status < 100) {
		snprintf(t->last, sizeof(t->last), "what answers does not speak HTTP");
		return 0;
	}
	if (want ? status != want : status >= 400) {
		snprintf(t->last, sizeof(t->last), "%.*s", (int)MIN(strcspn(text, "\r\n"), 200U),
			 text);
		text_clean(t->last);
		return 0;
	}
	body = memmem(text, len, "\r\n\r\n", 4);
	if (part && *part &&
	    (!body || !memmem(body, len - (size_t)(body - text), part, strlen(part)))) {
		snprintf(t->last, sizeof(t->last), "status %d, but no '%.100s' in the body", status,
			 part);
		return 0;
	}
	return 1;
}

int ready_try_http(struct ready_try *t, const char *text)
{
	autofree char *buf = NULL;
	uint64_t until = num_now_us() + HTTP_TIME;
	const char *addr = probe_addr(t);
	autoclose int sock = -EBADF;
	struct in_addr literal;
	struct ready_url url;
	size_t len = 0;
	int r;

	if (ready_url_parse(text, &url) < 0) {
		snprintf(t->last, sizeof(t->last), "'%.200s' is not http://HOST:PORT/PATH", text);
		return 0;
	}
	/* another name than an address is a virtual host of the instance */
	if (inet_pton(AF_INET, url.host, &literal) == 1)
		addr = url.host;
	r = addr ? connect_lab(t, addr, url.port, &sock) : 0;
	if (r > 0)
		r = send_request(t, sock, &url, addr, until);
	if (r > 0 && !(buf = malloc(HTTP_MAX + 1)))
		r = -ENOMEM;
	if (r > 0)
		r = read_reply(t, sock, until, buf, &len);
	if (r <= 0)
		return r;
	buf[len] = '\0';
	return judge(t, buf, len);
}
