// SPDX-License-Identifier: GPL-2.0-or-later
/* clone.c - a second lab out of a snapshot of a first */
#define _GNU_SOURCE
#include "labd/clone.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/memory.h"
#include "labd/network.h"
#include "labd/snapshot.h"
#include "labd/work.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* ---- specification --------------------------------------------------------------- */

/* A port of the host that nobody listens on now */
static int free_port(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(addr);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	return ntohs(addr.sin_port);
}

static int change_forwards(json_t *instance, struct lab_err *err)
{
	json_t *fwd;
	size_t i;

	json_array_foreach(json_object_get(instance, "forward"), i, fwd) {
		int port = free_port();

		if (port < 0)
			return lab_fail_errno(err, port, "a port for a forward");
		json_object_set_new(fwd, "host", json_integer(port));
	}
	return 0;
}

static json_t *clone_spec(struct labd *d, const struct lab *from, int64_t snapshot,
			  const char *name, struct lab_err *err)
{
	autojson json_t *spec = snapshot_spec(d, snapshot);
	json_t *instances = json_object_get(spec, "instances"), *in;
	const char *key;

	if (!json_is_object(instances)) {
		lab_fail(err, -ENODATA, "this snapshot was made by an older labd: make a new one");
		return NULL;
	}
	json_object_set_new(spec, "identity", json_string(lab_identity(from)));
	json_object_set_new(spec, "lab", json_string(name));
	json_object_foreach(instances, key, in)
		if (change_forwards(in, err) < 0)
			return NULL;
	return steal_ptr(spec);
}

/* ---- its golden ------------------------------------------------------------------- */

static int derive_memory(struct labd *d, const struct instance *from, int64_t snapshot,
			 struct instance *to, int64_t derived, struct lab_err *err)
{
	char src[IO_PATH], dir[IO_PATH], state[IO_PATH];
	struct ram_chain chain = { 0 };
	bool whole = false;
	int r = memory_fits(d, to, disks_frozen_dir(d, from, snapshot, src), err);

	if (r < 0)
		return r;
	/* what it stands on, as if it had been restored from there */
	snprintf(to->memory, sizeof(to->memory), "%.511s", src);
	memory_recall_services(d, to, src);
	r = memory_begin(d, to, derived, &whole, &chain, err);
	if (!r)
		r = memory_copy_state(src,
				      io_path(state, "%s/state.qcow2",
					      disks_frozen_dir(d, to, derived, dir)),
				      geteuid(), err);
	if (!r)
		r = memory_finish(d, to, derived, whole, memory_nested(src), &chain, err);
	ram_chain_close(&chain);
	to->memory[0] = '\0';
	return r;
}

struct derive {
	struct labd *d;
	struct lab *from;
	int64_t snapshot, derived;
	double clock;
	const struct instances *ins;
	struct lab_err *errs;
};

static int derive_one(const struct derive *v, struct instance *to, struct lab_err *err)
{
	struct instance *from = model_instance(v->from, to->name);
	int r;

	if (!from)
		return lab_fail(err, -ENOENT, "it is gone from lab %s", v->from->name);
	r = disks_derive(v->d, from, v->snapshot, to, v->derived, err);
	if (!r && memory_exists(v->d, from, v->snapshot))
		r = derive_memory(v->d, from, v->snapshot, to, v->derived, err);
	return r;
}

static void run_derive(void *arg, size_t i)
{
	const struct derive *v = arg;

	v->errs[i].code = derive_one(v, v->ins->v[i], &v->errs[i]);
}

static int derive_all(const struct derive *v, struct lab_err *err)
{
	work_fan_out(v->ins->n, run_derive, (void *)v);
	for (size_t i = 0; i < v->ins->n; i++)
		if (v->errs[i].code)
			return lab_fail(err, v->errs[i].code, "instance %s: %s", v->ins->v[i]->name,
					v->errs[i].text);
	return 0;
}

/* Fill a snapshot that is being made (snapshot_make()) */
static int fill_golden(struct labd *d, int64_t id, const struct instances *ins, void *arg,
		       double *ret_clock, struct lab_err *err)
{
	struct derive v = *(const struct derive *)arg;
	int r;

	*ret_clock = v.clock;
	v.d = d;
	v.derived = id;
	v.ins = ins;
	v.errs = calloc(ins->n + 1, sizeof(*v.errs));
	r = v.errs ? derive_all(&v, err) : lab_fail(err, -ENOMEM, "out of memory");
	free(v.errs);
	return r;
}

/* ---- all of it ---------------------------------------------------------------------- */

static void remove_lab(struct labd *d, struct job *job, struct lab *lab)
{
	struct instance *in;
	char dir[IO_PATH];

	lab_dir(d, lab, dir);
	TAILQ_FOREACH(in, &lab->instances, link)
		(void)boot_stop(d, job, in, false, NULL);
	(void)network_down(d, lab, NULL);
	if (lab_drop(d, lab, NULL) < 0)
		return;
	(void)io_remove_tree(AT_FDCWD, dir);
	disks_collect(d);
	memory_collect(d);
}

static int bring_up(struct labd *d, struct job *job, struct lab *lab, struct lab *from,
		    int64_t snapshot, const struct repair *repair, struct lab_err *err)
{
	autoinstances struct instances ins = { 0 };
	struct snapshot_plan plan = {
		.lab = lab, .name = SNAPSHOT_GOLDEN, .kind = "golden", .ins = &ins
	};
	struct derive v = { .from = from, .snapshot = snapshot };
	const struct snapshot *sn;
	int64_t id;
	int r;

	pthread_mutex_lock(&d->lock);
	sn = model_snapshot_id(from, snapshot);
	v.clock = sn ? sn->clock : 0;
	r = sn ? instances_named(lab, sn->members, &ins, err)
	       : lab_fail(err, -ENOENT, "the snapshot is gone");
	pthread_mutex_unlock(&d->lock);
	if (!r)
		r = snapshot_make(d, &plan, fill_golden, &v, &id, err);
	if (!r)
		r = snapshot_bring_back(d, job, lab, id, &ins, false, repair, err);
	lab_settle(d, lab, r < 0 ? err->text : "");
	return r;
}

int clone_run(struct labd *d, struct job *job, struct lab *from, int64_t snapshot, const char *name,
	      const struct repair *repair, struct lab_err *err)
{
	json_t *spec = clone_spec(d, from, snapshot, name, err);
	struct lab *lab = NULL;
	int r = spec ? lab_add(d, from->file, spec, job->id, &lab, err) : err->code;

	if (!r)
		r = bring_up(d, job, lab, from, snapshot, repair, err);
	if (r < 0 && lab)
		remove_lab(d, job, lab);
	return r;
}
