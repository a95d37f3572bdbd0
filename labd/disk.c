// SPDX-License-Identifier: GPL-2.0-or-later
/* disk.c - the qcow2 files of instances */
#define _GNU_SOURCE
#include "labd/disk.h"

#include "labd/qcow2.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Ends the name of a file that is to replace a disk when a snapshot is restored */
#define THAWED ".thawed"

/* A row of the table `layers` */
struct layer {
	char path[IO_PATH], base[IO_PATH];
	char disk[NAME_MAX_LEN + 1];
	int64_t instance, snapshot;
	uint64_t size;
};

struct layers {
	struct layer *v;
	size_t n;
};

static void layers_done(struct layers *l)
{
	free(l->v);
}

#define autolayers __attribute__((cleanup(layers_done)))

static int read_layer(void *arg, sqlite3_stmt *st)
{
	struct layers *l = arg;
	struct layer *more = realloc(l->v, (l->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->v = more;
	more += l->n++;
	snprintf(more->path, sizeof(more->path), "%s", store_text(st, 0));
	more->instance = sqlite3_column_int64(st, 1);
	snprintf(more->disk, sizeof(more->disk), "%s", store_text(st, 2));
	snprintf(more->base, sizeof(more->base), "%s", store_text(st, 3));
	more->size = (uint64_t)sqlite3_column_int64(st, 4);
	more->snapshot = sqlite3_column_int64(st, 5);
	return 0;
}

static int layers_of(struct labd *d, int64_t instance, int64_t snapshot, struct layers *ret,
		     struct lab_err *err)
{
	return store_each(d->store, err, read_layer, ret,
			  "SELECT path, instance, disk, base, size, snapshot FROM layers"
			  " WHERE instance = ? AND snapshot = ? ORDER BY disk <> 'root', rowid",
			  "ii", instance, snapshot);
}

static int put_layer(struct labd *d, const struct layer *l, struct lab_err *err)
{
	int64_t r = store_run(
		d->store, err,
		"INSERT OR REPLACE INTO layers(path, instance, disk, base, size, snapshot)"
		" VALUES(?, ?, ?, ?, ?, ?)",
		"sissii", l->path, l->instance, l->disk, l->base, (int64_t)l->size, l->snapshot);

	return r < 0 ? (int)r : 0;
}

/* Fill in->disks again from the store */
static int reload(struct labd *d, struct instance *in, struct lab_err *err)
{
	autolayers struct layers l = { 0 };
	json_t *disks = json_array();
	int r = layers_of(d, in->id, 0, &l, err);

	for (size_t i = 0; i < l.n; i++)
		json_array_append_new(disks, json_pack("{s:s s:I s:s s:s}", "name", l.v[i].disk,
						       "size", (json_int_t)l.v[i].size, "base",
						       l.v[i].base, "path", l.v[i].path));
	SCOPED_LOCK(&d->lock);
	json_decref(in->disks);
	in->disks = disks;
	instance_emit(d, in);
	return r;
}

/* Make a qcow2 at @path: on @base, or empty with @size */
static int create(struct labd *d, const struct instance *in, const char *path, const char *base,
		  uint64_t size, struct lab_err *err)
{
	return qcow2_create(path, size, base, keeper_uid(lab_host_id(d, in->lab)), err);
}

/* Its directory and files belong to the uid its guest runs with, which another
 * run directory changes */
static int make_dir(struct labd *d, const struct instance *in, struct lab_err *err)
{
	uid_t uid = keeper_uid(lab_host_id(d, in->lab));
	char dir[IO_PATH];
	const json_t *disk;
	size_t i;
	int r = io_mkdirs(instance_dir(d, in, dir), 0711);

	if (r < 0)
		return lab_fail_errno(err, r, "%s", dir);
	if (geteuid())
		return 0;
	if (chown(dir, uid, (gid_t)-1) < 0)
		return lab_fail_errno(err, -errno, "%s", dir);
	json_array_foreach(in->disks, i, disk) {
		const char *path = json_string_value(json_object_get(disk, "path"));

		if (chown(path, uid, (gid_t)-1) < 0)
			return lab_fail_errno(err, -errno, "%s", path);
	}
	return 0;
}

/* Make the file that the guest will write, whole or not at all */
static int make_head(struct labd *d, struct instance *in, struct layer *l, struct lab_err *err)
{
	char tmp[IO_PATH + 8], dir[IO_PATH];
	int r;

	l->instance = in->id;
	l->snapshot = 0;
	io_path(l->path, "%s/%s.qcow2", instance_dir(d, in, dir), l->disk);
	snprintf(tmp, sizeof(tmp), "%s.new", l->path);
	unlink(tmp); /* an earlier labd's */
	r = create(d, in, tmp, l->base, l->size, err);
	if (r < 0)
		return r;
	if (rename(tmp, l->path) < 0) {
		r = lab_fail_errno(err, -errno, "%s", l->path);
		unlink(tmp);
		return r;
	}
	return put_layer(d, l, err);
}

static bool has_disk(const struct instance *in, const char *name)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(in->disks, i, disk)
		if (!strcmp(json_string_value(json_object_get(disk, "name")), name))
			return true;
	return false;
}

static int make_root(struct labd *d, struct instance *in, const struct image *image,
		     struct lab_err *err)
{
	uint64_t size = (uint64_t)json_integer_value(json_object_get(instance_spec(in), "root"));
	struct layer l = { .disk = "root" };
	char dir[IO_PATH];
	int r;

	if (size && size < image->size)
		return lab_fail(err, -EINVAL,
				"its root disk is to have %llu bytes, but image %s needs %llu",
				(unsigned long long)size, image->name,
				(unsigned long long)image->size);
	l.size = size ? size : image->size;
	io_path(l.base, "%s/disk.qcow2", image_dir(d, image, dir));
	/* known before the file stands on it, or the image could be removed */
	pthread_mutex_lock(&d->lock);
	in->image = image->id;
	pthread_mutex_unlock(&d->lock);
	r = instance_save(d, in, err);
	return r < 0 ? r : make_head(d, in, &l, err);
}

int disks_make(struct labd *d, struct instance *in, const struct image *image, struct lab_err *err)
{
	const json_t *disks = json_object_get(instance_spec(in), "disks"), *disk;
	const char *name;
	bool made = false;
	int r = make_dir(d, in, err);

	if (!r && !has_disk(in, "root")) {
		r = make_root(d, in, image, err);
		made = true;
	}
	json_object_foreach((json_t *)disks, name, disk) {
		struct layer l = { 0 };

		if (r < 0 || has_disk(in, name))
			continue;
		snprintf(l.disk, sizeof(l.disk), "%s", name);
		l.size = (uint64_t)json_integer_value(json_object_get(disk, "size"));
		r = make_head(d, in, &l, err);
		made = true;
	}
	if (r < 0)
		return lab_wrap(err, r, "making its disks");
	return made ? reload(d, in, err) : 0;
}

/* Forget the heads: their files go, and what only they stood on */
static int drop_heads(struct labd *d, struct instance *in, struct lab_err *err)
{
	autolayers struct layers l = { 0 };
	int r = layers_of(d, in->id, 0, &l, err);
	int64_t gone;

	if (r < 0)
		return r;
	gone = store_run(d->store, err, "DELETE FROM layers WHERE instance = ? AND snapshot = 0",
			 "i", in->id);
	if (gone < 0)
		return (int)gone;
	for (size_t i = 0; i < l.n; i++)
		unlink(l.v[i].path);
	in->image = 0;
	return reload(d, in, err);
}

int disks_reset(struct labd *d, struct instance *in, const struct image *image, struct lab_err *err)
{
	int r = drop_heads(d, in, err);

	if (!r)
		r = disks_make(d, in, image, err);
	if (!r)
		r = instance_save(d, in, err);
	disks_collect(d);
	return r;
}

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

static int freeze_one(struct labd *d, struct instance *in, const struct layer *head,
		      int64_t snapshot, struct lab_err *err)
{
	struct layer frozen = *head, fresh = *head;
	int r;

	frozen_layer(d, in, snapshot, &frozen);
	snprintf(fresh.base, sizeof(fresh.base), "%s", frozen.path);
	r = store_begin(d->store, err);
	if (r < 0)
		return r;
	r = put_layer(d, &frozen, err);
	if (!r)
		r = put_layer(d, &fresh, err);
	r = store_end(d->store, r, err);
	if (r < 0)
		return r;
	if (renameat2(AT_FDCWD, head->path, AT_FDCWD, frozen.path, RENAME_NOREPLACE) < 0)
		return lab_fail_errno(err, -errno, "%s", frozen.path);
	r = keeper_freeze_file(frozen.path);
	return r < 0 ? lab_fail_errno(err, r, "%s", frozen.path) : make_head(d, in, &fresh, err);
}

int disks_freeze(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err)
{
	autolayers struct layers l = { 0 };
	int r = layers_of(d, in->id, 0, &l, err);

	if (!r)
		r = make_frozen_dir(d, in, snapshot, err);
	for (size_t i = 0; !r && i < l.n; i++)
		r = freeze_one(d, in, &l.v[i], snapshot, err);
	return r < 0 ? r : reload(d, in, err);
}

/* Undo a freeze of one disk: the frozen file becomes the guest's again */
static int unfreeze_one(struct labd *d, const struct layer *frozen, const struct instance *in,
			struct lab_err *err)
{
	struct layer head = *frozen;
	uid_t uid = keeper_uid(lab_host_id(d, in->lab));
	char dir[IO_PATH];
	int r;

	io_path(head.path, "%s/%s.qcow2", instance_dir(d, in, dir), head.disk);
	head.snapshot = 0;
	/* not there: labd ended before it was moved */
	if (rename(frozen->path, head.path) < 0 && errno != ENOENT)
		return lab_fail_errno(err, -errno, "%s: cannot bring it back", frozen->path);
	(void)chmod(head.path, 0600);
	if (!geteuid() && chown(head.path, uid, (gid_t)-1) < 0)
		return lab_fail_errno(err, -errno, "%s", head.path);
	r = put_layer(d, &head, err);
	if (r < 0)
		return r;
	return store_run(d->store, err, "DELETE FROM layers WHERE path = ?", "s", frozen->path) < 0
		       ? err->code
		       : 0;
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
		frozen_layer(d, to, derived, fresh);
		r = qcow2_create(fresh->path, fresh->size, fresh->base, 0, err);
		if (!r)
			r = keeper_freeze_file(fresh->path);
		if (!r)
			r = put_layer(d, fresh, err);
	}
	return r;
}

