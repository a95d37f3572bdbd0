// SPDX-License-Identifier: GPL-2.0-or-later
/* model.c - images, labs, instances, networks and snapshots: load, find, claim */
#define _GNU_SOURCE
#include "labd/model.h"

#include "labd/events.h"
#include "labd/job.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

struct image *model_image(struct labd *d, const char *name)
{
	struct image *im;

	TAILQ_FOREACH(im, &d->images, link)
		if (*name && !strcmp(im->name, name))
			return im;
	return NULL;
}

struct image *model_image_id(struct labd *d, int64_t id)
{
	struct image *im;

	TAILQ_FOREACH(im, &d->images, link)
		if (im->id == id)
			return im;
	return NULL;
}

struct lab *model_lab(struct labd *d, const char *name)
{
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link)
		if (!strcmp(lab->name, name))
			return lab;
	return NULL;
}

struct instance *model_instance(struct lab *lab, const char *name)
{
	struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link)
		if (!strcmp(in->name, name))
			return in;
	return NULL;
}

struct instance *model_instance_id(struct labd *d, int64_t id)
{
	struct instance *in;
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link)
		TAILQ_FOREACH(in, &lab->instances, link)
			if (in->id == id)
				return in;
	return NULL;
}

struct instance *model_instance_of(struct labd *d, const struct guest *g)
{
	struct instance *in;
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link)
		TAILQ_FOREACH(in, &lab->instances, link)
			if (in->guest == g)
				return in;
	return NULL;
}

struct snapshot *model_snapshot(struct lab *lab, const char *name)
{
	struct snapshot *sn;

	TAILQ_FOREACH(sn, &lab->snapshots, link)
		if (!strcmp(sn->name, name))
			return sn;
	return NULL;
}

struct snapshot *model_snapshot_id(struct lab *lab, int64_t id)
{
	struct snapshot *sn;

	TAILQ_FOREACH(sn, &lab->snapshots, link)
		if (sn->id == id)
			return sn;
	return NULL;
}

static int busy(struct labd *d, const char *what, const char *name, int64_t id, struct lab_err *err)
{
	struct job *job = job_find(d, id);

	return lab_fail(err, -EBUSY,
			"%s %s is busy with job %lld (%s): wait for it (labctl wait %lld) or stop "
			"it (labctl cancel %lld)",
			what, name, (long long)id, job ? job->kind : "ended", (long long)id,
			(long long)id);
}

int model_claim(struct labd *d, struct lab *lab, struct instance *in, int64_t job,
		struct lab_err *err)
{
	struct instance *other;

	if (lab->job)
		return busy(d, "lab", lab->name, lab->job, err);
	if (in) {
		if (in->job)
			return busy(d, "instance", in->name, in->job, err);
		in->job = job;
		instance_emit(d, in);
		return 0;
	}
	TAILQ_FOREACH(other, &lab->instances, link)
		if (other->job)
			return busy(d, "instance", other->name, other->job, err);
	lab->job = job;
	TAILQ_FOREACH(other, &lab->instances, link)
		other->job = job;
	return 0;
}

void model_release(struct labd *d, int64_t job)
{
	struct instance *in;
	struct image *im;
	struct lab *lab;

	TAILQ_FOREACH(im, &d->images, link) {
		if (im->job != job)
			continue;
		im->job = 0;
		if (im->name[0])
			events_emit(d, "image", "change", "", im->name, NULL, image_json(d, im));
	}
	TAILQ_FOREACH(lab, &d->labs, link) {
		if (lab->job == job) {
			lab->job = 0;
			lab->idle = num_now_us();
		}
		TAILQ_FOREACH(in, &lab->instances, link) {
			if (in->job != job)
				continue;
			in->job = 0;
			lab->idle = num_now_us();
			instance_emit(d, in);
		}
	}
}

#define OF_LAB                                                                                     \
	" lab IN (SELECT id FROM labs WHERE substr(name, 1, 1) <> '.' AND (?1 = 0 OR id = ?1))"

static int load_image(void *arg, sqlite3_stmt *st)
{
	struct image *im = calloc(1, sizeof(*im));
	struct labd *d = arg;

	if (!im)
		return -ENOMEM;
	im->id = sqlite3_column_int64(st, 0);
	snprintf(im->name, sizeof(im->name), "%s", store_text(st, 1));
	snprintf(im->state, sizeof(im->state), "%s", store_text(st, 2));
	snprintf(im->recipe, sizeof(im->recipe), "%s", store_text(st, 3));
	snprintf(im->base, sizeof(im->base), "%s", store_text(st, 4));
	im->created = sqlite3_column_double(st, 5);
	im->protect = sqlite3_column_int(st, 6);
	snprintf(im->error, sizeof(im->error), "%s", store_text(st, 7));
	TAILQ_INSERT_TAIL(&d->images, im, link);
	return 0;
}

