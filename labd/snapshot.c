// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * snapshot.c - points in time of a lab's disks
 *
 * A snapshot's row is in state "creating" until all disks of all members are
 * frozen. A daemon that finds such a row undoes it: the guests' files are what
 * they were. So there is the whole snapshot or none.
 */
#define _GNU_SOURCE
#include "labd/snapshot.h"

#include "labd/disk.h"
#include "labd/events.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

struct snap {
	struct lab *lab;
	char name[NAME_MAX_LEN + 1];
	json_t *members;
};

static void free_snap(void *arg)
{
	struct snap *s = arg;

	json_decref(s->members);
	free(s);
}

static int freeze_members(struct labd *d, struct job *job, const struct snap *s, int64_t id,
			  struct lab_err *err)
{
	const json_t *m;
	size_t i;

	json_array_foreach(s->members, i, m) {
		struct instance *in = model_instance(s->lab, json_string_value(m));
		struct job_item *item = job_item(job, json_string_value(m));
		int r = job_check(job, err);

		job_item_step(job, item, "freeze disks", 0);
		if (!r)
			r = disks_freeze(d, in, id, err);
		job_item_end(job, item, r);
		if (r < 0)
			return lab_wrap(err, r, "instance %s", json_string_value(m));
	}
	return 0;
}

/* Nothing of it is to be left; what cannot be undone now stays for the next start */
static void undo(struct labd *d, struct lab *lab, int64_t id)
{
	char dir[IO_PATH], path[IO_PATH + 32];
	struct lab_err err = LAB_ERR_INIT;
	struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link)
		if (disks_unfreeze(d, in, id, &err) < 0) {
			log_error("lab %s: undoing a snapshot: %s", lab->name, err.text);
			return;
		}
	(void)store_run(d->store, NULL, "DELETE FROM snapshots WHERE id = ?", "i", id);
	snprintf(path, sizeof(path), "%s/snapshots/%lld", lab_dir(d, lab, dir), (long long)id);
	(void)io_remove_tree(AT_FDCWD, path);
}

static int items_of(struct job *job, const json_t *members, struct lab_err *err)
{
	autofree const char **names = calloc(json_array_size(members) + 1, sizeof(*names));
	const json_t *m;
	size_t i;

	if (!names)
		return lab_fail(err, -ENOMEM, "out of memory");
	json_array_foreach(members, i, m)
		names[i] = json_string_value(m);
	return job_items(job, names, json_array_size(members), err);
}

static void publish(struct labd *d, const struct snap *s, int64_t id)
{
	struct snapshot *sn = calloc(1, sizeof(*sn));

	if (!sn)
		abort();
	sn->id = id;
	snprintf(sn->name, sizeof(sn->name), "%s", s->name);
	sn->members = json_deep_copy(s->members);
	sn->size = disks_snapshot_size(d, id);
	sn->created = num_wall();
	SCOPED_LOCK(&d->lock);
	TAILQ_INSERT_TAIL(&s->lab->snapshots, sn, link);
	events_emit(d, "snapshot", "add", s->lab->name, s->name, NULL, snapshot_json(s->lab, sn));
}

static int run_create(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct snap *s = arg;
	int64_t id;
	int r = items_of(job, s->members, err);

	if (r < 0)
		return r;
	id = store_run(
		d->store, err,
		"INSERT INTO snapshots(lab, name, state, created) VALUES(?, ?, 'creating', ?)",
		"isd", s->lab->id, s->name, num_wall());
	if (id < 0)
		return (int)id;
	r = freeze_members(d, job, s, id, err);
	if (!r && store_run(d->store, err, "UPDATE snapshots SET state = 'ready' WHERE id = ?", "i",
			    id) < 0)
		r = err->code;
	if (r < 0) {
		undo(d, s->lab, id);
		return r;
	}
	publish(d, s, id);
	return 0;
}

/* All members must be stopped and have disks; the lock is held */
static int check_members(struct lab *lab, json_t *members, struct lab_err *err)
{
	const json_t *m;
	size_t i;

	json_array_foreach(members, i, m) {
		struct instance *in = model_instance(lab, json_string_value(m) ?: "");

		if (!in)
			return lab_fail(err, -ENOENT, "lab %s has no instance %s", lab->name,
					json_string_value(m) ?: "");
		for (size_t j = 0; j < i; j++)
			if (json_equal(m, json_array_get(members, j)))
				return lab_fail(err, -EINVAL, "instance %s is named twice",
						in->name);
		if (instance_running(in))
			return lab_fail(err, -EBUSY,
					"instance %s runs; snapshots of running instances are not "
					"there yet: labctl stop %s/%s first",
					in->name, lab->name, in->name);
		if (!json_array_size(in->disks))
			return lab_fail(err, -ENODATA,
					"instance %s has no disks yet: it was never started",
					in->name);
	}
	return json_array_size(members)
		       ? 0
		       : lab_fail(err, -ENODATA, "lab %s has no instance with disks", lab->name);
}

