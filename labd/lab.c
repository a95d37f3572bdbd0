// SPDX-License-Identifier: GPL-2.0-or-later
/* lab.c - labs in the model and the store */
#define _GNU_SOURCE
#include "labd/events.h"
#include "labd/model.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

const char *lab_dir(struct labd *d, const struct lab *lab, char *buf)
{
	return io_path(buf, "%s/labs/%lld", d->paths.state, (long long)lab->id);
}

const char *lab_run_dir(struct labd *d, const struct lab *lab, char *buf)
{
	return io_path(buf, "%s/%lld", d->paths.run, (long long)lab->id);
}

const char *lab_identity(const struct lab *lab)
{
	const char *other = json_string_value(json_object_get(lab->spec, "identity"));

	return other ? other : lab->name;
}

unsigned int lab_host_id(struct labd *d, const struct lab *lab)
{
	unsigned int daemon = 0, number = (unsigned int)lab->id & 0xfff;

	/* 27 bits in all: KEEPER_MAX_LAB_ID */
	if (strcmp(d->paths.run, "/run/labd"))
		daemon = (unsigned int)name_hash("daemon", d->paths.run, NULL, NULL) & 0x7fff;
	return daemon << 12 | number;
}

static void emit(struct labd *d, struct lab *lab, const char *action)
{
	events_emit(d, "lab", action, lab->name, lab->name, NULL, lab_json(d, lab, false));
}

int lab_save(struct labd *d, struct lab *lab, struct lab_err *err)
{
	autofree char *spec = NULL, *applied = NULL, *restoring = NULL;
	int64_t r;

	/* two instances' jobs may save their lab at the same time */
	pthread_mutex_lock(&d->lock);
	spec = json_dumps(lab->spec, JSON_COMPACT);
	applied = json_dumps(lab->applied, JSON_COMPACT);
	restoring = json_dumps(lab->restoring, JSON_COMPACT);
	pthread_mutex_unlock(&d->lock);
	if (!spec || !applied || !restoring)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = store_run(d->store, err,
		      "UPDATE labs SET file = ?, spec = ?, networks = ?, keeper = ?, changed = ?,"
		      " protect = ?, error = ?, golden = ?, restore = ?, restoring = ?,"
		      " at = ?, clock = ?, repair = ? WHERE id = ?",
		      "sssidisiisidii", lab->file, spec, applied,
		      (int64_t)(lab->keeper ? lab->keeper->pid : 0), lab->changed,
		      (int64_t)lab->protect, lab->error, lab->golden, lab->restore, restoring,
		      lab->at, lab->clock, lab->repair, lab->id);
	return r < 0 ? (int)r : 0;
}

bool lab_runs(const struct lab *lab)
{
	const struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link)
		if (instance_running(in))
			return true;
	return false;
}

void lab_set_state(struct labd *d, struct lab *lab, const char *state, const char *error)
{
	pthread_mutex_lock(&d->lock);
	if (state != lab->state)
		snprintf(lab->state, sizeof(lab->state), "%s", state);
	if (error)
		snprintf(lab->error, sizeof(lab->error), "%s", error);
	lab->changed = num_wall();
	emit(d, lab, "change");
	pthread_mutex_unlock(&d->lock);
	(void)lab_save(d, lab, NULL);
}

/* The state that follows from the instances; the lock is held */
static const char *settled_state(const struct lab *lab)
{
	size_t wanted = 0, good = 0, running = 0;
	struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link) {
		bool want = !strcmp(in->want, "running");

		running += instance_running(in);
		wanted += want;
		good += want && !strcmp(in->state, "running") && strcmp(in->ready, "no");
	}
	if (!lab->keeper)
		return wanted && lab->error[0] ? "failed" : "down";
	if (wanted == good)
		return "up";
	return running ? "degraded" : "failed";
}

void lab_settle(struct labd *d, struct lab *lab, const char *error)
{
	const char *state;

	pthread_mutex_lock(&d->lock);
	if (error)
		snprintf(lab->error, sizeof(lab->error), "%s", error);
	state = settled_state(lab);
	pthread_mutex_unlock(&d->lock);
	lab_set_state(d, lab, state, NULL);
}

