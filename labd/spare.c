// SPDX-License-Identifier: GPL-2.0-or-later
/* spare.c - a second QEMU of each running instance, which stands still in the golden's state */
#define _GNU_SOURCE
#include "labd/spare.h"

#include "labd/disk.h"
#include "labd/fit.h"
#include "labd/golden.h"
#include "labd/load.h"
#include "labd/loop.h"
#include "labd/memory.h"
#include "labd/network.h"
#include "labd/store.h"
#include "labd/work.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#define IDLE_US 1000000ULL /* after the last job of a lab: another may follow at once */
#define ANSWER_US 300000ULL /* a spare that does not answer in time is worth nothing */
#define KILL_US 3000000ULL

/* ---- the store -------------------------------------------------------------------- */

static int save_row(struct labd *d, const struct instance *in, const struct machine *m,
		    struct lab_err *err)
{
	int64_t r =
		store_run(d->store, err,
			  "INSERT OR REPLACE INTO spares(instance, pid, start_time, digest, run)"
			  " VALUES(?, ?, ?, ?, ?)",
			  "iiiss", in->id, (int64_t)m->proc.pid, (int64_t)m->proc.start_time,
			  m->proc.digest, m->run);

	return r < 0 ? (int)r : 0;
}

static void remove_row(struct labd *d, const struct instance *in)
{
	(void)store_run(d->store, NULL, "DELETE FROM spares WHERE instance = ?", "i", in->id);
}

/* ---- one -------------------------------------------------------------------------- */

/* A name that no QEMU has had: it removes its sockets by their names when it ends */
static const char *run_dir(struct labd *d, const struct instance *in, char buf[IO_PATH])
{
	char dir[IO_PATH];

	return io_path(buf, "%s.%" PRIx64, instance_run_dir(d, in, dir), num_now_us() / 1000);
}

static void set_spare(struct labd *d, struct instance *in, struct spare *sp)
{
	SCOPED_LOCK(&d->lock);

	in->spare = sp;
	instance_emit(d, in);
}

static struct spare *detach(struct labd *d, struct instance *in)
{
	struct spare *sp = in->spare;

	set_spare(d, in, NULL);
	return sp;
}

/* Its process is there, or never was */
static void end_spare(struct labd *d, struct instance *in, struct spare *sp)
{
	struct machine *m = &sp->machine;

	if (m->qmp) {
		(void)qemu_kill(&m->proc, num_now_us() + KILL_US, NULL);
		qmp_close(m->qmp);
		agent_free(m->agent);
		close(m->proc.pidfd);
	}
	(void)network_del_taps(in->lab, &in, 1, NULL);
	if (*m->run)
		(void)io_remove_tree(AT_FDCWD, m->run);
	(void)disks_forget(d, in, LAYER_SPARE, NULL);
	remove_row(d, in);
	free(sp);
}

static bool has_ended(const struct spare *sp)
{
	struct pollfd p = { .fd = sp->machine.proc.pidfd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* ---- making one ------------------------------------------------------------------- */

/* Nobody has claimed any of it; the lock is held */
static bool is_idle(const struct lab *lab)
{
	const struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link)
		if (in->job)
			return false;
	return !lab->job;
}

/* Somebody waits for the lab, or for the end */
static int check_hurry(struct labd *d, const struct instance *in, struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);

	return d->ending || !is_idle(in->lab) ? lab_fail(err, -ECANCELED, "somebody needs the lab")
					      : 0;
}

/* What a restore would look at; and nothing that takes long, as somebody may come */
static int check_golden(struct labd *d, struct instance *in, struct spare *sp, struct lab_err *err)
{
	struct instances one = { .v = &in, .n = 1 };
	int r;

	if (!memory_exists(d, in, sp->snapshot))
		return lab_fail(err, -ENOENT, "it has no memory in the golden");
	if (!memory_sealed(d, in, sp->snapshot))
		return lab_fail(err, -ESTALE, "the golden is to be read again first");
	/* the kernel of a direct boot is its image's */
	if (disks_snapshot_image(d, in, sp->snapshot) != in->image)
		return lab_fail(err, -ESTALE, "it has another image than in the golden");
	r = golden_usable(d, in->lab, &one, err);
	return r < 0 ? r : boot_machine(d, in, sp->digest, err);
}

