// SPDX-License-Identifier: GPL-2.0-or-later
/* api_lab.c - calls about labs, instances and snapshots */
#define _GNU_SOURCE
#include "labd/api.h"
#include "labd/chain.h"
#include "labd/disk.h"
#include "labd/labjob.h"
#include "labd/packjob.h"
#include "labd/plan.h"
#include "labd/request.h"
#include "labd/snapdiff.h"
#include "labd/snapjob.h"
#include "labd/spare.h"
#include "labd/stream.h"
#include "labd/watch.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define TYPE_MAX (64 << 10)
#define TYPE_US 10000000

static bool body_flag(const struct request *q, const char *key)
{
	return json_is_true(json_object_get(q->json, key));
}

static int need_text(struct request *q, const char **ret)
{
	*ret = request_str(q, "text");
	return *ret ? 0 : lab_fail(&q->err, -EINVAL, "the body needs \"text\": a lab file");
}

static int plan(struct request *q)
{
	const char *text, *file = request_str(q, "file");
	int r = need_text(q, &text);

	return r ? r
		 : plan_make(q->d, text, file ? file : "lab file", &q->result, &q->problems,
			     &q->err);
}

/* "clock": "now", "reseed": true */
static int take_repair(struct request *q, struct repair *ret)
{
	const char *clock = request_str(q, "clock");

	*ret = (struct repair){ .clock_now = clock && !strcmp(clock, "now"),
				.reseed = body_flag(q, "reseed") };
	return clock && *clock && !ret->clock_now
		       ? lab_fail(&q->err, -EINVAL, "\"clock\" can be \"now\", not \"%s\"", clock)
		       : 0;
}

/* "boot": true, "golden": false */
static int take_how(struct request *q, struct up_how *ret)
{
	ret->boot = body_flag(q, "boot");
	ret->no_golden = json_is_false(json_object_get(q->json, "golden"));
	return take_repair(q, &ret->repair);
}

static int define(struct request *q)
{
	const char *text, *file = request_str(q, "file");
	char lab[NAME_MAX_LEN + 1];
	struct up_how up;
	int r;

	if (request_str(q, "import"))
		return packjob_import(q->d, q->json, &q->result, &q->job, &q->err);
	r = need_text(q, &text);
	if (!r)
		r = take_how(q, &up);
	if (!r)
		r = labjob_define(q->d, request_str(q, "lab"), text, file ? file : "lab file",
				  body_flag(q, "up") ? &up : NULL, body_flag(q, "force"), lab,
				  &q->job, &q->problems, &q->err);
	if (!r)
		q->result = json_pack("{s:s}", "lab", lab);
	return r;
}

static int list_labs(struct request *q)
{
	struct lab *lab;

	q->result = json_array();
	pthread_mutex_lock(&q->d->lock);
	TAILQ_FOREACH(lab, &q->d->labs, link)
		json_array_append_new(q->result, lab_json(q->d, lab, true));
	pthread_mutex_unlock(&q->d->lock);
	model_add_usage(q->result);
	return 0;
}

static int get_lab(struct request *q)
{
	struct lab *lab;
	int r;

	pthread_mutex_lock(&q->d->lock);
	r = labjob_find(q->d, q->params[0], NULL, &lab, NULL, &q->err);
	if (!r)
		q->result = lab_json(q->d, lab, true);
	pthread_mutex_unlock(&q->d->lock);
	model_add_usage(q->result);
	return r;
}

static int patch_lab(struct request *q)
{
	const json_t *protect = json_object_get(q->json, "protect");
	struct lab_err *err = &q->err;
	struct labd *d = q->d;
	struct job *job;
	struct lab *lab;
	int r;

	if (!json_is_boolean(protect))
		return lab_fail(err, -EINVAL, "of a lab only \"protect\" can be changed so");
	/* claimed while it is saved, so that nobody removes it meanwhile */
	pthread_mutex_lock(&d->lock);
	job = job_new(d, "protect", q->params[0], "", NULL, NULL, NULL);
	r = labjob_find(d, q->params[0], NULL, &lab, NULL, err);
	if (!r)
		r = model_claim(d, lab, NULL, job->id, err);
	if (!r)
		spares_wait(d, job->id);
	if (!r)
		lab->protect = json_is_true(protect);
	pthread_mutex_unlock(&d->lock);
	if (!r)
		lab_set_state(d, lab, lab->state, NULL);
	SCOPED_LOCK(&d->lock);
	model_release(d, job->id);
	watch_recheck(d);
	job_abandon(job);
	return r;
}

static int delete_lab(struct request *q)
{
	const char *memory = request_arg(q, "memory");

	return labjob_remove(q->d, q->params[0], !memory || strcmp(memory, "0"), &q->job, &q->err);
}

