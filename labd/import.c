// SPDX-License-Identifier: GPL-2.0-or-later
/* import.c - a lab out of one file */
#define _GNU_SOURCE
#include "labd/import_impl.h"

#include "labd/disk.h"
#include "labd/golden.h"
#include "labd/imagejob.h"
#include "labd/layer.h"
#include "labd/memory.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

#define LINE "import" /* the job's line of progress */
#define MARK "import/"
#define MAX_CLOCK 4294967296.0 /* seconds since 1970 that a guest can be in */

/* ---- the mark in the store ------------------------------------------------------------ */

static const char *mark(char buf[48], int64_t job)
{
	snprintf(buf, 48, MARK "%lld", (long long)job);
	return buf;
}

int import_mark(struct import *m, int64_t job, struct lab_err *err)
{
	autofree char *made = json_dumps(m->made, JSON_COMPACT);
	char key[48];
	int64_t r = made ? store_run(m->d->store, err,
				     "INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)", "ss",
				     mark(key, job), made)
			 : lab_fail(err, -ENOMEM, "out of memory");

	return r < 0 ? (int)r : 0;
}

static int drop_mark(struct labd *d, const char *key, struct lab_err *err)
{
	int64_t r = store_run(d->store, err, "DELETE FROM meta WHERE key = ?", "s", key);

	return r < 0 ? (int)r : 0;
}

/* ---- the lab ------------------------------------------------------------------------- */

static int fill(struct labd *d, int64_t id, const struct instances *ins, void *arg,
		double *ret_clock, struct lab_err *err)
{
	struct import *m = arg;
	double clock = json_number_value(import_part(m, "clock"));
	int r = 0;

	*ret_clock = clock > 0 && clock < MAX_CLOCK ? clock : 0;
	for (size_t i = 0; !r && i < ins->n; i++)
		r = import_member(m, ins->v[i], id, err);
	for (size_t i = 0; r < 0 && i < ins->n; i++)
		disks_disown(d, ins->v[i], id);
	return r;
}

/* Files for the guests to write, on top of the snapshot's */
static int make_heads(struct labd *d, const struct instances *ins, int64_t id, struct lab_err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < ins->n; i++)
		r = disks_prepare(d, ins->v[i], id, LAYER_PREPARED, err);
	return r ? r : disks_thaw(d, ins->v, ins->n, id, err);
}

static int members(struct import *m, struct lab *lab, struct instances *ret, struct lab_err *err)
{
	SCOPED_LOCK(&m->d->lock);
	const char *name;
	json_t *member;
	int r = 0;

	json_object_foreach((json_t *)import_part(m, "instances"), name, member)
		if (!r && model_instance(lab, name))
			r = instances_add(ret, model_instance(lab, name), err);
	return r;
}

/* The last words of the job: how the lab will come up */
static void say(struct import *m, struct job *job, struct lab *lab, const struct instances *ins)
{
	struct lab_err why = LAB_ERR_INIT;

	if (!m->ram)
		job_step(job, "its disks are here: labctl up %s boots", lab->name);
	else if (golden_usable(m->d, lab, ins, &why) < 0)
		job_step(job,
			 "its memory cannot be used here: %s; labctl up %s boots from its disks",
			 why.text, lab->name);
	else
		job_step(job, "its memory can be used here: labctl up %s goes on where it was",
			 lab->name);
}

/* From here on it stays, and is the user's */
static int finish(struct import *m, const struct job *job, struct lab *lab, struct lab_err *err)
{
	char key[48];
	int r = store_begin(m->d->store, err);

	if (r < 0)
		return r;
	if (store_run(m->d->store, err, "UPDATE labs SET file = '' WHERE id = ?", "i", lab->id) < 0)
		r = err->code;
	if (!r)
		r = drop_mark(m->d, mark(key, job->id), err);
	r = store_end(m->d->store, r, err);
	if (r < 0)
		return r;
	SCOPED_LOCK(&m->d->lock);
	lab->file[0] = '\0';
	return 0;
}

static int fill_lab(struct import *m, struct job *job, struct lab *lab, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	struct snapshot_plan plan = { .lab = lab,
				      .name = m->ram ? SNAPSHOT_GOLDEN : "imported",
				      .kind = m->ram ? "golden" : "user",
				      .ins = &ins };
	int64_t id;
	int r = members(m, lab, &ins, err);

	if (!r && ins.n)
		r = snapshot_make(m->d, &plan, fill, m, &id, err);
	if (!r && ins.n)
		r = make_heads(m->d, &ins, id, err);
	if (!r)
		r = job_check(job, err);
	if (!r)
		r = finish(m, job, lab, err);
	if (!r)
		say(m, job, lab, &ins);
	return r;
}

