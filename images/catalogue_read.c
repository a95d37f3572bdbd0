// SPDX-License-Identifier: GPL-2.0-or-later
/* catalogue_read.c - the keys of service.yaml; what they mean is in service.yaml(5) */
#define _GNU_SOURCE
#include "images/catalogue.h"

#include "lib/names.h"
#include "lib/util.h"

#include <string.h>

#define MAX_MEMORY (64ULL << 30)
#define MAX_DISK (1ULL << 40)
#define MAX_VCPUS 64
#define MAX_UNITS 32

static void set(json_t *o, const char *key, json_t *value)
{
	/* out of memory shows at the end: the key is missing */
	(void)json_object_set_new(o, key, value);
}

static void read_names(struct ydoc *doc, const struct ynode *n, const char *key, const char *what,
		       json_t *service)
{
	json_t *list = json_array();
	const char *name;

	set(service, key, list);
	if (ynode_null(n) || !ydoc_list(doc, n, what))
		return;
	for (const struct ynode *v = n->child; v; v = v->next)
		if (ydoc_name(doc, v, what, &name))
			json_array_append_new(list, json_string(name));
}

/* Packages, units: words that a command takes, never an option */
static void read_words(struct ydoc *doc, const struct ynode *n, const char *key, const char *what,
		       json_t *service)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		"+.-:=~@_";
	json_t *list = json_array();
	char show[YNODE_SHOW];

	set(service, key, list);
	if (ynode_null(n) || !ydoc_list(doc, n, what))
		return;
	if (!strcmp(key, "units") && n->count > MAX_UNITS)
		ydoc_problem(doc, n, "expected at most %d units", MAX_UNITS);
	for (const struct ynode *v = n->child; v; v = v->next) {
		if (v->type == YNODE_SCALAR && *v->text && *v->text != '-' &&
		    !v->text[strspn(v->text, allowed)])
			json_array_append_new(list, json_string(v->text));
		else
			ydoc_problem(doc, v, "expected the name of a %s, found %s", what,
				     ynode_show(show, v));
	}
}

static void read_size(struct ydoc *doc, const struct ynode *n, const char *key, uint64_t max,
		      json_t *service)
{
	uint64_t size = 0;

	if (!ynode_null(n))
		ydoc_size(doc, n, 1 << 20, max, 1 << 20, &size);
	set(service, key, json_integer((json_int_t)size));
}

static void read_text(struct ydoc *doc, const struct ynode *n, const char *key, const char *what,
		      json_t *service)
{
	const char *text = "";

	if (!ynode_null(n))
		ydoc_text(doc, n, what, &text);
	set(service, key, json_string(text));
}

static void read_vcpus(struct ydoc *doc, const struct ynode *n, json_t *service)
{
	uint64_t vcpus = 1;

	if (!ynode_null(n))
		ydoc_u64(doc, n, 1, MAX_VCPUS, &vcpus);
	set(service, "vcpus", json_integer((json_int_t)vcpus));
}

static void read_many(struct ydoc *doc, const struct ynode *n, json_t *service)
{
	bool many = false;

	if (!ynode_null(n))
		ydoc_bool(doc, n, &many);
	set(service, "many", json_boolean(many));
}

/* Names, as tar in a guest takes a number for a name that it does not know */
static bool is_owner(const char *text)
{
	size_t user = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return user && user < 32 && text[user] == ':' && text[0] > '9' && text[user + 1] > '9' &&
	       strspn(text + user + 1, "abcdefghijklmnopqrstuvwxyz0123456789_-") ==
		       strlen(text + user + 1);
}

/* {owner: USER:GROUP, mode: 0640} */
static void read_file(struct ydoc *doc, const struct ynode *n, json_t *files)
{
	static const char *const known[] = { "owner", "mode", NULL };
	const struct ynode *owner = ynode_get(n, "owner"), *mode = ynode_get(n, "mode");
	json_t *file = json_object();
	const char *text;

	set(files, n->key->text, file);
	if (*n->key->text != '/')
		ydoc_problem(doc, n->key, "expected the absolute path of a file");
	if (!ydoc_map(doc, n, known))
		return;
	if (!ynode_null(owner) && ydoc_text(doc, owner, "USER:GROUP", &text)) {
		set(file, "owner", json_string(text));
		if (!is_owner(text))
			ydoc_problem(doc, owner,
				     "expected the names of a user and a group, USER:GROUP");
	}
	if (ynode_null(mode) || !ydoc_text(doc, mode, "permissions in octal", &text))
		return;
	set(file, "mode", json_integer((json_int_t)strtoul(text, NULL, 8)));
	if (strlen(text) > 4 || text[strspn(text, "01234567")])
		ydoc_problem(doc, mode, "expected permissions in octal such as 0640");
}

static void read_files(struct ydoc *doc, const struct ynode *n, json_t *service)
{
	json_t *files = json_object();

	set(service, "files", files);
	if (ynode_null(n) || !ydoc_map(doc, n, NULL))
		return;
	for (const struct ynode *v = n->child; v; v = v->next)
		read_file(doc, v, files);
}

/* Free data: scalars are text, but for true and false */
static json_t *free_data(const struct ynode *n)
{
	json_t *o;

	if (ynode_null(n))
		return json_null();
	if (n->type == YNODE_SCALAR && !n->quoted && !strcmp(n->text, "true"))
		return json_true();
	if (n->type == YNODE_SCALAR && !n->quoted && !strcmp(n->text, "false"))
		return json_false();
	if (n->type == YNODE_SCALAR)
		return json_string(n->text);
	o = n->type == YNODE_LIST ? json_array() : json_object();
	for (const struct ynode *v = n->child; v; v = v->next) {
		if (n->type == YNODE_LIST)
			json_array_append_new(o, free_data(v));
		else
			set(o, v->key->text, free_data(v));
	}
	return o;
}

static void read_provides(struct ydoc *doc, const struct ynode *n, json_t *service)
{
	bool given = !ynode_null(n) && ydoc_map(doc, n, NULL);

	set(service, "provides", given ? free_data(n) : json_object());
}

int catalogue_read(struct ydoc *doc, const char *name, json_t **ret)
{
	static const char *const known[] = { "description", "needs",  "packages", "memory",
					     "disk",	    "vcpus",  "apart",	  "many",
					     "units",	    "files",  "log",	  "provides",
					     "ready",	    "repair", "forward",  NULL };
	const struct ynode *root = ydoc_root(doc);
	autojson json_t *service = json_object();

	ydoc_map(doc, root, known);
	set(service, "name", json_string(name));
	read_text(doc, ynode_get(root, "description"), "description", "a line of text", service);
	read_names(doc, ynode_get(root, "needs"), "needs", "a service's name", service);
	read_words(doc, ynode_get(root, "packages"), "packages", "package", service);
	read_size(doc, ynode_get(root, "memory"), "memory", MAX_MEMORY, service);
	read_size(doc, ynode_get(root, "disk"), "disk", MAX_DISK, service);
	read_vcpus(doc, ynode_get(root, "vcpus"), service);
	read_names(doc, ynode_get(root, "apart"), "apart", "a service's name", service);
	read_many(doc, ynode_get(root, "many"), service);
	read_words(doc, ynode_get(root, "units"), "units", "unit", service);
	read_files(doc, ynode_get(root, "files"), service);
	read_text(doc, ynode_get(root, "log"), "log", "the path of a log", service);
	read_provides(doc, ynode_get(root, "provides"), service);
	if (json_object_size(service) != 13)
		return -ENOMEM;
	*ret = steal_ptr(service);
	return 0;
}
