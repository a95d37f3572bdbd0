// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_doctor.c - the examination of the machine, and the probe of KVM
 *
 * TIMEOUT: 30
 */
#define _GNU_SOURCE
#include "labd/accel.h"
#include "labd/doctor.h"
#include "lib/num.h"
#include "lib/util.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static unsigned int count_entries(const char *path)
{
	autodir DIR *dir = opendir(path);
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n;
}

/* The probe decides in its time, says why, and leaves no descriptor or child */
static void test_probe(void **state)
{
	unsigned int before = count_entries("/proc/self/fd");
	uint64_t begin = num_now_us();
	struct accel accel;

	(void)state;
	unsetenv("LABD_ACCEL");
	accel_probe(&accel);
	assert_true(num_now_us() - begin < 700000);
	assert_true(*accel.reason);
	assert_string_equal(accel.name, accel.kvm ? "kvm" : "tcg");
	assert_true(!strcmp(accel.cpu, "host") == accel.kvm);
	assert_int_equal(count_entries("/proc/self/fd"), before);
	printf("%s: %s\n", accel.name, accel.reason);
}

static void test_told(void **state)
{
	struct accel accel;

	(void)state;
	setenv("LABD_ACCEL", "kvm", 1);
	accel_probe(&accel);
	assert_true(accel.kvm);
	assert_non_null(strstr(accel.reason, "LABD_ACCEL"));
	setenv("LABD_ACCEL", "tcg", 1);
	accel_probe(&accel);
	assert_false(accel.kvm);
	assert_string_equal(accel.name, "tcg");
	unsetenv("LABD_ACCEL");
}

static const json_t *find(const json_t *checks, const char *name)
{
	const json_t *check;
	size_t i;

	json_array_foreach(checks, i, check)
		if (!strcmp(json_string_value(json_object_get(check, "check")), name))
			return check;
	return NULL;
}

static json_t *examine(const struct paths *paths)
{
	struct lab_err err = LAB_ERR_INIT;
	uint64_t begin = num_now_us();
	json_t *checks = NULL;

	assert_int_equal(doctor_check(paths, &checks, &err), 0);
	assert_true(num_now_us() - begin < 1500000);
	return checks;
}

/* Every finding has all its words, and one that is not ok a way out */
static void test_doctor(void **state)
{
	static const char *const wanted[] = { "kvm",	 "memory",     "disk", "fuse",
					      "tun",	 "namespaces", "qemu", "qemu-img",
					      "dnsmasq", "mmdebstrap", "files" };
	struct paths paths = { .state = "/tmp/no/such/directory/yet" };
	autojson json_t *checks = examine(&paths);
	const json_t *check;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_non_null(find(checks, wanted[i]));
	json_array_foreach(checks, i, check) {
		const char *verdict = json_string_value(json_object_get(check, "state"));
		const char *fix = json_string_value(json_object_get(check, "fix"));

		assert_true(!strcmp(verdict, "ok") || !strcmp(verdict, "warn") ||
			    !strcmp(verdict, "fail"));
		assert_true(*json_string_value(json_object_get(check, "found")));
		assert_true(!strcmp(verdict, "ok") == !*fix);
	}
	assert_int_equal(access("/tmp/no", F_OK), -1); /* it makes nothing */
}

/* A machine without programs, and a state directory on a file system that takes nothing */
static void test_bare(void **state)
{
	struct paths paths = { .state = "/proc/labd" };
	autojson json_t *checks = NULL;
	const char *path = getenv("PATH");
	autofree char *saved = strdup(path ? path : "");

	(void)state;
	setenv("PATH", "/nonexistent", 1);
	checks = examine(&paths);
	setenv("PATH", saved, 1);
	assert_string_equal(json_string_value(json_object_get(find(checks, "disk"), "state")),
			    "fail");
	assert_string_equal(json_string_value(json_object_get(find(checks, "qemu"), "state")),
			    "fail");
	assert_non_null(strstr(json_string_value(json_object_get(find(checks, "qemu"), "fix")),
			       "qemu-system-x86"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_told),
		cmocka_unit_test(test_doctor),
		cmocka_unit_test(test_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
