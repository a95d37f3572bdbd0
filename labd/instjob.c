// SPDX-License-Identifier: GPL-2.0-or-later
/* instjob.c - what is done to one instance: start, stop, kill, pause, ... */
#define _GNU_SOURCE
#include "labd/boot.h"
#include "labd/bootid.h"
#include "labd/disk.h"
#include "labd/events.h"
#include "labd/imagejob.h"
#include "labd/labjob.h"
#include "labd/network.h"
#include "labd/plan.h"
#include "labd/service.h"
#include "labd/snapshot.h"
#include "labd/spare.h"
#include "labd/startset.h"
#include "labd/store.h"
#include "labd/trash.h"
#include "labd/watch.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>

#define CALL_US (5 * 1000000ULL)
#define CLAIM_US (30 * 1000000ULL)

struct action;

/* @wait: the claim is taken when the job that has it, which was told to stop, ends */
struct one {
	struct instance *in;
	const struct action *action;
	bool wait;
};

static int start_again(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	struct startset set = { .d = d, .job = job };
	int r = startset_add(&set, in, err);

	if (!r)
		r = startset_run(&set, err);
	startset_done(&set);
	return r;
}

static int do_start(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	const char *image = json_string_value(json_object_get(instance_spec(in), "image"));
	int r;

	if (!image || !*image)
		return lab_fail(err, -ENODATA, "it has no image: set one first (image: NAME)");
	r = imagejob_ensure(d, job, image, job_item(job, in->name), err);
	if (!r)
		r = network_up(d, in->lab, err);
	return r < 0 ? r : start_again(d, job, in, err);
}

static int do_stop(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	instance_set_want(d, in, "stopped");
	return boot_stop(d, job, in, true, err);
}

static int do_kill(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	instance_set_want(d, in, "stopped");
	return boot_stop(d, job, in, false, err);
}

static int do_pause(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	struct qmp *q = boot_monitor(d, in, err);
	int r = q ? qemu_pause(q, num_now_us() + CALL_US, err) : err->code;

	(void)job;
	if (!r)
		instance_set_state(d, in, "paused", NULL);
	return r;
}

static int do_resume(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	struct qmp *q = boot_monitor(d, in, err);
	int r = q ? qemu_cont(q, num_now_us() + CALL_US, err) : err->code;

	(void)job;
	if (!r) {
		in->guest->why[0] = '\0';
		instance_set_state(d, in, "running", "");
	}
	return r;
}

/* Its guest starts anew: so do its services */
static int do_booted(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	if (!json_array_size(service_names(in)))
		return boot_wait_ready(d, job, in, job_item(job, in->name), err);
	services_forget(d, in);
	return start_again(d, job, in, err);
}

static int do_reboot(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	struct qmp *q = boot_monitor(d, in, err);
	int r = q ? qemu_reboot(q, num_now_us() + CALL_US, err) : err->code;

	if (!r && !strcmp(in->state, "paused"))
		r = do_resume(d, job, in, err);
	return r < 0 ? r : do_booted(d, job, in, err);
}

static int do_nmi(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	struct qmp *q = boot_monitor(d, in, err);

	(void)job;
	return q ? qemu_nmi(q, num_now_us() + CALL_US, err) : err->code;
}

static int do_probe(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	bool good;
	int r;

	pthread_mutex_lock(&d->lock);
	good = services_ready(in);
	pthread_mutex_unlock(&d->lock);
	/* the labd that started them has died over it */
	if (!good) {
		instance_set_ready(d, in, "no", "its services: labctl up");
		return 0;
	}
	r = bootid_unseen(d, job, in, err);
	if (r == -ECHILD)
		return r;
	if (r < 0) {
		instance_set_ready(d, in, "no", "its guest agent");
		return r;
	}
	if (r > 0)
		return do_booted(d, job, in, err);
	if (services_wait(d, job, in, job_item(job, in->name), err) < 0) {
		instance_set_ready(d, in, "no", "its services");
		return err->code;
	}
	return boot_wait_ready(d, job, in, job_item(job, in->name), err);
}

/* It has ended by itself: a shutdown from inside, a crash, or somebody's kill */
static int do_ended(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	char why[128] = "";
	int status = 0;

	(void)err;
	if (in->lab->keeper && keeper_exit_status(in->lab->keeper, in->pid, &status, NULL) > 0) {
		if (WIFSIGNALED(status))
			snprintf(why, sizeof(why), "QEMU was ended by signal %d (%s)",
				 WTERMSIG(status), strsignal(WTERMSIG(status)));
		else if (WEXITSTATUS(status))
			snprintf(why, sizeof(why), "QEMU ended with status %d",
				 WEXITSTATUS(status));
	}
	if (!*why)
		instance_set_want(d, in, "stopped");
	job_log(job, "%s/%s: %s", in->lab->name, in->name, *why ? why : "the guest shut down");
	boot_clean(d, in, *why ? "failed" : "stopped", why);
	return 0;
}