/* Whether its guest writes to the file that stands on a frozen one */
static bool is_written(struct labd *d, const struct instance *in, const struct layer *frozen)
{
	char dir[IO_PATH], head[IO_PATH];

	io_path(head, "%s/%s.qcow2", instance_dir(d, in, dir), frozen->disk);
	/* not there: it was not moved yet, and what is open is itself */
	return instance_running(in) && !access(frozen->path, F_OK) && qemu_has_open(in->pid, head);
}

int disks_unfreeze(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err)
{
	autolayers struct layers l = { 0 };
	int r = layers_of(d, in->id, snapshot, &l, err);

	for (size_t i = 0; !r && i < l.n; i++)
		if (!is_written(d, in, &l.v[i]))
			r = unfreeze_one(d, &l.v[i], in, err);
	return r < 0 ? r : reload(d, in, err);
}

/* The id of the image at the bottom of a chain that begins with @base; 0: none */
static int64_t bottom_image(struct labd *d, const char *base)
{
	char at[IO_PATH], prefix[IO_PATH];
	long long id = 0;
	size_t n;

	io_path(prefix, "%s/images/", d->paths.state);
	n = strlen(prefix);
	snprintf(at, sizeof(at), "%s", base);
	while (*at && strncmp(at, prefix, n)) {
		struct layers l = { 0 };

		(void)store_each(d->store, NULL, read_layer, &l,
				 "SELECT path, instance, disk, base, size, snapshot FROM layers"
				 " WHERE path = ?",
				 "s", at);
		snprintf(at, sizeof(at), "%s", l.n ? l.v[0].base : "");
		layers_done(&l);
	}
	(void)sscanf(at + MIN(strlen(at), n), "%lld", &id);
	return id;
}

