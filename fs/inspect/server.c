// SPDX-License-Identifier: GPL-2.0-or-later
/* server.c - answer the requests about one disk */
#define _GNU_SOURCE
#include "fs/inspect/server.h"

#include "fs/inspect/fs.h"
#include "lib/util.h"

#include <inttypes.h>
#include <string.h>

/**
 * struct server - a disk and what is known of it
 * @kind, @fs:	of the partition with the same index; NULL: see @code
 * @code, @why:	what opening it gave
 * @tried:	it was
 */
struct server {
	struct disk *disk;
	struct parts parts;
	const struct fs_kind *kind[INSPECT_MAX_PARTS];
	void *fs[INSPECT_MAX_PARTS];
	int code[INSPECT_MAX_PARTS];
	char why[INSPECT_MAX_PARTS][128];
	bool tried[INSPECT_MAX_PARTS];
};

int server_new(struct disk *disk, int window, struct server **ret, struct lab_err *err)
{
	struct server *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		disk_free(disk);
		return lab_fail_errno(err, -ENOMEM, "looking at the disk");
	}
	s->disk = disk;
	r = parts_scan(disk, window, &s->parts);
	if (r < 0) {
		server_free(s);
		return lab_fail_errno(err, r, "looking at the disk");
	}
	*ret = s;
	return 0;
}

struct server *server_free(struct server *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < INSPECT_MAX_PARTS; i++)
		if (s->fs[i])
			s->kind[i]->close(s->fs[i]);
	disk_free(s->disk);
	free(s);
	return NULL;
}

static int try_open(struct server *s, size_t i)
{
	const struct part *p = &s->parts.v[i];
	struct lab_err err = LAB_ERR_INIT;

	s->tried[i] = true;
	s->kind[i] = fs_find(p->fs);
	if (s->kind[i])
		s->code[i] = s->kind[i]->open(s->disk, p->start, p->size, &s->fs[i], &err);
	else if (*p->fs)
		s->code[i] = lab_fail(&err, -EOPNOTSUPP,
				      "it is %s, which cannot be read: see labfs(5)", p->fs);
	else
		s->code[i] = lab_fail(&err, -EOPNOTSUPP, "no filesystem is known in it");
	snprintf(s->why[i], sizeof(s->why[i]), "%.127s", err.text);
	return s->code[i];
}

/* The index of a partition with a filesystem that can be read */
static int find_fs(struct server *s, uint32_t number, size_t *ret, struct lab_err *err)
{
	const struct part *p = parts_find(&s->parts, number);
	size_t i = p ? (size_t)(p - s->parts.v) : 0;

	if (!p)
		return lab_fail(err, -ENOENT, "the disk has no partition %u", number);
	if (!s->tried[i])
		(void)try_open(s, i);
	if (s->code[i] < 0)
		return lab_fail(err, s->code[i], "%s %u: %s", number ? "partition" : "filesystem",
				number, s->why[i]);
	*ret = i;
	return 0;
}

/* ---- answers: bytes put into @out, or negative errno ----------------------------- */

/* One answer in the making */
struct answer {
	struct server *s;
	const struct inspect_request *q;
	const struct fs_kind *kind;
	void *fs, *out;
	size_t room;
	struct lab_err err;
};

static ssize_t answer_disk(struct answer *a)
{
	struct inspect_disk *d = a->out;

	*d = (struct inspect_disk){ .size = disk_size(a->s->disk),
				    .blocks = disk_blocks(a->s->disk),
				    .nparts = (uint32_t)a->s->parts.n };
	for (size_t i = 0; i < a->s->parts.n; i++)
		d->parts[i] = a->s->parts.v[i].number;
	return sizeof(*d);
}

static const char *or_dash(const char *s)
{
	return *s ? s : "-";
}

static const char *state_of(struct server *s, size_t i)
{
	if (!s->tried[i])
		(void)try_open(s, i);
	if (s->code[i] == -EOPNOTSUPP)
		return *s->parts.v[i].fs ? "unsupported" : "-";
	return s->code[i] < 0 ? "damaged" : s->kind[i]->state(s->fs[i]);
}

static ssize_t answer_table(struct answer *a)
{
	FILE *out = fmemopen(a->out, a->room, "w");
	long len;

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < a->s->parts.n; i++) {
		const struct part *p = &a->s->parts.v[i];

		fprintf(out, "p%u %" PRIu64 " %" PRIu64 " %s %s %s %s\n", p->number, p->start,
			p->size, or_dash(p->type), or_dash(p->fs), state_of(a->s, i),
			or_dash(p->label));
	}
	len = ftell(out);
	fclose(out);
	return len;
}

