// SPDX-License-Identifier: GPL-2.0-or-later
/* notify.c - tell the kernel, and those who poll, what changed */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 35
#include "fs/notify.h"

#include "fs/guest_child.h"
#include "fs/node.h"
#include "lib/util.h"

#include <assert.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#define NOTIFY_STACK (128 << 10)

/* To be told: a poll handle, or a name that is gone from a directory */
struct note {
	struct note *next;
	struct fuse_pollhandle *ph;
	uint64_t parent, child; /* no child: the name is there, but what it was is old */
	char name[];
};

/* An open file that somebody polls */
struct waiter {
	struct waiter *next;
	const void *handle;
	uint64_t number;
	int watch; /* of inotify, or -1 */
	struct fuse_pollhandle *ph;
};

static struct {
	pthread_mutex_t lock;
	struct fuse_session *session;
	struct note *first, **last;
	struct waiter *waiters;
	int wake, inotify;
} notify = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = -1, .inotify = -1 };

static void queue_locked(struct note *note)
{
	note->next = NULL;
	*notify.last = note;
	notify.last = &note->next;
	eventfd_write(notify.wake, 1);
}

/* Hand a waiter's poll handle over to the thread; the waiter is freed */
static void wake_locked(struct waiter **at)
{
	struct waiter *w = *at;
	struct note *note = calloc(1, sizeof(*note) + 1);

	*at = w->next;
	if (note) {
		note->ph = w->ph;
		queue_locked(note);
	} else {
		fuse_pollhandle_destroy(w->ph);
	}
	free(w);
}

static void wake_all(bool (*concerned)(const struct waiter *w, const void *arg), const void *arg)
{
	SCOPED_LOCK(&notify.lock);

	for (struct waiter **at = &notify.waiters; *at;) {
		if (concerned(*at, arg))
			wake_locked(at);
		else
			at = &(*at)->next;
	}
}

/* Whether a polled file shows a value that is another now */
static bool value_changed(const struct waiter *w, const void *arg)
{
	const struct change *c = arg;
	const struct item *item = c->now.kind ? &c->now : &c->was;
	struct node node;
	const char *key;

	if (!node_parse(w->number, &node) || classes[node.class]->kind != item->kind ||
	    node.id != item->id)
		return false;
	key = node.attr ? classes[node.class]->entries[node.attr - 1].key : NULL;
	if (!c->was.kind || !c->now.kind || !key || node.sub)
		return true;
	return !json_equal(json_object_get(c->was.json, key), json_object_get(c->now.json, key));
}

static bool is_events(const struct waiter *w, const void *arg)
{
	struct node node;

	(void)arg;
	return node_parse(w->number, &node) && node.class == CLASS_ROOT;
}

static bool has_watch(const struct waiter *w, const void *arg)
{
	return w->watch == *(const int *)arg;
}

void notify_stale(uint64_t parent, const char *name)
{
	notify_gone(parent, 0, name);
}

void notify_gone(uint64_t parent, uint64_t child, const char *name)
{
	struct note *note = calloc(1, sizeof(*note) + strlen(name) + 1);

	if (!note)
		return; /* the kernel finds out when the entry's time is over */
	note->parent = parent;
	note->child = child;
	memcpy(note->name, name, strlen(name) + 1);
	SCOPED_LOCK(&notify.lock);
	if (notify.session)
		queue_locked(note);
	else
		free(note);
}

static const struct {
	enum class_id class, up;
} places[] = {
	[KIND_NONE] = { CLASS_ROOT, CLASS_ROOT },
	[KIND_IMAGE] = { CLASS_IMAGE, CLASS_IMAGES },
	[KIND_LAB] = { CLASS_LAB, CLASS_LABS },
	[KIND_INSTANCE] = { CLASS_INSTANCE, CLASS_INSTANCES },
	[KIND_NETWORK] = { CLASS_NETWORK, CLASS_NETWORKS },
	[KIND_SNAPSHOT] = { CLASS_SNAPSHOT, CLASS_SNAPSHOTS },
};
static_assert(ARRAY_SIZE(places) == KIND_COUNT, "a row for each kind");

