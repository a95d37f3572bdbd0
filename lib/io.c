// SPDX-License-Identifier: GPL-2.0-or-later
/* io.c - whole files, directory trees and unix sockets */
#define _GNU_SOURCE
#include "lib/io.h"

#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int io_read_fd(int fd, size_t max, char **ret, size_t *ret_len)
{
	size_t len = 0, room = 4096;
	autofree char *buf = malloc(room);

	for (;;) {
		ssize_t n;

		if (!buf)
			return -ENOMEM;
		n = RETRY(read(fd, buf + len, room - len - 1));
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (room - len < 2) {
			char *more = realloc(buf, room * 2);

			if (!more)
				return -ENOMEM;
			buf = more;
			room *= 2;
		}
	}
	buf[len] = '\0';
	if (ret_len)
		*ret_len = len;
	*ret = steal_ptr(buf);
	return 0;
}

int io_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	autoclose int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return io_read_fd(fd, max, ret, ret_len);
}

int io_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = RETRY(write(fd, p, len));

		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_write_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	char tmp[IO_PATH];
	autoclose int fd = -EBADF;
	int r;

	if (!*io_path(tmp, "%s.%d.tmp", path, gettid()))
		return -ENAMETOOLONG;
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	r = io_write_all(fd, data, len);
	if (!r && fsync(fd) < 0)
		r = -errno;
	if (!r && renameat(dirfd, tmp, dirfd, path) < 0)
		r = -errno;
	if (r)
		unlinkat(dirfd, tmp, 0);
	return r;
}

static int sync_file(int dirfd, const char *name)
{
	autoclose int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int io_sync_dir(const char *path)
{
	autodir DIR *dir = opendir(path);
	struct dirent *de;
	int r = 0;

	if (!dir)
		return -errno;
	while (!r && (de = readdir(dir)))
		if (de->d_type == DT_REG || de->d_type == DT_UNKNOWN)
			r = sync_file(dirfd(dir), de->d_name);
	return r < 0 ? r : fsync(dirfd(dir)) < 0 ? -errno : 0;
}

int io_mkdirs(const char *path, mode_t mode)
{
	autofree char *copy = NULL;
	struct stat st;

	if (!*path)
		return -ENOENT;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (!mkdir(copy, mode))
		return 0;
	if (errno != EEXIST || stat(copy, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

/* Whether something is mounted on an open directory; -EXDEV if so */
static int check_mount(int fd)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, 0, &st) < 0)
		return -errno;
	return st.stx_attributes & STATX_ATTR_MOUNT_ROOT ? -EXDEV : 0;
}

/*
 * Empty the directory @fd (owned here). A bind mount is on the same device as
 * what surrounds it, so mount points are looked for, not devices.
 */
static int empty_dir(int fd)
{
	autodir DIR *dir = fdopendir(fd);
	struct dirent *de;
	int result = 0;

	if (!dir) {
		int r = -errno;

		close(fd);
		return r;
	}
	while ((de = readdir(dir))) {
		int sub, r;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (!unlinkat(fd, de->d_name, 0))
			continue;
		if (errno != EISDIR && errno != EPERM) {
			result = errno == ENOENT ? result : -errno;
			continue;
		}
		sub = openat(fd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = sub < 0 ? -errno : check_mount(sub);
		if (!r)
			r = empty_dir(sub);
		else if (sub >= 0)
			close(sub);
		if (!r && unlinkat(fd, de->d_name, AT_REMOVEDIR) < 0)
			r = -errno;
		if (r)
			result = r;
	}
	return result;
}

int io_remove_tree(int dirfd, const char *name)
{
	int fd, r;

	if (!unlinkat(dirfd, name, 0))
		return 1;
	if (errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = check_mount(fd);
	if (r < 0) {
		close(fd);
		return r;
	}
	r = empty_dir(fd);
	if (r < 0)
		return r;
	return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 ? -errno : 1;
}

const char *io_path(char buf[IO_PATH], const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, IO_PATH, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= IO_PATH)
		buf[0] = '\0';
	return buf;
}

static int unix_addr(struct sockaddr_un *addr, const char *path)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	snprintf(addr->sun_path, sizeof(addr->sun_path), "%s", path);
	return 0;
}

int io_connect_unix(const char *path, int type)
{
	autoclose int fd = -EBADF;
	struct sockaddr_un addr;
	int r = unix_addr(&addr, path);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (RETRY(connect(fd, (struct sockaddr *)&addr, sizeof(addr))) < 0)
		return -errno;
	return steal_fd(&fd);
}

int io_listen_unix(const char *path, int type, mode_t mode)
{
	autoclose int fd = -EBADF, probe = -EBADF;
	struct sockaddr_un addr;
	struct stat st;
	int r = unix_addr(&addr, path);

	if (r < 0)
		return r;
	probe = io_connect_unix(path, (type & ~SOCK_NONBLOCK) | SOCK_NONBLOCK);
	if (probe >= 0 || probe == -EAGAIN)
		return -EADDRINUSE;
	if (probe == -ECONNREFUSED && !lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path); /* left by a dead one; never somebody's file */
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/*
	 * bind() makes the file with the socket's own mode less the umask, so it
	 * never has more than @mode; changing the umask would hit other threads.
	 */
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	if (chmod(path, mode) < 0 || listen(fd, 64) < 0) {
		r = -errno;
		unlink(path);
		return r;
	}
	return steal_fd(&fd);
}

int io_send_fds(int sock, const void *data, size_t len, const int *fds, size_t nfds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * IO_MAX_FDS)];
	} ctl = { 0 };
	struct iovec iov = { (void *)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds > IO_MAX_FDS)
		return -E2BIG;
	if (nfds) {
		struct cmsghdr *c;

		msg.msg_control = ctl.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	return RETRY(sendmsg(sock, &msg, MSG_NOSIGNAL)) < 0 ? -errno : 0;
}

ssize_t io_recv_fds(int sock, void *buf, size_t len, int fds[IO_MAX_FDS], size_t *ret_nfds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * IO_MAX_FDS)];
	} ctl = { 0 };
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = ctl.buf,
			      .msg_controllen = sizeof(ctl.buf) };
	size_t n = 0;
	ssize_t r = RETRY(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC));

	if (r < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	}
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (n)
			close(fds[--n]);
		*ret_nfds = 0;
		return -EMSGSIZE;
	}
	*ret_nfds = n;
	return r;
}

const char *io_boot_id(char buf[IO_BOOT_ID])
{
	autofree char *id = NULL;

	(void)io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &id, NULL);
	snprintf(buf, IO_BOOT_ID, "%.36s", id ? id : "");
	return buf;
}

/* Bytes of holes, counted up to more than @most: st_blocks may have what lies behind the end */
static off_t count_holes(int fd, off_t size, off_t most)
{
	off_t holes = 0, hole = lseek(fd, 0, SEEK_HOLE);

	while (hole >= 0 && hole < size && holes <= most) {
		off_t data = lseek(fd, hole, SEEK_DATA);

		data = data < 0 ? size : data;
		holes += data - hole;
		hole = lseek(fd, data, SEEK_HOLE);
	}
	return holes;
}

void io_fill_holes(int fd, off_t most)
{
	struct stat st;
	off_t holes = fstat(fd, &st) < 0 ? 0 : count_holes(fd, st.st_size, most);

	if (holes > 0 && holes <= most)
		(void)RETRY(fallocate(fd, 0, 0, st.st_size));
}

int io_copy(int from, int to)
{
	ssize_t n;

	while ((n = RETRY(sendfile(to, from, NULL, 1 << 24))) > 0)
		;
	return n < 0 ? -errno : 0;
}