int64_t disks_snapshot_image(struct labd *d, const struct instance *in, int64_t snapshot)
{
	autolayers struct layers l = { 0 };

	if (layers_of(d, in->id, snapshot, &l, NULL) < 0 || !l.n)
		return 0;
	return bottom_image(d, l.v[0].base);
}

/* The files that will be the guest's, under names beside them */
int disks_prepare_thaw(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err)
{
	autolayers struct layers frozen = { 0 };
	char path[IO_PATH], dir[IO_PATH];
	int r = layers_of(d, in->id, snapshot, &frozen, err);

	if (!r)
		r = make_dir(d, in, err);
	for (size_t i = 0; !r && i < frozen.n; i++) {
		const struct layer *l = &frozen.v[i];

		io_path(path, "%s/%s.qcow2" THAWED, instance_dir(d, in, dir), l->disk);
		unlink(path);
		r = create(d, in, path, l->path, l->size, err);
	}
	return r;
}

/* In the store: these stand on the snapshot; a disk that it does not have goes */
static int put_thawed(struct labd *d, struct instance *in, const struct layers *frozen,
		      struct lab_err *err)
{
	char dir[IO_PATH];
	int64_t r = store_run(d->store, err,
			      "DELETE FROM layers WHERE instance = ? AND snapshot = 0", "i",
			      in->id);

