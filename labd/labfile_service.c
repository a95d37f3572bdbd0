// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * labfile_service.c - what services of the catalogue bring to their instance
 *
 * A service is PATHS->data/services/NAME/service.yaml. Its keys image, memory,
 * vcpus, needs (services), ready and forward are defaults of the instance that
 * carries it: of several services the largest memory and vcpus, and the probes and
 * forwards of all. What is wrong in the catalogue is a problem at the place
 * in the lab file that names the service.
 */
#define _GNU_SOURCE
#include "labd/labfile_impl.h"
#include "lib/io.h"
#include "lib/names.h"
#include "lib/util.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define MAX_SERVICE_FILE (64 << 10)
#define MAX_CATALOGUE 256

static int is_name(const struct dirent *de)
{
	return name_valid(de->d_name);
}

/* Problem: no such service, with the nearest of the catalogue */
static void unknown_service(struct lab_reader *r, const struct ynode *at)
{
	const char *known[MAX_CATALOGUE + 1] = { NULL };
	char path[IO_PATH], file[IO_PATH];
	struct dirent **list = NULL;
	size_t n = 0;
	int found = 0;

	if (r->paths)
		found = scandir(io_path(path, "%s/services", r->paths->data), &list, is_name,
				alphasort);
	for (int i = 0; i < found && n < MAX_CATALOGUE; i++) {
		io_path(file, "%s/%s/service.yaml", path, list[i]->d_name);
		if (!access(file, R_OK))
			known[n++] = list[i]->d_name;
	}
	ydoc_unknown(r->doc, at, "service", known);
	for (int i = 0; i < found; i++)
		free(list[i]);
	free(list);
}

/* The service's needs: names of services */
static json_t *read_needs(struct ydoc *doc, const struct ynode *n)
{
	autojson json_t *list = json_array();

	if (!ydoc_list(doc, n, "services"))
		return steal_ptr(list);
	for (const struct ynode *v = n->child; v; v = v->next) {
		const char *name = "";

		ydoc_name(doc, v, "a service's name", &name);
		if (json_array_append_new(list, json_string(name)) < 0)
			return NULL;
	}
	return steal_ptr(list);
}

static json_t *read_service(struct ydoc *doc, const struct ynode *root)
{
	static const char *const known[] = { "service", "description", "image",	 "memory",  "vcpus",
					     "needs",	"ready",       "repair", "forward", NULL };
	const struct ynode *image = labfile_given(root, "image"),
			   *memory = labfile_given(root, "memory"),
			   *vcpus = labfile_given(root, "vcpus"),
			   *needs = labfile_given(root, "needs"),
			   *ready = labfile_given(root, "ready"),
			   *repair = labfile_given(root, "repair"),
			   *forward = labfile_given(root, "forward");
	autojson json_t *service = json_object();
	const char *name = "";
	uint64_t v = 0;
	int r = 0;

	ydoc_map(doc, root, known);
	if (image && ydoc_name(doc, image, "an image's name", &name))
		r |= json_object_set_new(service, "image", json_string(name));
	if (memory && ydoc_size(doc, memory, LAB_MIN_MEMORY, LAB_MAX_MEMORY, 1 << 20, &v))
		r |= json_object_set_new(service, "memory", json_integer((json_int_t)v));
	if (vcpus && ydoc_u64(doc, vcpus, 1, LAB_MAX_VCPUS, &v))
		r |= json_object_set_new(service, "vcpus", json_integer((json_int_t)v));
	if (needs)
		r |= json_object_set_new(service, "needs", read_needs(doc, needs));
	if (ready)
		r |= json_object_set_new(service, "ready", labfile_ready(doc, ready));
	if (repair)
		r |= json_object_set_new(service, "repair", labfile_repair(doc, repair));
	if (forward)
		r |= json_object_set_new(service, "forward", labfile_forward(doc, forward));
	return r ? NULL : steal_ptr(service);
}

static void cleanup_doc(struct ydoc **doc)
{
	ydoc_free(*doc);
}

