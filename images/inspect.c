// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * inspect.c - may this foreign disk file be opened at all?
 *
 * DOC: Theory of Operation
 *
 * A disk file from elsewhere is hostile input: a qcow2 can name any file of the
 * host as its backing or data file, a raw file can be taken for another format
 * by a program that guesses, sizes can be made to exhaust memory. So the header is
 * read here, by code that only compares numbers, before QEMU's own
 * code sees the file, and the format is what the user said, never a guess.
 *
 * The layout is docs/interop/qcow2.txt of QEMU. Versions 2 and 3 are known;
 * all else is refused, for the list of what is fine is short:
 * compatible and autoclear bits (a reader may ignore those, except for bitmaps
 * and external data), "dirty" and "corrupt" are refused as a guest was not
 * shut down or an image is damaged, zstd compression is accepted.
 */
#define _GNU_SOURCE
#include "images/image.h"

#include "lib/num.h"
#include "lib/util.h"

#include <endian.h>
#include <string.h>
#include <sys/stat.h>

#define QCOW2_V2_HEADER 72
#define QCOW2_V3_HEADER 104
#define QCOW2_MAX_HEADER 4096
#define QCOW2_MAX_L1 (32ULL << 20) /* bytes; QEMU's own limit */
#define QCOW2_MAX_REFTABLE (8ULL << 20)
#define QCOW2_MAX_EXTENSIONS 64

#define QCOW2_INCOMPAT_DIRTY (1ULL << 0)
#define QCOW2_INCOMPAT_CORRUPT (1ULL << 1)
#define QCOW2_INCOMPAT_DATA_FILE (1ULL << 2)
#define QCOW2_INCOMPAT_COMPRESSION (1ULL << 3)
#define QCOW2_INCOMPAT_EXTL2 (1ULL << 4)

#define QCOW2_EXT_END 0
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acaU
#define QCOW2_EXT_DATA_FILE 0x44415441U
#define QCOW2_EXT_CRYPTO 0x0537be77U
#define QCOW2_EXT_BITMAPS 0x23852875U

/**
 * struct qcow2 - the header's fields, in this machine's byte order
 */
struct qcow2 {
	uint32_t version, cluster_bits, crypt_method, l1_size, reftable_clusters, snapshots;
	uint32_t refcount_order, header_length;
	uint64_t backing_offset, size, l1_offset, reftable_offset, incompatible;
	uint8_t compression;
};

static uint32_t be32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t be64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

/**
 * read_at() - Read up to @len bytes at @at
 *
 * Return: how many there were, or negative errno
 */
static ssize_t read_at(int fd, uint64_t at, void *buf, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = RETRY(pread(fd, (char *)buf + have, len - have, (off_t)(at + have)));

		if (n < 0)
			return -errno;
		if (!n)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int refuse(struct lab_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct lab_err *err, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return lab_fail(err, -EINVAL, "refused: %s", text);
}

static int check_size(uint64_t size, uint64_t max, struct lab_err *err)
{
	char have[NUM_TEXT], most[NUM_TEXT];

	if (!size)
		return refuse(err, "the disk has no bytes");
	if (size > max)
		return lab_fail(err, -ERANGE,
				"refused: the disk is %s large, at most %s are accepted",
				num_size_text(have, size), num_size_text(most, max));
	return 0;
}

/* --- raw --- */

/**
 * struct magic - what another format begins with
 */
struct magic {
	const char *bytes;
	size_t len, at;
	const char *format;
};

#define MAGIC(bytes, at, format)                                                                   \
	{                                                                                          \
		bytes, sizeof(bytes) - 1, at, format                                               \
	}

static const struct magic magics[] = {
	MAGIC("QFI\xfb", 0, "qcow2 (or qcow)"),
	MAGIC("QED\0", 0, "QED"),
	MAGIC("KDMV", 0, "VMDK"),
	MAGIC("COWD", 0, "VMDK"),
	MAGIC("# Disk DescriptorFile", 0, "VMDK"),
	MAGIC("\x7f\x10\xda\xbe", 64, "VDI"),
	MAGIC("vhdxfile", 0, "VHDX"),
	MAGIC("conectix", 0, "VHD"),
	MAGIC("LUKS\xba\xbe", 0, "LUKS"),
	MAGIC("SKUL\xba\xbe", 0, "LUKS"),
	MAGIC("WithoutFreeSpace", 0, "Parallels"),
	MAGIC("WithouFreSpacExt", 0, "Parallels"),
	MAGIC("Bochs Virtual HD Image", 0, "Bochs"),
	MAGIC("OOOM", 0, "user-mode Linux COW"),
	MAGIC("#!/bin/sh\n#V2.0 Format\n", 0, "cloop"),
	MAGIC("koly", 0, "DMG"),
	MAGIC("\x1f\x8b", 0, "gzip"),
	MAGIC("\xfd"
	      "7zXZ\0",
	      0, "xz"),
	MAGIC("\x28\xb5\x2f\xfd", 0, "zstd"),
	MAGIC("BZh", 0, "bzip2"),
	MAGIC("PK\x03\x04", 0, "zip"),
	MAGIC("\x37\x7a\xbc\xaf\x27\x1c", 0, "7z"),
};

static const char *find_magic(const unsigned char *buf, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		const struct magic *m = &magics[i];

		if (m->at + m->len <= len && !memcmp(buf + m->at, m->bytes, m->len))
			return m->format;
	}
	return NULL;
}

