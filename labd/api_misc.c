// SPDX-License-Identifier: GPL-2.0-or-later
/* api_misc.c - calls about the daemon itself, jobs and events */
#define _GNU_SOURCE
#include "labd/events.h"
#include "labd/fit.h"
#include "labd/job.h"
#include "labd/model.h"
#include "labd/request.h"
#include "labd/stream.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <string.h>

static int get_version(struct request *q)
{
	char qemu[32] = "";

	(void)sscanf(qemu_version(), "%31s", qemu);
	q->result = json_pack("{s:s s:s s:i}", "version", LAB_VERSION, "qemu", qemu, "api", 1);
	return 0;
}

static void count(struct labd *d, json_t *obj)
{
	json_int_t labs = 0, instances = 0, images = 0;
	struct instance *in;
	struct image *im;
	struct lab *lab;

	SCOPED_LOCK(&d->lock);
	TAILQ_FOREACH(lab, &d->labs, link) {
		labs++;
		TAILQ_FOREACH(in, &lab->instances, link)
			instances += instance_running(in);
	}
	TAILQ_FOREACH(im, &d->images, link)
		images += im->name[0] != '\0';
	json_object_set_new(obj, "labs", json_integer(labs));
	json_object_set_new(obj, "instances", json_integer(instances));
	json_object_set_new(obj, "images", json_integer(images));
	json_object_set_new(obj, "jobs", json_integer(jobs_active(d)));
}

static int get_status(struct request *q)
{
	struct labd *d = q->d;
	uint64_t total = 0, available = fit_memory_free(&total), rss = 0;
	double cpu = 0;

	(void)qemu_usage(getpid(), &rss, &cpu);
	q->result = json_pack("{s:i s:f s:I s:f s:s s:s s:I s:I s:I s:s s:s}", "pid", (int)getpid(),
			      "uptime", num_wall() - d->started, "rss", (json_int_t)rss, "cpu", cpu,
			      "accel", d->accel.name, "accel_reason", d->accel.reason,
			      "memory_total", (json_int_t)total, "memory_free",
			      (json_int_t)available, "disk_free",
			      (json_int_t)fit_disk_free(d->paths.state), "state_dir",
			      d->paths.state, "run_dir", d->paths.run);
	count(d, q->result);
	return 0;
}

static int get_model(struct request *q)
{
	json_t *labs = json_array(), *images = json_array();
	struct image *im;
	struct lab *lab;

	SCOPED_LOCK(&q->d->lock);
	TAILQ_FOREACH(lab, &q->d->labs, link)
		json_array_append_new(labs, lab_json(q->d, lab, true));
	TAILQ_FOREACH(im, &q->d->images, link)
		if (im->name[0])
			json_array_append_new(images, image_json(q->d, im));
	q->result = json_pack("{s:I s:o s:o}", "seq", (json_int_t)events_last(q->d->events), "labs",
			      labs, "images", images);
	return 0;
}

static int get_events(struct request *q)
{
	const char *since = request_arg(q, "since"), *follow = request_arg(q, "follow");
	uint64_t from = 0;

	if (since && num_u64(since, UINT64_MAX / 2, &from) < 0)
		return lab_fail(&q->err, -EINVAL, "since must be the number of an event");
	if (!since) {
		SCOPED_LOCK(&q->d->lock);
		from = events_last(q->d->events);
	}
	q->stream = stream_events(q->d, from, follow && !strcmp(follow, "1"));
	return 0;
}

static int list_jobs(struct request *q)
{
	SCOPED_LOCK(&q->d->lock);
	q->result = jobs_json(q->d);
	return 0;
}

static struct job *find_job(struct request *q)
{
	uint64_t id;
	struct job *job = NULL;

	if (!num_u64(q->params[0], INT64_MAX, &id))
		job = job_find(q->d, (int64_t)id);
	if (!job)
		lab_fail(&q->err, -ENOENT, "there is no job %s: labctl jobs", q->params[0]);
	return job;
}

/* Ended jobs of earlier daemons are only in the list */
static json_t *old_job(struct request *q)
{
	autojson json_t *all = jobs_json(q->d);
	json_t *job;
	uint64_t id;
	size_t i;

	if (num_u64(q->params[0], INT64_MAX, &id) < 0)
		return NULL;
	json_array_foreach(all, i, job)
		if ((uint64_t)json_integer_value(json_object_get(job, "id")) == id)
			return json_incref(job);
	return NULL;
}

static int get_job(struct request *q)
{
	struct job *job;

	SCOPED_LOCK(&q->d->lock);
	job = find_job(q);
	q->result = job ? job_json(job) : old_job(q);
	return q->result ? 0 : -ENOENT;
}

static int get_job_log(struct request *q)
{
	autojson json_t *old = NULL;
	struct job *job;

	SCOPED_LOCK(&q->d->lock);
	job = find_job(q);
	if (!job)
		old = old_job(q);
	if (old)
		return lab_fail(&q->err, -ENOENT,
				"the log of job %s is gone with the labd that ran it",
				q->params[0]);
	if (!job)
		return -ENOENT;
	q->text = job_log_text(job);
	return 0;
}

static int cancel_job(struct request *q)
{
	struct job *job;

	SCOPED_LOCK(&q->d->lock);
	job = find_job(q);
	if (!job)
		return -ENOENT;
	job_cancel(job);
	return 0;
}

const struct route misc_routes[] = {
	{ "GET", "/v1/version", get_version, 0 },
	{ "GET", "/v1/status", get_status, 0 },
	{ "GET", "/v1/model", get_model, ROUTE_QUICK },
	{ "GET", "/v1/events", get_events, ROUTE_QUICK },
	{ "GET", "/v1/jobs", list_jobs, ROUTE_QUICK },
	{ "GET", "/v1/jobs/:", get_job, ROUTE_QUICK },
	{ "GET", "/v1/jobs/:/log", get_job_log, ROUTE_QUICK },
	{ "DELETE", "/v1/jobs/:", cancel_job, ROUTE_QUICK },
	{ NULL, NULL, NULL, 0 },
};
