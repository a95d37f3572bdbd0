// SPDX-License-Identifier: GPL-2.0-or-later
/* labfile_probe.c - `repair` and `forward`: what is run in an instance, how it is reached */
#define _GNU_SOURCE
#include "labd/labfile_impl.h"
#include "lib/util.h"

#include <string.h>

json_t *labfile_repair(struct ydoc *doc, const struct ynode *n)
{
	autojson json_t *commands = json_array();

	if (n->type != YNODE_LIST) {
		ydoc_problem(doc, n, "expected a list of commands, each a list of words");
		return steal_ptr(commands);
	}
	for (const struct ynode *v = n->child; v; v = v->next)
		if (json_array_append_new(commands, probe_words(doc, v)) < 0)
			return NULL;
	if (json_array_size(commands) > LAB_MAX_PROBES)
		ydoc_problem(doc, n, "at most %d commands are possible", LAB_MAX_PROBES);
	return steal_ptr(commands);
}

static json_t *forward_json(uint64_t host, const char *bind_addr, uint64_t guest)
{
	return json_pack("{s:I, s:s, s:I}", "host", (json_int_t)host, "bind", bind_addr, "guest",
			 (json_int_t)guest);
}

static json_t *read_forward(struct ydoc *doc, const struct ynode *n)
{
	static const char *const known[] = { "host", "bind", "guest", NULL };
	const struct ynode *host_node = labfile_given(n, "host");
	const struct ynode *guest_node = labfile_given(n, "guest");
	const struct ynode *bind_node = labfile_given(n, "bind");
	uint64_t host = 0, guest = 0;
	char text[LABFILE_ADDR];
	uint32_t addr = INADDR_LOOPBACK;
	size_t before = ydoc_problems(doc);

	if (ydoc_map(doc, n, known) && (!host_node || !guest_node) &&
	    ydoc_problems(doc) == before) /* not a misspelt one */
		ydoc_problem(doc, n, "expected the keys host and guest");
	if (host_node)
		probe_port(doc, host_node, &host);
	if (guest_node)
		probe_port(doc, guest_node, &guest);
	if (bind_node)
		labfile_addr(doc, bind_node, &addr);
	return forward_json(host, labfile_addr_text(text, addr), guest);
}

json_t *labfile_forward(struct ydoc *doc, const struct ynode *n)
{
	autojson json_t *list = json_array();
	char show[YNODE_SHOW];

	if (n->type == YNODE_SCALAR) {
		ydoc_problem(doc, n, "expected ports such as {8080: 80}, found %s",
			     ynode_show(show, n));
		return steal_ptr(list);
	}
	if (n->count > LAB_MAX_FORWARDS) {
		ydoc_problem(doc, ynode_name(n), "expected at most %d forwards, found %zu",
			     LAB_MAX_FORWARDS, n->count);
		return steal_ptr(list);
	}
	for (const struct ynode *v = n->child; v; v = v->next) {
		uint64_t host = 0, guest = 0;
		json_t *forward;

		if (n->type == YNODE_LIST) {
			forward = read_forward(doc, v);
		} else {
			probe_port(doc, v->key, &host);
			probe_port(doc, v, &guest);
			forward = forward_json(host, "127.0.0.1", guest);
		}
		if (json_array_append_new(list, forward) < 0)
			return NULL;
	}
	return steal_ptr(list);
}
