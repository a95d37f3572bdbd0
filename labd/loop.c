// SPDX-License-Identifier: GPL-2.0-or-later
/* loop.c - from worker threads to the event loop */
#define _GNU_SOURCE
#include "labd/loop.h"

#include "labd/labd.h"
#include "lib/util.h"

#include <sys/eventfd.h>

struct note {
	STAILQ_ENTRY(note) link;
	void (*fn)(struct labd *d, void *arg);
	void *arg;
};

struct loop {
	int wake;
	pthread_mutex_t lock;
	STAILQ_HEAD(, note) notes;
	sd_event_source *source;
};

static struct note *take(struct loop *l)
{
	SCOPED_LOCK(&l->lock);
	struct note *n = STAILQ_FIRST(&l->notes);

	if (n)
		STAILQ_REMOVE_HEAD(&l->notes, link);
	return n;
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct labd *d = arg;
	struct note *n;
	eventfd_t count;

	(void)source, (void)revents;
	(void)eventfd_read(fd, &count);
	while ((n = take(d->loop))) {
		n->fn(d, n->arg);
		free(n);
	}
	return 0;
}

int loop_open(struct labd *d, struct lab_err *err)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return lab_fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&l->lock, NULL);
	STAILQ_INIT(&l->notes);
	d->loop = l;
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake < 0)
		return lab_fail_errno(err, -errno, "eventfd");
	r = sd_event_add_io(d->event, &l->source, l->wake, EPOLLIN, on_wake, d);
	return r < 0 ? lab_fail_errno(err, r, "event loop") : 0;
}

void loop_close(struct labd *d)
{
	struct loop *l = d->loop;
	struct note *n;

	if (!l)
		return;
	while ((n = take(l)))
		free(n);
	sd_event_source_unref(l->source);
	if (l->wake >= 0)
		close(l->wake);
	free(l);
	d->loop = NULL;
}

void loop_post(struct labd *d, void (*fn)(struct labd *d, void *arg), void *arg)
{
	struct note *n = calloc(1, sizeof(*n));

	if (!n)
		abort();
	n->fn = fn;
	n->arg = arg;
	pthread_mutex_lock(&d->loop->lock);
	STAILQ_INSERT_TAIL(&d->loop->notes, n, link);
	pthread_mutex_unlock(&d->loop->lock);
	(void)eventfd_write(d->loop->wake, 1);
}
