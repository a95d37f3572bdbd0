// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guest_dir.c - open directories of guests
 *
 * A part of a directory is asked for at a time, as much as one reply holds, and given to
 * the kernel in the smaller pieces that it wants. Offsets are 1 and 2 behind "." and
 * "..", and 2 more than the number of the next entry behind the others.
 */
#define _GNU_SOURCE
#include "fs/guest.h"

#include "fs/guest_child.h"
#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>

#define DOTS 2

/**
 * struct guest_dir - an open directory
 * @n:		which
 * @part:	entries as they came, checked; owned
 * @len:	of it
 * @first:	number of the first entry in @part
 * @at:		where in @part the entry with the number @index is: reading goes on there
 * @complete:	nothing comes behind @part
 */
struct guest_dir {
	struct guest_node n;
	char *part;
	size_t len, at;
	uint64_t first, index;
	bool complete;
};

static struct guest_dir *dir_of(const struct fuse_file_info *fi)
{
	return (struct guest_dir *)(uintptr_t)fi->fh;
}

static void dir_free(struct guest_dir *d)
{
	free(d->part);
	free(d);
}

/* ---- opening ------------------------------------------------------------------- */

struct opening {
	struct guest_call call;
	struct fuse_file_info fi;
};

static void reply_open(fuse_req_t req, const struct guest_node *n, struct fuse_file_info *fi)
{
	struct guest_dir *d = calloc(1, sizeof(*d));

	if (!d) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	d->n = *n;
	fi->fh = (uintptr_t)d;
	fi->cache_readdir = fi->keep_cache = guest_sealed(n->disk);
	if (fuse_reply_open(req, fi) < 0)
		dir_free(d);
}

static void open_known(struct guest_call *c, const struct guest_reply *r)
{
	struct opening *o = (struct opening *)c;

	if (r->error)
		guest_refuse(c->req, &c->node, r->error, r->why);
	else
		reply_open(c->req, &c->node, &o->fi);
	free(o);
}

/*
 * What was walked through can be read: of a disk that does not change a directory is opened
 * without a question. The first one of a filesystem is where it is said that it cannot be.
 */
void guest_dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct opening *o;
	struct guest_node n;
	bool disk;

	if (guest_ready(req, ino, &n) < 0)
		return;
	disk = n.part == GUEST_DISK;
	if (guest_sealed(n.disk) && n.disk->known && (disk || n.ino != INSPECT_ROOT)) {
		reply_open(req, &n, fi);
		return;
	}
	o = guest_call_new(sizeof(*o), req, &n, disk ? INSPECT_DISK : INSPECT_ATTR, open_known);
	if (!o)
		return;
	o->fi = *fi;
	guest_ask(&o->call);
}

void guest_dir_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	dir_free(dir_of(fi));
	fuse_reply_err(req, 0);
}

/* ---- what is in there -------------------------------------------------------------- */

/* A piece of a directory for the kernel, in the making */
struct listing {
	fuse_req_t req;
	char *buf;
	size_t size, len;
	bool plus;
};

/* false: it does not fit */
static bool put(struct listing *l, const char *name, const struct fuse_entry_param *e, off_t next)
{
	size_t room = l->size - l->len, need;

	if (l->plus)
		need = fuse_add_direntry_plus(l->req, l->buf + l->len, room, name, e, next);
	else
		need = fuse_add_direntry(l->req, l->buf + l->len, room, name, &e->attr, next);
	if (need > room)
		return false;
	l->len += need;
	return true;
}

/* A name alone: with an inode number of 0 the kernel looks it up when it is needed */
static bool put_plain(struct listing *l, const char *name, uint64_t number, uint32_t type,
		      off_t next)
{
	const struct fuse_entry_param e = { .attr = { .st_ino = number, .st_mode = type } };

	return put(l, name, &e, next);
}

static bool put_dots(struct listing *l, const struct guest_dir *d, off_t from)
{
	uint64_t own = guest_number(d->n.row, d->n.depth, d->n.ino);

	if (from < 1 && !put_plain(l, ".", own, S_IFDIR, 1))
		return false;
	return from >= DOTS || put_plain(l, "..", own, S_IFDIR, DOTS);
}

static void reply_listing(struct listing *l)
{
	fuse_reply_buf(l->req, l->buf, l->len);
	free(steal_ptr(l->buf));
}

/* ---- a disk's directory -------------------------------------------------------------- */

static void list_disk(struct listing *l, const struct guest_dir *d, off_t from)
{
	const struct inspect_disk *info = &d->n.disk->info;
	char name[16];

	if (!put_dots(l, d, from))
		return;
	for (off_t i = from < DOTS ? 0 : from - DOTS; i < 2 + (off_t)info->nparts; i++) {
		uint64_t number = guest_number(d->n.row, 0, i ? GUEST_RAW : GUEST_TABLE);

		if (i >= 2)
			snprintf(name, sizeof(name), "p%u", info->parts[i - 2]);
		if (!put_plain(l,
			       i == 0	? "table"
			       : i == 1 ? "raw"
					: name,
			       number, i < 2 ? S_IFREG : S_IFDIR, i + 1 + DOTS))
			return;
	}
}

/* ---- a directory in a filesystem --------------------------------------------------- */

