// SPDX-License-Identifier: GPL-2.0-or-later
/* guest_child.c - the labinspects: one a disk that is being looked at */
#define _GNU_SOURCE
#include "fs/guest_child.h"

#include "fs/guest_start.h"
#include "lib/num.h"
#include "lib/util.h"

#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define REAP_MS 50

/** struct calls - questions in their order */
struct calls {
	struct guest_call *first, **last;
	size_t n;
};

/**
 * struct guest_child
 * @chain:	the disk's files, NULL until they are known
 * @sock:	to the process, or -EBADF until it is started
 * @opened:	it has said what the disk is
 * @sent:	questions it has
 * @waiting:	questions it will get
 * @deadline:	of the first answer
 * @used:	when it had its last question
 * @serial:	tells it from a later one at the same address
 */
struct guest_child {
	LIST_ENTRY(guest_child) link;
	struct guest_disk *disk;
	struct guest_start *start;
	struct guest_chain *chain;
	int sock;
	pid_t pid;
	bool opened;
	struct calls sent, waiting;
	uint64_t deadline, used, serial;
};

static struct {
	LIST_HEAD(, guest_child) list;
	size_t n;
	uint64_t serial;
	int wake;
	const char *exec;
	char *buffer; /* of one reply; there only while there are children */
	pid_t ended[2 * CHILD_MAX]; /* killed, and not yet waited for */
	size_t nended;
} children = { .wake = -EBADF };

/* ---- questions ------------------------------------------------------------------- */

static void push(struct calls *calls, struct guest_call *c)
{
	c->next = NULL;
	*calls->last = c;
	calls->last = &c->next;
	calls->n++;
}

static struct guest_call *pop(struct calls *calls)
{
	struct guest_call *c = calls->first;

	if (!c)
		return NULL;
	calls->first = c->next;
	if (!calls->first)
		calls->last = &calls->first;
	calls->n--;
	return c;
}

void *guest_call_new(size_t size, fuse_req_t req, const struct guest_node *node, enum inspect_op op,
		     void (*done)(struct guest_call *c, const struct guest_reply *r))
{
	struct guest_call *c = calloc(1, size);

	if (!c) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	c->req = req;
	c->node = *node;
	c->done = done;
	c->q.op = op;
	c->q.part = node->part == GUEST_ALIAS || node->part == GUEST_DISK ? 0 : node->part;
	c->q.ino = node->ino;
	c->q.depth = node->depth;
	return c;
}

/* ---- the life of a child ----------------------------------------------------------- */

static void fail_calls(struct calls *calls, int code, const char *why)
{
	const struct guest_reply r = { .error = code, .why = why };
	struct guest_call *c;

	while ((c = pop(calls)))
		c->done(c, &r);
}

/* A killed process may take its time to go, which nobody is to wait for */
static void reap(void)
{
	size_t left = 0;

	for (size_t i = 0; i < children.nended; i++)
		if (!waitpid(children.ended[i], NULL, WNOHANG))
			children.ended[left++] = children.ended[i];
	children.nended = left;
}

static void kill_process(pid_t pid)
{
	kill(pid, SIGKILL);
	if (children.nended == ARRAY_SIZE(children.ended))
		(void)RETRY(waitpid(children.ended[--children.nended], NULL, 0));
	children.ended[children.nended++] = pid;
	reap();
}

/* Whoever asks in between gets a new child: this one is not the disk's any more */
static void end_child(struct guest_child *c, int code, const char *why)
{
	c->disk->child = NULL;
	LIST_REMOVE(c, link);
	children.n--;
	guest_start_forget(c->start);
	if (c->sock >= 0)
		close(c->sock);
	if (c->pid > 0)
		kill_process(c->pid);
	c->chain = guest_chain_unref(c->chain);
	fail_calls(&c->sent, code, why);
	fail_calls(&c->waiting, code, why);
	free(c);
}

void guest_drop(struct guest_disk *disk, int code, const char *why)
{
	if (disk->child)
		end_child(disk->child, code, why);
}

void guest_lied(struct guest_disk *disk)
{
	guest_drop(disk, -EIO, "the disk's reader gave an answer that makes no sense");
}

static bool is_idle(const struct guest_child *c)
{
	return !c->sent.n && !c->waiting.n;
}

