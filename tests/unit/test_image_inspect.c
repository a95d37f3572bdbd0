// SPDX-License-Identifier: GPL-2.0-or-later
/* test_image_inspect.c - headers of foreign disks: what is taken, what is refused and why */
#define _GNU_SOURCE
#include "images/image.h"

#include "lib/util.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CLUSTER 65536
#define GIB (1ULL << 30)

/* Where fields are: docs/interop/qcow2.txt of QEMU */
enum {
	VERSION = 4,
	BACKING_OFFSET = 8,
	BACKING_SIZE = 16,
	CLUSTER_BITS = 20,
	SIZE = 24,
	CRYPT = 32,
	L1_SIZE = 36,
	L1_OFFSET = 40,
	REFTABLE_OFFSET = 48,
	REFTABLE_CLUSTERS = 56,
	SNAPSHOTS = 60,
	INCOMPATIBLE = 72,
	REFCOUNT_ORDER = 96,
	HEADER_LENGTH = 100,
	COMPRESSION = 104,
	EXTENSIONS = 112,
};

/**
 * struct disk - a disk file in memory
 * @fd:		memfd
 * @h:		its first cluster, mapped
 */
struct disk {
	int fd;
	unsigned char *h;
};

static void put32(const struct disk *d, size_t at, uint32_t v)
{
	v = htobe32(v);
	memcpy(d->h + at, &v, sizeof(v));
}

static void put64(const struct disk *d, size_t at, uint64_t v)
{
	v = htobe64(v);
	memcpy(d->h + at, &v, sizeof(v));
}

