// SPDX-License-Identifier: GPL-2.0-or-later
/* test_jbd.c - journals without checksums: where they end, what counts, what is damage */
#define _GNU_SOURCE
#include "fs/inspect/jbd.h"
#include "lib/util.h"

#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BLOCK 1024
#define BLOCKS 16

enum { DESCRIPTOR = 1, COMMIT, SUPERBLOCK_V1, SUPERBLOCK_V2, REVOKE };

static uint8_t journal[BLOCKS][BLOCK];

static void put32(uint8_t *to, uint32_t v)
{
	v = htobe32(v);
	memcpy(to, &v, sizeof(v));
}

static int read_block(void *arg, uint32_t block, void *buf)
{
	(void)arg;
	if (block >= BLOCKS)
		return -EUCLEAN;
	memcpy(buf, journal[block], BLOCK);
	return 0;
}

static void head(uint32_t at, uint32_t type, uint32_t sequence)
{
	memset(journal[at], 0, BLOCK);
	put32(journal[at], JBD_MAGIC);
	put32(journal[at] + 4, type);
	put32(journal[at] + 8, sequence);
}

static void superblock(uint32_t start, uint32_t sequence)
{
	memset(journal, 0, sizeof(journal));
	head(0, SUPERBLOCK_V2, 0);
	put32(journal[0] + 12, BLOCK);
	put32(journal[0] + 16, BLOCKS);
	put32(journal[0] + 20, 1);
	put32(journal[0] + 24, sequence);
	put32(journal[0] + 28, start);
}

/* A descriptor of one block, whose contents are behind it */
static void descriptor(uint32_t at, uint32_t sequence, uint32_t block)
{
	head(at, DESCRIPTOR, sequence);
	put32(journal[at] + 12, block);
	journal[at][19] = 8 | 2; /* the last one, without a UUID */
}

static void put_revoke(uint32_t at, uint32_t sequence, uint32_t block)
{
	head(at, REVOKE, sequence);
	put32(journal[at] + 12, 20);
	put32(journal[at] + 16, block);
}

static int look(struct jbd *ret)
{
	const struct jbd_source src = {
		.read = read_block, .block_size = BLOCK, .blocks = BLOCKS, .limit = 1000
	};

	return jbd_read(&src, ret, NULL);
}

/* Around the end of the ring, and of the numbers; what is not committed does not count */
static void test_ring(void **state)
{
	struct jbd j;

	(void)state;
	superblock(14, UINT32_MAX);
	descriptor(14, UINT32_MAX, 7);
	head(1, COMMIT, UINT32_MAX);
	descriptor(2, 0, 9);
	head(4, COMMIT, 0);
	descriptor(5, 1, 8);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 2);
	assert_int_equal(j.v[0].block, 7);
	assert_int_equal(j.v[0].at, 15);
	assert_int_equal(j.v[1].block, 9);
	assert_int_equal(j.v[1].at, 3);
	assert_int_equal(jbd_from(&j, 7), 0);
	assert_int_equal(jbd_from(&j, 8), 1);
	assert_int_equal(jbd_from(&j, 10), 2);
	jbd_done(&j);
}

static void test_last_counts(void **state)
{
	struct jbd j;

	(void)state;
	superblock(1, 5);
	descriptor(1, 5, 7);
	head(3, COMMIT, 5);
	descriptor(4, 6, 7);
	head(6, COMMIT, 6);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 1);
	assert_int_equal(j.v[0].at, 5);
	jbd_done(&j);

	/* revoked by the next one; what comes after that counts again */
	put_revoke(7, 7, 7);
	head(8, COMMIT, 7);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 0);
	jbd_done(&j);
	descriptor(9, 8, 7);
	head(11, COMMIT, 8);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 1);
	assert_int_equal(j.v[0].at, 10);
	jbd_done(&j);

	/* a revoke that is not committed */
	put_revoke(12, 9, 7);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 1);
	jbd_done(&j);
}