static int up(struct request *q)
{
	struct up_how up;

	return take_how(q, &up)
		       ?: labjob_up(q->d, q->params[0], &up, body_flag(q, "force"), &q->job,
				    &q->err);
}

static int down(struct request *q)
{
	return labjob_down(q->d, q->params[0], body_flag(q, "kill"), &q->job, &q->err);
}

static int reset(struct request *q)
{
	struct up_how up;

	return take_how(q, &up)
		       ?: labjob_reset(q->d, q->params[0], json_object_get(q->json, "instances"),
				       &up, &q->job, &q->err);
}

/* --- instances --- */

static int list_instances(struct request *q)
{
	struct instance *in;
	struct lab *lab;
	int r;

	q->result = json_array();
	pthread_mutex_lock(&q->d->lock);
	r = labjob_find(q->d, q->params[0], NULL, &lab, NULL, &q->err);
	if (!r)
		TAILQ_FOREACH(in, &lab->instances, link)
			json_array_append_new(q->result, instance_json(q->d, in));
	pthread_mutex_unlock(&q->d->lock);
	model_add_usage(q->result);
	return r;
}

static int get_instance(struct request *q)
{
	struct instance *in;
	struct lab *lab;
	int r;

	pthread_mutex_lock(&q->d->lock);
	r = labjob_find(q->d, q->params[0], q->params[1], &lab, &in, &q->err);
	if (!r)
		q->result = instance_json(q->d, in);
	pthread_mutex_unlock(&q->d->lock);
	model_add_usage(q->result);
	return r;
}

static int add_to_spec(json_t *spec, void *arg, struct lab_err *err)
{
	const char *name = json_string_value(json_object_get(arg, "name"));
	json_t *instances = json_object_get(spec, "instances");
	json_t *in = json_object_get(arg, "spec");

	if (!name || !name_valid(name))
		return lab_fail(err, -EINVAL, "'%s' cannot be the name of an instance: %s",
				name ? name : "", NAME_RULE);
	if (json_object_get(instances, name))
		return lab_fail(err, -EEXIST, "there is an instance %s already", name);
	in = in ? json_deep_copy(in) : json_object();
	if (!json_object_get(in, "image") && !json_object_get(in, "services"))
		json_object_set_new(in, "image", json_string(""));
	json_object_set_new(instances, name, in);
	return 0;
}

static int add_instance(struct request *q)
{
	return labjob_change(q->d, q->params[0], add_to_spec, q->json, &q->err);
}

static int delete_instance(struct request *q)
{
	return labjob_remove_instance(q->d, q->params[0], q->params[1], &q->err);
}

/* What can be set while an instance runs; the rest needs it stopped */
static const char *const live_keys[] = { "needs", "ready", "repair", "forward", "protect", NULL };
static const char *const stopped_keys[] = { "image",	"services", "vcpus", "memory",
					    "networks", "disks",    "root",  NULL };

static bool in_list(const char *key, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(*list, key))
			return true;
	return false;
}

static int check_keys(struct request *q, bool running)
{
	const char *key;
	json_t *v;

	json_object_foreach(q->json, key, v) {
		if (!in_list(key, live_keys) && !in_list(key, stopped_keys))
			return lab_fail(&q->err, -EINVAL, "an instance has no '%s' to set", key);
		if (running && in_list(key, stopped_keys))
			return lab_fail(
				&q->err, -EBUSY,
				"%s cannot be changed while the instance runs: stop it first", key);
	}
	return 0;
}

/* Setting what already is, succeeds: also where it could not be changed now; the lock is held */
static void drop_unchanged(json_t *change, const json_t *spec)
{
	const char *key;
	json_t *v;
	void *tmp;

	json_object_foreach_safe(change, tmp, key, v)
		if (in_list(key, stopped_keys) && json_equal(v, json_object_get(spec, key)))
			json_object_del(change, key);
}

static int patch_spec(json_t *spec, void *arg, struct lab_err *err)
{
	const struct request *q = arg;
	json_t *in = json_object_get(json_object_get(spec, "instances"), q->params[1]);

	if (!in)
		return lab_fail(err, -ENOENT, "lab %s has no instance %s", q->params[0],
				q->params[1]);
	/* another image brings its own services, and the other way round */
	if (json_object_get(q->json, "image"))
		json_object_del(in, "services");
	if (json_object_get(q->json, "services"))
		json_object_del(in, "image");
	return json_object_update(in, q->json) < 0 ? lab_fail(err, -ENOMEM, "out of memory") : 0;
}

