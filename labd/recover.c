// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * recover.c - what an earlier labd left: adopt, finish or undo
 *
 * DOC: Theory of Operation
 *
 * A lab with a living keeper goes on. Of its instances, those whose QEMU is the
 * process in the store (pid, start time, command line) are adopted; one that the
 * keeper started but the store does not know was being started when labd
 * died, and is ended; so are spares, unless their turn had come. A lab whose keeper is gone has
 * lost its links: what is left of its guests is ended, and the host is swept.
 *
 * Images that were being made, snapshots that were being taken, and what was being
 * exported or imported, are undone.
 */
#define _GNU_SOURCE
#include "labd/recover.h"

#include "images/image.h"
#include "labd/boot.h"
#include "labd/bootid.h"
#include "labd/disk.h"
#include "labd/export.h"
#include "labd/imagejob.h"
#include "labd/import.h"
#include "labd/labjob.h"
#include "labd/network.h"
#include "labd/service.h"
#include "labd/snapjob.h"
#include "labd/snapshot.h"
#include "labd/spare.h"
#include "labd/store.h"
#include "labd/watch.h"
#include "labd/work.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define ADOPT_US 2000000
#define KILL_US 5000000

static const char half_started[] = "labd ended while it was being started";

/* Fields written here need no lock yet: nobody else is there */

static void lost(struct labd *d, struct instance *in)
{
	boot_clean(d, in, "failed", "its QEMU ended while labd was away");
}

static bool is_restored(const struct instance *in)
{
	const json_t *name;
	size_t i;

	json_array_foreach(in->lab->restoring, i, name)
		if (in->lab->restore && !strcmp(json_string_value(name), in->name))
			return true;
	return false;
}

static void set_running(struct labd *d, struct instance *in, struct qmp *qmp)
{
	autojson json_t *status = NULL;
	const char *state = "running";

	if (qmp && !qmp_call(qmp, "query-status", NULL, num_now_us() + ADOPT_US, &status, NULL)) {
		const char *now = json_string_value(json_object_get(status, "status"));

		if (now && !strcmp(now, "prelaunch")) {
			/* nobody records its console yet: it has not begun to run, so undo */
			(void)boot_stop(d, NULL, in, false, NULL);
			instance_set_state(d, in, "stopped", half_started);
			return;
		}
		if (is_restored(in)) {
			/* neither what it was nor what it is to be; it is restored again */
			(void)boot_stop(d, NULL, in, false, NULL);
			return;
		}
		/* stopped behind a barrier, or by a pause that was not finished: undone */
		if (now && !strcmp(now, "paused") && !strcmp(in->state, "running") &&
		    !qemu_cont(qmp, num_now_us() + ADOPT_US, NULL))
			now = "running";
		if (now && strcmp(now, "running"))
			state = "paused";
	}
	instance_set_state(d, in, state,
			   qmp ? NULL : "its QEMU does not answer; labctl kill ends it");
}

static void adopt(struct labd *d, struct instance *in)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qemu_proc proc;
	struct qmp *qmp = NULL;
	char run[IO_PATH], agent[IO_PATH];
	int r;

	instance_run_dir(d, in, run);
	r = qemu_adopt(in->pid, in->start_time, in->digest, run, num_now_us() + ADOPT_US, &proc,
		       &qmp, &err);
	if (r == -ESRCH) {
		lost(d, in);
		return;
	}
	if (r < 0)
		log_warn("instance %s/%s: %s", in->lab->name, in->name, err.text);
	in->guest = guest_new(&proc, qmp, agent_new(io_path(agent, "%s/agent", run)));
	watch_guest(d, in);
	/* one that was being shut down goes on doing so, or its user asks again */
	set_running(d, in, qmp);
}