/* The entry at a place; NULL if what is there is none */
static const struct inspect_entry *entry_at(const char *part, size_t len, size_t at)
{
	const struct inspect_entry *e = (const void *)(part + at);
	size_t left = len - at;

	if (left < sizeof(*e) || e->size % 8 || e->size < sizeof(*e) || e->size > left ||
	    !e->name_len || e->name_len > INSPECT_NAME || e->name_len > e->size - sizeof(*e) ||
	    memchr(e->name, '/', e->name_len) || memchr(e->name, '\0', e->name_len))
		return NULL;
	return e;
}

/* Whether all of it are entries, with numbers one after the other; the last may be the end */
static bool is_sound(const char *part, size_t len, uint64_t first, bool *ret_complete)
{
	*ret_complete = !len;
	for (size_t at = 0; at < len;) {
		const struct inspect_entry *e = entry_at(part, len, at);

		if (!e || *ret_complete || (e->next != ++first && e->next != UINT64_MAX))
			return false;
		*ret_complete = e->next == UINT64_MAX;
		at += e->size;
	}
	return true;
}

/* Make @index the entry where reading goes on; false: it is not in this part */
static bool seek_entry(struct guest_dir *d, uint64_t index)
{
	if (!d->part || index < d->first)
		return false;
	if (index < d->index) {
		d->at = 0;
		d->index = d->first;
	}
	while (d->index < index && d->at < d->len) {
		d->at += ((const struct inspect_entry *)(d->part + d->at))->size;
		d->index++;
	}
	return d->index == index && (d->at < d->len || d->complete);
}

static bool put_entry(struct listing *l, const struct guest_dir *d, const struct inspect_entry *e)
{
	struct fuse_entry_param p;
	char name[INSPECT_NAME + 1];
	off_t next = (off_t)d->index + 1 + DOTS;

	memcpy(name, e->name, e->name_len);
	name[e->name_len] = '\0';
	if (e->error || guest_entry(&d->n, false, &e->attr, &p) < 0)
		return put_plain(l, name, guest_number(d->n.row, 0, e->attr.ino), e->type & S_IFMT,
				 next);
	return put(l, name, &p, next);
}

/* From the entry where it goes on, as many as there are and fit */
static void list_entries(struct listing *l, struct guest_dir *d)
{
	while (d->at < d->len) {
		const struct inspect_entry *e = (const void *)(d->part + d->at);

		if (!put_entry(l, d, e))
			break;
		d->at += e->size;
		d->index++;
	}
	reply_listing(l);
}

/**
 * struct reading - a piece of a directory that the kernel waits for
 * @dir:	stays open until the piece is there
 */
struct reading {
	struct guest_call call;
	struct guest_dir *dir;
	struct listing l;
};

static void part_known(struct guest_call *c, const struct guest_reply *r)
{
	struct reading *rd = (struct reading *)c;
	struct guest_dir *d = rd->dir;
	int error = r->error;
	bool complete = false;

	if (!error && !is_sound(r->data, r->len, c->q.offset, &complete)) {
		guest_lied(c->node.disk);
		error = -EIO;
	}
	if (!error) {
		free(d->part);
		d->part = malloc(r->len + 1);
		error = d->part ? 0 : -ENOMEM;
	}
	if (error) {
		free(rd->l.buf);
		guest_refuse(c->req, &c->node, error, r->why);
	} else {
		memcpy(d->part, r->data, r->len);
		d->len = r->len;
		d->first = d->index = c->q.offset;
		d->at = 0;
		d->complete = complete;
		list_entries(&rd->l, d);
	}
	free(rd);
}

static void ask_part(const struct listing *l, struct guest_dir *d, uint64_t index)
{
	struct reading *rd = guest_call_new(sizeof(*rd), l->req, &d->n, INSPECT_LIST, part_known);

	if (!rd) {
		free(l->buf);
		return;
	}
	rd->dir = d;
	rd->l = *l;
	rd->call.q.offset = index;
	guest_ask(&rd->call);
}

static void read_dir(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
	struct listing l = { .req = req, .size = size, .plus = plus };
	struct guest_dir *d = dir_of(fi);
	struct lab_err err = LAB_ERR_INIT;
	int r = off < 0 ? -EINVAL : guest_disk_check(d->n.disk, &err);

	if (!r && d->n.part == GUEST_DISK && !d->n.disk->known)
		r = lab_fail(&err, -ESTALE, "the disk is another one by now");
	if (r < 0) {
		guest_refuse(req, &d->n, r, err.text);
		return;
	}
	l.buf = malloc(size);
	if (!l.buf) {
		fuse_reply_err(req, ENOMEM);
	} else if (d->n.part == GUEST_DISK) {
		list_disk(&l, d, off);
		reply_listing(&l);
	} else if (off < DOTS && !put_dots(&l, d, off)) {
		reply_listing(&l);
	} else {
		uint64_t index = off < DOTS ? 0 : (uint64_t)off - DOTS;

		if (seek_entry(d, index))
			list_entries(&l, d);
		else
			ask_part(&l, d, index);
	}
}

void guest_dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)ino;
	read_dir(req, size, off, fi, false);
}

void guest_dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			 struct fuse_file_info *fi)
{
	(void)ino;
	read_dir(req, size, off, fi, true);
}
