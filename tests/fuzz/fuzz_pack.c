// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_pack.c - any bytes as an exported lab
 *
 * An input is read as a tar archive (the first byte even) or as the manifest of one (odd),
 * both wrapped as an attacker would: compressed, with the right digest. Beside not to
 * crash: a refusal has words, and nothing is written outside of the directory.
 */
#define _GNU_SOURCE
#include "labd/pack.h"
#include "lib/io.h"
#include "lib/util.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAX_DATA (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void put(struct archive *a, const char *name, const void *data, size_t len)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_size(e, (la_int64_t)len);
	if (archive_write_header(a, e) < 0 || archive_write_data(a, data, len) < 0)
		abort();
	archive_entry_free(e);
}

static void wrap_manifest(int fd, const uint8_t *data, size_t len)
{
	struct archive *a = archive_write_new();
	char hex[DIGEST_HEX];

	archive_write_set_format_pax(a);
	archive_write_add_filter_zstd(a);
	archive_write_open_fd(a, fd);
	put(a, "manifest.json", data, len);
	put(a, "manifest.sha256", digest_hex(hex, data, len), DIGEST_HEX - 1);
	put(a, "a/x", "x", 1);
	archive_write_close(a);
	archive_write_free(a);
}

static void wrap_tar(int fd, const uint8_t *data, size_t len)
{
	struct archive *a = archive_write_new();

	archive_write_set_format_raw(a);
	archive_write_add_filter_zstd(a);
	archive_write_open_fd(a, fd);
	put(a, "data", data, len);
	archive_write_close(a);
	archive_write_free(a);
}

static void read_all(int fd, const char *dir)
{
	struct lab_err err = LAB_ERR_INIT;
	struct pack *p = NULL;
	int r = pack_open(fd, &p, &err);

	/* what takes more than this only takes longer */
	if (!r && pack_data(p, NULL) <= MAX_DATA)
		r = pack_extract(p, dir, NULL, NULL, &err);
	if (r < 0 && (!*err.text || err.code != r))
		abort();
	pack_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char top[] = "/dev/shm/fuzz-pack-XXXXXX", dir[IO_PATH];
	autoclose int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (!len || fd < 0 || !mkdtemp(top))
		return 0;
	if (data[0] & 1)
		wrap_manifest(fd, data + 1, len - 1);
	else
		wrap_tar(fd, data + 1, len - 1);
	if (lseek(fd, 0, SEEK_SET) < 0)
		abort();
	read_all(fd, io_path(dir, "%s/in", top));
	(void)io_remove_tree(AT_FDCWD, dir);
	/* a file beside the directory would be one outside of it */
	if (rmdir(top) < 0)
		abort();
	return 0;
}
