// SPDX-License-Identifier: GPL-2.0-or-later
/* imagejob.c - building, importing, exporting and locking images */
#define _GNU_SOURCE
#include "labd/imagejob.h"

#include "labd/disk.h"
#include "labd/events.h"
#include "labd/labfile.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static void report(void *arg, const char *step, uint64_t done, uint64_t total, const char *unit)
{
	struct job_shown *s = arg;

	job_item_step(s->job, s->item, step, 0);
	if (total)
		job_item_progress(s->job, s->item, done, total, unit);
}

static bool cancelled(void *arg)
{
	const struct job_shown *s = arg;

	return job_cancelled(s->job);
}

struct image_progress imagejob_progress(struct job_shown *s)
{
	return (struct image_progress){ report, cancelled, s };
}

/*
 * A store of finished images shared by several state directories (tests, CI):
 * LABD_IMAGE_CACHE/RECIPE-DIGEST/. Files are linked, as they never change.
 */
static int link_image(const char *from, const char *to)
{
	static const char *const files[] = { "disk.qcow2", "vmlinuz",	 "initrd.img",
					     "build.log",  "build.json", "manifest.json" };
	char tmp[IO_PATH], a[IO_PATH], b[IO_PATH];
	int r;

	/* its manifest is written last: without it there is no image */
	if (access(io_path(a, "%s/manifest.json", from), F_OK) < 0)
		return -errno;
	r = io_mkdirs(io_path(tmp, "%s.%d.tmp", to, gettid()), 0755);

	for (size_t i = 0; !r && i < ARRAY_SIZE(files); i++) {
		io_path(a, "%s/%s", from, files[i]);
		io_path(b, "%s/%s", tmp, files[i]);
		if (link(a, b) < 0 && errno != ENOENT)
			r = -errno;
	}
	if (!r && rename(tmp, to) < 0)
		r = -errno;
	if (r < 0)
		(void)io_remove_tree(AT_FDCWD, tmp);
	return r;
}

static bool from_cache(const struct recipe *recipe, const char *dir)
{
	const char *cache = getenv("LABD_IMAGE_CACHE");
	char path[IO_PATH];

	return cache && !link_image(io_path(path, "%s/%s", cache, recipe->digest), dir);
}

static void to_cache(const struct recipe *recipe, const char *dir)
{
	const char *cache = getenv("LABD_IMAGE_CACHE");
	char path[IO_PATH];

	if (cache && !io_mkdirs(cache, 0755))
		(void)link_image(dir, io_path(path, "%s/%s", cache, recipe->digest));
}

/* Take the name from the image that had it; it stays while instances use it */
static void take_name(struct labd *d, struct image *im, const char *name)
{
	const struct job *other;
	struct image *old;
	int64_t claim = 0;

	pthread_mutex_lock(&d->lock);
	old = model_image(d, name);
	if (old && old != im) {
		claim = old->job;
		old->job = -1; /* nobody collects it before it is saved */
		old->name[0] = '\0';
		events_emit(d, "image", "remove", "", name, NULL, NULL);
	} else {
		old = NULL;
	}
	pthread_mutex_unlock(&d->lock);
	if (old)
		(void)image_save(d, old, NULL);
	pthread_mutex_lock(&d->lock);
	other = claim ? job_find(d, claim) : NULL;
	if (old)
		old->job = other && !other->ended ? claim : 0;
	snprintf(im->name, sizeof(im->name), "%s", name);
	pthread_mutex_unlock(&d->lock);
}

static int finish(struct labd *d, struct image *im, const char *name, int r, struct lab_err *err)
{
	assert(name);
	if (!r)
		r = image_load_manifest(d, im, err);
	if (r < 0) {
		image_drop(d, im);
		return r;
	}
	if (strcmp(im->name, name))
		take_name(d, im, name);
	r = image_set_state(d, im, "ready", "");
	if (r < 0) {
		/* the next labd would take it for a half-made one */
		lab_fail(err, r, "the store cannot be written: is the disk full?");
		image_drop(d, im);
		return r;
	}
	imagejob_collect(d);
	return 0;
}

