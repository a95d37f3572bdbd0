// SPDX-License-Identifier: GPL-2.0-or-later
/* snapshot.c - points in time of a lab: disks, and the memory of what ran */
#define _GNU_SOURCE
#include "labd/snapshot.h"

#include "labd/disk.h"
#include "labd/events.h"
#include "labd/freeze.h"
#include "labd/memory.h"
#include "labd/restore.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

#define AUTO_PREFIX "auto-"

/* ---- instances ------------------------------------------------------------------ */

int instances_add(struct instances *ins, struct instance *in, struct lab_err *err)
{
	struct instance **more = realloc(ins->v, (ins->n + 1) * sizeof(*more));

	if (!more)
		return lab_fail(err, -ENOMEM, "out of memory");
	ins->v = more;
	ins->v[ins->n++] = in;
	return 0;
}

int instances_named(struct lab *lab, const json_t *names, struct instances *ret,
		    struct lab_err *err)
{
	const json_t *name;
	size_t i;
	int r = 0;

	json_array_foreach(names, i, name) {
		struct instance *in = model_instance(lab, json_string_value(name) ?: "");

		if (in && !r)
			r = instances_add(ret, in, err);
	}
	return r;
}

int instances_with_disks(struct labd *d, struct lab *lab, struct instances *ret,
			 struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	struct instance *in;
	int r = 0;

	TAILQ_FOREACH(in, &lab->instances, link)
		if (!r && json_array_size(in->disks))
			r = instances_add(ret, in, err);
	return r;
}

void instances_done(struct instances *ins)
{
	free(ins->v);
	*ins = (struct instances){ 0 };
}

/* ---- taking one ------------------------------------------------------------------ */

int snapshot_check_name(const char *name, struct lab_err *err)
{
	if (!name_valid(name))
		return lab_fail(err, -EINVAL, "'%s' cannot be the name of a snapshot: %s", name,
				NAME_RULE);
	if (!strcmp(name, SNAPSHOT_GOLDEN))
		return lab_fail(err, -EINVAL,
				"'%s' is the lab's golden snapshot: labctl golden makes it", name);
	if (!strcmp(name, SNAPSHOT_SUSPENDED) || !strncmp(name, AUTO_PREFIX, strlen(AUTO_PREFIX)))
		return lab_fail(err, -EINVAL, "names like '%s' are for labd's own snapshots", name);
	return 0;
}

/* Nothing of it is to be left; what cannot be undone now stays for the next start */
static void undo(struct labd *d, struct lab *lab, int64_t id)
{
	struct lab_err err = LAB_ERR_INIT;
	struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link)
		if (freeze_undo(d, in, id, &err) < 0) {
			log_error("lab %s: undoing a snapshot: %s", lab->name, err.text);
			return;
		}
	(void)store_run(d->store, NULL, "DELETE FROM snapshots WHERE id = ?", "i", id);
	TAILQ_FOREACH(in, &lab->instances, link)
		memory_undo(d, in, id);
	disks_collect(d);
	memory_collect(d);
}

/* The lab's specification; of a member whose disks are of another image by now, that of then */
static char *spec_now(const struct lab *lab, const struct instances *ins)
{
	autojson json_t *spec = json_deep_copy(lab->spec);
	json_t *all = json_object_get(spec, "instances");

	for (size_t i = 0; i < ins->n; i++)
		if (instance_other_image(ins->v[i]))
			json_object_set(all, ins->v[i]->name, instance_applied(ins->v[i]));
	return json_dumps(spec, JSON_COMPACT);
}

static int64_t begin(struct labd *d, const struct snapshot_plan *plan, struct lab_err *err)
{
	autofree char *spec = spec_now(plan->lab, plan->ins);
	const struct lab *lab = plan->lab;
	char name[32];

	if (!spec)
		return lab_fail(err, -ENOMEM, "out of memory");
	/* its own name is perhaps that of one which it will replace */
	snprintf(name, sizeof(name), ".%llu", (unsigned long long)num_now_us());
	return store_run(d->store, err,
			 "INSERT INTO snapshots(lab, name, state, created, kind, spec, parent_id)"
			 " VALUES(?, ?, 'creating', ?, ?, ?, ?)",
			 "isdssi", lab->id, name, num_wall(), plan->kind, spec, lab->at);
}

/* The one that a new one of this kind takes the place of; the lock is held */
static struct snapshot *replaced(struct lab *lab, const char *kind)
{
	struct snapshot *sn;

