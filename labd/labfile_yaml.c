// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * labfile_yaml.c - write a specification as a person would
 *
 * The outer maps in block style, what fits a line in flow style, sizes with their
 * unit, and the short form of a value wherever it reads back as the same.
 */
#define _GNU_SOURCE
#include "labd/labfile.h"

#include "lib/num.h"
#include "lib/util.h"

#include <errno.h>
#include <string.h>
#include <yaml.h>

/**
 * struct writer - a document under way
 * @doc:	the document; nodes are numbers in it, 0 is a failed one
 * @failed:	memory ran out; further calls do nothing
 */
struct writer {
	yaml_document_t doc;
	bool failed;
};

static int node(struct writer *w, int id)
{
	w->failed |= !id;
	return id;
}

static int block(struct writer *w)
{
	return node(w, yaml_document_add_mapping(&w->doc, NULL, YAML_BLOCK_MAPPING_STYLE));
}

static int flow(struct writer *w)
{
	return node(w, yaml_document_add_mapping(&w->doc, NULL, YAML_FLOW_MAPPING_STYLE));
}

static int list(struct writer *w)
{
	return node(w, yaml_document_add_sequence(&w->doc, NULL, YAML_FLOW_SEQUENCE_STYLE));
}

static int plain(struct writer *w, const char *text)
{
	return node(w, yaml_document_add_scalar(&w->doc, NULL, (const yaml_char_t *)text,
						(int)strlen(text), YAML_ANY_SCALAR_STYLE));
}

/* Whether some reader of YAML would take a text for something else */
static bool ambiguous(const char *text)
{
	static const char *const words[] = { "",   "~",	  "null", "true", "false", "yes", "no",
					     "on", "off", "y",	  "n",	  "=",	   "<<" };
	char *end;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcasecmp(text, words[i]))
			return true;
	(void)strtod(text, &end);
	return !*end;
}

static int string(struct writer *w, const char *text)
{
	yaml_scalar_style_t style = strchr(text, '\n') || strchr(text, '\t')
					    ? YAML_DOUBLE_QUOTED_SCALAR_STYLE
				    : ambiguous(text) ? YAML_SINGLE_QUOTED_SCALAR_STYLE
						      : YAML_ANY_SCALAR_STYLE;

	return node(w, yaml_document_add_scalar(&w->doc, NULL, (const yaml_char_t *)text,
						(int)strlen(text), style));
}

static int number(struct writer *w, const json_t *v)
{
	char text[NUM_TEXT];

	snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
	return plain(w, text);
}

/* The largest unit that the size is a multiple of */
static int size(struct writer *w, const json_t *v)
{
	static const char units[] = "\0KMGT";
	long long n = json_integer_value(v);
	char text[NUM_TEXT];
	size_t u = 0;

	for (; n && n % 1024 == 0 && u < 4; u++)
		n /= 1024;
	snprintf(text, sizeof(text), "%lld%.1s", n, units + u);
	return plain(w, text);
}

static void put(struct writer *w, int map, const char *key, int value)
{
	int name = string(w, key);

	if (!w->failed)
		w->failed = !yaml_document_append_mapping_pair(&w->doc, map, name, value);
}

static void add(struct writer *w, int seq, int value)
{
	if (!w->failed)
		w->failed = !yaml_document_append_sequence_item(&w->doc, seq, value);
}

/* A value as it is */
static int value(struct writer *w, const json_t *v)
{
	const json_t *item;
	const char *key;
	size_t i;
	int id;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		id = flow(w);
		json_object_foreach((json_t *)v, key, item) {
			put(w, id, key, value(w, item));
		}
		return id;
	case JSON_ARRAY:
		id = list(w);
		json_array_foreach(v, i, item) {
			add(w, id, value(w, item));
		}
		return id;
	case JSON_STRING:
		return string(w, json_string_value(v));
	case JSON_INTEGER:
		return number(w, v);
	case JSON_TRUE:
	case JSON_FALSE:
		return plain(w, json_is_true(v) ? "true" : "false");
	case JSON_REAL:
	case JSON_NULL:
		break;
	}
	return plain(w, "null"); /* no specification has these */
}

static int disks(struct writer *w, const json_t *spec)
{
	int id = flow(w);
	const char *name;
	const json_t *disk;

	json_object_foreach((json_t *)spec, name, disk) {
		put(w, id, name, size(w, json_object_get(disk, "size")));
	}
	return id;
}

