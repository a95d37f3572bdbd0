// SPDX-License-Identifier: GPL-2.0-or-later
/* snapdiff.c - what a snapshot holds, and how two of a lab differ */
#define _GNU_SOURCE
#include "labd/snapdiff.h"

#include "labd/disk.h"
#include "labd/labjob.h"
#include "labd/memory.h"
#include "lib/io.h"
#include "lib/util.h"

#include <string.h>

/* Ids of the members of a snapshot; the lock is held */
static json_t *member_ids(struct lab *lab, const struct snapshot *sn)
{
	json_t *ids = json_object();
	const json_t *name;
	size_t i;

	json_array_foreach(sn->members, i, name) {
		const struct instance *in = model_instance(lab, json_string_value(name));

		if (in)
			json_object_set_new(ids, in->name, json_integer((json_int_t)in->id));
	}
	return ids;
}

static struct snapshot *find(struct lab *lab, const char *name, struct lab_err *err)
{
	struct snapshot *sn = model_snapshot(lab, name);

	if (!sn)
		lab_fail(err, -ENOENT, "lab %s has no snapshot %s: labctl snapshot ls %s",
			 lab->name, name, lab->name);
	return sn;
}

/* ---- show ------------------------------------------------------------------------ */

static json_t *part_json(struct labd *d, const char *name, int64_t instance, int64_t snapshot)
{
	char dir[IO_PATH];
	uint64_t size = 0, used = 0;
	autojson json_t *manifest = NULL;

	io_path(dir, "%s/snapshots/%lld/%lld", d->paths.state, (long long)snapshot,
		(long long)instance);
	if (memory_describe(d, dir, &manifest, &used) == 0)
		size = (uint64_t)json_integer_value(json_object_get(manifest, "memory"));
	return json_pack("{s:s s:o s:I s:I s:O* s:O*}", "name", name, "disks",
			 disks_snapshot_json(d, instance, snapshot), "memory", (json_int_t)size,
			 "memory_used", (json_int_t)used, "qemu", json_object_get(manifest, "qemu"),
			 "accel", json_object_get(manifest, "accel"));
}

int snapdiff_show(struct labd *d, const char *lab_name, const char *name, json_t **ret,
		  struct lab_err *err)
{
	autojson json_t *ids = NULL, *obj = NULL;
	json_t *parts, *instance;
	const struct snapshot *sn = NULL;
	const char *key;
	struct lab *lab;
	int64_t id = 0;
	int r;

	pthread_mutex_lock(&d->lock);
	r = labjob_find(d, lab_name, NULL, &lab, NULL, err);
	sn = r < 0 ? NULL : find(lab, name, err);
	if (sn) {
		ids = member_ids(lab, sn);
		obj = snapshot_json(lab, sn);
		id = sn->id;
	}
	pthread_mutex_unlock(&d->lock);
	if (!sn)
		return err->code;
	parts = json_array();
	json_object_foreach(ids, key, instance)
		json_array_append_new(parts, part_json(d, key, json_integer_value(instance), id));
	json_object_set_new(obj, "instances", parts);
	*ret = steal_ptr(obj);
	return 0;
}

/* ---- diff ------------------------------------------------------------------------- */

struct sides {
	int64_t from, to;
	json_t *from_ids, *to_ids;
	char from_name[NAME_MAX_LEN + 1];
};

/* Fill in what needs the lock */
static int find_sides(struct labd *d, const char *lab_name, const char *from, const char *to,
		      struct sides *s, struct lab_err *err)
{
	SCOPED_LOCK(&d->lock);
	const struct snapshot *a, *b;
	struct lab *lab;
	int r = labjob_find(d, lab_name, NULL, &lab, NULL, err);

	if (r < 0)
		return r;
	b = find(lab, to, err);
	if (!b)
		return err->code;
	a = from ? find(lab, from, err) : model_snapshot_id(lab, b->parent);
	if (!a)
		return from ? err->code
			    : lab_fail(
				      err, -ENODATA,
				      "snapshot %s has no parent: name another one to compare with",
				      to);
	s->from = a->id;
	s->to = b->id;
	s->from_ids = member_ids(lab, a);
	s->to_ids = member_ids(lab, b);
	snprintf(s->from_name, sizeof(s->from_name), "%s", a->name);
	return 0;
}

static json_t *compare(struct labd *d, const struct sides *s, const char *name, int64_t instance,
		       struct lab_err *err)
{
	char from[IO_PATH], to[IO_PATH];
	int64_t pages;

	io_path(from, "%s/snapshots/%lld/%lld", d->paths.state, (long long)s->from,
		(long long)instance);
	io_path(to, "%s/snapshots/%lld/%lld", d->paths.state, (long long)s->to,
		(long long)instance);
	pages = memory_diff(d, from, to, err);
	if (pages < 0 && pages != -ENOENT)
		return NULL;
	return json_pack("{s:s s:s s:I s:I s:o}", "name", name, "change", "both", "pages",
			 (json_int_t)MAX(pages, (int64_t)0), "page_size", (json_int_t)RAM_PAGE,
			 "disks", disks_diff_json(d, instance, s->from, s->to));
}

static int compare_all(struct labd *d, const struct sides *s, json_t *list, struct lab_err *err)
{
	const char *name;
	json_t *id;

	json_object_foreach(s->from_ids, name, id)
		if (!json_object_get(s->to_ids, name))
			json_array_append_new(list, json_pack("{s:s s:s}", "name", name, "change",
							      "removed"));
	json_object_foreach(s->to_ids, name, id) {
		json_t *part = json_object_get(s->from_ids, name)
				       ? compare(d, s, name, json_integer_value(id), err)
				       : json_pack("{s:s s:s}", "name", name, "change", "added");

		if (!part)
			return err->code;
		json_array_append_new(list, part);
	}
	return 0;
}

int snapdiff_make(struct labd *d, const char *lab, const char *from, const char *to, json_t **ret,
		  struct lab_err *err)
{
	autojson json_t *list = json_array();
	struct sides s = { 0 };
	int r = find_sides(d, lab, from, to, &s, err);

	if (!r)
		r = compare_all(d, &s, list, err);
	if (!r)
		*ret = json_pack("{s:s s:s s:O}", "from", s.from_name, "to", to, "instances", list);
	json_decref(s.from_ids);
	json_decref(s.to_ids);
	return r;
}
