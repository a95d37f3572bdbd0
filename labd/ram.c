// SPDX-License-Identifier: GPL-2.0-or-later
/* ram.c - the memory of a guest, in its QEMU and in files */
#define _GNU_SOURCE
#include "labd/ram.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* Pages that are looked at together: 256 KiB, a good size for pread() and for caches */
#define BATCH 64U
#define MIB (1024 * 1024ULL)

/* Documentation/admin-guide/mm/pagemap.rst of the kernel */
#define PM_FILE (1ULL << 61)
#define PM_SWAP (1ULL << 62)
#define PM_PRESENT (1ULL << 63)

/* ---- the process ------------------------------------------------------------ */

/* The kernel adds a word to the name of a file that has been removed since */
static bool is_ram_name(const char *path)
{
	static const char *const ends[] = { "/ram", "/ram (deleted)" };
	size_t len = strlen(path);

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (len > strlen(ends[i]) && !strcmp(path + len - strlen(ends[i]), ends[i]))
			return true;
	return !strcmp(path, "/dev/zero");
}

/* A line of /proc/PID/maps: "from-to perms offset dev inode   path" */
static bool is_ram(const char *line, uint64_t size, struct ram *ret)
{
	uint64_t from, to;
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " rw-p 00000000 %*s %*u %n", &from, &to, &at) < 2 ||
	    !at || to - from != size || !is_ram_name(line + at))
		return false;
	ret->addr = from;
	ret->size = size;
	snprintf(ret->mapped, sizeof(ret->mapped), "%.511s", line + at);
	return true;
}

static int find_mapping(pid_t pid, uint64_t size, struct ram *ret, struct lab_err *err)
{
	char path[64], line[1024];
	autofile FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f)
		return lab_fail_errno(err, -errno, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (is_ram(line, (size + MIB - 1) / MIB * MIB, ret))
			return 0;
	}
	return lab_fail(err, -ENODATA,
			"its memory cannot be saved: it was started by an older labd; restart it");
}

bool ram_has_file(const struct ram *ram)
{
	return strcmp(ram->mapped, "/dev/zero") != 0;
}

static int open_proc(pid_t pid, const char *name, int flags, struct lab_err *err)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? lab_fail_errno(err, -errno, "%s", path) : fd;
}

int ram_open(pid_t pid, int pidfd, uint64_t size, struct ram *ret, struct lab_err *err)
{
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	struct ram ram = { .mem = -EBADF, .pagemap = -EBADF };
	int r;

	r = ram.mem = open_proc(pid, "mem", O_RDWR, err);
	if (r >= 0)
		r = ram.pagemap = open_proc(pid, "pagemap", O_RDONLY, err);
	if (r >= 0)
		r = find_mapping(pid, size, &ram, err);
	/* whatever was found, or not: it may be of another process with its number */
	if (poll(&ended, 1, 0) > 0)
		r = lab_fail(err, -ESRCH, "its QEMU (pid %d) has ended", pid);
	if (r < 0)
		ram_close(&ram);
	else
		*ret = ram;
	return r;
}

void ram_close(struct ram *ram)
{
	if (ram->mem >= 0)
		close(ram->mem);
	if (ram->pagemap >= 0)
		close(ram->pagemap);
	ram->mem = ram->pagemap = -EBADF;
}

/* ---- chains of files -------------------------------------------------------- */

static bool get_bit(const uint8_t *map, uint64_t page)
{
	return map[page / 8] >> page % 8 & 1;
}

static void set_bit(uint8_t *map, uint64_t page)
{
	map[page / 8] |= (uint8_t)(1 << page % 8);
}

static size_t map_bytes(const struct ram_chain *c)
{
	return (c->size / RAM_PAGE + 7) / 8;
}

static int push(struct ram_chain *c, int fd, uint8_t *map, struct lab_err *err)
{
	if (c->n == RAM_MAX_CHAIN) {
		close(fd);
		free(map);
		return lab_fail(err, -E2BIG, "more than %d memories stand on each other",
				RAM_MAX_CHAIN);
	}
	c->layers[c->n++] = (struct ram_layer){ fd, map };
	return 0;
}

