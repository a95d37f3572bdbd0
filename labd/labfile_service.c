// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * labfile_service.c - what services of the catalogue bring to their instance
 *
 * images/catalogue.h says what a service is. Its memory is added to that of the
 * others on the instance and of the system, of vcpus the largest number counts, and
 * forwards and repair are those of all. Its needs and probes are not the instance's:
 * services are started one by one when it runs (service.h). What is wrong in the
 * catalogue is a problem at the place in the lab file that names the service.
 *
 * Instances with services and without an image of their own have one image, made
 * for the services of the whole lab, so that a service can move within it.
 */
#define _GNU_SOURCE
#include "labd/labfile_impl.h"
#include "labd/service.h"
#include "lib/digest.h"
#include "lib/io.h"
#include "lib/jobj.h"
#include "lib/names.h"
#include "lib/util.h"

#include <stdio.h>
#include <string.h>

static int read_keys(struct ydoc *doc, const char *name, json_t **ret)
{
	const struct ynode *root = ydoc_root(doc), *ready = labfile_given(root, "ready"),
			   *repair = labfile_given(root, "repair"),
			   *forward = labfile_given(root, "forward");
	autojson json_t *service = NULL;
	int r = catalogue_read(doc, name, &service);

	if (!r)
		r = json_object_set_new(service, "ready",
					ready ? probe_list(doc, ready) : json_array());
	if (!r && repair)
		r = json_object_set_new(service, "repair", labfile_repair(doc, repair));
	if (!r && forward)
		r = json_object_set_new(service, "forward", labfile_forward(doc, forward));
	if (!r)
		*ret = steal_ptr(service);
	return r ? -ENOMEM : 0;
}

int service_load(const struct paths *paths, const char *name, json_t **ret, struct lab_err *err)
{
	return catalogue_load(paths, name, read_keys, ret, err);
}

/* Read a service's file; json null after a problem; NULL: out of memory */
static json_t *load_service(struct lab_reader *r, const struct ynode *at)
{
	struct lab_err err = LAB_ERR_INIT;
	json_t *service = NULL;
	int res = service_load(r->paths, at->text, &service, &err);

	if (!res)
		return service;
	if (res == -ENOMEM)
		return NULL;
	ydoc_problem(r->doc, at, "%s", err.text);
	return json_null();
}

/* A good one is read once a lab file; a bad one each time, so that every place that names it is
 * told */
