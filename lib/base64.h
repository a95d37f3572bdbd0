/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base64.h - bytes in JSON (libcrypto) */
#ifndef LIB_BASE64_H
#define LIB_BASE64_H

#include <stddef.h>

/** base64_text() - Bytes as base64; malloced, NULL without memory */
char *base64_text(const void *data, size_t len);

/**
 * base64_bytes() - The bytes of a base64 text
 * @ret:	malloced
 *
 * Return: 0, -EINVAL if it is not base64, or -ENOMEM
 */
int base64_bytes(const char *text, unsigned char **ret, size_t *ret_len);

#endif
