// SPDX-License-Identifier: GPL-2.0-or-later
/* flat.c - all names of a filesystem, read when it is opened */
#define _GNU_SOURCE
#include "fs/inspect/flat.h"

#include "fs/inspect/link.h"
#include "lib/util.h"

#include <search.h>
#include <string.h>
#include <sys/stat.h>

static void free_node(const struct flat *f, const struct flat_node *node)
{
	free(node->name);
	free(node->target);
	if (node->own)
		f->drop(node->own);
}

static bool valid_name(const char *name)
{
	size_t len = name ? strlen(name) : 0;

	return len && len <= INSPECT_NAME && !strchr(name, '/') && strcmp(name, ".") &&
	       strcmp(name, "..");
}

static int append(struct flat *f, const struct flat_node *node)
{
	if (f->n == FLAT_MAX_NAMES)
		return -EFBIG;
	if (f->n == f->room) {
		size_t room = f->room ? 2 * f->room : 64;
		struct flat_node *more = reallocarray(f->v, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		f->v = more;
		f->room = room;
	}
	f->v[f->n] = *node;
	f->v[f->n].attr.ino = (uint32_t)f->n;
	f->n++;
	return 0;
}

static int start(struct flat *f, const struct flat_node *root)
{
	static const struct flat_node none;
	int r = S_ISDIR(root->attr.mode) ? 0 : -EUCLEAN;

	while (!r && f->n < INSPECT_ROOT)
		r = append(f, &none);
	if (!r)
		r = append(f, root);
	if (r < 0)
		free_node(f, root);
	return r;
}

int flat_add(struct flat *f, uint32_t dir, struct flat_node *node)
{
	int r = -EUCLEAN;

	node->depth = f->v[dir].depth + 1;
	if (valid_name(node->name) && !(node->attr.size >> 63))
		r = append(f, node);
	if (r < 0)
		free_node(f, node);
	return r;
}

static int by_name(const void *a, const void *b)
{
	const struct flat_node *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int read_dir(struct flat *f, uint32_t dir, int (*read)(void *arg, uint32_t dir), void *arg)
{
	size_t first = f->n;
	int r = f->v[dir].depth < INSPECT_MAX_DEPTH ? read(arg, dir) : -EUCLEAN;

	if (r < 0)
		while (f->n > first)
			free_node(f, &f->v[--f->n]);
	if (r == -ENOMEM || r == -EFBIG)
		return r;
	f->v[dir].error = r;
	f->v[dir].first = (uint32_t)first;
	f->v[dir].n = (uint32_t)(f->n - first);
	if (f->n > first)
		qsort(&f->v[first], f->n - first, sizeof(*f->v), by_name);
	for (size_t i = first; i < f->n; i++)
		f->v[i].attr.ino = (uint32_t)i;
	return 0;
}

static int by_serial(const void *a, const void *b)
{
	const struct flat_node *x = *(const struct flat_node *const *)a;
	const struct flat_node *y = *(const struct flat_node *const *)b;

	if (x->serial != y->serial)
		return x->serial < y->serial ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Names of the same file get the number of the first */
static int join_names(struct flat *f)
{
	autofree struct flat_node **sorted = reallocarray(NULL, f->n, sizeof(struct flat_node *));
	size_t n = 0;

	if (!sorted)
		return -ENOMEM;
	for (size_t i = INSPECT_ROOT; i < f->n; i++)
		if (f->v[i].serial && f->v[i].attr.nlink > 1 && !S_ISDIR(f->v[i].attr.mode))
			sorted[n++] = &f->v[i];
	if (n)
		qsort(sorted, n, sizeof(struct flat_node *), by_serial);
	for (size_t i = 1; i < n; i++) {
		const struct inspect_attr *first = &sorted[i - 1]->attr;

		if (sorted[i]->serial == sorted[i - 1]->serial &&
		    first->mode == sorted[i]->attr.mode && first->size == sorted[i]->attr.size)
			sorted[i]->attr.ino = first->ino;
	}
	return 0;
}

int flat_walk(struct flat *f, struct flat_node *root, int (*read)(void *arg, uint32_t dir),
	      void *arg)
{
	int r = start(f, root);

	for (uint32_t i = INSPECT_ROOT; !r && i < f->n; i++)
		if (S_ISDIR(f->v[i].attr.mode))
			r = read_dir(f, i, read, arg);
	if (!r)
		r = join_names(f);
	return r < 0 ? r : f->v[INSPECT_ROOT].error;
}

static int by_key(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;

	return x < y ? -1 : x > y;
}

/* A key is kept as a pointer to nothing, which NULL is not */
int flat_once(struct flat *f, uint64_t key)
{
	const void *p = (const void *)(uintptr_t)(key + 1);

	if (key == UINT64_MAX || tfind(p, &f->seen, by_key))
		return -EUCLEAN;
	return tsearch(p, &f->seen, by_key) ? 0 : -ENOMEM;
}

static void keep(void *key)
{
	(void)key;
}

int flat_refuse(struct lab_err *err, int code)
{
	if (code == -EFBIG)
		return lab_fail(err, -EOPNOTSUPP, "it has more than %u names", FLAT_MAX_NAMES);
	if (code == -ENOMEM)
		return lab_fail_errno(err, code, "opening it");
	return lab_fail(err, code, "it is damaged");
}

const struct flat_node *flat_get(const struct flat *f, uint32_t ino)
{
	return ino >= INSPECT_ROOT && ino < f->n ? &f->v[ino] : NULL;
}

int flat_file(const struct flat *f, uint32_t ino, uint64_t at, uint64_t *len,
	      const struct flat_node **ret)
{
	const struct flat_node *node = flat_get(f, ino);

	if (!node)
		return -EUCLEAN;
	if (!S_ISREG(node->attr.mode))
		return -EINVAL;
	*len = at < node->attr.size ? MIN(*len, node->attr.size - at) : 0;
	*ret = node;
	return 0;
}

void flat_done(struct flat *f)
{
	for (size_t i = 0; i < f->n; i++)
		free_node(f, &f->v[i]);
	free(f->v);
	tdestroy(f->seen, keep);
	*f = (struct flat){ 0 };
}

/* None has a journal */
const char *flat_state(const void *fs)
{
	(void)fs;
	return "clean";
}

int flat_attr(void *fs, uint32_t ino, uint32_t depth, struct inspect_attr *ret)
{
	const struct flat_node *node = flat_get(fs, ino);
	char shown[INSPECT_TARGET];

	if (!node)
		return -EUCLEAN;
	*ret = node->attr;
	/* What is shown of a link may be longer or shorter than what is there */
	if (node->target && !link_show(node->target, depth, shown))
		ret->size = strlen(shown);
	return 0;
}

static int find_dir(const struct flat *f, uint32_t dir, const struct flat_node **ret)
{
	*ret = flat_get(f, dir);
	if (!*ret)
		return -EUCLEAN;
	return S_ISDIR((*ret)->attr.mode) ? (*ret)->error : -ENOTDIR;
}

static int compare(const char *name, size_t len, const char *other)
{
	int r = strncmp(name, other, len);

	return r ? r : -(other[len] != '\0');
}

int flat_lookup(void *fs, uint32_t dir, const char *name, size_t len, uint32_t *ret)
{
	const struct flat *f = fs;
	const struct flat_node *d;
	int r = find_dir(f, dir, &d);
	uint32_t low = 0, high;

	if (r < 0)
		return r;
	high = d->n;
	while (low < high) {
		uint32_t mid = (low + high) / 2;
		const struct flat_node *node = &f->v[d->first + mid];
		int way = compare(name, len, node->name);

		if (!way) {
			*ret = node->attr.ino;
			return 0;
		}
		if (way < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return -ENOENT;
}

ssize_t flat_list(void *fs, uint32_t dir, uint32_t depth, uint64_t from, void *buf, size_t room)
{
	const struct flat *f = fs;
	const struct flat_node *d;
	int r = find_dir(f, dir, &d);
	size_t at = 0;

	if (r < 0)
		return r;
	for (uint64_t i = from; i < d->n; i++) {
		const struct flat_node *node = &f->v[d->first + i];
		struct inspect_entry *e = (struct inspect_entry *)((char *)buf + at);
		size_t len = strlen(node->name), size = (sizeof(*e) + len + 7) / 8 * 8;

		if (size > room - at)
			break;
		memset(e, 0, size);
		e->size = (uint32_t)size;
		e->name_len = (uint32_t)len;
		memcpy(e->name, node->name, len);
		(void)flat_attr(fs, node->attr.ino, depth, &e->attr);
		e->type = e->attr.mode & S_IFMT;
		e->next = i + 1 < d->n ? i + 1 : UINT64_MAX;
		at += size;
	}
	return (ssize_t)at;
}

int flat_link(void *fs, uint32_t ino, uint32_t depth, char ret[INSPECT_TARGET])
{
	const struct flat_node *node = flat_get(fs, ino);

	if (!node)
		return -EUCLEAN;
	return node->target ? link_show(node->target, depth, ret) : -EINVAL;
}
