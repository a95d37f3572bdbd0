// SPDX-License-Identifier: GPL-2.0-or-later
/* digest.c - SHA-256 of bytes, strings and files (libcrypto) */
#define _GNU_SOURCE
#include "lib/digest.h"

#include "lib/util.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

static void to_hex(char buf[DIGEST_HEX], const unsigned char *md)
{
	for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
		snprintf(buf + 2 * i, 3, "%02x", md[i]);
}

const char *digest_hex(char buf[DIGEST_HEX], const void *data, size_t len)
{
	unsigned char md[SHA256_DIGEST_LENGTH];

	SHA256(data, len, md);
	to_hex(buf, md);
	return buf;
}

uint64_t digest_u64(const void *data, size_t len)
{
	unsigned char md[SHA256_DIGEST_LENGTH];
	uint64_t v = 0;

	SHA256(data, len, md);
	for (int i = 0; i < 8; i++)
		v = v << 8 | md[i];
	return v;
}

static void free_ctx(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx);
}

int digest_fd(int fd, char buf[DIGEST_HEX], struct lab_err *err)
{
	__attribute__((cleanup(free_ctx))) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	autofree char *block = malloc(1 << 18);
	unsigned char md[SHA256_DIGEST_LENGTH];
	off_t at = 0;

	if (!ctx || !block || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL))
		return lab_fail(err, -ENOMEM, "digest: out of memory");
	for (;;) {
		ssize_t n = RETRY(pread(fd, block, 1 << 18, at));

		if (n < 0)
			return lab_fail_errno(err, -errno, "digest: read");
		if (!n)
			break;
		EVP_DigestUpdate(ctx, block, (size_t)n);
		at += n;
	}
	EVP_DigestFinal_ex(ctx, md, NULL);
	to_hex(buf, md);
	return 0;
}

#define SPARSE_BLOCK (1 << 16)

/* The next block at or after @at that may hold data; @size if there is none */
static off_t next_data(int fd, off_t at, off_t size)
{
	off_t data = lseek(fd, at, SEEK_DATA);

	if (data < 0)
		return errno == ENXIO ? size : at;
	return data - data % SPARSE_BLOCK;
}

static int add_block(EVP_MD_CTX *ctx, int fd, off_t at, char *block)
{
	static const char zero[SPARSE_BLOCK];
	uint64_t offset = (uint64_t)at;
	ssize_t n = RETRY(pread(fd, block, SPARSE_BLOCK, at));

	if (n < 0)
		return -errno;
	if (memcmp(block, zero, (size_t)n)) {
		EVP_DigestUpdate(ctx, &offset, sizeof(offset));
		EVP_DigestUpdate(ctx, block, (size_t)n);
	}
	return 0;
}

static int digest_data(int fd, off_t size, char buf[DIGEST_HEX], struct lab_err *err)
{
	__attribute__((cleanup(free_ctx))) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	autofree char *block = malloc(SPARSE_BLOCK);
	unsigned char md[SHA256_DIGEST_LENGTH];

	if (!ctx || !block || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL))
		return lab_fail(err, -ENOMEM, "digest: out of memory");
	EVP_DigestUpdate(ctx, &size, sizeof(size));
	for (off_t at = next_data(fd, 0, size); at < size;
	     at = next_data(fd, at + SPARSE_BLOCK, size)) {
		int r = add_block(ctx, fd, at, block);

		if (r < 0)
			return lab_fail_errno(err, r, "digest: read");
	}
	EVP_DigestFinal_ex(ctx, md, NULL);
	to_hex(buf, md);
	return 0;
}

int digest_sparse_fd(int fd, char buf[DIGEST_HEX], struct lab_err *err)
{
	off_t size = lseek(fd, 0, SEEK_END);

	return size < 0 ? lab_fail_errno(err, -errno, "digest: size")
			: digest_data(fd, size, buf, err);
}
