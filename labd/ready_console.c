// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ready_console.c - the probe that waits for a line on the console
 *
 * The keeper records the console into a file; inotify tells when it has grown, or
 * was renamed because it had become too large. Then the old file is read to its
 * end before the new one is begun. A line without its end counts too: a login
 * prompt has none.
 */
#define _GNU_SOURCE
#include "labd/ready_impl.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define MAX_LINE 1024 /* of a line, what is looked at */

/**
 * struct console - the recorded console while it grows
 * @path:	the file
 * @fd:		open file, -EBADF if there is none yet
 * @at:		read up to here
 * @line, @len:	the line that has begun
 */
struct console {
	const char *path;
	int fd;
	off_t at;
	char line[MAX_LINE + 1];
	size_t len;
};

/* Whether the line so far matches, without what a terminal would not show */
static bool line_matches(const struct console *c, const regex_t *regex)
{
	char line[MAX_LINE + 1];

	memcpy(line, c->line, c->len);
	line[c->len] = '\0';
	return c->len && !regexec(regex, text_clean(line), 0, NULL, 0);
}

/* Take in what was read; true if a line matched */
static bool take(struct console *c, const regex_t *regex, const char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (buf[i] == '\n') {
			if (line_matches(c, regex))
				return true;
			c->len = 0;
		} else if (c->len < MAX_LINE) {
			c->line[c->len] = ' ';
			if (buf[i])
				c->line[c->len] = buf[i];
			c->len++;
		}
	}
	return line_matches(c, regex);
}

/* Read what the open file has beyond c->at: 1 on a match, 0 at its end */
static int read_more(struct console *c, const regex_t *regex)
{
	char buf[8192];

	while (c->fd >= 0) {
		ssize_t n = RETRY(pread(c->fd, buf, sizeof(buf), c->at));

		if (n <= 0)
			return n ? -errno : 0;
		c->at += n;
		if (take(c, regex, buf, (size_t)n))
			return 1;
	}
	return 0;
}

/* Open the file that has the name now, if it is another one; true if so */
static bool open_current(struct console *c)
{
	autoclose int fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat new, old;

	if (fd < 0 || fstat(fd, &new) < 0)
		return false;
	if (c->fd >= 0 && fstat(c->fd, &old) == 0 && old.st_ino == new.st_ino &&
	    old.st_dev == new.st_dev)
		return false;
	if (c->fd >= 0) { /* renamed away: the new file is all ours */
		close(c->fd);
		c->at = 0;
	} else if (c->at > new.st_size) {
		c->at = 0;
	}
	c->fd = steal_fd(&fd);
	return true;
}

/* Read all there is, over a change of files */
static int read_all(struct console *c, const regex_t *regex)
{
	int r;

	do {
		r = read_more(c, regex);
		if (r)
			return r;
	} while (open_current(c));
	return 0;
}

static int watch(const char *path)
{
	autoclose int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	const char *slash = strrchr(path, '/');
	char dir[IO_PATH];

	if (inotify < 0)
		return -errno;
	io_path(dir, "%.*s", slash ? (int)MAX(slash - path, 1) : 1, slash ? path : ".");
	if (inotify_add_watch(inotify, dir, IN_CREATE | IN_MOVED_TO | IN_MODIFY) < 0)
		return -errno;
	return steal_fd(&inotify);
}

static int follow(struct ready_try *t, struct console *c, const regex_t *regex)
{
	autoclose int inotify = watch(c->path);
	char buf[4096];

	for (;;) {
		int r = read_all(c, regex);

		if (r < 0) {
			snprintf(t->last, sizeof(t->last), "%.200s: %s", c->path, strerror(-r));
			return r;
		}
		if (r)
			return 1;
		snprintf(t->last, sizeof(t->last), "%s",
			 c->fd < 0 ? "the console has not been recorded yet"
				   : "no line of the console matched");
		/* without inotify (out of watches) it is looked at from time to time */
		r = ready_wait_fd(t, inotify < 0 ? -1 : inotify, POLLIN, num_now_us() + 500000);
		if (r < 0)
			return r;
		while (inotify >= 0 && read(inotify, buf, sizeof(buf)) > 0)
			;
	}
}

int ready_wait_console(struct ready_try *t, const char *text)
{
	struct console c = {
		.path = t->ready->console_log,
		.fd = -EBADF,
		.at = t->ready->console_from,
	};
	regex_t regex;
	int r = regcomp(&regex, text, REG_EXTENDED | REG_NOSUB);

	if (r) {
		regerror(r, &regex, t->last, sizeof(t->last));
		return -EINVAL;
	}
	r = follow(t, &c, &regex);
	if (c.fd >= 0)
		close(c.fd);
	regfree(&regex);
	return r;
}