/* A good version 3 file of 1 GiB: L1 table in cluster 1, reference counts in 2 and 3 */
static int setup(void **state)
{
	struct disk *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->fd = memfd_create("disk", MFD_CLOEXEC);
	assert_true(d->fd >= 0);
	assert_int_equal(ftruncate(d->fd, 4 * CLUSTER), 0);
	d->h = mmap(NULL, CLUSTER, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
	assert_ptr_not_equal(d->h, MAP_FAILED);
	memcpy(d->h, "QFI\xfb", 4);
	put32(d, VERSION, 3);
	put32(d, CLUSTER_BITS, 16);
	put64(d, SIZE, GIB);
	put32(d, L1_SIZE, 2);
	put64(d, L1_OFFSET, CLUSTER);
	put64(d, REFTABLE_OFFSET, 2 * CLUSTER);
	put32(d, REFTABLE_CLUSTERS, 1);
	put32(d, REFCOUNT_ORDER, 4);
	put32(d, HEADER_LENGTH, 112);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct disk *d = *state;

	munmap(d->h, CLUSTER);
	close(d->fd);
	free(d);
	return 0;
}

static void good(const struct disk *d, const char *format, uint64_t size)
{
	struct image_header h = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	int r = image_inspect(d->fd, format, IMAGE_MAX_SIZE, &h, &err);

	if (r < 0)
		fail_msg("refused, should be fine: %s", err.text);
	assert_string_equal(h.format, format);
	assert_int_equal(h.size, size);
}

/* Refused with @code and with words in which @words occurs; the result is untouched */
static void bad(const struct disk *d, const char *format, int code, const char *words)
{
	struct image_header h = { "x", 7, false };
	struct lab_err err = LAB_ERR_INIT;
	int r = image_inspect(d->fd, format, IMAGE_MAX_SIZE, &h, &err);

	if (r != code || !strstr(err.text, words))
		fail_msg("wanted %d and '%s', got %d and '%s'", code, words, r, err.text);
	assert_string_equal(h.format, "x");
	assert_int_equal(h.size, 7);
}

static void test_good(void **state)
{
	struct disk *d = *state;

	good(d, "qcow2", GIB);
	put32(d, HEADER_LENGTH, 104);
	good(d, "qcow2", GIB);
	put32(d, VERSION, 2);
	memset(d->h + 72, 0, 48);
	good(d, "qcow2", GIB);
}

static void test_extensions(void **state)
{
	struct disk *d = *state;

	put32(d, EXTENSIONS, 0x6803f857); /* names of features: for people */
	put32(d, EXTENSIONS + 4, 48);
	good(d, "qcow2", GIB);
	put32(d, EXTENSIONS, 0x12345678); /* not known, so to be ignored */
	good(d, "qcow2", GIB);
	put32(d, EXTENSIONS, 0x44415441);
	bad(d, "qcow2", -EINVAL, "external data file");
	put32(d, EXTENSIONS, 0xe2792aca);
	bad(d, "qcow2", -EINVAL, "backing file");
	put32(d, EXTENSIONS, 0x0537be77);
	bad(d, "qcow2", -EINVAL, "encrypted");
	put32(d, EXTENSIONS, 0x23852875);
	bad(d, "qcow2", -EINVAL, "bitmaps");
	put32(d, EXTENSIONS, 0x12345678);
	put32(d, EXTENSIONS + 4, UINT32_MAX);
	bad(d, "qcow2", -EINVAL, "longer than its cluster");
	put32(d, EXTENSIONS + 4, 1); /* then padding, then another one */
	put32(d, EXTENSIONS + 16, 0x44415441);
	bad(d, "qcow2", -EINVAL, "external data file");
	for (size_t at = EXTENSIONS; at < CLUSTER; at += 8) { /* without an end */
		put32(d, at, 0x12345678);
		put32(d, at + 4, 0);
	}
	bad(d, "qcow2", -EINVAL, "more than 64 header extensions");
}

static void test_features(void **state)
{
	static const struct {
		size_t at;
		int bits;
		uint64_t value;
		const char *words;
	} cases[] = {
		{ VERSION, 32, 1, "version 1" },
		{ VERSION, 32, 4, "version 4" },
		{ BACKING_OFFSET, 64, 256, "backing file" },
		{ BACKING_OFFSET, 64, UINT64_MAX, "backing file" },
		{ CRYPT, 32, 1, "encrypted" },
		{ CRYPT, 32, 2, "encrypted" },
		{ SNAPSHOTS, 32, 3, "3 internal snapshots" },
		{ INCOMPATIBLE, 64, 1, "not closed properly" },
		{ INCOMPATIBLE, 64, 2, "corrupt" },
		{ INCOMPATIBLE, 64, 4, "external file" },
		{ INCOMPATIBLE, 64, 1ULL << 5, "not known (bits 0x20)" },
		{ INCOMPATIBLE, 64, 1ULL << 63, "not known" },
		{ HEADER_LENGTH, 32, 100, "header says it is 100" },
		{ HEADER_LENGTH, 32, 105, "header says it is 105" },
		{ HEADER_LENGTH, 32, UINT32_MAX, "header says" },
		{ REFCOUNT_ORDER, 32, 7, "reference counts" },
		{ CLUSTER_BITS, 32, 8, "cluster size" },
		{ CLUSTER_BITS, 32, 22, "cluster size" },
		{ CLUSTER_BITS, 32, UINT32_MAX, "cluster size" },
		{ L1_SIZE, 32, 1, "needs 2" },
		{ L1_SIZE, 32, UINT32_MAX, "L1 table is larger" },
		{ L1_SIZE, 32, 1 << 16, "truncated" },
		{ L1_OFFSET, 64, CLUSTER + 8, "where none can be" },
		{ L1_OFFSET, 64, 0, "where none can be" },
		{ L1_OFFSET, 64, 4 * CLUSTER, "truncated" },
		{ L1_OFFSET, 64, UINT64_MAX & ~0xffffULL, "truncated" },
		{ REFTABLE_OFFSET, 64, 5 * CLUSTER, "truncated" },
		{ REFTABLE_CLUSTERS, 32, 0, "no reference count table" },
		{ REFTABLE_CLUSTERS, 32, UINT32_MAX, "larger than" },
		{ SIZE, 64, 0, "no bytes" },
	};
	struct disk *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned char keep[8];

		memcpy(keep, d->h + cases[i].at, sizeof(keep));
		if (cases[i].bits == 32)
			put32(d, cases[i].at, (uint32_t)cases[i].value);
		else
			put64(d, cases[i].at, cases[i].value);
		bad(d, "qcow2", -EINVAL, cases[i].words);
		memcpy(d->h + cases[i].at, keep, sizeof(keep));
	}
	good(d, "qcow2", GIB);
}