/* Where the same objects are below /inspect */
static void inspect_change(const struct item *was)
{
	static const enum class_id up[] = {
		[KIND_IMAGE] = CLASS_INSPECT_IMAGES,
		[KIND_LAB] = CLASS_INSPECT_LABS,
		[KIND_INSTANCE] = CLASS_INSPECT_INSTANCES,
		[KIND_SNAPSHOT] = CLASS_INSPECT_SNAPSHOTS,
	};
	struct node node = { .class = was->kind < ARRAY_SIZE(up) ? up[was->kind] : CLASS_ROOT,
			     .id = was->lab };

	if (node.class != CLASS_ROOT)
		notify_stale(node_number(&node), was->name);
}

void notify_change(const struct change *change)
{
	const struct item *was = &change->was;

	if (was->kind && (!change->now.kind || strcmp(was->name, change->now.name))) {
		struct node up = { .class = places[was->kind].up, .id = was->lab };
		struct node node = { .class = places[was->kind].class, .id = was->id };

		notify_gone(node_number(&up), node_number(&node), was->name);
		inspect_change(was);
	}
	guest_child_wake();
	wake_all(value_changed, change);
}

void notify_events(void)
{
	wake_all(is_events, NULL);
}

void notify_poll(const void *handle, uint64_t number, const char *path, struct fuse_pollhandle *ph)
{
	struct waiter *w = calloc(1, sizeof(*w));

	notify_forget(handle);
	if (!w) {
		fuse_pollhandle_destroy(ph);
		return;
	}
	*w = (struct waiter){ .handle = handle, .number = number, .watch = -1, .ph = ph };
	if (path)
		w->watch = inotify_add_watch(notify.inotify, path,
					     IN_MODIFY | IN_MOVE_SELF | IN_ONESHOT);
	SCOPED_LOCK(&notify.lock);
	w->next = notify.waiters;
	notify.waiters = w;
}

void notify_forget(const void *handle)
{
	SCOPED_LOCK(&notify.lock);

	for (struct waiter **at = &notify.waiters; *at; at = &(*at)->next) {
		struct waiter *w = *at;

		if (w->handle != handle)
			continue;
		*at = w->next;
		fuse_pollhandle_destroy(w->ph);
		free(w);
		return;
	}
}

static void tell(struct note *note)
{
	if (note->ph) {
		fuse_lowlevel_notify_poll(note->ph);
		fuse_pollhandle_destroy(note->ph);
	} else if (!note->child) {
		fuse_lowlevel_notify_inval_entry(notify.session, note->parent, note->name,
						 strlen(note->name));
	} else {
		/* -ENOENT: the kernel did not know the name, or knows a new one by it */
		fuse_lowlevel_notify_delete(notify.session, note->parent, note->child, note->name,
					    strlen(note->name));
	}
	free(note);
}

static struct note *take_all(void)
{
	struct note *notes;

	SCOPED_LOCK(&notify.lock);
	notes = notify.first;
	notify.first = NULL;
	notify.last = &notify.first;
	return notes;
}

static void read_inotify(void)
{
	char buf[4096] __attribute__((aligned(8)));
	ssize_t n = read(notify.inotify, buf, sizeof(buf));

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const void *)(buf + at);

		wake_all(has_watch, &event->wd);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

static void *run(void *arg)
{
	struct pollfd p[] = { { .fd = notify.wake, .events = POLLIN },
			      { .fd = notify.inotify, .events = POLLIN } };
	eventfd_t count;

	(void)arg;
	for (;;) {
		struct note *note, *next;

		if (RETRY(poll(p, ARRAY_SIZE(p), -1)) < 0)
			return NULL;
		if (p[1].revents)
			read_inotify();
		eventfd_read(notify.wake, &count);
		for (note = take_all(); note; note = next) {
			next = note->next;
			tell(note);
		}
	}
}

int notify_start(struct fuse_session *session)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	notify.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	notify.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (notify.wake < 0 || notify.inotify < 0)
		return -errno;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, NOTIFY_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&notify.lock);
	notify.last = &notify.first;
	notify.session = session;
	pthread_mutex_unlock(&notify.lock);
	r = -pthread_create(&thread, &attr, run, NULL);
	pthread_attr_destroy(&attr);
	return r;
}