static int read_map(const struct ram_chain *c, const char *dir, uint8_t **ret, struct lab_err *err)
{
	char path[IO_PATH], *map = NULL;
	size_t len;
	int r = io_read_file(AT_FDCWD, io_path(path, "%s/ram.map", dir), map_bytes(c), &map, &len);

	if (r == -ENOENT && !c->n) {
		*ret = NULL;
		return 0;
	}
	/* what is a part of a memory cannot be at the bottom */
	if (!r && (!c->n || len != map_bytes(c)))
		r = -EUCLEAN;
	if (r < 0) {
		free(map);
		return lab_fail_errno(err, r, "%s", path);
	}
	*ret = (uint8_t *)map;
	return 0;
}

int ram_chain_push(struct ram_chain *c, const char *dir, struct lab_err *err)
{
	char path[IO_PATH];
	autoclose int fd = open(io_path(path, "%s/ram", dir), O_RDONLY | O_CLOEXEC);
	uint8_t *map = NULL;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (!c->size && st.st_size % RAM_PAGE == 0)
		c->size = (uint64_t)st.st_size;
	if ((uint64_t)st.st_size != c->size)
		return lab_fail(err, -EUCLEAN, "%s has %lld bytes, and not %" PRIu64, path,
				(long long)st.st_size, c->size);
	r = read_map(c, dir, &map, err);
	return r < 0 ? r : push(c, steal_fd(&fd), map, err);
}

