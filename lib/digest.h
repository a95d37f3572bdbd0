/* SPDX-License-Identifier: GPL-2.0-or-later */
/* digest.h - SHA-256 of bytes, strings and files (libcrypto) */
#ifndef LIB_DIGEST_H
#define LIB_DIGEST_H

#include "lib/err.h"

#include <stddef.h>
#include <stdint.h>

#define DIGEST_HEX 65

/**
 * digest_hex() - SHA-256 of bytes, in hexadecimal
 * @buf:	DIGEST_HEX bytes
 *
 * Return: @buf
 */
const char *digest_hex(char buf[DIGEST_HEX], const void *data, size_t len);

/** digest_u64() - The first 64 bits of the SHA-256 of bytes */
uint64_t digest_u64(const void *data, size_t len);

/**
 * digest_fd() - SHA-256 of a file from its start to its end
 * @fd:		open for reading; its offset is not used
 * @buf:	DIGEST_HEX bytes
 *
 * Return: 0 or negative errno
 */
int digest_fd(int fd, char buf[DIGEST_HEX], struct lab_err *err);

/**
 * digest_sparse_fd() - SHA-256 of a sparse file, without reading its holes
 *
 * Of its size and of each 64 KiB that are not all zero, with their offset: so it
 * does not depend on where the filesystem keeps holes.
 */
int digest_sparse_fd(int fd, char buf[DIGEST_HEX], struct lab_err *err);

#endif