/* Children of the keeper that the store does not know */
static void end_strangers(struct labd *d, struct lab *lab)
{
	autojson json_t *state = NULL;
	const char *pid;
	json_t *child;

	if (keeper_state(lab->keeper, &state, NULL) < 0)
		return;
	json_object_foreach(json_object_get(state, "children"), pid, child) {
		struct instance *in;
		bool known = false;
		uint64_t number;

		(void)child;
		if (num_u64(pid, INT32_MAX, &number) < 0)
			continue;
		TAILQ_FOREACH(in, &lab->instances, link)
			known |= in->pid == (pid_t)number;
		if (known || keeper_exit_status(lab->keeper, (pid_t)number, &(int){ 0 }, NULL) != 0)
			continue;
		log_info("lab %s: ending process %s, which was being started", lab->name, pid);
		kill((pid_t)number, SIGKILL);
	}
	(void)d;
}

/* The lab's links are gone with its keeper; so end what runs on */
static void end_orphan(struct labd *d, struct instance *in)
{
	struct qemu_proc proc;
	struct qmp *qmp = NULL;
	char run[IO_PATH];
	int r = qemu_adopt(in->pid, in->start_time, in->digest, instance_run_dir(d, in, run),
			   num_now_us() + ADOPT_US, &proc, &qmp, NULL);

	qmp_close(qmp);
	if (r != -ESRCH) {
		(void)qemu_kill(&proc, num_now_us() + KILL_US, NULL);
		close(proc.pidfd);
	}
	boot_clean(d, in, "failed", "its lab's keeper ended while labd was away");
}

static void recover_instance(struct labd *d, struct instance *in, bool keeper)
{
	const char *state = in->state;

	if (in->pid && keeper)
		adopt(d, in);
	else if (in->pid)
		end_orphan(d, in);
	else if (!strcmp(state, "starting") || !strcmp(state, "stopping"))
		boot_clean(d, in, "stopped", half_started);
	else if (strcmp(state, "defined") && strcmp(state, "failed") && strcmp(state, "stopped"))
		boot_clean(d, in, "stopped", "");
}

struct each {
	struct labd *d;
	struct instance **ins;
	bool keeper;
};

static void one(void *arg, size_t i)
{
	const struct each *e = arg;

	recover_instance(e->d, e->ins[i], e->keeper);
}

static void end_spare(void *arg, size_t i)
{
	const struct each *e = arg;

	spare_recover(e->d, e->ins[i]);
}

static void recover_lab(struct labd *d, struct lab *lab)
{
	autofree struct instance **ins = NULL;
	char run[IO_PATH];
	struct instance *in;
	size_t n = 0, i = 0;
	struct each each;

	if (keeper_connect(lab_run_dir(d, lab, run), &lab->keeper, NULL) < 0) {
		lab->keeper = NULL;
		(void)keeper_sweep(lab_host_id(d, lab), run, NULL);
		json_object_clear(lab->applied);
	}
	TAILQ_FOREACH(in, &lab->instances, link)
		n++;
	ins = calloc(n + 1, sizeof(struct instance *));
	if (!ins)
		abort(); /* at start, with nothing to serve yet */
	TAILQ_FOREACH(in, &lab->instances, link)
		ins[i++] = in;
	each = (struct each){ d, ins, lab->keeper != NULL };
	work_fan_out(n, end_spare, &each);
	if (lab->keeper)
		end_strangers(d, lab);
	work_fan_out(n, one, &each);
	snapshot_repair(d, lab);
	if (!lab->keeper)
		(void)io_remove_tree(AT_FDCWD, run);
	lab_settle(d, lab, NULL);
}

/* Remove directories named by ids that the store does not know (any more) */
static void sweep(struct labd *d, const char *name, bool (*known)(struct labd *d, int64_t id))
{
	char path[IO_PATH];
	autodir DIR *dir = opendir(io_path(path, "%s/%s", d->paths.state, name));
	struct dirent *de;
	uint64_t id;

	while (dir && (de = readdir(dir)))
		if (!num_u64(de->d_name, INT64_MAX, &id) && !known(d, (int64_t)id))
			(void)io_remove_tree(dirfd(dir), de->d_name);
}