const json_t *labfile_service(struct lab_reader *r, const struct ynode *at)
{
	json_t *service = json_object_get(r->services, at->text);

	if (service)
		return service;
	service = load_service(r, at);
	if (json_is_null(service)) /* not counted by jansson: there is one */
		return service;
	return json_object_set_new(r->services, at->text, service) < 0 ? NULL : service;
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static int merge_size(json_t *into, const json_t *service)
{
	json_int_t before = number(into, "memory");
	json_int_t memory = (before ? before : (json_int_t)LABFILE_SYSTEM_MEMORY) +
			    number(service, "memory");
	json_int_t vcpus = MAX(number(into, "vcpus"), number(service, "vcpus"));

	return json_object_set_new(into, "memory", json_integer(memory)) < 0 ||
			       json_object_set_new(into, "vcpus", json_integer(vcpus)) < 0
		       ? -ENOMEM
		       : 0;
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

static int add_service(struct lab_reader *r, const struct ynode *n, json_t *names, json_t *into)
{
	const json_t *service;
	const char *name;

	if (!ydoc_name(r->doc, n, "a service's name", &name))
		return 0;
	if (jlist_has(names, name)) {
		ydoc_problem(r->doc, n, "service '%s' is given twice", name);
		return 0;
	}
	service = labfile_service(r, n);
	if (!service || json_array_append_new(names, json_string(name)) < 0)
		return -ENOMEM;
	if (merge_size(into, service) < 0 || merge_list(into, service, "needs") < 0 ||
	    merge_list(into, service, "repair") < 0 || merge_list(into, service, "forward") < 0)
		return -ENOMEM;
	return 0;
}

/* Those of the lab's list that were placed here */
static int add_placed(struct lab_reader *r, const struct lab_inst *inst, json_t *names,
		      json_t *into)
{
	const json_t *placed = json_object_get(r->placed, inst->name), *v;
	const struct ynode *n = r->list ? r->list->child : NULL;
	size_t i;

	for (; n; n = n->next)
		json_array_foreach(placed, i, v)
			if (n->type == YNODE_SCALAR && !strcmp(n->text, json_string_value(v)) &&
			    !jlist_has(names, n->text) && add_service(r, n, names, into) < 0)
				return -ENOMEM;
	return 0;
}

int labfile_services(struct lab_reader *r, const struct lab_inst *inst, json_t **ret_names,
		     json_t **ret)
{
	const struct ynode *n = labfile_given(inst->node, "services");
	autojson json_t *names = json_array(), *into = json_object();

	if (!names || !into)
		return -ENOMEM;
	if (n && ydoc_list(r->doc, n, "services"))
		for (const struct ynode *v = n->child; v; v = v->next)
			if (add_service(r, v, names, into) < 0)
				return -ENOMEM;
	if (add_placed(r, inst, names, into) < 0)
		return -ENOMEM;
	if (json_array_size(names) > LAB_MAX_SERVICES)
		ydoc_problem(r->doc, ynode_name(n ? n : inst->node),
			     "expected at most %d services, found %zu", LAB_MAX_SERVICES,
			     json_array_size(names));
	*ret_names = steal_ptr(names);
	*ret = steal_ptr(into);
	return 0;
}

/* ---- those of the whole lab --------------------------------------------------------- */

#define COMPOSED "cloud-"

/* Whether an image's name is one that composed_image() gives */
bool labfile_is_composed(const char *image)
{
	return !strncmp(image, COMPOSED, strlen(COMPOSED)) &&
	       strlen(image) == strlen(COMPOSED) + 8 &&
	       strspn(image + strlen(COMPOSED), "0123456789abcdef") == 8;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The image's name follows from its services, in whatever order the file has them */
static json_t *composed_image(const json_t *set)
{
	const char *names[LAB_MAX_INSTANCES], *name;
	char hex[DIGEST_HEX], text[LAB_MAX_FILE / 8] = "";
	size_t n = 0, used = 0;
	json_t *v;

	json_object_foreach((json_t *)set, name, v)
		if (n < ARRAY_SIZE(names))
			names[n++] = name;
	qsort(names, n, sizeof(*names), by_text);
	for (size_t i = 0; i < n && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s\n", names[i]);
	return json_sprintf(COMPOSED "%.8s", digest_hex(hex, text, strlen(text)));
}

static const struct ynode *services_node(const struct lab_inst *inst)
{
	return labfile_given(inst->node, "services");
}

/* A service is on one machine, unless it says that it may be on many */
static int place(struct lab_reader *r, const struct lab_inst *inst, const char *service,
		 json_t *set)
{
	const char *before = json_string_value(json_object_get(set, service));
	const json_t *s = json_object_get(r->services, service);

	if (before && !json_is_true(json_object_get(s, "many")))
		ydoc_problem(r->doc, services_node(inst),
			     "instance '%s' has service '%s', which instance '%s' has already",
			     inst->name, service, before);
	return before ? 0 : json_object_set_new(set, service, json_string(inst->name));
}

/* Services have names in the lab's DNS, as instances have */
static void check_names(struct lab_reader *r, const json_t *set)
{
	for (size_t i = 0; i < r->ninsts; i++) {
		const struct lab_inst *inst = &r->insts[i];
		const char *on = json_string_value(json_object_get(set, inst->name)), *net;
		char nic[2 * NAME_MAX_LEN + 2];
		json_t *v;

		if (on && strcmp(on, inst->name))
			ydoc_problem(r->doc, ynode_name(inst->node),
				     "instance '%s' is named like a service that instance '%s' "
				     "has: in the lab this name means the service",
				     inst->name, on);
		json_object_foreach(json_object_get(inst->spec, "networks"), net, v) {
			snprintf(nic, sizeof(nic), "%s-%s", inst->name, net);
			if (json_object_get(set, nic))
				ydoc_problem(r->doc, ynode_name(inst->node),
					     "'%s', the name of a nic of instance '%s', is that of "
					     "a service",
					     nic, inst->name);
		}
	}
}

/* Services that wait for each other would be found out only when all guests have booted */
static void check_circle(struct lab_reader *r, const json_t *set)
{
	autojson json_t *names = json_array(), *sorted = NULL;
	struct lab_err err = LAB_ERR_INIT;
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)set, name, v)
		json_array_append_new(names, json_string(name));
	if (!ydoc_problems(r->doc) && catalogue_set(r->paths, names, &sorted, &err) < 0)
		ydoc_problem(r->doc, NULL, "%s", err.text);
}

json_t *labfile_composed(const json_t *spec, const char *image)
{
	autojson json_t *set = json_object(), *own = NULL;
	json_t *in, *names, *v;
	const char *name;
	size_t i;

	json_object_foreach(json_object_get(spec, "instances"), name, in)
		json_array_foreach(json_object_get(in, "services"), i, v)
			json_object_set_new(set, json_string_value(v), json_true());
	own = composed_image(set);
	/* another lab's image, whose services this one does not know */
	if (!own || strcmp(json_string_value(own), image) != 0)
		return NULL;
	names = json_array();
	json_object_foreach(set, name, v)
		json_array_append_new(names, json_string(name));
	return names;
}

int labfile_placed(struct lab_reader *r)
{
	autojson json_t *set = json_object(), *image = NULL;
	json_t *v;
	size_t k;

	for (size_t i = 0; i < r->ninsts; i++)
		json_array_foreach(json_object_get(r->insts[i].spec, "services"), k, v)
			if (place(r, &r->insts[i], json_string_value(v), set) < 0)
				return -ENOMEM;
	if (!json_object_size(set))
		return 0;
	check_names(r, set);
	check_circle(r, set);
	image = composed_image(set);
	for (size_t i = 0; i < r->ninsts; i++) {
		json_t *spec = r->insts[i].spec;
		const char *own = json_string_value(json_object_get(spec, "image"));

		if (json_array_size(json_object_get(spec, "services")) &&
		    (!*own || labfile_is_composed(own)) &&
		    json_object_set(spec, "image", image) < 0)
			return -ENOMEM;
	}
	return 0;
}
