// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_inspect.c - any bytes as a disk, and any requests about it, in labinspect
 *
 * The first byte says whether the rest is a qcow2 or a raw disk; behind it are four requests of 16
 * bytes. Then the tree is walked as labfs does it, as far as a few hundred requests go.
 */
#define _GNU_SOURCE
#include "fs/inspect/server.h"
#include "lib/util.h"

#include <string.h>
#include <sys/mman.h>

#define HEAD (1 + 4 * 16)
#define MAX_REQUESTS 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libisofs loses a few bytes where it refuses an image; a labinspect ends before that adds up */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libisofs";
}

static char reply[INSPECT_REPLY] __attribute__((aligned(8)));

struct walk {
	struct server *s;
	unsigned int left;
};

/* The length of the answer, 0 if it was refused */
static size_t ask(struct walk *w, const struct inspect_request *q)
{
	const struct inspect_reply *h = (const void *)reply;
	size_t n;

	if (!w->left)
		return 0;
	w->left--;
	n = server_answer(w->s, q, sizeof(*q), reply);
	if (n > INSPECT_REPLY || n < sizeof(*h) || h->length != n - sizeof(*h))
		abort();
	return h->error ? 0 : h->length;
}

static void look_at(struct walk *w, struct inspect_request q, uint32_t ino)
{
	q.ino = ino;
	q.offset = 0;
	q.length = 1 << 20;
	for (q.op = INSPECT_ATTR; q.op < INSPECT_OPS; q.op++)
		if (q.op != INSPECT_LIST)
			(void)ask(w, &q);
}

static void walk_dir(struct walk *w, struct inspect_request q, uint32_t ino, uint32_t depth)
{
	uint32_t inos[64];
	size_t n = 0, len;

	q.op = INSPECT_LIST;
	q.ino = ino;
	q.depth = depth;
	len = ask(w, &q);
	for (size_t at = 0; at < len;) {
		const struct inspect_entry *e =
			(const void *)(reply + sizeof(struct inspect_reply) + at);

		if (len - at < sizeof(*e) || e->size > len - at || e->size < sizeof(*e) ||
		    e->name_len > e->size - sizeof(*e) || memchr(e->name, '/', e->name_len))
			abort();
		if (n < ARRAY_SIZE(inos))
			inos[n++] = e->attr.ino;
		at += e->size;
	}
	for (size_t i = 0; i < n; i++) {
		look_at(w, q, inos[i]);
		if (depth < 4)
			walk_dir(w, q, inos[i], depth + 1);
	}
}

static void ask_given(struct walk *w, const uint8_t *from)
{
	for (size_t i = 0; i < 4; i++, from += 16) {
		struct inspect_request q = { .op = from[0] % INSPECT_OPS,
					     .part = from[1] & 128 ? INSPECT_RAW : from[1] % 8,
					     .depth = from[2],
					     .name_len = from[3] % 8 };

		memcpy(&q.ino, from + 4, sizeof(q.ino));
		memcpy(&q.offset, from + 8, sizeof(q.offset));
		memcpy(q.name, from + 8, 8);
		q.length = q.offset >> 20;
		(void)ask(w, &q);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct walk w = { .left = MAX_REQUESTS };
	struct disk *d = disk_new();
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (size > HEAD && d && fd >= 0 &&
	    write(fd, data + HEAD, size - HEAD) == (ssize_t)(size - HEAD) &&
	    !disk_add(d, dup(fd), data[0] & 1, NULL) && disk_size(d) &&
	    !server_new(steal_ptr(d), fd, &w.s, NULL)) {
		const struct inspect_request table = { .op = INSPECT_TABLE };

		(void)ask(&w, &table);
		ask_given(&w, data + 1);
		for (uint32_t part = 0; part < 3; part++) {
			const struct inspect_request q = { .part = part };

			walk_dir(&w, q, INSPECT_ROOT, 0);
		}
		server_free(w.s);
	}
	disk_free(d);
	if (fd >= 0)
		close(fd);
	return 0;
}
