// SPDX-License-Identifier: GPL-2.0-or-later
/* live.c - files of the tree that labd fills while they are open: captures, logs of services */
#define _GNU_SOURCE
#include "fs/live.h"

#include "fs/action.h"
#include "lib/base64.h"
#include "lib/client.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#define MARK_LEN 32

/** struct waiter - one who opens it and waits until it has begun */
struct waiter {
	SLIST_ENTRY(waiter) link;
	void (*opened)(void *arg, struct live *l, int result, const struct lab_err *err);
	void *arg;
};

SLIST_HEAD(waiters, waiter);

/**
 * struct live - a stream, and the file it is written to
 * @users:	who have it open, or wait for it
 * @waiters:	the latter
 * @fd:		its file
 * @mark:	what is behind all that was there at the start; "" for a capture
 * @refused:	what labd said of a program that it could not run, or why nothing can be written
 * @begun:	who waited for it has it
 * @ended:	nothing comes any more, and its thread does not need it
 * @stop:	nobody has it open any more; it is in no list
 */
struct live {
	LIST_ENTRY(live) link;
	struct node node;
	unsigned int users;
	struct waiters waiters;
	int fd;
	uint64_t written, deadline;
	char mark[MARK_LEN + 1];
	struct lab_err refused;
	bool begun, ended;
	atomic_bool stop;
	char path[CLIENT_PATH + sizeof("&mark=") + MARK_LEN];
};

static struct {
	const char *socket;
	pthread_mutex_t lock;
	LIST_HEAD(, live) all; /* newest first */
} lives = { .lock = PTHREAD_MUTEX_INITIALIZER };

void live_init(const char *socket)
{
	lives.socket = socket;
}

/* The lock is held */
static struct live *find(const struct node *node)
{
	struct live *l;

	LIST_FOREACH(l, &lives.all, link)
		if (l->node.class == node->class && l->node.id == node->id &&
		    l->node.sub == node->sub)
			return l;
	return NULL;
}

static void live_free(struct live *l)
{
	close(l->fd);
	free(l);
}

static void tell(struct live *l, struct waiters *waiters, int result, const struct lab_err *err)
{
	struct waiter *w;

	while ((w = SLIST_FIRST(waiters))) {
		SLIST_REMOVE_HEAD(waiters, link);
		w->opened(w->arg, l, result, err);
		free(w);
	}
}

/* It can be read: those who wait have it, and whoever comes has it at once */
static void begin(struct live *l)
{
	struct waiters waiters;

	pthread_mutex_lock(&lives.lock);
	l->begun = true;
	waiters = l->waiters;
	SLIST_INIT(&l->waiters);
	pthread_mutex_unlock(&lives.lock);
	tell(l, &waiters, 0, NULL);
}

/* ---- what comes --------------------------------------------------------------------- */

/* Take the mark out if it is in what has come; @len bytes are new */
static int take_mark(struct live *l, size_t len, bool *ret_found)
{
	size_t room = len + MARK_LEN, n = (size_t)MIN(l->written, (uint64_t)room);
	off_t from = (off_t)(l->written - n);
	autofree char *text = malloc(room);
	char *mark;

	if (!text || RETRY(pread(l->fd, text, n, from)) != (ssize_t)n)
		return text ? -EIO : -ENOMEM;
	mark = memmem(text, n, l->mark, MARK_LEN);
	*ret_found = mark;
	if (!mark)
		return 0;
	from += mark - text;
	n -= (size_t)(mark - text) + MARK_LEN;
	l->written = (uint64_t)from + n;
	if (ftruncate(l->fd, from) < 0 || lseek(l->fd, from, SEEK_SET) < 0)
		return -errno;
	return io_write_all(l->fd, mark + MARK_LEN, n);
}

static bool on_bytes(void *arg, const void *data, size_t len)
{
	struct live *l = arg;
	bool begins = !*l->mark;
	int r = io_write_all(l->fd, data, len);

	l->written += r < 0 ? 0 : len;
	if (!r && !l->begun && *l->mark)
		r = take_mark(l, len, &begins);
	if (r < 0) {
		lab_fail_errno(&l->refused, r, "a file for what comes");
		return false;
	}
	if (!l->begun && begins)
		begin(l);
	return !l->stop && l->written < LIVE_MAX;
}

/* One of the lines about a program; what it has to complain about is for nobody */
static bool on_line(void *arg, json_t *line)
{
	struct live *l = arg;
	const char *text = json_string_value(json_object_get(line, "stdout")), *name, *words;
	autofree unsigned char *bytes = NULL;
	size_t len = 0;

	if (!json_unpack(line, "{s:{s:s, s:s}}", "error", "errno", &name, "message", &words))
		lab_fail(&l->refused, lab_errno_value(name), "%s", words);
	if (!text)
		return !l->stop;
	return !base64_bytes(text, &bytes, &len) && on_bytes(l, bytes, len);
}

static bool on_idle(void *arg)
{
	const struct live *l = arg;

	return !l->stop && (l->begun || num_now_us() < l->deadline);
}

static int stream(struct live *l, struct lab_err *err)
{
	struct client *client = client_new(lives.socket, 0);
	int r;

	if (!client)
		return lab_fail_errno(err, -ENOMEM, "asking labd");
	r = *l->mark ? client_lines(client, "GET", l->path, NULL, on_line, on_idle, l, err)
		     : client_stream(client, "GET", l->path, NULL, on_bytes, on_idle, l, err);
	client_free(client);
	if (!r && l->refused.code) {
		*err = l->refused;
		r = err->code;
	}
	return r;
}