static int patch_instance(struct request *q)
{
	const char *name = request_str(q, "name");
	struct instance *in;
	struct lab *lab;
	bool running, empty = !json_object_size(q->json);
	int r;

	pthread_mutex_lock(&q->d->lock);
	r = labjob_find(q->d, q->params[0], q->params[1], &lab, &in, &q->err);
	running = !r && instance_running(in);
	if (running)
		drop_unchanged(q->json, instance_spec(in));
	pthread_mutex_unlock(&q->d->lock);
	if (!r && empty)
		r = lab_fail(&q->err, -EINVAL, "the body says nothing that is to change");
	if (!r && name && json_object_size(q->json) > 1)
		r = lab_fail(&q->err, -EINVAL, "a name is changed alone, without other keys");
	if (!r && name)
		return labjob_rename(q->d, q->params[0], q->params[1], name, &q->err);
	if (!r)
		r = check_keys(q, running);
	if (r < 0 || (!empty && !json_object_size(q->json)))
		return r;
	return labjob_change(q->d, q->params[0], patch_spec, q, &q->err);
}

static int action(struct request *q)
{
	return labjob_instance(q->d, q->params[0], q->params[1], q->params[2], &q->job, &q->err);
}

static int read_console(struct request *q)
{
	const char *tail = request_arg(q, "tail"), *follow = request_arg(q, "follow");
	struct instance *in;
	struct lab *lab;
	char dir[IO_PATH];
	uint64_t n = INT64_MAX;
	int r;

	if (tail && num_u64(tail, INT64_MAX, &n) < 0)
		return lab_fail(&q->err, -EINVAL, "tail must be a number of bytes");
	pthread_mutex_lock(&q->d->lock);
	r = labjob_find(q->d, q->params[0], q->params[1], &lab, &in, &q->err);
	if (!r)
		instance_dir(q->d, in, dir);
	pthread_mutex_unlock(&q->d->lock);
	if (!r)
		q->stream = stream_console(q->d, dir, n, follow && !strcmp(follow, "1"));
	return r;
}

/* Write until it is done, nothing is taken for too long, or labd ends */
static int type_all(int fd, const char *data, size_t len, int ending)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLOUT }, { .fd = ending, .events = POLLIN } };
	uint64_t deadline = num_now_us() + TYPE_US, now;

	while (len) {
		ssize_t n = RETRY(send(fd, data, len, MSG_NOSIGNAL));

		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		now = num_now_us();
		if (now >= deadline)
			return -ETIMEDOUT;
		if (RETRY(poll(p, ARRAY_SIZE(p), (int)((deadline - now) / 1000) + 1)) < 0)
			return -errno;
		if (p[1].revents)
			return -ESHUTDOWN;
	}
	return 0;
}

/* The socket at which the console of an instance takes input */
static int find_console(struct request *q, char path[IO_PATH])
{
	struct instance *in;
	struct lab *lab;
	char dir[IO_PATH];
	int r;

	SCOPED_LOCK(&q->d->lock);
	r = labjob_find(q->d, q->params[0], q->params[1], &lab, &in, &q->err);
	if (r < 0)
		return r;
	if (!instance_running(in))
		return lab_fail(&q->err, -EBUSY, "instance %s does not run", in->name);
	if (!strcmp(in->state, "paused"))
		return lab_fail(&q->err, -EBUSY,
				"instance %s is paused, and reads nothing: labctl resume %s/%s",
				in->name, lab->name, in->name);
	io_path(path, "%s/console", instance_run_dir(q->d, in, dir));
	return 0;
}

static int type_console(struct request *q)
{
	autoclose int fd = -EBADF;
	char path[IO_PATH];
	int r;

	if (q->len > TYPE_MAX)
		return lab_fail(&q->err, -E2BIG, "at most %d bytes can be typed at once", TYPE_MAX);
	r = find_console(q, path);
	if (r < 0)
		return r;
	fd = io_connect_unix(path, SOCK_STREAM | SOCK_NONBLOCK);
	r = fd < 0 ? fd : type_all(fd, q->body, q->len, api_ending(q->d));
	if (r == -ETIMEDOUT || r == -EAGAIN)
		return lab_fail(&q->err, -ETIMEDOUT,
				"the console of %s takes no input: the guest does not read it",
				q->params[1]);
	return r < 0 ? lab_fail_errno(&q->err, r, "console of %s", q->params[1]) : 0;
}

/* --- snapshots and networks --- */

static int list_part(struct request *q, const char *key)
{
	autojson json_t *obj = NULL;
	struct lab *lab;
	int r;

	pthread_mutex_lock(&q->d->lock);
	r = labjob_find(q->d, q->params[0], NULL, &lab, NULL, &q->err);
	if (!r)
		obj = lab_json(q->d, lab, true);
	pthread_mutex_unlock(&q->d->lock);
	if (!r)
		q->result = json_incref(json_object_get(obj, key));
	return r;
}

static int list_snapshots(struct request *q)
{
	return list_part(q, "snapshots");
}

static int list_networks(struct request *q)
{
	return list_part(q, "networks");
}

