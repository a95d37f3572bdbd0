// SPDX-License-Identifier: GPL-2.0-or-later
/* trash_restore.c - from the trash back into the store and the model */
#define _GNU_SOURCE
#include "labd/disk.h"
#include "labd/events.h"
#include "labd/job.h"
#include "labd/labjob.h"
#include "labd/memory.h"
#include "labd/snapshot.h"
#include "labd/spare.h"
#include "labd/store.h"
#include "labd/trash.h"
#include "labd/watch.h"
#include "lib/util.h"

#include <string.h>

static int taken(struct lab_err *err, const char *what, const char *name)
{
	return lab_fail(err, -EEXIST, "there is %s %s already: give it another name", what, name);
}

/* It is out of the trash when the transaction around this is done */
static int forget_row(struct labd *d, const struct trashed *t, struct lab_err *err)
{
	int64_t r = store_run(d->store, err, "DELETE FROM trash WHERE id = ?", "i", t->id);

	return r < 0 ? (int)r : 0;
}

/* One read apart from the model is not needed any more */
static void drop_apart(struct labd *d, struct lab *lab)
{
	struct instance *in;

	while (lab && (in = TAILQ_FIRST(&lab->instances)))
		instance_forget(d, in);
	if (lab)
		lab_free(lab);
}

static struct lab *lab_of(struct labd *d, int64_t id)
{
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link)
		if (lab->id == id)
			return lab;
	return NULL;
}

/* ---- a lab --------------------------------------------------------------------------- */

static int read_spec(void *arg, sqlite3_stmt *st)
{
	*(json_t **)arg = json_loads(store_text(st, 0), 0, NULL);
	return 0;
}

/* Its specification under a name; MAC addresses stay as they were */
static char *spec_named(struct labd *d, const struct trashed *t, const char *name)
{
	autojson json_t *spec = NULL;

	(void)store_each(d->store, NULL, read_spec, &spec, "SELECT spec FROM labs WHERE id = ?",
			 "i", t->object);
	if (!spec)
		return NULL;
	if (strcmp(name, t->name) && !json_object_get(spec, "identity"))
		json_object_set_new(spec, "identity", json_string(t->name));
	json_object_set_new(spec, "lab", json_string(name));
	return json_dumps(spec, JSON_COMPACT);
}

static int lab_rows(struct labd *d, const struct trashed *t, const char *name, struct lab **ret,
		    struct lab_err *err)
{
	autofree char *spec = spec_named(d, t, name);
	int64_t r;

	if (!spec)
		return lab_fail(err, -EUCLEAN, "its specification cannot be read");
	r = store_run(d->store, err, "UPDATE labs SET name = ?, spec = ? WHERE id = ?", "ssi", name,
		      spec, t->object);
	if (r == -EEXIST)
		return taken(err, "a lab", name);
	if (r < 0)
		return (int)r;
	return forget_row(d, t, err) ?: model_load_lab(d, t->object, ret, err);
}

/* Tell listeners of a lab with all of its own; the lock is held */
static void announce(struct labd *d, struct lab *lab)
{
	struct instance *in;
	struct snapshot *sn;
	struct network *net;

	events_emit(d, "lab", "add", lab->name, lab->name, NULL, lab_json(d, lab, false));
	TAILQ_FOREACH(net, &lab->networks, link)
		events_emit(d, "network", "add", lab->name, net->name, NULL,
			    network_json(d, lab, net));
	TAILQ_FOREACH(in, &lab->instances, link)
		events_emit(d, "instance", "add", lab->name, in->name, NULL, instance_json(d, in));
	TAILQ_FOREACH(sn, &lab->snapshots, link)
		events_emit(d, "snapshot", "add", lab->name, sn->name, NULL,
			    snapshot_json(lab, sn));
}

int trash_restore_lab(struct labd *d, const struct trashed *t, const char *name,
		      struct lab_err *err)
{
	struct lab *lab = NULL;
	struct snapshot *sn;
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	r = store_end(d->store, lab_rows(d, t, name, &lab, err), err);
	if (r < 0) {
		drop_apart(d, lab);
		return r;
	}
	TAILQ_FOREACH(sn, &lab->snapshots, link)
		sn->size = disks_snapshot_size(d, sn->id) + memory_size(d, sn->id);
	json_object_clear(lab->applied);
	SCOPED_LOCK(&d->lock);
	TAILQ_INSERT_TAIL(&d->labs, lab, link);
	announce(d, lab);
	return 0;
}