/* Formats that keep their description in the last 512 bytes */
static int check_footer(int fd, uint64_t size, struct lab_err *err)
{
	unsigned char foot[512];
	ssize_t n;

	if (size < sizeof(foot))
		return 0;
	n = read_at(fd, size - sizeof(foot), foot, sizeof(foot));
	if (n < 0)
		return lab_fail_errno(err, (int)n, "cannot read the disk file");
	if ((size_t)n == sizeof(foot) && !memcmp(foot, "conectix", 8))
		return refuse(err, "said to be raw, but it ends like a VHD disk");
	if ((size_t)n == sizeof(foot) && !memcmp(foot, "koly", 4))
		return refuse(err, "said to be raw, but it ends like a DMG disk");
	return 0;
}

static int inspect_raw(int fd, uint64_t file_size, uint64_t max, struct image_header *ret,
		       struct lab_err *err)
{
	unsigned char buf[512];
	ssize_t n = read_at(fd, 0, buf, sizeof(buf));
	const char *format;
	int r;

	if (n < 0)
		return lab_fail_errno(err, (int)n, "cannot read the disk file");
	format = find_magic(buf, (size_t)n);
	if (format)
		return refuse(err,
			      "said to be raw, but it begins like %s; import it as what it is, or "
			      "convert it first",
			      format);
	r = check_footer(fd, file_size, err);
	if (!r)
		r = check_size(file_size, max, err);
	if (!r && file_size % 512)
		r = refuse(err, "a raw disk is a multiple of 512 bytes, this has %llu",
			   (unsigned long long)file_size);
	if (r < 0)
		return r;
	memcpy(ret->format, "raw", 4);
	ret->size = file_size;
	return 0;
}

/* --- qcow2 --- */

static int parse_header(const unsigned char *h, size_t len, struct qcow2 *q, struct lab_err *err)
{
	if (len < 4 || memcmp(h, "QFI\xfb", 4)) {
		const char *other = find_magic(h, len);

		return refuse(err, "said to be qcow2, but it does not begin like one%s%s%s",
			      other ? " (it looks like " : "", other ? other : "",
			      other ? ")" : "");
	}
	if (len < QCOW2_V2_HEADER)
		return refuse(err, "the file ends within the qcow2 header");
	q->version = be32(h + 4);
	if (q->version != 2 && q->version != 3)
		return refuse(err, "qcow2 version %u is not known; 2 and 3 are", q->version);
	q->backing_offset = be64(h + 8);
	q->cluster_bits = be32(h + 20);
	q->size = be64(h + 24);
	q->crypt_method = be32(h + 32);
	q->l1_size = be32(h + 36);
	q->l1_offset = be64(h + 40);
	q->reftable_offset = be64(h + 48);
	q->reftable_clusters = be32(h + 56);
	q->snapshots = be32(h + 60);
	q->refcount_order = 4;
	q->header_length = QCOW2_V2_HEADER;
	if (q->version == 2)
		return 0;
	if (len < QCOW2_V3_HEADER)
		return refuse(err, "the file ends within the qcow2 header");
	q->incompatible = be64(h + 72);
	q->refcount_order = be32(h + 96);
	q->header_length = be32(h + 100);
	if (q->header_length < QCOW2_V3_HEADER || q->header_length > QCOW2_MAX_HEADER ||
	    q->header_length % 8 || q->header_length > len)
		return refuse(err, "the qcow2 header says it is %u bytes long", q->header_length);
	q->compression = q->header_length > QCOW2_V3_HEADER ? h[104] : 0;
	return 0;
}

