// SPDX-License-Identifier: GPL-2.0-or-later
/* labjob.c - what is done to whole labs: define, change, up, reset */
#define _GNU_SOURCE
#include "labd/labjob.h"

#include "labd/boot.h"
#include "labd/bootid.h"
#include "labd/disk.h"
#include "labd/golden.h"
#include "labd/imagejob.h"
#include "labd/labfile.h"
#include "labd/network.h"
#include "labd/plan.h"
#include "labd/service.h"
#include "labd/spare.h"
#include "labd/startset.h"
#include "labd/store.h"
#include "labd/trash.h"
#include "labd/watch.h"
#include "lib/jobj.h"
#include "lib/util.h"

#include <string.h>

int labjob_find(struct labd *d, const char *lab, const char *instance, struct lab **ret_lab,
		struct instance **ret_in, struct lab_err *err)
{
	*ret_lab = model_lab(d, lab);
	if (!*ret_lab)
		return lab_fail(err, -ENOENT, "there is no lab %s: labctl ls", lab);
	if (!instance)
		return 0;
	*ret_in = model_instance(*ret_lab, instance);
	if (!*ret_in)
		return lab_fail(err, -ENOENT, "lab %s has no instance %s: labctl status %s", lab,
				instance, lab);
	return 0;
}

/**
 * struct up - what `up` or `reset` is about
 * @names:	only these instances are reset and started
 * @boot:	nothing saved is to be used
 * @no_golden:	none is to be made
 * @stale:	the lab's golden does not fit any more
 */
struct up {
	struct lab *lab;
	json_t *names;
	struct repair repair;
	bool reset, boot, no_golden, stale;
};

static void free_up(void *arg)
{
	struct up *u = arg;

	json_decref(u->names);
	free(u);
}

