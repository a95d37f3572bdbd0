// SPDX-License-Identifier: GPL-2.0-or-later
/* import_image.c - the images of an exported lab: those that are here, and those that are not */
#define _GNU_SOURCE
#include "images/recipe.h"
#include "labd/import_impl.h"

#include "labd/export.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* ---- those that are here ------------------------------------------------------------------- */

static bool same_facts(const json_t *foreign, const json_t *manifest)
{
	autojson json_t *a = export_image_facts(foreign), *b = export_image_facts(manifest);

	return json_equal(a, b);
}

/* An image here that is the same as one in the file, or 0. Claimed for @job, if it is not 0 */
static int64_t find_same(struct labd *d, const json_t *facts, int64_t job)
{
	const char *sha = import_text(json_object_get(facts, "disk"), "sha256");
	int64_t after = 0;

	for (;;) {
		autojson json_t *manifest = NULL;
		char dir[IO_PATH] = "";
		struct image *im;
		int64_t id = 0;

		pthread_mutex_lock(&d->lock);
		TAILQ_FOREACH(im, &d->images, link)
			if (!id && im->id > after && !im->job && im->name[0] &&
			    !strcmp(im->state, "ready") && !strcmp(im->sha256, sha)) {
				id = after = im->id;
				im->job = job;
				image_dir(d, im, dir);
			}
		pthread_mutex_unlock(&d->lock);
		if (!id || (!image_manifest(dir, &manifest, NULL) && same_facts(facts, manifest)))
			return id;
		pthread_mutex_lock(&d->lock);
		im = model_image_id(d, id);
		if (im && job)
			im->job = 0;
		pthread_mutex_unlock(&d->lock);
	}
}

static void skip_image(struct import *m, const char *key)
{
	char prefix[128];

	snprintf(prefix, sizeof(prefix), "images/%s/", key);
	import_skip(m, prefix);
}

json_t *import_images_found(struct import *m)
{
	json_t *list = json_array(), *facts;
	const char *key;

	json_object_foreach((json_t *)import_part(m, "images"), key, facts) {
		bool here = find_same(m->d, facts, 0) != 0;

		if (here)
			skip_image(m, key);
		json_array_append_new(list, json_pack("{s:s s:b}", "name",
						      import_text(facts, "name"), "here", here));
	}
	return list;
}

/* ---- those that are added
 * ---------------------------------------------------------------------------- */

/* The digest that an image's manifest says is what others are compared with: it has to be true */
static int check_part(const char *dir, const char *name, const json_t *said, struct lab_err *err)
{
	char path[IO_PATH], hex[DIGEST_HEX];
	autoclose int fd = open(io_path(path, "%s/%s", dir, name), O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return said ? import_refuse(err, "%s of the image is missing", name) : 0;
	r = digest_fd(fd, hex, err);
	if (!r && strcmp(hex, import_text(said, "sha256")))
		r = import_refuse(err, "%s of the image is not what the image's manifest says",
				  name);
	if (!r && (fchmod(fd, 0444) < 0 || fsync(fd) < 0))
		r = lab_fail_errno(err, -errno, "%s", path);
	return r;
}

static int check_image(const char *dir, const json_t *facts, struct lab_err *err)
{
	autojson json_t *manifest = NULL;
	struct image_header header = { 0 };
	char path[IO_PATH];
	int r = image_manifest(dir, &manifest, err);

	if (!r && !same_facts(facts, manifest))
		r = import_refuse(err, "the image's manifest is another one");
	if (!r)
		r = import_inspect(io_path(path, "%s/disk.qcow2", dir), 0, &header, err);
	if (!r && (json_int_t)header.size != json_integer_value(json_object_get(manifest, "size")))
		r = import_refuse(err, "the image has not the size that its manifest says");
	if (!r)
		r = check_part(dir, "disk.qcow2", json_object_get(facts, "disk"), err);
	if (!r)
		r = check_part(dir, "vmlinuz", json_object_get(facts, "kernel"), err);
	return r ? r : check_part(dir, "initrd.img", json_object_get(facts, "initrd"), err);
}

/* Whether labs that say this name mean what is built of a recipe, and nothing foreign */
static bool is_recipe(struct labd *d, const char *name)
{
	struct recipe *recipe = NULL;
	bool is = !recipe_load(&d->paths, NULL, NULL, name, &recipe, NULL, NULL);

	recipe_free(recipe);
	return is;
}

/* NAME, or NAME-2 ... if a recipe or another image has it */
static int add_named(struct import *m, const struct job *job, const char *name, struct image **ret,
		     struct lab_err *err)
{
	char as[NAME_MAX_LEN + 16];
	int r = -EEXIST;

	for (int i = is_recipe(m->d, name) ? 2 : 1; r == -EEXIST && i < 1000; i++) {
		if (i == 1)
			snprintf(as, sizeof(as), "%s", name);
		else
			snprintf(as, sizeof(as), "%.40s-%d", name, i);
		r = image_add(m->d, as, "importing", "", job->id, ret, err);
	}
	return r;
}

static int make_image(struct import *m, struct job *job, const char *key, const json_t *facts,
		      struct lab_err *err)
{
	char from[IO_PATH], dir[IO_PATH];
	struct image *im = NULL;
	int r = check_image(io_path(from, "%s/images/%s", m->dir, key), facts, err);

	if (!r)
		r = add_named(m, job, import_text(facts, "name"), &im, err);
	if (r < 0 || !im)
		return r;
	json_array_append_new(m->made, json_integer(im->id));
	json_object_set_new(m->images, key, json_integer(im->id));
	r = import_mark(m, job->id, err);
	if (!r && chmod(from, 0755) < 0)
		r = lab_fail_errno(err, -errno, "%s", from);
	if (!r)
		r = image_commit(from, image_dir(m->d, im, dir), err);
	if (!r)
		r = image_load_manifest(m->d, im, err);
	if (!r && (r = image_set_state(m->d, im, "ready", "")) < 0)
		lab_fail(err, r, "the store cannot be written: is the disk full?");
	if (!r && strcmp(im->name, import_text(facts, "name")))
		job_log(job, "there is another image or a recipe %s: this one is called %s",
			import_text(facts, "name"), im->name);
	return r;
}

int import_images_make(struct import *m, struct job *job, struct lab_err *err)
{
	const char *key;
	json_t *facts;
	int r = 0;

	json_object_foreach((json_t *)import_part(m, "images"), key, facts)
		if (!r && !json_object_get(m->images, key))
			r = lab_wrap(err, make_image(m, job, key, facts, err), "image %s",
				     import_text(facts, "name"));
	return r;
}

void import_images_find(struct import *m, const struct job *job)
{
	const char *key;
	json_t *facts;

	json_object_foreach((json_t *)import_part(m, "images"), key, facts) {
		int64_t id = find_same(m->d, facts, job->id);

		if (!id || image_settle(m->d, id, NULL) < 0)
			continue;
		json_object_set_new(m->images, key, json_integer(id));
		skip_image(m, key);
	}
}

void import_images_name(struct import *m)
{
	json_t *specs = json_object_get(m->spec, "instances"), *member;
	const char *name;

	SCOPED_LOCK(&m->d->lock);
	json_object_foreach((json_t *)import_part(m, "instances"), name, member) {
		json_t *id = json_object_get(m->images, import_text(member, "image"));
		const struct image *im = model_image_id(m->d, json_integer_value(id));

		if (im)
			json_object_set_new(json_object_get(specs, name), "image",
					    json_string(im->name));
	}
}
