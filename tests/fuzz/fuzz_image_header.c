// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_image_header.c - any bytes as a disk file
 *
 * Each input is inspected as qcow2 and as raw. Beside not to crash: a refusal
 * has words and leaves the result alone; what is accepted as qcow2 is within
 * the bounds that its size promises, and nothing that begins like a qcow2 is
 * ever accepted as raw.
 */
#define _GNU_SOURCE
#include "images/image.h"

#include "lib/util.h"

#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int inspect(int fd, const char *format, struct image_header *h)
{
	struct lab_err err = LAB_ERR_INIT;
	int r = image_inspect(fd, format, IMAGE_MAX_SIZE, h, &err);

	if (r < 0 && (!*err.text || err.code != r || *h->format || h->size))
		abort();
	if (!r && (strcmp(h->format, format) || !h->size || h->size > IMAGE_MAX_SIZE))
		abort();
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct image_header raw = { 0 }, qcow2 = { 0 };
	autoclose int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	/* an input need not be large to have its tables inside of the file */
	if (len >= 512 && data[len - 1] & 1 && ftruncate(fd, 1 << 22) < 0)
		abort();
	if (!inspect(fd, "raw", &raw) && len >= 4 && !memcmp(data, "QFI\xfb", 4))
		abort();
	inspect(fd, "qcow2", &qcow2);
	return 0;
}
