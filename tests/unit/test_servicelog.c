// SPDX-License-Identifier: GPL-2.0-or-later
/* test_servicelog.c - the programs that read logs of services, run here instead of in a guest */
#define _GNU_SOURCE
#include "labd/servicelog.h"

#include "lib/io.h"
#include "lib/run.h"
#include "lib/util.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static char dir[64];

static void put_file(const char *name, const char *text, mode_t mode)
{
	char path[IO_PATH];

	io_path(path, "%s/%s", dir, name);
	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), mode), 0);
}

/* It says how it was called; the first time it leaves a cursor, if there is anything */
static const char journalctl[] = "#!/bin/sh\n"
				 "echo \"$*\" | sed 's|=/[^ ]*/at|=FILE|'\n"
				 "[ -z \"$CURSOR\" ] || for a; do case $a in\n"
				 "--cursor-file=*) echo \"$CURSOR\" >\"${a#*=}\";;\n"
				 "esac; done\n";

static int setup(void **state)
{
	char path[4096];

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_servicelog.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	put_file("journalctl", journalctl, 0755);
	snprintf(path, sizeof(path), "%s:%s", dir, getenv("PATH"));
	return setenv("PATH", path, 1);
}

static int teardown(void **state)
{
	(void)state;
	return io_remove_tree(AT_FDCWD, dir) < 0;
}

static json_t *file_service(const char *name)
{
	return json_pack("{s:s s:o s:[]}", "name", "x", "log", json_sprintf("%s/%s", dir, name),
			 "units");
}

/* Run the program of a body to its end; its output is malloced */
static int run_body(const json_t *service, const struct servicelog *how, char **ret_out,
		    struct lab_err *err)
{
	autojson json_t *body = NULL;
	const char *argv[40] = { NULL };
	struct run run = { .argv = argv, .deadline = UINT64_MAX };
	const json_t *v;
	size_t i;

	assert_int_equal(servicelog_body(service, how, &body, err), 0);
	json_array_foreach(json_object_get(body, "argv"), i, v)
		argv[i] = json_string_value(v);
	return run_program(&run, ret_out, err);
}

static void check_output(const json_t *service, const struct servicelog *how, const char *want)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *out = NULL;

	if (run_body(service, how, &out, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(out, want);
}

static void test_file(void **state)
{
	autojson json_t *service = file_service("a log"), *empty = file_service("empty");

	(void)state;
	put_file("a log", "one\ntwo\n\nthree", 0600);
	put_file("empty", "", 0600);
	check_output(service, &(struct servicelog){ 0 }, "one\ntwo\n\nthree");
	check_output(service, &(struct servicelog){ .lines = "2" }, "\nthree");
	check_output(service, &(struct servicelog){ .lines = "0" }, "");
	check_output(service, &(struct servicelog){ .mark = "M%s" }, "one\ntwo\n\nthreeM%s");
	check_output(empty, &(struct servicelog){ .mark = "M" }, "M");
}

/* Names are never words of the shell */
static void test_file_name(void **state)
{
	autojson json_t *service = file_service("$(touch x) \"'; exit 3");

	(void)state;
	put_file("$(touch x) \"'; exit 3", "text\n", 0600);
	check_output(service, &(struct servicelog){ 0 }, "text\n");
}

static void test_no_file(void **state)
{
	autojson json_t *service = file_service("missing");
	struct lab_err err = LAB_ERR_INIT;
	autofree char *out = NULL;

	(void)state;
	assert_int_equal(run_body(service, &(struct servicelog){ .mark = "M" }, &out, &err), -EIO);
	assert_non_null(strstr(err.text, "/missing is not there"));
}

static void test_journal(void **state)
{
	autojson json_t *service = json_pack("{s:s s:s s:[s s]}", "name", "x", "log", "", "units",
					     "a.service", "b.service");

	(void)state;
	setenv("CURSOR", "s=1;i=2", 1);
	check_output(service, &(struct servicelog){ .mark = "M" },
		     "-q --no-pager -n all --cursor-file=FILE -ua.service -ub.service\nM");
	check_output(service, &(struct servicelog){ .lines = "7", .mark = "M\n", .follow = true },
		     "-q --no-pager -n 7 --cursor-file=FILE -ua.service -ub.service\nM\n"
		     "-q --no-pager -f --no-tail --after-cursor=s=1;i=2 -ua.service -ub.service\n");
	/* a journal without any entry has no cursor */
	unsetenv("CURSOR");
	check_output(service, &(struct servicelog){ .follow = true },
		     "-q --no-pager -n all --cursor-file=FILE -ua.service -ub.service\n"
		     "-q --no-pager -f --no-tail -ua.service -ub.service\n");
}

static void test_refused(void **state)
{
	static const struct {
		struct servicelog how;
		int code;
		const char *words;
	} cases[] = {
		{ { 0 }, -ENODATA, "service x has no log" },
		{ { .lines = "-1" }, -EINVAL, "\"lines\" must be a number" },
		{ { .lines = "1; reboot" }, -EINVAL, "\"lines\" must be a number" },
		{ { .mark = "0123456789012345678901234567890123456789012345678901234567890123x" },
		  -EINVAL,
		  "more than 64 bytes" },
	};
	autojson json_t *service = json_pack("{s:s s:s s:[]}", "name", "x", "log", "", "units");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lab_err err = LAB_ERR_INIT;
		autojson json_t *body = NULL;

		assert_int_equal(servicelog_body(service, &cases[i].how, &body, &err),
				 cases[i].code);
		assert_null(body);
		assert_non_null(strstr(err.text, cases[i].words));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),	cmocka_unit_test(test_file_name),
		cmocka_unit_test(test_no_file), cmocka_unit_test(test_journal),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