/* Wait until nobody makes the image any more; the lock is held */
static int wait_for_maker(struct labd *d, struct job *job, const char *digest, struct lab_err *err)
{
	for (;;) {
		struct timespec until;
		bool busy = false;
		struct image *im;

		TAILQ_FOREACH(im, &d->images, link)
			busy |= !strcmp(im->state, "building") && !strcmp(im->recipe, digest);
		if (!busy)
			return 0;
		if (job_cancelled(job))
			return lab_fail(err, -ECANCELED, "stopped on request");
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&d->changed, &d->lock, &until);
	}
}

/* Whether the image of that name is made from that recipe; the lock is held */
static bool up_to_date(struct labd *d, const char *name, const char *digest)
{
	struct image *im = model_image(d, name);

	return im && !strcmp(im->state, "ready") && (!digest || !strcmp(im->recipe, digest));
}

/*
 * Enter the image that is to be built, or find that somebody else did that
 * meanwhile: then *ret stays NULL unless @force.
 */
static int enter(struct labd *d, struct job *job, const struct recipe *recipe, bool force,
		 struct image **ret, struct lab_err *err)
{
	for (;;) {
		bool fresh, there;
		int r;

		pthread_mutex_lock(&d->lock);
		r = wait_for_maker(d, job, recipe->digest, err);
		there = up_to_date(d, recipe->name, recipe->digest);
		fresh = !model_image(d, recipe->name);
		pthread_mutex_unlock(&d->lock);
		if (r < 0 || (there && !force))
			return r;
		r = image_add(d, fresh ? recipe->name : "", "building", recipe->digest, job->id,
			      ret, err);
		if (r != -EEXIST)
			return r;
	}
}

static int build(struct labd *d, struct job *job, const struct recipe *recipe, bool force,
		 struct job_item *item, struct lab_err *err)
{
	struct job_shown shown = { job, item };
	struct image_progress progress = imagejob_progress(&shown);
	struct image *im = NULL;
	char dir[IO_PATH], key[128];
	double began = num_wall();
	int r;

	snprintf(key, sizeof(key), "build/%s", recipe->name);
	job_item_step(job, item, "build", duration_get(d, key));
	r = enter(d, job, recipe, force, &im, err);
	if (r < 0 || !im)
		return r;
	image_dir(d, im, dir);
	if (!from_cache(recipe, dir)) {
		r = recipe_build(&d->paths, recipe, dir, &progress, err);
		if (!r) {
			to_cache(recipe, dir);
			duration_put(d, key, num_wall() - began);
		}
	}
	return lab_wrap(err, finish(d, im, recipe->name, r, err), "image %s", recipe->name);
}

static void free_recipe(struct recipe **recipe)
{
	recipe_free(*recipe);
}

#define autorecipe __attribute__((cleanup(free_recipe)))

/* Images that were imported keep their name; recipes do not replace them. 0: it is none */
static int64_t imported(struct labd *d, const char *name)
{
	SCOPED_LOCK(&d->lock);
	struct image *im = model_image(d, name);

	return im && !im->recipe[0] && !strcmp(im->state, "ready") ? im->id : 0;
}

/* An image for services starts from the small Debian, as they are Debian's packages */
static int load_composed(struct labd *d, const char *name, const json_t *services,
			 struct recipe **ret, struct lab_err *err)
{
	autojson json_t *text = json_pack("{s:s s:s s:O}", "image", name, "from", "debian-12",
					  "services", services);
	autofree char *yaml = text ? json_dumps(text, JSON_COMPACT) : NULL;

	if (!yaml)
		return lab_fail(err, -ENOMEM, "out of memory");
	return recipe_load(&d->paths, yaml, name, NULL, ret, NULL, err);
}

/* Of any lab that has it: they all mean the same */
static json_t *services_of(struct labd *d, const char *image)
{
	SCOPED_LOCK(&d->lock);
	struct instance *in;
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link)
		TAILQ_FOREACH(in, &lab->instances, link) {
			const json_t *own = json_object_get(instance_spec(in), "image");

			json_t *services = own && !strcmp(json_string_value(own), image)
						   ? labfile_composed(lab->spec, image)
						   : NULL;

			if (services)
				return services;
		}
	return NULL;
}

int imagejob_recipe(struct labd *d, const char *name, struct recipe **ret, struct lab_err *err)
{
	autojson json_t *services = services_of(d, name);

	return services ? load_composed(d, name, services, ret, err)
			: recipe_load(&d->paths, NULL, NULL, name, ret, NULL, err);
}