/**
 * struct action - what can be asked of an instance
 * @running:	1 it must run, 0 it must not, -1 either
 */
struct action {
	const char *name;
	int (*run)(struct labd *d, struct job *job, struct instance *in, struct lab_err *err);
	int running;
};

static const struct action actions[] = {
	{ "start", do_start, -1 },  { "stop", do_stop, -1 },	{ "kill", do_kill, -1 },
	{ "pause", do_pause, 1 },   { "resume", do_resume, 1 }, { "reboot", do_reboot, 1 },
	{ "nmi", do_nmi, 1 },	    { "probe", do_probe, 1 },	{ "ended", do_ended, 1 },
	{ "booted", do_booted, 1 },
};

/* Claim once the other job has ended; the instance may be gone by then */
static int claim_late(struct labd *d, struct job *job, struct instance **ret, struct lab_err *err)
{
	uint64_t deadline = num_now_us() + CLAIM_US;
	struct lab *lab;
	int r;

	SCOPED_LOCK(&d->lock);
	for (;;) {
		struct timespec until;

		r = labjob_find(d, job->lab, job->target, &lab, ret, err);
		if (!r)
			r = model_claim(d, lab, *ret, job->id, err);
		if (!r)
			spares_wait(d, job->id);
		if (r != -EBUSY || num_now_us() > deadline || job_cancelled(job))
			return r;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&d->changed, &d->lock, &until);
	}
}

static int run_action(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct one *o = arg;
	struct instance *in = o->in;
	struct job_item *item;
	int r = o->wait ? claim_late(d, job, &in, err) : 0;

	if (r < 0)
		return r;
	item = job_add_item(job, "%s", job->target);
	job_item_step(job, item, o->action->name, 0);
	r = job_check(job, err);
	if (!r)
		r = o->action->run(d, job, in, err);
	/* it was shown as starting since the call was accepted */
	if (r < 0 && !strcmp(in->state, "starting") && !instance_running(in))
		instance_set_state(d, in, r == -ECANCELED ? "stopped" : "failed", err->text);
	r = lab_wrap(err, r, "%s %s/%s", o->action->name, in->lab->name, in->name);
	job_item_end(job, item, r);
	lab_settle(d, in->lab, NULL);
	return r;
}

/* Claim and start; the lock is held */
static int start_action(struct labd *d, struct instance *in, const struct action *a, bool wait,
			int64_t *ret_job, struct lab_err *err)
{
	struct one *o = calloc(1, sizeof(*o));
	struct job *job;
	int r;

	if (!o)
		return lab_fail(err, -ENOMEM, "out of memory");
	o->in = in;
	o->action = a;
	job = job_new(d, a->name, in->lab->name, in->name, run_action, o, free);
	o->wait = wait;
	r = wait ? 0 : model_claim(d, in->lab, in, job->id, err);
	if (r < 0) {
		job_abandon(job);
		return r;
	}
	if (a->run == do_start) {
		snprintf(in->state, sizeof(in->state), "starting");
		instance_emit(d, in);
	}
	*ret_job = job_start(job);
	return 0;
}

static const struct action *find_action(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (!strcmp(actions[i].name, name))
			return &actions[i];
	return NULL;
}

/* Asking for what already is, succeeds without a job */
static bool already(const struct instance *in, const char *action)
{
	bool runs = instance_running(in), paused = !strcmp(in->state, "paused");

	if (!strcmp(action, "start"))
		return startset_satisfied(in);
	if (!strcmp(action, "stop") || !strcmp(action, "kill"))
		return !runs && strcmp(in->state, "starting");
	if (!strcmp(action, "pause"))
		return runs && paused;
	return !strcmp(action, "resume") && runs && !paused;
}

/*
 * Whether what keeps the instance busy gives way to this: a start or a probe
 * that waits, perhaps for minutes, ends when its instance is to stop. A guest that
 * is killed takes its `up` with it, which notices and goes on with the others.
 */
static bool gives_way(struct labd *d, struct instance *in, const struct action *a)
{
	struct job *job = in->job ? job_find(d, in->job) : NULL;

	if (!job || in->lab->job || (a->run != do_stop && a->run != do_kill))
		return false;
	if (strcmp(job->kind, "start") && strcmp(job->kind, "probe") &&
	    strcmp(job->kind, "reboot") && strcmp(job->kind, "booted"))
		return false;
	job_cancel(job);
	return true;
}

