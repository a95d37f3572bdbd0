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
