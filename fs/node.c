// SPDX-License-Identifier: GPL-2.0-or-later
/* node.c - inode numbers, and what they stand for */
#define _GNU_SOURCE
#include "fs/node.h"

#include "fs/events.h"
#include "fs/guest.h"
#include "fs/live.h"
#include "fs/upload.h"
#include "lib/num.h"
#include "lib/util.h"

#include <assert.h>
#include <string.h>

static_assert(CLASS_COUNT <= 3 << 4, "six bits of an inode number, not both highest");

static double mounted; /* time of what is not in the store */

__attribute__((constructor)) static void note_start(void)
{
	mounted = num_wall();
}

uint64_t node_number(const struct node *node)
{
	if (node->class == CLASS_GUEST)
		return guest_number(node->id, 0, GUEST_DIR);
	return ((uint64_t)node->class << 58 | (uint64_t)(node->id & NODE_ID_MASK) << 28 |
		(uint64_t)(node->sub & NODE_SUB_MASK) << 8 | node->attr) +
	       1;
}

bool node_parse(uint64_t number, struct node *ret)
{
	uint64_t n = number - 1;
	struct guest_node guest;
	struct node node = { .class = (enum class_id)(n >> 58),
			     .id = n >> 28 & NODE_ID_MASK,
			     .sub = n >> 8 & NODE_SUB_MASK,
			     .attr = (uint8_t)n };

	if (guest_parse(number, &guest)) {
		*ret = (struct node){ .class = CLASS_GUEST, .id = guest.row };
		return guest.part == GUEST_DISK && guest.ino == GUEST_DIR;
	}
	if (!number || n >> 58 >= CLASS_COUNT || node.attr > classes[node.class]->nentries)
		return false;
	*ret = node;
	return true;
}

void ref_done(struct ref *ref)
{
	item_done(&ref->item);
	item_done(&ref->lab);
	item_done(&ref->owner);
	*ref = (struct ref){ 0 };
}

static const struct entry *entry_of(const struct node *node)
{
	return node->attr ? &classes[node->class]->entries[node->attr - 1] : NULL;
}

int node_resolve(uint64_t number, struct ref *ret)
{
	if (!node_parse(number, &ret->node))
		return -ENOENT;
	ret->class = classes[ret->node.class];
	ret->entry = entry_of(&ret->node);
	if (ret->node.class == CLASS_UPLOAD)
		return upload_exists(ret->node.id) ? 0 : -ENOENT;
	if (!ret->class->kind)
		return 0;
	if (!model_get(ret->class->kind, ret->node.id, &ret->item))
		return -ENOENT;
	/* A lab is its own lab, so that what works on a lab need not ask */
	if ((ret->item.lab || ret->item.kind == KIND_LAB) &&
	    !model_get(KIND_LAB, ret->item.lab ? ret->item.lab : ret->item.id, &ret->lab))
		return -ENOENT;
	return !ret->class->part || ret->class->part(ret) ? 0 : -ENOENT;
}

/*
 * Links and disks are there only while there is something behind them, and what labd makes
 * of a guest while that runs: so tar and grep -r have no trouble with one that does not
 */
static bool is_there(const struct ref *dir, const struct entry *entry)
{
	char path[IO_PATH];

	if (entry->ask)
		return json_integer_value(json_object_get(dir->item.json, "pid")) > 0;
	if (entry->type != ENTRY_LINK && entry->type != ENTRY_DISK)
		return true;
	return entry->path(dir, path) >= 0;
}

static struct node node_of_entry(const struct ref *dir, size_t i)
{
	struct node node = dir->node;

	if (dir->class->entries[i].type == ENTRY_DIR)
		node.class = dir->class->entries[i].dir;
	else
		node.attr = (uint8_t)(i + 1);
	return node;
}

/* What a search for a name in a list found */
struct search {
	const char *name;
	struct node *ret;
	bool found;
};

static bool compare(void *arg, const char *name, const struct node *node)
{
	struct search *s = arg;

	if (strcmp(name, s->name))
		return true;
	*s->ret = *node;
	s->found = true;
	return false;
}

int node_lookup(const struct ref *dir, const char *name, struct node *ret)
{
	struct search search = { .name = name, .ret = ret };
	int r;

	if (dir->entry || !S_ISDIR(dir->class->mode))
		return -ENOTDIR;
	for (size_t i = 0; i < dir->class->nentries; i++) {
		if (strcmp(dir->class->entries[i].name, name))
			continue;
		if (!is_there(dir, &dir->class->entries[i]))
			return -ENOENT;
		*ret = node_of_entry(dir, i);
		return 0;
	}
	if (!dir->class->members)
		return -ENOENT;
	if (dir->class->members->find)
		return dir->class->members->find(dir, name, ret);
	r = dir->class->members->list(dir, compare, &search);
	return r < 0 ? r : search.found ? 0 : -ENOENT;
}

int node_list(const struct ref *dir, member_fn fn, void *arg)
{
	for (size_t i = 0; i < dir->class->nentries; i++) {
		struct node node = node_of_entry(dir, i);

		if (is_there(dir, &dir->class->entries[i]) &&
		    !fn(arg, dir->class->entries[i].name, &node))
			return 0;
	}
	return dir->class->members ? dir->class->members->list(dir, fn, arg) : 0;
}

struct node node_above(const struct ref *ref)
{
	struct node above = { .class = ref->class->up };
	enum kind kind = classes[ref->class->up]->kind;

