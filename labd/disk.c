// SPDX-License-Identifier: GPL-2.0-or-later
/* disk.c - the qcow2 files that guests write */
#define _GNU_SOURCE
#include "labd/disk.h"

#include "labd/layer.h"
#include "labd/qcow2.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int disks_reload(struct labd *d, struct instance *in, struct lab_err *err)
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

int disks_make_dir(struct labd *d, const struct instance *in, struct lab_err *err)
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

		/* the name is in the guest's directory: it may be a link by now */
		if (lchown(path, uid, (gid_t)-1) < 0)
			return lab_fail_errno(err, -errno, "%s", path);
	}
	return 0;
}

/*
 * Never a name that was used before: QEMU opens a file by its name again when it becomes
 * the base of another one.
 */
static void head_path(struct labd *d, const struct instance *in, struct layer *l)
{
	char dir[IO_PATH];

	io_path(l->path, "%s/%s.%llx.qcow2", instance_dir(d, in, dir), l->disk,
		(unsigned long long)num_now_us());
}

int disks_make_head(struct labd *d, struct instance *in, struct layer *l, int64_t snapshot,
		    struct lab_err *err)
{
	int r;

	l->instance = in->id;
	l->snapshot = snapshot;
	l->head[0] = '\0';
	head_path(d, in, l);
	r = qcow2_create(l->path, l->size, l->base, keeper_uid(lab_host_id(d, in->lab)), err);
	if (r < 0)
		return r;
	r = layer_save(d, l, err);
	if (r < 0)
		unlink(l->path);
	return r;
}

void disks_sweep(struct labd *d, const struct instance *in)
{
	char path[IO_PATH], dir[IO_PATH];
	autodir DIR *list = opendir(instance_dir(d, in, dir));
	bool synced = false;
	struct dirent *de;

	while (list && (de = readdir(list))) {
		if (!strstr(de->d_name, ".qcow2") ||
		    layer_known(d, io_path(path, "%s/%s", dir, de->d_name)))
			continue;
		if (!synced && store_sync(d->store, NULL) < 0)
			return;
		synced = true;
		unlink(path);
	}
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
	return r < 0 ? r : disks_make_head(d, in, &l, LAYER_HEAD, err);
}

int disks_make(struct labd *d, struct instance *in, const struct image *image, struct lab_err *err)
{
	const json_t *disks = json_object_get(instance_spec(in), "disks"), *disk;
	const char *name;
	bool made = false;
	int r = disks_make_dir(d, in, err);

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
		r = disks_make_head(d, in, &l, LAYER_HEAD, err);
		made = true;
	}
	if (r < 0)
		return lab_wrap(err, r, "making its disks");
	return made ? disks_reload(d, in, err) : 0;
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
	r = store_sync(d->store, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < l.n; i++)
		unlink(l.v[i].path);
	in->image = 0;
	return disks_reload(d, in, err);
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
