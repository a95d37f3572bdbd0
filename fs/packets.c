// SPDX-License-Identifier: GPL-2.0-or-later
/* packets.c - captures of nics that are open in the tree */
#define _GNU_SOURCE
#include "fs/packets.h"

#include "fs/action.h"
#include "lib/client.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/queue.h>

/**
 * struct packets - a capture
 * @users:	who have it open
 * @fd:		its file
 * @begun:	its first bytes have come, and who opened it first knows
 * @stop:	nobody has it open any more; it is in no list
 * @ended:	its thread does not need it any more
 */
struct packets {
	LIST_ENTRY(packets) link;
	struct node node;
	unsigned int users;
	int fd;
	uint64_t written, deadline;
	bool begun, ended;
	atomic_bool stop;
	char path[CLIENT_PATH];
	void (*opened)(void *arg, int result, const struct lab_err *err);
	void *arg;
};

static struct {
	const char *socket;
	pthread_mutex_t lock;
	LIST_HEAD(, packets) all;
} captures = { .lock = PTHREAD_MUTEX_INITIALIZER };

void packets_init(const char *socket)
{
	captures.socket = socket;
}

/* The lock is held */
static struct packets *find(const struct node *node)
{
	struct packets *p;

	LIST_FOREACH(p, &captures.all, link)
		if (p->node.id == node->id && p->node.sub == node->sub)
			return p;
	return NULL;
}

/* One user less; true if it is to be freed; the lock is held */
static bool leave(struct packets *p)
{
	if (--p->users)
		return false;
	p->stop = true;
	LIST_REMOVE(p, link);
	return p->ended;
}

static void packets_free(struct packets *p)
{
	close(p->fd);
	free(p);
}

static bool on_bytes(void *arg, const void *data, size_t len)
{
	struct packets *p = arg;

	if (io_write_all(p->fd, data, len) < 0)
		return false;
	p->written += len;
	if (!p->begun) {
		p->begun = true;
		p->opened(p->arg, 0, NULL);
	}
	return !p->stop && p->written < PACKETS_MAX;
}

static bool on_idle(void *arg)
{
	const struct packets *p = arg;

	return !p->stop && (p->begun || num_now_us() < p->deadline);
}

static void *run(void *arg)
{
	struct packets *p = arg;
	struct lab_err err = LAB_ERR_INIT;
	struct client *client = client_new(captures.socket, 0);
	int r = client ? client_stream(client, "GET", p->path, NULL, on_bytes, on_idle, p, &err)
		       : lab_fail_errno(&err, -ENOMEM, "asking labd");
	bool failed = !p->begun, last;
	void (*opened)(void *arg, int result, const struct lab_err *err) = p->opened;
	void *opener = p->arg;

	client_free(client);
	if (failed && !r)
		r = lab_fail(&err, -ETIMEDOUT, "labd does not answer (is it stopped?)");
	pthread_mutex_lock(&captures.lock);
	last = !p->users;
	p->ended = true;
	if (failed)
		last = leave(p);
	pthread_mutex_unlock(&captures.lock);
	if (last)
		packets_free(p);
	if (failed)
		opened(opener, r, &err);
	return NULL;
}

static int open_spool(void)
{
	const char *tmp = getenv("TMPDIR");
	int fd = open(tmp && *tmp ? tmp : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

static int start(struct packets *p)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, run, p);
	pthread_attr_destroy(&attr);
	return -r;
}

/* Join the one that there is: true; or put @fresh into the list */
static bool join(const struct node *node, struct packets *fresh)
{
	SCOPED_LOCK(&captures.lock);
	struct packets *p = find(node);

	if (p)
		p->users++;
	else if (fresh)
		LIST_INSERT_HEAD(&captures.all, fresh, link);
	return p;
}

void packets_open(const struct node *node, const char *path,
		  void (*opened)(void *arg, int result, const struct lab_err *err), void *arg)
{
	struct lab_err err = LAB_ERR_INIT;
	struct packets *p;
	int r;

	/* only the loop opens: nobody else comes in between */
	if (join(node, NULL)) {
		opened(arg, 0, NULL);
		return;
	}
	p = calloc(1, sizeof(*p));
	r = p ? open_spool() : -ENOMEM;
	if (r < 0) {
		free(p);
		lab_fail_errno(&err, r, "a file for the capture");
		opened(arg, r, &err);
		return;
	}
	*p = (struct packets){ .node = *node,
			       .users = 1,
			       .fd = r,
			       .deadline = num_now_us() + ACTION_MS * 1000ULL,
			       .opened = opened,
			       .arg = arg };
	snprintf(p->path, sizeof(p->path), "%s", path);
	(void)join(node, p);
	r = start(p);
	if (r < 0) {
		pthread_mutex_lock(&captures.lock);
		p->ended = true;
		(void)leave(p);
		pthread_mutex_unlock(&captures.lock);
		packets_free(p);
		lab_fail_errno(&err, r, "a thread for the capture");
		opened(arg, r, &err);
	}
}

void packets_close(const struct node *node)
{
	struct packets *p;
	bool last;

	pthread_mutex_lock(&captures.lock);
	p = find(node);
	last = p && leave(p);
	pthread_mutex_unlock(&captures.lock);
	if (last)
		packets_free(p);
}

int packets_path(const struct node *node, char path[IO_PATH])
{
	SCOPED_LOCK(&captures.lock);
	const struct packets *p = find(node);

	if (!p)
		return -ENOENT;
	io_path(path, "/proc/self/fd/%d", p->fd);
	return 0;
}