	if (strcmp(kind, "golden") && strcmp(kind, "suspended"))
		return NULL;
	TAILQ_FOREACH(sn, &lab->snapshots, link)
		if (!strcmp(sn->kind, kind))
			return sn;
	return NULL;
}

int snapshot_part(struct labd *d, int64_t id, struct lab_err *err)
{
	int64_t r = store_run(d->store, err,
			      "UPDATE snapshots SET parent_id ="
			      " (SELECT parent_id FROM snapshots WHERE id = ?) WHERE parent_id = ?",
			      "ii", id, id);

	return r < 0 ? (int)r : 0;
}

static int remove_row(struct labd *d, int64_t id, struct lab_err *err)
{
	int64_t r = snapshot_part(d, id, err);

	if (!r)
		r = store_run(d->store, err, "DELETE FROM snapshots WHERE id = ?", "i", id);
	return r < 0 ? (int)r : 0;
}

static int finish_rows(struct labd *d, const struct snapshot_plan *plan, const struct snapshot *old,
		       int64_t id, double clock, struct lab_err *err)
{
	bool golden = !strcmp(plan->kind, "golden");
	const struct lab *lab = plan->lab;
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	if (old)
		r = remove_row(d, old->id, err);
	if (!r &&
	    store_run(d->store, err,
		      "UPDATE snapshots SET state = 'ready', name = ?, clock = ? WHERE id = ?",
		      "sdi", plan->name, clock, id) < 0)
		r = err->code;
	if (!r && store_run(d->store, err, "UPDATE labs SET at = ?, golden = ? WHERE id = ?", "iii",
			    id, golden ? id : lab->golden, lab->id) < 0)
		r = err->code;
	return store_end(d->store, r, err);
}

/* Out of the model; its children are its parent's now; the lock is held */
static void unpublish(struct labd *d, struct lab *lab, struct snapshot *sn)
{
	struct snapshot *child;

	TAILQ_REMOVE(&lab->snapshots, sn, link);
	TAILQ_FOREACH(child, &lab->snapshots, link)
		if (child->parent == sn->id)
			child->parent = sn->parent;
	if (lab->at == sn->id)
		lab->at = sn->parent;
	if (lab->golden == sn->id)
		lab->golden = 0;
	events_emit(d, "snapshot", "remove", lab->name, sn->name, NULL,
		    json_pack("{s:I s:s}", "id", (json_int_t)sn->id, "name", sn->name));
	json_decref(sn->members);
	free(sn);
}

static void publish(struct labd *d, const struct snapshot_plan *plan, int64_t id, double clock)
{
	struct snapshot *sn = calloc(1, sizeof(*sn)), *old;
	const struct instances *ins = plan->ins;
	struct lab *lab = plan->lab;

	if (!sn || !(sn->members = json_array()))
		abort();
	sn->id = id;
	snprintf(sn->name, sizeof(sn->name), "%s", plan->name);
	snprintf(sn->kind, sizeof(sn->kind), "%s", plan->kind);
	for (size_t i = 0; i < ins->n; i++) {
		json_array_append_new(sn->members, json_string(ins->v[i]->name));
		sn->memory |= memory_exists(d, ins->v[i], id);
	}
	sn->size = disks_snapshot_size(d, id) + memory_size(d, id);
	sn->created = num_wall();
	sn->clock = clock;
	SCOPED_LOCK(&d->lock);
	old = replaced(lab, sn->kind);
	if (old)
		unpublish(d, lab, old);
	sn->parent = lab->at;
	lab->at = id;
	if (!strcmp(sn->kind, "golden"))
		lab->golden = id;
	TAILQ_INSERT_TAIL(&lab->snapshots, sn, link);
	events_emit(d, "snapshot", "add", lab->name, sn->name, NULL, snapshot_json(lab, sn));
}

/* Whatever comes: a snapshot that the store calls ready has its files */
static int sync_files(struct labd *d, int64_t id, const struct instances *ins, struct lab_err *err)
{
	char dir[IO_PATH], *slash;
	int r = 0;

	for (size_t i = 0; !r && i < ins->n; i++)
		r = io_sync_dir(disks_frozen_dir(d, ins->v[i], id, dir));
	/* the names of those directories, and of the snapshot's */
	for (int up = 0; !r && ins->n && up < 2 && (slash = strrchr(dir, '/')); up++) {
		*slash = '\0';
		r = io_sync_dir(dir);
	}
	return r < 0 ? lab_fail_errno(err, r, "%s: bringing it to the disk", dir) : 0;
}