	for (size_t i = 0; r >= 0 && i < frozen->n; i++) {
		struct layer head = frozen->v[i];

		io_path(head.path, "%s/%s.qcow2", instance_dir(d, in, dir), head.disk);
		snprintf(head.base, sizeof(head.base), "%s", frozen->v[i].path);
		head.snapshot = 0;
		r = put_layer(d, &head, err);
		if (!strcmp(head.disk, "root"))
			in->image = bottom_image(d, head.base);
	}
	return r < 0 ? (int)r : instance_save(d, in, err);
}

/* Give the prepared files their names, and remove files that no row knows */
static void finish_thaw(struct labd *d, struct instance *in)
{
	char dir[IO_PATH], old[IO_PATH + 16], new[IO_PATH];
	autodir DIR *list = opendir(instance_dir(d, in, dir));
	struct dirent *de;

	while (list && (de = readdir(list))) {
		char *end = strstr(de->d_name, ".qcow2" THAWED);
		const json_t *disk;
		bool known = false;
		size_t i;

		io_path(new, "%s/%s", dir, de->d_name);
		if (end && !end[strlen(".qcow2" THAWED)]) {
			snprintf(old, sizeof(old), "%.*s", (int)(strlen(new) - strlen(THAWED)),
				 new);
			(void)rename(new, old);
			continue;
		}
		if (!strstr(de->d_name, ".qcow2"))
			continue;
		json_array_foreach(in->disks, i, disk)
			known |= !strcmp(json_string_value(json_object_get(disk, "path")), new);
		if (!known)
			unlink(new);
	}
}

static int thaw_rows(struct labd *d, struct lab *lab, struct instance *const *ins,
		     const struct layers *frozen, size_t n, const char *mark, struct lab_err *err)
{
	int r = store_begin(d->store, err);

	(void)lab;
	if (r < 0)
		return r;
	for (size_t i = 0; !r && i < n; i++)
		r = put_thawed(d, ins[i], &frozen[i], err);
	if (!r && store_run(d->store, err, "INSERT OR REPLACE INTO meta(key, value) VALUES(?, '1')",
			    "s", mark) < 0)
		r = err->code;
	return store_end(d->store, r, err);
}

static const char *thaw_mark(char buf[32], const struct lab *lab)
{
	snprintf(buf, 32, "thaw/%lld", (long long)lab->id);
	return buf;
}

