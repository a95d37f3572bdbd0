// SPDX-License-Identifier: GPL-2.0-or-later
/* export.c - a lab to one file */
#define _GNU_SOURCE
#include "labd/export.h"

#include "labd/disk.h"
#include "labd/imagejob.h"
#include "labd/memory.h"
#include "labd/pack.h"
#include "labd/snapshot.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

#define LINE "export" /* the job's line of progress */
#define MARK "export/"

/**
 * struct exporting
 * @manifest:	of the file
 * @paths:	{name in it: path here}
 * @tmp:	directory for memories that have to be made
 */
struct exporting {
	struct labd *d;
	struct lab *lab;
	int64_t snapshot;
	bool ram;
	json_t *manifest, *paths;
	char tmp[IO_PATH];
};

static void add_path(struct exporting *x, const char *path, const char *name)
{
	json_object_set_new(x->paths, name, json_string(path));
}

/* ---- images ---------------------------------------------------------------------- */

/* What tells one image from another */
static const char *const image_keys[] = { "boot", "cmdline", "size", "disk", "kernel", "initrd" };

json_t *export_image_facts(const json_t *manifest)
{
	json_t *facts = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(image_keys); i++) {
		json_t *value = json_object_get(manifest, image_keys[i]);

		if (value && !json_is_null(value))
			json_object_set(facts, image_keys[i], value);
	}
	return facts;
}

static int add_image(struct exporting *x, const char *key, int64_t id, const char *name,
		     struct lab_err *err)
{
	static const char *const files[] = { "disk.qcow2", "vmlinuz", "initrd.img",
					     "manifest.json" };
	json_t *images = json_object_get(x->manifest, "images"), *facts;
	autojson json_t *manifest = NULL;
	char dir[IO_PATH], path[IO_PATH], member[IO_PATH];
	int r;

	if (json_object_get(images, key))
		return 0;
	io_path(dir, "%s/images/%lld", x->d->paths.state, (long long)id);
	r = image_settle(x->d, id, err) ?: image_manifest(dir, &manifest, err);
	if (r < 0)
		return lab_wrap(err, r, "image %s", name);
	facts = export_image_facts(manifest);
	json_object_set_new(facts, "name", json_string(name));
	json_object_set_new(images, key, facts);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!access(io_path(path, "%s/%s", dir, files[i]), F_OK))
			add_path(x, path, io_path(member, "images/%s/%s", key, files[i]));
	return 0;
}

/* The image that a member's disks stand on, or that one without disks would be made of */
static int64_t find_image(struct exporting *x, const struct instance *in, const char *name)
{
	int64_t id = in ? disks_snapshot_image(x->d, in, x->snapshot) : 0;
	const struct image *im;

	SCOPED_LOCK(&x->d->lock);
	im = id ? NULL : model_image(x->d, name);
	return im && !strcmp(im->state, "ready") ? im->id : id;
}

/* ---- instances ------------------------------------------------------------------- */

static void add_disk(struct exporting *x, const struct instance *in, const json_t *chain,
		     json_t *disks)
{
	const char *name = json_string_value(json_object_get(chain, "name"));
	const char *base = json_string_value(json_object_get(chain, "base"));
	const json_t *files = json_object_get(chain, "files"), *file;
	char member[IO_PATH];
	size_t i;

	json_array_foreach(files, i, file) {
		add_path(x, json_string_value(file),
			 io_path(member, "instances/%s/%s.%zu.qcow2", in->name, name, i));
	}
	json_array_append_new(disks,
			      json_pack("{s:s s:I s:b}", "name", name, "layers",
					(json_int_t)json_array_size(files), "base", *base != '\0'));
}

static int add_memory(struct exporting *x, const struct instance *in, json_t *entry,
		      struct lab_err *err)
{
	autojson json_t *files = NULL, *was = NULL;
	char tmp[IO_PATH], member[IO_PATH];
	const char *name;
	json_t *path;
	int r;

	if (!x->ram || !memory_exists(x->d, in, x->snapshot))
		return 0;
	r = memory_flat(x->d, in, x->snapshot, io_path(tmp, "%s/%s", x->tmp, in->name), &files,
			&was, err);
	if (r < 0)
		return r;
	json_object_set(entry, "memory", was);
	json_object_foreach(files, name, path) {
		add_path(x, json_string_value(path),
			 io_path(member, "instances/%s/memory/%s", in->name, name));
	}
	return 0;
}

static int add_member(struct exporting *x, const struct instance *in, const char *image,
		      struct lab_err *err)
{
	autojson json_t *chains = NULL;
	json_t *entry = json_pack("{s:s s:[]}", "image", image, "disks");
	const json_t *chain;
	size_t i;
	int r = disks_chains(x->d, in, x->snapshot, &chains, err);

	json_object_set_new(json_object_get(x->manifest, "instances"), in->name, entry);
	json_array_foreach(chains, i, chain) {
		add_disk(x, in, chain, json_object_get(entry, "disks"));
	}
	return r < 0 ? r : add_memory(x, in, entry, err);
}

static bool is_member(struct exporting *x, const char *name)
{
	SCOPED_LOCK(&x->d->lock);
	const struct snapshot *sn = model_snapshot_id(x->lab, x->snapshot);
	const json_t *each;
	size_t i;

	json_array_foreach(sn ? sn->members : NULL, i, each)
		if (!strcmp(json_string_value(each), name))
			return true;
	return false;
}

