/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest_child.h - the labinspects: one a disk that is being looked at
 *
 * DOC: Theory of Operation
 *
 * A child is started by the first question about its disk. labd is asked, by a worker, which
 * files the disk consists of; the worker opens them; the loop starts labinspect and hands
 * the descriptors over. It is asked until nobody has had a question for CHILD_IDLE_US. At most
 * CHILD_MAX run at a time: for one more, the one that has been idle longest ends.
 *
 * Answers come in the order of the questions. At most CHILD_AHEAD are sent before the
 * first is answered, the others wait here. The first has CHILD_ANSWER_US from the moment it
 * is the first. A child that does not answer, says what makes no sense or dies is
 * ended; all its questions get -EIO. The next one starts a new child. So one file that
 * makes it hang costs its reader that time, each time, and nobody else more.
 *
 * The loop waits for children and /dev/fuse at once, and writes to a child only what fits.
 */
#ifndef FS_GUEST_CHILD_H
#define FS_GUEST_CHILD_H

#include "fs/guest.h"

#define CHILD_MAX 32
#define CHILD_AHEAD 16
#define CHILD_ANSWER_US 5000000
#define CHILD_IDLE_US 15000000

/**
 * struct guest_reply - an answer
 * @error:	0 or negative errno
 * @why:	its words
 * @data, @len:	valid until done() returns
 */
struct guest_reply {
	int error;
	const char *why;
	const void *data;
	size_t len;
};

/**
 * struct guest_call - a question; the first member of what its asker allocates
 * @q:		what is asked
 * @done:	called once, from the loop; frees the call
 * @node:	whom it is about
 * @req:	to be answered by @done
 */
struct guest_call {
	struct guest_call *next;
	struct inspect_request q;
	void (*done)(struct guest_call *c, const struct guest_reply *r);
	struct guest_node node;
	fuse_req_t req;
};

/**
 * guest_call_new() - A question about a node
 * @size:	of what it is the first member of
 *
 * Return: zeroed but for node, req, done, and q's op, part, ino and depth; NULL without
 * memory: then the request has been answered
 */
void *guest_call_new(size_t size, fuse_req_t req, const struct guest_node *node, enum inspect_op op,
		     void (*done)(struct guest_call *c, const struct guest_reply *r));

/** guest_ask() - Ask the child of a disk; it is started if there is none */
void guest_ask(struct guest_call *call);

/** guest_drop() - End the child of a disk: its questions get @code */
void guest_drop(struct guest_disk *disk, int code, const char *why);

/** guest_lied() - The child of a disk said what makes no sense: end it */
void guest_lied(struct guest_disk *disk);

/**
 * struct guest_chain - the files of a disk; counted references
 * @serial:	no other has had it
 */
struct guest_chain {
	uint64_t serial;
	unsigned int refs;
	size_t n;
	int fds[];
};

struct guest_chain *guest_chain_ref(struct guest_chain *chain);

/** guest_chain_unref() - Takes NULL, returns NULL */
struct guest_chain *guest_chain_unref(struct guest_chain *chain);

/** guest_chain_of() - Of a disk's child, NULL if it has none that reads; borrowed */
struct guest_chain *guest_chain_of(const struct guest_disk *disk);

/**
 * guest_child_init() - Before the loop
 * @exec:	directory of labinspect, borrowed for good
 */
int guest_child_init(const char *exec);

/** guest_child_wake() - From any thread: have the loop call guest_child_run() */
void guest_child_wake(void);

/**
 * guest_child_poll() - What to wait for
 * @p:		@room of them, at least CHILD_MAX + 1
 * @ret_timeout: ms, -1 for ever
 *
 * Return: how many
 */
size_t guest_child_poll(struct pollfd *p, size_t room, int *ret_timeout);

/** guest_child_run() - Take what has come, end what is late */
void guest_child_run(const struct pollfd *p, size_t n);

/** guest_child_end() - All of them, when labfs ends */
void guest_child_end(void);

#endif
