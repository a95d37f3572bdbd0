// SPDX-License-Identifier: GPL-2.0-or-later
/* packjob.c - jobs that export and import labs */
#define _GNU_SOURCE
#include "labd/packjob.h"

#include "labd/export.h"
#include "labd/import.h"
#include "labd/snapshot.h"
#include "lib/io.h"
#include "lib/util.h"

#include <string.h>

/* ---- export -------------------------------------------------------------------- */

/**
 * struct out - an export
 * @snapshot:	0: an automatic one is made
 */
struct out {
	struct lab *lab;
	int64_t snapshot;
	bool ram;
	char path[IO_PATH];
};

static int run_export(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct out *o = arg;
	/* nothing of it runs (choose()) */
	struct keep keep = { .lab = o->lab, .before = "export" };
	int r = o->snapshot ? 0 : snapshot_keep(d, job, &keep, &o->snapshot, err);

	return r < 0 ? r : export_run(d, job, o->lab, o->snapshot, o->ram, o->path, err);
}

static bool any_disks(const struct lab *lab)
{
	const struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link)
		if (json_array_size(in->disks))
			return true;
	return false;
}

static struct snapshot *newest(const struct lab *lab)
{
	struct snapshot *sn, *last = NULL;

	TAILQ_FOREACH(sn, &lab->snapshots, link)
		last = sn;
	return last;
}

/* The snapshot to export; NULL: what is now. The lock is held */
static int choose(struct lab *lab, const char *from, bool ram, struct snapshot **ret,
		  struct lab_err *err)
{
	struct snapshot *sn = from ? model_snapshot(lab, from)
				   : model_snapshot_id(lab, lab->golden);

	if (from && !sn)
		return lab_fail(err, -ENOENT, "lab %s has no snapshot %s: labctl snapshot ls",
				lab->name, from);
	if (!sn && !ram && lab_runs(lab))
		sn = newest(lab);
	*ret = sn;
	if (ram && (!sn || !sn->memory))
		return lab_fail(err, -ENODATA,
				"%s of lab %s has no memory: export without it, or make a golden of"
				" the running lab: labctl golden %s",
				sn ? sn->name : "no golden", lab->name, lab->name);
	if (!sn && lab_runs(lab))
		return lab_fail(
			err, -EBUSY,
			"lab %s runs and has no snapshot to export: labctl golden %s, labctl"
			" snapshot create %s NAME, or labctl down %s",
			lab->name, lab->name, lab->name, lab->name);
	if (!sn && !any_disks(lab))
		return lab_fail(err, -ENODATA,
				"lab %s has no disks yet: it is no more than its lab file",
				lab->name);
	return 0;
}

int packjob_export(struct labd *d, const char *lab_name, const char *from, bool ram,
		   const char *path, int64_t *ret_job, struct lab_err *err)
{
	struct snapshot *sn = NULL;
	struct lab *lab;
	struct job *job;
	struct out *o;
	int r;

	if (!path || path[0] != '/')
		return lab_fail(err, -EINVAL, "export: an absolute path is needed");
	if (!access(path, F_OK))
		return lab_fail(err, -EEXIST, "%s exists already", path);
	SCOPED_LOCK(&d->lock);
	r = labjob_find(d, lab_name, NULL, &lab, NULL, err);
	if (!r)
		r = choose(lab, from, ram, &sn, err);
	if (r < 0)
		return r;
	o = calloc(1, sizeof(*o));
	if (!o)
		return lab_fail(err, -ENOMEM, "out of memory");
	*o = (struct out){ .lab = lab, .snapshot = sn ? sn->id : 0, .ram = ram };
	io_path(o->path, "%s", path);
	job = job_new(d, "export", lab->name, "", run_export, o, free);
	r = model_claim(d, lab, NULL, job->id, err);
	if (r < 0)
		job_abandon(job);
	else
		*ret_job = job_start(job);
	return r;
}

/* ---- import --------------------------------------------------------------------- */

static int run_import(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	return import_run(d, job, arg, err);
}

static void free_import(void *arg)
{
	import_free(arg);
}

int packjob_import(struct labd *d, const json_t *body, json_t **ret_found, int64_t *ret_job,
		   struct lab_err *err)
{
	const char *path = json_string_value(json_object_get(body, "import"));
	const char *name = json_string_value(json_object_get(body, "name"));
	bool ram = !json_is_false(json_object_get(body, "ram"));
	struct import *m = NULL;
	int r;

	if (!path || path[0] != '/')
		return lab_fail(err, -EINVAL, "import: an absolute path is needed");
	r = import_look(d, path, name && *name ? name : NULL, ram, &m, ret_found, err);
	if (r < 0)
		return r;
	if (json_is_true(json_object_get(body, "check"))) {
		import_free(m);
		return 0;
	}
	SCOPED_LOCK(&d->lock);
	*ret_job = job_start(job_new(d, "import", import_lab(m), "", run_import, m, free_import));
	return 0;
}
