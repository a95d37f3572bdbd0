// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * labram.c - preloaded into QEMU: its guest's memory is a private mapping
 *
 * DOC: Theory of Operation
 *
 * labd saves and loads the devices of a guest through QEMU, and its memory by
 * itself: only the pages that differ, and without a copy where a mapping will do.
 * QEMU 7.2 leaves memory out of a saved state (x-ignore-shared) only if it is
 * shared (memory-backend-file,share=on), and opens the file for writing even when it
 * is to be mapped privately. Both are wrong here: every guest of a golden maps the
 * same file, which nobody may ever write.
 *
 * So QEMU is told share=on with the path in LAB_RAM, and in this process
 *
 *	open(that path)		opens it for reading only, whatever was asked
 *	mmap(of it, MAP_SHARED)	is MAP_PRIVATE: pages the guest writes are its own
 *
 * A guest that boots has no file: the path is /dev/zero, whose private mapping is
 * anonymous memory (with huge pages) that is still found by its name in
 * /proc/PID/maps. QEMU wants to set and know the size of what it opens, so what
 * it gets then is an empty memfd, which is never mapped.
 *
 * A guest that has a file has no huge pages at all. Those of its memory cannot be, and QEMU's
 * own cost each guest 5 MB that it does not use, and the time to clear them.
 *
 * QEMU 7.2 calls the 64 bit names of these functions; the plain ones are the same.
 *
 * The kernel can remember which pages are written, for whoever reads PAGEMAP_SCAN:
 * userfaultfd with asynchronous write protection (Linux 6.7). Only the process itself can
 * ask for that. So a thread listens on the socket LAB_RAM_SOCKET, asks when a
 * connection sends the byte "t", and answers with an errno.
 *
 * The socket is in the guest's run directory, which is labd's and the guest's alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define ZERO "/dev/zero"

typedef int (*open_fn)(const char *path, int flags, ...);
typedef void *(*mmap_fn)(void *addr, size_t len, int prot, int flags, int fd, off64_t offset);

EXPORT int open64(const char *path, int flags, ...);
EXPORT int __open64_2(const char *path, int flags); /* open() of a program built with fortify */
EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t offset);

/* The file that was opened as memory, known by its identity; a descriptor may be duplicated */
static struct stat ram;
static bool opened;
/* Its mapping, once it is there */
static void *ram_at;
static size_t ram_len;

static bool is_ram_path(const char *path)
{
	const char *wanted = getenv("LAB_RAM");

	return wanted && !strcmp(path, wanted);
}

static bool is_ram(int fd)
{
	struct stat st;

	return opened && fd >= 0 && !fstat(fd, &st) && st.st_dev == ram.st_dev &&
	       st.st_ino == ram.st_ino;
}

static int open_ram(open_fn real, const char *path)
{
	int fd = !strcmp(path, ZERO) ? memfd_create("ram", MFD_CLOEXEC)
				     : real(path, O_RDONLY | O_CLOEXEC);

	opened = fd >= 0 && !fstat(fd, &ram);
	return fd;
}

int open64(const char *path, int flags, ...)
{
	open_fn real = (open_fn)dlsym(RTLD_NEXT, "open64");
	mode_t mode = 0;
	va_list ap;

	if (is_ram_path(path))
		return open_ram(real, path);
	if (flags & (O_CREAT | __O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return real(path, flags, mode);
}

int __open64_2(const char *path, int flags)
{
	return open64(path, flags);
}

static void *map_zero(mmap_fn real, void *addr, size_t len, int prot, int flags)
{
	int fd = ((open_fn)dlsym(RTLD_NEXT, "open64"))(ZERO, O_RDWR | O_CLOEXEC);
	void *p = fd < 0 ? MAP_FAILED : real(addr, len, prot, flags, fd, 0);

	if (fd >= 0)
		close(fd);
	return p;
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t offset)
{
	mmap_fn real = (mmap_fn)dlsym(RTLD_NEXT, "mmap64");
	void *p;

	if ((flags & MAP_TYPE) != MAP_SHARED || !is_ram(fd))
		return real(addr, len, prot, flags, fd, offset);
	flags = (flags & ~MAP_TYPE) | MAP_PRIVATE;
	p = strcmp(getenv("LAB_RAM"), ZERO) ? real(addr, len, prot, flags, fd, offset)
					    : map_zero(real, addr, len, prot, flags);
	if (p != MAP_FAILED) {
		ram_len = len;
		__atomic_store_n(&ram_at, p, __ATOMIC_RELEASE);
	}
	return p;
}

/* Not in the headers of Linux 6.1 */
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

/* The descriptor stays open: the registration ends with it */
static int track_writes(void *p)
{
	static int tracker = -1;
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC };
	struct uffdio_register reg = { .range = { (uintptr_t)p, ram_len },
				       .mode = UFFDIO_REGISTER_MODE_WP };
	int fd;

	if (tracker >= 0)
		return 0;
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		return errno;
	if (ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0) {
		int code = errno;

		close(fd);
		return code;
	}
	tracker = fd;
	return 0;
}

static int answer(int fd)
{
	void *p = __atomic_load_n(&ram_at, __ATOMIC_ACQUIRE);
	char op = 0;

	if (recv(fd, &op, 1, 0) != 1)
		return EPROTO;
	if (op != 't')
		return EINVAL;
	return p ? track_writes(p) : ENODATA;
}

static void *serve(void *arg)
{
	int listener = (int)(intptr_t)arg;

	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), code;

		if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
			return NULL;
		if (fd < 0)
			continue;
		code = answer(fd);
		(void)send(fd, &code, sizeof(code), MSG_NOSIGNAL);
		close(fd);
	}
}

/* Before QEMU allocates anything */
__attribute__((constructor)) static void do_without_huge_pages(void)
{
	const char *path = getenv("LAB_RAM");

	if (path && strcmp(path, ZERO) != 0)
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/* Without the thread there is a slower way, so nothing is said if it cannot be had */
__attribute__((constructor)) static void start(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = getenv("LAB_RAM_SOCKET");
	sigset_t all, before;
	pthread_t thread;
	int fd;

	if (!path || strlen(path) >= sizeof(addr.sun_path))
		return;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0)
		return;
	/* QEMU's signals are for QEMU's threads */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	(void)pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
