// SPDX-License-Identifier: GPL-2.0-or-later
/* import_look.c - what is in an exported lab, and what would come of it here */
#define _GNU_SOURCE
#include "labd/import_impl.h"

#include "labd/fit.h"
#include "labd/memory.h"
#include "labd/plan.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

const json_t *import_part(const struct import *m, const char *key)
{
	return json_object_get(pack_manifest(m->pack), key);
}

const char *import_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

bool import_has(const struct import *m, const char *name)
{
	return json_object_get(import_part(m, "files"), name);
}

int import_refuse(struct lab_err *err, const char *fmt, ...)
{
	char words[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	return lab_fail(err, -EINVAL, "refused: %s", words);
}

/* ---- specification ---------------------------------------------------------- */

/* Its specification under the new name, read like any lab file */
static int read_spec(struct import *m, struct lab_err *err)
{
	autojson json_t *spec = json_deep_copy(import_part(m, "spec")), *problems = NULL;
	const char *identity = import_text(pack_manifest(m->pack), "identity");
	autofree char *words = NULL;
	int r;

	if (!json_is_object(spec))
		return import_refuse(err, "it has no specification of a lab");
	json_object_set_new(spec, "lab", json_string(m->name));
	json_object_del(spec, "identity");
	if (*identity && strcmp(identity, m->name))
		json_object_set_new(spec, "identity", json_string(identity));
	words = json_dumps(spec, JSON_COMPACT);
	if (!words)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = plan_read(m->d, words, "specification", &m->spec, &problems, err);
	if (r < 0 && json_array_size(problems))
		return lab_fail(err, r, "its specification cannot be read here: %s",
				import_text(json_array_get(problems, 0), "message"));
	return r;
}

static int check_name(struct import *m, const char *name, struct lab_err *err)
{
	if (!name)
		name = import_text(pack_manifest(m->pack), "lab");
	if (!name_valid(name))
		return lab_fail(err, -EINVAL, "'%.100s' cannot be the name of a lab: %s", name,
				NAME_RULE);
	snprintf(m->name, sizeof(m->name), "%s", name);
	SCOPED_LOCK(&m->d->lock);
	return model_lab(m->d, m->name)
		       ? lab_fail(err, -EEXIST,
				  "there is a lab %s already: give the new one another name",
				  m->name)
		       : 0;
}

/* ---- memory ----------------------------------------------------------------- */

/* "yes", "no" and why, or "none" */
static const char *look_memory(struct import *m, struct lab_err *why)
{
	const json_t *instances = import_part(m, "instances");
	const char *found = "none", *name;
	json_t *in;

	json_object_foreach((json_t *)instances, name, in) {
		const json_t *memory = json_object_get(in, "memory");

		if (!memory)
			continue;
		if (memory_here(m->d, memory, why) < 0)
			return "no";
		found = "yes";
	}
	return found;
}

static json_t *instances_found(const struct import *m)
{
	json_t *list = json_array(), *in;
	const char *name;

	json_object_foreach(json_object_get(m->spec, "instances"), name, in) {
		json_array_append_new(
			list, json_pack("{s:s s:b}", "name", name, "memory",
					json_object_get(json_object_get(import_part(m, "instances"),
									name),
							"memory") != NULL));
	}
	return list;
}

void import_skip(struct import *m, const char *prefix)
{
	const char *name;
	json_t *file;

	json_object_foreach((json_t *)import_part(m, "files"), name, file)
		if (!strncmp(name, prefix, strlen(prefix)))
			json_object_set_new(m->skip, name, json_true());
}

void import_skip_memories(struct import *m)
{
	const char *name;
	char prefix[128];
	json_t *in;

	json_object_foreach((json_t *)import_part(m, "instances"), name, in) {
		snprintf(prefix, sizeof(prefix), "instances/%.60s/memory/", name);
		import_skip(m, prefix);
	}
}

/* ---- all -------------------------------------------------------------------- */

int import_space(struct import *m, struct lab_err *err)
{
	uint64_t need = pack_data(m->pack, m->skip), have = fit_disk_free(m->d->paths.state);
	char a[NUM_TEXT], b[NUM_TEXT];

	return need <= have ? 0
			    : lab_fail(err, -ENOSPC, "it needs %s on the disk, %s are free",
				       num_size_text(a, need), num_size_text(b, have));
}

/* What members and images have to be, before anything is made of them */
static int check_parts(const struct import *m, struct lab_err *err)
{
	const json_t *specs = json_object_get(m->spec, "instances");
	const char *key;
	json_t *o;

	if (!json_is_object(import_part(m, "images")) ||
	    !json_is_object(import_part(m, "instances")))
		return import_refuse(err, "it has no list of images and instances");
	json_object_foreach((json_t *)import_part(m, "images"), key, o)
		if (!name_valid(key) || !name_valid(import_text(o, "name")))
			return import_refuse(err, "'%.100s' cannot be an image", key);
	json_object_foreach((json_t *)import_part(m, "instances"), key, o)
		if (!json_object_get(specs, key) ||
		    !json_object_get(import_part(m, "images"), import_text(o, "image")))
			return import_refuse(
				err, "instance '%.100s' is not in the lab, or has no image", key);
	return 0;
}

static json_t *found(struct import *m, bool ram)
{
	const json_t *manifest = pack_manifest(m->pack);
	struct lab_err why = LAB_ERR_INIT;
	const char *memory = look_memory(m, &why);
	json_t *images = import_images_found(m);

	m->ram = ram && !strcmp(memory, "yes");
	if (!m->ram)
		import_skip_memories(m);
	return json_pack("{s:s s:s s:f s:s s:I s:s s:s s:o s:o}", "lab", m->name, "was",
			 import_text(manifest, "lab"), "created",
			 json_number_value(json_object_get(manifest, "created")), "snapshot",
			 import_text(manifest, "snapshot"), "data",
			 (json_int_t)pack_data(m->pack, m->skip), "memory", memory, "reason",
			 why.text, "instances", instances_found(m), "images", images);
}

static int look(struct import *m, const char *name, bool ram, json_t **ret_found,
		struct lab_err *err)
{
	int r = pack_open(m->fd, &m->pack, err);

	if (!r)
		r = check_name(m, name, err);
	if (!r)
		r = read_spec(m, err);
	if (!r)
		r = check_parts(m, err);
	if (r < 0)
		return r;
	*ret_found = found(m, ram);
	return *ret_found ? import_space(m, err) : lab_fail(err, -ENOMEM, "out of memory");
}

int import_look(struct labd *d, const char *path, const char *name, bool ram, struct import **ret,
		json_t **ret_found, struct lab_err *err)
{
	struct import *m = calloc(1, sizeof(*m));
	struct stat st;
	int r;

	if (!m)
		return lab_fail(err, -ENOMEM, "out of memory");
	m->d = d;
	m->images = json_object();
	m->made = json_array();
	m->skip = json_object();
	m->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (m->fd < 0 || fstat(m->fd, &st) < 0)
		r = lab_fail_errno(err, -errno, "%s", path);
	else if (!S_ISREG(st.st_mode))
		r = lab_fail(err, -EINVAL, "%s is not a regular file", path);
	else
		r = lab_wrap(err, look(m, name, ram, ret_found, err), "%s", path);
	if (r < 0)
		import_free(m);
	else
		*ret = m;
	return r;
}

const char *import_lab(const struct import *m)
{
	return m->name;
}

struct import *import_free(struct import *m)
{
	if (m) {
		pack_close(m->pack);
		if (m->fd >= 0)
			close(m->fd);
		json_decref(m->spec);
		json_decref(m->images);
		json_decref(m->made);
		json_decref(m->skip);
		free(m);
	}
	return NULL;
}
