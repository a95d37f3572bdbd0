// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qcow2.c - where the clusters of a qcow2 file are, for reading
 *
 * The layout is docs/interop/qcow2.txt of QEMU. The header was judged by images/inspect.c
 * before anything here looks at it.
 */
#define _GNU_SOURCE
#include "fs/inspect/qcow2.h"

#include "images/image.h"
#include "lib/util.h"

#include <endian.h>
#include <string.h>
#include <zlib.h>

#define L2_OFFSET 0x00fffffffffffe00ULL /* also of an L1 entry */
#define L2_PACKED (1ULL << 62)
#define L2_ZERO 1ULL
#define EXTENDED_L2 (1ULL << 4)
#define MAX_UNPACKED (2U << 20)

/* The part of the header that is of interest here */
struct header {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_size, cluster_bits;
	uint64_t size;
	uint32_t crypt, l1_size;
	uint64_t l1_offset;
	uint64_t refcounts_offset;
	uint32_t refcounts_clusters, snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible;
	uint8_t rest[24];
	uint8_t compression;
} __attribute__((packed));

static int read_whole(const struct qmap *q, void *buf, size_t len, uint64_t at)
{
	ssize_t n = RETRY(pread(q->fd, buf, len, (off_t)at));

	return n < 0 ? -EIO : (size_t)n == len ? 0 : -EUCLEAN;
}

static int read_l1(struct qmap *q, uint64_t offset)
{
	int r;

	q->l1 = calloc(q->l1_size + 1, sizeof(*q->l1));
	if (!q->l1)
		return -ENOMEM;
	r = read_whole(q, q->l1, q->l1_size * sizeof(*q->l1), offset);
	for (uint64_t i = 0; !r && i < q->l1_size; i++)
		q->l1[i] = be64toh(q->l1[i]) & L2_OFFSET;
	return r;
}

static int judge(const struct qmap *q, struct lab_err *err)
{
	struct image_header judged;
	int r = image_inspect_part(q->fd, IMAGE_ALLOW_BASE | IMAGE_ALLOW_SNAPSHOT, &judged, err);

	if (r != -EINVAL)
		return r;
	if (err)
		err->code = -EUCLEAN;
	return -EUCLEAN;
}

int qmap_open(struct qmap *q, struct lab_err *err)
{
	struct header h = { 0 };
	int r = judge(q, err);

	if (r < 0)
		return r;
	if (pread(q->fd, &h, sizeof(h), 0) < (ssize_t)offsetof(struct header, incompatible))
		return lab_fail(err, -EUCLEAN, "it ends within its header");
	q->version = be32toh(h.version);
	if (q->version >= 3 && be64toh(h.incompatible) & EXTENDED_L2)
		return lab_fail(err, -EOPNOTSUPP, "it has extended L2 entries");
	if (q->version >= 3 && be64toh(h.incompatible) & (1ULL << 3) && h.compression)
		return lab_fail(err, -EOPNOTSUPP, "it is compressed with zstd");
	q->cluster_bits = be32toh(h.cluster_bits);
	q->l2_bits = q->cluster_bits - 3;
	q->size = be64toh(h.size);
	/* more of it than the disk needs is of no use, and may be any number */
	q->l1_size = (q->size - 1) / (1ULL << (q->cluster_bits + q->l2_bits)) + 1;
	r = read_l1(q, be64toh(h.l1_offset));
	return r < 0 ? lab_fail_errno(err, r, "its L1 table") : 0;
}

void qmap_done(struct qmap *q)
{
	free(q->l1);
	q->l1 = NULL;
}

void map_cache_done(struct map_cache *cache)
{
	for (size_t i = 0; i < MAP_TABLES; i++)
		free(cache->tables[i].entries);
	*cache = (struct map_cache){ 0 };
}

static struct map_table *table_slot(const struct qmap *q, struct map_cache *cache, uint64_t index)
{
	uint64_t hash = ((uintptr_t)q / sizeof(*q) * 31 + index) % MAP_TABLES;

