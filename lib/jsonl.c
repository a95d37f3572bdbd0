// SPDX-License-Identifier: GPL-2.0-or-later
/* jsonl.c - JSON messages, one a line, from a peer that may be hostile */
#define _GNU_SOURCE
#include "lib/jsonl.h"

#include "lib/num.h"
#include "lib/util.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* A connection that has had one long reply does not keep its memory for ever */
#define KEEP_ROOM (64 << 10)

void jsonl_init(struct jsonl *jl, int fd, size_t max)
{
	*jl = (struct jsonl){ .fd = fd, .max = max, .max_values = max / 8 };
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
	msg = json_loadb(text, len, JSON_DECODE_ANY, NULL);
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

/* Whether there are more values than the limit: before each but the first is ',' or ':' */
static bool too_many(const char *text, size_t len, size_t limit)
{
	bool string = false;
	size_t values = 1;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (string && c == '\\')
			i++;
		else if (c == '"')
			string = !string;
		else if (!string && (c == ',' || c == ':') && ++values > limit)
			return true;
	}
	return false;
}

/* Make room for more bytes behind those that wait */
static int make_room(struct jsonl *jl)
{
	size_t room = jl->room ? jl->room * 2 : 8192;
	char *more;

	if (jl->start) {
		jl->len -= jl->start;
		jl->scanned -= jl->start;
		memmove(jl->buf, jl->buf + jl->start, jl->len);
		jl->start = 0;
	}
	if (jl->room - jl->len >= 4096)
		return 0;
	more = realloc(jl->buf, room);
	if (!more)
		return -ENOMEM;
	jl->buf = more;
	jl->room = room;
	return 0;
}

/* Read more bytes: 1 got some, 0 end of stream */
static int fill(struct jsonl *jl, uint64_t deadline)
{
	ssize_t n;
	int r;

	if (jl->len - jl->start > jl->max)
		return -EMSGSIZE;
	r = make_room(jl);
	if (r < 0)
		return r;
	r = wait_fd(jl->fd, POLLIN, deadline);
	if (r < 0)
		return r;
	n = RETRY(read(jl->fd, jl->buf + jl->len, jl->room - jl->len));
	if (n < 0)
		return errno == EAGAIN ? 1 : -errno;
	jl->len += (size_t)n;
	return n > 0;
}

/* Take the line up to @nl; 1 with a message, 0 if it is blank */
static int take_line(struct jsonl *jl, const char *nl, json_t **ret)
{
	const char *line = jl->buf + jl->start;
	size_t len = (size_t)(nl - line);
	int r;

	jl->start = jl->scanned = (size_t)(nl + 1 - jl->buf);
	if (len > jl->max)
		return -EMSGSIZE;
	/* The guest agent starts its reply to a sync with 0xff */
	while (len && strchr(" \t\r\xff", *line) && *line) {
		line++;
		len--;
	}
	if (!len)
		return 0;
	if (too_many(line, len, jl->max_values))
		return -EPROTO;
	r = jsonl_parse(line, len, ret);
	if (jl->start == jl->len && jl->room > KEEP_ROOM) {
		free(jl->buf);
		jl->buf = NULL;
		jl->start = jl->len = jl->scanned = jl->room = 0;
	}
	return r < 0 ? r : 1;
}

int jsonl_next(struct jsonl *jl, uint64_t deadline, json_t **ret)
{
	bool late = false;

	for (;;) {
		const char *nl = jl->len > jl->scanned ? memchr(jl->buf + jl->scanned, '\n',
								jl->len - jl->scanned)
						       : NULL;
		int r;

		if (nl) {
			r = take_line(jl, nl, ret);
			if (r)
				return r;
			continue;
		}
		jl->scanned = jl->len;
		if (late)
			return deadline ? -ETIMEDOUT : -EAGAIN;
		r = fill(jl, deadline);
		if (r <= 0)
			return r;
		/* what has come by now is still looked at, but no more */
		late = !deadline || num_now_us() >= deadline;
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