int snapshot_make(struct labd *d, const struct snapshot_plan *plan, snapshot_fill fill, void *arg,
		  int64_t *ret_id, struct lab_err *err)
{
	struct lab *lab = plan->lab;
	const struct snapshot *old;
	int64_t id = begin(d, plan, err);
	double clock = 0;
	int r;

	if (id < 0)
		return (int)id;
	r = fill(d, id, plan->ins, arg, &clock, err);
	if (!r)
		r = sync_files(d, id, plan->ins, err);
	pthread_mutex_lock(&d->lock);
	old = replaced(lab, plan->kind);
	pthread_mutex_unlock(&d->lock);
	if (!r)
		r = finish_rows(d, plan, old, id, clock, err);
	if (r < 0) {
		undo(d, lab, id);
		return r;
	}
	/* who is told that it is made can count on it */
	(void)store_sync(d->store, NULL);
	publish(d, plan, id, clock);
	disks_collect(d);
	memory_collect(d);
	if (ret_id)
		*ret_id = id;
	return 0;
}

struct taking {
	struct job *job;
	struct freeze how;
};

static int freeze(struct labd *d, int64_t id, const struct instances *ins, void *arg,
		  double *ret_clock, struct lab_err *err)
{
	const struct taking *t = arg;

	return freeze_run(d, t->job, ins->v, ins->n, id, &t->how, ret_clock, err);
}

int snapshot_take(struct labd *d, struct job *job, const struct snapshot_plan *plan,
		  int64_t *ret_id, struct lab_err *err)
{
	/* a golden is what all starts read: it stands on nothing */
	struct taking t = { job,
			    { .whole = !strcmp(plan->kind, "golden"),
			      .stay = !strcmp(plan->kind, "suspended"),
			      .force = plan->force } };

	return snapshot_make(d, plan, freeze, &t, ret_id, err);
}

/* ---- automatic ones --------------------------------------------------------------- */

int64_t snapshot_expired(struct lab *lab, int64_t spare)
{
	const struct snapshot *sn, *oldest = NULL;
	size_t n = 0;

	TAILQ_FOREACH(sn, &lab->snapshots, link) {
		if (strcmp(sn->kind, "auto") || sn->id == spare)
			continue;
		if (sn->created < num_wall() - SNAPSHOT_DAYS * 86400.0)
			return sn->id;
		if (!n++ || sn->created < oldest->created)
			oldest = sn;
	}
	return n > SNAPSHOT_KEPT ? oldest->id : 0;
}

int snapshot_expire(struct labd *d, struct lab *lab, int64_t spare, struct lab_err *err)
{
	int64_t id;
	int r = 0;

	do {
		pthread_mutex_lock(&d->lock);
		id = snapshot_expired(lab, spare);
		pthread_mutex_unlock(&d->lock);
		if (id)
			r = snapshot_drop(d, lab, id, err);
	} while (!r && id);
	return r;
}

