// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - labinspect: read guests' disks for labfs and labctl, where it can do no harm
 *
 * DOC: Theory of Operation
 *
 * Started by labfs, with a SEQPACKET socket as descriptor 0 (protocol.h). Receives the
 * files of one disk, gives away all rights, and only then looks at the first byte of
 * them. It ends when labfs closes the socket or dies. Whatever happens to it is noticed by
 * labfs: an end in the middle is -EIO for who waits, silence is ended after a deadline.
 *
 * Started by labctl it is given two disks in the same way, and compares them (diff.h).
 */
#define _GNU_SOURCE
#include "fs/inspect/diff.h"
#include "fs/inspect/fs.h"
#include "fs/inspect/protocol.h"
#include "fs/inspect/sandbox.h"
#include "fs/inspect/server.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define SOCKET 0
#define WINDOW (1LL << 46) /* 64 TiB: no disk is larger */

/*
 * libblkid reads a disk with lseek() and read() of a descriptor, and with nothing else.
 * It gets an empty one that is large enough, and these two functions, which come before
 * the C library's, show the guest's disk in it.
 */
static struct {
	int fd;
	const struct disk *disk;
	off_t at;
} window = { .fd = -EBADF };

ssize_t read(int fd, void *buf, size_t nbytes)
{
	uint64_t size = window.disk ? disk_size(window.disk) : 0, at = (uint64_t)window.at;
	int r;

	if (fd != window.fd)
		return syscall(SYS_read, fd, buf, nbytes);
	if (at >= size)
		return 0;
	nbytes = MIN(nbytes, size - at);
	r = disk_read((struct disk *)window.disk, buf, nbytes, at);
	if (r < 0) {
		errno = EIO;
		return -1;
	}
	window.at += (off_t)nbytes;
	return (ssize_t)nbytes;
}

off_t lseek(int fd, off_t offset, int whence)
{
	if (fd != window.fd || whence != SEEK_SET)
		return lseek64(fd, offset, whence);
	window.at = offset;
	return offset;
}

