/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * node.h - inode numbers, and what they stand for
 *
 * A number is made of the class, the store's id, the part and the index in the
 * class's table, and nothing is remembered about it: it is the same after labd
 * or the mirror came back, and since the store never gives an id twice, it
 * never stands for something else later.
 *
 *	63      58        28          8         0
 *	| class |   id    |   sub     |  attr   |    + 1, so that the root is 1
 *
 * Numbers whose two highest bits are set are of files of guests (guest.h).
 */
#ifndef FS_NODE_H
#define FS_NODE_H

#include "fs/attr.h"

#include <stdint.h>
#include <sys/stat.h>

#define NODE_SUB_MASK 0xfffffU
#define NODE_ID_MASK 0x3fffffffU

uint64_t node_number(const struct node *node);

/** node_parse() - The parts of a number; false if no node can have it */
bool node_parse(uint64_t number, struct node *ret);

/** ref_done() - Release what a ref holds; it is empty afterwards */
void ref_done(struct ref *ref);

#define autoref __attribute__((cleanup(ref_done)))

/**
 * node_resolve() - Find what a number stands for now
 * @ret:	empty; to be released in any case
 *
 * Return: 0, or -ENOENT if its object is gone
 */
int node_resolve(uint64_t number, struct ref *ret);

/**
 * node_lookup() - Find a name in a directory
 * @dir:	resolved directory
 *
 * Return: 0, -ENOENT, -ENOTDIR
 */
int node_lookup(const struct ref *dir, const char *name, struct node *ret);

/**
 * node_list() - All names in a directory, fixed ones first
 * @fn:		false: enough
 */
int node_list(const struct ref *dir, member_fn fn, void *arg);

/** node_above() - The directory that a resolved name is in */
struct node node_above(const struct ref *ref);

/** node_path() - Where it is in the tree, for messages; malloced or NULL */
char *node_path(const struct ref *ref);

/** node_mode() - Type and permissions, without looking at the object */
mode_t node_mode(const struct node *node);

/**
 * node_value() - The value of a text, with its newline
 * @ret:	malloced, @ret_len bytes
 *
 * Return: 0 or negative errno
 */
int node_value(const struct ref *ref, char **ret, size_t *ret_len);

/** node_stat() - Attributes as they are now; 0 or negative errno */
int node_stat(const struct ref *ref, struct stat *ret);

#endif
