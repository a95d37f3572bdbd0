// SPDX-License-Identifier: GPL-2.0-or-later
/* test_pack.c - archives of labs: there and back, damaged, hostile */
#define _GNU_SOURCE
#include "labd/pack.h"
#include "lib/io.h"
#include "lib/util.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

static char top[] = "/tmp/test-pack-XXXXXX";

static const char *in_top(char buf[IO_PATH], const char *name)
{
	return io_path(buf, "%s/%s", top, name);
}

/* A file of @size bytes with @text at @at, and holes elsewhere */
static void make(const char *name, off_t size, const char *text, off_t at)
{
	char path[IO_PATH];
	autoclose int fd = open(in_top(path, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0 && !ftruncate(fd, size));
	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
}

static json_t *paths_of(const char *const *names, size_t n)
{
	json_t *paths = json_object();

	for (size_t i = 0; i < n; i++)
		json_object_set_new(paths, names[i], json_sprintf("%s/%s", top, names[i]));
	return paths;
}

/* An archive of a text, a file with two pieces far apart, and one that is a hole */
static int good_archive(void)
{
	static const char *const names[] = { "a/text", "a/sparse", "a/hole", "a/empty" };
	autojson json_t *paths = paths_of(names, ARRAY_SIZE(names)), *m = NULL;
	struct lab_err err = LAB_ERR_INIT;
	int fd = memfd_create("pack", MFD_CLOEXEC);
	char path[IO_PATH];

	m = json_pack("{s:s}", "lab", "x");
	(void)mkdir(in_top(path, "a"), 0700);
	make("a/text", 5, "hello", 0);
	make("a/sparse", 1LL << 33, "end", (1LL << 33) - 3);
	make("a/hole", 3 << 20, "", 0);
	make("a/empty", 0, "", 0);
	autoclose int out = open(in_top(path, "a/sparse"), O_WRONLY);
	assert_int_equal(pwrite(out, "middle", 6, 5000000), 6);
	if (pack_write(fd, m, paths, NULL, &err) < 0)
		fail_msg("%s", err.text);
	return fd;
}

/* pack_open() and pack_extract() into a new directory */
static int read_all(int fd, const json_t *skip, const struct image_progress *progress,
		    struct lab_err *err)
{
	struct pack *p = NULL;
	char dir[IO_PATH];
	int r;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	(void)io_remove_tree(AT_FDCWD, in_top(dir, "out"));
	r = pack_open(fd, &p, err);
	if (!r)
		r = pack_extract(p, dir, skip, progress, err);
	pack_close(p);
	return r;
}

static void check_refused(int fd, int code, const char *words)
{
	struct lab_err err = LAB_ERR_INIT;
	int r = read_all(fd, NULL, NULL, &err);

	if (r != code || !strstr(err.text, words))
		fail_msg("expected %d with '%s', got %d: %s", code, words, r, err.text);
	close(fd);
}

static void test_there_and_back(void **state)
{
	autoclose int fd = good_archive(), out = -EBADF;
	struct lab_err err = LAB_ERR_INIT;
	char path[IO_PATH], buf[8] = "";
	struct stat st;

	(void)state;
	if (read_all(fd, NULL, NULL, &err) < 0)
		fail_msg("%s", err.text);
	out = open(in_top(path, "out/a/sparse"), O_RDONLY);
	assert_int_equal(fstat(out, &st), 0);
	assert_int_equal(st.st_size, 1LL << 33);
	assert_true(st.st_blocks * 512 < 1 << 20);
	assert_int_equal(pread(out, buf, 6, 5000000), 6);
	assert_string_equal(buf, "middle");
	assert_int_equal(stat(in_top(path, "out/a/hole"), &st), 0);
	assert_int_equal(st.st_size, 3 << 20);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(stat(in_top(path, "out/a/empty"), &st), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size < 1 << 20);
}

static void test_skip(void **state)
{
	autojson json_t *skip = json_pack("{s:b}", "a/text", 1);
	autoclose int fd = good_archive();
	struct lab_err err = LAB_ERR_INIT;
	char path[IO_PATH];

	(void)state;
	assert_int_equal(read_all(fd, skip, NULL, &err), 0);
	assert_int_equal(access(in_top(path, "out/a/text"), F_OK), -1);
	assert_int_equal(access(in_top(path, "out/a/sparse"), F_OK), 0);
}

static bool always(void *arg)
{
	(void)arg;
	return true;
}

static void test_cancel(void **state)
{
	struct image_progress progress = { NULL, always, NULL };
	autoclose int fd = good_archive();
	struct lab_err err = LAB_ERR_INIT;

	(void)state;
	assert_int_equal(read_all(fd, NULL, &progress, &err), -ECANCELED);
}

/* Every byte cut off, and every bit turned, is noticed, or what comes out is right all the same */
static void test_damaged(void **state)
{
	autoclose int fd = good_archive(), bad = memfd_create("bad", MFD_CLOEXEC);
	unsigned char buf[16384];
	ssize_t len = pread(fd, buf, sizeof(buf), 0);
	int refused = 0;

	(void)state;
	assert_in_range(len, 100, sizeof(buf) - 1);
	for (ssize_t i = 0; i < len; i++) {
		struct lab_err err = LAB_ERR_INIT;

		buf[i] ^= (unsigned char)(1 << i % 8);
		assert_int_equal(pwrite(bad, buf, (size_t)len, 0), len);
		buf[i] ^= (unsigned char)(1 << i % 8);
		if (read_all(bad, NULL, NULL, &err) < 0) {
			assert_true(*err.text);
			refused++;
		}
	}
	/* times and owners in headers do not matter, almost all else does */
	assert_in_range(refused, len * 9 / 10, len);
	for (ssize_t i = 0; i < len - 64; i += 7) {
		struct lab_err err = LAB_ERR_INIT;

		assert_int_equal(ftruncate(bad, i), 0);
		assert_int_equal(pwrite(bad, buf, (size_t)i, 0), i);
		assert_true(read_all(bad, NULL, NULL, &err) < 0 && *err.text);
	}
}

/* ---- hostile ones, made by hand -------------------------------------------------- */

struct member {
	const char *name, *data, *link;
	mode_t type;
};

static void put(struct archive *a, const struct member *m)
{
	struct archive_entry *e = archive_entry_new();
	size_t len = m->data ? strlen(m->data) : 0;

	archive_entry_set_pathname(e, m->name);
	archive_entry_set_filetype(e, m->type ? m->type : AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, (la_int64_t)len);
	if (m->link && m->type == AE_IFLNK)
		archive_entry_set_symlink(e, m->link);
	else if (m->link)
		archive_entry_set_hardlink(e, m->link);
	assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
	if (len && !m->link)
		assert_int_equal(archive_write_data(a, m->data, len), len);
	archive_entry_free(e);
}

/* A manifest that says "files", its digest, and @n members */
static int archive_of(const char *files, const struct member *v, size_t n)
{
	int fd = memfd_create("pack", MFD_CLOEXEC);
	struct archive *a = archive_write_new();
	char hex[DIGEST_HEX];
	autofree char *text = NULL;

	assert_true(asprintf(&text, "{\"format\": \"lab export\", \"version\": 1, \"files\": %s}",
			     files) > 0);
	archive_write_set_format_pax(a);
	archive_write_add_filter_zstd(a);
	archive_write_open_fd(a, fd);
	put(a, &(struct member){ "manifest.json", text, NULL, 0 });
	put(a, &(struct member){ "manifest.sha256", digest_hex(hex, text, strlen(text)), NULL, 0 });
	for (size_t i = 0; i < n; i++)
		put(a, &v[i]);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	return fd;
}

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define FILES(name, size, data)                                                                    \
	"{\"" name "\": {\"size\": " size ", \"data\": " data ", \"sha256\": \"" ZEROS "\"}}"

static void test_names(void **state)
{
	static const char *const names[] = { "../x",	  "a/../../x",	  "/etc/x",  "a//x", "a/",
					     "./a/x",	  "a/.x",	  "a/b c",   "x",    "a/-x",
					     "a/b/c/d/e", "a\\\\u0000/x", "a/x\\ny", "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autofree char *files = NULL;

		assert_true(asprintf(&files,
				     "{\"%s\": {\"size\": 1, \"data\": 1, \"sha256\": \"" ZEROS
				     "\"}}",
				     names[i]) > 0);
		check_refused(archive_of(files, NULL, 0), -EINVAL, "cannot be the name");
	}
}

static void test_members(void **state)
{
	static const char files[] = FILES("a/x", "2", "2");
	struct member traversal = { "../x", "xx", NULL, 0 }, absolute = { "/a/x", "xx", NULL, 0 };
	struct member other = { "a/y", "xx", NULL, 0 }, larger = { "a/x", "xxx", NULL, 0 };
	struct member symlink = { "a/x", NULL, "/etc/passwd", AE_IFLNK };
	struct member hardlink = { "a/x", NULL, "/etc/passwd", 0 };
	struct member fifo = { "a/x", NULL, NULL, AE_IFIFO }, dir = { "a/x", NULL, NULL, AE_IFDIR };
	struct member wrong = { "a/x", "xx", NULL, 0 };
	struct member two[] = { { "a/x", "", NULL, 0 }, { "a/x", "", NULL, 0 } };

	(void)state;
	check_refused(archive_of(files, &traversal, 1), -EINVAL, "is not in the manifest");
	check_refused(archive_of(files, &absolute, 1), -EINVAL, "is not in the manifest");
	check_refused(archive_of(files, &other, 1), -EINVAL, "is not in the manifest");
	check_refused(archive_of(files, &larger, 1), -EINVAL, "has not the size");
	check_refused(archive_of(files, &symlink, 1), -EINVAL, "is not a plain file");
	check_refused(archive_of(files, &hardlink, 1), -EINVAL, "is not a plain file");
	check_refused(archive_of(files, &fifo, 1), -EINVAL, "is not a plain file");
	check_refused(archive_of(files, &dir, 1), -EINVAL, "is not a plain file");
	check_refused(archive_of(files, &wrong, 1), -EUCLEAN, "digest of 'a/x'");
	check_refused(archive_of(files, NULL, 0), -EUCLEAN, "'a/x' is missing");
	/* more data than announced, in a file of the right size */
	check_refused(archive_of(FILES("a/x", "2", "1"), &wrong, 1), -EINVAL, "more bytes");
	check_refused(
		archive_of("{\"a/x\": {\"size\": 0, \"data\": 0, \"sha256\": "
			   "\"af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc\""
			   "}}",
			   two, 2),
		-EINVAL, "is there twice");
}

static void test_manifests(void **state)
{
	autofree char *large = calloc(1, PACK_MAX_MANIFEST + 64);

	(void)state;
	check_refused(archive_of("[]", NULL, 0), -EINVAL, "not an exported lab");
	check_refused(archive_of("{\"a/x\": 1}", NULL, 0), -EINVAL, "no proper size");
	check_refused(archive_of(FILES("a/x", "-1", "0"), NULL, 0), -EINVAL, "no proper size");
	check_refused(archive_of(FILES("a/x", "1", "2"), NULL, 0), -EINVAL, "no proper size");
	check_refused(archive_of(FILES("a/x", "9223372036854775807", "0"), NULL, 0), -EINVAL,
		      "no proper size");
	check_refused(archive_of("{", NULL, 0), -EINVAL, "not JSON");
	check_refused(archive_of("{}, \"version\": 2", NULL, 0), -EPROTO, "newer labd");
	memset(large, ' ', PACK_MAX_MANIFEST + 32);
	check_refused(archive_of(large, NULL, 0), -EINVAL, "too large");
}

static void test_other_files(void **state)
{
	int fd = memfd_create("x", MFD_CLOEXEC);

	(void)state;
	check_refused(dup(fd), -EUCLEAN, "damaged or truncated");
	assert_int_equal(write(fd, "hello, this is not an archive", 29), 29);
	check_refused(fd, -EUCLEAN, "damaged or truncated");
}

static int begin(void **state)
{
	(void)state;
	return mkdtemp(top) ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	return io_remove_tree(AT_FDCWD, top) < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_skip),
		cmocka_unit_test(test_cancel),	       cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_names),	       cmocka_unit_test(test_members),
		cmocka_unit_test(test_manifests),      cmocka_unit_test(test_other_files),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
