// SPDX-License-Identifier: GPL-2.0-or-later
/* dir.c - open directories: their names are captured when they are opened */
#define _GNU_SOURCE
#include "fs/tree.h"

#include "lib/util.h"

#include <string.h>

struct dir_name {
	struct node node;
	char *name;
};

static bool add_name(void *arg, const char *name, const struct node *node)
{
	struct handle *h = arg;

	if (h->nnames == h->room) {
		size_t room = h->room ? 2 * h->room : 32;
		struct dir_name *more = reallocarray(h->names, room, sizeof(*more));

		if (!more)
			return false;
		h->names = more;
		h->room = room;
	}
	h->names[h->nnames] = (struct dir_name){ .node = *node, .name = strdup(name) };
	return h->names[h->nnames++].name;
}

static void dir_free(struct handle *h)
{
	for (size_t i = 0; i < h->nnames; i++)
		free(h->names[i].name);
	handle_free(h);
}

static int capture(const struct ref *ref, struct handle *h)
{
	struct node above = node_above(ref);

	if (!add_name(h, ".", &ref->node) || !add_name(h, "..", &above))
		return -ENOMEM;
	return node_list(ref, add_name, h);
}

void dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	autoref struct ref ref = { 0 };
	struct handle *h;

	if (node_resolve(ino, &ref) < 0) {
		fuse_reply_err(req, tree_gone(ino));
		return;
	}
	h = handle_new(&ref);
	if (!h || capture(&ref, h) < 0) {
		if (h)
			dir_free(h);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)h;
	if (fuse_reply_open(req, fi) < 0)
		dir_free(h);
}

/* Put one name into the answer; 0 if it does not fit */
static size_t put_name(fuse_req_t req, char *buf, size_t size, const struct dir_name *name,
		       off_t next, bool plus)
{
	struct fuse_entry_param entry = { .attr = { .st_ino = node_number(&name->node),
						    .st_mode = node_mode(&name->node) } };
	autoref struct ref ref = { 0 };
	size_t need;

	if (!plus) {
		need = fuse_add_direntry(req, buf, size, name->name, &entry.attr, next);
		return need <= size ? need : 0;
	}
	/* With an inode number of 0 the kernel takes the name alone: "." and what is gone */
	if (name->name[0] != '.' && !node_resolve(entry.attr.st_ino, &ref) &&
	    tree_entry(&ref, &entry) < 0)
		entry.ino = 0;
	need = fuse_add_direntry_plus(req, buf, size, name->name, &entry, next);
	return need <= size ? need : 0;
}

static void read_names(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
	const struct handle *h = (const void *)(uintptr_t)fi->fh;
	autofree char *buf = malloc(size);
	size_t at = 0, n = 1;

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (size_t i = (size_t)off; n && i < h->nnames; i++) {
		n = put_name(req, buf + at, size - at, &h->names[i], (off_t)i + 1, plus);
		at += n;
	}
	fuse_reply_buf(req, buf, at);
}

void dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	read_names(req, size, off, fi, false);
}

void dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	(void)ino;
	read_names(req, size, off, fi, true);
}

void dir_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	dir_free((struct handle *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}