static int load_lab(void *arg, sqlite3_stmt *st)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	struct labd *d = arg;

	if (!lab)
		return -ENOMEM;
	TAILQ_INIT(&lab->instances);
	TAILQ_INIT(&lab->networks);
	TAILQ_INIT(&lab->snapshots);
	pthread_mutex_init(&lab->keeper_lock, NULL);
	lab->id = sqlite3_column_int64(st, 0);
	snprintf(lab->name, sizeof(lab->name), "%s", store_text(st, 1));
	snprintf(lab->state, sizeof(lab->state), "down");
	lab->file = strdup(store_text(st, 2));
	lab->spec = json_loads(store_text(st, 3), 0, NULL);
	lab->applied = json_loads(store_text(st, 4), 0, NULL);
	lab->created = sqlite3_column_double(st, 5);
	lab->changed = sqlite3_column_double(st, 6);
	lab->protect = sqlite3_column_int(st, 7);
	snprintf(lab->error, sizeof(lab->error), "%s", store_text(st, 8));
	lab->golden = sqlite3_column_int64(st, 9);
	lab->restore = sqlite3_column_int64(st, 10);
	lab->at = sqlite3_column_int64(st, 11);
	lab->restoring = json_loads(store_text(st, 12), 0, NULL);
	lab->clock = sqlite3_column_double(st, 13);
	lab->repair = sqlite3_column_int64(st, 14);
	TAILQ_INSERT_TAIL(&d->labs, lab, link);
	return lab->file && lab->spec && lab->restoring ? 0 : -EUCLEAN;
}

static struct lab *lab_by_id(struct labd *d, int64_t id)
{
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link)
		if (lab->id == id)
			return lab;
	return NULL;
}

static int load_network(void *arg, sqlite3_stmt *st)
{
	struct lab *lab = lab_by_id(arg, sqlite3_column_int64(st, 1));
	struct network *net = calloc(1, sizeof(*net));

	if (!net || !lab) {
		free(net);
		return -ENOMEM;
	}
	net->id = sqlite3_column_int64(st, 0);
	snprintf(net->name, sizeof(net->name), "%s", store_text(st, 2));
	TAILQ_INSERT_TAIL(&lab->networks, net, link);
	return 0;
}

static int load_instance(void *arg, sqlite3_stmt *st)
{
	struct lab *lab = lab_by_id(arg, sqlite3_column_int64(st, 1));
	struct instance *in = calloc(1, sizeof(*in));

	if (!in || !lab) {
		free(in);
		return -ENOMEM;
	}
	in->lab = lab;
	in->id = sqlite3_column_int64(st, 0);
	snprintf(in->name, sizeof(in->name), "%s", store_text(st, 2));
	snprintf(in->state, sizeof(in->state), "%s", store_text(st, 3));
	snprintf(in->want, sizeof(in->want), "%s", store_text(st, 4));
	in->applied = json_loads(store_text(st, 5), 0, NULL);
	in->image = sqlite3_column_int64(st, 6);
	in->pid = (pid_t)sqlite3_column_int64(st, 7);
	in->start_time = (uint64_t)sqlite3_column_int64(st, 8);
	snprintf(in->digest, sizeof(in->digest), "%s", store_text(st, 9));
	in->started = sqlite3_column_double(st, 10);
	snprintf(in->ready, sizeof(in->ready), "%s", store_text(st, 11));
	in->console_from = sqlite3_column_int64(st, 12);
	in->created = sqlite3_column_double(st, 13);
	in->changed = sqlite3_column_double(st, 14);
	snprintf(in->error, sizeof(in->error), "%s", store_text(st, 15));
	snprintf(in->memory, sizeof(in->memory), "%s", store_text(st, 16));
	in->services = json_loads(store_text(st, 17), 0, NULL) ?: json_object();
	snprintf(in->machine, sizeof(in->machine), "%s", store_text(st, 18));
	in->disks = json_array();
	TAILQ_INSERT_TAIL(&lab->instances, in, link);
	return in->disks && in->services ? 0 : -ENOMEM;
}

static int load_snapshot(void *arg, sqlite3_stmt *st)
{
	struct lab *lab = lab_by_id(arg, sqlite3_column_int64(st, 1));
	struct snapshot *sn = calloc(1, sizeof(*sn));

	if (!sn || !lab) {
		free(sn);
		return -ENOMEM;
	}
	sn->id = sqlite3_column_int64(st, 0);
	snprintf(sn->name, sizeof(sn->name), "%s", store_text(st, 2));
	snprintf(sn->kind, sizeof(sn->kind), "%s", store_text(st, 3));
	sn->created = sqlite3_column_double(st, 4);
	sn->memory = sqlite3_column_int(st, 5);
	sn->parent = sqlite3_column_int64(st, 6);
	sn->clock = sqlite3_column_double(st, 7);
	sn->members = json_array();
	TAILQ_INSERT_TAIL(&lab->snapshots, sn, link);
	return sn->members ? 0 : -ENOMEM;
}

