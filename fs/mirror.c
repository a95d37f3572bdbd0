// SPDX-License-Identifier: GPL-2.0-or-later
/* mirror.c - the thread that keeps the model equal to labd's */
#define _GNU_SOURCE
#include "fs/mirror.h"

#include "fs/action.h"
#include "fs/events.h"
#include "fs/model.h"
#include "fs/notify.h"
#include "fs/upload.h"
#include "lib/client.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#define MIRROR_STACK (256 << 10)
#define MIRROR_CALL_MS 5000
#define RETRY_FIRST_MS 50 /* between bind() and listen() of a new labd */
#define RETRY_LAST_MS 60000 /* in case inotify missed it */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t tried_cond;
	struct mirror_status status;
	char state_dir[256];
	bool tried;
} mirror = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void set_online(bool online, const char *why)
{
	pthread_mutex_lock(&mirror.lock);
	if (online != mirror.status.online || !mirror.tried)
		mirror.status.since = num_wall();
	mirror.status.online = online;
	mirror.status.stuck = false;
	if (!online)
		mirror.status.labd_pid = 0;
	snprintf(mirror.status.why, sizeof(mirror.status.why), "%s", why);
	mirror.tried = true;
	pthread_cond_broadcast(&mirror.tried_cond);
	pthread_mutex_unlock(&mirror.lock);
	model_online(online);
}

/* Who answers, and where it keeps its files */
static int fetch_status(struct client *client, struct lab_err *err)
{
	autojson json_t *status = NULL;
	const char *dir;
	int r = client_call(client, "GET", "/v1/status", NULL, &status, NULL, err);

	if (r < 0)
		return r;
	dir = json_string_value(json_object_get(status, "state_dir"));
	SCOPED_LOCK(&mirror.lock);
	mirror.status.labd_pid = (uint64_t)json_integer_value(json_object_get(status, "pid"));
	if (dir && strlen(dir) < sizeof(mirror.state_dir))
		memcpy(mirror.state_dir, dir, strlen(dir) + 1);
	return 0;
}

static int fetch_model(struct client *client, struct lab_err *err)
{
	autojson json_t *model = NULL;
	int r = client_call(client, "GET", "/v1/model", NULL, &model, NULL, err);

	if (r < 0)
		return r;
	r = model_replace(model);
	return r < 0 ? lab_fail_errno(err, r, "labd's model") : 0;
}

/* The object that a job works on, and where it is in the tree */
static void find_target(const char *lab, const char *target, struct item *ret, char *where,
			size_t size)
{
	autoitem struct item l = { 0 };

	if (!*lab) {
		snprintf(where, size, "images/%s", target);
		model_find(KIND_IMAGE, 0, target, ret);
	} else if (!model_find(KIND_LAB, 0, lab, &l) ||
		   !model_find(KIND_INSTANCE, l.id, target, ret)) {
		snprintf(where, size, "labs/%s", lab);
		*ret = l;
		l = (struct item){ 0 };
	} else {
		snprintf(where, size, "labs/%s/instances/%s", lab, target);
	}
}

/* What was accepted and failed later is told where a refusal would be */
static void note_job(const json_t *job)
{
	const char *state = "", *lab = "", *target = "", *text = "";
	struct lab_err err = LAB_ERR_INIT;
	autoitem struct item item = { 0 };
	char where[256];

	upload_job(job);
	if (json_unpack((json_t *)job, "{s:s, s?s, s?s, s?s}", "state", &state, "lab", &lab,
			"target", &target, "error", &text) < 0 ||
	    strcmp(state, "failed"))
		return;
	lab_fail(&err, -EIO, "%s", text);
	find_target(lab, target, &item, where, sizeof(where));
	action_refuse(where, item.kind, item.id, &err);
}

/* One event; false ends the stream, to load the model again */
static bool on_event(void *arg, json_t *event)
{
	bool *reload = arg;

	const char *type = json_string_value(json_object_get(event, "type"));

	events_append(event);
	*reload = model_event(event) != 0;
	if (type && !strcmp(type, "job"))
		note_job(json_object_get(event, "object"));
	notify_events();
	return !*reload;
}