	return &cache->tables[hash];
}

/* The L2 table of an L1 entry that has one */
static int load_table(const struct qmap *q, struct map_cache *cache, uint64_t index,
		      const uint64_t **ret)
{
	struct map_table *t = table_slot(q, cache, index);
	size_t bytes = sizeof(uint64_t) << q->l2_bits;
	int r;

	if (t->owner == q && t->index == index && t->entries) {
		*ret = t->entries;
		return 0;
	}
	free(steal_ptr(t->entries));
	t->entries = malloc(bytes);
	if (!t->entries)
		return -ENOMEM;
	r = q->l1[index] % (1ULL << q->cluster_bits)
		    ? -EUCLEAN
		    : read_whole(q, t->entries, bytes, q->l1[index]);
	if (r < 0) {
		free(steal_ptr(t->entries));
		return r;
	}
	t->owner = q;
	t->index = index;
	*ret = t->entries;
	return 0;
}

static int judge_entry(const struct qmap *q, uint64_t entry, uint64_t within,
		       struct map_answer *ret)
{
	uint64_t cluster = 1ULL << q->cluster_bits, at = entry & L2_OFFSET;

	if (entry & L2_PACKED) {
		ret->kind = MAP_PACKED;
		ret->at = entry;
		return 0;
	}
	if (q->version >= 3 && entry & L2_ZERO) {
		ret->kind = MAP_ZERO;
		return 0;
	}
	if (!at)
		return 0;
	/* The last cluster of a file need not be there as a whole, but begins in it */
	if (at % cluster || at >= q->file_size)
		return -EUCLEAN;
	ret->kind = MAP_DATA;
	ret->at = at + within;
	return 0;
}

int qmap_find(const struct qmap *q, struct map_cache *cache, uint64_t at, struct map_answer *ret)
{
	uint64_t span = 1ULL << (q->cluster_bits + q->l2_bits), cluster = 1ULL << q->cluster_bits;
	const uint64_t *l2;
	int r;

	*ret = (struct map_answer){ .kind = MAP_ABSENT };
	if (!q->l1[at / span]) {
		ret->length = MIN(span - at % span, q->size - at);
		return 0;
	}
	r = load_table(q, cache, at / span, &l2);
	if (r < 0)
		return r;
	ret->length = MIN(cluster - at % cluster, q->size - at);
	return judge_entry(q, be64toh(l2[at % span / cluster]), at % cluster, ret);
}

static int inflate_cluster(const void *packed, size_t len, void *buf, size_t cluster)
{
	z_stream z = { .next_in = (Bytef *)packed,
		       .avail_in = (uInt)len,
		       .next_out = buf,
		       .avail_out = (uInt)cluster };
	int r;

	if (inflateInit2(&z, -12) != Z_OK)
		return -ENOMEM;
	r = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* What is behind the end of the data is another cluster's */
	return (r == Z_STREAM_END || r == Z_BUF_ERROR) && !z.avail_out ? 0 : -EUCLEAN;
}

int qmap_unpack(const struct qmap *q, uint64_t entry, void *buf)
{
	unsigned int sector_bits = q->cluster_bits - 8, offset_bits = 62 - sector_bits;
	uint64_t at = entry & ((1ULL << offset_bits) - 1);
	uint64_t sectors = (entry >> offset_bits & ((1ULL << sector_bits) - 1)) + 1;
	size_t len = (size_t)(sectors * 512 - at % 512), cluster = (size_t)1 << q->cluster_bits;
	autofree void *packed = NULL;
	ssize_t n;

	if (len > 2 * (size_t)MAX_UNPACKED || at >= q->file_size)
		return -EUCLEAN;
	packed = malloc(len);
	if (!packed)
		return -ENOMEM;
	n = RETRY(pread(q->fd, packed, len, (off_t)at));
	return n < 0 ? -EIO : inflate_cluster(packed, (size_t)n, buf, cluster);
}
