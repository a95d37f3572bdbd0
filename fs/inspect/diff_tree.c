// SPDX-License-Identifier: GPL-2.0-or-later
/* diff_tree.c - walk two filesystems at once */
#define _GNU_SOURCE
#include "fs/inspect/diff.h"

#include "lib/util.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

/**
 * struct sight - what is at one place on both sides
 * @ino:	0: nothing
 * @dir:	the directory it was found in; 0: it is the root
 * @shared:	both have the same inode, in the same place
 */
struct sight {
	uint32_t ino[2], dir[2];
	bool shared;
	union ext_inode in[2];
	struct inspect_was was[2];
};

static bool is_shared(const struct diff *d, const struct sight *s)
{
	uint32_t size;
	uint64_t at;

	if (!d->alike || s->ino[0] != s->ino[1])
		return false;
	at = ext_where(d->fs[0], s->ino[0], &size);
	return at == ext_where(d->fs[1], s->ino[1], &size) && same_all(&d->same, at, size);
}

static struct inspect_was was(const union ext_inode *in)
{
	const struct ext2_inode *i = &in->base;

	return (struct inspect_was){ .mode = i->i_mode,
				     .uid = inode_uid(*i),
				     .gid = inode_gid(*i),
				     .rdev = ext_device(i),
				     .size = LINUX_S_ISREG(i->i_mode) ? EXT2_I_SIZE(i) : 0 };
}

static int look(const struct diff *d, struct sight *s)
{
	s->shared = is_shared(d, s);
	for (size_t i = 0; i < 2; i++) {
		int r = 0;

		if (!s->ino[i])
			continue;
		if (i && s->shared)
			s->in[1] = s->in[0];
		else
			r = ext_inode(d->fs[i], s->ino[i], &s->in[i]);
		if (!r && s->dir[i])
			r = ext_check_parent(d->fs[i], s->ino[i], s->dir[i]);
		if (r < 0)
			return r;
		s->was[i] = was(&s->in[i]);
	}
	return 0;
}

/* ---- one name ----------------------------------------------------------------------- */

static int read_targets(const struct diff *d, const struct sight *s,
			char targets[2][INSPECT_TARGET])
{
	int r = 0;

	for (size_t i = 0; !r && i < 2; i++)
		if (s->ino[i] && LINUX_S_ISLNK(s->was[i].mode))
			r = ext_target(d->fs[i], s->ino[i], targets[i]);
	return r;
}

/* What of the contents of two of one type differs: bits, or negative errno */
static int compare_contents(struct diff *d, const struct sight *s)
{
	int r;

	if (!LINUX_S_ISREG(s->was[0].mode))
		return s->was[0].rdev != s->was[1].rdev ? INSPECT_OF_DEVICE : 0;
	if (s->was[0].size != s->was[1].size)
		return INSPECT_OF_CONTENT;
	r = diff_files(d, s->ino, &s->in[0], s->shared);
	return r < 0 ? r : r ? 0 : INSPECT_OF_CONTENT;
}

static int compare(struct diff *d, const struct sight *s)
{
	const struct inspect_was *a = &s->was[0], *b = &s->was[1];
	int what = 0, r = 0;

	if ((a->mode ^ b->mode) & 07777)
		what |= INSPECT_OF_MODE;
	if (a->uid != b->uid || a->gid != b->gid)
		what |= INSPECT_OF_OWNER;
	if ((a->mode ^ b->mode) & S_IFMT)
		what |= INSPECT_OF_TYPE;
	else
		r = compare_contents(d, s);
	return r < 0 ? r : what | r;
}

/* Say what differs of the thing itself */
static int say(struct diff *d, const struct sight *s)
{
	char targets[2][INSPECT_TARGET] = { "", "" };
	const char *const texts[2] = { targets[0], targets[1] };
	int r = read_targets(d, s, targets), what = 0;

	if (r < 0)
		return diff_say_trouble(d, r, NULL);
	if (!s->ino[0] || !s->ino[1])
		return diff_say(d, s->ino[0] ? INSPECT_REMOVED : INSPECT_ADDED, 0, s->was, texts);
	what = compare(d, s);
	if (what == -EPIPE)
		return what;
	if (what < 0)
		return diff_say_trouble(d, what, NULL);
	if (!(what & INSPECT_OF_TYPE) && strcmp(targets[0], targets[1]) != 0)
		what |= INSPECT_OF_TARGET;
	return what ? diff_say(d, INSPECT_CHANGED, (uint32_t)what, s->was, texts) : 0;
}

/* ---- directories --------------------------------------------------------------------- */

