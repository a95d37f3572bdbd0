// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_jbd.c - any bytes as a journal
 *
 * What comes out is within the filesystem and the journal, ascending, each block once.
 */
#define _GNU_SOURCE
#include "fs/inspect/jbd.h"
#include "lib/util.h"

#include <string.h>

#define BLOCK 1024
#define LIMIT 5000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static int read_block(void *arg, uint32_t block, void *buf)
{
	const struct input *in = arg;

	if ((uint64_t)block * BLOCK + BLOCK > in->size)
		abort();
	memcpy(buf, in->data + (size_t)block * BLOCK, BLOCK);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { .data = data, .size = size };
	const struct jbd_source src = { .read = read_block,
					.arg = &in,
					.block_size = BLOCK,
					.blocks = (uint32_t)(size / BLOCK),
					.limit = LIMIT };
	struct jbd j = { 0 };

	if (!src.blocks || jbd_read(&src, &j, NULL) < 0)
		return 0;
	for (size_t i = 0; i < j.n; i++)
		if (j.v[i].block >= LIMIT || j.v[i].at >= src.blocks ||
		    (i && j.v[i].block <= j.v[i - 1].block))
			abort();
	jbd_done(&j);
	return 0;
}
