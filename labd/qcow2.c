// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qcow2.c - new, empty qcow2 files
 *
 * The layout is docs/interop/qcow2.txt of QEMU, version 3, clusters of 64 KiB:
 *
 *	cluster 0	header, its one extension, the name of the backing file
 *	cluster 1	refcount table: one block
 *	cluster 2	refcount block: 1 for each cluster of the file
 *	cluster 3 ...	L1 table, empty
 */
#define _GNU_SOURCE
#include "labd/qcow2.h"

#include "lib/io.h"
#include "lib/util.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CLUSTER_BITS 16U
#define CLUSTER (1ULL << CLUSTER_BITS)
/* an L1 entry stands for a cluster of L2 entries of 8 bytes */
#define L1_REACH (CLUSTER / 8 * CLUSTER)
#define MAX_SIZE (64ULL << 40)
#define MAX_BASE 1023U
#define L1_AT (3 * CLUSTER)

#define MAGIC 0x514649fbU
#define EXTENSION_FORMAT 0xe2792acaU

struct header {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_size, cluster_bits;
	uint64_t size;
	uint32_t crypt, l1_size;
	uint64_t l1_offset, refcounts_offset;
	uint32_t refcounts_clusters, snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order, length;
	/* of version 3's optional part */
	uint8_t compression, pad[7];
	/* extensions: the format of the backing file, and the end */
	uint32_t format, format_size;
	char format_name[8];
	uint32_t end, end_size;
} __attribute__((packed));

static uint32_t l1_entries(uint64_t size)
{
	return (uint32_t)((size + L1_REACH - 1) / L1_REACH);
}

static void fill_header(struct header *h, uint64_t size, const char *base)
{
	bool has_base = *base;

	*h = (struct header){
		.magic = htobe32(MAGIC),
		.version = htobe32(3),
		.backing_offset = htobe64(has_base ? sizeof(*h) : 0),
		.backing_size = htobe32((uint32_t)strlen(base)),
		.cluster_bits = htobe32(CLUSTER_BITS),
		.size = htobe64(size),
		.l1_size = htobe32(l1_entries(size)),
		.l1_offset = htobe64(L1_AT),
		.refcounts_offset = htobe64(CLUSTER),
		.refcounts_clusters = htobe32(1),
		.refcount_order = htobe32(4),
		.length = htobe32(offsetof(struct header, format)),
		.format = htobe32(has_base ? EXTENSION_FORMAT : 0),
		.format_size = htobe32(has_base ? 5 : 0),
		.format_name = "qcow2",
	};
}

static int write_at(int fd, const void *buf, size_t len, uint64_t at)
{
	ssize_t n = RETRY(pwrite(fd, buf, len, (off_t)at));

	return n < 0 ? -errno : (size_t)n == len ? 0 : -ENOSPC;
}

static int write_refcounts(int fd, uint64_t l1_bytes)
{
	uint64_t table = htobe64(2 * CLUSTER), n = 3 + (l1_bytes + CLUSTER - 1) / CLUSTER;
	uint16_t counts[3 + MAX_SIZE / L1_REACH * 8 / CLUSTER + 1];
	int r = write_at(fd, &table, sizeof(table), CLUSTER);

	for (uint64_t i = 0; i < n; i++)
		counts[i] = htobe16(1);
	return r < 0 ? r : write_at(fd, counts, n * sizeof(*counts), 2 * CLUSTER);
}

static int write_all(int fd, uint64_t size, const char *base)
{
	uint64_t l1_bytes = l1_entries(size) * sizeof(uint64_t);
	struct header h;
	int r;

	fill_header(&h, size, base);
	r = write_at(fd, &h, sizeof(h), 0);
	if (!r)
		r = write_at(fd, base, strlen(base), sizeof(h));
	if (!r)
		r = write_refcounts(fd, l1_bytes);
	if (!r && ftruncate(fd, (off_t)(L1_AT + l1_bytes)) < 0)
		r = -errno;
	return r;
}

bool qcow2_is_new(const char *path, uint64_t size)
{
	struct stat st;

	/* the first cluster that is written, and the table that names it, are behind the L1 table
	 */
	return lstat(path, &st) < 0 ||
	       (uint64_t)st.st_size <= L1_AT + l1_entries(size) * sizeof(uint64_t);
}

int qcow2_create(const char *path, uint64_t size, const char *base, uid_t owner,
		 struct lab_err *err)
{
	autoclose int fd = -EBADF;
	int r;

	if (strlen(base) > MAX_BASE)
		return lab_fail(err, -ENAMETOOLONG, "%s: too long a name for what a disk stands on",
				base);
	if (size > MAX_SIZE)
		return lab_fail(err, -EFBIG, "%s: a disk has at most 64 TiB", path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	r = write_all(fd, size, base);
	if (!r && !geteuid() && fchown(fd, owner, (gid_t)-1) < 0)
		r = -errno;
	if (r < 0)
		unlink(path);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}