static int start_qemu(struct labd *d, struct instance *in, struct spare *sp, struct lab_err *err)
{
	autolayers struct layers heads = { 0 };
	char dir[IO_PATH], ram[IO_PATH], run[IO_PATH];
	struct launch how = { .run = run_dir(d, in, run), .spare = &heads };
	int r = disks_prepare(d, in, sp->snapshot, LAYER_SPARE, err);

	if (!r)
		r = layers_of(d, in->id, LAYER_SPARE, &heads, err);
	if (!r)
		r = network_add_taps(in, err);
	if (!r)
		r = check_hurry(d, in, err);
	if (r < 0)
		return r;
	how.ram = memory_file(d, disks_frozen_dir(d, in, sp->snapshot, dir), ram);
	r = boot_qemu(d, in, &how, &sp->machine, err);
	return r < 0 ? r : save_row(d, in, &sp->machine, err);
}

static int load_golden(struct labd *d, struct instance *in, const struct spare *sp,
		       struct lab_err *err)
{
	char dir[IO_PATH];

	return load_state(d, in->lab, &sp->machine, disks_frozen_dir(d, in, sp->snapshot, dir),
			  err);
}

/*
 * KVM has a guest's time stamp counter go on from the moment at which it is loaded, not
 * from that at which it runs: there it is loaded when its turn has come
 */
static int fill_spare(struct labd *d, struct instance *in, struct spare *sp, struct lab_err *err)
{
	int r = check_golden(d, in, sp, err);

	if (!r)
		r = check_hurry(d, in, err);
	if (!r)
		r = start_qemu(d, in, sp, err);
	if (!r)
		r = check_hurry(d, in, err);
	return r < 0 || d->accel.kvm ? r : load_golden(d, in, sp, err);
}

static void make_spare(struct labd *d, struct instance *in)
{
	struct spare *sp = calloc(1, sizeof(*sp));
	struct lab_err err = LAB_ERR_INIT;
	int r;

	if (!sp)
		abort();
	sp->snapshot = in->lab->golden;
	r = fill_spare(d, in, sp, &err);
	if (!r) {
		set_spare(d, in, sp);
		return;
	}
	end_spare(d, in, sp);
	if (r == -ECANCELED)
		return;
	log_info("%s/%s: no spare: %s", in->lab->name, in->name, err.text);
	SCOPED_LOCK(&d->lock);
	in->no_spare = in->lab->golden;
}

/* ---- when ------------------------------------------------------------------------- */

static bool is_stale(const struct instance *in)
{
	return in->spare && (in->spare->snapshot != in->lab->golden || has_ended(in->spare));
}

/* The lock is held */
static bool wants_one(const struct instance *in)
{
	int64_t golden = in->lab->golden;

	return !in->spare && golden && in->no_spare != golden && instance_running(in) &&
	       !strcmp(in->state, "running") && strcmp(in->ready, "no") != 0;
}

/* The first of a lab for which something is to be done; the lock is held */
static struct instance *next_of(const struct lab *lab, bool room)
{
	struct instance *in;

	if (!is_idle(lab) || lab->restore)
		return NULL;
	TAILQ_FOREACH(in, &lab->instances, link)
		if (is_stale(in) || (room && wants_one(in)))
			return in;
	return NULL;
}

/* Whether a quarter of the host's memory is available */
static bool has_room(void)
{
	uint64_t total = 0;

	return fit_memory_free(&total) > total / 4;
}

/*
 * The next one of those whose time has come. Its lab stays: whoever claims it waits from now on.
 * NULL, and the maker ends; *ret_later: there are some whose time has not come
 */
static struct instance *begin_next(struct labd *d, bool *ret_later)
{
	bool room = has_room();
	struct instance *in;
	struct lab *lab;

	SCOPED_LOCK(&d->lock);
	*ret_later = false;
	TAILQ_FOREACH(lab, &d->labs, link) {
		in = d->ending ? NULL : next_of(lab, room);
		if (!in)
			continue;
		lab->sparing = num_now_us() >= lab->idle + IDLE_US;
		if (lab->sparing)
			return in;
		*ret_later = true;
	}
	d->sparing = false;
	return NULL;
}

