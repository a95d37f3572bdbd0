// SPDX-License-Identifier: GPL-2.0-or-later
/* labfile_needs.c - what an instance waits for: named, no cycle; and that its services can run */
#define _GNU_SOURCE
#include "labd/labfile_impl.h"
#include "lib/jobj.h"
#include "lib/util.h"

#include <stdio.h>
#include <string.h>

/* Where an instance says that it needs @name */
static const struct ynode *needs_node(const struct lab_inst *inst, const char *name)
{
	const struct ynode *n = labfile_given(inst->node, "needs");

	for (const struct ynode *v = n->child; v; v = v->next)
		if (v->type == YNODE_SCALAR && !strcmp(v->text, name))
			return v;
	return n;
}

/* An element of `needs`: another instance's name, once */
static int named_need(struct lab_reader *r, const struct lab_inst *inst, const struct ynode *n,
		      json_t *needs)
{
	const char *known[LAB_MAX_INSTANCES + 1] = { NULL };
	char show[YNODE_SHOW];

	if (n->type != YNODE_SCALAR) {
		ydoc_problem(r->doc, n, "expected an instance's name, found %s",
			     ynode_show(show, n));
	} else if (!strcmp(n->text, inst->name)) {
		ydoc_problem(r->doc, n, "instance '%s' cannot need itself", inst->name);
	} else if (jlist_has(needs, n->text)) {
		ydoc_problem(r->doc, n, "%s is given twice", ynode_show(show, n));
	} else if (json_object_get(r->index, n->text)) {
		return json_array_append_new(needs, json_string(n->text)) < 0 ? -ENOMEM : 0;
	} else {
		for (size_t i = 0, k = 0; i < r->ninsts; i++)
			if (&r->insts[i] != inst)
				known[k++] = r->insts[i].name;
		ydoc_unknown(r->doc, n, "instance", known);
	}
	return 0;
}

/* A service that the instance's services need must be there, anywhere */
static void check_service(struct lab_reader *r, const struct lab_inst *inst, const char *service)
{
	for (size_t i = 0; i < r->ninsts; i++)
		if (jlist_has(json_object_get(r->insts[i].spec, "services"), service))
			return;
	ydoc_problem(r->doc, labfile_given(inst->node, "services"),
		     "instance '%s' needs service '%s', which no instance of this lab carries",
		     inst->name, service);
}

static int resolve(struct lab_reader *r, const struct lab_inst *inst)
{
	json_t *needs = json_object_get(inst->spec, "needs"), *v;
	const struct ynode *n = labfile_given(inst->node, "needs");
	size_t i;

	json_array_foreach(inst->wants, i, v)
		check_service(r, inst, json_string_value(v));
	if (!n || !ydoc_list(r->doc, n, "instances"))
		return 0;
	for (const struct ynode *item = n->child; item; item = item->next)
		if (named_need(r, inst, item, needs) < 0)
			return -ENOMEM;
	return 0;
}

/*
 * A circle of needs of instances, or of services and instances: a service waits for another
 * one, wherever that is, and to start it its instance must run; an instance with needs runs
 * when all of those, with their services, are ready. A circle of services alone on different
 * instances is none: each service is waited for by itself.
 *
 * @path: the way from the need that is looked at
 */
struct search {
	struct lab_reader *r;
	bool seen[LAB_MAX_INSTANCES], told[LAB_MAX_INSTANCES];
	size_t path[LAB_MAX_INSTANCES];
	size_t depth;
};

static bool waits_for(const struct lab_inst *inst, const struct lab_inst *other)
{
	const json_t *services = json_object_get(other->spec, "services"), *v;
	size_t i;

	if (jlist_has(json_object_get(inst->spec, "needs"), other->name))
		return true;
	json_array_foreach(inst->wants, i, v)
		if (inst != other && jlist_has(services, json_string_value(v)))
			return true;
	return false;
}

/* Whether @from waits for @to: then @path is the way, with both; at most LAB_MAX_INSTANCES deep */
static bool reaches(struct search *s, size_t from, size_t to)
{
	s->seen[from] = true;
	s->path[s->depth++] = from;
	if (from == to)
		return true;
	for (size_t i = 0; i < s->r->ninsts; i++)
		if (!s->seen[i] && waits_for(&s->r->insts[from], &s->r->insts[i]) &&
		    reaches(s, i, to))
			return true;
	s->depth--;
	return false;
}

/* Problem: @i needs the first of @path, which leads back to @i */
static void report_circle(struct search *s, size_t i)
{
	const struct lab_inst *inst = &s->r->insts[i];
	char text[1024];
	size_t used = (size_t)snprintf(text, sizeof(text), "%s", inst->name), k;

	for (k = 0; k < s->depth && used + 64 < sizeof(text); k++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, " -> %s",
					 s->r->insts[s->path[k]].name);
	for (size_t n = 0; n < s->depth; n++)
		s->told[s->path[n]] = true;
	ydoc_problem(s->r->doc, needs_node(inst, s->r->insts[s->path[0]].name),
		     "needs form a cycle: %s%s", text, k < s->depth ? " -> ..." : "");
}

static void check_need(struct search *s, size_t i, const char *name)
{
	size_t to = (size_t)json_integer_value(json_object_get(s->r->index, name));

	if (s->told[i] && s->told[to])
		return;
	memset(s->seen, 0, sizeof(s->seen));
	s->depth = 0;
	if (reaches(s, to, i))
		report_circle(s, i);
}

int labfile_needs(struct lab_reader *r)
{
	struct search s = { .r = r };
	json_t *v;
	size_t k;

	for (size_t i = 0; i < r->ninsts; i++)
		if (resolve(r, &r->insts[i]) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < r->ninsts; i++)
		json_array_foreach(json_object_get(r->insts[i].spec, "needs"), k, v)
			check_need(&s, i, json_string_value(v));
	return 0;
}