int labjob_instance(struct labd *d, const char *lab_name, const char *name, const char *action,
		    int64_t *ret_job, struct lab_err *err)
{
	const struct action *a = find_action(action);
	struct instance *in;
	struct lab *lab;
	int r;

	if (!strcmp(action, "reset")) {
		autojson json_t *names = json_pack("[s]", name);

		return labjob_reset(d, lab_name, names, &(struct up_how){ 0 }, ret_job, err);
	}
	SCOPED_LOCK(&d->lock);
	r = labjob_find(d, lab_name, name, &lab, &in, err);
	if (r < 0)
		return r;
	if (!a || a->run == do_probe || a->run == do_ended || a->run == do_booted)
		return lab_fail(err, -EINVAL,
				"'%s' cannot be asked of an instance: start, stop, kill, pause, "
				"resume, reset, reboot, nmi can",
				action);
	if (!strcmp(action, "start") && model_snapshot(lab, SNAPSHOT_SUSPENDED))
		return lab_fail(err, -EBUSY,
				"lab %s is suspended: labctl up %s goes on where it was", lab_name,
				lab_name);
	*ret_job = 0;
	if (!in->job && already(in, action))
		return 0;
	if (a->run == do_kill && in->lab->job && in->guest) {
		pidfd_send_signal(in->guest->proc.pidfd, SIGKILL, NULL, 0);
		return 0;
	}
	if (a->running == 1 && !instance_running(in))
		return lab_fail(err, -EBUSY, "instance %s does not run: labctl start %s/%s", name,
				lab_name, name);
	if (!strcmp(action, "start") && !strcmp(in->state, "paused"))
		a = find_action("resume");
	if (!strcmp(action, "start") && !instance_running(in)) {
		const char *image = json_string_value(json_object_get(instance_spec(in), "image"));

		if (!image || !*image)
			return lab_fail(err, -ENODATA,
					"instance %s has no image: set one first (image: NAME)",
					name);
	}
	return start_action(d, in, a, gives_way(d, in, a), ret_job, err);
}

void labjob_probe(struct labd *d, struct instance *in)
{
	int64_t job;

	if (in->guest)
		in->guest->unprobed = start_action(d, in, find_action("probe"), false, &job, NULL) <
				      0;
}

void labjob_ended(struct labd *d, struct instance *in)
{
	int64_t job;

	(void)start_action(d, in, find_action("ended"), false, &job, NULL);
}

void labjob_booted(struct labd *d, struct instance *in)
{
	int64_t job;

	if (json_array_size(service_names(in)))
		(void)start_action(d, in, find_action("booted"), false, &job, NULL);
}

/**
 * struct removal - an instance on its way into the trash
 * @spec:	of it, as it was
 */
struct removal {
	const char *name;
	json_t *spec;
	struct instance *in;
};

static int drop_from_spec(json_t *spec, void *arg, struct lab_err *err)
{
	json_t *instances = json_object_get(spec, "instances");
	struct removal *rm = arg;

	(void)err;
	rm->spec = json_incref(json_object_get(instances, rm->name));
	json_object_del(instances, rm->name);
	return 0;
}

/* The lab is claimed by now, so that nothing begins with it any more */
static int removal_rows(struct labd *d, struct lab *lab, void *arg, struct lab_err *err)
{
	struct removal *rm = arg;

	pthread_mutex_lock(&d->lock);
	rm->in = model_instance(lab, rm->name);
	pthread_mutex_unlock(&d->lock);
	if (!rm->in)
		return lab_fail(err, -ENOENT, "lab %s has no instance %s any more", lab->name,
				rm->name);
	if (instance_running(rm->in))
		return lab_fail(err, -EBUSY, "instance %s runs: labctl stop %s/%s first", rm->name,
				lab->name, rm->name);
	return trash_instance_rows(d, rm->in, rm->spec, err);
}

static void removal_then(struct labd *d, struct lab *lab, void *arg, int r)
{
	struct removal *rm = arg;

	(void)lab;
	if (!r)
		instance_leave(d, rm->in);
}

int labjob_remove_instance(struct labd *d, const char *lab_name, const char *name,
			   struct lab_err *err)
{
	struct removal rm = { .name = name };
	struct labjob_with with = { .in_store = removal_rows, .then = removal_then, .arg = &rm };
	struct instance *in;
	struct lab *lab;
	int r;

	pthread_mutex_lock(&d->lock);
	r = labjob_find(d, lab_name, name, &lab, &in, err);
	if (!r && instance_running(in))
		r = lab_fail(err, -EBUSY, "instance %s runs: labctl stop %s/%s first", name,
			     lab_name, name);
	else if (!r && in->job)
		r = lab_fail(err, -EBUSY, "instance %s is busy with job %lld", name,
			     (long long)in->job);
	else if (!r && json_is_true(json_object_get(instance_spec(in), "protect")))
		r = lab_fail(err, -EPERM, "instance %s is protected: take the protection off first",
			     name);
	pthread_mutex_unlock(&d->lock);
	if (!r)
		r = labjob_change_with(d, lab_name, drop_from_spec, &rm, &with, err);
	json_decref(rm.spec);
	if (r < 0)
		return r;
	trash_expire(d);
	imagejob_collect(d);
	return 0;
}

