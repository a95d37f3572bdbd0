// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * console.c - a guest's serial console: recorded, and shown to whoever connects
 *
 * DOC: Theory of Operation
 *
 * We are the one client of QEMU's socket. What comes is appended to the log and
 * sent to every reader; what readers type goes to QEMU.
 *
 * Connecting: while QEMU's socket is not there, inotify on its directory tells
 * when it comes. When it is there but does not answer (QEMU binds before it
 * listens; or it is dead and the file was left), we try again after RETRY_US, twice
 * as long each time, RETRY_MAX times: about 10 s. After that only a new file is
 * worth a wake-up. What the guest writes while nobody is connected is lost: QEMU
 * does not keep it.
 *
 * Recording: at @max bytes log becomes log.1, so both together are at most
 * twice that. If it cannot be written (disk full) bytes are counted as lost,
 * never kept back: the guest must not stand still because of its console.
 *
 * Readers: what a reader does not take at once, beyond the buffer of its socket,
 * is lost for it alone; when it reads again it is told how much. Nothing is
 * replayed when it connects: older output is in the log.
 *
 * Typing: bytes wait in one small buffer until QEMU takes them; while that is
 * full readers are not read. Without QEMU what is typed is dropped.
 */
#define _GNU_SOURCE
#include "netns/console.h"

#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define READ_CHUNK (32 << 10)
#define READER_BUFFER (256 << 10)
#define WINDOW_US 50000ULL
#define RETRY_US 10000ULL
#define RETRY_MAX 10

/**
 * struct reader - somebody who looks
 * @missed:	bytes it has lost since it last took any
 */
struct reader {
	TAILQ_ENTRY(reader) entry;
	struct console *console;
	int fd;
	sd_event_source *io;
	uint64_t missed;
};

static void try_connect(struct console *c);
static void want_io(struct console *c);

/* ------------------------------------------------------------ recording */

