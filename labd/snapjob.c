// SPDX-License-Identifier: GPL-2.0-or-later
/* snapjob.c - jobs about snapshots: create, remove, restore, golden, suspend */
#define _GNU_SOURCE
#include "labd/snapjob.h"

#include "labd/boot.h"
#include "labd/clone.h"
#include "labd/golden.h"
#include "labd/network.h"
#include "labd/restore.h"
#include "labd/snapshot.h"
#include "labd/trash.h"
#include "lib/log.h"
#include "lib/util.h"

#include <string.h>

/**
 * struct snap - what a job is about
 * @id:		of an existing snapshot
 * @names:	members
 * @repair:	of what is restored
 * @force:	as in struct snapshot_plan
 */
struct snap {
	struct lab *lab;
	char name[NAME_MAX_LEN + 1];
	int64_t id;
	json_t *names;
	struct repair repair;
	bool force;
};

static void free_snap(void *arg)
{
	struct snap *s = arg;

	json_decref(s->names);
	free(s);
}

static struct snap *new_snap(struct lab *lab, const char *name, int64_t id)
{
	struct snap *s = calloc(1, sizeof(*s));

	if (!s || !(s->names = json_array()))
		abort();
	s->lab = lab;
	s->id = id;
	snprintf(s->name, sizeof(s->name), "%s", name);
	return s;
}

static int start(struct labd *d, const char *kind, struct snap *s, job_fn run, int64_t *ret_job,
		 struct lab_err *err)
{
	struct job *job = job_new(d, kind, s->lab->name, s->name, run, s, free_snap);
	int r = model_claim(d, s->lab, NULL, job->id, err);

	if (r < 0) {
		job_abandon(job);
		return r;
	}
	*ret_job = job_start(job);
	return 0;
}

/* The members, and a line of the job for each */
static int take_members(struct labd *d, struct job *job, const struct snap *s,
			struct instances *ret, struct lab_err *err)
{
	int r;

	pthread_mutex_lock(&d->lock);
	r = instances_named(s->lab, s->names, ret, err);
	pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; !r && i < ret->n; i++)
		job_add_item(job, "%s", ret->v[i]->name);
	return r;
}

/* ---- create ------------------------------------------------------------------------ */

static int run_create(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	const struct snap *s = arg;
	struct snapshot_plan plan = { s->lab, s->name, "user", &ins, s->force };
	int r = take_members(d, job, s, &ins, err);

	return r < 0 ? r : snapshot_take(d, job, &plan, NULL, err);
}

/* The lock is held */
static int add_member(struct snap *s, const char *name, struct lab_err *err)
{
	struct instance *in = model_instance(s->lab, name);
	const json_t *other;
	size_t i;

	if (!in)
		return lab_fail(err, -ENOENT, "lab %s has no instance %s", s->lab->name, name);
	json_array_foreach(s->names, i, other)
		if (!strcmp(json_string_value(other), name))
			return lab_fail(err, -EINVAL, "instance %s is named twice", name);
	if (!json_array_size(in->disks))
		return lab_fail(err, -ENODATA, "instance %s has no disks yet: it was never started",
				name);
	json_array_append_new(s->names, json_string(name));
	return 0;
}

/* Those named, or all that have disks; the lock is held */
static int add_members(struct snap *s, const json_t *named, struct lab_err *err)
{
	struct instance *in;
	const json_t *name;
	size_t i;
	int r = 0;

	if (named && !json_is_array(named))
		return lab_fail(err, -EINVAL, "instances must be a list of names");
	json_array_foreach(named, i, name)
		if (!r)
			r = add_member(s, json_string_value(name) ?: "", err);
	if (json_array_size(named))
		return r;
	TAILQ_FOREACH(in, &s->lab->instances, link)
		if (json_array_size(in->disks))
			json_array_append_new(s->names, json_string(in->name));
	return json_array_size(s->names)
		       ? 0
		       : lab_fail(err, -ENODATA, "lab %s has no instance with disks", s->lab->name);
}

