// SPDX-License-Identifier: GPL-2.0-or-later
/* plan.c - what a lab is to be, what it is, and what `up` would do */
#define _GNU_SOURCE
#include "labd/plan.h"

#include "labd/fit.h"
#include "labd/imagejob.h"
#include "labd/labfile.h"
#include "labd/network.h"
#include "labd/service.h"
#include "lib/util.h"

#include <string.h>

json_t *plan_spec(struct labd *d, const char *name)
{
	SCOPED_LOCK(&d->lock);
	struct lab *lab = model_lab(d, name);

	return lab ? json_deep_copy(lab->spec) : NULL;
}

int plan_read(struct labd *d, const char *text, const char *file, json_t **ret,
	      json_t **ret_problems, struct lab_err *err)
{
	autojson json_t *first = NULL, *before = NULL;
	size_t len = strlen(text);
	int r = labfile_read(text, len, file, &d->paths, NULL, &first, ret_problems, err);

	if (r < 0)
		return r;
	before = plan_spec(d, json_string_value(json_object_get(first, "lab")));
	if (before)
		return labfile_read(text, len, file, &d->paths, before, ret, ret_problems, err);
	*ret = steal_ptr(first);
	return 0;
}

json_t *plan_applied(struct labd *d, const char *name)
{
	SCOPED_LOCK(&d->lock);
	struct lab *lab = model_lab(d, name);
	struct instance *in;
	json_t *spec, *all = json_object();

	if (!lab) {
		json_decref(all);
		return NULL;
	}
	TAILQ_FOREACH(in, &lab->instances, link) {
		json_t *part = instance_applied(in);

		if (part)
			json_object_set_new(all, in->name, json_deep_copy(part));
		else if (!in->applied)
			json_object_del(all, in->name);
	}
	spec = json_pack("{s:s s:o s:o}", "lab", lab->name, "networks",
			 json_deep_copy(lab->applied), "instances", all);
	return spec;
}

/* Instances that are defined and not running will be started */
static void add_starts(struct labd *d, const char *name, const json_t *spec, json_t *changes)
{
	SCOPED_LOCK(&d->lock);
	struct lab *lab = model_lab(d, name);
	const char *each;
	json_t *in_spec;

	json_object_foreach(json_object_get(spec, "instances"), each, in_spec) {
		struct instance *in = lab ? model_instance(lab, each) : NULL;
		bool listed = false;
		json_t *c;
		size_t i;

		json_array_foreach(changes, i, c)
			listed |= !strcmp(json_string_value(json_object_get(c, "name")), each) &&
				  !strcmp(json_string_value(json_object_get(c, "type")),
					  "instance");
		if (!listed && (!in || !instance_running(in)))
			json_array_append_new(changes,
					      json_pack("{s:o s:s s:s s:s s:s}", "object",
							json_sprintf("instance %s", each), "type",
							"instance", "name", each, "action", "start",
							"reason", "it does not run"));
	}
}

json_t *plan_images(struct labd *d, const json_t *spec)
{
	json_t *list = json_array(), *seen = json_object(), *in;
	const char *name;

	json_object_foreach(json_object_get(spec, "instances"), name, in) {
		const char *image = json_string_value(json_object_get(in, "image"));
		uint64_t size;

		if (!image || !*image || json_object_get(seen, image))
			continue;
		json_object_set_new(seen, image, json_true());
		json_array_append_new(list, json_pack("{s:s s:s}", "name", image, "state",
						      imagejob_state(d, spec, image, &size)));
	}
	json_decref(seen);
	return list;
}

/* Which services each machine has, and what they take of its memory */
static json_t *machines(struct labd *d, const json_t *spec)
{
	json_t *list = json_array(), *in;
	const char *name;
	const json_t *v;
	size_t i;

	json_object_foreach(json_object_get(spec, "instances"), name, in) {
		json_t *services = json_array();

		json_array_foreach(json_object_get(in, "services"), i, v) {
			autojson json_t *s = NULL;

			if (!service_load(&d->paths, json_string_value(v), &s, NULL))
				json_array_append_new(services,
						      json_pack("{s:O s:O}", "name", v, "memory",
								json_object_get(s, "memory")));
		}
		json_array_append_new(list, json_pack("{s:s s:O s:I s:o}", "name", name, "memory",
						      json_object_get(in, "memory"), "system",
						      (json_int_t)LABFILE_SYSTEM_MEMORY, "services",
						      services));
	}
	return list;
}

int plan_make(struct labd *d, const char *text, const char *file, json_t **ret,
	      json_t **ret_problems, struct lab_err *err)
{
	autojson json_t *spec = NULL, *before = NULL, *changes = NULL, *fit = NULL;
	autofree char *yaml = NULL;
	const char *name;
	int r = plan_read(d, text, file, &spec, ret_problems, err);

	if (r < 0)
		return r;
	name = json_string_value(json_object_get(spec, "lab"));
	before = plan_applied(d, name);
	r = labfile_changes(before, spec, &changes, err);
	if (!r)
		r = labfile_yaml(spec, &yaml, err);
	if (r < 0)
		return r;
	if (before)
		add_starts(d, name, spec, changes);
	r = fit_check(d, name, spec, &fit, err);
	if (r < 0)
		return r;
	*ret = json_pack("{s:O s:s s:O s:O s:o s:o}", "spec", spec, "yaml", yaml, "changes",
			 changes, "fit", fit, "images", plan_images(d, spec), "machines",
			 machines(d, spec));
	return 0;
}

int plan_preflight(struct labd *d, const char *lab, const json_t *spec, bool force,
		   struct lab_err *err)
{
	autojson json_t *fit = NULL, *images = plan_images(d, spec);
	const json_t *im;
	size_t i;
	int r;

	json_array_foreach(images, i, im) {
		const char *state = json_string_value(json_object_get(im, "state"));

		if (!strcmp(state, "missing"))
			return lab_fail(err, -ENOENT,
					"there is no image and no recipe named %s: labctl image "
					"ls, labctl ls recipes",
					json_string_value(json_object_get(im, "name")));
	}
	r = network_check_forwards(d, lab, spec, err);
	if (!r)
		r = fit_check(d, lab, spec, &fit, err);
	if (r < 0)
		return r;
	if (!force && !json_is_true(json_object_get(fit, "ok")))
		return lab_fail(err, -ENOMEM, "%s",
				json_string_value(json_object_get(fit, "message")));
	return 0;
}

int plan_edit(struct labd *d, const char *name,
	      int (*edit)(json_t *spec, void *arg, struct lab_err *err), void *arg, json_t **ret,
	      struct lab_err *err)
{
	autojson json_t *before = plan_spec(d, name), *after = NULL, *problems = NULL;
	autofree char *text = NULL;
	int r;

	if (!before)
		return lab_fail(err, -ENOENT, "there is no lab %s: labctl ls", name);
	after = json_deep_copy(before);
	r = edit(after, arg, err);
	if (r < 0)
		return r;
	text = json_dumps(after, JSON_COMPACT);
	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = labfile_read(text, strlen(text), name, &d->paths, before, ret, &problems, err);
	if (r < 0) {
		/* positions mean nothing here: there is no file */
		const char *words =
			json_string_value(json_object_get(json_array_get(problems, 0), "message"));

		return words ? lab_fail(err, r, "%s", words) : r;
	}
	return 0;
}
