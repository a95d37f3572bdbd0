// SPDX-License-Identifier: GPL-2.0-or-later
/* image.c - images in the model, the store and on disk */
#define _GNU_SOURCE
#include "images/image.h"

#include "labd/events.h"
#include "labd/model.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

const char *image_dir(struct labd *d, const struct image *im, char *buf)
{
	return io_path(buf, "%s/images/%lld", d->paths.state, (long long)im->id);
}

int image_add(struct labd *d, const char *name, const char *state, const char *recipe, int64_t job,
	      struct image **ret, struct lab_err *err)
{
	struct image *im = calloc(1, sizeof(*im));
	int64_t id;

	if (!im)
		return lab_fail(err, -ENOMEM, "out of memory");
	im->created = num_wall();
	id = store_run(d->store, err,
		       "INSERT INTO images(name, state, recipe, created) VALUES(?, ?, ?, ?)",
		       "sssd", name, state, recipe, im->created);
	if (id < 0) {
		free(im);
		return (int)id;
	}
	im->id = id;
	im->job = job;
	snprintf(im->name, sizeof(im->name), "%s", name);
	snprintf(im->state, sizeof(im->state), "%s", state);
	snprintf(im->recipe, sizeof(im->recipe), "%s", recipe);
	SCOPED_LOCK(&d->lock);
	TAILQ_INSERT_TAIL(&d->images, im, link);
	events_emit(d, "image", "add", "", im->name, NULL, image_json(d, im));
	*ret = im;
	return 0;
}

int image_save(struct labd *d, struct image *im, struct lab_err *err)
{
	int64_t r = store_run(d->store, err,
			      /* who read it before it was synced may come after that */
			      "UPDATE images SET name = ?1,"
			      " state = iif(?2 = 'unsynced' AND state = 'ready', state, ?2),"
			      " recipe = ?3, base = ?4, protect = ?5, error = ?6 WHERE id = ?7",
			      "ssssisi", im->name, im->unsynced ? "unsynced" : im->state,
			      im->recipe, im->base, (int64_t)im->protect, im->error, im->id);

	return r < 0 ? (int)r : 0;
}

int image_set_state(struct labd *d, struct image *im, const char *state, const char *error)
{
	pthread_mutex_lock(&d->lock);
	if (state != im->state)
		snprintf(im->state, sizeof(im->state), "%s", state);
	if (error != im->error)
		snprintf(im->error, sizeof(im->error), "%s", error);
	events_emit(d, "image", "change", "", im->name, NULL, image_json(d, im));
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	return image_save(d, im, NULL);
}

/*
 * 1: it has to be synced, by the caller, for whom others wait; 0: not, or it is gone; or why
 * that failed before. @dir: IO_PATH bytes
 */
static int begin_settling(struct labd *d, int64_t id, char *dir, struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	struct image *im;

	while ((im = model_image_id(d, id)) && im->settling)
		pthread_cond_wait(&d->changed, &d->lock);
	if (!im || !im->unsynced)
		return 0;
	if (strcmp(im->state, "ready"))
		return lab_fail(err, -EIO, "%s", im->error);
	im->settling = true;
	image_dir(d, im, dir);
	return 1;
}

/* What is counted while the disk writes */
static int count(struct labd *d, int64_t id, const char *dir, struct lab_err *err)
{
	char sha[DIGEST_HEX];
	struct image *im;
	int r = image_digest(dir, sha, err);

	if (r < 0)
		return r;
	SCOPED_LOCK(&d->lock);
	im = model_image_id(d, id);
	if (im && strcmp(im->sha256, sha)) {
		snprintf(im->sha256, sizeof(im->sha256), "%s", sha);
		events_emit(d, "image", "change", "", im->name, NULL, image_json(d, im));
	}
	return 0;
}

