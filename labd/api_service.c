// SPDX-License-Identifier: GPL-2.0-or-later
/* api_service.c - calls about services: the catalogue, and those of labs */
#define _GNU_SOURCE
#include "labd/labjob.h"
#include "labd/plan.h"
#include "labd/request.h"
#include "labd/service.h"
#include "labd/service_context.h"
#include "labd/servicejob.h"
#include "lib/util.h"

#include <string.h>

static int catalogue(struct request *q)
{
	autojson json_t *names = NULL;
	const json_t *name;
	size_t i;
	int r = catalogue_names(&q->d->paths, &names, &q->err);

	if (r < 0)
		return r;
	q->result = json_array();
	json_array_foreach(names, i, name) {
		struct lab_err err = LAB_ERR_INIT;
		json_t *service = NULL;

		if (service_load(&q->d->paths, json_string_value(name), &service, &err) < 0)
			service = json_pack("{s:O s:s}", "name", name, "error", err.text);
		json_array_append_new(q->result, service);
	}
	return 0;
}

static int list(struct request *q)
{
	SCOPED_LOCK(&q->d->lock);
	struct instance *in;
	struct lab *lab;
	int r = labjob_find(q->d, q->params[0], NULL, &lab, &in, &q->err);

	if (!r)
		q->result = servicejob_list(lab);
	return r;
}

/* The names of the lab, as its own machines are told: a resolver of one of its networks */
static void add_resolver(const json_t *spec, json_t *result)
{
	const char *name;
	json_t *net;

	json_object_foreach(json_object_get(spec, "networks"), name, net) {
		if (!json_is_true(json_object_get(net, "dhcp")))
			continue;
		json_object_set(result, "resolver", json_object_get(net, "gateway"));
		json_object_set(result, "domain", json_object_get(net, "domain"));
		return;
	}
}

static int env(struct request *q)
{
	autojson json_t *spec = plan_spec(q->d, q->params[0]);
	const char *inside = request_arg(q, "inside");
	json_t *lines = NULL;
	int r;

	if (!spec)
		return lab_fail(&q->err, -ENOENT, "there is no lab %s: labctl ls", q->params[0]);
	r = service_env(q->d, spec, inside && !strcmp(inside, "1"), &lines, &q->err);
	if (r < 0)
		return r;
	q->result = json_pack("{s:o s:s s:s}", "env", lines, "resolver", "", "domain", "");
	add_resolver(spec, q->result);
	return 0;
}

static int check(struct request *q)
{
	return servicejob_check(q->d, q->params[0], json_object_get(q->json, "services"), &q->job,
				&q->err);
}

const struct route service_routes[] = {
	{ "GET", "/v1/services", catalogue, 0 },
	{ "GET", "/v1/labs/:/services", list, ROUTE_QUICK },
	{ "GET", "/v1/labs/:/env", env, 0 },
	{ "POST", "/v1/labs/:/check", check, 0 },
	{ NULL, NULL, NULL, 0 },
};