/* ---- a snapshot ---------------------------------------------------------------------- */

static int snapshot_rows(struct labd *d, const struct trashed *t, const char *name,
			 struct lab **ret, struct lab_err *err)
{
	const struct snapshot *sn;
	int64_t r;
	int found;

	r = store_run(d->store, err,
		      "UPDATE snapshots SET state = 'ready', name = ?, parent_id = CASE WHEN"
		      " parent_id IN (SELECT id FROM snapshots WHERE state = 'ready')"
		      " THEN parent_id ELSE 0 END WHERE id = ?",
		      "si", name, t->object);
	if (r == -EEXIST)
		return taken(err, "a snapshot", name);
	if (r < 0)
		return (int)r;
	found = forget_row(d, t, err) ?: model_load_lab(d, t->lab, ret, err);
	if (found < 0)
		return found;
	sn = model_snapshot_id(*ret, t->object);
	if (!sn || !json_array_size(sn->members))
		return lab_fail(err, -ENOENT, "no instance that it is of is in lab %s any more",
				t->lab_name);
	return 0;
}

/* Move it from @apart into the model; the lock is held */
static void adopt_snapshot(struct labd *d, struct lab *lab, struct lab *apart, int64_t id)
{
	struct snapshot *sn = model_snapshot_id(apart, id), *next;

	TAILQ_REMOVE(&apart->snapshots, sn, link);
	TAILQ_FOREACH(next, &lab->snapshots, link)
		if (next->id > id) /* they are in the order in which they were made */
			break;
	if (next)
		TAILQ_INSERT_BEFORE(next, sn, link);
	else
		TAILQ_INSERT_TAIL(&lab->snapshots, sn, link);
	if (!strcmp(sn->kind, "golden"))
		lab->golden = id;
	events_emit(d, "snapshot", "add", lab->name, sn->name, NULL, snapshot_json(lab, sn));
}

static int restore_snapshot_of(struct labd *d, struct lab *lab, const struct trashed *t,
			       const char *name, struct lab_err *err)
{
	struct lab *apart = NULL;
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	r = store_end(d->store, snapshot_rows(d, t, name, &apart, err), err);
	if (!r) {
		model_snapshot_id(apart, t->object)->size = t->size;
		pthread_mutex_lock(&d->lock);
		adopt_snapshot(d, lab, apart, t->object);
		pthread_mutex_unlock(&d->lock);
		r = lab_save(d, lab, err);
	}
	drop_apart(d, apart);
	return r;
}

int trash_restore_snapshot(struct labd *d, const struct trashed *t, const char *name,
			   struct lab_err *err)
{
	struct job *job;
	struct lab *lab;
	int r;

	pthread_mutex_lock(&d->lock);
	lab = lab_of(d, t->lab);
	job = job_new(d, "trash-restore", t->lab_name, name, NULL, NULL, NULL);
	r = lab ? model_claim(d, lab, NULL, job->id, err)
		: lab_fail(err, -ENOENT, "its lab is gone");
	if (!r)
		spares_wait(d, job->id);
	/* a golden is what it is by its name */
	if (!r && strcmp(name, t->name))
		r = snapshot_check_name(t->name, err) ?: snapshot_check_name(name, err);
	pthread_mutex_unlock(&d->lock);
	if (!r)
		r = restore_snapshot_of(d, lab, t, name, err);
	SCOPED_LOCK(&d->lock);
	model_release(d, job->id);
	watch_recheck(d);
	job_abandon(job);
	return r;
}

/* ---- an instance --------------------------------------------------------------------- */

/**
 * struct back - an instance on its way back
 * @spec:	its specification
 * @in:		in the model, once it is there
 */
struct back {
	const struct trashed *t;
	const char *name;
	json_t *spec;
	struct instance *in;
};