static int check_features(const struct qcow2 *q, unsigned int allow, struct lab_err *err)
{
	uint64_t known = QCOW2_INCOMPAT_COMPRESSION | QCOW2_INCOMPAT_EXTL2;

	if (q->backing_offset && !(allow & IMAGE_ALLOW_BASE))
		return refuse(err, "it has a backing file, so it is not a whole disk; flatten it "
				   "with qemu-img convert where the backing file is");
	if (q->incompatible & QCOW2_INCOMPAT_DATA_FILE)
		return refuse(err, "its data is in an external file");
	if (q->crypt_method)
		return refuse(err, "it is encrypted");
	if (q->snapshots && !(allow & IMAGE_ALLOW_SNAPSHOT))
		return refuse(err, "it has %u internal snapshots; convert it to leave them out",
			      q->snapshots);
	if (q->incompatible & QCOW2_INCOMPAT_DIRTY)
		return refuse(err, "it was not closed properly; repair it with qemu-img check -r "
				   "leaks");
	if (q->incompatible & QCOW2_INCOMPAT_CORRUPT)
		return refuse(err, "it is marked as corrupt; repair it with qemu-img check -r all");
	if (q->incompatible & ~known)
		return refuse(err, "it needs features that are not known (bits %#llx)",
			      (unsigned long long)(q->incompatible & ~known));
	if (q->compression > 1 ||
	    (q->compression && !(q->incompatible & QCOW2_INCOMPAT_COMPRESSION)))
		return refuse(err, "its compression type %u is not known", q->compression);
	return 0;
}

/* A table must be in the file as a whole, aligned, and not over the header */
static int check_table(const char *what, uint64_t offset, uint64_t bytes, uint64_t max,
		       uint64_t cluster, uint64_t file_size, struct lab_err *err)
{
	if (bytes > max)
		return refuse(err, "its %s is larger than %llu bytes", what,
			      (unsigned long long)max);
	if (offset % cluster || offset < cluster)
		return refuse(err, "its %s is at %#llx, where none can be", what,
			      (unsigned long long)offset);
	if (offset > file_size || bytes > file_size - offset)
		return refuse(err, "its %s is outside of the file; it is truncated", what);
	return 0;
}

static int check_layout(const struct qcow2 *q, uint64_t file_size, uint64_t max,
			struct lab_err *err)
{
	unsigned int l2_bits = q->incompatible & QCOW2_INCOMPAT_EXTL2 ? 4 : 3;
	uint64_t cluster, span, needed;
	int r;

	if (q->cluster_bits < 9 || q->cluster_bits > 21 || (l2_bits == 4 && q->cluster_bits < 14))
		return refuse(err, "its cluster size is 2^%u bytes", q->cluster_bits);
	if (q->refcount_order > 6)
		return refuse(err, "its reference counts have 2^%u bits", q->refcount_order);
	cluster = 1ULL << q->cluster_bits;
	if (q->header_length > cluster)
		return refuse(err, "its header is longer than a cluster");
	r = check_size(q->size, max, err);
	if (r < 0)
		return r;
	/* one L1 entry: a cluster of L2 entries, each a cluster of data */
	span = 1ULL << (2 * q->cluster_bits - l2_bits);
	needed = q->size / span + !!(q->size % span);
	if (q->l1_size < needed)
		return refuse(err, "its L1 table has %u entries, its size needs %llu", q->l1_size,
			      (unsigned long long)needed);
	r = check_table("L1 table", q->l1_offset, q->l1_size * 8ULL, QCOW2_MAX_L1, cluster,
			file_size, err);
	if (r < 0)
		return r;
	if (!q->reftable_clusters)
		return refuse(err, "it has no reference count table");
	return check_table("reference count table", q->reftable_offset,
			   q->reftable_clusters * cluster, QCOW2_MAX_REFTABLE, cluster, file_size,
			   err);
}

