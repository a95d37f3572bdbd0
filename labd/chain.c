// SPDX-License-Identifier: GPL-2.0-or-later
/* chain.c - the files that a disk consists of, for labfs, which looks into them */
#define _GNU_SOURCE
#include "labd/chain.h"

#include "labd/labjob.h"
#include "labd/layer.h"
#include "labd/model.h"
#include "lib/util.h"

#include <string.h>

#define MAX_FILES 1024 /* the store has no circles; a damaged one may */

static void add_file(json_t *files, const char *path)
{
	json_array_append_new(files, json_pack("{s:s s:s}", "path", path, "format", "qcow2"));
}

int chain_of_image(struct labd *d, const char *image, json_t **ret, struct lab_err *err)
{
	char dir[IO_PATH], path[IO_PATH];
	json_t *files = NULL;
	uint64_t size = 0;
	struct image *im;

	pthread_mutex_lock(&d->lock);
	im = model_image(d, image);
	if (im && !strcmp(im->state, "ready")) {
		files = json_array();
		size = im->size;
		add_file(files, io_path(path, "%s/disk.qcow2", image_dir(d, im, dir)));
	}
	pthread_mutex_unlock(&d->lock);
	if (!im)
		return lab_fail(err, -ENOENT, "there is no image %s", image);
	if (!files)
		return lab_fail(err, -EBUSY, "image %s is not ready", image);
	*ret = json_pack("{s:I s:o}", "size", (json_int_t)size, "files", files);
	return 0;
}

static int chain_of_layer(struct labd *d, const struct layer *top, json_t **ret,
			  struct lab_err *err)
{
	autojson json_t *files = json_array();
	char at[IO_PATH];

	for (io_path(at, "%s", top->path); *at; layer_base(d, at, at)) {
		if (json_array_size(files) == MAX_FILES)
			return lab_fail(err, -EUCLEAN, "disk %s stands on more than %d files",
					top->disk, MAX_FILES);
		add_file(files, at);
	}
	*ret = json_pack("{s:I s:O}", "size", (json_int_t)top->size, "files", files);
	return 0;
}

static int chain_of(struct labd *d, int64_t instance, int64_t snapshot, const char *disk,
		    json_t **ret, struct lab_err *err)
{
	autolayers struct layers l = { 0 };
	int r = layers_of(d, instance, snapshot, &l, err);

	for (size_t i = 0; !r && i < l.n; i++)
		if (!strcmp(l.v[i].disk, disk))
			return chain_of_layer(d, &l.v[i], ret, err);
	return r < 0 ? r : lab_fail(err, -ENOENT, "there is no disk %s", disk);
}

static int find_stopped(struct labd *d, const char *lab_name, const char *name, int64_t *ret,
			struct lab_err *err)
{
	struct instance *in;
	struct lab *lab;
	int r;

	SCOPED_LOCK(&d->lock);
	r = labjob_find(d, lab_name, name, &lab, &in, err);
	if (r < 0)
		return r;
	if (instance_running(in))
		return lab_fail(err, -EBUSY,
				"instance %s runs, and its disks change: take a snapshot and look "
				"into that",
				name);
	*ret = in->id;
	return 0;
}

int chain_of_instance(struct labd *d, const char *lab, const char *instance, const char *disk,
		      json_t **ret, struct lab_err *err)
{
	int64_t id = 0;
	int r = find_stopped(d, lab, instance, &id, err);

	return r < 0 ? r : chain_of(d, id, LAYER_HEAD, disk, ret, err);
}

int chain_of_snapshot(struct labd *d, const char *lab_name, const char *snapshot,
		      const char *instance, const char *disk, json_t **ret, struct lab_err *err)
{
	const struct snapshot *sn = NULL;
	int64_t id = 0, member = 0;
	struct instance *in;
	struct lab *lab;
	int r;

	pthread_mutex_lock(&d->lock);
	r = labjob_find(d, lab_name, instance, &lab, &in, err);
	if (!r)
		sn = model_snapshot(lab, snapshot);
	if (sn) {
		id = sn->id;
		member = in->id;
	}
	pthread_mutex_unlock(&d->lock);
	if (r < 0)
		return r;
	if (!sn)
		return lab_fail(err, -ENOENT, "lab %s has no snapshot %s", lab_name, snapshot);
	return chain_of(d, member, id, disk, ret, err);
}
