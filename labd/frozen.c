// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * frozen.c - the qcow2 files of snapshots
 *
 * DOC: Theory of Operation
 *
 * Freezing a disk gives the file that its guest writes a second name, in the tree of
 * frozen files, and makes a new one that stands on it; one transaction then changes the
 * rows. A running QEMU writes to the old file until it is told to change
 * (qemu_use_overlay()), and opens it for reading by its old name then: so that name stays
 * until QEMU has ended or has other disks.
 *
 * What is frozen is on the disk before its snapshot is ready (snapshot.c), and a file goes only
 * when the store has forgotten it for good (store_sync()): so a loss of power leaves what was
 * before, or what is after.
 *
 * Thawing makes new files first, as rows LAYER_PREPARED; one transaction makes them
 * the guests'. Those of a spare (spare.h) were made earlier, as LAYER_SPARE. Files without a
 * row are swept.
 */
#define _GNU_SOURCE
#include "labd/disk.h"
#include "labd/layer.h"
#include "labd/qcow2.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

const char *disks_frozen_dir(struct labd *d, const struct instance *in, int64_t snapshot, char *buf)
{
	return io_path(buf, "%s/snapshots/%lld/%lld", d->paths.state, (long long)snapshot,
		       (long long)in->id);
}

/* The file of a disk in a snapshot */
static void frozen_layer(struct labd *d, const struct instance *in, int64_t snapshot,
			 struct layer *l)
{
	char dir[IO_PATH];

	io_path(l->path, "%s/%s.qcow2", disks_frozen_dir(d, in, snapshot, dir), l->disk);
	l->instance = in->id;
	l->snapshot = snapshot;
}

static int make_frozen_dir(struct labd *d, const struct instance *in, int64_t snapshot,
			   struct lab_err *err)
{
	char dir[IO_PATH];
	int r = io_mkdirs(disks_frozen_dir(d, in, snapshot, dir), 0711);

	return r < 0 ? lab_fail_errno(err, r, "%s", dir) : 0;
}

/* ---- freeze ---------------------------------------------------------------------- */