/* Room for one more; -ENFILE if all are busy */
static int make_room(void)
{
	struct guest_child *c, *oldest = NULL;

	if (children.n < CHILD_MAX)
		return 0;
	LIST_FOREACH(c, &children.list, link)
		if (is_idle(c) && (!oldest || c->used < oldest->used))
			oldest = c;
	if (!oldest)
		return -ENFILE;
	end_child(oldest, -EIO, "");
	return 0;
}

static int new_child(struct guest_disk *disk)
{
	struct guest_child *c;
	int r = make_room();

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!children.buffer)
		children.buffer = malloc(INSPECT_REPLY);
	if (!c || !children.buffer) {
		free(c);
		return -ENOMEM;
	}
	c->disk = disk;
	c->serial = ++children.serial;
	c->sock = -EBADF;
	c->sent.last = &c->sent.first;
	c->waiting.last = &c->waiting.first;
	c->deadline = UINT64_MAX; /* asking labd has one of its own */
	c->start = guest_start_new(disk);
	if (!c->start) {
		free(c);
		return -ENOMEM;
	}
	LIST_INSERT_HEAD(&children.list, c, link);
	children.n++;
	disk->child = c;
	return 0;
}

/* ---- questions and answers --------------------------------------------------------- */

static void send_calls(struct guest_child *c)
{
	while (c->opened && c->waiting.n && c->sent.n < CHILD_AHEAD) {
		struct guest_call *call = c->waiting.first;

		/* What does not fit now goes with the next answer; a dead one is seen by poll() */
		if (send(c->sock, &call->q, sizeof(call->q), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		push(&c->sent, pop(&c->waiting));
		if (c->sent.n == 1)
			c->deadline = num_now_us() + CHILD_ANSWER_US;
	}
}

void guest_ask(struct guest_call *call)
{
	struct guest_disk *disk = call->node.disk;
	int r = disk->child ? 0 : new_child(disk);

	if (r < 0) {
		const struct guest_reply reply = { .error = r, .why = strerror(-r) };

		call->done(call, &reply);
		return;
	}
	disk->child->used = num_now_us();
	push(&disk->child->waiting, call);
	send_calls(disk->child);
}

/* false: it is not of this form */
static bool parse_reply(const char *buf, size_t len, uint32_t op, struct guest_reply *ret,
			char why[INSPECT_TEXT + 1])
{
	const struct inspect_reply *h = (const void *)buf;

	if (len < sizeof(*h) || h->op != op || h->length != len - sizeof(*h) || h->error > 0 ||
	    h->error < -4095)
		return false;
	*ret = (struct guest_reply){ .error = h->error, .data = h + 1, .len = h->length };
	if (!h->error)
		return true;
	snprintf(why, INSPECT_TEXT + 1, "%.*s", (int)MIN(h->length, (uint32_t)INSPECT_TEXT),
		 (const char *)(h + 1));
	ret->why = why;
	return true;
}

/* Its first words: what the disk is, or why it cannot be read; false: it has ended */
static bool take_opening(struct guest_child *c, const struct guest_reply *r)
{
	const struct inspect_disk *info = r->data;

	if (r->error) {
		end_child(c, r->error, r->why);
		return false;
	}
	if (r->len != sizeof(*info) || info->nparts > INSPECT_MAX_PARTS || info->size > INT64_MAX) {
		guest_lied(c->disk);
		return false;
	}
	c->disk->info = *info;
	c->disk->known = true;
	c->opened = true;
	c->deadline = UINT64_MAX;
	send_calls(c);
	return true;
}

/* false: the child has ended */
static bool take_reply(struct guest_child *c, size_t len)
{
	char why[INSPECT_TEXT + 1];
	struct guest_call *call = c->sent.first;
	struct guest_disk *disk = c->disk;
	uint64_t serial = c->serial;
	struct guest_reply r;

	if ((c->opened && !call) ||
	    !parse_reply(children.buffer, len, c->opened ? call->q.op : INSPECT_DISK, &r, why)) {
		guest_lied(disk);
		return false;
	}
	if (!c->opened)
		return take_opening(c, &r);
	(void)pop(&c->sent);
	c->deadline = c->sent.n ? num_now_us() + CHILD_ANSWER_US : UINT64_MAX;
	call->done(call, &r);
	if (!disk->child || disk->child->serial != serial)
		return false;
	send_calls(c);
	return true;
}

static void take_replies(struct guest_child *c)
{
	ssize_t n;

	do {
		n = recv(c->sock, children.buffer, INSPECT_REPLY, MSG_DONTWAIT | MSG_TRUNC);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || n > INSPECT_REPLY) {
			end_child(c, -EIO, "the disk's reader has ended: the disk may be damaged");
			return;
		}
	} while (take_reply(c, (size_t)n));
}

/* labd has said which files there are, or why not */
static void take_chain(struct guest_child *c)
{
	struct lab_err err = LAB_ERR_INIT;
	int r = guest_start_take(steal_ptr(c->start), &c->chain, &err);

	if (!r)
		r = guest_start_process(children.exec, c->chain, &c->sock, &c->pid, &err);
	if (r < 0) {
		end_child(c, r, err.text);
		return;
	}
	c->deadline = num_now_us() + CHILD_ANSWER_US;
}

struct guest_chain *guest_chain_ref(struct guest_chain *chain)
{
	chain->refs++;
	return chain;
}

struct guest_chain *guest_chain_unref(struct guest_chain *chain)
{
	if (!chain || --chain->refs)
		return NULL;
	for (size_t i = 0; i < chain->n; i++)
		close(chain->fds[i]);
	free(chain);
	return NULL;
}

struct guest_chain *guest_chain_of(const struct guest_disk *disk)
{
	return disk->child ? disk->child->chain : NULL;
}

/* ---- the loop -------------------------------------------------------------------- */

/* The files of many disks are open at a time */
static void allow_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	l.rlim_cur = MIN(l.rlim_max, (rlim_t)CHILD_MAX * INSPECT_MAX_FILES + 1024);
	(void)setrlimit(RLIMIT_NOFILE, &l);
}