/* Between the header and the end of the first cluster: type, length, data */
static int check_extensions(int fd, const struct qcow2 *q, unsigned int allow, struct lab_err *err)
{
	uint64_t at = q->header_length, end = 1ULL << q->cluster_bits;

	for (int i = 0; i < QCOW2_MAX_EXTENSIONS && at + 8 <= end; i++) {
		unsigned char ext[8];
		ssize_t n = read_at(fd, at, ext, sizeof(ext));
		uint32_t type, len;

		if (n < 0)
			return lab_fail_errno(err, (int)n, "cannot read the disk file");
		if ((size_t)n < sizeof(ext))
			return refuse(err, "the file ends within the qcow2 header extensions");
		type = be32(ext);
		len = be32(ext + 4);
		if (type == QCOW2_EXT_END)
			return 0;
		if (len > end - at - 8)
			return refuse(err, "a header extension is longer than its cluster");
		if (type == QCOW2_EXT_DATA_FILE)
			return refuse(err, "it names an external data file");
		if (type == QCOW2_EXT_CRYPTO)
			return refuse(err, "it is encrypted");
		if (type == QCOW2_EXT_BACKING_FORMAT && !(allow & IMAGE_ALLOW_BASE))
			return refuse(err, "it names the format of a backing file");
		if (type == QCOW2_EXT_BITMAPS)
			return refuse(err, "it has dirty bitmaps; convert it to leave them out");
		at += 8 + ((uint64_t)len + 7) / 8 * 8;
	}
	return at + 8 > end
		       ? 0
		       : refuse(err, "it has more than %d header extensions", QCOW2_MAX_EXTENSIONS);
}

static int inspect_qcow2(int fd, uint64_t file_size, uint64_t max, unsigned int allow,
			 struct image_header *ret, struct lab_err *err)
{
	unsigned char buf[QCOW2_MAX_HEADER];
	struct qcow2 q = { 0 };
	ssize_t n = read_at(fd, 0, buf, sizeof(buf));
	int r;

	if (n < 0)
		return lab_fail_errno(err, (int)n, "cannot read the disk file");
	if ((r = parse_header(buf, (size_t)n, &q, err)) < 0 ||
	    (r = check_features(&q, allow, err)) < 0 ||
	    (r = check_layout(&q, file_size, max, err)) < 0 ||
	    (r = check_extensions(fd, &q, allow, err)) < 0)
		return r;
	memcpy(ret->format, "qcow2", 6);
	ret->size = q.size;
	ret->plain = q.version == 3 && q.cluster_bits == 16 && !q.incompatible;
	return 0;
}

static int inspect(int fd, const char *format, uint64_t max_size, unsigned int allow,
		   struct image_header *ret, struct lab_err *err)
{
	struct image_header h = { 0 };
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return lab_fail_errno(err, -errno, "cannot look at the disk file");
	if (!S_ISREG(st.st_mode))
		return refuse(err, "a disk to import is a regular file");
	if (!strcmp(format, "raw"))
		r = inspect_raw(fd, (uint64_t)st.st_size, max_size, &h, err);
	else if (!strcmp(format, "qcow2"))
		r = inspect_qcow2(fd, (uint64_t)st.st_size, max_size, allow, &h, err);
	else
		r = lab_fail(err, -EINVAL,
			     "'%.20s' is not a format that can be imported; qcow2 and "
			     "raw are",
			     format);
	if (r < 0)
		return r;
	*ret = h;
	return 0;
}

int image_inspect(int fd, const char *format, uint64_t max_size, struct image_header *ret,
		  struct lab_err *err)
{
	return inspect(fd, format, max_size, 0, ret, err);
}

int image_inspect_part(int fd, unsigned int allow, struct image_header *ret, struct lab_err *err)
{
	return inspect(fd, "qcow2", IMAGE_MAX_SIZE, allow, ret, err);
}