	if (ref->entry) {
		above = ref->node;
		above.attr = 0;
	} else if (kind && kind == ref->class->kind) {
		above.id = ref->node.id;
	} else if (kind == KIND_LAB) {
		above.id = ref->lab.id;
	} else if (kind == KIND_SNAPSHOT) {
		above.id = ref->item.id; /* of a member: the snapshot it is part of */
	}
	return above;
}

/* The name of a fixed directory in the one above */
static const char *fixed_name(const struct ref *ref)
{
	const struct class *above = classes[ref->class->up];

	for (size_t i = 0; i < above->nentries; i++)
		if (above->entries[i].type == ENTRY_DIR && above->entries[i].dir == ref->node.class)
			return above->entries[i].name;
	return NULL;
}

static const char *own_name(const struct ref *ref)
{
	const char *name = ref->entry ? ref->entry->name : fixed_name(ref);

	if (!name && ref->part)
		name = attr_string(ref, "name");
	if (!name && classes[ref->class->up]->kind == KIND_SNAPSHOT)
		name = ref->owner.name;
	return name ? name : ref->item.name;
}

char *node_path(const struct ref *ref)
{
	struct node node = node_above(ref);
	autofree char *up = NULL;
	autoref struct ref above = { 0 };
	char *path = NULL;

	if (ref->node.class == CLASS_ROOT && !ref->entry)
		return strdup("");
	if (node_resolve(node_number(&node), &above) < 0)
		return NULL;
	up = node_path(&above);
	if (!up || asprintf(&path, "%s/%s", up, own_name(ref)) < 0)
		return NULL;
	return path;
}

mode_t node_mode(const struct node *node)
{
	const struct entry *entry = entry_of(node);

	if (!entry)
		return classes[node->class]->mode;
	return entry->type == ENTRY_LINK ? S_IFLNK | 0777 : S_IFREG | entry->mode;
}

int node_value(const struct ref *ref, char **ret, size_t *ret_len)
{
	autofree char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int r = 0;

	if (!out)
		return -ENOMEM;
	if (ref->entry->show)
		r = ref->entry->show(ref, out);
	if (fflush(out))
		r = -ENOMEM;
	if (!r && len && text[len - 1] != '\n')
		fputc('\n', out);
	if (fclose(out))
		r = -ENOMEM;
	if (r < 0)
		return r;
	*ret = steal_ptr(text);
	*ret_len = len;
	return 0;
}

/* The file behind */
static int look_at(const struct ref *ref, struct stat *ret)
{
	char path[IO_PATH];
	int r;

	if (!ref->entry->path)
		return live_stat(&ref->node, ret);
	r = ref->entry->path(ref, path);
	if (r < 0)
		return r;
	return stat(path, ret) < 0 ? -errno : 0;
}

/* A file of labd's: its size, its blocks, its time */
static void stat_file(const struct ref *ref, struct stat *ret)
{
	struct stat st;

	if (look_at(ref, &st) < 0)
		return;
	ret->st_size = st.st_size;
	ret->st_blocks = st.st_blocks;
	ret->st_mtim = st.st_mtim;
	ret->st_ctim = st.st_ctim;
}

static void stat_text(const struct ref *ref, struct stat *ret)
{
	autofree char *text = NULL;
	size_t len = 0;

	if (ref->entry->mode & 0444 && !node_value(ref, &text, &len))
		ret->st_size = (off_t)len;
	if (!len && ref->entry->late)
		ret->st_size = ref->entry->late(ref);
	ret->st_blocks = (blkcnt_t)((len + 511) / 512);
}

static int stat_link(const struct ref *ref, struct stat *ret)
{
	char path[IO_PATH];
	int r = ref->entry ? ref->entry->path(ref, path) : ref->class->path(ref, path);

	if (!r)
		ret->st_size = (off_t)strlen(path);
	return r;
}

static void stat_time(const struct ref *ref, struct stat *ret)
{
	const char *key = ref->entry ? ref->entry->key : NULL;
	double time = ref->item.kind ? model_mtime(ref->item.kind, ref->item.id, key) : 0;

	time = time > 0 ? time : mounted;
	ret->st_mtim.tv_sec = (time_t)time;
	ret->st_mtim.tv_nsec = (long)((time - (double)(time_t)time) * 1e9);
	ret->st_atim = ret->st_ctim = ret->st_mtim;
}

int node_stat(const struct ref *ref, struct stat *ret)
{
	*ret = (struct stat){ .st_ino = node_number(&ref->node),
			      .st_mode = node_mode(&ref->node),
			      .st_nlink = 1,
			      .st_uid = geteuid(),
			      .st_gid = getegid(),
			      .st_blksize = 4096 };
	if (ref->node.class == CLASS_UPLOAD)
		return upload_stat(ref->node.id, ret);
	stat_time(ref, ret);
	if (S_ISLNK(ret->st_mode))
		return stat_link(ref, ret);
	if (!ref->entry)
		return 0;
	switch (ref->entry->type) {
	case ENTRY_TEXT:
	case ENTRY_BULK:
		stat_text(ref, ret);
		break;
	case ENTRY_EVENTS:
		ret->st_size = (off_t)events_size();
		break;
	case ENTRY_LOG:
	case ENTRY_CAPTURE:
	case ENTRY_OUTPUT:
	case ENTRY_DISK:
		stat_file(ref, ret);
		break;
	case ENTRY_SHOT: /* not known before it is made */
	case ENTRY_LINK:
	case ENTRY_DIR:
		break;
	}
	return 0;
}
