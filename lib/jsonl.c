// SPDX-License-Identifier: GPL-2.0-or-later
/* jsonl.c - JSON messages, one a line, from a peer that may be hostile */
#define _GNU_SOURCE
#include "lib/jsonl.h"

#include "lib/num.h"
#include "lib/util.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

void jsonl_init(struct jsonl *jl, int fd, size_t max)
{
	*jl = (struct jsonl){ .fd = fd, .max = max };
}

void jsonl_done(struct jsonl *jl)
{
	free(jl->buf);
	*jl = (struct jsonl){ .fd = -EBADF };
}

/* Whether brackets outside strings nest deeper than the limit */
static bool too_deep(const char *text, size_t len)
{
	bool string = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				string = false;
		} else if (c == '"') {
			string = true;
		} else if (c == '[' || c == '{') {
			if (++depth > JSONL_MAX_DEPTH)
				return true;
		} else if (c == ']' || c == '}') {
			depth--;
		}
	}
	return false;
}

int jsonl_parse(const char *text, size_t len, json_t **ret)
{
	json_t *msg;

	if (too_deep(text, len))
		return -EPROTO;
	msg = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (!msg)
		return -EPROTO;
	*ret = msg;
	return 0;
}

/* Wait until @fd is ready for @events; 0 or -ETIMEDOUT, -EAGAIN, errno */
static int wait_fd(int fd, short events, uint64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = num_now_us();
		int ms = -1, r;

		if (!deadline)
			ms = 0;
		else if (deadline != UINT64_MAX)
			ms = deadline <= now
				     ? 0
				     : (int)MIN((deadline - now + 999) / 1000, (uint64_t)INT32_MAX);
		r = poll(&p, 1, ms);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (!deadline)
			return -EAGAIN;
		if (deadline != UINT64_MAX && num_now_us() >= deadline)
			return -ETIMEDOUT;
	}
}

/* Read more bytes: 1 got some, 0 end of stream */
static int fill(struct jsonl *jl, uint64_t deadline)
{
	ssize_t n;
	int r;

	if (jl->len > jl->max)
		return -EMSGSIZE;
	if (jl->room - jl->len < 4096) {
		size_t room = jl->room ? jl->room * 2 : 8192;
		char *more = realloc(jl->buf, room);

		if (!more)
			return -ENOMEM;
		jl->buf = more;
		jl->room = room;
	}
	r = wait_fd(jl->fd, POLLIN, deadline);
	if (r < 0)
		return r;
	n = RETRY(read(jl->fd, jl->buf + jl->len, jl->room - jl->len));
	if (n < 0)
		return errno == EAGAIN ? 1 : -errno;
	jl->len += (size_t)n;
	return n > 0;
}

int jsonl_next(struct jsonl *jl, uint64_t deadline, json_t **ret)
{
	for (;;) {
		char *nl = jl->len > jl->scanned
				   ? memchr(jl->buf + jl->scanned, '\n', jl->len - jl->scanned)
				   : NULL;
		size_t line;
		int r;

		if (!nl) {
			jl->scanned = jl->len;
			r = fill(jl, deadline);
			if (r <= 0)
				return r;
			continue;
		}
		line = (size_t)(nl - jl->buf);
		if (line > jl->max)
			return -EMSGSIZE;
		/* The guest agent starts its replies with 0xff after a sync */
		r = line && strspn(jl->buf, " \t\r\xff") >= line
			    ? -EAGAIN
			    : jsonl_parse(jl->buf + strspn(jl->buf, "\xff"),
					  line - strspn(jl->buf, "\xff"), ret);
		if (!line)
			r = -EAGAIN; /* empty lines are allowed, and skipped */
		jl->len -= line + 1;
		memmove(jl->buf, nl + 1, jl->len);
		jl->scanned = 0;
		if (r != -EAGAIN)
			return r < 0 ? r : 1;
	}
}

int jsonl_write(int fd, const json_t *msg, uint64_t deadline)
{
	autofree char *text = json_dumps(msg, JSON_COMPACT | JSON_ENCODE_ANY);
	size_t len, done = 0;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	text[len++] = '\n';
	while (done < len) {
		ssize_t n = RETRY(send(fd, text + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT));
		int r;

		if (n < 0 && errno == ENOTSOCK)
			n = RETRY(write(fd, text + done, len - done));
		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno != EAGAIN)
			return -errno;
		r = wait_fd(fd, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
	return 0;
}
