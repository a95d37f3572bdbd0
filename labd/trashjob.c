// SPDX-License-Identifier: GPL-2.0-or-later
/* trashjob.c - the job that removes for ever what is in the trash */
#define _GNU_SOURCE
#include "labd/trashjob.h"

#include "labd/job.h"
#include "labd/trash.h"
#include "lib/jobj.h"
#include "lib/util.h"

#include <errno.h>

static int remove_item(struct labd *d, struct job *job, const json_t *t, struct lab_err *err)
{
	const char *lab = jobj_text(t, "lab");
	struct job_item *item = job_add_item(job, "%s%s%s", lab, *lab ? "/" : "",
					     jobj_text(t, "name"));
	int r;

	job_item_step(job, item, "remove", 0);
	r = trash_remove(d, json_integer_value(json_object_get(t, "id")), err);
	/* it went with its lab, or by somebody else */
	if (r == -ENOENT)
		r = 0;
	job_item_end(job, item, r);
	return r;
}

static int run_remove(struct labd *d, struct job *job, void *arg, struct lab_err *err)
{
	const json_t *t;
	size_t i;
	int r = 0;

	json_array_foreach((json_t *)arg, i, t) {
		r = r ?: job_check(job, err);
		r = r ?: remove_item(d, job, t, err);
	}
	return r;
}

static void free_items(void *arg)
{
	json_decref(arg);
}

int trashjob_remove(struct labd *d, int64_t id, int64_t *ret_job, struct lab_err *err)
{
	autojson json_t *items = trash_json(d, id, err);

	*ret_job = 0;
	if (!items)
		return err->code;
	if (!json_array_size(items))
		return 0;
	SCOPED_LOCK(&d->lock);
	*ret_job = job_start(
		job_new(d, "trash-remove", "", "", run_remove, json_incref(items), free_items));
	return 0;
}