int guest_child_init(const char *exec)
{
	allow_files();
	children.exec = exec;
	children.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return children.wake < 0 ? -errno : 0;
}

void guest_child_wake(void)
{
	if (children.wake >= 0)
		(void)eventfd_write(children.wake, 1);
}

/* When something is to be done about a child that says nothing */
static uint64_t due(const struct guest_child *c)
{
	return is_idle(c) ? MIN(c->deadline, c->used + CHILD_IDLE_US) : c->deadline;
}

size_t guest_child_poll(struct pollfd *p, size_t room, int *ret_timeout)
{
	uint64_t first = UINT64_MAX, now;
	struct guest_child *c;
	size_t n = 0;

	p[n++] = (struct pollfd){ .fd = children.wake, .events = POLLIN };
	reap();
	*ret_timeout = children.nended ? REAP_MS : -1;
	if (!children.n) {
		free(steal_ptr(children.buffer));
		return n;
	}
	LIST_FOREACH(c, &children.list, link) {
		first = MIN(first, due(c));
		if (c->sock >= 0 && n < room)
			p[n++] = (struct pollfd){ .fd = c->sock, .events = POLLIN };
	}
	now = num_now_us();
	if (first != UINT64_MAX && *ret_timeout < 0)
		*ret_timeout = first > now ? (int)MIN((first - now) / 1000 + 1, (uint64_t)60000)
					   : 0;
	return n;
}

static struct guest_child *child_of(int sock)
{
	struct guest_child *c;

	LIST_FOREACH(c, &children.list, link)
		if (c->sock == sock)
			return c;
	return NULL;
}

static void end_late(void)
{
	uint64_t now = num_now_us();
	struct guest_child *c, *next;

	for (c = LIST_FIRST(&children.list); c; c = next) {
		next = LIST_NEXT(c, link);
		if (due(c) > now)
			continue;
		end_child(c, -EIO, "the disk's reader did not answer: the disk may be damaged");
		/* Whoever was told may have started or ended others */
		next = LIST_FIRST(&children.list);
	}
}

/* One by one from the beginning: whoever is told may start and end others */
static void take_chains(void)
{
	struct guest_child *c;

	do {
		LIST_FOREACH(c, &children.list, link)
			if (c->start && guest_start_done(c->start))
				break;
		if (c)
			take_chain(c);
	} while (c);
}

void guest_child_run(const struct pollfd *p, size_t n)
{
	struct guest_child *c;
	eventfd_t count;

	for (size_t i = 1; i < n; i++) {
		c = p[i].revents ? child_of(p[i].fd) : NULL;
		if (c)
			take_replies(c);
	}
	if (p[0].revents && !eventfd_read(children.wake, &count)) {
		guest_changed();
		take_chains();
	}
	if (children.n)
		end_late();
}

void guest_child_end(void)
{
	while (!LIST_EMPTY(&children.list))
		end_child(LIST_FIRST(&children.list), -EIO, "");
}
