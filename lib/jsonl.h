/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jsonl.h - JSON messages, one a line, from a peer that may be hostile
 *
 * Used for QMP, the guest agent, the keeper, the builder and event streams.
 * A line longer than the limit, deeper than JSONL_MAX_DEPTH, with a NUL, or
 * not JSON is an error of the peer, never of ours.
 */
#ifndef LIB_JSONL_H
#define LIB_JSONL_H

#include "lib/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define JSONL_MAX_DEPTH 32

/**
 * struct jsonl - a reader of JSON lines
 * @fd:		borrowed; blocking or not
 * @max:	the most bytes of one line
 * @max_values:	the most JSON values of one line, because a value of two bytes
 *		costs some hundred in memory; @max / 8, change it for less
 * @buf, @start, @len, @room, @scanned:	private
 */
struct jsonl {
	int fd;
	size_t max, max_values;
	char *buf;
	size_t start, len, room, scanned;
};

/** jsonl_init() - Read lines of at most @max bytes from @fd (borrowed) */
void jsonl_init(struct jsonl *jl, int fd, size_t max);

/** jsonl_done() - Free what the reader holds; the descriptor stays open */
void jsonl_done(struct jsonl *jl);

/**
 * jsonl_next() - The next message
 * @deadline:	num_now_us() time after which to give up; 0: do not wait at
 *		all; UINT64_MAX: for ever
 * @ret:	new reference
 *
 * A peer that keeps writing blank lines does not hold it beyond the deadline.
 *
 * Return: 1 with a message, 0 at the end of the stream, -ETIMEDOUT,
 * -EAGAIN (only with deadline 0), -EMSGSIZE for a line too long, -EPROTO for
 * one that is not JSON, too deep or with too many values, or negative errno
 */
int jsonl_next(struct jsonl *jl, uint64_t deadline, json_t **ret);

/**
 * jsonl_parse() - Parse one bounded JSON text with the same limits
 * Return: 0 or -EPROTO
 */
int jsonl_parse(const char *text, size_t len, json_t **ret);

/**
 * jsonl_write() - Write one message and a newline
 * @deadline:	as jsonl_next(); for a descriptor that is not blocking
 *
 * Return: 0 or negative errno
 */
int jsonl_write(int fd, const json_t *msg, uint64_t deadline);

#endif
