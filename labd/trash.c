// SPDX-License-Identifier: GPL-2.0-or-later
/* trash.c - what was destroyed: put in, listed, removed */
#define _GNU_SOURCE
#include "labd/trash.h"

#include "labd/disk.h"
#include "labd/imagejob.h"
#include "labd/loop.h"
#include "labd/memory.h"
#include "labd/snapshot.h"
#include "labd/store.h"
#include "labd/work.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>

/**
 * struct trash
 * @lock:	one change of what is in it at a time
 * @age:	seconds that something stays
 * @size:	bytes of all together
 * @timer:	for the next that expires; of the event loop
 */
struct trash {
	pthread_mutex_t lock;
	double age;
	uint64_t size;
	sd_event_source *timer;
};

/* ---- what is in it ------------------------------------------------------------------- */

struct list {
	struct trashed *v;
	size_t n;
};

static void list_done(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].spec);
	free(l->v);
}

#define autolist __attribute__((cleanup(list_done)))

static int read_row(void *arg, sqlite3_stmt *st)
{
	struct list *l = arg;
	struct trashed *more = realloc(l->v, (l->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->v = more;
	more += l->n++;
	*more = (struct trashed){ .id = sqlite3_column_int64(st, 0),
				  .object = sqlite3_column_int64(st, 2),
				  .lab = sqlite3_column_int64(st, 3),
				  .lab_in_trash = sqlite3_column_int(st, 5),
				  .since = sqlite3_column_double(st, 7),
				  .size = (uint64_t)sqlite3_column_int64(st, 8),
				  .spec = strdup(store_text(st, 9)) };
	snprintf(more->kind, sizeof(more->kind), "%s", store_text(st, 1));
	snprintf(more->lab_name, sizeof(more->lab_name), "%s", store_text(st, 4));
	snprintf(more->name, sizeof(more->name), "%s", store_text(st, 6));
	return more->spec ? 0 : -ENOMEM;
}

/* All, or one; the oldest first */
static int read_list(struct labd *d, int64_t id, struct list *ret, struct lab_err *err)
{
	return store_each(
		d->store, err, read_row, ret,
		"SELECT t.id, t.kind, t.object, t.lab,"
		" coalesce(l.name, (SELECT name FROM labs WHERE id = t.lab), ''), l.id IS NOT NULL,"
		" t.name, t.since, t.size, t.spec FROM trash t"
		" LEFT JOIN trash l ON l.kind = 'lab' AND l.object = t.lab"
		" WHERE ?1 = 0 OR t.id = ?1 ORDER BY t.since, t.id",
		"i", id);
}

static int read_one(struct labd *d, int64_t id, struct list *ret, struct lab_err *err)
{
	int r = read_list(d, id, ret, err);

	if (!r && (!id || !ret->n))
		r = lab_fail(err, -ENOENT, "there is no %lld in the trash: labctl trash ls",
			     (long long)id);
	return r;
}

json_t *trash_json(struct labd *d, int64_t id, struct lab_err *err)
{
	autolist struct list l = { 0 };
	json_t *all;

	if ((id ? read_one(d, id, &l, err) : read_list(d, 0, &l, err)) < 0)
		return NULL;
	all = json_array();
	for (size_t i = 0; i < l.n; i++)
		json_array_append_new(all, json_pack("{s:I s:s s:s s:s s:f s:f s:I}", "id",
						     (json_int_t)l.v[i].id, "kind", l.v[i].kind,
						     "lab", l.v[i].lab_name, "name", l.v[i].name,
						     "since", l.v[i].since, "expires",
						     l.v[i].since + d->trash->age, "size",
						     (json_int_t)l.v[i].size));
	return all;
}

/* ---- putting something in ------------------------------------------------------------ */

/* Bytes that a directory takes on the disk */
static uint64_t tree_size(const char *dir)
{
	char *roots[] = { (char *)dir, NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	uint64_t bytes = 0;
	FTSENT *e;

	while (fts && (e = fts_read(fts)))
		if (e->fts_info == FTS_F)
			bytes += (uint64_t)e->fts_statp->st_blocks * 512;
	if (fts)
		fts_close(fts);
	return bytes;
}

static int add_row(struct labd *d, const char *kind, int64_t object, int64_t lab, const char *name,
		   uint64_t size, const char *spec, struct lab_err *err)
{
	int64_t r = store_run(d->store, err,
			      "INSERT INTO trash(kind, object, lab, name, since, size, spec)"
			      " VALUES(?, ?, ?, ?, ?, ?, ?)",
			      "siisdis", kind, object, lab, name, num_wall(), (int64_t)size, spec);

	return r < 0 ? (int)r : 0;
}

static const char *hidden_name(char buf[32], int64_t id)
{
	snprintf(buf, 32, ".%lld", (long long)id);
	return buf;
}

int trash_lab(struct labd *d, struct lab *lab, struct lab_err *err)
{
	char dir[IO_PATH], hidden[32];
	uint64_t size = tree_size(lab_dir(d, lab, dir));
	const struct snapshot *sn;
	int r;

	TAILQ_FOREACH(sn, &lab->snapshots, link)
		size += sn->size;
	r = store_begin(d->store, err);
	if (r < 0)
		return r;
	r = add_row(d, "lab", lab->id, 0, lab->name, size, "", err);
	if (!r && store_run(d->store, err, "UPDATE labs SET name = ?, restore = 0 WHERE id = ?",
			    "si", hidden_name(hidden, lab->id), lab->id) < 0)
		r = err->code;
	r = store_end(d->store, r, err);
	if (r < 0)
		return r;
	lab_leave(d, lab);
	trash_expire(d);
	return 0;
}

int trash_instance_rows(struct labd *d, const struct instance *in, const json_t *spec,
			struct lab_err *err)
{
	autofree char *text = spec ? json_dumps(spec, JSON_COMPACT) : strdup("");
	char dir[IO_PATH], hidden[32];
	int r;

	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = add_row(d, "instance", in->id, in->lab->id, in->name,
		    tree_size(instance_dir(d, in, dir)), text, err);
	if (!r && store_run(d->store, err, "UPDATE instances SET name = ? WHERE id = ?", "si",
			    hidden_name(hidden, in->id), in->id) < 0)
		r = err->code;
	return r;
}

int trash_instance(struct labd *d, struct instance *in, const json_t *spec, struct lab_err *err)
{
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	r = store_end(d->store, trash_instance_rows(d, in, spec, err), err);
	if (r < 0)
		return r;
	instance_leave(d, in);
	trash_expire(d);
	return 0;
}

int trash_snapshot(struct labd *d, struct lab *lab, int64_t id, struct lab_err *err)
{
	char name[NAME_MAX_LEN + 1] = "", hidden[32];
	const struct snapshot *sn;
	int r;

	pthread_mutex_lock(&d->lock);
	sn = model_snapshot_id(lab, id);
	if (sn)
		snprintf(name, sizeof(name), "%s", sn->name);
	pthread_mutex_unlock(&d->lock);
	r = store_begin(d->store, err);
	if (r < 0)
		return r;
	r = add_row(d, "snapshot", id, lab->id, name,
		    disks_snapshot_size(d, id) + memory_size(d, id), "", err);
	if (!r)
		r = snapshot_part(d, id, err);
	if (!r && store_run(d->store, err,
			    "UPDATE snapshots SET state = 'trashed', name = ? WHERE id = ?", "si",
			    hidden_name(hidden, id), id) < 0)
		r = err->code;
	r = store_end(d->store, r, err);
	if (r < 0)
		return r;
	/* whoever hears that it is gone may want the lab next: all the rest is done before */
	trash_expire(d);
	snapshot_leave(d, lab, id);
	return lab_save(d, lab, err);
}

int trash_image(struct labd *d, struct image *im, struct lab_err *err)
{
	char dir[IO_PATH];
	uint64_t size = tree_size(image_dir(d, im, dir));
	int r;

	if (disks_use_image(d, im))
		return lab_fail(err, -EBUSY,
				"image %s is used by something in the trash: labctl trash ls",
				im->name);
	if (im->unsynced) /* it failed: nobody wants that back */
		return image_drop(d, im);
	r = store_begin(d->store, err);
	if (r < 0)
		return r;
	r = add_row(d, "image", im->id, 0, im->name, size, "", err);
	if (!r &&
	    store_run(d->store, err, "UPDATE images SET state = 'trashed', name = '' WHERE id = ?",
		      "i", im->id) < 0)
		r = err->code;
	r = store_end(d->store, r, err);
	if (r < 0)
		return r;
	image_leave(d, im);
	trash_expire(d);
	return 0;
}

/* ---- removing ------------------------------------------------------------------------ */

/* Its rows, in one transaction; then its files have no owner, which each start sweeps */
static int remove_rows(struct labd *d, const struct trashed *t, struct lab_err *err)
{
	static const char *const tables[][2] = {
		{ "lab", "DELETE FROM labs WHERE id = ?" },
		{ "instance", "DELETE FROM instances WHERE id = ?" },
		{ "snapshot", "DELETE FROM snapshots WHERE id = ?" },
		{ "image", "DELETE FROM images WHERE id = ?" },
	};
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (!r && !strcmp(t->kind, tables[i][0]) &&
		    store_run(d->store, err, tables[i][1], "i", t->object) < 0)
			r = err->code;
	if (!r && !strcmp(t->kind, "lab") &&
	    store_run(d->store, err, "DELETE FROM trash WHERE lab = ?", "i", t->object) < 0)
		r = err->code;
	if (!r && store_run(d->store, err, "DELETE FROM trash WHERE id = ?", "i", t->id) < 0)
		r = err->code;
	return store_end(d->store, r, err);
}

/* For good, as far as the store knows; the trash's lock is held */
static int purge(struct labd *d, const struct trashed *t, struct lab_err *err)
{
	return remove_rows(d, t, err) ?: store_sync(d->store, err);
}

/* What nothing refers to any more. It may take a while, in which others want the trash */
static void remove_files(struct labd *d, const struct trashed *t)
{
	char dir[IO_PATH] = "";

	if (!strcmp(t->kind, "lab"))
		io_path(dir, "%s/labs/%lld", d->paths.state, (long long)t->object);
	else if (!strcmp(t->kind, "instance"))
		io_path(dir, "%s/labs/%lld/%lld", d->paths.state, (long long)t->lab,
			(long long)t->object);
	else if (!strcmp(t->kind, "image"))
		io_path(dir, "%s/images/%lld", d->paths.state, (long long)t->object);
	if (*dir)
		(void)io_remove_tree(AT_FDCWD, dir);
	disks_collect(d);
	memory_collect(d);
	imagejob_collect(d);
	log_info("the trash: %s %s%s%s removed", t->kind, t->lab_name, *t->lab_name ? "/" : "",
		 t->name);
}

static uint64_t total(const struct list *l)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < l->n; i++)
		bytes += l->v[i].size;
	return bytes;
}

/* Have the timer go off when @when (real time) is over, or not at all for 0 */
static void set_timer(struct labd *d, double when)
{
	if (!d->trash->timer)
		return;
	(void)sd_event_source_set_time(d->trash->timer, (uint64_t)(when * 1e6));
	(void)sd_event_source_set_enabled(d->trash->timer,
					  when > 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* In the event loop: who put something in was perhaps in another thread */
static void look_at_next(struct labd *d, void *arg)
{
	autolist struct list l = { 0 };

	(void)arg;
	if (d->trash && !read_list(d, 0, &l, NULL))
		set_timer(d, l.n ? l.v[0].since + d->trash->age + 1 : 0);
}

/* Whether one had to go; it is the first in the list */
static bool purge_next(struct labd *d, struct list *ret)
{
	struct trash *t = d->trash;
	struct lab_err err = LAB_ERR_INIT;
	SCOPED_LOCK(&t->lock);

	if (read_list(d, 0, ret, NULL) < 0 || !ret->n ||
	    (t->size && ret->v[0].since + t->age > num_wall() && total(ret) <= t->size))
		return false;
	if (!purge(d, &ret->v[0], &err))
		return true;
	log_error("the trash: %s", err.text);
	return false;
}

void trash_expire(struct labd *d)
{
	bool more = true;

	while (more) {
		autolist struct list l = { 0 };

		more = purge_next(d, &l);
		if (more)
			remove_files(d, &l.v[0]);
	}
	loop_post(d, look_at_next, NULL);
}

int trash_remove(struct labd *d, int64_t id, struct lab_err *err)
{
	autolist struct list l = { 0 };
	int r;

	pthread_mutex_lock(&d->trash->lock);
	r = read_one(d, id, &l, err) ?: purge(d, &l.v[0], err);
	pthread_mutex_unlock(&d->trash->lock);
	if (!r)
		remove_files(d, &l.v[0]);
	return r;
}

int trash_restore(struct labd *d, int64_t id, const char *name, json_t **ret, struct lab_err *err)
{
	static const struct {
		const char *kind;
		int (*restore)(struct labd *d, const struct trashed *t, const char *name,
			       struct lab_err *err);
	} kinds[] = {
		{ "lab", trash_restore_lab },
		{ "instance", trash_restore_instance },
		{ "snapshot", trash_restore_snapshot },
		{ "image", trash_restore_image },
	};
	SCOPED_LOCK(&d->trash->lock);
	autolist struct list l = { 0 };
	const struct trashed *t;
	int r = read_one(d, id, &l, err);

	if (r < 0)
		return r;
	t = &l.v[0];
	name = name && *name ? name : t->name;
	if (!name_valid(name))
		return lab_fail(err, -EINVAL, "'%s' cannot be a name: %s", name, NAME_RULE);
	if (t->lab_in_trash)
		return lab_fail(err, -EBUSY, "its lab %s is in the trash: restore that first",
				t->lab_name);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(t->kind, kinds[i].kind))
			r = kinds[i].restore(d, t, name, err);
	if (!r)
		*ret = json_pack("{s:s s:s s:s}", "kind", t->kind, "lab", t->lab_name, "name",
				 name);
	return r;
}

/* ---- begin and end ------------------------------------------------------------------- */

static void expire_work(void *arg)
{
	trash_expire(arg);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct labd *d = arg;

	(void)source, (void)usec;
	if (d->calls)
		(void)work_submit(d->calls, expire_work, d);
	return 0;
}

int trash_open(struct labd *d, unsigned int days, uint64_t size, struct lab_err *err)
{
	struct trash *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return lab_fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&t->lock, NULL);
	t->age = days * 86400.0;
	t->size = days ? size : 0;
	d->trash = t;
	r = sd_event_add_time(d->event, &t->timer, CLOCK_REALTIME, UINT64_MAX, 60000000, on_timer,
			      d);
	if (r < 0)
		return lab_fail_errno(err, r, "event loop");
	set_timer(d, 0);
	trash_expire(d);
	return 0;
}

bool trash_keeps(struct labd *d)
{
	return d->trash->size;
}

void trash_close(struct labd *d)
{
	struct trash *t = steal_ptr(d->trash);

	if (!t)
		return;
	sd_event_source_disable_unref(t->timer);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
