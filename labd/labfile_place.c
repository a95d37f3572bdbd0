// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * labfile_place.c - services that a lab file does not give to an instance
 *
 * DOC: Theory of Operation
 *
 * `services` of a lab lists what it is to have; instances without an image of their own
 * are the machines. A service stays where it was before, if that still works; the
 * others are placed one after the other, those that need most memory first, each on the
 * machine with most memory left, of those that have enough and carry nothing it must be
 * apart from. A machine whose memory the file does not give is as large as it needs to
 * be. So the same file always gives the same lab, load is spread, and one more service
 * moves no other.
 */
#define _GNU_SOURCE
#include "labd/labfile_impl.h"
#include "lib/jobj.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

/**
 * struct machine - an instance that takes services
 * @memory:	0: as much as it needs
 * @services:	names (borrowed from r->placed)
 */
struct machine {
	const char *name;
	uint64_t memory, used;
	json_t *services;
};

/**
 * struct placing - services while they are placed
 * @todo:	nodes of the lab's list, those that need most memory first
 */
struct placing {
	struct lab_reader *r;
	struct machine machines[LAB_MAX_INSTANCES];
	const struct ynode *todo[LAB_MAX_INSTANCES];
	size_t nmachines, ntodo;
};

static uint64_t memory_of(const json_t *service)
{
	return (uint64_t)json_integer_value(json_object_get(service, "memory"));
}

static int put_on(struct machine *m, const char *name, const json_t *service)
{
	m->used += memory_of(service);
	return json_array_append_new(m->services, json_string(name)) < 0 ? -ENOMEM : 0;
}

