// SPDX-License-Identifier: GPL-2.0-or-later
/* compare.c - two disks compared by a labinspect */
#define _GNU_SOURCE
#include "cli/compare.h"

#include "fs/inspect/client.h"
#include "lib/io.h"
#include "lib/text.h"
#include "lib/util.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

int compare_chain(struct cli *cli, const char *lab, const char *snapshot, const char *instance,
		  const char *disk, json_t **ret)
{
	char path[CLIENT_PATH];

	if (snapshot)
		client_path(path, "/v1/labs/%s/snapshots/%s/instances/%s/disks/%s/chain", lab,
			    snapshot, instance, disk);
	else
		client_path(path, "/v1/labs/%s/instances/%s/disks/%s/chain", lab, instance, disk);
	return cli_call(cli, "GET", path, NULL, ret);
}

/* ---- the process ------------------------------------------------------------------- */

/** struct reader - a labinspect; starts as READER_INIT */
struct reader {
	int sock;
	pid_t pid;
};

#define READER_INIT                                                                                \
	{                                                                                          \
		-EBADF, 0                                                                          \
	}

static void reader_end(struct reader *r)
{
	if (r->sock >= 0)
		close(r->sock);
	if (r->pid > 0) {
		kill(r->pid, SIGKILL);
		(void)RETRY(waitpid(r->pid, NULL, 0));
	}
}

#define autoreader __attribute__((cleanup(reader_end)))

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static int send_disk(int sock, const json_t *chain, struct lab_err *err)
{
	const json_t *files = json_object_get(chain, "files");
	size_t n = json_array_size(files), open = 0;
	int fds[INSPECT_MAX_FILES], r = 0;

	if (!n || n > INSPECT_MAX_FILES)
		return lab_fail(err, n ? -EOPNOTSUPP : -EPROTO,
				"the disk consists of %zu files: 1 to %d can be read", n,
				INSPECT_MAX_FILES);
	for (; open < n; open++) {
		r = inspect_open_file(json_array_get(files, open), err);
		if (r < 0)
			break;
		fds[open] = r;
	}
	if (r >= 0) {
		r = inspect_send_files(sock, fds, n);
		if (r < 0)
			lab_fail_errno(err, r, "handing over the disk");
	}
	close_all(fds, open);
	return r < 0 ? r : 0;
}

static int send_question(const struct compare *cmp, int sock)
{
	struct inspect_diff q = { .part = cmp->part };

	if (cmp->path) {
		q.path_len = (uint32_t)strlen(cmp->path);
		if (q.path_len > sizeof(q.path))
			return lab_fail_errno(&cmp->cli->err, -ENAMETOOLONG, "%s", cmp->path);
		memcpy(q.path, cmp->path, q.path_len);
	}
	if (send(sock, &q, sizeof(q), MSG_NOSIGNAL) < 0)
		return lab_fail_errno(&cmp->cli->err, -errno, "asking the disks' reader");
	return 0;
}

static int start(const struct compare *cmp, const json_t *from, const json_t *to,
		 struct reader *ret)
{
	struct lab_err *err = &cmp->cli->err;
	autoclose int its = -EBADF;
	char path[IO_PATH];
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return lab_fail_errno(err, -errno, "a socket to the disks' reader");
	ret->sock = pair[0];
	its = pair[1];
	r = send_disk(ret->sock, from, err);
	if (!r)
		r = send_disk(ret->sock, to, err);
	if (!r)
		r = send_question(cmp, ret->sock);
	if (!r)
		r = inspect_spawn(cli_program(cmp->cli, "labinspect", path), INSPECT_DIFF_MODE, its,
				  &ret->pid, err);
	return r;
}

/* ---- what it says -------------------------------------------------------------------- */

/**
 * struct message - as it came, and its texts with a NUL
 * @c:		the same as @raw
 */
struct message {
	const struct inspect_change *c;
	char raw[INSPECT_REPLY] __attribute__((aligned(8)));
	char path[INSPECT_PATH], target[2][INSPECT_TARGET];
};

static bool take_text(char *to, size_t room, const char *from, size_t len)
{
	if (len >= room || memchr(from, '\0', len))
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

/* Whether it has the form of a message; then its texts are taken out of it */
static bool parse(struct message *m, size_t len)
{
	const struct inspect_change *c = m->c;
	const char *at = c->text;

	if (len < sizeof(*c) || c->found >= INSPECT_FOUND || c->path_len > INSPECT_PATH ||
	    c->target_len[0] > INSPECT_TARGET || c->target_len[1] > INSPECT_TARGET ||
	    len - sizeof(*c) != (size_t)c->path_len + c->target_len[0] + c->target_len[1])
		return false;
	if (!take_text(m->path, sizeof(m->path), at, c->path_len))
		return false;
	at += c->path_len;
	for (size_t i = 0; i < 2; i++) {
		if (!take_text(m->target[i], sizeof(m->target[i]), at, c->target_len[i]))
			return false;
		at += c->target_len[i];
	}
	return !*m->path || *m->path == '/';
}

static void show_progress(const struct compare *cmp, const struct message *m)
{
	autofree char *path = text_escape(m->path, m->c->path_len);
	char words[METER_TEXT];

	if (!cmp->meter)
		return;
	snprintf(words, sizeof(words), "%s: %" PRIu64 " names, %.300s", cmp->name, m->c->names,
		 path ? path : "");
	meter_show(cmp->meter, words);
}

/* 1: it was the last */
static int take(struct compare *cmp, struct message *m, size_t len)
{
	struct compare_change change = { m->c, m->path, { m->target[0], m->target[1] } };

	if (!parse(m, len))
		return lab_fail(&cmp->cli->err, -EPROTO,
				"%s: the disks' reader gave an answer that makes no sense",
				cmp->name);
	if (m->c->found == INSPECT_END) {
		cmp->found = cmp->found || m->c->what;
		return 1;
	}
	if (m->c->found == INSPECT_PROGRESS)
		show_progress(cmp, m);
	else
		cmp->take(cmp->arg, &change);
	return 0;
}

static ssize_t receive(int sock, struct message *m)
{
	struct iovec v = { m->raw, sizeof(m->raw) };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t n;

	do
		n = recvmsg(sock, &h, 0);
	while (n < 0 && errno == EINTR && !meter_interrupted());
	m->c = (const void *)m->raw;
	return n < 0 ? -errno : n;
}

int compare_run(struct compare *cmp, const json_t *from, const json_t *to)
{
	autoreader struct reader reader = READER_INIT;
	autofree struct message *m = malloc(sizeof(*m));
	int r = m ? start(cmp, from, to, &reader) : -ENOMEM;

	while (!r) {
		ssize_t n = receive(reader.sock, m);

		if (meter_interrupted())
			return lab_fail(&cmp->cli->err, -ECANCELED, "interrupted");
		if (n <= 0)
			return lab_fail(&cmp->cli->err, -EIO, "%s: the disks' reader has ended",
					cmp->name);
		r = take(cmp, m, (size_t)n);
	}
	return r < 0 ? r : 0;
}
