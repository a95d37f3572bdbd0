// SPDX-License-Identifier: GPL-2.0-or-later
/* labfile_needs.c - what an instance waits for: named, from services, no cycle */
#define _GNU_SOURCE
#include "labd/labfile_impl.h"
#include "lib/util.h"

#include <stdio.h>
#include <string.h>

/* Where instance @i says that it needs @name: in `needs`, or by its services */
static const struct ynode *needs_node(const struct lab_inst *inst, const char *name)
{
	const struct ynode *n = labfile_given(inst->node, "needs");

	if (!n)
		return labfile_given(inst->node, "services");
	for (const struct ynode *v = n->child; v; v = v->next)
		if (v->type == YNODE_SCALAR && !strcmp(v->text, name))
			return v;
	return n;
}

static bool has_text(const json_t *list, const char *text)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
		if (!strcmp(json_string_value(v), text))
			return true;
	return false;
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
	} else if (has_text(needs, n->text)) {
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

/* A service that the instance's services need: all other instances with it */
static int service_need(struct lab_reader *r, const struct lab_inst *inst, const char *service,
			json_t *needs)
{
	bool found = false;

	for (size_t i = 0; i < r->ninsts; i++) {
		const struct lab_inst *other = &r->insts[i];

		if (!has_text(json_object_get(other->spec, "services"), service))
			continue;
		found = true;
		if (other != inst && !has_text(needs, other->name) &&
		    json_array_append_new(needs, json_string(other->name)) < 0)
			return -ENOMEM;
	}
	if (!found)
		ydoc_problem(r->doc, labfile_given(inst->node, "services"),
			     "instance '%s' needs service '%s', which no instance of this lab "
			     "carries",
			     inst->name, service);
	return 0;
}

static int resolve(struct lab_reader *r, const struct lab_inst *inst)
{
	json_t *needs = json_object_get(inst->spec, "needs"), *v;
	const struct ynode *n = labfile_given(inst->node, "needs");
	size_t i;

	if (!n) {
		json_array_foreach(inst->wants, i, v)
			if (service_need(r, inst, json_string_value(v), needs) < 0)
				return -ENOMEM;
		return 0;
	}
	if (!ydoc_list(r->doc, n, "instances"))
		return 0;
	for (const struct ynode *item = n->child; item; item = item->next)
		if (named_need(r, inst, item, needs) < 0)
			return -ENOMEM;
	return 0;
}

/* The search for cycles: where it stands (@path), and what it has seen */
struct search {
	struct lab_reader *r;
	enum { NEW, OPEN, DONE } state[LAB_MAX_INSTANCES];
	size_t path[LAB_MAX_INSTANCES];
	size_t depth;
};

/* Problem: the way from @path[@from] leads back there */
static void report_cycle(const struct search *s, size_t from)
{
	const struct lab_inst *first = &s->r->insts[s->path[from]];
	char text[1024] = "";
	size_t used = 0, i;

	for (i = from; i < s->depth && used + 64 < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s -> ",
					 s->r->insts[s->path[i]].name);
	ydoc_problem(s->r->doc, needs_node(&s->r->insts[s->path[s->depth - 1]], first->name),
		     "needs form a cycle: %s%s%s", text, i < s->depth ? "... -> " : "",
		     first->name);
}

static void visit(struct search *s, size_t i)
{
	const json_t *needs = json_object_get(s->r->insts[i].spec, "needs");
	size_t k;
	json_t *v;

	s->state[i] = OPEN;
	s->path[s->depth++] = i;
	json_array_foreach(needs, k, v) {
		size_t next = (size_t)json_integer_value(
			json_object_get(s->r->index, json_string_value(v)));

		if (s->state[next] == NEW) {
			visit(s, next); /* at most LAB_MAX_INSTANCES deep */
		} else if (s->state[next] == OPEN) {
			size_t from = 0;

			while (s->path[from] != next)
				from++;
			report_cycle(s, from);
		}
	}
	s->depth--;
	s->state[i] = DONE;
}

int labfile_needs(struct lab_reader *r)
{
	struct search s = { .r = r };

	for (size_t i = 0; i < r->ninsts; i++)
		if (resolve(r, &r->insts[i]) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < r->ninsts; i++)
		if (s.state[i] == NEW)
			visit(&s, i);
	return 0;
}
