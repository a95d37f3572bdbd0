// SPDX-License-Identifier: GPL-2.0-or-later
/* guest_start.c - what a labinspect needs before it can be asked: files, a process */
#define _GNU_SOURCE
#include "fs/guest_start.h"

#include "fs/guest_child.h"
#include "lib/util.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

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

/*
 * The last part of the name is in a directory that the guest's QEMU may write to: it
 * may be anything by now.
 */
static int open_file(const json_t *file, struct lab_err *err)
{
	const char *path = json_string_value(json_object_get(file, "path"));
	const char *format = json_string_value(json_object_get(file, "format"));
	autoclose int fd = -EBADF;
	struct stat st;

	if (!path || !format || strcmp(format, "qcow2") != 0)
		return lab_fail(err, -EPROTO, "labd names a file that is not understood");
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return lab_fail(err, -EUCLEAN, "%s is no regular file", path);
	return steal_fd(&fd);
}

static int open_files(const json_t *answer, struct guest_chain **ret, struct lab_err *err)
{
	const json_t *files = json_object_get(answer, "files");
	size_t n = json_array_size(files);
	struct guest_chain *chain;

	if (!n || n > INSPECT_MAX_FILES)
		return lab_fail(err, n ? -EOPNOTSUPP : -EPROTO,
				"the disk consists of %zu files: 1 to %d can be read", n,
				INSPECT_MAX_FILES);
	chain = calloc(1, sizeof(*chain) + n * sizeof(chain->fds[0]));
	if (!chain)
		return lab_fail_errno(err, -ENOMEM, "opening the disk");
	chain->refs = 1;
	for (; chain->n < n; chain->n++) {
		int fd = open_file(json_array_get(files, chain->n), err);

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

static int send_files(int sock, const struct guest_chain *chain)
{
	for (size_t at = 0; at < chain->n; at += INSPECT_BATCH) {
		const struct inspect_files head = { .total = (uint32_t)chain->n };
		int r = io_send_fds(sock, &head, sizeof(head), chain->fds + at,
				    MIN(chain->n - at, (size_t)INSPECT_BATCH));

		if (r < 0)
			return r;
	}
	return 0;
}

/* With the socket as descriptor 0, and no signal blocked or ignored */
static int spawn(const char *exec, int sock, pid_t *ret, struct lab_err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	char path[IO_PATH], name[] = "labinspect";
	char *const argv[] = { name, NULL }, *const env[] = { NULL };
	sigset_t none, all;
	int r;

	io_path(path, "%s/labinspect", exec);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, sock, 0);
	r = posix_spawn(ret, path, &actions, &attr, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return r ? lab_fail_errno(err, -r, "%s", path) : 0;
}

int guest_start_process(const char *exec, const struct guest_chain *chain, int *ret_sock,
			pid_t *ret_pid, struct lab_err *err)
{
	autoclose int ours = -EBADF, its = -EBADF;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return lab_fail_errno(err, -errno, "a socket to the disk's reader");
	ours = pair[0];
	its = pair[1];
	r = send_files(ours, chain);
	if (r < 0)
		return lab_fail_errno(err, r, "handing over the disk");
	r = spawn(exec, its, ret_pid, err);
	if (!r)
		*ret_sock = steal_fd(&ours);
	return r;
}