/* A job about those named, or all that have disks; @s is taken; the lock is held */
static int start_members(struct labd *d, const char *kind, struct snap *s, const json_t *named,
			 job_fn run, int64_t *ret_job, struct lab_err *err)
{
	int r = add_members(s, named, err);

	if (r < 0) {
		free_snap(s);
		return r;
	}
	return start(d, kind, s, run, ret_job, err);
}

int snapjob_create(struct labd *d, const char *lab_name, const char *name, const json_t *instances,
		   bool force, int64_t *ret_job, struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	struct snap *s;
	struct lab *lab;
	int r = labjob_find(d, lab_name, NULL, &lab, NULL, err);

	if (!r)
		r = snapshot_check_name(name, err);
	if (!r && model_snapshot(lab, name))
		r = lab_fail(err, -EEXIST, "lab %s has a snapshot %s already", lab_name, name);
	if (r < 0)
		return r;
	s = new_snap(lab, name, 0);
	s->force = force;
	return start_members(d, "snapshot", s, instances, run_create, ret_job, err);
}

/* ---- remove, restore ----------------------------------------------------------------- */

static int run_remove(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	const struct snap *s = arg;

	(void)job;
	return trash_snapshot(d, s->lab, s->id, err);
}

static int run_restore(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	const struct snap *s = arg;
	bool again = s->lab->restore == s->id;
	struct keep keep = { s->lab, "restore", NULL, s->id, true };
	int r = take_members(d, job, s, &ins, err);

	/* one that is done again has nothing left to keep, and has its specification */
	if (!r && !again)
		r = snapshot_keep(d, job, &keep, NULL, err);
	if (!r)
		r = snapshot_bring_back(d, job, s->lab, s->id, &ins, !again, &s->repair, err);
	lab_settle(d, s->lab, r < 0 && r != -ECANCELED ? err->text : "");
	return r;
}

static int start_named(struct labd *d, const char *lab_name, const char *name, const char *kind,
		       job_fn run, const struct repair *repair, int64_t *ret_job,
		       struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	struct snapshot *sn;
	struct snap *s;
	struct lab *lab;
	int r = labjob_find(d, lab_name, NULL, &lab, NULL, err);

	if (r < 0)
		return r;
	sn = model_snapshot(lab, name);
	if (!sn)
		return lab_fail(err, -ENOENT, "lab %s has no snapshot %s: labctl snapshot ls %s",
				lab_name, name, lab_name);
	s = new_snap(lab, name, sn->id);
	s->repair = *repair;
	json_array_extend(s->names, sn->members);
	return start(d, kind, s, run, ret_job, err);
}

int snapjob_remove(struct labd *d, const char *lab, const char *name, int64_t *ret_job,
		   struct lab_err *err)
{
	return start_named(d, lab, name, "snapshot-remove", run_remove, &(struct repair){ 0 },
			   ret_job, err);
}

int snapjob_restore(struct labd *d, const char *lab, const char *name, const struct repair *repair,
		    int64_t *ret_job, struct lab_err *err)
{
	return start_named(d, lab, name, "restore", run_restore, repair, ret_job, err);
}

/* All ran again already: clocks, seeds, repair commands, and until they are ready */
static int run_repair(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	const struct snap *s = arg;
	struct restore restore = { .lab = s->lab, .repair = s->repair };
	int late, r = take_members(d, job, s, &ins, err);

	/* one that is gone keeps nobody else from it */
	restore.ins = ins.v;
	restore.n = ins.n;
	late = restore_finish(d, job, &restore, r < 0 ? NULL : err);
	return r < 0 ? r : late;
}

