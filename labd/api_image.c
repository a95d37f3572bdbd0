// SPDX-License-Identifier: GPL-2.0-or-later
/* api_image.c - calls about images and recipes */
#define _GNU_SOURCE
#include "images/image.h"
#include "labd/chain.h"
#include "labd/events.h"
#include "labd/imagejob.h"
#include "labd/request.h"
#include "labd/trash.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

static int find(struct request *q, struct image **ret)
{
	*ret = model_image(q->d, q->params[0]);
	return *ret ? 0
		    : lab_fail(&q->err, -ENOENT, "there is no image %s: labctl image ls",
			       q->params[0]);
}

static int list_images(struct request *q)
{
	struct image *im;

	q->result = json_array();
	SCOPED_LOCK(&q->d->lock);
	TAILQ_FOREACH(im, &q->d->images, link)
		if (im->name[0])
			json_array_append_new(q->result, image_json(q->d, im));
	return 0;
}

static int get_image(struct request *q)
{
	struct image *im;
	int r;

	SCOPED_LOCK(&q->d->lock);
	r = find(q, &im);
	if (!r)
		q->result = image_json(q->d, im);
	return r;
}

static int dir_of(struct request *q, char *dir)
{
	struct image *im;
	int r;

	SCOPED_LOCK(&q->d->lock);
	r = find(q, &im);
	if (!r)
		image_dir(q->d, im, dir);
	return r;
}

static int get_manifest(struct request *q)
{
	char dir[IO_PATH];
	int r = dir_of(q, dir);

	return r ? r : image_manifest(dir, &q->result, &q->err);
}

static int get_log(struct request *q)
{
	char dir[IO_PATH], path[IO_PATH];
	int r = dir_of(q, dir);

	if (r < 0)
		/* of a build that failed: nothing but its log is left */
		io_path(path, "%s/log/build-%s.log", q->d->paths.state, q->params[0]);
	else
		io_path(path, "%s/build.log", dir);
	if (!name_valid(q->params[0]))
		return r;
	r = io_read_file(AT_FDCWD, path, 64 << 20, &q->text, NULL);
	return r < 0 ? lab_fail_errno(&q->err, r, "build log of image %s", q->params[0]) : 0;
}

static int get_chain(struct request *q)
{
	return chain_of_image(q->d, q->params[0], &q->result, &q->err);
}

static int post_image(struct request *q)
{
	if (json_object_get(q->json, "import"))
		return imagejob_import(q->d, q->json, &q->job, &q->err);
	if (json_object_get(q->json, "build") || json_object_get(q->json, "recipe"))
		return imagejob_build(q->d, q->json, &q->job, &q->problems, &q->err);
	return lab_fail(&q->err, -EINVAL, "the body needs \"build\", \"recipe\" or \"import\"");
}

static int export(struct request *q)
{
	return imagejob_export(q->d, q->params[0], q->json, &q->job, &q->err);
}

static int lock(struct request *q)
{
	return imagejob_lock(q->d, q->params[0], &q->job, &q->err);
}

/* Whether a lab names it: then another name would take it away from that lab */
static const char *named_by(struct labd *d, const char *image)
{
	struct instance *in;
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link)
		TAILQ_FOREACH(in, &lab->instances, link) {
			const json_t *name = json_object_get(instance_spec(in), "image");

			if (name && !strcmp(json_string_value(name), image))
				return in->name;
		}
	return NULL;
}

static int rename_image(struct request *q, struct image *im, const char *name)
{
	const char *user = named_by(q->d, im->name);
	char from[NAME_MAX_LEN + 1];

	if (!name_valid(name))
		return lab_fail(&q->err, -EINVAL, "'%s' cannot be the name of an image: %s", name,
				NAME_RULE);
	if (model_image(q->d, name))
		return lab_fail(&q->err, -EEXIST, "there is an image %s already", name);
	if (im->job)
		return lab_fail(&q->err, -EBUSY, "image %s is being made", im->name);
	if (user)
		return lab_fail(&q->err, -EBUSY, "image %s is named by instance %s", im->name,
				user);
	snprintf(from, sizeof(from), "%s", im->name);
	snprintf(im->name, sizeof(im->name), "%s", name);
	events_emit(q->d, "image", "rename", "", name, from, image_json(q->d, im));
	return 0;
}

