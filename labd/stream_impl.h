/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stream_impl.h - what a kind of stream is made of; see stream.h for those who read one */
#ifndef LABD_STREAM_IMPL_H
#define LABD_STREAM_IMPL_H

#include "labd/stream.h"

/**
 * struct stream - what all have in common; the first member of each kind
 * @fill:	puts the next piece into @pending (malloced): 1; nothing now: 0;
 *		ended: -1. In the event loop, as @close
 * @close:	frees what the kind holds, not the stream
 */
struct stream {
	struct labd *d;
	const char *type;
	int (*fill)(struct stream *s);
	void (*close)(struct stream *s);
	char *pending;
	size_t at, len;
};

/** stream_new() - A stream of @size bytes, all 0 but these */
void *stream_new(struct labd *d, size_t size, const char *type, int (*fill)(struct stream *s),
		 void (*close_fn)(struct stream *s));

#endif