static int read_count(void *arg, sqlite3_stmt *st)
{
	*(int64_t *)arg = sqlite3_column_int64(st, 0);
	return 0;
}

/* Also those in the trash, of which the model does not know */
static bool has_row(struct labd *d, const char *sql, int64_t id)
{
	int64_t n = 1;

	(void)store_each(d->store, NULL, read_count, &n, sql, "i", id);
	return n > 0;
}

static bool known_lab(struct labd *d, int64_t id)
{
	return has_row(d, "SELECT count(*) FROM labs WHERE id = ?", id);
}

static bool known_instance(struct labd *d, int64_t id)
{
	return has_row(d, "SELECT count(*) FROM instances WHERE id = ?", id);
}

static bool known_image(struct labd *d, int64_t id)
{
	return has_row(d, "SELECT count(*) FROM images WHERE id = ?", id);
}

/* What is left of instances, where labd ended between their rows and their files */
static void sweep_instances(struct labd *d)
{
	struct lab *lab;
	char name[32];

	TAILQ_FOREACH(lab, &d->labs, link) {
		snprintf(name, sizeof(name), "labs/%lld", (long long)lab->id);
		sweep(d, name, known_instance);
	}
}

/* Power may have failed before it was on the disk: then it never was an image */
static int finish_sync(struct labd *d, struct image *im)
{
	struct lab_err err = LAB_ERR_INIT;
	char dir[IO_PATH];
	int r = image_verify(image_dir(d, im, dir), &err) ?: image_sync(dir, &err);

	if (!r)
		return 0;
	log_warn("image %s was not on the disk when labd ended: %s", im->name, err.text);
	if (r == -EUCLEAN || r == -ENOENT) {
		image_drop(d, im);
		return r;
	}
	im->unsynced = true; /* perhaps the next labd can read it */
	(void)image_set_state(d, im, "failed", err.text);
	return r;
}

static void recover_image(struct labd *d, struct image *im)
{
	struct lab_err err = LAB_ERR_INIT;

	if (!strcmp(im->state, "building") || !strcmp(im->state, "importing")) {
		image_drop(d, im);
		return;
	}
	if (!strcmp(im->state, "unsynced") && finish_sync(d, im) < 0)
		return;
	if (image_load_manifest(d, im, &err) < 0) {
		log_error("image %s: %s", im->name, err.text);
		(void)image_set_state(d, im, "failed", err.text);
	} else if (strcmp(im->state, "ready")) {
		(void)image_set_state(d, im, "ready", "");
	}
}

int recover_all(struct labd *d, struct lab_err *err)
{
	struct image *im, *next;
	struct lab *lab;

	for (im = TAILQ_FIRST(&d->images); im; im = next) {
		next = TAILQ_NEXT(im, link);
		recover_image(d, im);
	}
	if (image_sweep(&d->paths, err) < 0)
		log_warn("%s", err->text);
	export_recover(d);
	import_recover(d);
	TAILQ_FOREACH(lab, &d->labs, link)
		recover_lab(d, lab);
	imagejob_collect(d);
	sweep(d, "snapshots", disks_known);
	sweep(d, "labs", known_lab);
	sweep_instances(d);
	sweep(d, "images", known_image);
	return 0;
}

static void probe(struct labd *d, struct instance *in)
{
	SCOPED_LOCK(&d->lock);
	labjob_probe(d, in);
}

void recover_probe(struct labd *d)
{
	struct instance *in;
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link) {
		if (lab->restore || json_array_size(lab->restoring))
			snapjob_resume(d, lab);
		TAILQ_FOREACH(in, &lab->instances, link)
			if (in->guest && !strcmp(in->state, "running")) {
				services_lost(in);
				if (strcmp(in->ready, "yes") || !services_ready(in))
					probe(d, in);
				else if (json_array_size(service_names(in)))
					bootid_adopted(d, in);
			}
	}
}
