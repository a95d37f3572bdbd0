// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guest_file.c - open files of guests, `table` and `raw`
 *
 * labinspect says where a file's bytes are in the files of the disk's chain; the bytes go from
 * there to the kernel without passing through it. What it says is kept for a window of
 * the file. Only bytes that are packed or in an inode are asked for.
 *
 * Of a file in one piece it says so with the attributes. These runs are kept in a table, so that
 * who lists a directory and then reads its files, as grep -r does, asks no more. It is a
 * cache: a file takes the place of another that was there, and whatever is not there is asked.
 */
#define _GNU_SOURCE
#include "fs/guest.h"

#include "fs/guest_child.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

#define WINDOW (256ULL << 20) /* asked for at a time */
#define ZEROES INSPECT_DATA /* what the kernel asks for at a time */
#define SEEK_WINDOW (64ULL << 30) /* the same, when only holes are looked for */

/**
 * struct guest_file - an open file
 * @runs:	@nruns of them: where the bytes from @start on are; NULL: not known
 * @end:	of the last one
 * @complete:	the file ends there
 * @chain:	the files that @runs speak of
 */
struct guest_file {
	struct guest_node n;
	struct inspect_run *runs;
	size_t nruns;
	uint64_t start, end;
	bool complete;
	struct guest_chain *chain;
};

static struct guest_file *file_of(const struct fuse_file_info *fi)
{
	return (struct guest_file *)(uintptr_t)fi->fh;
}

static void forget_runs(struct guest_file *f)
{
	free(steal_ptr(f->runs));
	f->chain = guest_chain_unref(f->chain);
	f->nruns = 0;
}

static void file_free(struct guest_file *f)
{
	forget_runs(f);
	free(f);
}

static bool are_sound(const struct inspect_run *runs, size_t n, size_t nfiles, uint64_t from)
{
	for (size_t i = 0; i < n; i++) {
		if (!runs[i].length || runs[i].length > INT64_MAX - from ||
		    runs[i].kind > INSPECT_COPY_RUN)
			return false;
		if (runs[i].kind == INSPECT_DATA_RUN &&
		    (runs[i].file >= nfiles || runs[i].at > INT64_MAX - runs[i].length))
			return false;
		from += runs[i].length;
	}
	return true;
}

/* ---- files in one piece ---------------------------------------------------------- */

#define KNOWN_BITS 12

/**
 * struct known_run - where a file is
 * @chain:	serial of the chain that @run speaks of
 */
struct known_run {
	uint64_t number, chain;
	struct inspect_run run;
};

static struct known_run *known_at(uint64_t number)
{
	static struct known_run known[1 << KNOWN_BITS];

	/* Knuth's multiplicative hash: neighbours are to be far from each other */
	return &known[number * 0x9e3779b97f4a7c15ULL >> (64 - KNOWN_BITS)];
}

void guest_run_known(const struct guest_disk *disk, uint64_t number, const struct inspect_run *run)
{
	const struct guest_chain *chain = guest_chain_of(disk);

	/* One that makes no sense is asked for again, and refused then */
	if (guest_sealed(disk) && chain && run->kind == INSPECT_DATA_RUN &&
	    are_sound(run, 1, chain->n, 0))
		*known_at(number) = (struct known_run){ number, chain->serial, *run };
}

/* Without memory it is asked for */
static void recall(struct guest_file *f, uint64_t number)
{
	struct guest_chain *chain = guest_chain_of(f->n.disk);
	const struct known_run *k = known_at(number);

	if (!chain || k->number != number || k->chain != chain->serial)
		return;
	f->runs = malloc(sizeof(*f->runs));
	if (!f->runs)
		return;
	*f->runs = k->run;
	f->nruns = 1;
	f->end = k->run.length;
	f->complete = true;
	f->chain = guest_chain_ref(chain);
}

void guest_file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct guest_node n;
	struct guest_file *f;

	if (guest_ready(req, ino, &n) < 0)
		return;
	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	f = calloc(1, sizeof(*f));
	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	f->n = n;
	recall(f, ino);
	fi->fh = (uintptr_t)f;
	fi->noflush = 1;
	fi->keep_cache = guest_sealed(n.disk);
	fi->direct_io = !guest_sealed(n.disk);
	if (fuse_reply_open(req, fi) < 0)
		file_free(f);
}

void guest_file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	file_free(file_of(fi));
	fuse_reply_err(req, 0);
}

/* ---- where the bytes are --------------------------------------------------------- */

/**
 * struct mapping - a question where bytes are
 * @file:	stays open until it is answered
 * @then:	what the answer is for
 */
struct mapping {
	struct guest_call call;
	struct guest_file *file;
	size_t size;
	off_t off;
	int whence;
	void (*then)(struct mapping *m);
};

