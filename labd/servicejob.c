// SPDX-License-Identifier: GPL-2.0-or-later
/* servicejob.c - what is asked of the services of a whole lab */
#define _GNU_SOURCE
#include "labd/servicejob.h"

#include "labd/labjob.h"
#include "labd/service.h"
#include "labd/service_context.h"
#include "lib/jobj.h"
#include "lib/util.h"

#include <string.h>

struct check {
	struct lab *lab;
	json_t *names;
};

static void free_check(void *arg)
{
	struct check *c = arg;

	json_decref(c->names);
	free(c);
}

json_t *servicejob_list(const struct lab *lab)
{
	json_t *list = json_array();
	const struct instance *in;
	const json_t *name;
	size_t i;

	TAILQ_FOREACH(in, &lab->instances, link)
		json_array_foreach(service_names(in), i, name) {
			json_t *s = service_shown(in, json_string_value(name));

			json_object_set_new(s, "lab", json_string(lab->name));
			json_object_set_new(s, "instance", json_string(in->name));
			json_array_append_new(list, s);
		}
	return list;
}

static bool is_asked(const struct check *c, const struct instance *in, const char *service)
{
	return jlist_has(c->names, service) && service_carried(in, service);
}

/* ---- check ------------------------------------------------------------------------- */

/* One service where it is; adds to what failed */
static int check_on(struct labd *d, struct job *job, struct instance *in, const char *name,
		    struct lab_err *all)
{
	struct lab_err err = LAB_ERR_INIT;
	char line[2 * NAME_MAX_LEN + sizeof(" on ")], words[400] = "";
	struct job_item *item;
	size_t len = strlen(all->text);
	int r;

	snprintf(line, sizeof(line), "%s on %s", name, in->name);
	item = job_item(job, line);
	job_item_step(job, item, "check", 0);
	if (instance_running(in))
		r = service_script(d, job, in, name, "check", words, sizeof(words), &err);
	else
		r = lab_fail(&err, -ENODATA, "instance %s does not run", in->name);
	if (r > 0)
		job_note(job, "%s: %s", name, *words ? words : "good");
	job_item_end(job, item, MIN(r, 0));
	if (r >= 0)
		return 0;
	snprintf(all->text + len, sizeof(all->text) - len, "%sservice %s: %.600s", len ? "\n" : "",
		 line, err.text);
	all->code = all->code ? all->code : r;
	return r;
}

static void add_lines(struct job *job, const json_t *set, const struct check *c)
{
	const struct instance *in;
	const json_t *s;
	size_t i;

	json_array_foreach(set, i, s)
		TAILQ_FOREACH(in, &c->lab->instances, link)
			if (is_asked(c, in, jobj_text(s, "name")))
				job_add_item(job, "%s on %s", jobj_text(s, "name"), in->name);
}

static int run_check(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	autojson json_t *set = NULL;
	struct check *c = arg;
	struct instance *in;
	const json_t *s;
	size_t i;
	int r = service_set(d, c->lab->spec, &set, err);

	if (r < 0)
		return r;
	add_lines(job, set, c);
	err->text[0] = '\0';
	err->code = 0;
	json_array_foreach(set, i, s)
		TAILQ_FOREACH(in, &c->lab->instances, link) {
			const char *name = jobj_text(s, "name");

			if (is_asked(c, in, name) && !job_cancelled(job))
				(void)check_on(d, job, in, name, err);
		}
	return job_cancelled(job) ? job_check(job, err) : err->code;
}

/* All of the lab if none is named; the lock is held */
static int take_names(const struct lab *lab, const json_t *names, json_t **ret, struct lab_err *err)
{
	autojson json_t *list = servicejob_list(lab), *all = json_array();
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		json_array_append(all, json_object_get(v, "name"));
	json_array_foreach(names, i, v)
		if (!jlist_has(all, json_string_value(v) ?: ""))
			return lab_fail(err, -ENOENT, "lab %s has no service %s: labctl status %s",
					lab->name, json_string_value(v) ?: "", lab->name);
	*ret = json_array_size(names) ? json_deep_copy(names) : steal_ptr(all);
	return 0;
}

int servicejob_check(struct labd *d, const char *lab, const json_t *names, int64_t *ret_job,
		     struct lab_err *err)
{
	struct check *c = calloc(1, sizeof(*c));
	struct instance *in;
	struct job *job;
	int r;

	if (!c)
		return lab_fail(err, -ENOMEM, "out of memory");
	SCOPED_LOCK(&d->lock);
	r = labjob_find(d, lab, NULL, &c->lab, &in, err);
	if (!r)
		r = take_names(c->lab, names, &c->names, err);
	if (r < 0) {
		free(c);
		return r;
	}
	job = job_new(d, "check", lab, "", run_check, c, free_check);
	r = model_claim(d, c->lab, NULL, job->id, err);
	if (r < 0)
		job_abandon(job);
	else
		*ret_job = job_start(job);
	return r;
}
