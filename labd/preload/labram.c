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
 * QEMU 7.2 calls the 64 bit names of these functions; the plain ones are the same.
 *
 * A guest that goes back to the memory it maps has only to forget the pages of its
 * own. Another process cannot do that (process_madvise() does not know MADV_DONTNEED),
 * so a thread listens on the socket LAB_RAM_SOCKET: each connection that is made
 * while the guest is stopped forgets all of them, and gets an errno back. The socket is
 * in the guest's run directory, which is labd's alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
	if (!strcmp(getenv("LAB_RAM"), ZERO))
		return map_zero(real, addr, len, prot, flags);
	p = real(addr, len, prot, flags, fd, offset);
	if (p != MAP_FAILED) {
		ram_len = len;
		__atomic_store_n(&ram_at, p, __ATOMIC_RELEASE);
	}
	return p;
}

static int forget_pages(void)
{
	void *p = __atomic_load_n(&ram_at, __ATOMIC_ACQUIRE);

	if (!p)
		return ENODATA;
	return madvise(p, ram_len, MADV_DONTNEED) < 0 ? errno : 0;
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
		code = forget_pages();
		(void)send(fd, &code, sizeof(code), MSG_NOSIGNAL);
		close(fd);
	}
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