static int take_runs(struct guest_file *f, const struct inspect_request *q,
		     const struct guest_reply *r)
{
	struct guest_chain *chain = guest_chain_of(f->n.disk);
	size_t n = r->len / sizeof(struct inspect_run);

	if (r->len % sizeof(struct inspect_run) || n > INSPECT_RUNS ||
	    !are_sound(r->data, n, chain->n, q->offset)) {
		guest_lied(f->n.disk);
		return -EIO;
	}
	forget_runs(f);
	f->runs = malloc(r->len + 1);
	if (!f->runs)
		return -ENOMEM;
	memcpy(f->runs, r->data, r->len);
	f->nruns = n;
	f->chain = guest_chain_ref(chain);
	f->start = f->end = q->offset;
	for (size_t i = 0; i < n; i++)
		f->end += f->runs[i].length;
	/* Fewer than there is room for, and less than was asked for: the end */
	f->complete = n < INSPECT_RUNS && f->end < q->offset + q->length;
	return 0;
}

static void mapped(struct guest_call *c, const struct guest_reply *r)
{
	struct mapping *m = (struct mapping *)c;
	int error = r->error ? r->error : take_runs(m->file, &c->q, r);

	if (error)
		guest_refuse(c->req, &c->node, error, r->why);
	else
		m->then(m);
	free(m);
}

static void ask_map(const struct mapping *like, uint64_t from, uint64_t length)
{
	struct guest_file *f = like->file;
	struct mapping *m = guest_call_new(sizeof(*m), like->call.req, &f->n, INSPECT_MAP, mapped);

	if (!m)
		return;
	m->file = f;
	m->size = like->size;
	m->off = like->off;
	m->whence = like->whence;
	m->then = like->then;
	if (f->n.part == GUEST_DISK)
		m->call.q.part = INSPECT_RAW;
	m->call.q.offset = from;
	m->call.q.length = length;
	guest_ask(&m->call);
}

/* The run that a byte is in, and how much of it is before that byte; NULL behind the end */
static const struct inspect_run *run_at(const struct guest_file *f, uint64_t at, uint64_t *ret_skip)
{
	uint64_t start = f->start;

	for (size_t i = 0; i < f->nruns; i++) {
		if (at < start + f->runs[i].length) {
			*ret_skip = at - start;
			return &f->runs[i];
		}
		start += f->runs[i].length;
	}
	return NULL;
}

/* ---- reading --------------------------------------------------------------------- */

static void copied(struct guest_call *c, const struct guest_reply *r)
{
	if (r->error)
		guest_refuse(c->req, &c->node, r->error, r->why);
	else
		fuse_reply_buf(c->req, r->data, MIN(r->len, c->q.length));
	free(c);
}

/* Have the bytes themselves said. The kernel asks for no more than fits */
static void ask_bytes(const struct mapping *m)
{
	struct guest_file *f = m->file;
	struct guest_call *c = guest_call_new(sizeof(*c), m->call.req, &f->n, INSPECT_READ, copied);

	if (!c)
		return;
	if (f->n.part == GUEST_DISK)
		c->q.part = INSPECT_RAW;
	c->q.offset = (uint64_t)m->off;
	c->q.length = MIN(m->size, (size_t)INSPECT_DATA);
	guest_ask(c);
}

static void reply_file(fuse_req_t req, int fd, size_t size, uint64_t at)
{
	struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);

	buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	buf.buf[0].fd = fd;
	buf.buf[0].pos = (off_t)at;
	fuse_reply_data(req, &buf, FUSE_BUF_SPLICE_MOVE);
}

/* Bytes of several runs. The last cluster of a file may be cut: it ends with zeroes */
static int gather(const struct guest_file *f, char *buf, size_t size, uint64_t at)
{
	while (size) {
		uint64_t skip = 0;
		const struct inspect_run *run = run_at(f, at, &skip);
		size_t n = run ? (size_t)MIN((uint64_t)size, run->length - skip) : 0;
		ssize_t have = 0;

		if (!run)
			return -EIO;
		if (run->kind == INSPECT_DATA_RUN)
			have = RETRY(
				pread(f->chain->fds[run->file], buf, n, (off_t)(run->at + skip)));
		if (have < 0)
			return -EIO;
		memset(buf + have, 0, n - (size_t)have);
		buf += n;
		at += n;
		size -= n;
	}
	return 0;
}

/*
 * Room for one answer. It stays: memory of this size would be mapped and unmapped for each,
 * which takes as long as the answer
 */
static char *room_for(size_t size)
{
	static size_t room;
	static char *buf;

	if (size > room) {
		free(buf);
		buf = malloc(size);
		room = buf ? size : 0;
	}
	return buf;
}

static void reply_gathered(fuse_req_t req, const struct guest_file *f, size_t size, uint64_t at)
{
	char *buf = room_for(size);
	int r = buf ? gather(f, buf, size, at) : -ENOMEM;

	if (r < 0)
		guest_refuse(req, &f->n, r, NULL);
	else
		fuse_reply_buf(req, buf, size);
}

/* A piece of a hole. Nothing writes to the zeroes, so all of them are one page, the kernel's */
static void reply_zeroes(fuse_req_t req, size_t size)
{
	static char zeroes[ZEROES];

	fuse_reply_buf(req, zeroes, size);
}