static int create(struct ram_chain *c, const char *dir, int *ret, struct lab_err *err)
{
	char path[IO_PATH];
	autoclose int fd = open(io_path(path, "%s/ram", dir), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
				0600);

	if (fd < 0 || ftruncate(fd, (off_t)c->size) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	*ret = steal_fd(&fd);
	return 0;
}

int ram_chain_create(struct ram_chain *c, const char *dir, struct lab_err *err)
{
	uint8_t *map = c->n ? calloc(1, map_bytes(c)) : NULL;
	int fd = -EBADF, r;

	if (c->n && !map)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = create(c, dir, &fd, err);
	if (r < 0) {
		free(map);
		return r;
	}
	return push(c, fd, map, err);
}

static int pread_all(int fd, void *buf, size_t len, uint64_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = RETRY(pread(fd, (char *)buf + done, len - done, (off_t)(at + done)));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

static int pwrite_all(int fd, const void *buf, size_t len, uint64_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n =
			RETRY(pwrite(fd, (const char *)buf + done, len - done, (off_t)(at + done)));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* What a chain holds of @n pages from @page on */
static int chain_read(const struct ram_chain *c, uint64_t page, unsigned int n, char *buf)
{
	int r = pread_all(c->layers[0].fd, buf, (size_t)n * RAM_PAGE, page * RAM_PAGE);

	for (size_t l = 1; l < c->n; l++)
		for (unsigned int i = 0; !r && i < n; i++)
			if (get_bit(c->layers[l].map, page + i))
				r = pread_all(c->layers[l].fd, buf + (size_t)i * RAM_PAGE, RAM_PAGE,
					      (page + i) * RAM_PAGE);
	return r;
}

int ram_chain_flatten(struct ram_chain *c, const char *dir, struct lab_err *err)
{
	static const char zero[BATCH * RAM_PAGE];
	autofree char *buf = malloc(sizeof(zero));
	struct ram_chain flat = { .size = c->size };
	int r = buf ? ram_chain_create(&flat, dir, err) : lab_fail(err, -ENOMEM, "out of memory");

	for (uint64_t page = 0; !r && buf && c->n && page < c->size / RAM_PAGE; page += BATCH) {
		unsigned int n = (unsigned int)MIN(BATCH, c->size / RAM_PAGE - page);

		r = chain_read(c, page, n, buf);
		if (!r && memcmp(buf, zero, (size_t)n * RAM_PAGE))
			r = pwrite_all(flat.layers[0].fd, buf, (size_t)n * RAM_PAGE,
				       page * RAM_PAGE);
		if (r < 0)
			lab_fail_errno(err, r, "%s/ram", dir);
	}
	ram_chain_close(c);
	*c = flat;
	return r;
}

int ram_chain_sync(const struct ram_chain *c, struct lab_err *err)
{
	return fdatasync(c->layers[c->n - 1].fd) < 0 ? lab_fail_errno(err, -errno, "writing memory")
						     : 0;
}

int ram_chain_finish(struct ram_chain *c, const char *dir, struct lab_err *err)
{
	const struct ram_layer *top = &c->layers[c->n - 1];
	char path[IO_PATH];
	int r = 0;

	if (top->map)
		r = io_write_file(AT_FDCWD, io_path(path, "%s/ram.map", dir), top->map,
				  map_bytes(c), 0400);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	return lab_wrap(err, ram_chain_sync(c, err), "%s", dir);
}

void ram_chain_close(struct ram_chain *c)
{
	for (size_t i = 0; i < c->n; i++) {
		close(c->layers[i].fd);
		free(c->layers[i].map);
	}
	c->n = 0;
}

static bool layers_have(const struct ram_chain *c, size_t from, uint64_t page)
{
	for (size_t l = from; l < c->n; l++)
		if (!c->layers[l].map || get_bit(c->layers[l].map, page))
			return true;
	return false;
}

/* Pages of a batch that differ, or negative errno; @buf has room for two batches */
static int64_t diff_batch(const struct ram_chain *a, const struct ram_chain *b, size_t common,
			  uint64_t page, char *buf)
{
	unsigned int n = (unsigned int)MIN((uint64_t)BATCH, a->size / RAM_PAGE - page);
	char *other = buf + (size_t)BATCH * RAM_PAGE;
	bool look = false;
	int64_t count = 0;
	int r;

	for (unsigned int i = 0; i < n && !look; i++)
		look = layers_have(a, common, page + i) || layers_have(b, common, page + i);
	if (!look)
		return 0;
	r = chain_read(a, page, n, buf);
	if (!r)
		r = chain_read(b, page, n, other);
	for (size_t i = 0; !r && i < n; i++)
		count += memcmp(buf + i * RAM_PAGE, other + i * RAM_PAGE, RAM_PAGE) != 0;
	return r < 0 ? r : count;
}

int64_t ram_chain_diff(const struct ram_chain *a, const struct ram_chain *b, size_t common,
		       struct lab_err *err)
{
	autofree char *buf = malloc(2 * (size_t)BATCH * RAM_PAGE);
	uint64_t pages = a->size == b->size ? a->size / RAM_PAGE : 0;
	int64_t count = pages ? 0 : (int64_t)(MAX(a->size, b->size) / RAM_PAGE);

	if (!buf)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (uint64_t page = 0; page < pages; page += BATCH) {
		int64_t r = diff_batch(a, b, common, page, buf);

		if (r < 0)
			return lab_fail_errno(err, (int)r, "reading saved memory");
		count += r;
	}
	return count;
}

/* ---- comparing --------------------------------------------------------------- */

/**
 * struct sync - one comparison of a guest with a chain
 * @save:	the chain's top gets what differs; otherwise the guest does
 * @guest, @chain: what the two have of a batch
 */
struct sync {
	const struct ram *ram;
	struct ram_chain *c;
	bool save;
	char guest[BATCH * RAM_PAGE], chain[BATCH * RAM_PAGE];
};

/* Write pages @i to @end of a batch that begins at @page to the side that is behind */
static int write_pages(struct sync *s, uint64_t page, unsigned int i, unsigned int end)
{
	const struct ram_layer *top = &s->c->layers[s->c->n - 1];
	size_t from = (size_t)i * RAM_PAGE, len = (size_t)(end - i) * RAM_PAGE;
	uint64_t at = page * RAM_PAGE + from;
	int r;

	s->c->written += len;
	if (!s->save)
		return pwrite_all(s->ram->mem, s->chain + from, len, s->ram->addr + at);
	r = pwrite_all(top->fd, s->guest + from, len, at);
	for (; !r && top->map && i < end; i++)
		set_bit(top->map, page + i);
	return r;
}

/* Compare a run of pages, and write those that differ, neighbours together */
static int sync_run(struct sync *s, uint64_t page, unsigned int n)
{
	int r = pread_all(s->ram->mem, s->guest, (size_t)n * RAM_PAGE,
			  s->ram->addr + page * RAM_PAGE);

	if (!r)
		r = chain_read(s->c, page, n, s->chain);
	for (unsigned int i = 0, end; !r && i < n; i = end) {
		for (end = i; end < n && memcmp(s->guest + (size_t)end * RAM_PAGE,
						s->chain + (size_t)end * RAM_PAGE, RAM_PAGE);)
			end++;
		if (end > i)
			r = write_pages(s, page, i, end);
		else
			end = i + 1;
	}
	return r;
}

static bool is_private(uint64_t entry)
{
	return entry & PM_SWAP || (entry & PM_PRESENT && !(entry & PM_FILE));
}

/* Whether a page can differ: the guest's own, or in a file above the one it maps */
static bool may_differ(const struct sync *s, uint64_t entry, uint64_t page)
{
	if (is_private(entry))
		return true;
	for (size_t l = 1; l < s->c->n; l++)
		if (get_bit(s->c->layers[l].map, page))
			return true;
	return false;
}

static int sync_part(struct sync *s, const uint64_t *entries, uint64_t page, unsigned int n)
{
	int r = 0;

	for (unsigned int i = 0, end; !r && i < n; i = end) {
		for (end = i;
		     end < n && end - i < BATCH && may_differ(s, entries[end], page + end);)
			end++;
		if (end > i)
			r = sync_run(s, page + i, end - i);
		else
			end = i + 1;
	}
	return r;
}

#define PART 4096U /* pages of which the kernel is asked at a time */

static int read_pagemap(const struct ram *ram, uint64_t page, unsigned int n, uint64_t *entries)
{
	return pread_all(ram->pagemap, entries, n * sizeof(*entries),
			 (ram->addr / RAM_PAGE + page) * sizeof(*entries));
}

static int check_fits(const struct ram *ram, const struct ram_chain *c, struct lab_err *err)
{
	if (c->n && c->size == ram->size)
		return 0;
	return lab_fail(err, -EINVAL,
			"its memory has %" PRIu64 " bytes, and the saved one %" PRIu64, ram->size,
			c->n ? c->size : 0);
}

static int sync_all(const struct ram *ram, struct ram_chain *c, bool save, struct lab_err *err)
{
	autofree struct sync *s = malloc(sizeof(*s));
	autofree uint64_t *entries = calloc(PART, sizeof(*entries));
	int r = 0;

	if (!s || !entries)
		return lab_fail(err, -ENOMEM, "out of memory");
	s->ram = ram;
	s->c = c;
	s->save = save;
	for (uint64_t page = 0; !r && page < ram->size / RAM_PAGE; page += PART) {
		unsigned int n = (unsigned int)MIN(PART, ram->size / RAM_PAGE - page);

		r = read_pagemap(ram, page, n, entries);
		if (!r)
			r = sync_part(s, entries, page, n);
	}
	return r < 0 ? lab_fail_errno(err, r, save ? "saving its memory" : "loading its memory")
		     : 0;
}

int ram_save(const struct ram *ram, struct ram_chain *c, struct lab_err *err)
{
	return check_fits(ram, c, err) ?: sync_all(ram, c, true, err);
}

int ram_load(const struct ram *ram, struct ram_chain *c, struct lab_err *err)
{
	return check_fits(ram, c, err) ?: sync_all(ram, c, false, err);
}

int64_t ram_private(const struct ram *ram, struct lab_err *err)
{
	autofree uint64_t *entries = malloc(PART * sizeof(*entries));
	int64_t count = 0;

	if (!entries)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (uint64_t page = 0; page < ram->size / RAM_PAGE; page += PART) {
		unsigned int n = (unsigned int)MIN(PART, ram->size / RAM_PAGE - page);
		int r = read_pagemap(ram, page, n, entries);

		if (r < 0)
			return lab_fail_errno(err, r, "reading its page map");
		for (unsigned int i = 0; i < n; i++)
			count += is_private(entries[i]);
	}
	return count;
}

/* ---- labram.so ---------------------------------------------------------------- */

#define MAX_ERRNO 4095 /* the kernel's */

static int ask(const char *path, char op, uint64_t deadline, struct lab_err *err)
{
	autoclose int fd = io_connect_unix(path, SOCK_SEQPACKET | SOCK_NONBLOCK);
	struct pollfd answer = { .fd = fd, .events = POLLIN };
	uint64_t now = num_now_us();
	int code = 0;

	if (fd < 0)
		return lab_fail_errno(err, fd, "%s", path);
	if (send(fd, &op, 1, MSG_NOSIGNAL) != 1)
		return lab_fail_errno(err, -errno, "%s", path);
	if (RETRY(poll(&answer, 1, deadline > now ? (int)((deadline - now) / 1000) : 0)) <= 0)
		return lab_fail(err, -ETIMEDOUT, "%s: no answer", path);
	if (RETRY(recv(fd, &code, sizeof(code), 0)) != sizeof(code))
		return lab_fail(err, -ECONNRESET, "%s: it was closed", path);
	if (code < 0 || code > MAX_ERRNO)
		return lab_fail(err, -EPROTO, "%s: an answer that is none", path);
	return code ? lab_fail_errno(err, -code, "%s: request '%c'", path, op) : 0;
}

/* ---- what was written ------------------------------------------------------------ */

/* Documentation/admin-guide/mm/pagemap.rst; not in the headers of Linux 6.1 */
struct written_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN _IOWR('f', 16, struct scan_arg)
#define SCAN_PROTECT (1 << 0) /* what matches is write-protected: remembered anew */
#define SCAN_CHECK (1 << 1) /* fail where nothing is remembered */
#define IS_WRITTEN (1 << 1)
#define IS_FILE (1 << 2)
#define IS_PRESENT (1 << 3)
#define IS_SWAPPED (1 << 4)
#define REGIONS 512U

/*
 * The next regions of the guest's own pages that were written; *at moves on. Not those that are
 * nowhere: since Linux 6.12 or so they count as written, and a mark that protects one looks like
 * a page in swap. Whoever reads that brings a page of zeroes in for each hole of the file.
 */
static int scan(const struct ram *ram, uint64_t *at, struct written_region *regions)
{
	struct scan_arg arg = {
		.size = sizeof(arg),
		.flags = SCAN_PROTECT | SCAN_CHECK,
		.start = *at,
		.end = ram->addr + ram->size,
		.vec = (uintptr_t)regions,
		.vec_len = REGIONS,
		.category_inverted = IS_FILE,
		.category_mask = IS_WRITTEN | IS_FILE,
		.category_anyof_mask = IS_PRESENT | IS_SWAPPED,
		.return_mask = IS_WRITTEN,
	};
	int n = ioctl(ram->pagemap, SCAN, &arg);

	if (n < 0)
		return -errno;
	*at = arg.walk_end;
	return n;
}

int ram_track(struct ram *ram, const char *socket, uint64_t deadline, struct lab_err *err)
{
	autofree struct written_region *regions = calloc(REGIONS, sizeof(*regions));
	int r = regions ? ask(socket, 't', deadline, err) : lab_fail(err, -ENOMEM, "out of memory");

	for (uint64_t at = ram->addr; r >= 0 && at < ram->addr + ram->size;) {
		r = scan(ram, &at, regions);
		if (r < 0)
			lab_fail_errno(err, r, "remembering what is written");
	}
	ram->tracked = r >= 0;
	return MIN(r, 0);
}

static int sync_region(struct sync *s, const struct written_region *region)
{
	uint64_t from = (region->start - s->ram->addr) / RAM_PAGE;
	uint64_t to = (region->end - s->ram->addr) / RAM_PAGE;
	int r = 0;

	for (uint64_t page = from; !r && page < to; page += BATCH)
		r = sync_run(s, page, (unsigned int)MIN((uint64_t)BATCH, to - page));
	return r;
}

/* The kernel finds nothing written in a process that has ended, and no fault with that */
static int check_alive(const struct ram *ram)
{
	char byte;

	return pread_all(ram->mem, &byte, 1, ram->addr);
}

static int save_written(const struct ram *ram, struct ram_chain *c, struct lab_err *err)
{
	autofree struct written_region *regions = calloc(REGIONS, sizeof(*regions));
	autofree struct sync *s = malloc(sizeof(*s));
	uint64_t at = ram->addr;
	int r = 0;

	if (!s || !regions)
		return lab_fail(err, -ENOMEM, "out of memory");
	s->ram = ram;
	s->c = c;
	s->save = true;
	while (r >= 0 && at < ram->addr + ram->size) {
		int n = r = scan(ram, &at, regions);

		for (int i = 0; r >= 0 && i < n; i++)
			r = sync_region(s, &regions[i]);
	}
	if (r >= 0)
		r = check_alive(ram);
	return r < 0 ? lab_fail_errno(err, r, "saving its memory") : 0;
}

int ram_save_again(const struct ram *ram, struct ram_chain *c, struct lab_err *err)
{
	if (!ram->tracked)
		return ram_save(ram, c, err);
	return check_fits(ram, c, err) ?: save_written(ram, c, err);
}