int imagejob_ensure(struct labd *d, struct job *job, const char *name, struct job_item *item,
		    struct lab_err *err)
{
	autorecipe struct recipe *recipe = NULL;
	int64_t id = imported(d, name);
	bool there;
	int r;

	if (id)
		return image_settle(d, id, err);
	r = imagejob_recipe(d, name, &recipe, err);
	if (r < 0) {
		SCOPED_LOCK(&d->lock);
		/* built from a recipe of one's own: it is as new as it gets */
		return r == -ENOENT && up_to_date(d, name, NULL) ? 0 : r;
	}
	pthread_mutex_lock(&d->lock);
	there = up_to_date(d, name, recipe->digest);
	pthread_mutex_unlock(&d->lock);
	return there ? 0 : build(d, job, recipe, false, item, err);
}

const char *imagejob_state(struct labd *d, const json_t *spec, const char *name, uint64_t *ret_size)
{
	autojson json_t *services = labfile_composed(spec, name);
	autorecipe struct recipe *recipe = NULL;
	struct image *im;

	*ret_size = 0;
	if (imported(d, name))
		return "ready";
	if (services)
		(void)load_composed(d, name, services, &recipe, NULL);
	else
		(void)recipe_load(&d->paths, NULL, NULL, name, &recipe, NULL, NULL);
	SCOPED_LOCK(&d->lock);
	im = model_image(d, name);
	if (im)
		*ret_size = im->size;
	if (up_to_date(d, name, recipe ? recipe->digest : NULL))
		return "ready";
	if (recipe)
		*ret_size = recipe->size;
	return recipe ? "build" : "missing";
}

struct build_arg {
	struct recipe *recipe;
	bool lock, force;
};

static void free_build(void *arg)
{
	struct build_arg *b = arg;

	recipe_free(b->recipe);
	free(b);
}

static int lock_one(struct labd *d, struct job *job, const struct recipe *recipe,
		    struct job_item *item, struct lab_err *err)
{
	struct job_shown shown = { job, item };
	struct image_progress progress = imagejob_progress(&shown);
	autorecipe struct recipe *locked = NULL;
	struct image *im;
	char dir[IO_PATH] = "";
	int r;

	pthread_mutex_lock(&d->lock);
	im = model_image(d, recipe->name);
	if (im && !strcmp(im->state, "ready"))
		image_dir(d, im, dir);
	pthread_mutex_unlock(&d->lock);
	if (!*dir)
		return lab_fail(err, -ENOENT, "image %s is not there: build it first",
				recipe->name);
	r = recipe_lock(&d->paths, recipe, dir, &progress, err);
	if (r < 0)
		return lab_wrap(err, r, "locking %s", recipe->name);
	/* the lock is part of the digest; this image is what the lock describes */
	r = imagejob_recipe(d, recipe->name, &locked, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&d->lock);
	snprintf(im->recipe, sizeof(im->recipe), "%s", locked->digest);
	pthread_mutex_unlock(&d->lock);
	return image_save(d, im, err);
}

static int run_build(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct build_arg *b = arg;
	const char *name = b->recipe->name;
	struct job_item *item = job_add_item(job, "%s", name);
	int r;

	r = build(d, job, b->recipe, b->force, item, err);
	if (!r && b->lock)
		r = lock_one(d, job, b->recipe, item, err);
	job_item_end(job, item, r);
	return r;
}

int imagejob_build(struct labd *d, const json_t *body, int64_t *ret_job, json_t **ret_problems,
		   struct lab_err *err)
{
	const char *name = json_string_value(json_object_get(body, "build"));
	const char *text = json_string_value(json_object_get(body, "recipe"));
	const char *file = json_string_value(json_object_get(body, "file"));
	bool force = json_is_true(json_object_get(body, "force"));
	struct build_arg *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return lab_fail(err, -ENOMEM, "out of memory");
	b->lock = json_is_true(json_object_get(body, "lock"));
	b->force = force;
	r = text ? recipe_load(&d->paths, text, file ? file : "recipe", NULL, &b->recipe,
			       ret_problems, err)
		 : imagejob_recipe(d, name ? name : "", &b->recipe, err);
	if (r < 0) {
		free(b);
		return r;
	}
	SCOPED_LOCK(&d->lock);
	*ret_job = 0;
	if (!force && up_to_date(d, b->recipe->name, b->recipe->digest))
		free_build(b);
	else
		*ret_job = job_start(
			job_new(d, "image-build", "", b->recipe->name, run_build, b, free_build));
	return 0;
}

