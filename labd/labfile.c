// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * labfile.c - lab files: from YAML to a filled-in specification
 *
 * DOC: Theory of Operation
 *
 * The text becomes a tree with positions (lib/yaml.h), the tree becomes the
 * specification in one pass over networks and instances, each filled in with
 * its defaults; then what needs all of them: addresses, needs, cycles. Every
 * part adds what is wrong as a problem and goes on with a value that cannot make
 * a second problem of the first one. Only if no problem was found is there a
 * specification.
 *
 * A specification is read by the same code, so it must mean the same: keys
 * of the file win over defaults of services, and everything that a default
 * or another file could change is written out in it.
 */
#define _GNU_SOURCE
#include "labd/labfile.h"

#include "labd/labfile_impl.h"
#include "lib/digest.h"
#include "lib/util.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/*
 * A specification, which begins with a brace, is longer than the file that a
 * person wrote for it, so it may be.
 */
#define MAX_SPEC (4 * LAB_MAX_FILE)

const struct ynode *labfile_given(const struct ynode *map, const char *key)
{
	const struct ynode *n = ynode_get(map, key);

	return ynode_null(n) ? NULL : n;
}

static struct lab_reader *reader_free(struct lab_reader *r)
{
	for (size_t i = 0; i < r->nnets; i++) {
		json_decref(r->nets[i].addrs);
		json_decref(r->nets[i].macs);
	}
	for (size_t i = 0; i < r->ninsts; i++)
		json_decref(r->insts[i].wants);
	json_decref(r->spec);
	json_decref(r->services);
	json_decref(r->placed);
	json_decref(r->ports);
	json_decref(r->index);
	ydoc_free(r->doc);
	free(r);
	return NULL;
}

static void cleanup_reader(struct lab_reader **r)
{
	if (*r)
		reader_free(*r);
}

static int read_lab(struct lab_reader *r, const struct ynode *root)
{
	const struct ynode *lab = labfile_given(root, "lab");
	const struct ynode *words = labfile_given(root, "description");
	const struct ynode *as = labfile_given(root, "identity");
	const char *name = "lab", *text = NULL, *identity = NULL;

	if (!lab)
		ydoc_problem(r->doc, root, "expected the key lab: the lab's name");
	else
		ydoc_name(r->doc, lab, "a lab's name", &name);
	if (words)
		ydoc_text(r->doc, words, "a text", &text);
	if (as)
		ydoc_name(r->doc, as, "a lab's name", &identity);
	if (json_object_set_new(r->spec, "lab", json_string(name)) < 0 ||
	    (text && json_object_set_new(r->spec, "description", json_string(text)) < 0) ||
	    (identity && json_object_set_new(r->spec, "identity", json_string(identity)) < 0))
		return -ENOMEM;
	return 0;
}

#define MIN_KEY 8
#define MAX_KEY 128

/* Secrets of its services are made from it (service.h), so it stays what it was */
static int read_key(struct lab_reader *r, const struct ynode *n)
{
	const char *key = json_string_value(json_object_get(r->previous, "key"));
	unsigned char random[16];
	char hex[DIGEST_HEX];

	if (n)
		ydoc_text(r->doc, n, "a text from which secrets are made", &key);
	if (n && key && (strlen(key) < MIN_KEY || strlen(key) > MAX_KEY))
		ydoc_problem(r->doc, n, "expected a text of %d to %d characters", MIN_KEY, MAX_KEY);
	if (!key && getrandom(random, sizeof(random), 0) == sizeof(random)) {
		digest_hex(hex, random, sizeof(random));
		hex[32] = '\0';
		key = hex;
	}
	return json_object_set_new(r->spec, "key", json_string(key)) < 0 ? -ENOMEM : 0;
}

static bool has_services(const struct lab_reader *r)
{
	for (size_t i = 0; i < r->ninsts; i++)
		if (json_array_size(json_object_get(r->insts[i].spec, "services")))
			return true;
	return false;
}

static int read_root(struct lab_reader *r, const struct ynode *root)
{
	static const char *const known[] = { "lab",	 "description", "identity",  "key",
					     "networks", "services",	"instances", NULL };

	if (!ydoc_map(r->doc, root, known)) {
		if (ynode_null(root))
			ydoc_problem(r->doc, root, "the file is empty");
		return 0;
	}
	r->list = labfile_given(root, "services");
	if (read_lab(r, root) < 0 ||
	    labfile_place(r, r->list, labfile_given(root, "instances")) < 0 ||
	    labfile_networks(r, labfile_given(root, "networks")) < 0 ||
	    labfile_instances(r, labfile_given(root, "instances")) < 0 || labfile_placed(r) < 0 ||
	    labfile_addresses(r) < 0)
		return -ENOMEM;
	if (has_services(r) && read_key(r, labfile_given(root, "key")) < 0)
		return -ENOMEM;
	return labfile_needs(r);
}

int labfile_read(const char *text, size_t len, const char *file, const struct paths *paths,
		 const json_t *previous, json_t **ret, json_t **ret_problems, struct lab_err *err)
{
	__attribute__((cleanup(cleanup_reader))) struct lab_reader *r = calloc(1, sizeof(*r));
	int res;

	if (!r)
		return lab_fail(err, -ENOMEM, "%s: out of memory", file);
	r->paths = paths;
	r->previous = previous;
	r->spec = json_object();
	r->services = json_object();
	r->placed = json_object();
	r->ports = json_object();
	r->index = json_object();
	if (!r->spec || !r->services || !r->placed || !r->ports || !r->index ||
	    ydoc_load(text, len, len && *text == '{' ? MAX_SPEC : LAB_MAX_FILE, &r->doc) < 0 ||
	    (ydoc_root(r->doc) && read_root(r, ydoc_root(r->doc)) < 0))
		return lab_fail(err, -ENOMEM, "%s: out of memory", file);
	res = ydoc_finish(r->doc, file, ret_problems, err);
	if (res < 0)
		return res;
	*ret = steal_ptr(r->spec);
	return 0;
}