/* Add what is in the specification and not yet in the model */
static int add_network(struct labd *d, struct lab *lab, const char *name, struct lab_err *err)
{
	struct network *net;
	int64_t id;

	TAILQ_FOREACH(net, &lab->networks, link)
		if (!strcmp(net->name, name))
			return 0;
	net = calloc(1, sizeof(*net));
	if (!net)
		return lab_fail(err, -ENOMEM, "out of memory");
	id = store_run(d->store, err, "INSERT INTO networks(lab, name) VALUES(?, ?)", "is", lab->id,
		       name);
	if (id < 0) {
		free(net);
		return (int)id;
	}
	net->id = id;
	snprintf(net->name, sizeof(net->name), "%s", name);
	SCOPED_LOCK(&d->lock);
	TAILQ_INSERT_TAIL(&lab->networks, net, link);
	events_emit(d, "network", "add", lab->name, name, NULL, network_json(d, lab, net));
	return 0;
}

/* One that is nowhere yet; takes NULL */
static void free_new(struct instance *in)
{
	if (!in)
		return;
	json_decref(in->disks);
	json_decref(in->services);
	free(in);
}

static int add_instance(struct labd *d, struct lab *lab, const char *name, struct lab_err *err)
{
	struct instance *in;
	int64_t id;

	TAILQ_FOREACH(in, &lab->instances, link)
		if (!strcmp(in->name, name))
			return 0;
	in = calloc(1, sizeof(*in));
	if (!in || !(in->disks = json_array()) || !(in->services = json_object())) {
		free_new(in);
		return lab_fail(err, -ENOMEM, "out of memory");
	}
	in->lab = lab;
	in->created = in->changed = num_wall();
	snprintf(in->name, sizeof(in->name), "%s", name);
	snprintf(in->state, sizeof(in->state), "defined");
	id = store_run(
		d->store, err,
		"INSERT INTO instances(lab, name, state, created, changed) VALUES(?, ?, ?, ?, ?)",
		"issdd", lab->id, name, in->state, in->created, in->changed);
	if (id < 0) {
		free_new(in);
		return (int)id;
	}
	in->id = id;
	SCOPED_LOCK(&d->lock);
	in->job = lab->job;
	TAILQ_INSERT_TAIL(&lab->instances, in, link);
	events_emit(d, "instance", "add", lab->name, name, NULL, instance_json(d, in));
	return 0;
}

static int sync_children(struct labd *d, struct lab *lab, json_t **ret_gone, struct lab_err *err)
{
	json_t *nets = json_object_get(lab->spec, "networks");
	json_t *instances = json_object_get(lab->spec, "instances"), *each;
	autojson json_t *gone = json_array();
	struct network *net, *next;
	struct instance *in;
	const char *name;
	int r = 0;

	json_object_foreach(nets, name, each)
		if (!r)
			r = add_network(d, lab, name, err);
	json_object_foreach(instances, name, each)
		if (!r)
			r = add_instance(d, lab, name, err);
	if (r < 0)
		return r;
	for (net = TAILQ_FIRST(&lab->networks); net; net = next) {
		next = TAILQ_NEXT(net, link);
		if (json_object_get(nets, net->name) || json_object_get(lab->applied, net->name))
			continue;
		(void)store_run(d->store, NULL, "DELETE FROM networks WHERE id = ?", "i", net->id);
		SCOPED_LOCK(&d->lock);
		TAILQ_REMOVE(&lab->networks, net, link);
		events_emit(d, "network", "remove", lab->name, net->name, NULL, NULL);
		free(net);
	}
	TAILQ_FOREACH(in, &lab->instances, link)
		if (!json_object_get(instances, in->name))
			json_array_append_new(gone, json_string(in->name));
	if (ret_gone)
		*ret_gone = steal_ptr(gone);
	return 0;
}