struct file_arg {
	int fd;
	char name[NAME_MAX_LEN + 1], format[8], path[IO_PATH];
	bool consume;
};

static void free_file(void *arg)
{
	struct file_arg *f = arg;

	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

/* Our own files on their way in are consumed also when they are refused */
static bool in_spool(struct labd *d, const char *path)
{
	char spool[IO_PATH];

	io_path(spool, "%s/spool/", d->paths.state);
	return !strncmp(path, spool, strlen(spool));
}

/* It is ready, and whoever likes may have it, or remove it, while the disk writes */
static int settle_import(struct labd *d, struct job *job, int64_t id, struct job_item *item,
			 struct lab_err *err)
{
	pthread_mutex_lock(&d->lock);
	model_release(d, job->id);
	pthread_mutex_unlock(&d->lock);
	job_item_step(job, item, "sync", 0);
	return image_settle(d, id, err);
}

static int run_import(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct file_arg *f = arg;
	const char *name = f->name, *spool = f->consume && in_spool(d, f->path) ? f->path : NULL;
	struct job_item *item;
	struct job_shown shown = { job, NULL };
	struct image_progress progress = imagejob_progress(&shown);
	struct image *im;
	char dir[IO_PATH];
	int64_t id;
	int r;

	shown.item = item = job_add_item(job, "%s", name);
	pthread_mutex_lock(&d->lock);
	im = model_image(d, name);
	id = im->id;
	im->unsynced = true;
	pthread_mutex_unlock(&d->lock);
	r = image_import(f->fd, f->format, spool, image_dir(d, im, dir), &progress, err);
	r = finish(d, im, name, r, err);
	if (!r)
		r = settle_import(d, job, id, item, err);
	r = lab_wrap(err, r, "image %s", name);
	if (spool || (f->consume && !r))
		unlink(f->path);
	job_item_end(job, item, r);
	return r;
}

/* What a file is said to be: by the request, else by the ending of its name */
static const char *said_format(const char *format, const char *path)
{
	const char *dot = strrchr(path, '.');

	if (format && *format)
		return format;
	if (dot && !strcmp(dot, ".qcow2"))
		return "qcow2";
	if (dot && (!strcmp(dot, ".raw") || !strcmp(dot, ".img")))
		return "raw";
	return NULL;
}

static int open_import(const json_t *body, struct file_arg *f, struct lab_err *err)
{
	const char *path = json_string_value(json_object_get(body, "import"));
	const char *name = json_string_value(json_object_get(body, "name"));
	const char *format = said_format(json_string_value(json_object_get(body, "format")),
					 path ? path : "");
	struct image_header header;
	struct stat st;

	f->consume = json_is_true(json_object_get(body, "consume"));
	if (!path || path[0] != '/')
		return lab_fail(err, -EINVAL, "import: an absolute path is needed");
	if (!name || !name_valid(name))
		return lab_fail(err, -EINVAL, "'%s' cannot be the name of an image: %s",
				name ? name : "", NAME_RULE);
	if (!format)
		return lab_fail(err, -EINVAL,
				"%s: is it qcow2 or raw? Its name does not end in .qcow2, .raw or "
				".img: say --format",
				path);
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->format, sizeof(f->format), "%s", format);
	io_path(f->path, "%s", path);
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return lab_fail(err, -EINVAL, "%s is not a regular file", path);
	return lab_wrap(err, image_inspect(f->fd, f->format, IMAGE_MAX_SIZE, &header, err), "%s",
			path);
}