static int add_to_spec(json_t *spec, void *arg, struct lab_err *err)
{
	json_t *instances = json_object_get(spec, "instances");
	const struct back *b = arg;

	if (json_object_get(instances, b->name))
		return taken(err, "an instance", b->name);
	json_object_set(instances, b->name, b->spec);
	return 0;
}

/* Into the snapshots that have a part of it; the lock is held */
static void join_snapshots(struct lab *lab, struct lab *apart, const char *name)
{
	struct snapshot *sn, *mine;
	const json_t *member;
	size_t i;

	TAILQ_FOREACH(sn, &apart->snapshots, link) {
		mine = model_snapshot_id(lab, sn->id);
		json_array_foreach(sn->members, i, member)
			if (mine && !strcmp(json_string_value(member), name))
				json_array_append_new(mine->members, json_string(name));
	}
}

/* In the order in which they were defined; the lock is held */
static void insert_instance(struct lab *lab, struct instance *in)
{
	struct instance *next;

	TAILQ_FOREACH(next, &lab->instances, link)
		if (next->id > in->id)
			break;
	if (next)
		TAILQ_INSERT_BEFORE(next, in, link);
	else
		TAILQ_INSERT_TAIL(&lab->instances, in, link);
}

static int instance_rows(struct labd *d, struct lab *lab, void *arg, struct lab_err *err)
{
	struct back *b = arg;
	struct lab *apart = NULL;
	struct instance *in;
	int r;

	if (store_run(d->store, err, "UPDATE instances SET name = ? WHERE id = ?", "si", b->name,
		      b->t->object) < 0)
		return err->code;
	r = forget_row(d, b->t, err) ?: model_load_lab(d, lab->id, &apart, err);
	if (r < 0)
		return r;
	in = model_instance(apart, b->name);
	if (in) {
		SCOPED_LOCK(&d->lock);
		join_snapshots(lab, apart, b->name);
		TAILQ_REMOVE(&apart->instances, in, link);
		in->lab = lab;
		in->job = lab->job;
		insert_instance(lab, in);
		b->in = in;
	} else {
		r = lab_fail(err, -ENOENT, "its row is gone");
	}
	drop_apart(d, apart);
	return r;
}

static void instance_then(struct labd *d, struct lab *lab, void *arg, int r)
{
	struct back *b = arg;

	if (r < 0 && b->in) {
		instance_leave(d, b->in);
		return;
	}
	SCOPED_LOCK(&d->lock);
	if (b->in)
		events_emit(d, "instance", "add", lab->name, b->name, NULL,
			    instance_json(d, b->in));
}

int trash_restore_instance(struct labd *d, const struct trashed *t, const char *name,
			   struct lab_err *err)
{
	autojson json_t *spec = json_loads(t->spec, 0, NULL);
	struct back b = { .t = t, .name = name, .spec = spec };
	struct labjob_with with = { .in_store = instance_rows, .then = instance_then, .arg = &b };

	if (!spec)
		return lab_fail(err, -EUCLEAN, "its specification cannot be read");
	return labjob_change_with(d, t->lab_name, add_to_spec, &b, &with, err);
}

/* ---- an image ------------------------------------------------------------------------ */

static int image_rows(struct labd *d, const struct trashed *t, const char *name, struct image **ret,
		      struct lab_err *err)
{
	int64_t r = store_run(d->store, err,
			      "UPDATE images SET state = 'ready', name = ? WHERE id = ?", "si",
			      name, t->object);

	if (r == -EEXIST)
		return taken(err, "an image", name);
	if (r < 0)
		return (int)r;
	return forget_row(d, t, err) ?: model_load_image(d, t->object, ret, err);
}

int trash_restore_image(struct labd *d, const struct trashed *t, const char *name,
			struct lab_err *err)
{
	struct image *im = NULL;
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	r = image_rows(d, t, name, &im, err);
	if (!r)
		r = image_load_manifest(d, im, err);
	r = store_end(d->store, r, err);
	if (r < 0) {
		free(im);
		return r;
	}
	SCOPED_LOCK(&d->lock);
	TAILQ_INSERT_TAIL(&d->images, im, link);
	events_emit(d, "image", "add", "", im->name, NULL, image_json(d, im));
	pthread_cond_broadcast(&d->changed);
	return 0;
}
