// SPDX-License-Identifier: GPL-2.0-or-later
/* compose.c - what services of the catalogue add to a recipe */
#define _GNU_SOURCE
#include "images/compose.h"

#include "images/recipe.h"
#include "lib/io.h"
#include "lib/util.h"

#include <string.h>

#define SCRIPTS "/var/lib/lab/build" /* of the services, in the root, while it is built */

/**
 * struct composing - a recipe that gets services
 * @context:	for templates
 * @scripts:	those of @files that are run while it is built
 * @script:	that runs their scripts
 */
struct composing {
	const struct paths *paths;
	json_t *services, *context, *packages, *files, *scripts;
	FILE *script;
	struct lab_err *err;
};

/* As if all ran on this machine */
static json_t *building_context(const json_t *services)
{
	json_t *places = json_object(), *here = json_array(), *context;
	const json_t *s;
	size_t i;

	json_array_foreach(services, i, s) {
		const char *name = recipe_str(s, "name");

		json_object_set_new(places, name,
				    json_pack("{s:s s:s s:s s:s}", "instance", "localhost", "addr",
					      "127.0.0.1", "secret", "build", "bcrypt", ""));
		json_array_append_new(here, json_string(name));
	}
	context = catalogue_context(services, places, here);
	json_decref(places);
	json_decref(here);
	json_object_set_new(json_object_get(context, "secrets"), "admin", json_string("build"));
	json_object_set_new(json_object_get(context, "bcrypt"), "admin", json_string(""));
	json_object_update_new(
		context, json_pack("{s:b s:b s:s s:s s:s s:s s:{} s:{} s:{} s:[]}", "building", 1,
				   "slow", 0, "lab", "build", "domain", "", "instance", "localhost",
				   "addr", "127.0.0.1", "addrs", "cidrs", "nics", "machines"));
	return context;
}

/* One of a service's scripts: into the root, and called */
static int add_script(struct composing *c, const json_t *service, const char *kind)
{
	const char *name = recipe_str(service, "name");
	autofree char *text = NULL;
	json_t *file;
	char path[IO_PATH];
	int r = catalogue_script(c->paths, name, kind, c->context, &text, c->err);

	if (r <= 0)
		return r;
	io_path(path, SCRIPTS "/%s.%s", name, kind);
	file = json_pack("{s:s s:s s:i s:s}", "path", path, "owner", "root:root", "mode", 0700,
			 "content", text);
	json_array_append(c->files, file);
	json_array_append_new(c->scripts, file);
	fprintf(c->script, "/bin/sh -eux %s\n", path);
	return 0;
}

static int add_service(struct composing *c, const json_t *service)
{
	autojson json_t *files = NULL;
	int r = catalogue_files(c->paths, service, c->context, &files, c->err);

	if (r < 0)
		return r;
	json_array_extend(c->packages, json_object_get(service, "packages"));
	json_array_extend(c->files, files);
	return add_script(c, service, "build");
}

static int add_all(struct composing *c)
{
	const json_t *s;
	size_t i;
	int r = 0;

	fprintf(c->script, "echo '127.0.0.1 localhost");
	json_array_foreach(c->services, i, s)
		fprintf(c->script, " %s", recipe_str(s, "name"));
	fprintf(c->script, " # build' >>/etc/hosts\n");
	json_array_foreach(c->services, i, s)
		if (!r)
			r = add_service(c, s);
	for (i = json_array_size(c->services); !r && i-- > 0;)
		r = add_script(c, json_array_get(c->services, i), "build-end");
	fprintf(c->script, "sed -i '/ # build$/d' /etc/hosts\n");
	/* what packages enable: labd starts services, in the order of their needs */
	fprintf(c->script, "systemctl preset-all\nrm -rf %s\n", SCRIPTS);
	return r;
}

/* The disk grows by what they say they need */
static void add_size(const json_t *services, json_t *spec)
{
	json_int_t size = json_integer_value(json_object_get(spec, "size"));
	const json_t *s;
	size_t i;

	json_array_foreach(services, i, s)
		size += json_integer_value(json_object_get(s, "disk"));
	json_object_set_new(spec, "size", json_integer(size));
}

/*
 * What makes another image: not the services' files, which are written anew into each
 * guest, so that a change of a setting is there in seconds
 */
static int set_digest(const struct composing *c, json_t *spec)
{
	autojson json_t *what = json_pack("{s:O s:O s:O s:O}", "packages", c->packages, "scripts",
					  c->scripts, "script", json_object_get(spec, "script"),
					  "size", json_object_get(spec, "size"));
	autofree char *text = json_dumps(what, JSON_COMPACT | JSON_SORT_KEYS);
	char hex[DIGEST_HEX];

	if (!text)
		return lab_fail(c->err, -ENOMEM, "out of memory");
	json_object_set_new(spec, "composed", json_string(digest_hex(hex, text, strlen(text))));
	return 0;
}

static int finish(const struct composing *c, json_t *spec, const char *script)
{
	json_array_extend(c->packages, json_object_get(spec, "packages"));
	json_array_extend(c->files, json_object_get(spec, "files"));
	json_object_set(spec, "packages", c->packages);
	json_object_set(spec, "files", c->files);
	json_object_set_new(spec, "script",
			    json_sprintf("%s%s", script, recipe_str(spec, "script")));
	return set_digest(c, spec);
}

int compose(const struct paths *paths, const json_t *names, json_t *spec, struct lab_err *err)
{
	autojson json_t *services = NULL, *context = NULL, *packages = json_array(),
			*files = json_array(), *scripts = json_array();
	autofree char *script = NULL;
	struct composing c = { paths, NULL, NULL, packages, files, scripts, NULL, err };
	size_t len;
	int r = catalogue_set(paths, names, &services, err);

	if (r < 0)
		return r;
	c.services = services;
	c.context = context = building_context(services);
	c.script = open_memstream(&script, &len);
	if (!c.script || !context)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = add_all(&c);
	fclose(c.script);
	add_size(services, spec);
	return r < 0 ? r : finish(&c, spec, script);
}
