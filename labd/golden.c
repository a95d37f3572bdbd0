// SPDX-License-Identifier: GPL-2.0-or-later
/* golden.c - the state of a whole lab that up and reset go back to */
#define _GNU_SOURCE
#include "labd/golden.h"

#include "labd/disk.h"
#include "labd/labfile.h"
#include "labd/restore.h"
#include "labd/spare.h"
#include "lib/num.h"
#include "lib/util.h"

#include <poll.h>
#include <string.h>

int golden_make(struct labd *d, struct job *job, struct lab *lab, bool force, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	struct snapshot_plan plan = { lab, SNAPSHOT_GOLDEN, "golden", &ins, force };
	int r = instances_with_disks(d, lab, &ins, err);

	/* those of the one before */
	spares_drop(d, lab, ins.v, ins.n);
	if (!r)
		r = snapshot_take(d, job, &plan, NULL, err);
	return lab_wrap(err, r, "golden");
}

/* ---- quiet ----------------------------------------------------------------------- */

#define QUIET_US 1000000U /* looked at for so long */
#define QUIET_SHARE 0.1 /* of a processor that a quiet guest uses at most */
#define QUIET_TIME 60 /* seconds to wait for it at most */

/* Processor time that all guests have used, in seconds; the busiest one's in *ret_max */
static void add_usage(const struct lab *lab, double *used, double *ret_max)
{
	const struct instance *in;
	size_t i = 0;

	*ret_max = 0;
	TAILQ_FOREACH(in, &lab->instances, link) {
		double cpu = used[i];
		uint64_t rss;

		if (instance_running(in) && !qemu_usage(in->pid, &rss, &cpu))
			*ret_max = MAX(*ret_max, cpu - used[i]);
		used[i++] = cpu;
	}
}

/*
 * A guest is ready before its boot is over. What it has still to do it would do after each
 * restore, so it is waited for: until none uses much of a processor.
 */
static int wait_quiet(struct job *job, const struct lab *lab, struct lab_err *err)
{
	double used[LAB_MAX_INSTANCES] = { 0 }, busiest = 0;
	uint64_t end = num_now_us() + QUIET_TIME * 1000000ULL;
	int r = 0;

	job_step(job, "wait until all are quiet");
	add_usage(lab, used, &busiest);
	do {
		(void)poll(NULL, 0, QUIET_US / 1000);
		add_usage(lab, used, &busiest);
		r = job_check(job, err);
	} while (!r && busiest > QUIET_SHARE * QUIET_US / 1e6 && num_now_us() < end);
	return r;
}

/* The first instance that does not say when it is ready */
static const struct instance *without_probe(const struct lab *lab)
{
	const struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link)
		if (!json_array_size(json_object_get(instance_spec(in), "ready")))
			return in;
	return NULL;
}

int golden_begin(struct labd *d, struct job *job, struct lab *lab, struct lab_err *err)
{
	const struct instance *in = without_probe(lab);
	struct lab_err why = LAB_ERR_INIT;
	int r;

	if (in) {
		job_note(
			job,
			"no golden was made: instance %s has no `ready` probe, so when to freeze it"
			" is not known; labctl golden %s makes one of what runs",
			in->name, lab->name);
		return 0;
	}
	r = wait_quiet(job, lab, err);
	if (r < 0)
		return r;
	job_step(job, "golden");
	/* the lab is up all the same */
	if (golden_make(d, job, lab, false, &why) < 0)
		job_note(job, "%s; labctl golden %s tries again", why.text, lab->name);
	return 0;
}

/* Of an instance and its networks, all that a guest has seen */
static int check_spec(const struct instance *in, const json_t *then, struct lab_err *err)
{
	const json_t *was = json_object_get(json_object_get(then, "instances"), in->name);

	const char *key;

	if (!was)
		return lab_fail(err, -ESTALE, "instance %s is not in it", in->name);
	key = labfile_differs(was, instance_spec(in));
	return key ? lab_fail(err, -ESTALE, "%s of instance %s has changed since", key, in->name)
		   : 0;
}

int golden_fits(struct labd *d, struct lab *lab, const struct instances *ins, int64_t id,
		struct lab_err *err)
{
	autojson json_t *then = snapshot_spec(d, id);
	int r = 0;

	if (!json_equal(json_object_get(then, "networks"), json_object_get(lab->spec, "networks")))
		return lab_fail(err, -ESTALE, "the lab's networks have changed since");
	for (size_t i = 0; !r && i < ins->n; i++)
		r = check_spec(ins->v[i], then, err);
	return r < 0 ? r : restore_check(d, ins->v, ins->n, id, err);
}

int golden_usable(struct labd *d, struct lab *lab, const struct instances *ins, struct lab_err *err)
{
	return lab->golden ? golden_fits(d, lab, ins, lab->golden, err)
			   : lab_fail(err, -ENOENT, "lab %s has no golden", lab->name);
}
