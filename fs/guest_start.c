// SPDX-License-Identifier: GPL-2.0-or-later
/* guest_start.c - what a labinspect needs before it can be asked: files, a process */
#define _GNU_SOURCE
#include "fs/guest_start.h"

#include "fs/guest_child.h"
#include "fs/inspect/client.h"
#include "lib/util.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

/**
 * struct guest_start - shared by the loop and a worker; whoever is last frees it
 * @done:	the worker has written the rest
 * @forgotten:	the loop does not want it
 */
struct guest_start {
	bool done, forgotten;
	int result;
	struct guest_chain *chain;
	struct lab_err err;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void start_free(struct guest_start *s)
{
	guest_chain_unref(s->chain);
	free(s);
}

static int open_files(const json_t *answer, struct guest_chain **ret, struct lab_err *err)
{
	const json_t *files = json_object_get(answer, "files");
	size_t n = json_array_size(files);
	static atomic_uint_fast64_t serials;
	struct guest_chain *chain;

	if (!n || n > INSPECT_MAX_FILES)
		return lab_fail(err, n ? -EOPNOTSUPP : -EPROTO,
				"the disk consists of %zu files: 1 to %d can be read", n,
				INSPECT_MAX_FILES);
	chain = calloc(1, sizeof(*chain) + n * sizeof(chain->fds[0]));
	if (!chain)
		return lab_fail_errno(err, -ENOMEM, "opening the disk");
	chain->refs = 1;
	chain->serial = ++serials;
	for (; chain->n < n; chain->n++) {
		int fd = inspect_open_file(json_array_get(files, chain->n), err);

		if (fd < 0) {
			guest_chain_unref(chain);
			return fd;
		}
		chain->fds[chain->n] = fd;
	}
	*ret = chain;
	return 0;
}

/* In a worker */
static void finish(struct pending *p, int result)
{
	struct guest_start *s = p->arg;
	bool forgotten;

	if (!result)
		result = open_files(p->action.answer, &s->chain, &s->err);
	else if (p->err)
		s->err = *p->err;
	pthread_mutex_lock(&lock);
	s->result = result;
	s->done = true;
	forgotten = s->forgotten;
	pthread_mutex_unlock(&lock);
	if (forgotten)
		start_free(s);
	else
		guest_child_wake();
}

/* The path of the API that tells the files; false if the object is gone */
static bool chain_path(const struct guest_disk *disk, char path[CLIENT_PATH])
{
	autoitem struct item item = { 0 }, lab = { 0 }, member = { 0 };

	if (!model_get(disk->kind, disk->id, &item) ||
	    (item.lab && !model_get(KIND_LAB, item.lab, &lab)) ||
	    (disk->member && !model_get(KIND_INSTANCE, disk->member, &member)))
		return false;
	if (disk->kind == KIND_IMAGE)
		client_path(path, "/v1/images/%s/chain", item.name);
	else if (disk->kind == KIND_INSTANCE)
		client_path(path, "/v1/labs/%s/instances/%s/disks/%s/chain", lab.name, item.name,
			    disk->name);
	else
		client_path(path, "/v1/labs/%s/snapshots/%s/instances/%s/disks/%s/chain", lab.name,
			    item.name, member.name, disk->name);
	return true;
}

struct guest_start *guest_start_new(const struct guest_disk *disk)
{
	struct guest_start *s = calloc(1, sizeof(*s));
	struct pending *p = calloc(1, sizeof(*p));

	if (p) {
		p->where = strdup(disk->path);
		p->finish = finish;
		p->arg = s;
		p->action.method = "GET";
		p->action.until = UNTIL_ANSWERED;
	}
	if (!s || !p || !p->where || !chain_path(disk, p->action.path)) {
		if (p)
			free(p->where);
		free(p);
		free(s);
		return NULL;
	}
	action_submit(NULL, p);
	return s;
}

void guest_start_forget(struct guest_start *s)
{
	bool done;

	if (!s)
		return;
	pthread_mutex_lock(&lock);
	done = s->done;
	s->forgotten = true;
	pthread_mutex_unlock(&lock);
	if (done)
		start_free(s);
}

bool guest_start_done(struct guest_start *s)
{
	SCOPED_LOCK(&lock);

	return s->done;
}

int guest_start_take(struct guest_start *s, struct guest_chain **ret, struct lab_err *err)
{
	int r = s->result;

	*err = s->err;
	if (!r)
		*ret = steal_ptr(s->chain);
	else if (!err->code)
		lab_fail(err, r, "%s", strerror(-r));
	start_free(s);
	return r;
}

/* ---- the process ----------------------------------------------------------------- */

int guest_start_process(const char *exec, const struct guest_chain *chain, int *ret_sock,
			pid_t *ret_pid, struct lab_err *err)
{
	autoclose int ours = -EBADF, its = -EBADF;
	char path[IO_PATH];
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return lab_fail_errno(err, -errno, "a socket to the disk's reader");
	ours = pair[0];
	its = pair[1];
	r = inspect_send_files(ours, chain->fds, chain->n);
	if (r < 0)
		return lab_fail_errno(err, r, "handing over the disk");
	r = inspect_spawn(io_path(path, "%s/labinspect", exec), NULL, its, ret_pid, err);
	if (!r)
		*ret_sock = steal_fd(&ours);
	return r;
}