static int why_not(const struct live *l, struct lab_err *err)
{
	if (num_now_us() < l->deadline)
		return lab_fail(err, -EIO, "it ended before all of it was there");
	return lab_fail(err, -ETIMEDOUT,
			*l->mark ? "the guest has not given it within %d s"
				 : "labd has not answered within %d s",
			ACTION_MS / 1000);
}

static void *run(void *arg)
{
	struct live *l = arg;
	struct lab_err err = LAB_ERR_INIT;
	struct waiters waiters;
	int r = stream(l, &err);
	bool failed = !l->begun, last;

	if (failed && !r)
		r = why_not(l, &err);
	pthread_mutex_lock(&lives.lock);
	waiters = l->waiters;
	SLIST_INIT(&l->waiters);
	l->ended = true;
	last = failed || !l->users;
	if (failed && !l->stop)
		LIST_REMOVE(l, link);
	pthread_mutex_unlock(&lives.lock);
	tell(NULL, &waiters, r, &err);
	if (last)
		live_free(l);
	return NULL;
}

/* ---- opening ------------------------------------------------------------------------ */

static int open_spool(void)
{
	const char *tmp = getenv("TMPDIR");
	int fd = open(tmp && *tmp ? tmp : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

static int start(struct live *l)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, run, l);
	pthread_attr_destroy(&attr);
	return -r;
}

static int make_mark(struct live *l)
{
	unsigned char random[MARK_LEN / 2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(l->mark + 2 * i, 3, "%02x", random[i]);
	return 0;
}

/* A stream with its thread, which has one who waits for it; it is in the list */
static int make(const struct node *node, const char *path, bool output, struct waiter *w)
{
	struct live *l = calloc(1, sizeof(*l));
	int r = l ? open_spool() : -ENOMEM;

	if (r < 0) {
		free(l);
		return r;
	}
	l->fd = r;
	l->node = *node;
	l->users = 1;
	l->deadline = num_now_us() + ACTION_MS * 1000ULL;
	SLIST_INSERT_HEAD(&l->waiters, w, link);
	r = output ? make_mark(l) : 0;
	snprintf(l->path, sizeof(l->path), "%s%s%s", path, output ? "&mark=" : "", l->mark);
	/* only the loop opens: nobody else comes in between */
	pthread_mutex_lock(&lives.lock);
	LIST_INSERT_HEAD(&lives.all, l, link);
	pthread_mutex_unlock(&lives.lock);
	if (!r)
		r = start(l);
	if (r < 0) {
		pthread_mutex_lock(&lives.lock);
		LIST_REMOVE(l, link);
		pthread_mutex_unlock(&lives.lock);
		live_free(l);
	}
	return r;
}

/* Join the one that there is: true, and *ret_begun if @w need not wait */
static bool join(const struct node *node, struct waiter *w, struct live **ret_begun)
{
	SCOPED_LOCK(&lives.lock);
	struct live *l = find(node);

	if (!l || l->ended)
		return false;
	l->users++;
	if (l->begun)
		*ret_begun = l;
	else
		SLIST_INSERT_HEAD(&l->waiters, w, link);
	return true;
}

void live_open(const struct node *node, const char *path, bool output,
	       void (*opened)(void *arg, struct live *l, int result, const struct lab_err *err),
	       void *arg)
{
	struct waiter *w = calloc(1, sizeof(*w));
	struct lab_err err = LAB_ERR_INIT;
	struct live *begun = NULL;
	int r = w ? 0 : -ENOMEM;

	if (w) {
		*w = (struct waiter){ .opened = opened, .arg = arg };
		if (!join(node, w, &begun))
			r = make(node, path, output, w);
	}
	if (!r && !begun)
		return;
	free(w);
	if (r < 0)
		lab_fail_errno(&err, r, "a file for what comes");
	opened(arg, begun, r, &err);
}

/* One less, with the lock held; true: the caller frees it, else its thread does */
static bool leave_locked(struct live *l)
{
	if (--l->users)
		return false;
	l->stop = true;
	LIST_REMOVE(l, link);
	return l->ended;
}

void live_close(struct live *l)
{
	bool last;

	if (!l)
		return;
	pthread_mutex_lock(&lives.lock);
	last = leave_locked(l);
	pthread_mutex_unlock(&lives.lock);
	if (last)
		live_free(l);
}

/* The lock is held */
static struct waiter *find_waiter(const void *arg, struct live **ret)
{
	struct waiter *w;
	struct live *l;

	LIST_FOREACH(l, &lives.all, link)
		SLIST_FOREACH(w, &l->waiters, link)
			if (w->arg == arg) {
				*ret = l;
				return w;
			}
	return NULL;
}

bool live_cancel(const void *arg)
{
	SCOPED_LOCK(&lives.lock);
	struct live *l;
	struct waiter *w = find_waiter(arg, &l);

	if (!w)
		return false;
	SLIST_REMOVE(&l->waiters, w, waiter, link);
	free(w);
	(void)leave_locked(l); /* it has not ended while somebody waits for it */
	return true;
}

int live_file(const struct live *l)
{
	char path[IO_PATH];
	int fd;

	io_path(path, "/proc/self/fd/%d", l->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int live_stat(const struct node *node, struct stat *ret)
{
	SCOPED_LOCK(&lives.lock);
	const struct live *l = find(node);

	if (!l)
		return -ENOENT;
	return fstat(l->fd, ret) < 0 ? -errno : 0;
}