static void names_done(struct ext_names (*names)[2])
{
	ext_names_done(&(*names)[0]);
	ext_names_done(&(*names)[1]);
}

static int visit(struct diff *d, struct sight *s, unsigned int depth);

/* One name of a directory */
static int step(struct diff *d, const struct sight *dir, const struct ext_name *const name[2],
		unsigned int depth)
{
	const struct ext_name *n = name[0] ? name[0] : name[1];
	size_t before = d->path_len;
	struct sight s = { 0 };
	int r;

	assert(n);
	for (size_t i = 0; i < 2; i++) {
		s.ino[i] = name[i] ? name[i]->ino : 0;
		s.dir[i] = name[i] ? dir->ino[i] : 0;
	}
	if (d->path[d->path_len - 1] != '/')
		d->path[d->path_len++] = '/';
	memcpy(d->path + d->path_len, n->text, n->len);
	d->path_len += n->len;
	r = visit(d, &s, depth);
	d->path_len = before;
	return r;
}

static int merge(struct diff *d, const struct sight *dir, const struct ext_names names[2],
		 unsigned int depth)
{
	size_t i = 0, j = 0;
	int r = 0;

	while (!r && (i < names[0].n || j < names[1].n)) {
		const struct ext_name *name[2] = { i < names[0].n ? &names[0].v[i] : NULL,
						   j < names[1].n ? &names[1].v[j] : NULL };
		int order = name[0] && name[1] ? ext_name_order(name[0], name[1]) : 0;

		if (order < 0)
			name[1] = NULL;
		if (order > 0)
			name[0] = NULL;
		i += name[0] != NULL;
		j += name[1] != NULL;
		r = step(d, dir, name, depth);
	}
	return r;
}

static int walk_dir(struct diff *d, const struct sight *s, unsigned int depth)
{
	__attribute__((cleanup(names_done))) struct ext_names names[2] = { { 0 }, { 0 } };

	if (depth >= INSPECT_MAX_DEPTH)
		return diff_say_trouble(d, -ELOOP, "there are too many directories in each other");
	for (size_t i = 0; i < 2; i++) {
		int r = 0;

		if (s->ino[i] && LINUX_S_ISDIR(s->was[i].mode))
			r = ext_names(d->fs[i], s->ino[i], &names[i]);
		if (r < 0)
			return diff_say_trouble(d, r, NULL);
	}
	return merge(d, s, names, depth + 1);
}

static int visit(struct diff *d, struct sight *s, unsigned int depth)
{
	int r = look(d, s);

	d->names++;
	if (r < 0)
		return diff_say_trouble(d, r, NULL);
	r = diff_tick(d, 0);
	if (!r)
		r = say(d, s);
	if (!r && (LINUX_S_ISDIR(s->was[0].mode) || LINUX_S_ISDIR(s->was[1].mode)))
		r = walk_dir(d, s, depth);
	return r;
}

/* ---- where to begin -------------------------------------------------------------------- */

/* One part of the path further; a side on which it is not there is done with */
static int descend(struct diff *d, struct sight *s, const char *name, size_t len)
{
	for (size_t i = 0; i < 2; i++) {
		int r;

		if (!s->ino[i])
			continue;
		s->dir[i] = s->ino[i];
		r = ext_lookup(d->fs[i], s->dir[i], name, len, &s->ino[i]);
		if (r == -ENOENT || r == -ENOTDIR)
			s->ino[i] = s->dir[i] = 0;
		else if (r < 0)
			return r;
	}
	if (d->path_len > 1)
		d->path[d->path_len++] = '/';
	memcpy(d->path + d->path_len, name, len);
	d->path_len += len;
	return 0;
}

int diff_walk(struct diff *d)
{
	const char *path = d->q->path, *end = path + d->q->path_len;
	struct sight s = { .ino = { d->fs[0] ? INSPECT_ROOT : 0, d->fs[1] ? INSPECT_ROOT : 0 } };
	unsigned int depth = 0;

	d->path[0] = '/';
	d->path_len = 1;
	while (path < end) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t len = (size_t)((slash ? slash : end) - path);
		int r = 0;

		if (len > INSPECT_NAME || depth > INSPECT_MAX_DEPTH)
			return 0;
		if (len && !(len == 1 && *path == '.')) {
			r = descend(d, &s, path, len);
			depth++;
		}
		if (r < 0)
			return diff_say_trouble(d, r, NULL);
		path += len + 1;
	}
	if (!s.ino[0] && !s.ino[1])
		return 0;
	d->found = true;
	return visit(d, &s, depth);
}