static int give_name(const struct layer *head, const struct layer *frozen, struct lab_err *err)
{
	struct stat st;

	unlink(frozen->path); /* of a freeze that was not finished */
	if (link(head->path, frozen->path) < 0 || lstat(frozen->path, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", frozen->path);
	/* the name is in the guest's directory */
	if (!S_ISREG(st.st_mode))
		return lab_fail(err, -EUCLEAN, "%s is not a file any more", head->path);
	return 0;
}

static int freeze_rows(struct labd *d, const struct layer *head, const struct layer *frozen,
		       struct layer *fresh, struct lab_err *err)
{
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	r = layer_remove(d, head->path, err);
	if (!r)
		r = layer_save(d, frozen, err);
	fresh->snapshot = LAYER_HEAD;
	if (!r)
		r = layer_save(d, fresh, err);
	return store_end(d->store, r, err);
}

static int freeze_one(struct labd *d, struct instance *in, const struct layer *head,
		      int64_t snapshot, struct lab_err *err)
{
	struct layer frozen = *head, fresh = *head;
	int r;

	frozen_layer(d, in, snapshot, &frozen);
	snprintf(frozen.head, sizeof(frozen.head), "%s", head->path);
	snprintf(fresh.base, sizeof(fresh.base), "%s", frozen.path);
	r = disks_make_head(d, in, &fresh, LAYER_PREPARED, err);
	if (!r)
		r = give_name(head, &frozen, err);
	if (!r)
		r = freeze_rows(d, head, &frozen, &fresh, err);
	if (r < 0) {
		unlink(frozen.path);
		return r;
	}
	r = keeper_freeze_file(frozen.path);
	return r < 0 ? lab_fail_errno(err, r, "%s", frozen.path) : 0;
}

/* Their old names, which nobody needs any more */
static int forget_heads(struct labd *d, const struct layers *heads, struct lab_err *err)
{
	int r = store_sync(d->store, err);

	for (size_t i = 0; !r && i < heads->n; i++)
		unlink(heads->v[i].path);
	return r;
}

int disks_freeze(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err)
{
	autolayers struct layers l = { 0 };
	int r = layers_of(d, in->id, LAYER_HEAD, &l, err);

	if (!r)
		r = make_frozen_dir(d, in, snapshot, err);
	for (size_t i = 0; !r && i < l.n; i++)
		r = freeze_one(d, in, &l.v[i], snapshot, err);
	if (!r && !instance_running(in))
		r = forget_heads(d, &l, err);
	return r < 0 ? r : disks_reload(d, in, err);
}

/* The file that stands on a frozen one and that the guest is to write */
static const struct layer *head_on(const struct layers *heads, const struct layer *frozen)
{
	for (size_t i = 0; i < heads->n; i++)
		if (!strcmp(heads->v[i].base, frozen->path))
			return &heads->v[i];
	return NULL;
}

static int unfreeze_rows(struct labd *d, const struct layer *frozen, const struct layer *fresh,
			 const struct layer *head, struct lab_err *err)
{
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	r = layer_remove(d, frozen->path, err);
	if (!r)
		r = layer_remove(d, fresh->path, err);
	if (!r)
		r = layer_save(d, head, err);
	return store_end(d->store, r, err);
}

/* Undo a freeze of one disk: the frozen file becomes the guest's again */
static int unfreeze_one(struct labd *d, const struct layer *frozen, const struct layer *fresh,
			const struct instance *in, struct lab_err *err)
{
	uid_t uid = keeper_uid(lab_host_id(d, in->lab));
	struct layer head = *frozen;
	int r;

	snprintf(head.path, sizeof(head.path), "%s", frozen->head);
	head.head[0] = '\0';
	head.snapshot = LAYER_HEAD;
	if (link(frozen->path, head.path) < 0 && errno != EEXIST)
		return lab_fail_errno(err, -errno, "%s: cannot bring it back", frozen->path);
	r = keeper_give_file(head.path, uid);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", head.path);
	r = unfreeze_rows(d, frozen, fresh, &head, err);
	if (!r)
		r = store_sync(d->store, err);
	if (r < 0)
		return r;
	unlink(frozen->path);
	unlink(fresh->path);
	return 0;
}

int disks_forget(struct labd *d, const struct instance *in, int64_t kind, struct lab_err *err)
{
	autolayers struct layers l = { 0 };
	int r = layers_of(d, in->id, kind, &l, err);

	for (size_t i = 0; !r && i < l.n; i++) {
		r = layer_remove(d, l.v[i].path, err);
		unlink(l.v[i].path);
	}
	return r;
}

/*
 * Whether a guest writes to a new head by now, or has. Its QEMU may have ended since: what
 * it wrote behind the barrier is on the disk for the guest all the same.
 */
static bool is_written(const struct instance *in, const struct layer *fresh)
{
	return (instance_running(in) && qemu_has_open(in->pid, fresh->path)) ||
	       !qcow2_is_new(fresh->path, fresh->size);
}

int disks_unfreeze(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err)
{
	autolayers struct layers frozen = { 0 }, heads = { 0 };
	int r = layers_of(d, in->id, snapshot, &frozen, err);

	if (!r)
		r = layers_of(d, in->id, LAYER_HEAD, &heads, err);
	for (size_t i = 0; !r && i < frozen.n; i++) {
		const struct layer *fresh = head_on(&heads, &frozen.v[i]);

		/* no head of its own: something else may stand on it since */
		if (!fresh || is_written(in, fresh))
			continue;
		r = unfreeze_one(d, &frozen.v[i], fresh, in, err);
	}
	if (!r)
		r = disks_forget(d, in, LAYER_PREPARED, err);
	return r < 0 ? r : disks_reload(d, in, err);
}

int disks_derive(struct labd *d, const struct instance *from, int64_t snapshot, struct instance *to,
		 int64_t derived, struct lab_err *err)
{
	autolayers struct layers l = { 0 };
	int r = layers_of(d, from->id, snapshot, &l, err);

	if (!r)
		r = make_frozen_dir(d, to, derived, err);
	for (size_t i = 0; !r && i < l.n; i++) {
		struct layer *fresh = &l.v[i];

		snprintf(fresh->base, sizeof(fresh->base), "%s", fresh->path);
		fresh->head[0] = '\0';
		frozen_layer(d, to, derived, fresh);
		r = qcow2_create(fresh->path, fresh->size, fresh->base, 0, err);
		if (!r)
			r = keeper_freeze_file(fresh->path);
		if (!r)
			r = layer_save(d, fresh, err);
	}
	return r;
}

/* ---- thaw ------------------------------------------------------------------------- */

int disks_prepare(struct labd *d, struct instance *in, int64_t snapshot, int64_t kind,
		  struct lab_err *err)
{
	autolayers struct layers frozen = { 0 };
	int r = layers_of(d, in->id, snapshot, &frozen, err);

	if (!r)
		r = disks_forget(d, in, kind, err);
	if (!r)
		r = disks_make_dir(d, in, err);
	for (size_t i = 0; !r && i < frozen.n; i++) {
		struct layer fresh = frozen.v[i];

		snprintf(fresh.base, sizeof(fresh.base), "%s", frozen.v[i].path);
		r = disks_make_head(d, in, &fresh, kind, err);
	}
	return r;
}

int disks_promote_spare(struct labd *d, struct instance *in, struct lab_err *err)
{
	int64_t r = disks_forget(d, in, LAYER_PREPARED, err);

	if (!r)
		r = store_run(d->store, err,
			      "UPDATE layers SET snapshot = ? WHERE instance = ? AND snapshot = ?",
			      "iii", (int64_t)LAYER_PREPARED, in->id, (int64_t)LAYER_SPARE);
	return r < 0 ? (int)r : 0;
}

/* In the store: the prepared ones are its disks; one that the snapshot does not have goes */
static int thaw_rows(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err)
{
	if (store_run(d->store, err, "DELETE FROM layers WHERE instance = ? AND snapshot = ?", "ii",
		      in->id, (int64_t)LAYER_HEAD) < 0 ||
	    store_run(d->store, err,
		      "UPDATE layers SET snapshot = ? WHERE instance = ? AND snapshot = ?", "iii",
		      (int64_t)LAYER_HEAD, in->id, (int64_t)LAYER_PREPARED) < 0)
		return err->code;
	in->image = disks_snapshot_image(d, in, snapshot);
	return instance_save(d, in, err);
}

int disks_thaw(struct labd *d, struct instance *const *ins, size_t n, int64_t snapshot,
	       struct lab_err *err)
{
	int r = store_begin(d->store, err);

	if (r < 0)
		return r;
	for (size_t i = 0; !r && i < n; i++)
		r = thaw_rows(d, ins[i], snapshot, err);
	r = store_end(d->store, r, err);
	for (size_t i = 0; !r && i < n; i++)
		r = disks_reload(d, ins[i], err);
	return r;
}

/* ---- what is left --------------------------------------------------------------------- */

static int collect_once(struct labd *d)
{
	autolayers struct layers l = { 0 };

	(void)layers_unused(d, &l);
	if (l.n && store_sync(d->store, NULL) < 0)
		return 0;
	for (size_t i = 0; i < l.n; i++) {
		char *slash;

		(void)layer_remove(d, l.v[i].path, NULL);
		unlink(l.v[i].path);
		/* its directories, when they are empty now */
		for (int up = 0; up < 2 && (slash = strrchr(l.v[i].path, '/')); up++) {
			*slash = '\0';
			rmdir(l.v[i].path);
		}
	}
	return (int)l.n;
}

static int count(void *arg, sqlite3_stmt *st)
{
	*(int64_t *)arg = sqlite3_column_int64(st, 0);
	return 0;
}

bool disks_known(struct labd *d, int64_t snapshot)
{
	int64_t n = 1;

	(void)store_each(d->store, NULL, count, &n,
			 "SELECT (SELECT count(*) FROM snapshots WHERE id = ?)"
			 " + (SELECT count(*) FROM layers WHERE snapshot = ?)"
			 " + (SELECT count(*) FROM memories WHERE snapshot = ?)",
			 "iii", snapshot, snapshot, snapshot);
	return n > 0;
}

void disks_collect(struct labd *d)
{
	(void)store_run(d->store, NULL,
			"DELETE FROM layers WHERE snapshot <= 0"
			" AND instance NOT IN (SELECT id FROM instances)",
			"");
	while (collect_once(d))
		;
}

void disks_repair(struct labd *d, struct lab *lab)
{
	struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link) {
		(void)disks_forget(d, in, LAYER_PREPARED, NULL);
		(void)disks_reload(d, in, NULL);
		if (!instance_running(in))
			disks_sweep(d, in);
	}
	disks_collect(d);
}

/* ---- telling ----------------------------------------------------------------------------- */

int64_t disks_snapshot_image(struct labd *d, const struct instance *in, int64_t snapshot)
{
	autolayers struct layers l = { 0 };

	if (layers_of(d, in->id, snapshot, &l, NULL) < 0 || !l.n)
		return 0;
	return layer_image(d, l.v[0].base);
}

static uint64_t file_used(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

json_t *disks_snapshot_json(struct labd *d, int64_t instance, int64_t snapshot)
{
	autolayers struct layers l = { 0 };
	json_t *list = json_array();

	(void)layers_of(d, instance, snapshot, &l, NULL);
	for (size_t i = 0; i < l.n; i++)
		json_array_append_new(list, json_pack("{s:s s:I s:I}", "name", l.v[i].disk, "size",
						      (json_int_t)l.v[i].size, "used",
						      (json_int_t)file_used(l.v[i].path)));
	return list;
}

static bool stands_on(struct labd *d, const char *path, const char *what)
{
	char at[IO_PATH];

	for (io_path(at, "%s", path); *at && strcmp(at, what);)
		layer_base(d, at, at);
	return *at;
}

/* Bytes in the files from @path down to the first that @other stands on too */
static uint64_t written_since(struct labd *d, const char *path, const char *other)
{
	uint64_t bytes = 0;
	char at[IO_PATH];

	for (io_path(at, "%s", path); *at && !stands_on(d, other, at);) {
		bytes += file_used(at);
		layer_base(d, at, at);
	}
	return bytes;
}

json_t *disks_diff_json(struct labd *d, int64_t instance, int64_t from, int64_t to)
{
	autolayers struct layers a = { 0 }, b = { 0 };
	json_t *list = json_array();

	(void)layers_of(d, instance, from, &a, NULL);
	(void)layers_of(d, instance, to, &b, NULL);
	for (size_t i = 0; i < b.n; i++)
		for (size_t j = 0; j < a.n; j++) {
			const char *x = a.v[j].path, *y = b.v[i].path;

			if (strcmp(a.v[j].disk, b.v[i].disk) != 0)
				continue;
			json_array_append_new(list,
					      json_pack("{s:s s:I}", "name", b.v[i].disk, "written",
							(json_int_t)(written_since(d, x, y) +
								     written_since(d, y, x))));
		}
	return list;
}

static int add_size(void *arg, sqlite3_stmt *st)
{
	*(uint64_t *)arg += file_used(store_text(st, 0));
	return 0;
}

uint64_t disks_snapshot_size(struct labd *d, int64_t snapshot)
{
	uint64_t size = 0;

	(void)store_each(d->store, NULL, add_size, &size,
			 "SELECT path FROM layers WHERE snapshot = ?", "i", snapshot);
	return size;
}
