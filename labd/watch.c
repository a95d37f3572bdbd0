// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * watch.c - QEMUs that end or change state by themselves
 *
 * Runs in the event loop's thread. A guest whose instance is claimed is left to
 * the job that claimed it; when that job ends, watch_recheck() looks again.
 */
#define _GNU_SOURCE
#include "labd/watch.h"

#include "labd/labjob.h"
#include "labd/loop.h"
#include "labd/spare.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <poll.h>
#include <string.h>

#define OPEN_US (15 * 1000000ULL)

static bool ended(const struct guest *g)
{
	struct pollfd p = { .fd = g->proc.pidfd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* One that QEMU stopped by itself, for example because the disk is full */
static void show_stopped(struct labd *d, struct instance *in)
{
	snprintf(in->state, sizeof(in->state), "paused");
	snprintf(in->error, sizeof(in->error), "%s", in->guest->why);
	instance_emit(d, in);
}

static void on_message(struct guest *g, const json_t *msg)
{
	const char *event = json_string_value(json_object_get(msg, "event"));
	const json_t *data = json_object_get(msg, "data");
	const char *reason = json_string_value(json_object_get(data, "reason"));
	const char *action = json_string_value(json_object_get(data, "action"));

	if (!event)
		return;
	if (!strcmp(event, "BLOCK_IO_ERROR") && action && !strcmp(action, "stop"))
		snprintf(g->why, sizeof(g->why),
			 "paused by a disk error (%.100s): make room, then labctl resume",
			 reason ? reason : "");
	else if (!strcmp(event, "GUEST_PANICKED"))
		snprintf(g->why, sizeof(g->why),
			 "paused because the guest's kernel panicked: labctl logs, labctl reboot");
}

/* From inside: what labd asks for is done by a job, which deals with it */
static bool is_reboot(const json_t *msg)
{
	const char *event = json_string_value(json_object_get(msg, "event"));
	const json_t *guest = json_object_get(json_object_get(msg, "data"), "guest");

	return event && !strcmp(event, "RESET") && json_is_true(guest);
}

static void show_booted(struct labd *d, struct instance *in)
{
	if (!in->guest->booted)
		return;
	in->guest->booted = false;
	labjob_booted(d, in);
}

/* Userdata of both sources; freed with the guest's last source */
struct seen {
	struct labd *d;
	struct guest *g;
};

static int on_end(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct seen *s = arg;
	struct instance *in;

	(void)fd, (void)revents;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	SCOPED_LOCK(&s->d->lock);
	in = model_instance_of(s->d, s->g);
	if (in && !in->job && !in->lab->job)
		labjob_ended(s->d, in);
	return 0;
}

static int on_event(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct seen *s = arg;
	struct instance *in;
	json_t *msg = NULL;
	int r = -EAGAIN;

	(void)fd, (void)revents;
	/* a storm of events must not keep the loop from others */
	for (int i = 0; i < 100 && (r = qmp_event(s->g->events, &msg)) > 0; i++) {
		pthread_mutex_lock(&s->d->lock);
		in = model_instance_of(s->d, s->g);
		on_message(s->g, msg);
		/* of a claimed one it is shown when the job has ended */
		if (in && !in->job && !in->lab->job && s->g->why[0] && strcmp(in->state, "paused"))
			show_stopped(s->d, in);
		s->g->booted |= is_reboot(msg);
		if (in && !in->job && !in->lab->job)
			show_booted(s->d, in);
		pthread_mutex_unlock(&s->d->lock);
		json_decref(msg);
	}
	if (r != -EAGAIN && r <= 0)
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static void attach(struct labd *d, void *arg)
{
	struct guest *g = arg;
	struct seen *s = calloc(2, sizeof(*s));

	if (!s)
		abort();
	s[0] = s[1] = (struct seen){ d, g };
	if (sd_event_add_io(d->event, &g->on_exit, g->proc.pidfd, EPOLLIN, on_end, s) < 0) {
		log_error("cannot watch process %d", g->proc.pid);
		free(s);
	} else {
		sd_event_source_set_destroy_callback(g->on_exit, free);
	}
	if (g->events && g->on_exit)
		(void)sd_event_add_io(d->event, &g->on_event, qmp_fd(g->events), EPOLLIN, on_event,
				      s);
	guest_unref(d, g);
}

void watch_guest(struct labd *d, struct instance *in)
{
	char dir[IO_PATH], path[IO_PATH];
	struct guest *g;
	struct lab_err err = LAB_ERR_INIT;
	struct qmp *events = NULL;

	io_path(path, "%s/events", instance_run_dir(d, in, dir));
	if (in->guest->qmp && qmp_open(path, num_now_us() + OPEN_US, &events, &err) < 0)
		log_warn("%s/%s: its QEMU's events are not seen: %s", in->lab->name, in->name,
			 err.text);
	pthread_mutex_lock(&d->lock);
	in->guest->events = events;
	g = guest_ref(in->guest);
	pthread_mutex_unlock(&d->lock);
	loop_post(d, attach, g);
}

/* What was to be done while another job had claimed it */
static void catch_up(struct labd *d, struct instance *in)
{
	if (in->guest->unprobed && !strcmp(in->state, "running"))
		labjob_probe(d, in);
	else
		show_booted(d, in);
}

static void recheck(struct labd *d, void *arg)
{
	struct instance *in;
	struct lab *lab;

	(void)arg;
	SCOPED_LOCK(&d->lock);
	TAILQ_FOREACH(lab, &d->labs, link)
		TAILQ_FOREACH(in, &lab->instances, link)
			if (!lab->job && !in->job && in->guest) {
				if (ended(in->guest))
					labjob_ended(d, in);
				else
					catch_up(d, in);
			}
	spares_look(d);
}

void watch_recheck(struct labd *d)
{
	loop_post(d, recheck, NULL);
}