static int patch_image(struct request *q)
{
	const char *name = request_str(q, "name");
	const json_t *protect = json_object_get(q->json, "protect");
	struct image *im;
	int r;

	if (!name && !json_is_boolean(protect))
		return lab_fail(&q->err, -EINVAL,
				"of an image \"name\" and \"protect\" can be changed");
	pthread_mutex_lock(&q->d->lock);
	r = find(q, &im);
	if (!r && name && im && strcmp(name, im->name))
		r = rename_image(q, im, name);
	if (!r && json_is_boolean(protect))
		im->protect = json_is_true(protect);
	pthread_mutex_unlock(&q->d->lock);
	if (!r)
		image_set_state(q->d, im, im->state, im->error);
	return r;
}

static int delete_image(struct request *q)
{
	autojson json_t *obj = NULL;
	json_t *users;
	struct image *im;
	int64_t id;
	int r;

	pthread_mutex_lock(&q->d->lock);
	r = find(q, &im);
	id = r ? 0 : im->id;
	pthread_mutex_unlock(&q->d->lock);
	/* what comes out of the trash is whole; one that cannot get to the disk just goes */
	(void)image_settle(q->d, id, NULL);
	pthread_mutex_lock(&q->d->lock);
	r = find(q, &im);
	obj = r ? NULL : image_json(q->d, im);
	users = json_object_get(obj, "users");
	if (!r && im->protect)
		r = lab_fail(&q->err, -EPERM,
			     "image %s is protected: take the protection off first", im->name);
	else if (!r && json_array_size(users))
		r = lab_fail(&q->err, -EBUSY, "image %s is used by %s%s", im->name,
			     json_string_value(json_array_get(users, 0)),
			     json_array_size(users) > 1 ? " and others" : "");
	else if (!r && im->job)
		r = lab_fail(&q->err, -EBUSY, "image %s is busy with job %lld", im->name,
			     (long long)im->job);
	if (!r)
		im->job = -1; /* nobody else may take it from here on */
	pthread_mutex_unlock(&q->d->lock);
	if (r)
		return r;
	r = trash_image(q->d, im, &q->err);
	SCOPED_LOCK(&q->d->lock);
	if (r < 0)
		im->job = 0;
	return r;
}

static json_t *recipe_object(struct request *q, const char *name)
{
	struct recipe *recipe = NULL;
	struct image *im;
	json_t *obj;
	bool built;

	if (recipe_load(&q->d->paths, NULL, NULL, name, &recipe, NULL, NULL) < 0)
		return json_pack("{s:s s:s}", "name", name, "error", "it cannot be read");
	pthread_mutex_lock(&q->d->lock);
	im = model_image(q->d, name);
	built = im && !strcmp(im->state, "ready") && !strcmp(im->recipe, recipe->digest);
	pthread_mutex_unlock(&q->d->lock);
	obj = json_pack("{s:s s:s s:s s:I s:b s:b}", "name", name, "digest", recipe->digest, "from",
			recipe->from, "size", (json_int_t)recipe->size, "locked",
			(int)recipe->locked, "built", (int)built);
	recipe_free(recipe);
	return obj;
}

static int list_recipes(struct request *q)
{
	autojson json_t *names = NULL;
	const json_t *name;
	size_t i;
	int r = recipe_names(&q->d->paths, &names, &q->err);

	if (r < 0)
		return r;
	q->result = json_array();
	json_array_foreach(names, i, name) {
		json_array_append_new(q->result, recipe_object(q, json_string_value(name)));
	}
	return 0;
}

const struct route image_routes[] = {
	{ "GET", "/v1/images", list_images, ROUTE_QUICK },
	{ "POST", "/v1/images", post_image, 0 },
	{ "GET", "/v1/images/:", get_image, ROUTE_QUICK },
	{ "PATCH", "/v1/images/:", patch_image, 0 },
	{ "DELETE", "/v1/images/:", delete_image, 0 },
	{ "GET", "/v1/images/:/manifest", get_manifest, 0 },
	{ "GET", "/v1/images/:/log", get_log, 0 },
	{ "GET", "/v1/images/:/chain", get_chain, 0 },
	{ "POST", "/v1/images/:/export", export, 0 },
	{ "POST", "/v1/images/:/lock", lock, 0 },
	{ "GET", "/v1/recipes", list_recipes, 0 },
	{ NULL, NULL, NULL, 0 },
};