static void test_nothing(void **state)
{
	struct jbd j;

	(void)state;
	superblock(0, 5);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 0);
	superblock(3, 5);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 0);
}

/* What a crash leaves behind the last commit may be anything, and is no damage */
static void test_tail(void **state)
{
	struct jbd j;

	(void)state;
	superblock(1, 5);
	descriptor(1, 5, 7);
	head(3, COMMIT, 5);
	/* a block that the filesystem has not, more revokes than there is room for */
	descriptor(4, 6, 1000);
	put_revoke(6, 6, 7);
	put32(journal[6] + 12, BLOCK + 1);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 1);
	assert_int_equal(j.v[0].block, 7);
	jbd_done(&j);

	/* the same if that is the first one */
	superblock(1, 5);
	descriptor(1, 5, 1000);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 0);
	jbd_done(&j);

	/* a descriptor of more blocks than the ring has */
	superblock(1, 5);
	descriptor(1, 5, 7);
	head(3, COMMIT, 5);
	head(4, DESCRIPTOR, 6);
	for (size_t at = 12; at + 8 <= BLOCK; at += 8)
		journal[4][at + 7] = 2;
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 1);
	jbd_done(&j);
}

/* Up to the last block, behind which the first one comes again */
static void test_full(void **state)
{
	struct jbd j;

	(void)state;
	superblock(1, 5);
	for (uint32_t i = 0; i < 5; i++) {
		descriptor(1 + 3 * i, 5 + i, 20 + i);
		head(3 + 3 * i, COMMIT, 5 + i);
	}
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 5);
	jbd_done(&j);
}

/* As the kernel does, a block is looked at only if nothing has revoked it */
static void test_revoked_nonsense(void **state)
{
	struct jbd j;

	(void)state;
	superblock(1, 5);
	descriptor(1, 5, 1000);
	head(3, COMMIT, 5);
	put_revoke(4, 6, 1000);
	head(5, COMMIT, 6);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 0);
	jbd_done(&j);
}

static void test_damage(void **state)
{
	struct jbd j = { 0 };

	(void)state;
	/* a transaction without end */
	superblock(1, 5);
	for (uint32_t at = 1; at < BLOCKS; at++)
		put_revoke(at, 5, at);
	assert_int_equal(look(&j), -EUCLEAN);
	/* a block that the filesystem has not */
	superblock(1, 5);
	descriptor(1, 5, 1000);
	head(3, COMMIT, 5);
	assert_int_equal(look(&j), -EUCLEAN);
	/* more revokes than a block has room for */
	superblock(1, 5);
	put_revoke(1, 5, 7);
	put32(journal[1] + 12, BLOCK + 1);
	head(2, COMMIT, 5);
	assert_int_equal(look(&j), -EUCLEAN);
	/* a superblock that makes no sense */
	for (uint32_t field = 12; field <= 28; field += field == 20 ? 8 : 4) {
		superblock(1, 5);
		put32(journal[0] + field, UINT32_MAX);
		assert_int_equal(look(&j), -EUCLEAN);
	}
	/* checksums that are promised and not there, features of the future */
	superblock(1, 5);
	put32(journal[0] + 40, 16);
	assert_int_equal(look(&j), -EUCLEAN);
	put32(journal[0] + 40, 64);
	assert_int_equal(look(&j), -EOPNOTSUPP);
	assert_null(j.v);
}

/* Behind the ring of a journal of more blocks than this one has: they are not asked for */
static void test_fast(void **state)
{
	struct jbd j;

	(void)state;
	superblock(1, 5);
	put32(journal[0] + 40, 32);
	descriptor(1, 5, 7);
	head(3, COMMIT, 5);
	assert_int_equal(look(&j), 0);
	assert_int_equal(j.n, 1);
	jbd_done(&j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring),	cmocka_unit_test(test_last_counts),
		cmocka_unit_test(test_nothing), cmocka_unit_test(test_damage),
		cmocka_unit_test(test_fast),	cmocka_unit_test(test_tail),
		cmocka_unit_test(test_full),	cmocka_unit_test(test_revoked_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
