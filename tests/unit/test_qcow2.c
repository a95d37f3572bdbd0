// SPDX-License-Identifier: GPL-2.0-or-later
/* test_qcow2.c - new qcow2 files, as qemu-img sees them */
#define _GNU_SOURCE
#include "labd/qcow2.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/test-qcow2-XXXXXX";

static const char *in_dir(char buf[IO_PATH], const char *name)
{
	return io_path(buf, "%s/%s", dir, name);
}

static json_t *qemu_img(const char *command, const char *path)
{
	const char *argv[] = { "qemu-img", command, "--output=json", path, NULL };
	struct run run = { .argv = argv, .deadline = num_now_us() + 60000000 };
	struct lab_err err = LAB_ERR_INIT;
	autofree char *out = NULL;

	if (run_program(&run, &out, &err) < 0)
		fail_msg("%s", err.text);
	return json_loads(out, 0, NULL);
}

static void check_disk(const char *path, uint64_t size, const char *base)
{
	autojson json_t *info = qemu_img("info", path), *check = qemu_img("check", path);
	const char *backing = json_string_value(json_object_get(info, "full-backing-filename"));

	assert_int_equal(json_integer_value(json_object_get(info, "virtual-size")), size);
	assert_string_equal(json_string_value(json_object_get(info, "format")), "qcow2");
	assert_string_equal(backing ? backing : "", base);
	assert_int_equal(json_integer_value(json_object_get(check, "check-errors")), 0);
	assert_null(json_object_get(check, "corruptions"));
	assert_null(json_object_get(check, "leaks"));
}

static void test_sizes(void **state)
{
	static const uint64_t sizes[] = {
		512,	    65536,	1 << 20,    512ULL << 20, (512ULL << 20) + 512,
		2ULL << 40, 4ULL << 40, 64ULL << 40
	};
	char path[IO_PATH];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		in_dir(path, "disk");
		assert_int_equal(qcow2_create(path, sizes[i], "", getuid(), NULL), 0);
		check_disk(path, sizes[i], "");
		unlink(path);
	}
}

static void test_base(void **state)
{
	char base[IO_PATH], path[IO_PATH];
	autojson json_t *info = NULL;

	(void)state;
	assert_int_equal(qcow2_create(in_dir(base, "base"), 1 << 30, "", getuid(), NULL), 0);
	assert_int_equal(qcow2_create(in_dir(path, "top"), 1 << 30, base, getuid(), NULL), 0);
	check_disk(path, 1 << 30, base);
	info = qemu_img("info", path);
	assert_string_equal(json_string_value(json_object_get(info, "backing-filename-format")),
			    "qcow2");
	unlink(path);
	unlink(base);
}

static void test_refused(void **state)
{
	char path[IO_PATH], longest[1100];
	struct lab_err err = LAB_ERR_INIT;

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	in_dir(path, "disk");
	assert_int_equal(qcow2_create(path, 1 << 20, longest, getuid(), &err), -ENAMETOOLONG);
	assert_int_equal(qcow2_create(path, (64ULL << 40) + 1, "", getuid(), &err), -EFBIG);
	assert_int_equal(access(path, F_OK), -1);
	/* one that is there stays what it is */
	assert_int_equal(qcow2_create(path, 1 << 20, "", getuid(), &err), 0);
	assert_int_equal(qcow2_create(path, 2 << 20, "", getuid(), &err), -EEXIST);
	check_disk(path, 1 << 20, "");
	unlink(path);
}

/* As QEMU opens, reads and writes it */
static void qemu_io(const char *path, const char *command)
{
	const char *argv[] = { "qemu-io", "-f", "qcow2", "-c", command, path, NULL };
	struct run run = { .argv = argv, .deadline = num_now_us() + 60000000 };
	struct lab_err err = LAB_ERR_INIT;

	if (run_program(&run, NULL, &err) < 0)
		fail_msg("%s", err.text);
}

static void test_new(void **state)
{
	static const char *const writes[] = { "write 0 512", "write -z 0 64k", "write 512M 64k" };
	char base[IO_PATH], path[IO_PATH];

	(void)state;
	in_dir(path, "top");
	assert_true(qcow2_is_new(path, 1 << 30));
	assert_int_equal(qcow2_create(in_dir(base, "base"), 1 << 30, "", getuid(), NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
		assert_int_equal(qcow2_create(path, 1 << 30, base, getuid(), NULL), 0);
		assert_true(qcow2_is_new(path, 1 << 30));
		qemu_io(path, "read 0 64k");
		assert_true(qcow2_is_new(path, 1 << 30));
		qemu_io(path, writes[i]);
		assert_false(qcow2_is_new(path, 1 << 30));
		unlink(path);
	}
	unlink(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_base),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_new),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return r;
}
