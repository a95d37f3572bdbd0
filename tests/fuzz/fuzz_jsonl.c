// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_jsonl.c - any bytes from a monitor, a guest agent or a keeper
 *
 * The first byte decides how small the pieces are in which they come. Whatever
 * the pieces, the messages are the same, and each can be written and read again.
 */
#define _GNU_SOURCE
#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/util.h"

#include <string.h>
#include <sys/socket.h>

#define MAX_LINE 4096
#define MAX_DATA 32768 /* fits a socket's buffer, so that no second thread is needed */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A message must survive being written and read */
static void check_message(json_t *msg)
{
	autofree char *text = json_dumps(msg, JSON_COMPACT | JSON_ENCODE_ANY);
	autojson json_t *again = NULL;

	if (!text || jsonl_parse(text, strlen(text), &again) || !json_equal(msg, again))
		abort();
}

/* All messages of @data coming in pieces of @piece; @ret_end: how it ended */
static json_t *read_all(const uint8_t *data, size_t len, size_t piece, int *ret_end)
{
	json_t *list = json_array(), *msg;
	struct jsonl jl;
	int pair[2], r = -EAGAIN;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	jsonl_init(&jl, pair[1], MAX_LINE);
	do {
		size_t n = MIN(piece, len);

		if (n && io_write_all(pair[0], data, n))
			abort();
		data += n;
		len -= n;
		if (!len && pair[0] >= 0)
			close(steal_fd(&pair[0]));
		while ((r = jsonl_next(&jl, 0, &msg)) == 1) {
			check_message(msg);
			json_array_append_new(list, msg);
		}
	} while (r == -EAGAIN);
	if (r != 0 && r != -EPROTO && r != -EMSGSIZE)
		abort();
	if (pair[0] >= 0)
		close(pair[0]);
	close(pair[1]);
	jsonl_done(&jl);
	*ret_end = r;
	return list;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	autojson json_t *whole = NULL, *pieces = NULL;
	int end_whole, end_pieces;
	size_t piece;

	if (!len || len > MAX_DATA)
		return 0;
	piece = 1 + data[0];
	whole = read_all(data + 1, len - 1, MAX_DATA, &end_whole);
	/* very small pieces of much data only cost time */
	pieces = read_all(data + 1, len - 1, MAX(piece, len / 256), &end_pieces);
	if (!json_equal(whole, pieces) || end_whole != end_pieces)
		abort();
	return 0;
}