struct renamed {
	const char *from, *to;
};

/* In the specification: the instance's key, in its place, and what others need */
static int rename_in_spec(json_t *spec, void *arg, struct lab_err *err)
{
	json_t *old = json_object_get(spec, "instances"), *fresh = json_object(), *in;
	const struct renamed *n = arg;
	const char *name;

	(void)err;
	json_object_foreach(old, name, in) {
		json_t *needs = json_object_get(in, "needs"), *need;
		size_t i;

		json_array_foreach(needs, i, need)
			if (!strcmp(json_string_value(need), n->from))
				json_array_set_new(needs, i, json_string(n->to));
		json_object_set(fresh, strcmp(name, n->from) ? name : n->to, in);
	}
	return json_object_set_new(spec, "instances", fresh) < 0 ? -ENOMEM : 0;
}

/* In the model; the lock is held */
static void rename_in_model(struct labd *d, struct instance *in, const char *to, json_t *spec)
{
	json_t *applied = json_object_get(in->applied, "instances");
	char from[NAME_MAX_LEN + 1];
	struct snapshot *sn;

	snprintf(from, sizeof(from), "%s", in->name);
	snprintf(in->name, sizeof(in->name), "%s", to);
	json_object_set(applied, to, json_object_get(applied, from));
	json_object_del(applied, from);
	TAILQ_FOREACH(sn, &in->lab->snapshots, link)
		for (size_t i = 0; i < json_array_size(sn->members); i++) {
			if (strcmp(json_string_value(json_array_get(sn->members, i)), from) != 0)
				continue;
			json_array_set_new(sn->members, i, json_string(to));
			events_emit(d, "snapshot", "change", in->lab->name, sn->name, NULL,
				    snapshot_json(in->lab, sn));
		}
	json_decref(in->lab->spec);
	in->lab->spec = json_incref(spec);
	events_emit(d, "instance", "rename", in->lab->name, to, from, instance_json(d, in));
}

/* Name and specification change together, or not at all */
static int rename_in_store(struct labd *d, const struct instance *in, const char *to,
			   const json_t *spec, struct lab_err *err)
{
	autofree char *text = json_dumps(spec, JSON_COMPACT);
	int64_t r;

	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = store_begin(d->store, err);
	if (r < 0)
		return (int)r;
	r = store_run(d->store, err, "UPDATE instances SET name = ? WHERE id = ?", "si", to,
		      in->id);
	if (r >= 0)
		r = store_run(d->store, err, "UPDATE labs SET spec = ? WHERE id = ?", "si", text,
			      in->lab->id);
	return store_end(d->store, r < 0 ? (int)r : 0, err);
}

/* A stopped instance, and its whole lab claimed; the lock is held */
static int claim_to_rename(struct labd *d, const char *lab_name, const char *name, const char *to,
			   int64_t job, struct instance **ret, struct lab_err *err)
{
	struct lab *lab;
	int r = labjob_find(d, lab_name, name, &lab, ret, err);

	if (!r && model_instance(lab, to))
		r = lab_fail(err, -EEXIST, "lab %s has an instance %s already", lab_name, to);
	if (!r && instance_running(*ret))
		r = lab_fail(err, -EBUSY, "instance %s runs: stop it before it is renamed", name);
	if (!r)
		r = model_claim(d, lab, NULL, job, err);
	if (!r)
		spares_wait(d, job);
	return r;
}

int labjob_rename(struct labd *d, const char *lab, const char *name, const char *to,
		  struct lab_err *err)
{
	struct renamed renamed = { name, to };
	autojson json_t *spec = NULL;
	struct instance *in;
	struct job *job;
	int r;

	if (!strcmp(name, to))
		return 0;
	if (!name_valid(to))
		return lab_fail(err, -EINVAL, "'%s' cannot be the name of an instance: %s", to,
				NAME_RULE);
	pthread_mutex_lock(&d->lock);
	job = job_new(d, "rename", lab, name, NULL, NULL, NULL);
	r = claim_to_rename(d, lab, name, to, job->id, &in, err);
	pthread_mutex_unlock(&d->lock);
	if (!r)
		r = plan_edit(d, lab, rename_in_spec, &renamed, &spec, err);
	if (!r)
		r = rename_in_store(d, in, to, spec, err);
	SCOPED_LOCK(&d->lock);
	if (!r)
		rename_in_model(d, in, to, spec);
	model_release(d, job->id);
	watch_recheck(d);
	job_abandon(job);
	return r;
}
