// SPDX-License-Identifier: GPL-2.0-or-later
/* instance.c - instances in the model and the store, and what is open to their guests */
#define _GNU_SOURCE
#include "labd/disk.h"
#include "labd/events.h"
#include "labd/labfile.h"
#include "labd/loop.h"
#include "labd/memory.h"
#include "labd/model.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

const char *instance_dir(struct labd *d, const struct instance *in, char *buf)
{
	return io_path(buf, "%s/labs/%lld/%lld", d->paths.state, (long long)in->lab->id,
		       (long long)in->id);
}

const char *instance_run_dir(struct labd *d, const struct instance *in, char *buf)
{
	return io_path(buf, "%s/%lld/%lld", d->paths.run, (long long)in->lab->id,
		       (long long)in->id);
}

const json_t *instance_spec(const struct instance *in)
{
	return json_object_get(json_object_get(in->lab->spec, "instances"), in->name);
}

json_t *instance_applied(const struct instance *in)
{
	return json_object_get(json_object_get(in->applied, "instances"), in->name);
}

bool instance_other_image(const struct instance *in)
{
	return in->image && labfile_other_image(instance_applied(in), instance_spec(in));
}

const char *instance_nic_ifname(const struct instance *in, size_t n, char *buf)
{
	char name[64];

	snprintf(name, sizeof(name), "i%lld-eth%zu", (long long)in->id, n);
	return name_ifname(buf, name);
}

const char *instance_spare_ifname(const struct instance *in, size_t n, char *buf)
{
	char name[64];

	snprintf(name, sizeof(name), "i%lld-spare%zu", (long long)in->id, n);
	return name_ifname(buf, name);
}

bool instance_running(const struct instance *in)
{
	return in->pid > 0;
}

void instance_emit(struct labd *d, struct instance *in)
{
	events_emit(d, "instance", "change", in->lab->name, in->name, NULL, instance_json(d, in));
}

int instance_save(struct labd *d, struct instance *in, struct lab_err *err)
{
	autofree char *applied = NULL, *services = NULL;
	struct instance now;
	int64_t r;

	/* others save it, too: what was read first is to be written first */
	store_lock(d->store);
	pthread_mutex_lock(&d->lock);
	applied = in->applied ? json_dumps(in->applied, JSON_COMPACT) : strdup("");
	services = json_dumps(in->services, JSON_COMPACT);
	now = *in;
	pthread_mutex_unlock(&d->lock);
	r = store_run(d->store, err,
		      "UPDATE instances SET state = ?, want = ?, applied = ?, image = ?, pid = ?,"
		      " start_time = ?, digest = ?, started = ?, ready = ?, console_from = ?,"
		      " changed = ?, error = ?, memory = ?, services = ?, machine = ?"
		      " WHERE id = ?",
		      "sssiiisdsidssssi", now.state, now.want, applied, now.image, (int64_t)now.pid,
		      (int64_t)now.start_time, now.digest, now.started, now.ready, now.console_from,
		      now.changed, now.error, now.memory, services, now.machine, now.id);
	store_unlock(d->store);
	return r < 0 ? (int)r : 0;
}

void instance_set_state(struct labd *d, struct instance *in, const char *state, const char *error)
{
	pthread_mutex_lock(&d->lock);
	if (state != in->state)
		snprintf(in->state, sizeof(in->state), "%s", state);
	if (error)
		snprintf(in->error, sizeof(in->error), "%s", error);
	in->changed = num_wall();
	instance_emit(d, in);
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	(void)instance_save(d, in, NULL);
}

void instance_set_want(struct labd *d, struct instance *in, const char *want)
{
	pthread_mutex_lock(&d->lock);
	snprintf(in->want, sizeof(in->want), "%s", want);
	pthread_mutex_unlock(&d->lock);
	(void)instance_save(d, in, NULL);
}

void instance_set_ready(struct labd *d, struct instance *in, const char *ready, const char *text)
{
	pthread_mutex_lock(&d->lock);
	snprintf(in->ready, sizeof(in->ready), "%s", ready);
	if (text != in->ready_text)
		text_copy(in->ready_text, sizeof(in->ready_text), text);
	instance_emit(d, in);
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	(void)instance_save(d, in, NULL);
}

void instance_forget(struct labd *d, struct instance *in)
{
	TAILQ_REMOVE(&in->lab->instances, in, link);
	guest_unref(d, in->guest);
	json_decref(in->applied);
	json_decref(in->disks);
	json_decref(in->services);
	free(in);
}

/* Its name leaves the snapshots it was a member of; the lock is held */
static void leave_snapshots(struct labd *d, struct instance *in)
{
	struct snapshot *sn;

	TAILQ_FOREACH(sn, &in->lab->snapshots, link) {
		size_t before = json_array_size(sn->members);

		for (size_t i = before; i-- > 0;)
			if (!strcmp(json_string_value(json_array_get(sn->members, i)), in->name))
				json_array_remove(sn->members, i);
		if (json_array_size(sn->members) != before)
			events_emit(d, "snapshot", "change", in->lab->name, sn->name, NULL,
				    snapshot_json(in->lab, sn));
	}
}

void instance_leave(struct labd *d, struct instance *in)
{
	struct guest *g;

	pthread_mutex_lock(&d->lock);
	leave_snapshots(d, in);
	events_emit(d, "instance", "remove", in->lab->name, in->name, NULL,
		    json_pack("{s:I s:s}", "id", (json_int_t)in->id, "name", in->name));
	g = steal_ptr(in->guest);
	instance_forget(d, in);
	pthread_mutex_unlock(&d->lock);
	guest_unref(d, g);
}

struct guest *guest_new(const struct qemu_proc *proc, struct qmp *qmp, struct agent *agent)
{
	struct guest *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->refs = 1;
	g->proc = *proc;
	g->qmp = qmp;
	g->agent = agent;
	return g;
}

struct guest *guest_ref(struct guest *g)
{
	if (g)
		__atomic_add_fetch(&g->refs, 1, __ATOMIC_RELAXED);
	return g;
}

/* Event sources belong to the loop's thread, so the last of a guest is freed there */
static void guest_free(struct labd *d, void *arg)
{
	struct guest *g = arg;

	(void)d;
	sd_event_source_disable_unref(g->on_exit);
	sd_event_source_disable_unref(g->on_event);
	qmp_close(g->events);
	qmp_close(g->qmp);
	agent_free(g->agent);
	if (g->proc.pidfd >= 0)
		close(g->proc.pidfd);
	free(g);
}

struct guest *guest_unref(struct labd *d, struct guest *g)
{
	if (g && !__atomic_sub_fetch(&g->refs, 1, __ATOMIC_ACQ_REL))
		loop_post(d, guest_free, g);
	return NULL;
}