/* Read a service's file; json null after a problem; NULL: out of memory */
static json_t *load_service(struct lab_reader *r, const struct ynode *at)
{
	__attribute__((cleanup(cleanup_doc))) struct ydoc *doc = NULL;
	autojson json_t *service = NULL;
	struct lab_err err = LAB_ERR_INIT;
	autofree char *text = NULL;
	char path[IO_PATH] = "";
	size_t len;
	int res = -ENOENT;

	if (r->paths) {
		io_path(path, "%s/services/%s/service.yaml", r->paths->data, at->text);
		res = io_read_file(AT_FDCWD, path, MAX_SERVICE_FILE, &text, &len);
	}
	if (res == -ENOENT || res == -ENOTDIR) {
		unknown_service(r, at);
		return json_null();
	}
	if (res < 0) {
		ydoc_problem(r->doc, at, "service '%s': %s: %s", at->text, path, strerror(-res));
		return json_null();
	}
	if (ydoc_load(text, len, MAX_SERVICE_FILE, &doc) < 0)
		return NULL;
	if (ydoc_root(doc)) {
		service = read_service(doc, ydoc_root(doc));
		if (!service)
			return NULL;
	}
	res = ydoc_finish(doc, path, NULL, &err);
	if (res < 0) {
		ydoc_problem(r->doc, at, "service '%s': %s", at->text, err.text);
		return res == -ENOMEM ? NULL : json_null();
	}
	return steal_ptr(service);
}

/*
 * A service by name (borrowed); NULL: out of memory. A good one is read once a
 * lab file; a bad one each time, so that every place that names it is told.
 */
static const json_t *find_service(struct lab_reader *r, const struct ynode *at)
{
	json_t *service = json_object_get(r->services, at->text);

	if (service)
		return service;
	service = load_service(r, at);
	if (json_is_null(service)) /* not counted by jansson: there is one */
		return service;
	return json_object_set_new(r->services, at->text, service) < 0 ? NULL : service;
}

/* The larger number of what is there already and what this service wants */
static int merge_largest(json_t *into, const json_t *service, const char *key)
{
	json_t *v = json_object_get(service, key);

	if (!v || json_integer_value(v) <= json_integer_value(json_object_get(into, key)))
		return 0;
	return json_object_set(into, key, v);
}

/* Those of this service's list that are not there already */
static int merge_list(json_t *into, const json_t *service, const char *key)
{
	const json_t *list = json_object_get(service, key);
	json_t *target = json_object_get(into, key), *v;
	size_t i, j;

	if (!list)
		return 0;
	if (!target) {
		target = json_array();
		if (json_object_set_new(into, key, target) < 0)
			return -ENOMEM;
	}
	json_array_foreach(list, i, v) {
		for (j = 0; j < json_array_size(target); j++)
			if (json_equal(json_array_get(target, j), v))
				break;
		if (j == json_array_size(target) && json_array_append(target, v) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int merge(struct lab_reader *r, const struct ynode *at, bool image_given, json_t *into,
		 const json_t *service)
{
	const json_t *image = json_object_get(service, "image");
	const json_t *before = json_object_get(into, "image");

	if (image && !before) {
		if (json_object_set(into, "image", (json_t *)image) < 0)
			return -ENOMEM;
	} else if (image && !json_equal(image, before) && !image_given) {
		ydoc_problem(r->doc, at,
			     "service '%s' has image '%s', but the services before it have '%s': "
			     "use another instance, or say which image to use",
			     at->text, json_string_value(image), json_string_value(before));
	}
	if (merge_largest(into, service, "memory") < 0 ||
	    merge_largest(into, service, "vcpus") < 0 || merge_list(into, service, "needs") < 0 ||
	    merge_list(into, service, "ready") < 0 || merge_list(into, service, "repair") < 0 ||
	    merge_list(into, service, "forward") < 0)
		return -ENOMEM;
	return 0;
}

static int add_service(struct lab_reader *r, const struct ynode *n, bool image_given, json_t *names,
		       json_t *into)
{
	const json_t *service;
	const char *name;
	size_t i;
	json_t *v;

	if (!ydoc_name(r->doc, n, "a service's name", &name))
		return 0;
	json_array_foreach(names, i, v) {
		if (strcmp(json_string_value(v), name))
			continue;
		ydoc_problem(r->doc, n, "service '%s' is given twice", name);
		return 0;
	}
	service = find_service(r, n);
	if (!service || json_array_append_new(names, json_string(name)) < 0)
		return -ENOMEM;
	return merge(r, n, image_given, into, service);
}

int labfile_services(struct lab_reader *r, const struct ynode *n, bool image_given,
		     json_t **ret_names, json_t **ret)
{
	autojson json_t *names = json_array(), *into = json_object();

	if (!names || !into)
		return -ENOMEM;
	if (n && n->type == YNODE_LIST && n->count > LAB_MAX_SERVICES)
		ydoc_problem(r->doc, ynode_name(n), "expected at most %d services, found %zu",
			     LAB_MAX_SERVICES, n->count);
	else if (n && ydoc_list(r->doc, n, "services"))
		for (const struct ynode *v = n->child; v; v = v->next)
			if (add_service(r, v, image_given, names, into) < 0)
				return -ENOMEM;
	*ret_names = steal_ptr(names);
	*ret = steal_ptr(into);
	return 0;
}
