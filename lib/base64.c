// SPDX-License-Identifier: GPL-2.0-or-later
/* base64.c - bytes in JSON (libcrypto) */
#define _GNU_SOURCE
#include "lib/base64.h"

#include "lib/util.h"

#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

#define BASE64_MAX (INT_MAX / 2)

char *base64_text(const void *data, size_t len)
{
	unsigned char *text = len < BASE64_MAX ? malloc(len / 3 * 4 + 5) : NULL;

	if (text)
		EVP_EncodeBlock(text, data, (int)len);
	return (char *)text;
}

int base64_bytes(const char *text, unsigned char **ret, size_t *ret_len)
{
	size_t len = strlen(text), padding = 0;
	autofree unsigned char *bytes = NULL;
	int n;

	if (len % 4 || len >= BASE64_MAX)
		return -EINVAL;
	while (padding < 2 && len > padding && text[len - 1 - padding] == '=')
		padding++;
	if (strcspn(text, "=") < len - padding)
		return -EINVAL;
	bytes = malloc(len / 4 * 3 + 4);
	if (!bytes)
		return -ENOMEM;
	n = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
	if (n < 0)
		return -EINVAL;
	/* EVP_DecodeBlock() counts the padding as zeros */
	*ret_len = (size_t)n - padding;
	*ret = steal_ptr(bytes);
	return 0;
}
