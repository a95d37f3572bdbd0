// SPDX-License-Identifier: GPL-2.0-or-later
/* work.c - a bounded pool of worker threads, and fanning out */
#define _GNU_SOURCE
#include "labd/work.h"

#include "lib/util.h"

#include <pthread.h>
#include <sys/queue.h>
#include <time.h>

#define IDLE_SECONDS 5
#define STACK_BYTES (512 << 10) /* struct lab_err and paths live on it */

struct item {
	STAILQ_ENTRY(item) link;
	void (*fn)(void *arg);
	void *arg;
};

struct work {
	pthread_mutex_t lock;
	pthread_cond_t more, less;
	STAILQ_HEAD(, item) queue;
	unsigned int max_threads, max_waiting;
	unsigned int threads, idle, load; /* load: submitted and not yet done */
	bool ending;
};

static int start_thread(pthread_t *ret, void *(*fn)(void *), void *arg, bool detached)
{
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (detached)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(ret, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return -r;
}

/* The next item, or NULL when this thread should end; called with the lock */
static struct item *next_item(struct work *w)
{
	struct item *it;
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += IDLE_SECONDS;
	while (!(it = STAILQ_FIRST(&w->queue))) {
		int r;

		if (w->ending)
			return NULL;
		w->idle++;
		r = pthread_cond_timedwait(&w->more, &w->lock, &until);
		w->idle--;
		if (r && STAILQ_EMPTY(&w->queue))
			return NULL;
	}
	STAILQ_REMOVE_HEAD(&w->queue, link);
	return it;
}

static void *worker(void *arg)
{
	struct work *w = arg;
	struct item *it;

	pthread_mutex_lock(&w->lock);
	while ((it = next_item(w))) {
		pthread_mutex_unlock(&w->lock);
		it->fn(it->arg);
		free(it);
		pthread_mutex_lock(&w->lock);
		if (!--w->load)
			pthread_cond_broadcast(&w->less);
	}
	w->threads--;
	pthread_cond_broadcast(&w->less);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct work *work_new(unsigned int threads, unsigned int waiting)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	pthread_cond_init(&w->less, NULL);
	STAILQ_INIT(&w->queue);
	w->max_threads = threads;
	w->max_waiting = waiting;
	return w;
}

bool work_wait(struct work *w, unsigned int ms)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	SCOPED_LOCK(&w->lock);
	while (w->load && !r)
		r = pthread_cond_clockwait(&w->less, &w->lock, CLOCK_MONOTONIC, &until);
	return !w->load;
}

struct work *work_free(struct work *w)
{
	if (!w)
		return NULL;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->more);
	while (w->threads)
		pthread_cond_wait(&w->less, &w->lock);
	pthread_mutex_unlock(&w->lock);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->more);
	pthread_cond_destroy(&w->less);
	free(w);
	return NULL;
}

int work_submit(struct work *w, void (*fn)(void *arg), void *arg)
{
	struct item *it = calloc(1, sizeof(*it));
	unsigned int queued = 0;
	struct item *q;
	pthread_t id;
	int r = 0;

	if (!it)
		return -ENOMEM;
	it->fn = fn;
	it->arg = arg;
	SCOPED_LOCK(&w->lock);
	if (w->load >= w->max_threads && w->load - w->max_threads >= w->max_waiting) {
		free(it);
		return -EBUSY;
	}
	STAILQ_INSERT_TAIL(&w->queue, it, link);
	STAILQ_FOREACH(q, &w->queue, link)
		queued++;
	if (queued > w->idle && w->threads < w->max_threads) {
		r = start_thread(&id, worker, w, true);
		w->threads += !r;
	}
	if (r && !w->threads) {
		STAILQ_REMOVE(&w->queue, it, item, link);
		free(it);
		return -EAGAIN;
	}
	w->load++;
	pthread_cond_signal(&w->more);
	return 0;
}

struct fan {
	void (*fn)(void *arg, size_t i);
	void *arg;
	size_t i;
	pthread_t thread;
	bool started;
};

static void *fan_thread(void *arg)
{
	struct fan *f = arg;

	f->fn(f->arg, f->i);
	return NULL;
}

void work_fan_out(size_t n, void (*fn)(void *arg, size_t i), void *arg)
{
	autofree struct fan *fans = calloc(n ? n : 1, sizeof(*fans));

	for (size_t i = 0; i < n; i++) {
		if (!fans) {
			fn(arg, i);
			continue;
		}
		fans[i] = (struct fan){ .fn = fn, .arg = arg, .i = i };
		fans[i].started = !start_thread(&fans[i].thread, fan_thread, &fans[i], false);
	}
	/* before any is waited for: one of these may wait for one of those */
	for (size_t i = 0; fans && i < n; i++)
		if (!fans[i].started)
			fn(arg, i);
	for (size_t i = 0; fans && i < n; i++)
		if (fans[i].started)
			pthread_join(fans[i].thread, NULL);
}