void snapjob_resume(struct labd *d, struct lab *lab)
{
	SCOPED_LOCK(&d->lock);
	struct snapshot *sn = model_snapshot_id(lab, lab->restore);
	struct lab_err err = LAB_ERR_INIT;
	struct snap *s;
	int64_t id;

	if (!sn && !json_array_size(lab->restoring))
		return;
	s = new_snap(lab, sn ? sn->name : "", sn ? sn->id : 0);
	json_array_extend(s->names, lab->restoring);
	s->repair = repair_from_bits(lab->repair);
	if (start(d, sn ? "restore" : "repair", s, sn ? run_restore : run_repair, &id, &err) < 0)
		log_error("lab %s: going on with its restore: %s", lab->name, err.text);
}

/* ---- golden ----------------------------------------------------------------------------- */

static int run_golden(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	const struct snap *s = arg;
	int r = take_members(d, job, s, &ins, err);

	return r < 0 ? r : golden_make(d, job, s->lab, s->force, err);
}

int snapjob_golden(struct labd *d, const char *lab_name, bool force, int64_t *ret_job,
		   struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	struct instance *in;
	struct snap *s;
	struct lab *lab;
	int r = labjob_find(d, lab_name, NULL, &lab, NULL, err);

	if (r < 0)
		return r;
	TAILQ_FOREACH(in, &lab->instances, link)
		if (!instance_running(in))
			return lab_fail(err, -EBUSY,
					"a golden is of the whole running lab, and instance %s does"
					" not run: labctl up %s",
					in->name, lab_name);
	s = new_snap(lab, SNAPSHOT_GOLDEN, 0);
	s->force = force;
	return start_members(d, "golden", s, NULL, run_golden, ret_job, err);
}

/* ---- suspend ----------------------------------------------------------------------------- */

static int run_suspend(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	const struct snap *s = arg;
	struct snapshot_plan plan = { s->lab, s->name, "suspended", &ins, s->force };
	int r = take_members(d, job, s, &ins, err);

	if (!r)
		r = snapshot_take(d, job, &plan, NULL, err);
	for (size_t i = 0; !r && i < ins.n; i++)
		r = boot_stop(d, job, ins.v[i], false, err);
	if (!r)
		r = network_down(d, s->lab, err);
	lab_settle(d, s->lab, r < 0 ? err->text : "");
	return r;
}

int snapjob_suspend(struct labd *d, const char *lab_name, bool force, int64_t *ret_job,
		    struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	struct snap *s;
	struct lab *lab;
	int r = labjob_find(d, lab_name, NULL, &lab, NULL, err);

	if (r < 0)
		return r;
	if (!lab_runs(lab))
		return lab_fail(err, -EINVAL, "nothing runs in lab %s", lab_name);
	s = new_snap(lab, SNAPSHOT_SUSPENDED, 0);
	s->force = force;
	return start_members(d, "suspend", s, NULL, run_suspend, ret_job, err);
}

/* ---- clone ------------------------------------------------------------------------------- */

static int run_clone(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct snap *s = arg;
	struct keep keep = { .lab = s->lab, .before = "clone", .force = s->force };
	int r = s->id ? 0 : snapshot_keep(d, job, &keep, &s->id, err);

	return r < 0 ? r : clone_run(d, job, s->lab, s->id, s->name, &s->repair, err);
}

int snapjob_clone(struct labd *d, const char *lab_name, const char *name, const char *from,
		  bool force, const struct repair *repair, int64_t *ret_job, struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	struct snapshot *sn = NULL;
	struct snap *s;
	struct lab *lab;
	int r = labjob_find(d, lab_name, NULL, &lab, NULL, err);

	if (r < 0)
		return r;
	if (!name_valid(name))
		return lab_fail(err, -EINVAL, "'%s' cannot be the name of a lab: %s", name,
				NAME_RULE);
	if (model_lab(d, name))
		return lab_fail(err, -EEXIST, "there is a lab %s already", name);
	if (from && !(sn = model_snapshot(lab, from)))
		return lab_fail(err, -ENOENT, "lab %s has no snapshot %s: labctl snapshot ls %s",
				lab_name, from, lab_name);
	s = new_snap(lab, name, sn ? sn->id : 0);
	s->repair = *repair;
	s->force = force;
	return start(d, "clone", s, run_clone, ret_job, err);
}