static ssize_t answer_lookup(struct answer *a)
{
	const struct inspect_request *q = a->q;
	uint32_t ino;
	int r = a->kind->lookup(a->fs, q->ino, q->name, q->name_len, &ino);

	if (!r)
		r = a->kind->attr(a->fs, ino, q->depth, a->out);
	return r < 0 ? r : (ssize_t)sizeof(struct inspect_attr);
}

static ssize_t answer_attr(struct answer *a)
{
	int r = a->kind->attr(a->fs, a->q->ino, a->q->depth, a->out);

	return r < 0 ? r : (ssize_t)sizeof(struct inspect_attr);
}

static ssize_t answer_link(struct answer *a)
{
	int r = a->kind->link(a->fs, a->q->ino, a->q->depth, a->out);

	return r < 0 ? r : (ssize_t)strlen(a->out);
}

static ssize_t answer_list(struct answer *a)
{
	return a->kind->list(a->fs, a->q->ino, a->q->depth, a->q->offset, a->out, a->room);
}

static ssize_t map_raw(const struct answer *a)
{
	uint64_t size = disk_size(a->s->disk), at = a->q->offset;
	uint64_t len = at < size ? MIN(a->q->length, size - at) : 0;

	return disk_runs(a->s->disk, at, len, a->out, INSPECT_RUNS);
}

static ssize_t answer_map(struct answer *a)
{
	const struct inspect_request *q = a->q;
	ssize_t n = q->part == INSPECT_RAW ? map_raw(a)
					   : a->kind->map(a->fs, q->ino, q->offset, q->length,
							  a->out, INSPECT_RUNS);

	return n < 0 ? n : n * (ssize_t)sizeof(struct inspect_run);
}

static ssize_t answer_read(struct answer *a)
{
	const struct inspect_request *q = a->q;
	size_t len = MIN(q->length, (uint64_t)INSPECT_DATA);
	int r;

	if (q->part != INSPECT_RAW)
		return a->kind->read(a->fs, q->ino, a->out, len, q->offset);
	if (q->offset >= disk_size(a->s->disk))
		return 0;
	len = MIN(len, disk_size(a->s->disk) - q->offset);
	r = disk_read(a->s->disk, a->out, len, q->offset);
	return r < 0 ? r : (ssize_t)len;
}

static ssize_t answer_statfs(struct answer *a)
{
	a->kind->statfs(a->fs, a->out);
	return sizeof(struct inspect_statfs);
}

static ssize_t (*const answers[])(struct answer *a) = {
	[INSPECT_DISK] = answer_disk,	  [INSPECT_TABLE] = answer_table,
	[INSPECT_LOOKUP] = answer_lookup, [INSPECT_ATTR] = answer_attr,
	[INSPECT_LINK] = answer_link,	  [INSPECT_LIST] = answer_list,
	[INSPECT_MAP] = answer_map,	  [INSPECT_READ] = answer_read,
	[INSPECT_STATFS] = answer_statfs,
};
_Static_assert(ARRAY_SIZE(answers) == INSPECT_OPS, "an answer to each request");

size_t server_refuse(uint32_t op, int code, const char *text, void *reply)
{
	struct inspect_reply *h = reply;
	size_t len = MIN(strlen(text), (size_t)INSPECT_TEXT);

	*h = (struct inspect_reply){ .op = op, .error = code, .length = (uint32_t)len };
	memcpy(h + 1, text, len);
	return sizeof(*h) + len;
}

static bool of_fs(const struct inspect_request *q)
{
	return q->op != INSPECT_DISK && q->op != INSPECT_TABLE && q->part != INSPECT_RAW;
}

size_t server_answer(struct server *s, const struct inspect_request *q, size_t len, void *reply)
{
	struct inspect_reply *h = reply;
	struct answer a = { .s = s,
			    .q = q,
			    .out = h + 1,
			    .room = INSPECT_REPLY - sizeof(*h),
			    .err = LAB_ERR_INIT };
	ssize_t n = 0;
	size_t i = 0;

	if (len != sizeof(*q) || q->op >= INSPECT_OPS || q->name_len > INSPECT_NAME ||
	    q->depth > INSPECT_MAX_DEPTH ||
	    (q->part == INSPECT_RAW && q->op != INSPECT_MAP && q->op != INSPECT_READ))
		return server_refuse(len >= sizeof(q->op) ? q->op : INSPECT_OPS, -EPROTO, "",
				     reply);
	if (of_fs(q)) {
		n = find_fs(s, q->part, &i, &a.err);
		a.kind = s->kind[i];
		a.fs = s->fs[i];
	}
	if (!n)
		n = answers[q->op](&a);
	if (n < 0)
		return server_refuse(q->op, (int)n, a.err.code ? a.err.text : strerror((int)-n),
				     reply);
	*h = (struct inspect_reply){ .op = q->op, .length = (uint32_t)n };
	return sizeof(*h) + (size_t)n;
}