/* "auto-restore-20260131-235959", and more of that second "...-2" */
static void auto_name(struct labd *d, struct lab *lab, const char *before,
		      char name[NAME_MAX_LEN + 1])
{
	time_t now = time(NULL);
	char when[24];
	struct tm tm;

	strftime(when, sizeof(when), "%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
	snprintf(name, NAME_MAX_LEN + 1, AUTO_PREFIX "%s-%s", before, when);
	SCOPED_LOCK(&d->lock);
	for (unsigned int n = 2; model_snapshot(lab, name); n++)
		snprintf(name, NAME_MAX_LEN + 1, AUTO_PREFIX "%s-%s-%u", before, when, n);
}

static int keep_these(struct labd *d, struct job *job, const struct keep *keep,
		      const struct instances *ins, int64_t *ret_id, struct lab_err *err)
{
	char name[NAME_MAX_LEN + 1];
	struct snapshot_plan plan = { keep->lab, name, "auto", ins, keep->force };
	int r;

	auto_name(d, keep->lab, keep->before, name);
	r = ins->n ? snapshot_take(d, job, &plan, ret_id, err) : 0;
	if (!r && ins->n)
		job_note(job, "what was there is kept as snapshot %s", name);
	if (!r)
		r = snapshot_expire(d, keep->lab, keep->spare, err);
	return lab_wrap(err, r, "snapshot before the %s", keep->before);
}

int snapshot_keep(struct labd *d, struct job *job, const struct keep *keep, int64_t *ret_id,
		  struct lab_err *err)
{
	autoinstances struct instances all = { 0 };
	int r = keep->ins ? 0 : instances_with_disks(d, keep->lab, &all, err);

	return r < 0 ? r : keep_these(d, job, keep, keep->ins ?: &all, ret_id, err);
}

int snapshot_set_aside(struct labd *d, struct job *job, struct lab *lab, int64_t id,
		       struct lab_err *err)
{
	const double now = num_wall(); /* it expires as one that is made now */
	char name[NAME_MAX_LEN + 1];
	struct snapshot *sn;

	auto_name(d, lab, SNAPSHOT_SUSPENDED, name);
	if (store_run(d->store, err,
		      "UPDATE snapshots SET kind = 'auto', name = ?, created = ? WHERE id = ?",
		      "sdi", name, now, id) < 0)
		return err->code;
	pthread_mutex_lock(&d->lock);
	sn = model_snapshot_id(lab, id);
	if (sn) {
		events_emit(d, "snapshot", "remove", lab->name, sn->name, NULL,
			    json_pack("{s:I s:s}", "id", (json_int_t)id, "name", sn->name));
		snprintf(sn->name, sizeof(sn->name), "%s", name);
		snprintf(sn->kind, sizeof(sn->kind), "auto");
		sn->created = now;
		events_emit(d, "snapshot", "add", lab->name, sn->name, NULL,
			    snapshot_json(lab, sn));
	}
	pthread_mutex_unlock(&d->lock);
	job_note(job, "it is kept as snapshot %s", name);
	return 0;
}

/* ---- removing and restoring --------------------------------------------------------- */

void snapshot_leave(struct labd *d, struct lab *lab, int64_t id)
{
	SCOPED_LOCK(&d->lock);
	struct snapshot *sn = model_snapshot_id(lab, id);

	if (sn)
		unpublish(d, lab, sn);
}

int snapshot_drop(struct labd *d, struct lab *lab, int64_t id, struct lab_err *err)
{
	int r = remove_row(d, id, err);

	if (r < 0)
		return r;
	snapshot_leave(d, lab, id);
	disks_collect(d);
	memory_collect(d);
	return lab_save(d, lab, err);
}

static int read_json(void *arg, sqlite3_stmt *st)
{
	*(json_t **)arg = json_loads(store_text(st, 0), 0, NULL);
	return 0;
}

json_t *snapshot_spec(struct labd *d, int64_t id)
{
	json_t *spec = NULL;

	(void)store_each(d->store, NULL, read_json, &spec,
			 "SELECT spec FROM snapshots WHERE id = ?", "i", id);
	return spec;
}

/* The lab's specification, with those of the members and the networks as they were */
static json_t *spec_then(struct labd *d, struct lab *lab, int64_t id, const struct instances *ins)
{
	autojson json_t *then = snapshot_spec(d, id);
	json_t *spec, *now, *part;

	spec = json_deep_copy(lab->spec);
	now = json_object_get(spec, "instances");
	json_object_update(json_object_get(spec, "networks"), json_object_get(then, "networks"));
	for (size_t i = 0; i < ins->n; i++) {
		part = json_object_get(json_object_get(then, "instances"), ins->v[i]->name);
		if (part)
			json_object_set(now, ins->v[i]->name, part);
	}
	return spec;
}

int snapshot_bring_back(struct labd *d, struct job *job, struct lab *lab, int64_t id,
			const struct instances *ins, bool spec, const struct repair *repair,
			struct lab_err *err)
{
	json_t *then = spec ? spec_then(d, lab, id, ins) : NULL;
	struct restore restore = {
		.lab = lab, .ins = ins->v, .n = ins->n, .snapshot = id, .spec = then
	};
	const struct snapshot *sn;
	int r;

	if (repair)
		restore.repair = *repair;
	pthread_mutex_lock(&d->lock);
	sn = model_snapshot_id(lab, id);
	restore.clock = sn ? sn->clock : 0;
	pthread_mutex_unlock(&d->lock);
	/* without files it would take all disks away */
	r = sn ? restore_run(d, job, &restore, err)
	       : lab_fail(err, -ENOENT, "the snapshot is gone");
	json_decref(then);
	memory_collect(d);
	return r;
}

/* ---- after a start -------------------------------------------------------------------- */

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
			 "SELECT id FROM snapshots WHERE state = 'creating' AND lab = ?", "i",
			 lab->id);
	for (size_t i = 0; i < ids.n; i++)
		undo(d, lab, ids.v[i]);
	disks_repair(d, lab);
	memory_collect(d);
	TAILQ_FOREACH(sn, &lab->snapshots, link)
		sn->size = disks_snapshot_size(d, sn->id) + memory_size(d, sn->id);
}