int imagejob_import(struct labd *d, const json_t *body, int64_t *ret_job, struct lab_err *err)
{
	struct file_arg *f = calloc(1, sizeof(*f));
	struct image *im = NULL;
	int r;

	if (!f)
		return lab_fail(err, -ENOMEM, "out of memory");
	f->fd = -EBADF;
	r = open_import(body, f, err);
	if (!r) {
		pthread_mutex_lock(&d->lock);
		im = model_image(d, f->name);
		if (im)
			r = lab_fail(
				err, !strcmp(im->state, "importing") ? -EBUSY : -EEXIST,
				"image %s is there already: remove it first, or give another name",
				f->name);
		pthread_mutex_unlock(&d->lock);
	}
	if (!r)
		r = image_add(d, f->name, "importing", "", -1, &im, err);
	if (r < 0 || !im) {
		if (f->consume && in_spool(d, f->path) && r != -EBUSY)
			unlink(f->path);
		free_file(f);
		return r;
	}
	SCOPED_LOCK(&d->lock);
	struct job *job = job_new(d, "image-import", "", f->name, run_import, f, free_file);

	im->job = job->id;
	*ret_job = job_start(job);
	return 0;
}

static int run_export(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct file_arg *f = arg;
	const char *name = f->name;
	struct job_item *item;
	struct job_shown shown = { job, NULL };
	struct image_progress progress = imagejob_progress(&shown);
	struct image *im;
	char dir[IO_PATH];
	int r;

	shown.item = item = job_add_item(job, "%s", name);
	pthread_mutex_lock(&d->lock);
	im = model_image(d, name);
	if (im)
		image_dir(d, im, dir);
	pthread_mutex_unlock(&d->lock);
	if (!im)
		return lab_fail(err, -ENOENT, "image %s is gone", name);
	r = image_export(dir, f->path, f->format, &progress, err);
	job_item_end(job, item, r);
	return r;
}

int imagejob_export(struct labd *d, const char *name, const json_t *body, int64_t *ret_job,
		    struct lab_err *err)
{
	const char *path = json_string_value(json_object_get(body, "path"));
	const char *format = said_format(json_string_value(json_object_get(body, "format")),
					 path ? path : "");
	struct file_arg *f;
	struct image *im;

	if (!path || path[0] != '/')
		return lab_fail(err, -EINVAL, "export: an absolute path is needed");
	if (!access(path, F_OK))
		return lab_fail(err, -EEXIST, "%s exists already", path);
	SCOPED_LOCK(&d->lock);
	im = model_image(d, name);
	if (!im || strcmp(im->state, "ready"))
		return lab_fail(err, -ENOENT, "there is no finished image %s: labctl image ls",
				name);
	f = calloc(1, sizeof(*f));
	if (!f)
		return lab_fail(err, -ENOMEM, "out of memory");
	f->fd = -EBADF;
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->format, sizeof(f->format), "%s", format ? format : "qcow2");
	io_path(f->path, "%s", path);
	*ret_job = job_start(job_new(d, "image-export", "", name, run_export, f, free_file));
	return 0;
}

static int run_lock(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	struct build_arg *b = arg;
	const char *name = b->recipe->name;
	struct job_item *item = job_add_item(job, "%s", name);
	int r;

	r = imagejob_ensure(d, job, name, item, err);
	if (!r)
		r = lock_one(d, job, b->recipe, item, err);
	job_item_end(job, item, r);
	return r;
}

int imagejob_lock(struct labd *d, const char *name, int64_t *ret_job, struct lab_err *err)
{
	struct build_arg *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = imagejob_recipe(d, name, &b->recipe, err);
	if (r < 0) {
		free(b);
		return r;
	}
	SCOPED_LOCK(&d->lock);
	*ret_job = job_start(job_new(d, "image-lock", "", name, run_lock, b, free_build));
	return 0;
}

/* An image without a name that no instance is known to use, claimed; or NULL */
static struct image *unused(struct labd *d, int64_t after)
{
	SCOPED_LOCK(&d->lock);
	struct instance *in;
	struct image *im;
	struct lab *lab;

	TAILQ_FOREACH(im, &d->images, link) {
		bool used = im->name[0] || im->job || strcmp(im->state, "ready") || im->id <= after;

		TAILQ_FOREACH(lab, &d->labs, link)
			TAILQ_FOREACH(in, &lab->instances, link)
				used |= in->image == im->id;
		if (used)
			continue;
		im->job = -1;
		return im;
	}
	return NULL;
}

void imagejob_collect(struct labd *d)
{
	struct image *im;
	int64_t after = 0;

	while ((im = unused(d, after))) {
		after = im->id;
		if (!disks_use_image(d, im)) {
			image_drop(d, im);
			continue;
		}
		pthread_mutex_lock(&d->lock);
		im->job = 0;
		pthread_mutex_unlock(&d->lock);
	}
}
