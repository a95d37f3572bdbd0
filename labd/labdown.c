// SPDX-License-Identifier: GPL-2.0-or-later
/* labdown.c - the end of labs: down, and remove */
#define _GNU_SOURCE
#include "labd/boot.h"
#include "labd/labjob.h"
#include "labd/network.h"
#include "labd/snapshot.h"
#include "labd/spare.h"
#include "labd/trash.h"
#include "labd/work.h"
#include "lib/util.h"

struct down {
	struct lab *lab;
	bool kill, remove, memory;
	struct job *job;
	struct labd *d;
	struct instance **ins;
	struct lab_err *errs;
};

static void stop_one(void *arg, size_t i)
{
	struct down *w = arg;
	struct job_item *item = job_item(w->job, w->ins[i]->name);
	int r;

	job_item_step(w->job, item, w->kill ? "kill" : "shut down", 0);
	r = boot_stop(w->d, w->job, w->ins[i], !w->kill, &w->errs[i]);
	(void)lab_wrap(&w->errs[i], r, "instance %s", w->ins[i]->name);
	job_item_end(w->job, item, r);
}

static int stop_all(struct labd *d, struct job *job, struct down *w, struct lab_err *err)
{
	autofree struct instance **ins = NULL;
	autofree struct lab_err *errs = NULL;
	size_t n = 0, count = 0;
	struct instance *in;
	int r = 0;

	TAILQ_FOREACH(in, &w->lab->instances, link)
		count++;
	ins = calloc(count + 1, sizeof(struct instance *));
	errs = calloc(count + 1, sizeof(*errs));
	if (!ins || !errs)
		return lab_fail(err, -ENOMEM, "out of memory");
	TAILQ_FOREACH(in, &w->lab->instances, link) {
		instance_set_want(d, in, "stopped");
		if (!instance_running(in))
			continue;
		job_add_item(job, "%s", in->name);
		ins[n++] = in;
	}
	w->d = d;
	w->job = job;
	w->ins = ins;
	w->errs = errs;
	spares_drop(d, w->lab, ins, n);
	work_fan_out(n, stop_one, w);
	for (size_t i = 0; i < n && !r; i++)
		if (errs[i].code)
			r = lab_fail(err, errs[i].code, "%s", errs[i].text);
	return r;
}

/*
 * What runs is nowhere else; that it cannot be kept does not keep anybody from destroying it.
 * But who cancels meanwhile, as the end of labd does, wants the lab to stay
 */
static int keep_memory(struct labd *d, struct job *job, struct lab *lab, struct lab_err *err)
{
	struct keep keep = { .lab = lab, .before = "removal", .force = true };
	struct lab_err why = LAB_ERR_INIT;
	int r = 0;

	if (trash_keeps(d) && lab_runs(lab))
		r = snapshot_keep(d, job, &keep, NULL, &why);
	if (job_check(job, err) < 0)
		return err->code;
	if (r < 0)
		job_note(job, "memory is not kept: %s", why.text);
	return 0;
}

static int run_down(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct down *w = arg;
	int r = w->memory ? keep_memory(d, job, w->lab, err) : 0;

	if (r < 0)
		return r;
	lab_set_state(d, w->lab, "stopping", "");
	r = stop_all(d, job, w, err);
	if (r < 0) {
		/* what still runs keeps its networks */
		lab_settle(d, w->lab, r == -ECANCELED ? "" : err->text);
		return r;
	}
	job_step(job, "networks");
	r = network_down(d, w->lab, err);
	if (!w->remove) {
		lab_settle(d, w->lab, r < 0 ? err->text : "");
		return r;
	}
	job_step(job, "disks");
	return trash_lab(d, w->lab, err);
}

/* @how: lab, job and what is made by it are filled in here */
static int start_down(struct labd *d, const char *name, struct down how, int64_t *ret_job,
		      struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	struct down *w;
	struct lab *lab;
	struct job *job;
	int r = labjob_find(d, name, NULL, &lab, NULL, err);

	if (r < 0)
		return r;
	if (how.remove && lab->protect)
		return lab_fail(err, -EPERM, "lab %s is protected: take the protection off first",
				name);
	w = calloc(1, sizeof(*w));
	if (!w)
		return lab_fail(err, -ENOMEM, "out of memory");
	*w = how;
	w->lab = lab;
	job = job_new(d, how.remove ? "remove" : "down", name, "", run_down, w, free);
	r = model_claim(d, lab, NULL, job->id, err);
	if (r < 0) {
		job_abandon(job);
		return r;
	}
	*ret_job = job_start(job);
	return 0;
}

int labjob_down(struct labd *d, const char *lab, bool kill, int64_t *ret_job, struct lab_err *err)
{
	return start_down(d, lab, (struct down){ .kill = kill }, ret_job, err);
}

int labjob_remove(struct labd *d, const char *lab, bool memory, int64_t *ret_job,
		  struct lab_err *err)
{
	return start_down(d, lab, (struct down){ .kill = true, .remove = true, .memory = memory },
			  ret_job, err);
}