static void test_compression(void **state)
{
	struct disk *d = *state;

	put64(d, INCOMPATIBLE, 8);
	d->h[COMPRESSION] = 1;
	good(d, "qcow2", GIB);
	d->h[COMPRESSION] = 2;
	bad(d, "qcow2", -EINVAL, "compression type 2");
	put64(d, INCOMPATIBLE, 0);
	d->h[COMPRESSION] = 1;
	bad(d, "qcow2", -EINVAL, "compression type 1");
}

static void test_sizes(void **state)
{
	static const uint64_t sizes[] = { IMAGE_MAX_SIZE + 1, 1ULL << 62, 1ULL << 63, UINT64_MAX };
	struct disk *d = *state;
	struct image_header h;
	struct lab_err err = LAB_ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		put64(d, SIZE, sizes[i]);
		bad(d, "qcow2", -ERANGE, "at most 2 TiB");
	}
	put64(d, SIZE, 2 * GIB);
	assert_int_equal(image_inspect(d->fd, "qcow2", GIB, &h, &err), -ERANGE);
	/* 512-byte clusters: an L1 entry is 32 KiB */
	put32(d, CLUSTER_BITS, 9);
	put64(d, SIZE, GIB);
	put32(d, L1_SIZE, 32767);
	bad(d, "qcow2", -EINVAL, "needs 32768");
	/* subclusters double the size of an L2 entry */
	put32(d, CLUSTER_BITS, 16);
	put64(d, INCOMPATIBLE, 16);
	put32(d, L1_SIZE, 3);
	bad(d, "qcow2", -EINVAL, "needs 4");
	put32(d, CLUSTER_BITS, 12);
	bad(d, "qcow2", -EINVAL, "cluster size");
}

static void test_truncated(void **state)
{
	static const off_t lengths[] = {
		0, 1, 3, 4, 71, 72, 103, 104, 111, 112, CLUSTER, CLUSTER + 8, 3 * CLUSTER - 1
	};
	struct disk *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		autoclose int fd = memfd_create("short", MFD_CLOEXEC);
		struct disk cut = { .fd = fd };

		assert_int_equal(write(fd, d->h, (size_t)MIN(lengths[i], CLUSTER)),
				 MIN(lengths[i], CLUSTER));
		assert_int_equal(ftruncate(fd, lengths[i]), 0);
		bad(&cut, "qcow2", -EINVAL, "refused: ");
	}
}

static void test_not_qcow2(void **state)
{
	struct disk *d = *state;

	memcpy(d->h, "KDMV", 4);
	bad(d, "qcow2", -EINVAL, "looks like VMDK");
	memset(d->h, 0, 4);
	bad(d, "qcow2", -EINVAL, "does not begin like one");
	bad(d, "vmdk", -EINVAL, "not a format");
	bad(d, "", -EINVAL, "not a format");
}