/* A file of an instance: one of its disks, or its part of a snapshot */
static int load_layer(void *arg, sqlite3_stmt *st)
{
	struct instance *in = model_instance_id(arg, sqlite3_column_int64(st, 1));
	int64_t snapshot = sqlite3_column_int64(st, 5);
	const char *image = strstr(store_text(st, 3), "/images/");
	struct snapshot *sn;
	long long id;

	if (!in)
		return 0;
	if (!in->image && image && sscanf(image, "/images/%lld/disk.qcow2", &id) == 1)
		in->image = id;
	if (!snapshot)
		return json_array_append_new(
			in->disks, json_pack("{s:s s:I s:s s:s}", "name", store_text(st, 2), "size",
					     (json_int_t)sqlite3_column_int64(st, 4), "base",
					     store_text(st, 3), "path", store_text(st, 0)));
	TAILQ_FOREACH(sn, &in->lab->snapshots, link) {
		bool known = false;
		const json_t *m;
		size_t i;

		if (sn->id != snapshot)
			continue;
		json_array_foreach(sn->members, i, m)
			known |= !strcmp(json_string_value(m), in->name);
		if (!known)
			json_array_append_new(sn->members, json_string(in->name));
	}
	return 0;
}

/* Of all labs, or of one; names that begin with '.' are of what is in the trash, or not ready */
static int load(struct labd *d, int64_t lab, struct lab_err *err)
{
	static const struct {
		int (*row)(void *arg, sqlite3_stmt *st);
		const char *sql;
	} steps[] = {
		{ load_image,
		  "SELECT id, name, state, recipe, base, created, protect, error FROM images"
		  " WHERE state <> 'trashed' AND ?1 = 0" },
		{ load_lab, "SELECT id, name, file, spec, networks, created, changed, protect, "
			    "error, golden, restore, at, restoring, clock, repair FROM labs"
			    " WHERE substr(name, 1, 1) <> '.' AND (?1 = 0 OR id = ?1)" },
		{ load_network, "SELECT id, lab, name FROM networks WHERE" OF_LAB " ORDER BY id" },
		{ load_instance,
		  "SELECT id, lab, name, state, want, applied, image, pid, start_time, digest, "
		  "started,"
		  " ready, console_from, created, changed, error, memory, services, machine"
		  " FROM instances"
		  " WHERE substr(name, 1, 1) <> '.' AND" OF_LAB " ORDER BY id" },
		{ load_snapshot,
		  "SELECT id, lab, name, kind, created,"
		  " EXISTS(SELECT 1 FROM memories WHERE snapshot = snapshots.id), parent_id,"
		  " clock"
		  " FROM snapshots WHERE state = 'ready' AND" OF_LAB " ORDER BY id" },
		{ load_layer,
		  "SELECT path, instance, disk, base, size, snapshot FROM layers WHERE ?1 = 0 OR"
		  " instance IN (SELECT id FROM instances WHERE lab = ?1)"
		  " ORDER BY disk <> 'root', rowid" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = store_each(d->store, err, steps[i].row, d, steps[i].sql, "i", lab);

		if (r < 0)
			return lab_wrap(err, r, "reading the store");
	}
	return 0;
}

int model_load(struct labd *d, struct lab_err *err)
{
	return load(d, 0, err);
}

int model_load_image(struct labd *d, int64_t id, struct image **ret, struct lab_err *err)
{
	struct labd apart = { .store = d->store };
	int r;

	TAILQ_INIT(&apart.images);
	r = store_each(d->store, err, load_image, &apart,
		       "SELECT id, name, state, recipe, base, created, protect, error FROM images"
		       " WHERE id = ?",
		       "i", id);
	*ret = TAILQ_FIRST(&apart.images);
	return r || *ret ? r : lab_fail(err, -ENOENT, "the image is gone");
}

int model_load_lab(struct labd *d, int64_t id, struct lab **ret, struct lab_err *err)
{
	struct labd apart = { .store = d->store, .paths = d->paths };
	struct lab *lab;
	int r;

	TAILQ_INIT(&apart.labs);
	TAILQ_INIT(&apart.images);
	r = load(&apart, id, err);
	lab = TAILQ_FIRST(&apart.labs);
	if (!r && !lab)
		r = lab_fail(err, -ENOENT, "the lab is gone");
	if (lab && r < 0)
		lab_forget(&apart, lab);
	else if (lab)
		TAILQ_REMOVE(&apart.labs, lab, link);
	*ret = r < 0 ? NULL : lab;
	return r;
}

void model_free(struct labd *d)
{
	struct image *im;
	struct lab *lab;

	while ((lab = TAILQ_FIRST(&d->labs)))
		lab_forget(d, lab);
	while ((im = TAILQ_FIRST(&d->images))) {
		TAILQ_REMOVE(&d->images, im, link);
		free(im);
	}
}
