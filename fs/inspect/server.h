/* SPDX-License-Identifier: GPL-2.0-or-later */
/* server.h - answer the requests about one disk */
#ifndef FS_INSPECT_SERVER_H
#define FS_INSPECT_SERVER_H

#include "fs/inspect/parts.h"
#include "lib/err.h"

struct server;

/**
 * server_new() - Look at a disk
 * @disk:	taken over, also on failure
 * @window:	as for parts_scan()
 */
int server_new(struct disk *disk, int window, struct server **ret, struct lab_err *err);
struct server *server_free(struct server *s);

/**
 * server_answer() - The answer to one request
 * @q, @len:	as it came
 * @reply:	INSPECT_REPLY bytes, aligned for 8
 *
 * Return: bytes of the reply
 */
size_t server_answer(struct server *s, const struct inspect_request *q, size_t len, void *reply);

/** server_refuse() - A reply that says why not; bytes of it */
size_t server_refuse(uint32_t op, int code, const char *text, void *reply);

#endif