static void test_raw_like_others(void **state)
{
	static const struct {
		const char *bytes;
		size_t len, at;
		const char *words;
	} cases[] = {
		{ "QFI\xfb", 4, 0, "qcow2" },
		{ "QED", 4, 0, "QED" },
		{ "KDMV", 4, 0, "VMDK" },
		{ "# Disk DescriptorFile", 21, 0, "VMDK" },
		{ "\x7f\x10\xda\xbe", 4, 64, "VDI" },
		{ "vhdxfile", 8, 0, "VHDX" },
		{ "conectix", 8, 0, "VHD" },
		{ "LUKS\xba\xbe", 6, 0, "LUKS" },
		{ "WithoutFreeSpace", 16, 0, "Parallels" },
		{ "\x1f\x8b", 2, 0, "gzip" },
		{ "conectix", 8, 4 * CLUSTER - 512, "ends like a VHD" },
		{ "koly", 4, 4 * CLUSTER - 512, "ends like a DMG" },
	};
	struct disk *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(d->h, 0, 512);
		assert_int_equal(pwrite(d->fd, cases[i].bytes, cases[i].len, (off_t)cases[i].at),
				 cases[i].len);
		bad(d, "raw", -EINVAL, cases[i].words);
		assert_int_equal(pwrite(d->fd, "\0\0\0\0\0\0\0\0", 8, (off_t)cases[i].at), 8);
	}
	memset(d->h, 0, 512);
	good(d, "raw", 4 * CLUSTER);
	memcpy(d->h + 510, "\x55\xaa", 2); /* a boot sector */
	good(d, "raw", 4 * CLUSTER);
}

static void test_raw_sizes(void **state)
{
	struct disk *d = *state;

	memset(d->h, 0, 512);
	assert_int_equal(ftruncate(d->fd, 4 * CLUSTER + 100), 0);
	bad(d, "raw", -EINVAL, "multiple of 512");
	assert_int_equal(ftruncate(d->fd, (off_t)IMAGE_MAX_SIZE + 512), 0);
	bad(d, "raw", -ERANGE, "at most 2 TiB");
	munmap(d->h, CLUSTER);
	assert_int_equal(ftruncate(d->fd, 0), 0);
	bad(d, "raw", -EINVAL, "no bytes");
	assert_int_equal(ftruncate(d->fd, 4 * CLUSTER), 0);
	d->h = mmap(NULL, CLUSTER, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
}

static void test_not_a_file(void **state)
{
	struct disk dir = { .fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	struct disk null = { .fd = open("/dev/null", O_RDONLY | O_CLOEXEC) };
	struct disk none = { .fd = -EBADF };

	(void)state;
	bad(&dir, "raw", -EINVAL, "regular file");
	bad(&null, "raw", -EINVAL, "regular file");
	bad(&none, "raw", -EBADF, "");
	close(dir.fd);
	close(null.fd);
}

/* What parts of an exported lab may have; and no more than what was allowed */
static void test_parts(void **state)
{
	struct image_header h = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	struct disk *d = *state;

	put64(d, BACKING_OFFSET, 256);
	put32(d, EXTENSIONS, 0xe2792aca);
	put32(d, EXTENSIONS + 4, 5);
	assert_int_equal(image_inspect_part(d->fd, 0, &h, &err), -EINVAL);
	assert_int_equal(image_inspect_part(d->fd, IMAGE_ALLOW_SNAPSHOT, &h, &err), -EINVAL);
	assert_int_equal(h.size, 0);
	assert_int_equal(image_inspect_part(d->fd, IMAGE_ALLOW_BASE, &h, &err), 0);
	assert_int_equal(h.size, GIB);
	put64(d, INCOMPATIBLE, 4);
	assert_int_equal(image_inspect_part(d->fd, IMAGE_ALLOW_BASE, &h, &err), -EINVAL);
	put64(d, INCOMPATIBLE, 0);
	put32(d, SNAPSHOTS, 1);
	assert_int_equal(image_inspect_part(d->fd, IMAGE_ALLOW_BASE, &h, &err), -EINVAL);
	put64(d, BACKING_OFFSET, 0);
	put32(d, EXTENSIONS, 0);
	assert_int_equal(image_inspect_part(d->fd, 0, &h, &err), -EINVAL);
	assert_int_equal(image_inspect_part(d->fd, IMAGE_ALLOW_SNAPSHOT, &h, &err), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_good),	   T(test_extensions), T(test_features),  T(test_compression),
		T(test_sizes),	   T(test_truncated),  T(test_not_qcow2), T(test_raw_like_others),
		T(test_raw_sizes), T(test_not_a_file), T(test_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
