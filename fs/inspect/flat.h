/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flat.h - all names of a filesystem, read when it is opened
 *
 * DOC: Theory of Operation
 *
 * For filesystems whose own format has no numbers by which a file could be found again. The
 * number of a file is its place in a list that is made by one walk, breadth first, names of a
 * directory in order. What is walked does not change, so the next labinspect of the disk
 * makes the same list: numbers that the kernel has kept stay valid.
 *
 * A directory's children stand in one row. A walk is bounded: names, depth. That it
 * does not come to the same directory twice is seen to by who reads directories, with flat_once().
 */
#ifndef FS_INSPECT_FLAT_H
#define FS_INSPECT_FLAT_H

#include "fs/inspect/protocol.h"
#include "lib/err.h"

#include <stddef.h>
#include <sys/types.h>

#define FLAT_MAX_NAMES (1U << 19)

/**
 * struct flat_node - a name
 * @target:	of a link, as the guest has it; or NULL
 * @own:	of whoever reads the filesystem, for struct flat.drop
 * @serial:	two files with the same one, not 0, are one
 * @attr:	its @ino is the number by which the file is found, here or at another name
 * @depth:	directories above
 * @first, @n:	children
 * @error:	why they cannot be read
 */
struct flat_node {
	char *name, *target;
	void *own;
	uint64_t serial;
	struct inspect_attr attr;
	uint32_t depth, first, n;
	int error;
};

/**
 * struct flat - the list; its first one is INSPECT_ROOT
 * @seen:	directories that were read, tsearch()
 * @drop:	gives up what a node has; set by whoever reads the filesystem
 */
struct flat {
	struct flat_node *v;
	size_t n, room;
	void *seen;
	void (*drop)(void *own);
};

/**
 * flat_add() - A name in the directory that is being read
 * @node:	all of it is taken over, also on failure
 *
 * Return: 0; -EUCLEAN: no name can be like that, -ENOMEM, -EFBIG: too many
 */
int flat_add(struct flat *f, uint32_t dir, struct flat_node *node);

/**
 * flat_walk() - Read all directories
 * @root:	its @own and @attr; taken over, also on failure
 * @read:	add what is in one; 0, or what whoever opens it is told
 *
 * Return: 0; -EUCLEAN and what @read said, of the root; -ENOMEM, -EFBIG
 */
int flat_walk(struct flat *f, struct flat_node *root, int (*read)(void *arg, uint32_t dir),
	      void *arg);

/**
 * flat_once() - A directory is read
 * @key:	tells it from others, whatever names lead to it
 *
 * Return: 0, -EUCLEAN if it was already, -ENOMEM
 */
int flat_once(struct flat *f, uint64_t key);

/** flat_refuse() - Words for a failure of flat_walk(), or of what it calls */
int flat_refuse(struct lab_err *err, int code);

/** flat_get() - What a number means; NULL: nothing */
const struct flat_node *flat_get(const struct flat *f, uint32_t ino);

/**
 * flat_file() - Find a file to read from
 * @len:	cut to what there is behind @at
 *
 * Return: 0, -EUCLEAN, -EINVAL if it is no regular file
 */
int flat_file(const struct flat *f, uint32_t ino, uint64_t at, uint64_t *len,
	      const struct flat_node **ret);

void flat_done(struct flat *f);

/* Functions of struct fs_kind, for filesystems whose struct begins with a struct flat */
const char *flat_state(const void *fs);
int flat_attr(void *fs, uint32_t ino, uint32_t depth, struct inspect_attr *ret);
int flat_lookup(void *fs, uint32_t dir, const char *name, size_t len, uint32_t *ret);
ssize_t flat_list(void *fs, uint32_t dir, uint32_t depth, uint64_t from, void *buf, size_t room);
int flat_link(void *fs, uint32_t ino, uint32_t depth, char ret[INSPECT_TARGET]);

#endif
