/* SPDX-License-Identifier: GPL-2.0-or-later */
/* request.h - one call of the API, from its route to its answer */
#ifndef LABD_REQUEST_H
#define LABD_REQUEST_H

#include "labd/labd.h"
#include "lib/names.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct MHD_Connection;
struct stream;
struct request;

#define REQUEST_MAX_BODY                                                                           \
	(3 << 19) /* 1.5 MiB: exec input of 1 MiB as base64, and what is around                    \
		   */
#define REQUEST_PARAMS 4

/**
 * enum route_flags
 * @ROUTE_QUICK:	touches memory only, so it may run in the event loop
 * @ROUTE_RAW:		the body is bytes, not a JSON object
 */
enum route_flags { ROUTE_QUICK = 1, ROUTE_RAW = 2 };

/**
 * struct route - a call
 * @path:	"/v1/labs/:/up"; each ":" is a name, put into params[]
 * @run:	0, or negative errno with q->err
 * @flags:	of enum route_flags
 */
struct route {
	const char *method, *path;
	int (*run)(struct request *q);
	unsigned int flags;
};

/**
 * struct request
 * @body:	raw body, NUL-terminated
 * @json:	the body as an object, NULL if there was none
 *
 * Set by the handler, one of: @result (reference owned), @job (>= 0, answered as
 * {"job": N}), @text (malloced), @stream (owned).
 */
struct request {
	struct labd *d;
	struct MHD_Connection *conn;
	const struct route *route;
	char params[REQUEST_PARAMS][NAME_MAX_LEN + 17];
	char *body;
	size_t len;
	json_t *json;
	json_t *result;
	int64_t job;
	char *text;
	struct stream *stream;
	json_t *problems;
	struct lab_err err;
	int status;
	bool dispatched, done;
};

/** request_arg() - A query argument, or NULL */
const char *request_arg(const struct request *q, const char *key);
/** request_str() - A string of the body, or NULL */
const char *request_str(const struct request *q, const char *key);

/** route_find() - The route of a call; fills q->params. NULL: *ret_known tells
 * whether the path exists with another method */
const struct route *route_find(struct request *q, const char *method, const char *path,
			       bool *ret_known);

/* The tables of api_guest.c (whose words are none of api_lab.c's actions), api_lab.c... */
extern const struct route guest_routes[], trash_routes[], lab_routes[], image_routes[],
	service_routes[], misc_routes[];

#endif