static int add_instance(struct exporting *x, const char *name, const json_t *spec,
			struct lab_err *err)
{
	const char *image = json_string_value(json_object_get(spec, "image"));
	bool frozen = is_member(x, name);
	const struct instance *in = frozen ? model_instance(x->lab, name) : NULL;
	int64_t id = find_image(x, in, image ? image : "");
	char key[24] = "";
	int r = 0;

	if (frozen && !in)
		return lab_fail(err, -ENOENT,
				"instance %s of this snapshot is gone since: export another one",
				name);
	if (id) {
		snprintf(key, sizeof(key), "%lld", (long long)id);
		r = add_image(x, key, id, image ? image : "image", err);
	}
	if (!r && in)
		r = add_member(x, in, key, err);
	return lab_wrap(err, r, "instance %s", name);
}

/* ---- the file ---------------------------------------------------------------------- */

static int collect(struct exporting *x, struct lab_err *err)
{
	json_t *spec = snapshot_spec(x->d, x->snapshot), *in;
	const struct snapshot *sn;
	const char *name;
	int r = 0;

	if (!json_is_object(json_object_get(spec, "instances"))) {
		json_decref(spec);
		return lab_fail(err, -ENODATA,
				"this snapshot was made by an older labd: make a new one");
	}
	x->paths = json_object();
	pthread_mutex_lock(&x->d->lock);
	sn = model_snapshot_id(x->lab, x->snapshot);
	x->manifest = json_pack("{s:s s:s s:f s:f s:s s:s s:o s:{} s:{}}", "lab", x->lab->name,
				"identity", lab_identity(x->lab), "created", sn ? sn->created : 0.0,
				"clock", sn ? sn->clock : 0.0, "by", LAB_VERSION, "snapshot",
				sn ? sn->name : "", "spec", spec, "images", "instances");
	pthread_mutex_unlock(&x->d->lock);
	json_object_foreach(json_object_get(spec, "instances"), name, in)
		if (!r)
			r = add_instance(x, name, in, err);
	return r;
}

/* What the store knows of a file that is being written */
static int put_mark(struct labd *d, const struct job *job, const char *path, struct lab_err *err)
{
	char key[48];

	snprintf(key, sizeof(key), MARK "%lld", (long long)job->id);
	return store_run(d->store, err, "INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)",
			 "ss", key, path) < 0
		       ? err->code
		       : 0;
}

static void drop_mark(struct labd *d, const struct job *job)
{
	char key[48];

	snprintf(key, sizeof(key), MARK "%lld", (long long)job->id);
	(void)store_run(d->store, NULL, "DELETE FROM meta WHERE key = ?", "s", key);
}

static int write_file(struct exporting *x, struct job *job, const char *tmp, const char *path,
		      struct lab_err *err)
{
	struct job_shown shown = { job, job_item(job, LINE) };
	struct image_progress progress = imagejob_progress(&shown);
	autoclose int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", tmp);
	r = pack_write(fd, x->manifest, x->paths, &progress, err);
	if (!r && fsync(fd) < 0)
		r = lab_fail_errno(err, -errno, "%s", tmp);
	if (!r)
		r = job_check(job, err);
	/* the name was free at the start and may not be now */
	if (!r && renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		r = lab_fail_errno(err, -errno, "%s", path);
	if (r < 0)
		unlink(tmp);
	return r;
}

static int write_marked(struct exporting *x, struct job *job, const char *path, struct lab_err *err)
{
	char tmp[IO_PATH];
	int r;

	if (!*io_path(tmp, "%s.%lld.tmp", path, (long long)job->id))
		return lab_fail(err, -ENAMETOOLONG, "%.200s...: name too long", path);
	r = put_mark(x->d, job, tmp, err);
	if (r < 0)
		return r;
	r = write_file(x, job, tmp, path, err);
	drop_mark(x->d, job);
	return r;
}

static void done(struct exporting *x)
{
	char dir[IO_PATH];

	(void)io_remove_tree(AT_FDCWD, x->tmp);
	(void)rmdir(io_path(dir, "%s/exports", x->d->paths.state));
	json_decref(x->manifest);
	json_decref(x->paths);
	free(x);
}

int export_run(struct labd *d, struct job *job, struct lab *lab, int64_t snapshot, bool ram,
	       const char *path, struct lab_err *err)
{
	struct exporting *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return lab_fail(err, -ENOMEM, "out of memory");
	job_add_item(job, LINE);
	x->d = d;
	x->lab = lab;
	x->snapshot = snapshot;
	x->ram = ram;
	io_path(x->tmp, "%s/exports/%lld", d->paths.state, (long long)job->id);
	job_item_step(job, job_item(job, LINE), "collect", 0);
	r = collect(x, err);
	if (!r)
		r = write_marked(x, job, path, err);
	done(x);
	return r;
}

static int unlink_marked(void *arg, sqlite3_stmt *st)
{
	(void)arg;
	(void)unlink(store_text(st, 0));
	return 0;
}

void export_recover(struct labd *d)
{
	char dir[IO_PATH];

	(void)store_each(d->store, NULL, unlink_marked, NULL,
			 "SELECT value FROM meta WHERE key LIKE '" MARK "%'", "");
	(void)store_run(d->store, NULL, "DELETE FROM meta WHERE key LIKE '" MARK "%'", "");
	(void)io_remove_tree(AT_FDCWD, io_path(dir, "%s/exports", d->paths.state));
}
