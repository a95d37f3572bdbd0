// SPDX-License-Identifier: GPL-2.0-or-later
/* request.c - which call a request is */
#define _GNU_SOURCE
#include "labd/request.h"

#include "lib/util.h"

#include <string.h>

/* Compare a path with a route's, putting what stands for ":" into params */
static bool match(const char *pattern, const char *path, struct request *q)
{
	size_t n = 0;

	while (*pattern) {
		size_t len;

		if (*pattern != ':') {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		len = strcspn(path, "/");
		if (!len || len >= sizeof(q->params[0]) || n == REQUEST_PARAMS)
			return false;
		memcpy(q->params[n], path, len);
		q->params[n++][len] = '\0';
		path += len;
		pattern++;
	}
	return !*path;
}

const struct route *route_find(struct request *q, const char *method, const char *path,
			       bool *ret_known)
{
	const struct route *const tables[] = { guest_routes, trash_routes,   lab_routes,
					       image_routes, service_routes, misc_routes };

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (const struct route *r = tables[t]; r->method; r++) {
			if (!match(r->path, path, q))
				continue;
			*ret_known = true;
			if (!strcmp(r->method, method))
				return r;
		}
	}
	return NULL;
}