int disks_thaw(struct labd *d, struct lab *lab, struct instance *const *ins, size_t n,
	       int64_t snapshot, struct lab_err *err)
{
	autofree struct layers *frozen = calloc(n + 1, sizeof(*frozen));
	char mark[32];
	int r = 0;

	if (!frozen)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; !r && i < n; i++)
		r = layers_of(d, ins[i]->id, snapshot, &frozen[i], err);
	if (!r)
		r = thaw_rows(d, lab, ins, frozen, n, thaw_mark(mark, lab), err);
	for (size_t i = 0; i < n; i++)
		layers_done(&frozen[i]);
	if (r < 0)
		return r;
	disks_repair(d, lab);
	return 0;
}

static int read_mark(void *arg, sqlite3_stmt *st)
{
	(void)st;
	*(bool *)arg = true;
	return 0;
}

void disks_repair(struct labd *d, struct lab *lab)
{
	struct instance *in;
	bool thawed = false;
	char mark[32];

	(void)store_each(d->store, NULL, read_mark, &thawed, "SELECT 1 FROM meta WHERE key = ?",
			 "s", thaw_mark(mark, lab));
	if (thawed) {
		TAILQ_FOREACH(in, &lab->instances, link) {
			(void)reload(d, in, NULL);
			finish_thaw(d, in);
		}
		(void)store_run(d->store, NULL, "DELETE FROM meta WHERE key = ?", "s", mark);
	}
	disks_collect(d);
}

static int collect_once(struct labd *d)
{
	autolayers struct layers l = { 0 };
	int removed = 0;

	(void)store_each(d->store, NULL, read_layer, &l,
			 "SELECT path, instance, disk, base, size, snapshot FROM layers"
			 " WHERE snapshot <> 0 AND snapshot NOT IN (SELECT id FROM snapshots)"
			 " AND path NOT IN (SELECT base FROM layers)",
			 "");
	for (size_t i = 0; i < l.n; i++, removed++) {
		char *slash;

		(void)store_run(d->store, NULL, "DELETE FROM layers WHERE path = ?", "s",
				l.v[i].path);
		unlink(l.v[i].path);
		/* its directories, when they are empty now */
		for (int up = 0; up < 2 && (slash = strrchr(l.v[i].path, '/')); up++) {
			*slash = '\0';
			rmdir(l.v[i].path);
		}
	}
	return removed;
}

void disks_collect(struct labd *d)
{
	(void)store_run(d->store, NULL,
			"DELETE FROM layers WHERE snapshot = 0"
			" AND instance NOT IN (SELECT id FROM instances)",
			"");
	while (collect_once(d))
		;
}

static int count(void *arg, sqlite3_stmt *st)
{
	*(int64_t *)arg = sqlite3_column_int64(st, 0);
	return 0;
}

bool disks_use_image(struct labd *d, const struct image *im)
{
	char dir[IO_PATH], base[IO_PATH];
	int64_t n = 1;

	io_path(base, "%s/disk.qcow2", image_dir(d, im, dir));
	(void)store_each(d->store, NULL, count, &n, "SELECT count(*) FROM layers WHERE base = ?",
			 "s", base);
	return n > 0;
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

/* What a file stands on, "" at the bottom */
static void base_of(struct labd *d, const char *path, char base[IO_PATH])
{
	autolayers struct layers l = { 0 };

	(void)store_each(d->store, NULL, read_layer, &l,
			 "SELECT path, instance, disk, base, size, snapshot FROM layers"
			 " WHERE path = ?",
			 "s", path);
	snprintf(base, IO_PATH, "%s", l.n ? l.v[0].base : "");
}

static bool stands_on(struct labd *d, const char *path, const char *what)
{
	char at[IO_PATH];

	for (io_path(at, "%s", path); *at && strcmp(at, what);)
		base_of(d, at, at);
	return *at;
}

/* Bytes in the files from @path down to the first that @other stands on too */
static uint64_t written_since(struct labd *d, const char *path, const char *other)
{
	uint64_t bytes = 0;
	char at[IO_PATH];

	for (io_path(at, "%s", path); *at && !stands_on(d, other, at);) {
		bytes += file_used(at);
		base_of(d, at, at);
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