/* Stop and forget instances that the specification no longer has */
static int remove_gone(struct labd *d, struct job *job, struct lab *lab, struct lab_err *err)
{
	json_t *specs = json_object_get(lab->spec, "instances");
	struct instance *in, *next;

	for (in = TAILQ_FIRST(&lab->instances); in; in = next) {
		int r;

		next = TAILQ_NEXT(in, link);
		if (json_object_get(specs, in->name))
			continue;
		job_step(job, "remove %s", in->name);
		r = boot_stop(d, job, in, true, err);
		if (r < 0)
			return lab_wrap(err, r, "instance %s", in->name);
		/* the lab's specification has it no more: what it was started with */
		r = trash_instance(d, in, instance_applied(in), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool selected(const struct up *u, const struct instance *in)
{
	const json_t *name;
	size_t i;

	if (!json_array_size(u->names))
		return true;
	json_array_foreach(u->names, i, name)
		if (!strcmp(json_string_value(name), in->name))
			return true;
	return false;
}

/*
 * Apply to running instances what changed: forwards in place; what cannot be
 * changed in a running guest stops it, so that it is started again.
 */
static int apply_changes(struct labd *d, struct job *job, struct lab *lab, struct lab_err *err)
{
	autojson json_t *before = plan_applied(d, lab->name), *changes = NULL;
	int r = labfile_changes(before, lab->spec, &changes, err);
	json_t *c;
	size_t i;

	json_array_foreach(changes, i, c) {
		const char *action = json_string_value(json_object_get(c, "action"));
		const char *name = json_string_value(json_object_get(c, "name"));
		struct instance *in = model_instance(lab, name);

		if (r < 0 || !in || !instance_running(in) ||
		    strcmp(json_string_value(json_object_get(c, "type")), "instance"))
			continue;
		job_log(job, "%s %s: %s", action, name,
			json_string_value(json_object_get(c, "reason")));
		if (!strcmp(action, "restart")) {
			services_take_away(d, job, in);
			r = boot_stop(d, job, in, true, err);
		} else if (!strcmp(action, "change"))
			r = startset_refresh(d, in, err);
	}
	return r;
}

static int ensure_images(struct labd *d, struct job *job, const json_t *images, struct lab_err *err)
{
	const json_t *im;
	size_t i;

	json_array_foreach(images, i, im) {
		const char *name = json_string_value(json_object_get(im, "name"));
		struct job_item *item;
		char line[2 * NAME_MAX_LEN];
		int r = job_check(job, err);

		if (r < 0)
			return r;
		snprintf(line, sizeof(line), "image %s", name);
		item = job_item(job, line);
		r = imagejob_ensure(d, job, name, item, err);
		job_item_end(job, item, r);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Lines for images that are to be built, instances, and services of those */
static void add_lines(struct job *job, const struct startset *set, const json_t *images)
{
	const json_t *v;
	size_t i, k;

	json_array_foreach(images, i, v)
		if (strcmp(jobj_text(v, "state"), "ready") != 0)
			job_add_item(job, "image %s", jobj_text(v, "name"));
	for (k = 0; k < set->n; k++)
		job_add_item(job, "%s", set->members[k].in->name);
	for (k = 0; k < set->n; k++)
		json_array_foreach(service_names(set->members[k].in), i, v)
			job_add_item(job, "%s on %s", json_string_value(v),
				     set->members[k].in->name);
}

/* An image that was built anew is for disks that are made from now on */
static void note_old_image(struct labd *d, struct job *job, const struct instance *in)
{
	const char *name = json_string_value(json_object_get(instance_spec(in), "image"));
	const struct image *im;
	bool older;

	pthread_mutex_lock(&d->lock);
	im = model_image(d, name ?: "");
	older = im && in->image && in->image != im->id;
	pthread_mutex_unlock(&d->lock);
	if (older)
		job_note(
			job,
			"%s keeps its disks, which stand on an older image %s: labctl reset --boot "
			"%s/%s makes them anew",
			in->name, name, in->lab->name, in->name);
}

/* A changed lab file takes away the disks of those: nobody may have meant that */
static int keep_old_disks(struct labd *d, struct job *job, const struct up *u,
			  const struct startset *set, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	struct keep keep = { .lab = u->lab, .before = "change", .ins = &ins };
	int r = 0;

	for (size_t i = 0; !r && !u->reset && i < set->n; i++) {
		struct instance *in = set->members[i].in;

		if (instance_other_image(in) && json_array_size(in->disks))
			r = instances_add(&ins, in, err);
	}
	if (!r && ins.n)
		r = snapshot_keep(d, job, &keep, NULL, err);
	return r;
}

/* Fresh disks for those that are to be reset, or whose image is another now */
static int refresh_disks(struct labd *d, struct job *job, const struct up *u,
			 const struct startset *set, struct lab_err *err)
{
	for (size_t i = 0; i < set->n; i++) {
		struct instance *in = set->members[i].in;
		const char *name = json_string_value(json_object_get(instance_spec(in), "image"));
		struct image *im;
		bool fresh;
		int r;

		pthread_mutex_lock(&d->lock);
		im = model_image(d, name ? name : "");
		pthread_mutex_unlock(&d->lock);
		fresh = u->reset || instance_other_image(in);
		if (!fresh)
			note_old_image(d, job, in);
		if (!im || !fresh)
			continue;
		job_item_step(job, job_item(job, in->name), "fresh disks", 0);
		r = boot_stop(d, job, in, false, err);
		if (!r)
			r = disks_reset(d, in, im, err);
		if (r < 0)
			return lab_wrap(err, r, "instance %s", in->name);
	}
	return 0;
}

/* ---- from what was saved ------------------------------------------------------- */

static void add_instances(struct job *job, const struct instances *ins)
{
	for (size_t i = 0; i < ins->n; i++)
		job_add_item(job, "%s", ins->v[i]->name);
}

/* Restore the golden: 1, or 0 and why it will be a boot */
static int bring_golden(struct labd *d, struct job *job, struct up *u, const struct instances *ins,
			struct lab_err *err)
{
	struct lab_err why = LAB_ERR_INIT;
	int r = golden_usable(d, u->lab, ins, &why);

	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		u->stale = true;
		job_note(job, "the golden is not used: %s", why.text);
		return 0;
	}
	add_instances(job, ins);
	/* what runs is dropped because it was asked for; of a lab that is down nobody said so */
	r = 0;
	if (!u->reset)
		r = snapshot_keep(d, job, &(struct keep){ u->lab, "up", ins, 0, true }, NULL, err);
	if (!r)
		r = snapshot_bring_back(d, job, u->lab, u->lab->golden, ins, false, &u->repair,
					err);
	return r < 0 ? r : 1;
}

/* Go on where a suspended lab was: 1, or 0 if it was not or cannot */
static int bring_suspended(struct labd *d, struct job *job, struct up *u,
			   const struct instances *ins, struct lab_err *err)
{
	struct lab_err why = LAB_ERR_INIT;
	struct snapshot *sn;
	int64_t id;
	int r = 0;

	pthread_mutex_lock(&d->lock);
	sn = model_snapshot(u->lab, SNAPSHOT_SUSPENDED);
	id = sn ? sn->id : 0;
	pthread_mutex_unlock(&d->lock);
	if (!id)
		return 0;
	if (u->reset && json_array_size(u->names))
		return lab_fail(err, -EBUSY,
				"lab %s is suspended: labctl up %s goes on where it was, labctl"
				" reset %s takes all of it back",
				u->lab->name, u->lab->name, u->lab->name);
	if (!u->reset && golden_fits(d, u->lab, ins, id, &why) < 0) {
		job_note(job, "the suspended state is not used: %s", why.text);
		return snapshot_set_aside(d, job, u->lab, id, err);
	}
	if (!u->reset) {
		add_instances(job, ins);
		/* a boot or a restore in between has left disks that nobody else has */
		r = snapshot_keep(d, job, &(struct keep){ u->lab, "up", ins, 0, true }, NULL, err) ?:
		    snapshot_bring_back(d, job, u->lab, id, ins, false, &u->repair, err) ?: 1;
	}
	return r < 0 ? r : snapshot_drop(d, u->lab, id, err) ?: r;
}

/* 1: all is there; 0: boot */
static int bring_saved(struct labd *d, struct job *job, struct up *u, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	struct instance *in;
	int r = 0;

	TAILQ_FOREACH(in, &u->lab->instances, link)
		if (!r && selected(u, in))
			r = instances_add(&ins, in, err);
	if (!r)
		r = bring_suspended(d, job, u, &ins, err) ?: bring_golden(d, job, u, &ins, err);
	for (size_t i = 0; r > 0 && i < ins.n; i++)
		note_old_image(d, job, ins.v[i]);
	return r;
}

/* ---- by booting ------------------------------------------------------------------ */

static int bring_up(struct labd *d, struct job *job, const struct up *u, struct startset *set,
		    struct lab_err *err)
{
	autojson json_t *images = plan_images(d, u->lab->spec);
	int r;

	add_lines(job, set, images);
	r = ensure_images(d, job, images, err);
	if (!r)
		r = job_check(job, err);
	if (!r)
		r = keep_old_disks(d, job, u, set, err);
	if (!r)
		r = refresh_disks(d, job, u, set, err);
	if (!r) {
		job_step(job, "networks");
		r = network_up(d, u->lab, err);
		/* nobody remembers an earlier time any more */
		if (!r && !lab_runs(u->lab))
			repair_set_lab_time(d, u->lab, 0);
	}
	if (!r) {
		job_step(job, "instances");
		r = startset_run(set, err);
	}
	return r;
}

static int boot_all(struct labd *d, struct job *job, struct up *u, struct lab_err *err)
{
	bool whole = !json_array_size(u->names) && (u->reset || !lab_runs(u->lab));
	struct startset set = { .d = d, .job = job };
	struct instance *in;
	int r = u->reset ? 0 : apply_changes(d, job, u->lab, err);

	TAILQ_FOREACH(in, &u->lab->instances, link)
		if (!r && selected(u, in))
			r = bootid_notice(d, job, in, err);
	TAILQ_FOREACH(in, &u->lab->instances, link)
		if (!r && selected(u, in) &&
		    (u->reset || !startset_satisfied(in) || services_stale(d, in)))
			r = startset_add(&set, in, err);
	if (!r)
		r = startset_sort(&set, err);
	if (!r)
		r = bring_up(d, job, u, &set, err);
	startset_done(&set);
	if (!r && whole && !u->no_golden && (u->stale || !u->lab->golden))
		r = golden_begin(d, job, u->lab, err);
	return r;
}

static int run_up(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct up *u = arg;
	int r;

	lab_set_state(d, u->lab, "starting", "");
	r = u->reset ? 0 : remove_gone(d, job, u->lab, err);
	if (!r && !u->boot && (u->reset || !lab_runs(u->lab)))
		r = bring_saved(d, job, u, err);
	if (!r)
		r = boot_all(d, job, u, err);
	lab_settle(d, u->lab, r < 0 && r != -ECANCELED ? err->text : "");
	return MIN(r, 0);
}

/* Claim the lab and start the job; the lock is held; @u is taken */
static int start_up(struct labd *d, const char *kind, struct up *u, int64_t *ret_job,
		    struct lab_err *err)
{
	struct job *job = job_new(d, kind, u->lab->name, "", run_up, u, free_up);
	int r = model_claim(d, u->lab, NULL, job->id, err);

	if (r < 0) {
		job_abandon(job);
		return r;
	}
	*ret_job = job_start(job);
	return 0;
}

static struct up *new_up(struct lab *lab, struct up_how how)
{
	struct up *u = calloc(1, sizeof(*u));

	if (!u)
		abort();
	u->lab = lab;
	u->boot = how.boot;
	u->no_golden = how.no_golden;
	u->repair = how.repair;
	return u;
}

/* In one transaction with what goes with it */
static int set_spec_with(struct labd *d, struct lab *lab, json_t *spec,
			 const struct labjob_with *with, struct lab_err *err)
{
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	r = with->in_store(d, lab, with->arg, err);
	if (!r)
		r = lab_set_spec(d, lab, NULL, json_incref(spec), NULL, err);
	r = store_end(d->store, r, err);
	with->then(d, lab, with->arg, r);
	return r;
}

/* Give an idle lab another specification; *ret_lab is claimed with @claim */
static int set_spec(struct labd *d, const char *name, const char *file, json_t *spec, bool force,
		    bool up, const struct labjob_with *with, struct lab **ret_lab,
		    struct job *claim, struct lab_err *err)
{
	struct lab *lab;
	int r;

	pthread_mutex_lock(&d->lock);
	lab = model_lab(d, name);
	r = lab ? model_claim(d, lab, NULL, claim->id, err) : 0;
	if (lab && !r)
		spares_wait(d, claim->id);
	pthread_mutex_unlock(&d->lock);
	if (!r && up)
		r = plan_preflight(d, name, spec, force, err);
	if (r < 0)
		return r;
	*ret_lab = lab;
	if (lab && with)
		return set_spec_with(d, lab, spec, with, err);
	if (lab)
		return lab_set_spec(d, lab, file, json_incref(spec), NULL, err);
	if (!file)
		return lab_fail(err, -ENOENT, "there is no lab %s any more", name);
	r = lab_add(d, file, json_incref(spec), claim->id, ret_lab, err);
	return r == -EEXIST ? lab_fail(err, -EBUSY, "lab %s is being made by somebody else", name)
			    : r;
}

int labjob_define(struct labd *d, const char *lab, const char *text, const char *file,
		  const struct up_how *up, bool force, char *ret_lab, int64_t *ret_job,
		  json_t **ret_problems, struct lab_err *err)
{
	autojson json_t *spec = NULL;
	struct up *u = new_up(NULL, up ? *up : (struct up_how){ 0 });
	struct job *job;
	const char *name;
	int r = plan_read(d, text, file, &spec, ret_problems, err);

	name = json_string_value(json_object_get(spec, "lab"));
	if (!r && lab && strcmp(lab, name))
		r = lab_fail(err, -EINVAL, "this is a specification of lab %s, not of %s", name,
			     lab);
	if (r < 0) {
		free_up(u);
		return r;
	}
	snprintf(ret_lab, NAME_MAX_LEN + 1, "%s", name);
	pthread_mutex_lock(&d->lock);
	job = job_new(d, "up", name, "", run_up, u, free_up);
	pthread_mutex_unlock(&d->lock);
	r = set_spec(d, name, file, spec, force, up != NULL, NULL, &u->lab, job, err);
	SCOPED_LOCK(&d->lock);
	*ret_job = 0;
	if (r < 0 || !up) {
		model_release(d, job->id);
		watch_recheck(d);
		job_abandon(job);
		return r;
	}
	*ret_job = job_start(job);
	return 0;
}

int labjob_change(struct labd *d, const char *name,
		  int (*edit)(json_t *spec, void *arg, struct lab_err *err), void *arg,
		  struct lab_err *err)
{
	return labjob_change_with(d, name, edit, arg, NULL, err);
}

int labjob_change_with(struct labd *d, const char *name,
		       int (*edit)(json_t *spec, void *arg, struct lab_err *err), void *arg,
		       const struct labjob_with *with, struct lab_err *err)
{
	autojson json_t *after = NULL;
	struct lab *lab = NULL;
	struct job *job;
	int r = plan_edit(d, name, edit, arg, &after, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&d->lock);
	job = job_new(d, "change", name, "", NULL, NULL, NULL);
	pthread_mutex_unlock(&d->lock);
	r = set_spec(d, name, NULL, after, true, false, with, &lab, job, err);
	SCOPED_LOCK(&d->lock);
	model_release(d, job->id);
	watch_recheck(d);
	job_abandon(job);
	return r;
}

int labjob_up(struct labd *d, const char *name, const struct up_how *how, bool force,
	      int64_t *ret_job, struct lab_err *err)
{
	autojson json_t *spec = plan_spec(d, name);
	struct lab *lab;
	int r;

	if (!spec)
		return lab_fail(err, -ENOENT, "there is no lab %s: labctl ls", name);
	r = plan_preflight(d, name, spec, force, err);
	if (r < 0)
		return r;
	SCOPED_LOCK(&d->lock);
	lab = model_lab(d, name);
	return lab ? start_up(d, "up", new_up(lab, *how), ret_job, err)
		   : lab_fail(err, -ENOENT, "there is no lab %s: labctl ls", name);
}

int labjob_reset(struct labd *d, const char *name, const json_t *names, const struct up_how *how,
		 int64_t *ret_job, struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	const json_t *each;
	struct instance *in;
	struct lab *lab;
	struct up *u;
	size_t i;
	int r = labjob_find(d, name, NULL, &lab, NULL, err);

	if (!r && names && !json_is_array(names))
		r = lab_fail(err, -EINVAL, "instances must be a list of names");
	json_array_foreach(names, i, each)
		if (!r)
			r = labjob_find(d, name, json_string_value(each) ?: "", &lab, &in, err);
	if (r < 0)
		return r;
	u = new_up(lab, *how);
	u->reset = true;
	u->names = json_deep_copy(names);
	return start_up(d, "reset", u, ret_job, err);
}
