// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_nested.c - which guests must not be saved: by what the host and QEMU say of processors
 *
 * TIMEOUT: 30
 */
#define _GNU_SOURCE
#include "labd/nested.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char amd[] = "processor\t: 0\nvendor_id\t: AuthenticAMD\n"
			  "model name\t: AMD EPYC 7763 64-Core Processor\n"
			  "flags\t\t: fpu vme lm svm extapic cr8_legacy abm sse4a\n"
			  "bugs\t\t: sysret_ss_attrs\n\nprocessor\t: 1\n";
/* its flags are the last line, and svm the last of them */
static const char hygon[] = "vendor_id\t: HygonGenuine\nflags\t\t: fpu vme lm svm";
/* switched off in the firmware; words that only look like it */
static const char amd_off[] = "vendor_id\t: AuthenticAMD\nmodel name\t: svm svm\n"
			      "flags\t\t: fpu svm_lock xsvm npt\nbugs\t\t: svm\n";
static const char intel[] = "vendor_id\t: GenuineIntel\n"
			    "flags\t\t: fpu vme lm vmx smx est\nvmx flags\t: vnmi svm ept\n";

static void test_exposed(void **state)
{
	(void)state;
	assert_true(nested_exposed(amd, "1\n"));
	assert_true(nested_exposed(amd, "Y\n"));
	assert_true(nested_exposed(hygon, "1"));
}

static void test_not_exposed(void **state)
{
	(void)state;
	assert_false(nested_exposed(amd, "0\n"));
	assert_false(nested_exposed(amd, "N\n"));
	assert_false(nested_exposed(amd, ""));
	/* kvm_amd is not there */
	assert_false(nested_exposed(amd, NULL));
	assert_false(nested_exposed(amd_off, "1\n"));
	assert_false(nested_exposed(intel, "1\n"));
	assert_false(nested_exposed("", "1\n"));
	assert_false(nested_exposed("flags", "1\n"));
}

/* As QEMU 7.2 prints them */
static const char idle[] = "\r\nCPU#0\r\nRAX=0000000000000000 RBX=ffff888003b2c000\r\n"
			   "DR6=00000000ffff0ff0 DR7=0000000000000400\r\nEFER=0000000000000d01\r\n"
			   "\r\nCPU#1\r\nEFER=0000000000000d01\r\nFCW=037f\r\n";
static const char second[] = "CPU#0\r\nEFER=0000000000000d01\r\nCPU#1\r\n"
			     "EFER=0000000000001d01\r\n";

static void test_used(void **state)
{
	(void)state;
	assert_int_equal(nested_used(idle), 0);
	assert_int_equal(nested_used("EFER=0000000000001d01"), 1);
	/* one that its first processor does not tell of */
	assert_int_equal(nested_used(second), 1);
	/* bit 12 is SVME; not its neighbours */
	assert_int_equal(nested_used("EFER=0000000000002d01 EFER=0000000000000800"), 0);
}

static void test_not_said(void **state)
{
	(void)state;
	assert_int_equal(nested_used(""), -EPROTO);
	assert_int_equal(nested_used("CPU#0\r\nRAX=0000000000001d01\r\n"), -EPROTO);
	assert_int_equal(nested_used("EFER=?"), -EPROTO);
	assert_int_equal(nested_used("EFER=0000000000000d01 EFER="), -EPROTO);
}

/* Without KVM nothing is asked, so there need be no QEMU */
static void test_tcg(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct accel tcg;

	(void)state;
	accel_set(&tcg, false, "");
	assert_int_equal(nested_ask(&tcg, NULL, 0, &err), 0);
	assert_null(strstr(tcg.cpu, "+svm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exposed), cmocka_unit_test(test_not_exposed),
		cmocka_unit_test(test_used),	cmocka_unit_test(test_not_said),
		cmocka_unit_test(test_tcg),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
