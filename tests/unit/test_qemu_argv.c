// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_qemu_argv.c - the command line of a guest's QEMU
 *
 * TIMEOUT: 30
 */
#define _GNU_SOURCE
#include "labd/qemu.h"
#include "lib/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct accel tcg = { .name = "tcg", .cpu = "Nehalem" };
static const struct accel kvm = { .kvm = true, .name = "kvm", .cpu = "host" };

static struct qemu_config sample(void)
{
	return (struct qemu_config){
		.name = "demo/db",
		.hostname = "db",
		.machine_id = "00112233445566778899aabbccddeeff",
		.run_dir = "/run/labd/1/5",
		.accel = &tcg,
		.vcpus = 2,
		.memory = 512 << 20,
		.kernel = "/k",
		.initrd = "/i",
		.cmdline = "root=/dev/vda",
		.disks = { { "root", "/d/root.qcow2" }, { "data", "/d/data.qcow2" } },
		.ndisks = 2,
		.nics = { { "eth0", "i5-eth0", "52:54:00:00:00:01", 1500 },
			  { "data", "i5-data", "52:54:00:00:00:02", 1550 } },
		.nnics = 2,
	};
}

static char **build(const struct qemu_config *c)
{
	struct lab_err err = LAB_ERR_INIT;
	static char *none[] = { NULL };
	char **argv = none;

	assert_int_equal(qemu_argv(c, &argv, &err), 0);
	return argv;
}

/* The value of an option that begins with @start; NULL if there is none */
static const char *value_of(char **argv, const char *option, const char *start)
{
	for (size_t i = 0; argv[i]; i++)
		if (!strcmp(argv[i], option) && argv[i + 1] &&
		    !strncmp(argv[i + 1], start, strlen(start)))
			return argv[i + 1];
	return NULL;
}

static bool has_word(char **argv, const char *word)
{
	for (size_t i = 0; argv[i]; i++)
		if (!strcmp(argv[i], word))
			return true;
	return false;
}

