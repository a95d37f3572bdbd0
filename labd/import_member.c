// SPDX-License-Identifier: GPL-2.0-or-later
/* import_member.c - the disks and the memory of one instance of an exported lab */
#define _GNU_SOURCE
#include "labd/import_impl.h"

#include "labd/disk.h"
#include "labd/memory.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

#define MAX_LAYERS 64

int import_inspect(const char *path, unsigned int allow, struct image_header *ret,
		   struct lab_err *err)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	const char *slash = strrchr(path, '/');

	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	return lab_wrap(err, image_inspect_part(fd, allow, ret, err), "%s", slash + 1);
}

/**
 * struct layers - the files of one disk, as they were written
 */
struct layers {
	char path[MAX_LAYERS][IO_PATH];
	const char *files[MAX_LAYERS];
};

static bool disk_wanted(const struct instance *in, const char *name)
{
	return !strcmp(name, "root") ||
	       json_object_get(json_object_get(instance_spec(in), "disks"), name);
}

/* All layers of a disk, inspected */
static int find_layers(struct import *m, const struct instance *in, const json_t *disk,
		       struct layers *l, struct disk_files *ret, struct lab_err *err)
{
	json_int_t n = json_integer_value(json_object_get(disk, "layers"));
	bool base = json_is_true(json_object_get(disk, "base"));
	struct image_header header = { 0 };
	char member[IO_PATH];
	int r = 0;

	ret->name = import_text(disk, "name");
	if (!name_valid(ret->name) || !disk_wanted(in, ret->name) || n < 1 || n > MAX_LAYERS ||
	    (base && strcmp(ret->name, "root")))
		return import_refuse(err, "disk '%.60s' is not one of the lab", ret->name);
	for (json_int_t i = 0; !r && i < n; i++) {
		io_path(member, "instances/%s/%s.%d.qcow2", in->name, ret->name, (int)i);
		if (!import_has(m, member))
			return import_refuse(err, "'%s' is missing", member);
		l->files[i] = io_path(l->path[i], "%s/%s", m->dir, member);
		r = import_inspect(l->files[i], i || base ? IMAGE_ALLOW_BASE : 0, &header, err);
	}
	ret->size = r ? 0 : header.size;
	ret->files = l->files;
	ret->n = (size_t)n;
	return r;
}

static int make_disk(struct import *m, const struct instance *in, int64_t snapshot,
		     const json_t *member, const json_t *disk, struct lab_err *err)
{
	const json_t *id = json_object_get(m->images, import_text(member, "image"));
	autofree struct layers *l = calloc(1, sizeof(*l));
	struct disk_files f = { 0 };
	char base[IO_PATH] = "";
	int r = l ? find_layers(m, in, disk, l, &f, err) : lab_fail(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	if (json_is_true(json_object_get(disk, "base")))
		io_path(base, "%s/images/%lld/disk.qcow2", m->d->paths.state,
			(long long)json_integer_value(id));
	f.base = base;
	return disks_adopt(m->d, in, snapshot, &f, err);
}

static int make_memory(struct import *m, struct instance *in, int64_t snapshot, const json_t *was,
		       struct lab_err *err)
{
	static const char *const files[] = { "ram", "state.qcow2" };
	struct image_header header = { 0 };
	char path[IO_PATH], member[IO_PATH];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!import_has(m, io_path(member, "instances/%s/memory/%s", in->name, files[i])))
			return import_refuse(err, "'%s' is missing", member);
	io_path(path, "%s/instances/%s/memory/state.qcow2", m->dir, in->name);
	r = import_inspect(path, IMAGE_ALLOW_SNAPSHOT, &header, err);
	io_path(path, "%s/instances/%s/memory", m->dir, in->name);
	return r ? r : memory_adopt(m->d, in, snapshot, path, was, err);
}

int import_member(struct import *m, struct instance *in, int64_t snapshot, struct lab_err *err)
{
	const json_t *member = json_object_get(import_part(m, "instances"), in->name), *disk;
	size_t i;
	int r = 0;

	json_array_foreach(json_object_get(member, "disks"), i, disk)
		if (!r)
			r = make_disk(m, in, snapshot, member, disk, err);
	if (!r && m->ram && json_object_get(member, "memory"))
		r = make_memory(m, in, snapshot, json_object_get(member, "memory"), err);
	return lab_wrap(err, r, "instance %s", in->name);
}

/* Fill the snapshot that is being made (snapshot_make()) */