static int nics(struct writer *w, const json_t *spec)
{
	int id = flow(w);
	const char *name;
	const json_t *nic;

	json_object_foreach((json_t *)spec, name, nic) {
		const char *mac = json_string_value(json_object_get(nic, "mac"));
		int one = flow(w);

		put(w, one, "addr", value(w, json_object_get(nic, "addr")));
		if (mac && *mac)
			put(w, one, "mac", string(w, mac));
		put(w, id, name, one);
	}
	return id;
}

static int ready(struct writer *w, const json_t *spec)
{
	return json_array_size(spec) ? value(w, spec) : plain(w, "none");
}

/* Whether {host: guest} says all of these forwards */
static bool short_forwards(const json_t *spec)
{
	autojson json_t *seen = json_object();
	const json_t *f;
	char key[NUM_TEXT];
	size_t i;

	json_array_foreach(spec, i, f) {
		const char *addr = json_string_value(json_object_get(f, "bind"));

		snprintf(key, sizeof(key), "%lld",
			 (long long)json_integer_value(json_object_get(f, "host")));
		if (!addr || strcmp(addr, "127.0.0.1") || json_object_get(seen, key))
			return false;
		json_object_set_new(seen, key, json_true());
	}
	return true;
}

static int forwards(struct writer *w, const json_t *spec)
{
	const json_t *f;
	size_t i;
	int id;

	if (!short_forwards(spec))
		return value(w, spec);
	id = flow(w);
	json_array_foreach(spec, i, f) {
		int host = number(w, json_object_get(f, "host"));
		int guest = number(w, json_object_get(f, "guest"));

		if (!w->failed)
			w->failed = !yaml_document_append_mapping_pair(&w->doc, id, host, guest);
	}
	return id;
}

static int instance(struct writer *w, const json_t *spec)
{
	int id = block(w);
	const char *key;
	const json_t *v;

	json_object_foreach((json_t *)spec, key, v) {
		bool bytes = !strcmp(key, "memory") || !strcmp(key, "root");

		if (bytes && json_integer_value(v))
			put(w, id, key, size(w, v));
		else if (bytes)
			continue; /* a root of 0 is: as the image has it */
		else if (!strcmp(key, "disks"))
			put(w, id, key, disks(w, v));
		else if (!strcmp(key, "networks"))
			put(w, id, key, nics(w, v));
		else if (!strcmp(key, "ready"))
			put(w, id, key, ready(w, v));
		else if (!strcmp(key, "forward"))
			put(w, id, key, forwards(w, v));
		else
			put(w, id, key, value(w, v));
	}
	return id;
}

/* A map of instances or networks, one a block or a line; "{}" if empty */
static int objects(struct writer *w, const json_t *specs,
		   int (*one)(struct writer *w, const json_t *spec))
{
	int id = json_object_size(specs) ? block(w) : flow(w);
	const char *name;
	const json_t *v;

	json_object_foreach((json_t *)specs, name, v) {
		put(w, id, name, one(w, v));
	}
	return id;
}

static void lab(struct writer *w, const json_t *spec)
{
	int id = block(w); /* the first node is the root */
	const char *key;
	const json_t *v;

	json_object_foreach((json_t *)spec, key, v) {
		if (!strcmp(key, "instances"))
			put(w, id, key, objects(w, v, instance));
		else if (!strcmp(key, "networks"))
			put(w, id, key, objects(w, v, value));
		else
			put(w, id, key, value(w, v));
	}
}

/* Emit the document, which is consumed */
static int emit(yaml_document_t *doc, char **ret)
{
	yaml_emitter_t e;
	char *text = NULL;
	size_t len = 0;
	FILE *f;
	int ok;

	if (!yaml_emitter_initialize(&e)) {
		yaml_document_delete(doc);
		return -ENOMEM;
	}
	f = open_memstream(&text, &len);
	if (!f) {
		yaml_document_delete(doc);
		yaml_emitter_delete(&e);
		return -ENOMEM;
	}
	yaml_emitter_set_output_file(&e, f);
	yaml_emitter_set_unicode(&e, 1);
	yaml_emitter_set_width(&e, -1);
	ok = yaml_emitter_open(&e) && yaml_emitter_dump(&e, doc) && yaml_emitter_close(&e);
	yaml_emitter_delete(&e);
	if (fclose(f) || !ok) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}

int labfile_yaml(const json_t *spec, char **ret, struct lab_err *err)
{
	struct writer w = { .failed = false };
	int r = -ENOMEM;

	if (yaml_document_initialize(&w.doc, NULL, NULL, NULL, 1, 1)) {
		lab(&w, spec);
		if (w.failed)
			yaml_document_delete(&w.doc);
		else
			r = emit(&w.doc, ret);
	}
	return r < 0 ? lab_fail(err, r, "writing the lab file: out of memory") : 0;
}