int lab_add(struct labd *d, const char *file, json_t *spec, int64_t job, struct lab **ret,
	    struct lab_err *err)
{
	const char *name = json_string_value(json_object_get(spec, "lab"));
	autofree char *text = json_dumps(spec, JSON_COMPACT);
	struct lab *lab = calloc(1, sizeof(*lab));
	double now = num_wall();
	int64_t id;

	if (!lab || !text) {
		free(lab);
		json_decref(spec);
		return lab_fail(err, -ENOMEM, "out of memory");
	}
	TAILQ_INIT(&lab->instances);
	TAILQ_INIT(&lab->networks);
	TAILQ_INIT(&lab->snapshots);
	pthread_mutex_init(&lab->keeper_lock, NULL);
	lab->spec = spec;
	lab->applied = json_object();
	lab->restoring = json_array();
	lab->file = strdup(file);
	lab->created = lab->changed = now;
	snprintf(lab->name, sizeof(lab->name), "%s", name);
	snprintf(lab->state, sizeof(lab->state), "down");
	id = store_run(d->store, err,
		       "INSERT INTO labs(name, file, spec, created, changed) VALUES(?, ?, ?, ?, ?)",
		       "sssdd", name, file, text, now, now);
	if (id < 0) {
		lab_free(lab);
		return (int)id;
	}
	lab->id = id;
	lab->job = job;
	pthread_mutex_lock(&d->lock);
	TAILQ_INSERT_TAIL(&d->labs, lab, link);
	emit(d, lab, "add");
	pthread_mutex_unlock(&d->lock);
	*ret = lab;
	return sync_children(d, lab, NULL, err);
}

int lab_set_spec(struct labd *d, struct lab *lab, const char *file, json_t *spec, json_t **ret_gone,
		 struct lab_err *err)
{
	struct instance *in;
	int r;

	pthread_mutex_lock(&d->lock);
	json_decref(lab->spec);
	lab->spec = spec;
	if (file) {
		free(lab->file);
		lab->file = strdup(file);
	}
	lab->changed = num_wall();
	emit(d, lab, "change");
	pthread_mutex_unlock(&d->lock);
	r = lab_save(d, lab, err);
	if (r < 0)
		return r;
	r = sync_children(d, lab, ret_gone, err);
	SCOPED_LOCK(&d->lock);
	TAILQ_FOREACH(in, &lab->instances, link) {
		in->no_spare = 0;
		instance_emit(d, in);
	}
	return r;
}

void lab_free(struct lab *lab)
{
	struct network *net;
	struct snapshot *sn;

	while ((net = TAILQ_FIRST(&lab->networks))) {
		TAILQ_REMOVE(&lab->networks, net, link);
		free(net);
	}
	while ((sn = TAILQ_FIRST(&lab->snapshots))) {
		TAILQ_REMOVE(&lab->snapshots, sn, link);
		json_decref(sn->members);
		free(sn);
	}
	keeper_close(lab->keeper);
	pthread_mutex_destroy(&lab->keeper_lock);
	json_decref(lab->spec);
	json_decref(lab->applied);
	json_decref(lab->restoring);
	free(lab->file);
	free(lab);
}

void lab_forget(struct labd *d, struct lab *lab)
{
	struct instance *in;

	TAILQ_REMOVE(&d->labs, lab, link);
	while ((in = TAILQ_FIRST(&lab->instances)))
		instance_forget(d, in);
	lab_free(lab);
}

void lab_leave(struct labd *d, struct lab *lab)
{
	struct instance *in;

	pthread_mutex_lock(&d->lock);
	TAILQ_REMOVE(&d->labs, lab, link);
	emit(d, lab, "remove");
	pthread_mutex_unlock(&d->lock);
	while ((in = TAILQ_FIRST(&lab->instances)))
		instance_forget(d, in);
	lab_free(lab);
}

int lab_drop(struct labd *d, struct lab *lab, struct lab_err *err)
{
	if (store_run(d->store, err, "DELETE FROM labs WHERE id = ?", "i", lab->id) < 0)
		return err->code;
	lab_leave(d, lab);
	return 0;
}