static int drop_lab(struct labd *d, struct lab *lab)
{
	struct lab_err err = LAB_ERR_INIT;
	char dir[IO_PATH];

	lab_dir(d, lab, dir);
	if (lab_drop(d, lab, &err) < 0) {
		log_error("lab %s: its import is undone at the next start: %s", lab->name,
			  err.text);
		return err.code;
	}
	(void)io_remove_tree(AT_FDCWD, dir);
	disks_collect(d);
	memory_collect(d);
	return 0;
}

static struct lab *marked_lab(struct labd *d, const char *key)
{
	SCOPED_LOCK(&d->lock);
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link)
		if (!strcmp(lab->file, key))
			return lab;
	return NULL;
}

/* What was done so far; the mark stays while the lab does */
static void undo(struct labd *d, const char *key, const json_t *made)
{
	struct lab *lab = marked_lab(d, key);
	const json_t *id;
	size_t i;

	if (lab && drop_lab(d, lab) < 0)
		return;
	json_array_foreach(made, i, id) {
		struct image *im;

		pthread_mutex_lock(&d->lock);
		im = model_image_id(d, json_integer_value(id));
		pthread_mutex_unlock(&d->lock);
		if (im)
			(void)image_drop(d, im);
	}
	(void)drop_mark(d, key, NULL);
}

static int make_lab(struct import *m, struct job *job, struct lab_err *err)
{
	struct lab *lab = NULL;
	char key[48];
	int r;

	import_images_name(m);
	r = lab_add(m->d, mark(key, job->id), json_incref(m->spec), job->id, &lab, err);
	if (r == -EEXIST && !lab)
		r = lab_fail(err, r, "there is a lab %s already", m->name);
	if (!r)
		r = fill_lab(m, job, lab, err);
	if (!r)
		lab_settle(m->d, lab, "");
	return r;
}

/* ---- the job --------------------------------------------------------------------------- */

static int extract(struct import *m, struct job *job, struct lab_err *err)
{
	struct job_shown shown = { job, job_item(job, LINE) };
	struct image_progress progress = imagejob_progress(&shown);
	int r = import_space(m, err);

	if (!r && (r = io_mkdirs(m->dir, 0700)) < 0)
		lab_fail_errno(err, r, "%s", m->dir);
	return r ? r : pack_extract(m->pack, m->dir, m->skip, &progress, err);
}

int import_run(struct labd *d, struct job *job, struct import *m, struct lab_err *err)
{
	char key[48], parent[IO_PATH];
	int r;

	job_add_item(job, LINE);
	io_path(m->dir, "%s/imports/%lld", d->paths.state, (long long)job->id);
	json_object_clear(m->skip);
	if (!m->ram)
		import_skip_memories(m);
	import_images_find(m, job);
	r = extract(m, job, err);
	if (!r)
		r = import_mark(m, job->id, err);
	if (!r) {
		job_item_step(job, job_item(job, LINE), "images", 0);
		r = import_images_make(m, job, err);
	}
	if (!r) {
		job_item_step(job, job_item(job, LINE), "lab", 0);
		r = make_lab(m, job, err);
	}
	if (r < 0)
		undo(d, mark(key, job->id), m->made);
	(void)io_remove_tree(AT_FDCWD, m->dir);
	(void)rmdir(io_path(parent, "%s/imports", d->paths.state));
	return r;
}

/* ---- after a start ----------------------------------------------------------------------- */

static int read_mark(void *arg, sqlite3_stmt *st)
{
	json_object_set_new(arg, store_text(st, 0), json_loads(store_text(st, 1), 0, NULL));
	return 0;
}

void import_recover(struct labd *d)
{
	autojson json_t *marks = json_object();
	const char *key;
	char dir[IO_PATH];
	json_t *made;

	(void)store_each(d->store, NULL, read_mark, marks,
			 "SELECT key, value FROM meta WHERE key LIKE '" MARK "%'", "");
	json_object_foreach(marks, key, made) {
		log_info("an import was not finished: removing what there is of it");
		undo(d, key, made);
	}
	(void)io_remove_tree(AT_FDCWD, io_path(dir, "%s/imports", d->paths.state));
}