/* What the file itself gives to an instance; what is wrong with it is said when it is read */
static int take_given(struct placing *p, struct machine *m, const struct ynode *list)
{
	if (!list || list->type != YNODE_LIST)
		return 0;
	for (const struct ynode *v = list->child; v; v = v->next) {
		const json_t *service = NULL;

		if (v->type == YNODE_SCALAR)
			service = labfile_service(p->r, v);
		if (json_is_object(service) && put_on(m, v->text, service) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_machine(struct placing *p, const struct ynode *n)
{
	const struct ynode *memory = labfile_given(n, "memory");
	struct machine *m = &p->machines[p->nmachines];

	if (labfile_given(n, "image") || p->nmachines == LAB_MAX_INSTANCES)
		return 0;
	*m = (struct machine){ n->key->text, 0, LABFILE_SYSTEM_MEMORY, json_array() };
	if (memory && memory->type == YNODE_SCALAR)
		(void)num_size(memory->text, &m->memory);
	p->nmachines++;
	if (json_object_set_new(p->r->placed, m->name, m->services) < 0)
		return -ENOMEM;
	return take_given(p, m, labfile_given(n, "services"));
}

/* ---- which ---------------------------------------------------------------------------- */

static bool is_apart(struct placing *p, const json_t *service, const char *name,
		     const struct machine *m)
{
	const json_t *v;
	size_t i;

	json_array_foreach(m->services, i, v) {
		const json_t *other = json_object_get(p->r->services, json_string_value(v));

		if (!strcmp(json_string_value(v), name) ||
		    jlist_has(json_object_get(service, "apart"), json_string_value(v)) ||
		    jlist_has(json_object_get(other, "apart"), name))
			return true;
	}
	return false;
}

static uint64_t free_of(const struct machine *m)
{
	/* the one that grows: as if it were very large */
	uint64_t memory = m->memory ? m->memory : LAB_MAX_MEMORY;

	return memory > m->used ? memory - m->used : 0;
}

static bool was_there(const struct placing *p, const struct machine *m, const char *name)
{
	const json_t *in = json_object_get(json_object_get(p->r->previous, "instances"), m->name);

	return jlist_has(json_object_get(in, "services"), name);
}

static struct machine *choose(struct placing *p, const char *name, const json_t *service)
{
	struct machine *best = NULL;

	for (size_t i = 0; i < p->nmachines; i++) {
		struct machine *m = &p->machines[i];

		if (is_apart(p, service, name, m) || free_of(m) < memory_of(service) ||
		    json_array_size(m->services) == LAB_MAX_SERVICES)
			continue;
		if (was_there(p, m, name))
			return m;
		if (!best || free_of(m) > free_of(best))
			best = m;
	}
	return best;
}

/* Problem: it fits on none; says how much each has */
static void fits_nowhere(struct placing *p, const struct ynode *n, const json_t *service)
{
	char text[800] = "", need[NUM_TEXT], has[NUM_TEXT];
	size_t used = 0;

	for (size_t i = 0; i < p->nmachines && used + 128 < sizeof(text); i++) {
		const struct machine *m = &p->machines[i];
		bool apart = is_apart(p, service, n->text, m);

		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s has %s left%s",
					 i ? ", " : "", m->name, num_size_text(has, free_of(m)),
					 apart ? " and a service it must be apart from" : "");
	}
	ydoc_problem(p->r->doc, n, "service '%s' needs %s and fits on no instance: %s", n->text,
		     num_size_text(need, memory_of(service)),
		     used ? text : "there is none without an image of its own");
}

static int place(struct placing *p, const struct ynode *n)
{
	const json_t *service = json_object_get(p->r->services, n->text);
	struct machine *m = choose(p, n->text, service);

	if (m)
		return put_on(m, n->text, service);
	fits_nowhere(p, n, service);
	return 0;
}

/* ---- all ------------------------------------------------------------------------------ */

static bool is_given(const struct placing *p, const char *name)
{
	for (size_t i = 0; i < p->nmachines; i++)
		if (jlist_has(p->machines[i].services, name))
			return true;
	return false;
}

static bool is_listed(const struct placing *p, const char *name)
{
	for (size_t i = 0; i < p->ntodo; i++)
		if (!strcmp(p->todo[i]->text, name))
			return true;
	return false;
}

/* After those that need as much memory or more */
static void insert_todo(struct placing *p, const struct ynode *n, uint64_t memory)
{
	size_t at = p->ntodo;

	while (at && memory_of(json_object_get(p->r->services, p->todo[at - 1]->text)) < memory)
		at--;
	memmove(&p->todo[at + 1], &p->todo[at], (p->ntodo++ - at) * sizeof(*p->todo));
	p->todo[at] = n;
}

/* One more of the lab's list */
static int add_todo(struct placing *p, const struct ynode *n)
{
	const json_t *service;
	const char *name;
	bool many;

	if (!ydoc_name(p->r->doc, n, "a service's name", &name))
		return 0;
	service = labfile_service(p->r, n);
	if (!json_is_object(service))
		return service ? 0 : -ENOMEM;
	many = json_is_true(json_object_get(service, "many"));
	if (!many && is_listed(p, name))
		ydoc_problem(p->r->doc, n, "service '%s' is given twice", name);
	else if (p->ntodo == ARRAY_SIZE(p->todo))
		ydoc_problem(p->r->doc, n, "expected at most %zu services", ARRAY_SIZE(p->todo));
	else if (many || !is_given(p, name))
		insert_todo(p, n, memory_of(service));
	return 0;
}

int labfile_place(struct lab_reader *r, const struct ynode *services, const struct ynode *instances)
{
	autofree struct placing *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->r = r;
	if (!services || !ydoc_list(r->doc, services, "services"))
		return 0;
	if (instances && instances->type == YNODE_MAP)
		for (const struct ynode *v = instances->child; v; v = v->next)
			if (add_machine(p, v) < 0)
				return -ENOMEM;
	for (const struct ynode *v = services->child; v; v = v->next)
		if (add_todo(p, v) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < p->ntodo; i++)
		if (place(p, p->todo[i]) < 0)
			return -ENOMEM;
	return 0;
}