/* Nothing can be put into it, so that it costs no memory */
static int make_window(struct lab_err *err)
{
	window.fd = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (window.fd < 0 || ftruncate(window.fd, WINDOW) < 0 ||
	    fcntl(window.fd, F_ADD_SEALS,
		  F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return lab_fail_errno(err, -errno, "a window to the disk");
	return 0;
}

/**
 * struct source - a file that was handed over
 */
struct source {
	int fd;
	bool raw;
};

static ssize_t receive_some(struct source *to, size_t have, struct inspect_files *head)
{
	int fds[IO_MAX_FDS];
	size_t n = 0;
	ssize_t len = io_recv_fds(SOCKET, head, sizeof(*head), fds, &n);

	if (len != sizeof(*head) || !n || head->total > INSPECT_MAX_FILES || have + n > head->total)
		return -EPROTO;
	for (size_t i = 0; i < n; i++)
		to[have + i] = (struct source){ .fd = fds[i], .raw = head->raw >> i & 1 };
	return (ssize_t)n;
}

/**
 * struct sources - the files of a disk
 */
struct sources {
	size_t n;
	struct source v[INSPECT_MAX_FILES];
};

static int receive_files(struct sources *to)
{
	struct inspect_files head;

	do {
		ssize_t n = receive_some(to->v, to->n, &head);

		if (n < 0)
			return (int)n;
		to->n += (size_t)n;
	} while (to->n < head.total);
	return 0;
}

/* From now on the window shows it */
static int open_disk(const struct sources *files, struct disk **ret, struct lab_err *err)
{
	struct disk *d = disk_new();
	int r = d ? 0 : lab_fail_errno(err, -ENOMEM, "opening the disk");

	for (size_t i = 0; !r && i < files->n; i++)
		r = lab_wrap(err, disk_add(d, files->v[i].fd, files->v[i].raw, err),
			     "file %zu of its chain", i + 1);
	if (!r && !disk_size(d))
		r = lab_fail(err, -EUCLEAN, "the disk is empty");
	if (r < 0) {
		disk_free(d);
		return r;
	}
	window.disk = *ret = d;
	return 0;
}

static bool send_reply(const void *reply, size_t len)
{
	struct iovec v = { .iov_base = (void *)reply, .iov_len = len };
	const struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return RETRY(sendmsg(SOCKET, &m, MSG_NOSIGNAL)) == (ssize_t)len;
}

static ssize_t receive(struct inspect_request *q)
{
	struct iovec v = { .iov_base = q, .iov_len = sizeof(*q) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return RETRY(recvmsg(SOCKET, &m, 0));
}

static void serve(struct server *s, void *reply)
{
	struct inspect_request q = { .op = INSPECT_DISK };
	ssize_t n = sizeof(q);

	while (n > 0 && send_reply(reply, server_answer(s, &q, (size_t)n, reply))) {
		memset(&q, 0, sizeof(q));
		n = receive(&q);
	}
}

static int serve_disk(void)
{
	static char reply[INSPECT_REPLY] __attribute__((aligned(8)));
	static struct sources files;
	struct lab_err err = LAB_ERR_INIT;
	struct server *s = NULL;
	struct disk *d = NULL;
	int r = receive_files(&files);

	if (r < 0)
		return r;
	/* Times on media that are of no zone are shown as they are there */
	setenv("TZ", "UTC0", 1);
	fs_prepare();
	r = make_window(&err);
	if (!r)
		r = inspect_sandbox(&err);
	if (!r)
		r = open_disk(&files, &d, &err);
	if (!r)
		r = server_new(d, window.fd, &s, &err);
	if (r < 0)
		(void)send_reply(reply, server_refuse(INSPECT_DISK, r, err.text, reply));
	else
		serve(s, reply);
	return r;
}

/* ---- two disks ------------------------------------------------------------------------ */

static bool send_change(void *arg, const void *message, size_t len)
{
	(void)arg;
	return send_reply(message, len);
}

static int receive_question(struct inspect_diff *q)
{
	struct iovec v = { .iov_base = q, .iov_len = sizeof(*q) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t n = RETRY(recvmsg(SOCKET, &m, 0));

	return n == sizeof(*q) && q->path_len <= sizeof(q->path) ? 0 : -EPROTO;
}

/* In place of a comparison */
static void refuse_change(int code, const char *text)
{
	static char message[sizeof(struct inspect_change) + LAB_ERR_TEXT]
		__attribute__((aligned(8)));
	struct inspect_change *c = (void *)message;

	*c = (struct inspect_change){ .found = INSPECT_TROUBLE,
				      .part = INSPECT_RAW,
				      .error = code,
				      .target_len = { (uint32_t)strlen(text), 0 } };
	memcpy(c->text, text, strlen(text));
	(void)send_reply(c, sizeof(*c) + strlen(text));
	*c = (struct inspect_change){ .found = INSPECT_END, .part = INSPECT_RAW };
	(void)send_reply(c, sizeof(*c));
}

static int open_both(const struct sources files[2], struct diff *d, struct parts parts[2],
		     struct lab_err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < 2; i++) {
		r = open_disk(&files[i], &d->disk[i], err);
		if (!r)
			r = parts_scan(d->disk[i], window.fd, &parts[i]);
		if (r < 0 && !err->code)
			lab_fail_errno(err, r, "looking at the disk");
		d->parts[i] = &parts[i];
	}
	return r;
}

static int compare_disks(void)
{
	static struct sources files[2];
	static struct parts parts[2];
	static struct inspect_diff q;
	static struct diff d = { .q = &q, .send = send_change };
	struct lab_err err = LAB_ERR_INIT;
	int r = receive_files(&files[0]);

	if (!r)
		r = receive_files(&files[1]);
	if (!r)
		r = receive_question(&q);
	if (r < 0)
		return r;
	r = make_window(&err);
	if (!r)
		r = inspect_sandbox(&err);
	if (!r)
		r = open_both(files, &d, parts, &err);
	if (!r) {
		r = diff_run(&d);
		if (r < 0)
			lab_fail_errno(&err, r, "comparing the disks");
	}
	if (r < 0 && r != -EPIPE)
		refuse_change(r, err.text);
	return r;
}

int main(int argc, char **argv)
{
	bool two = argc == 2 && !strcmp(argv[1], INSPECT_DIFF_MODE);
	int r = two ? compare_disks() : serve_disk();

	/* Nothing is kept that would have to be put in order */
	_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
