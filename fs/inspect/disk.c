// SPDX-License-Identifier: GPL-2.0-or-later
/* disk.c - a disk as its guest sees it, read from the files of its chain */
#define _GNU_SOURCE
#include "fs/inspect/disk.h"

#include "fs/inspect/qcow2.h"
#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>

/**
 * struct disk_file - one of the chain
 * @raw:	only @map.fd, @map.size and @map.file_size are used
 * @dev, @ino:	which it is
 */
struct disk_file {
	bool raw;
	dev_t dev;
	ino_t ino;
	struct qmap map;
};

/**
 * struct disk - a chain
 * @unpacked:	the last packed cluster that was read
 * @packed_file, @packed_entry: which that was
 */
struct disk {
	struct disk_file *files; /* never moves: caches point into it */
	size_t n;
	uint64_t blocks;
	struct map_cache cache;
	void *unpacked;
	size_t packed_file;
	uint64_t packed_entry;
};

struct disk *disk_new(void)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (d)
		d->files = calloc(INSPECT_MAX_FILES, sizeof(*d->files));
	if (d && d->files)
		return d;
	return disk_free(d);
}

struct disk *disk_free(struct disk *d)
{
	for (size_t i = 0; d && d->files && i < d->n; i++) {
		close(d->files[i].map.fd);
		qmap_done(&d->files[i].map);
	}
	if (d) {
		map_cache_done(&d->cache);
		free(d->files);
		free(d->unpacked);
	}
	free(d);
	return NULL;
}

int disk_add(struct disk *d, int fd, bool raw, struct lab_err *err)
{
	struct disk_file *f = &d->files[d->n];
	autoclose int own = fd;
	struct stat st;
	int r = 0;

	if (d->n == INSPECT_MAX_FILES)
		return lab_fail(err, -EOPNOTSUPP, "its chain has more than %d files",
				INSPECT_MAX_FILES);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return lab_fail(err, -EUCLEAN, "it is no regular file");
	*f = (struct disk_file){
		.raw = raw,
		.dev = st.st_dev,
		.ino = st.st_ino,
		.map = { .fd = fd, .size = (uint64_t)st.st_size, .file_size = (uint64_t)st.st_size }
	};
	if (!raw)
		r = qmap_open(&f->map, err);
	if (r < 0) {
		qmap_done(&f->map);
		return r;
	}
	d->blocks += (uint64_t)st.st_blocks;
	d->n++;
	(void)steal_fd(&own);
	return 0;
}

uint64_t disk_size(const struct disk *d)
{
	return d->n ? d->files[0].map.size : 0;
}

uint64_t disk_blocks(const struct disk *d)
{
	return d->blocks;
}

/* Holes of a raw file are shown as holes */
static int find_raw(const struct qmap *q, uint64_t at, uint64_t len, struct map_answer *ret)
{
	off_t data = lseek(q->fd, (off_t)at, SEEK_DATA), hole;

	len = MIN(len, q->size - at);
	*ret = (struct map_answer){ .kind = MAP_ZERO, .length = len };
	if (data < 0)
		return errno == ENXIO ? 0 : -EIO;
	if ((uint64_t)data > at) {
		ret->length = MIN(ret->length, (uint64_t)data - at);
		return 0;
	}
	hole = lseek(q->fd, (off_t)at, SEEK_HOLE);
	if (hole <= (off_t)at)
		return -EIO;
	ret->kind = MAP_DATA;
	ret->at = at;
	ret->length = MIN(ret->length, (uint64_t)hole - at);
	return 0;
}

int disk_map(struct disk *d, uint64_t at, uint64_t len, struct inspect_run *ret)
{
	struct map_answer a = { .kind = MAP_ABSENT };
	size_t i;

	for (i = 0; i < d->n && a.kind == MAP_ABSENT; i++) {
		const struct disk_file *f = &d->files[i];
		int r;

		if (at >= f->map.size) {
			a.kind = MAP_ZERO;
			break;
		}
		r = f->raw ? find_raw(&f->map, at, len, &a) : qmap_find(&f->map, &d->cache, at, &a);
		if (r < 0)
			return r;
		len = MIN(len, a.length);
	}
	*ret = (struct inspect_run){ .length = len, .at = a.at, .kind = INSPECT_ZERO_RUN };
	if (a.kind == MAP_DATA || a.kind == MAP_PACKED) {
		ret->file = (uint32_t)(i - 1);
		ret->kind = a.kind == MAP_DATA ? INSPECT_DATA_RUN : INSPECT_COPY_RUN;
	}
	return 0;
}