static int add_snapshot(struct request *q)
{
	const char *name = request_str(q, "name");

	return snapjob_create(q->d, q->params[0], name ? name : "",
			      json_object_get(q->json, "instances"), body_flag(q, "force"), &q->job,
			      &q->err);
}

static int get_snapshot(struct request *q)
{
	return snapdiff_show(q->d, q->params[0], q->params[1], &q->result, &q->err);
}

static int get_chain(struct request *q)
{
	return chain_of_instance(q->d, q->params[0], q->params[1], q->params[2], &q->result,
				 &q->err);
}

static int get_frozen_chain(struct request *q)
{
	return chain_of_snapshot(q->d, q->params[0], q->params[1], q->params[2], q->params[3],
				 &q->result, &q->err);
}

/* "-" stands for the parent of the other */
static int diff_snapshots(struct request *q)
{
	const char *from = strcmp(q->params[2], "-") ? q->params[2] : NULL;

	return snapdiff_make(q->d, q->params[0], from, q->params[1], &q->result, &q->err);
}

static int delete_snapshot(struct request *q)
{
	return snapjob_remove(q->d, q->params[0], q->params[1], &q->job, &q->err);
}

static int restore(struct request *q)
{
	struct repair repair;

	return take_repair(q, &repair)
		       ?: snapjob_restore(q->d, q->params[0], q->params[1], &repair, &q->job,
					  &q->err);
}

static int golden(struct request *q)
{
	return snapjob_golden(q->d, q->params[0], body_flag(q, "force"), &q->job, &q->err);
}

static int clone_lab(struct request *q)
{
	const char *name = request_str(q, "name");
	struct repair repair;

	return take_repair(q, &repair)
		       ?: snapjob_clone(q->d, q->params[0], name ? name : "",
					request_str(q, "from"), body_flag(q, "force"), &repair,
					&q->job, &q->err);
}

static int export_lab(struct request *q)
{
	return packjob_export(q->d, q->params[0], request_str(q, "from"), body_flag(q, "ram"),
			      request_str(q, "path"), &q->job, &q->err);
}

static int suspend(struct request *q)
{
	return snapjob_suspend(q->d, q->params[0], body_flag(q, "force"), &q->job, &q->err);
}

const struct route lab_routes[] = {
	{ "POST", "/v1/plan", plan, 0 },
	{ "GET", "/v1/labs", list_labs, 0 },
	{ "POST", "/v1/labs", define, 0 },
	{ "GET", "/v1/labs/:", get_lab, 0 },
	{ "PATCH", "/v1/labs/:", patch_lab, 0 },
	{ "DELETE", "/v1/labs/:", delete_lab, 0 },
	{ "POST", "/v1/labs/:/up", up, 0 },
	{ "POST", "/v1/labs/:/down", down, 0 },
	{ "POST", "/v1/labs/:/reset", reset, 0 },
	{ "POST", "/v1/labs/:/golden", golden, 0 },
	{ "POST", "/v1/labs/:/suspend", suspend, 0 },
	{ "POST", "/v1/labs/:/clone", clone_lab, 0 },
	{ "POST", "/v1/labs/:/export", export_lab, 0 },
	{ "GET", "/v1/labs/:/networks", list_networks, ROUTE_QUICK },
	{ "GET", "/v1/labs/:/snapshots", list_snapshots, ROUTE_QUICK },
	{ "POST", "/v1/labs/:/snapshots", add_snapshot, 0 },
	{ "GET", "/v1/labs/:/snapshots/:", get_snapshot, 0 },
	{ "GET", "/v1/labs/:/snapshots/:/diff/:", diff_snapshots, 0 },
	{ "GET", "/v1/labs/:/snapshots/:/instances/:/disks/:/chain", get_frozen_chain, 0 },
	{ "DELETE", "/v1/labs/:/snapshots/:", delete_snapshot, 0 },
	{ "POST", "/v1/labs/:/snapshots/:/restore", restore, 0 },
	{ "GET", "/v1/labs/:/instances", list_instances, 0 },
	{ "POST", "/v1/labs/:/instances", add_instance, 0 },
	{ "GET", "/v1/labs/:/instances/:", get_instance, 0 },
	{ "PATCH", "/v1/labs/:/instances/:", patch_instance, 0 },
	{ "DELETE", "/v1/labs/:/instances/:", delete_instance, 0 },
	{ "GET", "/v1/labs/:/instances/:/disks/:/chain", get_chain, 0 },
	{ "GET", "/v1/labs/:/instances/:/console", read_console, ROUTE_QUICK },
	{ "POST", "/v1/labs/:/instances/:/console", type_console, ROUTE_RAW },
	{ "POST", "/v1/labs/:/instances/:/:", action, 0 },
	{ NULL, NULL, NULL, 0 },
};