/* Bring it to the disk, and let the store know */
static int settle(struct labd *d, int64_t id, const char *dir, struct lab_err *err)
{
	/* the kernel tells an error of fsync() once: nobody may take the second answer */
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	int r = count(d, id, dir, err);

	if (!r) {
		SCOPED_LOCK(&one);
		r = image_sync(dir, err);
	}
	return r;
}

static int save_settled(struct labd *d, int64_t id, struct lab_err *err)
{
	int64_t r = store_run(
		d->store, err,
		"UPDATE images SET state = 'ready' WHERE id = ? AND state = 'unsynced'", "i", id);

	return r < 0 ? (int)r : 0;
}

/* One that failed stays unsynced in the store: the next labd compares its digest. 0: gone, or done
 */
static int end_settling(struct labd *d, int64_t id, int r, int saved, const struct lab_err *why)
{
	SCOPED_LOCK(&d->lock);
	struct image *im = model_image_id(d, id);

	pthread_cond_broadcast(&d->changed);
	if (!im)
		return 0;
	im->settling = false;
	im->unsynced = r < 0 || saved < 0;
	if (r < 0) {
		snprintf(im->state, sizeof(im->state), "failed");
		snprintf(im->error, sizeof(im->error), "%s", why->text);
		events_emit(d, "image", "change", "", im->name, NULL, image_json(d, im));
	}
	return r < 0 ? r : saved;
}

int image_settle(struct labd *d, int64_t id, struct lab_err *err)
{
	struct lab_err why = LAB_ERR_INIT;
	char dir[IO_PATH];
	int saved = 0, r = begin_settling(d, id, dir, err);

	if (r <= 0)
		return r;
	r = settle(d, id, dir, &why);
	if (!r)
		saved = save_settled(d, id, &why);
	r = end_settling(d, id, r, saved, &why);
	return r < 0 ? lab_fail(err, r, "%s", why.text) : 0;
}

int image_load_manifest(struct labd *d, struct image *im, struct lab_err *err)
{
	const char *boot = "firmware", *cmdline = "", *base = "", *sha = "";
	autojson json_t *m = NULL;
	char dir[IO_PATH], path[IO_PATH];
	json_int_t size = 0;
	struct stat st;
	int r = image_manifest(image_dir(d, im, dir), &m, err);

	if (r < 0)
		return r;
	if (json_unpack(m, "{s?s s?s s?s s:I s:{s?s}}", "boot", &boot, "cmdline", &cmdline, "from",
			&base, "size", &size, "disk", "sha256", &sha) < 0)
		return lab_fail(err, -EUCLEAN, "%s/manifest.json lacks a value", dir);
	if (stat(io_path(path, "%s/disk.qcow2", dir), &st) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	SCOPED_LOCK(&d->lock);
	snprintf(im->boot, sizeof(im->boot), "%s", boot);
	snprintf(im->cmdline, sizeof(im->cmdline), "%s", cmdline);
	snprintf(im->base, sizeof(im->base), "%s", base);
	snprintf(im->sha256, sizeof(im->sha256), "%s", sha);
	im->size = (uint64_t)size;
	im->used = (uint64_t)st.st_blocks * 512;
	return 0;
}

void image_leave(struct labd *d, struct image *im)
{
	SCOPED_LOCK(&d->lock);
	TAILQ_REMOVE(&d->images, im, link);
	events_emit(d, "image", "remove", "", im->name, NULL,
		    json_pack("{s:I s:s}", "id", (json_int_t)im->id, "name", im->name));
	free(im);
}

int image_drop(struct labd *d, struct image *im)
{
	struct lab_err err = LAB_ERR_INIT;
	char dir[IO_PATH];

	image_dir(d, im, dir);
	if (store_run(d->store, &err, "DELETE FROM images WHERE id = ?", "i", im->id) < 0) {
		log_error("image %s: %s", im->name, err.text);
		return err.code;
	}
	image_leave(d, im);
	(void)io_remove_tree(AT_FDCWD, dir);
	return 0;
}