/* Follow one labd until it is gone; 1 if the model must be fetched again */
static int follow(struct client *client, struct lab_err *err)
{
	char path[CLIENT_PATH];
	bool reload = false;
	int r = fetch_status(client, err);

	if (!r)
		r = fetch_model(client, err);
	if (r < 0)
		return r;
	set_online(true, "");
	snprintf(path, sizeof(path), "/v1/events?since=%" PRIu64 "&follow=1", model_seq());
	r = client_lines(client, "GET", path, NULL, on_event, NULL, &reload, err);
	if (reload)
		return 1;
	return r < 0 ? r : lab_fail(err, -ECONNREFUSED, "labd has ended");
}

/* Watch the directory of the socket, or the nearest one above that is there */
static void watch_socket(int inotify)
{
	char path[IO_PATH];
	char *slash;

	io_path(path, "%s", mirror.status.socket);
	while ((slash = strrchr(path, '/'))) {
		*slash = '\0';
		if (inotify_add_watch(inotify, *path ? path : "/",
				      IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) >= 0)
			return;
	}
}

/* Wait until something was made beside the socket; true: try again soon */
static bool wait_for_socket(int inotify, int timeout_ms)
{
	struct pollfd p = { .fd = inotify, .events = POLLIN };
	char buf[4096] __attribute__((aligned(8)));
	bool woken = poll(&p, 1, timeout_ms) > 0;

	if (woken)
		(void)!read(inotify, buf, sizeof(buf));
	return woken;
}

static void *run(void *arg)
{
	struct client *client = client_new(mirror.status.socket, MIRROR_CALL_MS);
	int delay = RETRY_FIRST_MS, inotify = -EBADF;

	(void)arg;
	if (!client) {
		set_online(false, "out of memory");
		return NULL;
	}
	for (;;) {
		struct lab_err err = LAB_ERR_INIT;
		int r;

		/* The watch comes before the try: a socket made in between is seen */
		if (inotify < 0) {
			inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
			watch_socket(inotify);
		}
		r = follow(client, &err);
		if (r > 0)
			continue;
		if (model_is_online())
			delay = RETRY_FIRST_MS;
		set_online(false, err.text);
		if (wait_for_socket(inotify, delay))
			delay = RETRY_FIRST_MS;
		else
			delay = MIN(2 * delay, RETRY_LAST_MS);
		close(inotify);
		inotify = -EBADF;
	}
	return NULL;
}

int mirror_start(const char *socket, const char *state_dir)
{
	pthread_condattr_t clock;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&mirror.tried_cond, &clock);
	pthread_condattr_destroy(&clock);
	mirror.status.socket = socket;
	mirror.status.since = num_wall();
	snprintf(mirror.state_dir, sizeof(mirror.state_dir), "%s", state_dir);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, MIRROR_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = -pthread_create(&thread, &attr, run, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

void mirror_wait(uint64_t deadline)
{
	struct timespec until = { .tv_sec = (time_t)(deadline / 1000000),
				  .tv_nsec = (long)(deadline % 1000000) * 1000 };

	SCOPED_LOCK(&mirror.lock);
	while (!mirror.tried &&
	       pthread_cond_timedwait(&mirror.tried_cond, &mirror.lock, &until) != ETIMEDOUT)
		;
}

void mirror_answered(bool answered)
{
	SCOPED_LOCK(&mirror.lock);

	mirror.status.stuck = !answered;
}

void mirror_status(struct mirror_status *ret)
{
	SCOPED_LOCK(&mirror.lock);

	*ret = mirror.status;
}

const char *mirror_state_dir(char buf[256])
{
	SCOPED_LOCK(&mirror.lock);

	memcpy(buf, mirror.state_dir, sizeof(mirror.state_dir));
	return buf;
}