static void look(struct labd *d, void *arg)
{
	(void)arg;
	SCOPED_LOCK(&d->lock);
	spares_look(d);
}

/* In a worker, one for all labs: more at a time would only slow each other */
static void make_all(void *arg)
{
	struct labd *d = arg;
	struct instance *in;
	bool later;

	while ((in = begin_next(d, &later))) {
		if (in->spare) {
			spare_drop(d, in);
			disks_collect(d);
			memory_collect(d);
		} else {
			make_spare(d, in);
		}
		SCOPED_LOCK(&d->lock);
		in->lab->sparing = false;
		pthread_cond_broadcast(&d->changed);
	}
	if (later)
		loop_post(d, look, NULL);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct labd *d = arg;

	(void)source, (void)usec;
	SCOPED_LOCK(&d->lock);
	if (!d->ending && !d->sparing)
		d->sparing = !work_submit(d->work, make_all, d);
	return 0;
}

void spares_look(struct labd *d)
{
	const struct lab *lab;
	int enabled = 0;

	if (!d->spares || d->sparing)
		return;
	(void)sd_event_source_get_enabled(d->spares, &enabled);
	TAILQ_FOREACH(lab, &d->labs, link)
		if (!enabled && next_of(lab, true)) {
			(void)sd_event_source_set_time_relative(d->spares, IDLE_US);
			(void)sd_event_source_set_enabled(d->spares, SD_EVENT_ONESHOT);
			return;
		}
}

int spares_open(struct labd *d, struct lab_err *err)
{
	int r = d->no_spares ? 0
			     : sd_event_add_time_relative(d->event, &d->spares, CLOCK_MONOTONIC,
							  IDLE_US, 0, on_timer, d);

	return r < 0 ? lab_fail_errno(err, r, "event loop") : 0;
}

void spares_close(struct labd *d)
{
	struct lab *lab;

	d->spares = sd_event_source_disable_unref(d->spares);
	TAILQ_FOREACH(lab, &d->labs, link) {
		autoinstances struct instances ins = { 0 };

		(void)instances_with_disks(d, lab, &ins, NULL);
		spares_drop(d, lab, ins.v, ins.n);
	}
}

/* Whether a spare is being made of something that a job has claimed; the lock is held */
static bool is_waited_for(const struct labd *d, int64_t job)
{
	const struct instance *in;
	const struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link) {
		if (!lab->sparing)
			continue;
		TAILQ_FOREACH(in, &lab->instances, link)
			if (in->job == job)
				return true;
	}
	return false;
}

void spares_wait(struct labd *d, int64_t job)
{
	while (is_waited_for(d, job))
		pthread_cond_wait(&d->changed, &d->lock);
}

/* ---- its turn --------------------------------------------------------------------- */

static bool answers(const struct spare *sp)
{
	return !has_ended(sp) && !qmp_call(sp->machine.qmp, "query-status", NULL,
					   num_now_us() + ANSWER_US, NULL, NULL);
}

bool spare_fits(struct labd *d, struct instance *in, int64_t snapshot)
{
	const struct spare *sp = in->spare;
	char digest[DIGEST_HEX];

	return sp && sp->snapshot == snapshot && !boot_machine(d, in, digest, NULL) &&
	       !strcmp(digest, sp->digest) && answers(sp);
}

int spare_take(struct labd *d, struct instance *in, struct lab_err *err)
{
	int r = disks_promote_spare(d, in, err);

	if (r < 0)
		return r;
	SCOPED_LOCK(&d->lock);
	in->spare->taken = true;
	return 0;
}

bool spare_taken(const struct instance *in)
{
	return in->spare && in->spare->taken;
}

/* It is the instance's; on failure something may be left for boot_failed() */
static int hand_over(struct labd *d, struct instance *in, struct spare *sp, struct lab_err *err)
{
	char dir[IO_PATH];
	int r = boot_take(d, in, &sp->machine, disks_frozen_dir(d, in, sp->snapshot, dir), err);

	remove_row(d, in);
	if (!r && d->accel.kvm)
		r = load_golden(d, in, sp, err);
	free(sp);
	return r;
}