static void test_plain(void **state)
{
	struct qemu_config c = sample();
	char **argv = build(&c);

	(void)state;
	assert_string_equal(argv[0], "/usr/bin/qemu-system-x86_64");
	assert_true(has_word(argv, "-S"));
	assert_true(has_word(argv, "-nodefaults"));
	assert_true(has_word(argv, "-no-user-config"));
	assert_false(has_word(argv, "-no-shutdown"));
	assert_true(has_word(argv, "tcg,thread=multi,tb-size=64"));
	assert_true(has_word(argv, "Nehalem"));
	assert_true(has_word(argv, "512M"));
	assert_true(has_word(argv, "00112233-4455-6677-8899-aabbccddeeff"));
	assert_true(has_word(
		argv, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"));
	assert_non_null(value_of(argv, "-object",
				 "memory-backend-file,id=m,size=512M,share=on,mem-path=/dev/zero"));
	assert_non_null(strstr(value_of(argv, "-machine", "q35"), "memory-backend=m"));
	assert_string_equal(value_of(argv, "-append", ""),
			    "root=/dev/vda hostname=db systemd.hostname=db "
			    "systemd.machine_id=00112233445566778899aabbccddeeff");
	assert_string_equal(value_of(argv, "-netdev", "tap,id=net0"), "tap,id=net0,fd=4,vhost=off");
	assert_string_equal(value_of(argv, "-netdev", "tap,id=net1"), "tap,id=net1,fd=5,vhost=off");
	qemu_argv_free(argv);
	qemu_argv_free(NULL);
}

static void test_kvm_and_firmware(void **state)
{
	struct qemu_config c = sample();
	char **argv;

	(void)state;
	c.accel = &kvm;
	c.kernel = c.initrd = c.cmdline = NULL;
	c.memory = (uint64_t)4 << 30;
	argv = build(&c);
	assert_non_null(value_of(argv, "-accel", "kvm"));
	assert_non_null(value_of(argv, "-cpu", "host"));
	assert_null(value_of(argv, "-kernel", ""));
	assert_null(value_of(argv, "-append", ""));
	assert_non_null(
		strstr(value_of(argv, "-device", "virtio-blk-pci,id=disk-root"), "bootindex=1"));
	qemu_argv_free(argv);
}

/* Each device line of @a is in @b too, unchanged: same ids, same addresses */
static void check_devices_kept(char **a, char **b)
{
	for (size_t i = 0; a[i]; i++)
		if (a[i + 1] && !strcmp(a[i], "-device"))
			assert_true(has_word(b, a[i + 1]));
}

/* One more nic or disk moves nothing, or a snapshot's RAM could not be loaded */
static void test_stable(void **state)
{
	struct qemu_config c = sample(), more = sample();
	char **argv = build(&c), **again = build(&c), **grown;

	(void)state;
	for (size_t i = 0; argv[i] || again[i]; i++)
		assert_string_equal(argv[i], again[i]);
	more.disks[2] = (struct qemu_disk){ "more", "/d/more.qcow2" };
	more.ndisks = 3;
	more.nics[2] = (struct qemu_nic){ "eth2", "i5-eth2", "52:54:00:00:00:03", 1500 };
	more.nnics = 3;
	grown = build(&more);
	check_devices_kept(argv, grown);
	qemu_argv_free(argv);
	qemu_argv_free(again);
	qemu_argv_free(grown);
}

/* No two devices share an id or a place, however many there are */
static void test_full(void **state)
{
	struct qemu_config c = sample();
	char names[32][8], **argv;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(c.disks); i++) {
		snprintf(names[i], sizeof(names[i]), "d%zu", i);
		c.disks[i] = (struct qemu_disk){ names[i], "/d" };
	}
	c.ndisks = ARRAY_SIZE(c.disks);
	for (size_t i = 0; i < ARRAY_SIZE(c.nics); i++) {
		snprintf(names[16 + i], sizeof(names[0]), "d%zu", i); /* as the disks' */
		c.nics[i] = (struct qemu_nic){ names[16 + i], "tap", "52:54:00:00:00:01", 1500 };
	}
	c.nnics = ARRAY_SIZE(c.nics);
	argv = build(&c);
	for (size_t i = 0; argv[i]; i++)
		for (size_t j = i + 1; argv[j]; j++) {
			const char *a = strstr(argv[i], ",addr="), *b = strstr(argv[j], ",addr=");
			const char *x = strstr(argv[i], ",id="), *y = strstr(argv[j], ",id=");

			assert_false(a && b && !strcmp(a, b));
			assert_false(x && y && strcspn(x + 1, ",") == strcspn(y + 1, ",") &&
				     !strncmp(x, y, strcspn(x + 1, ",") + 1) &&
				     strcmp(argv[i - 1], "-netdev") != 0 &&
				     strcmp(argv[i - 1], argv[j - 1]) == 0);
		}
	qemu_argv_free(argv);
	c.nnics++;
	assert_int_equal(qemu_argv(&c, &argv, NULL), -E2BIG);
}

/* Names of files may hold anything; none becomes an option */
static void test_quoting(void **state)
{
	static const char evil[] = "/d/a,file.driver=nbd \"}{\\,\n.qcow2";
	struct qemu_config c = sample();
	autojson json_t *node = NULL;
	char **argv;

	(void)state;
	c.run_dir = "/run/a,server=off";
	c.disks[0].path = evil;
	argv = build(&c);
	assert_non_null(strstr(value_of(argv, "-chardev", "socket,id=qmp"),
			       "path=/run/a,,server=off/qmp,server=on"));
	assert_non_null(value_of(argv, "-vnc", "unix:/run/a,,server=off/vnc"));
	node = json_loads(value_of(argv, "-blockdev", ""), 0, NULL);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(node, "file"), "filename")),
		evil);
	assert_string_equal(json_string_value(json_object_get(node, "driver")), "qcow2");
	qemu_argv_free(argv);
}

static void check_refused(const struct qemu_config *c, int code)
{
	struct lab_err err = LAB_ERR_INIT;
	char **argv = NULL;

	assert_int_equal(qemu_argv(c, &argv, &err), code);
	assert_null(argv);
	assert_true(*err.text);
}

static void test_refused(void **state)
{
	char run_dir[120], cmdline[2048];
	struct qemu_config c;

	(void)state;
	memset(run_dir, 'x', sizeof(run_dir));
	run_dir[0] = '/';
	run_dir[sizeof(run_dir) - 1] = '\0';
	c = sample();
	c.run_dir = run_dir;
	check_refused(&c, -ENAMETOOLONG);
	memset(cmdline, 'x', sizeof(cmdline));
	cmdline[sizeof(cmdline) - 1] = '\0';
	c = sample();
	c.cmdline = cmdline;
	check_refused(&c, -E2BIG);
	c = sample();
	c.machine_id = "00112233445566778899AABBCCDDEEFF";
	check_refused(&c, -EINVAL);
	c = sample();
	c.vcpus = 0;
	check_refused(&c, -EINVAL);
	c = sample();
	c.memory = 1000;
	check_refused(&c, -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),	cmocka_unit_test(test_kvm_and_firmware),
		cmocka_unit_test(test_stable),	cmocka_unit_test(test_full),
		cmocka_unit_test(test_quoting), cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
