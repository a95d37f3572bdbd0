/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.h - labd's API as its clients see it (libcurl over the unix socket)
 *
 * Linked into labctl and labfs only. See docs/api.md for the calls. A client
 * is used by one thread at a time; connections are kept alive between calls.
 */
#ifndef LIB_CLIENT_H
#define LIB_CLIENT_H

#include "lib/err.h"
#include "lib/paths.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;

/**
 * client_new() - A client of the labd at a socket; connects when first used
 * @socket:	path
 * @timeout_ms:	for a whole call of client_call(); 0: none
 */
struct client *client_new(const char *socket, long timeout_ms);

/** client_free() - Takes NULL, returns NULL */
struct client *client_free(struct client *c);

/**
 * client_call() - One call with JSON in and out
 * @method:	"GET", "POST", ...
 * @path:	"/v1/labs"; client_path() escapes names
 * @body:	reference is taken; NULL for none
 * @ret:	what came back (object, array), new reference; may be NULL
 * @ret_problems: the error's "problems", new reference or NULL; may be NULL
 *
 * Return: 0; the negative errno that labd answered with its words in @err;
 * -ECONNREFUSED if no labd is there, -EACCES if it is another user's,
 * -ETIMEDOUT if it did not answer in time, -ECONNRESET if it went away before
 * the end of its answer, -EPROTO if it spoke nonsense, -EMSGSIZE if it said
 * more than 64 MiB
 */
int client_call(struct client *c, const char *method, const char *path, json_t *body, json_t **ret,
		json_t **ret_problems, struct lab_err *err);

/**
 * client_stream() - A call whose answer comes bit by bit
 * @data:	called with what arrives; return false to end the call
 * @idle:	called at least ten times a second; return false to end; may
 *		be NULL
 * @arg:	for both
 *
 * No timeout. Return: 0 at the end of the stream or when ended by the
 * callbacks, else as client_call()
 */
int client_stream(struct client *c, const char *method, const char *path, json_t *body,
		  bool (*data)(void *arg, const void *data, size_t len), bool (*idle)(void *arg),
		  void *arg, struct lab_err *err);

/**
 * client_lines() - A call whose answer is JSON lines (events, exec)
 * @message:	called for each, borrowed reference; return false to end
 */
int client_lines(struct client *c, const char *method, const char *path, json_t *body,
		 bool (*message)(void *arg, json_t *msg), bool (*idle)(void *arg), void *arg,
		 struct lab_err *err);

/**
 * client_send() - Send raw bytes as the body (console input)
 */
int client_send(struct client *c, const char *method, const char *path, const void *data,
		size_t len, struct lab_err *err);

/**
 * client_answered() - Whether labd itself answered the last call
 *
 * Tells a refusal by labd from a labd that cannot be reached, where both are
 * the same errno (-EACCES, -ETIMEDOUT).
 */
bool client_answered(const struct client *c);

#define CLIENT_PATH 512

/**
 * client_path() - Build a path; every %s is escaped for a URL
 * @buf:	CLIENT_PATH bytes
 * @fmt:	only %s is understood
 *
 * Return: @buf; too long a path becomes "", which every call refuses
 */
const char *client_path(char buf[CLIENT_PATH], const char *fmt, ...);

#endif
