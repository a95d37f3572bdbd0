// SPDX-License-Identifier: GPL-2.0-or-later
/* service_context.c - what templates of services know about a lab */
#define _GNU_SOURCE
#include "labd/service_context.h"

#include "lib/digest.h"
#include "lib/jobj.h"
#include "lib/util.h"

#include <crypt.h>
#include <string.h>

#define SECRET_LEN 24

/* One of a lab's secrets: hexadecimal digits, made from its key */
static void secret(const json_t *spec, const char *name, char buf[SECRET_LEN + 1])
{
	char text[256], hex[DIGEST_HEX];
	int n = snprintf(text, sizeof(text), "%s secret %s", jobj_text(spec, "key"), name);

	snprintf(buf, SECRET_LEN + 1, "%.*s", SECRET_LEN, digest_hex(hex, text, (size_t)n));
}

/* The salt comes from the secret, so that the same is filled in each time */
static json_t *bcrypt(const char *secret)
{
	char text[2 * SECRET_LEN], hex[DIGEST_HEX], salt[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data data = { 0 };
	int n = snprintf(text, sizeof(text), "salt %s", secret);

	digest_hex(hex, text, (size_t)n);
	if (!crypt_gensalt_rn("$2b$", 4, hex, 16, salt, sizeof(salt)) ||
	    !crypt_r(secret, salt, &data))
		return json_string("");
	return json_string(data.output);
}

static const json_t *instances_of(const json_t *spec)
{
	return json_object_get(spec, "instances");
}

/* The first address of an instance */
static const char *addr_of(const json_t *in)
{
	json_t *nic;
	const char *net;

	json_object_foreach(json_object_get(in, "networks"), net, nic)
		if (*jobj_text(nic, "addr"))
			return jobj_text(nic, "addr");
	return "";
}

static json_t *place_of(const json_t *spec, const char *instance, const json_t *in,
			const char *service)
{
	char text[SECRET_LEN + 1];

	secret(spec, service, text);
	return json_pack("{s:s s:s s:s s:o}", "instance", instance, "addr", addr_of(in), "secret",
			 text, "bcrypt", bcrypt(text));
}

/* Where each service is: the first machine that has it */
static json_t *places_of(const json_t *spec)
{
	json_t *places = json_object(), *in;
	const char *name;
	const json_t *v;
	size_t i;

	json_object_foreach((json_t *)instances_of(spec), name, in)
		json_array_foreach(json_object_get(in, "services"), i, v) {
			const char *service = json_string_value(v);

			if (!json_object_get(places, service))
				json_object_set_new(places, service,
						    place_of(spec, name, in, service));
		}
	return places;
}

static json_t *machines_of(const json_t *spec)
{
	json_t *list = json_array(), *in;
	const char *name;
	const json_t *v;
	size_t i;

	json_object_foreach((json_t *)instances_of(spec), name, in) {
		json_t *services = json_array();

		json_array_foreach(json_object_get(in, "services"), i, v)
			json_array_append_new(services, json_pack("{s:O}", "name", v));
		json_array_append_new(list, json_pack("{s:s s:s s:o}", "name", name, "addr",
						      addr_of(in), "services", services));
	}
	return list;
}

/* {SERVICE: {PORT: port of the host}} */
static json_t *forwards_of(const json_t *spec)
{
	json_t *all = json_object(), *in;
	const json_t *v, *f;
	const char *name;
	size_t i, j;

	json_object_foreach((json_t *)instances_of(spec), name, in)
		json_array_foreach(json_object_get(in, "services"), i, v) {
			json_t *ports = json_object();
			char port[8];

			json_array_foreach(json_object_get(in, "forward"), j, f) {
				snprintf(port, sizeof(port), "%d",
					 (int)json_integer_value(json_object_get(f, "guest")));
				json_object_set(ports, port, json_object_get(f, "host"));
			}
			json_object_set_new(all, json_string_value(v), ports);
		}
	return all;
}

/* The nics of an instance: address and name of the link, by network */
static void add_nics(const json_t *spec, const json_t *in, json_t *context)
{
	json_t *addrs = json_object(), *cidrs = json_object(), *nics = json_object(), *v;
	const char *net;
	size_t n = 0;

	json_object_foreach(json_object_get(in, "networks"), net, v) {
		json_object_set(addrs, net, json_object_get(v, "addr"));
		json_object_set_new(nics, net, json_sprintf("eth%zu", n++));
	}
	json_object_foreach(json_object_get(spec, "networks"), net, v)
		json_object_set(cidrs, net, json_object_get(v, "cidr"));
	json_object_update_new(context, json_pack("{s:o s:o s:o}", "addrs", addrs, "cidrs", cidrs,
						  "nics", nics));
}

static const char *domain_of(const json_t *spec)
{
	const char *net;
	json_t *v;

	json_object_foreach(json_object_get(spec, "networks"), net, v)
		if (*jobj_text(v, "domain"))
			return jobj_text(v, "domain");
	return "";
}

int service_set(struct labd *d, const json_t *spec, json_t **ret, struct lab_err *err)
{
	autojson json_t *places = places_of(spec), *names = json_array();
	const char *name;
	json_t *v;

	json_object_foreach(places, name, v)
		json_array_append_new(names, json_string(name));
	return catalogue_set(&d->paths, names, ret, err);
}

/* The admin of it all is no service, but has a secret */
static void add_admin(const json_t *spec, json_t *context)
{
	char text[SECRET_LEN + 1];

	secret(spec, "admin", text);
	json_object_set_new(json_object_get(context, "secrets"), "admin", json_string(text));
	json_object_set_new(json_object_get(context, "bcrypt"), "admin", bcrypt(text));
}

int service_context(struct labd *d, const json_t *spec, const char *instance, json_t **ret,
		    struct lab_err *err)
{
	const json_t *in = json_object_get(instances_of(spec), instance);
	autojson json_t *services = NULL, *places = places_of(spec), *context = NULL;
	int r = service_set(d, spec, &services, err);

	if (r < 0)
		return r;
	context = catalogue_context(services, places, json_object_get(in, "services"));
	if (!context)
		return lab_fail(err, -ENOMEM, "out of memory");
	add_admin(spec, context);
	json_object_update_new(context,
			       json_pack("{s:b s:b s:s s:s s:s s:s s:o s:o}", "building", 0, "slow",
					 strcmp(d->accel.name, "kvm") != 0, "lab",
					 jobj_text(spec, "lab"), "domain", domain_of(spec),
					 "instance", instance, "addr", addr_of(in), "machines",
					 machines_of(spec), "forward", forwards_of(spec)));
	add_nics(spec, in, context);
	*ret = steal_ptr(context);
	return 0;
}

/* Lines NAME=VALUE; blank ones are left out */
static int add_lines(const char *text, json_t *list, struct lab_err *err)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		const char *equal = memchr(text, '=', n);

		if (n && (!equal || equal == text))
			return lab_fail(err, -EINVAL, "this is not NAME=VALUE: %.*s", (int)n, text);
		if (n)
			json_array_append_new(list, json_stringn(text, n));
		text += n + (text[n] == '\n');
	}
	return 0;
}

int service_env(struct labd *d, const json_t *spec, bool inside, json_t **ret, struct lab_err *err)
{
	const char *first = json_object_iter_key(json_object_iter((json_t *)instances_of(spec)));
	autojson json_t *services = NULL, *context = NULL, *list = json_array();
	int r = service_set(d, spec, &services, err);
	const json_t *s;
	size_t i;

	if (!r)
		r = service_context(d, spec, first ? first : "", &context, err);
	json_object_set_new(context, "inside", json_boolean(inside));
	json_array_foreach(services, i, s) {
		autofree char *text = NULL;

		if (r >= 0)
			r = catalogue_script(&d->paths, jobj_text(s, "name"), "env", context, &text,
					     err);
		if (r > 0)
			r = add_lines(text, list, err);
	}
	if (r < 0)
		return r;
	*ret = steal_ptr(list);
	return 0;
}