/* Named instances, or all that have disks */
static json_t *members_of(struct lab *lab, const json_t *named)
{
	json_t *members = json_array_size(named) ? json_deep_copy(named) : json_array();
	struct instance *in;

	if (json_array_size(named))
		return members;
	TAILQ_FOREACH(in, &lab->instances, link)
		if (json_array_size(in->disks) || instance_running(in))
			json_array_append_new(members, json_string(in->name));
	return members;
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

static struct snap *new_snap(struct lab *lab, const char *name, json_t *members)
{
	struct snap *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->lab = lab;
	s->members = members;
	snprintf(s->name, sizeof(s->name), "%s", name);
	return s;
}

int snapshot_create(struct labd *d, const char *lab_name, const char *name, const json_t *instances,
		    int64_t *ret_job, struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	json_t *members;
	struct lab *lab;
	int r = labjob_find(d, lab_name, NULL, &lab, NULL, err);

	if (r < 0)
		return r;
	if (!name_valid(name))
		return lab_fail(err, -EINVAL, "'%s' cannot be the name of a snapshot: %s", name,
				NAME_RULE);
	if (instances && !json_is_array(instances))
		return lab_fail(err, -EINVAL, "instances must be a list of names");
	if (model_snapshot(lab, name))
		return lab_fail(err, -EEXIST, "lab %s has a snapshot %s already", lab_name, name);
	members = members_of(lab, instances);
	r = check_members(lab, members, err);
	if (r < 0) {
		json_decref(members);
		return r;
	}
	return start(d, "snapshot", new_snap(lab, name, members), run_create, ret_job, err);
}

static int run_remove(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct snap *s = arg;
	struct snapshot *sn;
	int64_t r;

	(void)job;
	pthread_mutex_lock(&d->lock);
	sn = model_snapshot(s->lab, s->name);
	pthread_mutex_unlock(&d->lock);
	if (!sn)
		return lab_fail(err, -ENOENT, "snapshot %s is gone", s->name);
	r = store_run(d->store, err, "DELETE FROM snapshots WHERE id = ?", "i", sn->id);
	if (r < 0)
		return (int)r;
	pthread_mutex_lock(&d->lock);
	TAILQ_REMOVE(&s->lab->snapshots, sn, link);
	events_emit(d, "snapshot", "remove", s->lab->name, s->name, NULL,
		    json_pack("{s:I s:s}", "id", (json_int_t)sn->id, "name", sn->name));
	pthread_mutex_unlock(&d->lock);
	json_decref(sn->members);
	free(sn);
	disks_collect(d, s->lab);
	return 0;
}

/* Bring back the members, which are @ins */
static int restore(struct labd *d, struct job *job, const struct snap *s, int64_t id,
		   struct instance *const *ins, struct lab_err *err)
{
	size_t n = json_array_size(s->members);
	int r;

	for (size_t i = 0; i < n; i++)
		job_item_step(job, job_item(job, ins[i]->name), "disks", 0);
	r = disks_thaw(d, s->lab, ins, n, id, err);
	for (size_t i = 0; i < n; i++)
		job_item_end(job, job_item(job, ins[i]->name), r);
	return r;
}

static int run_restore(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct instance *ins[LAB_MAX_INSTANCES] = { NULL };
	const struct snap *s = arg;
	const struct snapshot *sn;
	const json_t *m;
	int64_t id;
	size_t i;
	int r = items_of(job, s->members, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&d->lock);
	sn = model_snapshot(s->lab, s->name);
	id = sn ? sn->id : 0;
	json_array_foreach(s->members, i, m) {
		ins[i] = model_instance(s->lab, json_string_value(m));
	}
	pthread_mutex_unlock(&d->lock);
	return id ? restore(d, job, s, id, ins, err)
		  : lab_fail(err, -ENOENT, "snapshot %s is gone", s->name);
}

static int start_named(struct labd *d, const char *lab_name, const char *name, bool restore,
		       int64_t *ret_job, struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	struct snapshot *sn;
	struct lab *lab;
	int r = labjob_find(d, lab_name, NULL, &lab, NULL, err);

	if (r < 0)
		return r;
	sn = model_snapshot(lab, name);
	if (!sn)
		return lab_fail(err, -ENOENT, "lab %s has no snapshot %s: labctl snapshot ls %s",
				lab_name, name, lab_name);
	if (restore)
		r = check_members(lab, sn->members, err);
	if (r < 0)
		return r;
	return start(d, restore ? "restore" : "snapshot-remove",
		     new_snap(lab, name, json_deep_copy(sn->members)),
		     restore ? run_restore : run_remove, ret_job, err);
}

int snapshot_remove(struct labd *d, const char *lab, const char *name, int64_t *ret_job,
		    struct lab_err *err)
{
	return start_named(d, lab, name, false, ret_job, err);
}

int snapshot_restore(struct labd *d, const char *lab, const char *name, int64_t *ret_job,
		     struct lab_err *err)
{
	return start_named(d, lab, name, true, ret_job, err);
}

struct ids {
	int64_t v[64];
	size_t n;
};

static int read_id(void *arg, sqlite3_stmt *st)
{
	struct ids *ids = arg;

	if (ids->n < ARRAY_SIZE(ids->v))
		ids->v[ids->n++] = sqlite3_column_int64(st, 0);
	return 0;
}

void snapshot_repair(struct labd *d, struct lab *lab)
{
	struct ids ids = { .n = 0 };
	struct snapshot *sn;

	(void)store_each(d->store, NULL, read_id, &ids,
			 "SELECT id FROM snapshots WHERE state <> 'ready' AND lab = ?", "i",
			 lab->id);
	for (size_t i = 0; i < ids.n; i++)
		undo(d, lab, ids.v[i]);
	disks_repair(d, lab);
	TAILQ_FOREACH(sn, &lab->snapshots, link)
		sn->size = disks_snapshot_size(d, sn->id);
}