static int log_open(struct console *c)
{
	struct stat st;
	/* the directory may belong to the guest's uid: do not follow what it put there */
	autoclose int fd = open(
		c->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (c->log_fd >= 0)
		close(c->log_fd);
	c->log_fd = steal_fd(&fd);
	c->log_size = (uint64_t)st.st_size;
	return 0;
}

static void log_rotate(struct console *c)
{
	char old[IO_PATH];

	if (rename(c->log, io_path(old, "%s.1", c->log)) < 0 || log_open(c) < 0)
		c->log_size = 0; /* go on in the one that is open, and try again later */
}

static void record(struct console *c, const char *buf, size_t len)
{
	while (len) {
		uint64_t room = c->log_max > c->log_size ? c->log_max - c->log_size : 0;
		size_t part = MIN((uint64_t)len, room);
		int r;

		if (!part) {
			log_rotate(c);
			continue;
		}
		r = io_write_all(c->log_fd, buf, part);
		if (r < 0)
			c->lost += part;
		c->bytes += part;
		c->log_size += part;
		buf += part;
		len -= part;
	}
}

/* -------------------------------------------------------------- readers */

static void reader_free(struct reader *r)
{
	TAILQ_REMOVE(&r->console->readers, r, entry);
	r->console->n_readers--;
	sd_event_source_disable_unref(r->io);
	close(r->fd);
	free(r);
}

static void show(struct reader *r, const char *buf, size_t len)
{
	ssize_t n = 0;

	if (r->missed) {
		char note[64];
		int m = snprintf(note, sizeof(note), "\r\n[%llu bytes not shown]\r\n",
				 (unsigned long long)r->missed);

		if (send(r->fd, note, (size_t)m, MSG_NOSIGNAL | MSG_DONTWAIT) != m) {
			r->missed += len;
			return;
		}
		r->missed = 0;
	}
	n = send(r->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	/* an error is seen when the loop reads from it */
	r->missed += len - (size_t)MAX(n, 0);
}

static int on_typed(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct reader *r = arg;
	struct console *c = r->console;
	ssize_t n;

	(void)source;
	(void)revents;
	n = recv(fd, c->typed + c->typed_len, sizeof(c->typed) - c->typed_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		reader_free(r);
		return 0;
	}
	if (c->fd >= 0 && !c->connecting)
		c->typed_len += (size_t)n;
	want_io(c);
	return 0;
}

static int on_reader(sd_event_source *source, int listener, uint32_t revents, void *arg)
{
	const int room = READER_BUFFER;
	struct console *c = arg;
	struct reader *r;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)source;
	(void)revents;
	if (fd < 0)
		return 0;
	r = c->n_readers < CONSOLE_MAX_READERS ? calloc(1, sizeof(*r)) : NULL;
	if (!r) {
		close(fd);
		return 0;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	r->console = c;
	r->fd = fd;
	TAILQ_INSERT_TAIL(&c->readers, r, entry);
	c->n_readers++;
	if (sd_event_add_io(c->lab->event, &r->io, fd, EPOLLIN, on_typed, r) < 0)
		reader_free(r);
	else
		want_io(c);
	return 0;
}

/* ----------------------------------------------------------------- QEMU */

static void disconnect(struct console *c)
{
	c->io = sd_event_source_disable_unref(c->io);
	c->throttle = sd_event_source_disable_unref(c->throttle);
	if (c->fd >= 0)
		close(steal_fd(&c->fd));
	c->connecting = false;
	c->typed_len = 0;
	want_io(c);
}

/* Ask the loop for what can be done now */
static void want_io(struct console *c)
{
	const bool full = c->typed_len == sizeof(c->typed);
	struct reader *r;

	if (c->io)
		(void)sd_event_source_set_io_events(
			c->io, (c->throttle ? 0 : EPOLLIN) |
				       (c->typed_len || c->connecting ? (uint32_t)EPOLLOUT : 0));
	TAILQ_FOREACH(r, &c->readers, entry)
		(void)sd_event_source_set_enabled(r->io, full ? SD_EVENT_OFF : SD_EVENT_ON);
}

static int on_throttle_end(sd_event_source *source, uint64_t usec, void *arg)
{
	struct console *c = arg;

	(void)usec;
	c->throttle = sd_event_source_disable_unref(source);
	want_io(c);
	return 0;
}

/* Count @n bytes; beyond the rate cease to read until the window is over */
static void throttle(struct console *c, size_t n)
{
	const uint64_t limit = CONSOLE_RATE * WINDOW_US / 1000000;
	uint64_t now = num_now_us();

	if (now - c->window >= WINDOW_US) {
		c->window = now;
		c->window_bytes = 0;
	}
	c->window_bytes += n;
	if (c->window_bytes >= limit && !c->throttle)
		(void)sd_event_add_time(c->lab->event, &c->throttle, CLOCK_MONOTONIC,
					c->window + WINDOW_US, 1000, on_throttle_end, c);
}

/* Read a piece: bytes, 0 nothing now, negative at the end */
static ssize_t take(struct console *c)
{
	char buf[READ_CHUNK];
	struct reader *r;
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -ECONNRESET;
	record(c, buf, (size_t)n);
	TAILQ_FOREACH(r, &c->readers, entry)
		show(r, buf, (size_t)n);
	return n;
}

static int give_typed(struct console *c)
{
	ssize_t n = c->typed_len ? send(c->fd, c->typed, c->typed_len, MSG_NOSIGNAL | MSG_DONTWAIT)
				 : 0;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->typed_len -= (size_t)n;
	memmove(c->typed, c->typed + n, c->typed_len);
	return 0;
}

static int on_qemu(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct console *c = arg;
	ssize_t n = 0;

	(void)source;
	(void)fd;
	if (c->connecting) {
		c->connecting = false;
		c->tries = 0;
	}
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		n = take(c);
	if (n > 0)
		throttle(c, (size_t)n);
	if (n < 0 || give_typed(c) < 0) {
		disconnect(c);
		try_connect(c);
		return 0;
	}
	want_io(c);
	return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *arg)
{
	struct console *c = arg;

	(void)usec;
	c->retry = sd_event_source_disable_unref(source);
	try_connect(c);
	return 0;
}

static void retry_later(struct console *c)
{
	if (c->retry || c->tries >= RETRY_MAX)
		return;
	(void)sd_event_add_time_relative(c->lab->event, &c->retry, CLOCK_MONOTONIC,
					 RETRY_US << c->tries++, 0, on_retry, c);
}

/* Connect if QEMU is there; if not, something will call us again */
static void try_connect(struct console *c)
{
	int fd;

	if (c->fd >= 0)
		return;
	fd = io_connect_unix(c->path, SOCK_STREAM | SOCK_NONBLOCK);
	if (fd == -ENOENT || fd == -ENOTDIR) /* inotify tells */
		return;
	if (fd < 0) {
		retry_later(c);
		return;
	}
	c->fd = fd;
	c->connecting = true;
	if (sd_event_add_io(c->lab->event, &c->io, fd, EPOLLIN | EPOLLOUT, on_qemu, c) < 0) {
		disconnect(c);
		retry_later(c);
	}
}

static int on_directory(sd_event_source *source, const struct inotify_event *ev, void *arg)
{
	struct console *c = arg;
	const char *name = strrchr(c->path, '/') + 1;

	(void)source;
	if (ev->mask & IN_Q_OVERFLOW || (ev->len && !strcmp(ev->name, name))) {
		c->tries = 0;
		try_connect(c);
	}
	return 0;
}

/* -------------------------------------------------------------- the set */

static struct console *find(const struct lab *lab, const char *id)
{
	struct console *c;

	TAILQ_FOREACH(c, &lab->consoles, entry)
		if (!strcmp(c->id, id))
			return c;
	return NULL;
}

static void console_free(struct console *c)
{
	while (!TAILQ_EMPTY(&c->readers))
		reader_free(TAILQ_FIRST(&c->readers));
	disconnect(c);
	sd_event_source_disable_unref(c->retry);
	sd_event_source_disable_unref(c->watch);
	sd_event_source_disable_unref(c->accept);
	if (c->listener >= 0) {
		unlink(c->listen);
		close(c->listener);
	}
	if (c->log_fd >= 0)
		close(c->log_fd);
	TAILQ_REMOVE(&c->lab->consoles, c, entry);
	c->lab->n_consoles--;
	free(c->path);
	free(c->listen);
	free(c->log);
	free(c);
}

static int watch_directory(struct console *c, struct lab_err *err)
{
	autofree char *dir = strdup(c->path);
	int r;

	if (!dir)
		return lab_fail(err, -ENOMEM, "out of memory");
	*strrchr(dir, '/') = '\0';
	r = sd_event_add_inotify(c->lab->event, &c->watch, dir,
				 IN_CREATE | IN_MOVED_TO | IN_ONLYDIR, on_directory, c);
	return r < 0 ? lab_fail_errno(err, r, "console %s: cannot watch %s", c->id, dir) : 0;
}

static int serve_readers(struct console *c, struct lab_err *err)
{
	int r;

	c->listener = io_listen_unix(c->listen, SOCK_STREAM | SOCK_NONBLOCK, 0600);
	if (c->listener < 0)
		return lab_fail_errno(err, c->listener, "console %s: cannot serve %s", c->id,
				      c->listen);
	lab_note_file(c->lab, c->listen);
	r = sd_event_add_io(c->lab->event, &c->accept, c->listener, EPOLLIN, on_reader, c);
	if (r >= 0)
		r = sd_event_source_set_ratelimit(c->accept, LAB_ACCEPT_SPAN, LAB_ACCEPT_BURST);
	return r < 0 ? lab_fail_errno(err, r, "console %s", c->id) : 0;
}

static int start(struct console *c, struct lab_err *err)
{
	int r;

	if (!c->path || !c->listen || !c->log)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = log_open(c);
	if (r < 0)
		return lab_fail_errno(err, r, "console %s: cannot open %s", c->id, c->log);
	/* watch first: what appears between the two is seen by one of them */
	r = watch_directory(c, err);
	if (!r)
		r = serve_readers(c, err);
	if (!r)
		try_connect(c);
	return r;
}

int console_add(struct lab *lab, const char *id, const char *path, const char *listen,
		const char *log, uint64_t max, struct lab_err *err)
{
	struct console *c = find(lab, id);
	int r;

	if (!*id || strlen(id) >= sizeof(c->id))
		return lab_fail(err, -EINVAL, "bad name of a console");
	if (path[0] != '/' || listen[0] != '/' || log[0] != '/')
		return lab_fail(err, -EINVAL, "console %s: paths must be absolute", id);
	if (c && !strcmp(c->path, path) && !strcmp(c->listen, listen) && !strcmp(c->log, log)) {
		c->log_max = MAX(max, (uint64_t)CONSOLE_LOG_MIN);
		return 0;
	}
	if (c)
		return lab_fail(err, -EEXIST, "console %s is recorded to other files", id);
	if (lab->n_consoles >= LAB_MAX_CONSOLES)
		return lab_fail(err, -EDQUOT, "a lab has at most %d consoles", LAB_MAX_CONSOLES);
	c = calloc(1, sizeof(*c));
	if (!c)
		return lab_fail(err, -ENOMEM, "out of memory");
	c->lab = lab;
	snprintf(c->id, sizeof(c->id), "%s", id);
	c->fd = c->listener = c->log_fd = -EBADF;
	c->log_max = MAX(max, (uint64_t)CONSOLE_LOG_MIN);
	c->path = strdup(path);
	c->listen = strdup(listen);
	c->log = strdup(log);
	TAILQ_INIT(&c->readers);
	TAILQ_INSERT_TAIL(&lab->consoles, c, entry);
	lab->n_consoles++;
	r = start(c, err);
	if (r < 0)
		console_free(c);
	return r;
}

void console_del(struct lab *lab, const char *id)
{
	struct console *c = find(lab, id);
	/* the last words of a guest; a flood must not keep us here */
	size_t limit = 1 << 20;

	if (!c)
		return;
	while (c->fd >= 0 && limit) {
		ssize_t n = take(c);

		if (n <= 0)
			break;
		limit -= MIN((size_t)n, limit);
	}
	console_free(c);
}

void console_end_all(struct lab *lab)
{
	while (!TAILQ_EMPTY(&lab->consoles))
		console_del(lab, TAILQ_FIRST(&lab->consoles)->id);
}