bool disk_shares(const struct disk *a, const struct inspect_run *run_a, const struct disk *b,
		 const struct inspect_run *run_b)
{
	const struct disk_file *x, *y;

	if (run_a->kind != run_b->kind)
		return false;
	if (run_a->kind == INSPECT_ZERO_RUN)
		return true;
	x = &a->files[run_a->file];
	y = &b->files[run_b->file];
	return x->dev == y->dev && x->ino == y->ino && x->raw == y->raw && run_a->at == run_b->at;
}

static bool goes_on(const struct inspect_run *a, const struct inspect_run *b)
{
	return a->kind == b->kind &&
	       (a->kind != INSPECT_DATA_RUN || (a->file == b->file && a->at + a->length == b->at));
}

ssize_t runs_collect(const struct runs *from, uint64_t at, uint64_t len, struct inspect_run *runs,
		     size_t room)
{
	size_t n = 0;

	while (len) {
		struct inspect_run run;
		int r = from->next(from->arg, at, len, &run);

		if (r < 0)
			return n ? (ssize_t)n : r;
		at += run.length;
		len -= run.length;
		if (n && goes_on(&runs[n - 1], &run))
			runs[n - 1].length += run.length;
		else if (n == room)
			break;
		else
			runs[n++] = run;
	}
	return (ssize_t)n;
}

static int map_next(void *arg, uint64_t at, uint64_t len, struct inspect_run *ret)
{
	return disk_map(arg, at, len, ret);
}

ssize_t disk_runs(struct disk *d, uint64_t at, uint64_t len, struct inspect_run *runs, size_t room)
{
	return runs_collect(&(struct runs){ map_next, d }, at, len, runs, room);
}

/* Bytes of a packed cluster; neighbours are read one after the other, so the last is kept */
static int read_packed(struct disk *d, const struct inspect_run *run, uint64_t at, void *buf)
{
	const struct qmap *q = &d->files[run->file].map;
	uint64_t cluster = 1ULL << q->cluster_bits;
	int r;

	if (!d->unpacked || d->packed_file != run->file || d->packed_entry != run->at) {
		free(steal_ptr(d->unpacked));
		d->unpacked = malloc(cluster);
		r = d->unpacked ? qmap_unpack(q, run->at, d->unpacked) : -ENOMEM;
		if (r < 0) {
			free(steal_ptr(d->unpacked));
			return r;
		}
		d->packed_file = run->file;
		d->packed_entry = run->at;
	}
	memcpy(buf, (const char *)d->unpacked + at % cluster, run->length);
	return 0;
}

static int read_data(const struct disk *d, const struct inspect_run *run, char *buf)
{
	ssize_t n = RETRY(pread(d->files[run->file].map.fd, buf, run->length, (off_t)run->at));

	if (n < 0)
		return -EIO;
	/* The last cluster of a file may be cut */
	memset(buf + n, 0, run->length - (size_t)n);
	return 0;
}

int disk_read(struct disk *d, void *buf, size_t len, uint64_t at)
{
	char *to = buf;

	while (len) {
		struct inspect_run run = { .length = len, .kind = INSPECT_ZERO_RUN };
		int r = at < disk_size(d) ? disk_map(d, at, len, &run) : 0;

		if (!r && run.kind == INSPECT_DATA_RUN)
			r = read_data(d, &run, to);
		else if (!r && run.kind == INSPECT_COPY_RUN)
			r = read_packed(d, &run, at, to);
		else if (!r)
			memset(to, 0, run.length);
		if (r < 0)
			return r;
		to += run.length;
		at += run.length;
		len -= run.length;
	}
	return 0;
}