int spare_use(struct labd *d, struct instance *in, struct lab_err *err)
{
	struct spare *sp = detach(d, in);
	bool there = answers(sp);
	char run[IO_PATH];

	instance_run_dir(d, in, run);
	(void)io_remove_tree(AT_FDCWD, run);
	if (!there || rename(sp->machine.run, run) < 0) {
		end_spare(d, in, sp);
		return -ESRCH;
	}
	io_path(sp->machine.run, "%s", run);
	return hand_over(d, in, sp, err);
}

void spare_end_taken(struct labd *d, struct instance *in)
{
	if (spare_taken(in))
		end_spare(d, in, detach(d, in));
}

static bool is_droppable(const struct instance *in)
{
	return in->spare && !in->spare->taken;
}

void spare_drop(struct labd *d, struct instance *in)
{
	if (is_droppable(in))
		end_spare(d, in, detach(d, in));
}

struct dropping {
	struct labd *d;
	struct instance *ins[LAB_MAX_INSTANCES];
	size_t n;
};

static void drop_nth(void *arg, size_t i)
{
	struct dropping *all = arg;

	spare_drop(all->d, all->ins[i]);
}

void spares_drop(struct labd *d, struct lab *lab, struct instance *const *ins, size_t n)
{
	struct dropping all = { .d = d };

	for (size_t i = 0; i < n; i++)
		if (is_droppable(ins[i]) && all.n < ARRAY_SIZE(all.ins))
			all.ins[all.n++] = ins[i];
	/* together, as each that is removed alone waits in the kernel */
	if (all.n)
		(void)network_del_taps(lab, all.ins, all.n, NULL);
	work_fan_out(all.n, drop_nth, &all);
}

/* ---- after a start ---------------------------------------------------------------- */

/* A row of the store */
struct left {
	pid_t pid;
	uint64_t start_time;
	char digest[DIGEST_HEX], run[IO_PATH];
};

static int read_left(void *arg, sqlite3_stmt *st)
{
	struct left *left = arg;

	left->pid = (pid_t)sqlite3_column_int64(st, 0);
	left->start_time = (uint64_t)sqlite3_column_int64(st, 1);
	snprintf(left->digest, sizeof(left->digest), "%s", store_text(st, 2));
	snprintf(left->run, sizeof(left->run), "%s", store_text(st, 3));
	return 0;
}

static void end_left(const struct left *left)
{
	struct qemu_proc proc;
	struct qmp *qmp = NULL;
	int r = qemu_adopt(left->pid, left->start_time, left->digest, left->run,
			   num_now_us() + ANSWER_US, &proc, &qmp, NULL);

	qmp_close(qmp);
	if (r != -ESRCH) {
		(void)qemu_kill(&proc, num_now_us() + KILL_US, NULL);
		close(proc.pidfd);
	}
	(void)io_remove_tree(AT_FDCWD, left->run);
}

/* Of one that was being made: its process was nobody's, and has been ended */
static void sweep_dirs(struct labd *d, const struct instance *in)
{
	char path[IO_PATH], prefix[32];
	autodir DIR *dir = opendir(lab_run_dir(d, in->lab, path));
	int n = snprintf(prefix, sizeof(prefix), "%lld.", (long long)in->id);
	struct dirent *de;

	while (dir && (de = readdir(dir)))
		if (!strncmp(de->d_name, prefix, (size_t)n))
			(void)io_remove_tree(dirfd(dir), de->d_name);
}

void spare_recover(struct labd *d, struct instance *in)
{
	struct left left = { 0 };

	(void)store_each(d->store, NULL, read_left, &left,
			 "SELECT pid, start_time, digest, run FROM spares WHERE instance = ?", "i",
			 in->id);
	/* unless its turn had come already */
	if (left.pid && left.pid != in->pid)
		end_left(&left);
	remove_row(d, in);
	sweep_dirs(d, in);
	(void)network_del_taps(in->lab, &in, 1, NULL);
	(void)disks_forget(d, in, LAYER_SPARE, NULL);
}