static bool needs_copy(const struct guest_file *f, uint64_t at, size_t size)
{
	uint64_t start = f->start;

	for (size_t i = 0; i < f->nruns && start < at + size; i++) {
		if (f->runs[i].kind == INSPECT_COPY_RUN && start + f->runs[i].length > at)
			return true;
		start += f->runs[i].length;
	}
	return false;
}

static bool is_mapped(const struct guest_file *f, uint64_t at, size_t size)
{
	return f->runs && at >= f->start && (at + size <= f->end || f->complete);
}

static void read_mapped(struct mapping *m)
{
	struct guest_file *f = m->file;
	uint64_t at = (uint64_t)m->off, skip = 0;
	size_t size = at < f->end ? (size_t)MIN((uint64_t)m->size, f->end - at) : 0;
	const struct inspect_run *run = size ? run_at(f, at, &skip) : NULL;

	if (!run)
		fuse_reply_buf(m->call.req, NULL, 0);
	else if (needs_copy(f, at, size))
		ask_bytes(m);
	else if (run->kind == INSPECT_DATA_RUN && run->length - skip >= size)
		reply_file(m->call.req, f->chain->fds[run->file], size, run->at + skip);
	else if (run->kind == INSPECT_ZERO_RUN && run->length - skip >= size && size <= ZEROES)
		reply_zeroes(m->call.req, size);
	else
		reply_gathered(m->call.req, f, size, at);
}

static void table_known(struct guest_call *c, const struct guest_reply *r)
{
	if (r->error)
		guest_refuse(c->req, &c->node, r->error, r->why);
	else if (c->q.offset >= r->len)
		fuse_reply_buf(c->req, NULL, 0);
	else
		fuse_reply_buf(c->req, (const char *)r->data + c->q.offset,
			       MIN(r->len - c->q.offset, c->q.length));
	free(c);
}

static void read_table(fuse_req_t req, const struct guest_node *n, size_t size, off_t off)
{
	struct guest_call *c = guest_call_new(sizeof(*c), req, n, INSPECT_TABLE, table_known);

	if (!c)
		return;
	c->q.offset = (uint64_t)off;
	c->q.length = size;
	guest_ask(c);
}

/* false: the request has been answered */
static bool still_there(fuse_req_t req, struct guest_file *f)
{
	struct lab_err err = LAB_ERR_INIT;
	int r = guest_disk_check(f->n.disk, &err);

	if (!r)
		return true;
	forget_runs(f);
	guest_refuse(req, &f->n, r, err.text);
	return false;
}

void guest_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct mapping m = {
		.call.req = req, .file = file_of(fi), .size = size, .off = off, .then = read_mapped
	};

	if (!still_there(req, m.file))
		return;
	if (m.file->n.part == GUEST_DISK && (uint32_t)ino == GUEST_TABLE)
		read_table(req, &m.file->n, size, off);
	else if (is_mapped(m.file, (uint64_t)off, size))
		read_mapped(&m);
	else
		ask_map(&m, (uint64_t)off, MAX((uint64_t)size, WINDOW));
}

/* ---- holes ----------------------------------------------------------------------- */

/* Go on from what is known: a run of the kind that is looked for, or the end, or ask again */
static void seek_mapped(struct mapping *m)
{
	const struct guest_file *f = m->file;
	uint64_t at = f->start, from = (uint64_t)m->off;
	bool hole = m->whence == SEEK_HOLE;

	if (f->complete && from >= f->end) {
		fuse_reply_err(m->call.req, ENXIO);
		return;
	}
	for (size_t i = 0; i < f->nruns; i++) {
		uint64_t end = at + f->runs[i].length;

		if (end > from && (f->runs[i].kind == INSPECT_ZERO_RUN) == hole) {
			fuse_reply_lseek(m->call.req, (off_t)MAX(at, from));
			return;
		}
		at = end;
	}
	if (!f->complete) {
		m->off = (off_t)MAX(from, f->end);
		ask_map(m, (uint64_t)m->off, SEEK_WINDOW);
	} else if (hole) {
		fuse_reply_lseek(m->call.req, (off_t)f->end);
	} else {
		fuse_reply_err(m->call.req, ENXIO);
	}
}

void guest_file_seek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	struct mapping m = { .call.req = req,
			     .file = file_of(fi),
			     .off = off,
			     .whence = whence,
			     .then = seek_mapped };

	(void)ino;
	if (off < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE))
		fuse_reply_err(req, EINVAL);
	else if (m.file->n.part == GUEST_DISK && m.file->n.ino == GUEST_TABLE)
		fuse_reply_err(req, ENXIO);
	else if (!still_there(req, m.file))
		return;
	else if (is_mapped(m.file, (uint64_t)off, 1))
		seek_mapped(&m);
	else
		ask_map(&m, (uint64_t)off, SEEK_WINDOW);
}
