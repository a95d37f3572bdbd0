// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_cli.c - what labctl makes of arguments, and what it shows
 *
 * TIMEOUT: 30
 */
#define _GNU_SOURCE
#include "cli/lines.h"
#include "cli/object.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "lib/base64.h"
#include "lib/util.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_object(void **state)
{
	static const char *const bad[] = {
		"",    "/",    "lab/",	"/db", "a/b/c",	 "..",	"../x",
		"-rf", "a\nb", "lab/.", "a b", "lab/-x", "%2e", "x\x1b[m"
	};
	struct lab_err err = LAB_ERR_INIT;
	char name[64];
	struct object o;

	(void)state;
	assert_int_equal(object_parse("db", &o, &err), 0);
	assert_string_equal(o.lab, "");
	assert_string_equal(o.name, "db");
	assert_int_equal(object_parse("demo/db.1", &o, &err), 0);
	assert_string_equal(o.lab, "demo");
	assert_string_equal(o.name, "db.1");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(object_parse(bad[i], &o, &err), -EINVAL);
		/* a refused name leaves the result alone */
		assert_string_equal(o.name, "db.1");
	}
	memset(name, 'a', sizeof(name));
	name[NAME_MAX_LEN] = '\0';
	assert_int_equal(object_parse(name, &o, &err), 0);
	name[NAME_MAX_LEN] = 'a';
	name[NAME_MAX_LEN + 1] = '\0';
	assert_int_equal(object_parse(name, &o, &err), -EINVAL);
}

static void test_is_file(void **state)
{
	(void)state;
	assert_true(object_is_file("lab.yaml"));
	assert_true(object_is_file("lab.yml"));
	assert_true(object_is_file("./lab"));
	assert_true(object_is_file("/etc/lab"));
	assert_true(object_is_file("-"));
	assert_false(object_is_file("demo"));
	assert_false(object_is_file("debian-12.1"));
	assert_false(object_is_file("yaml"));
}

static void test_tail(void **state)
{
	static const char text[] = "one\ntwo\n\nfour\nfive";
	size_t len = strlen(text);

	(void)state;
	assert_int_equal(lines_tail(text, len, 0), len);
	assert_string_equal(text + lines_tail(text, len, 1), "five");
	assert_string_equal(text + lines_tail(text, len, 2), "four\nfive");
	assert_string_equal(text + lines_tail(text, len, 3), "\nfour\nfive");
	assert_int_equal(lines_tail(text, len, 5), 0);
	assert_int_equal(lines_tail(text, len, UINT64_MAX), 0);
	assert_string_equal(&"a\nb\n"[lines_tail("a\nb\n", 4, 1)], "b\n");
	assert_int_equal(lines_tail("\n", 1, 1), 0);
	assert_int_equal(lines_tail("", 0, 3), 0);
}

/* Any cut of the input gives the same text */
static void check_plain(const char *in, const char *want)
{
	size_t len = strlen(in);
	char out[256];

	for (size_t cut = 0; cut <= len; cut++) {
		struct lines_filter f = { 0 };
		size_t n = lines_plain(&f, out, in, cut);

		n += lines_plain(&f, out + n, in + cut, len - cut);
		out[n] = '\0';
		assert_string_equal(out, want);
	}
}

static void test_plain(void **state)
{
	(void)state;
	check_plain("plain\ttext\n", "plain\ttext\n");
	check_plain("[\033[0;32m  OK  \033[0m] up\r\n", "[  OK  ] up\n");
	check_plain("\033]0;title\007x\033]2;t\033\\y", "xy");
	check_plain("\033c\033(Bz\033[2J\033[?25l.", "z.");
	check_plain("bell\007 back\010 caf\303\251", "bell back caf\303\251");
	/* a string that is never ended does not swallow more than its line */
	check_plain("\033]52;c;evil\nnext\n", "next\n");
}

static void test_cells(void **state)
{
	autojson json_t *o = json_pack("{s:s, s:i, s:[s,s,s], s:f, s:s}", "lab", "demo", "size",
				       3 << 20, "users", "a", "b", "c", "created", 1790000000.5,
				       "name", "db");
	char buf[CELL_TEXT], text[400];

	(void)state;
	assert_string_equal(cell_string(o, "lab"), "demo");
	assert_string_equal(cell_string(o, "nothing"), "");
	assert_string_equal(cell_string(o, "size"), "");
	assert_string_equal(cell_size(buf, o, "size"), "3 MiB");
	assert_string_equal(cell_size(buf, o, "nothing"), "");
	assert_string_equal(cell_count(buf, o, "users"), "3");
	assert_string_equal(cell_count(buf, o, "nothing"), "0");
	assert_string_equal(cell_list(buf, o, "users"), "a b c");
	assert_string_equal(cell_list(buf, o, "lab"), "");
	assert_string_equal(cell_path(buf, o), "demo/db");
	assert_string_equal(cell_time(buf, o, "nothing"), "");
	assert_int_equal(strlen(cell_time(buf, o, "created")), 19);
	assert_string_equal(cell_line(buf, "one\ntwo"), "one");
	assert_string_equal(cell_line(buf, "a\033[31mb"), "a [31mb");
	/* a long text is cut between characters, not in one */
	memset(text, 'x', sizeof(text));
	memcpy(text + CELL_TEXT - 2, "\303\251\303\251", 4);
	text[sizeof(text) - 1] = '\0';
	cell_line(buf, text);
	assert_int_equal(strlen(buf), CELL_TEXT - 2);
}

static int cut(char *buf, size_t size, const char *line, int columns)
{
	snprintf(buf, size, "%s", line);
	return progress_cut(buf, columns);
}

static void test_cut(void **state)
{
	char buf[64];

	(void)state;
	assert_int_equal(cut(buf, sizeof(buf), "hello", 80), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(cut(buf, sizeof(buf), "world", 3), 3);
	assert_string_equal(buf, "wor");
	assert_int_equal(cut(buf, sizeof(buf), "hello", 0), 0);
	assert_string_equal(buf, "");
	assert_int_equal(cut(buf, sizeof(buf), "a\033[2Jb\n", 80), 7);
	assert_string_equal(buf, "a?[2Jb?");
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return;
	assert_int_equal(cut(buf, sizeof(buf), "\303\251t\303\251", 2), 2);
	assert_string_equal(buf, "\303\251t");
	/* a wide character that does not fit is left out as a whole */
	assert_int_equal(cut(buf, sizeof(buf), "\346\227\245\346\234\254", 3), 2);
	assert_string_equal(buf, "\346\227\245");
	assert_int_equal(cut(buf, sizeof(buf), "x\377y\303", 80), 4);
	assert_string_equal(buf, "x?y?");
}

static json_t *item(const char *state, const char *step, double started, double ended)
{
	return json_pack("{s:s, s:s, s:s, s:f, s:f, s:f}", "name", "db", "state", state, "step",
			 step, "started", started, "ended", ended, "expected", 31.0);
}

static void test_item(void **state)
{
	autojson json_t *waiting = item("waiting", "", 0, 0);
	autojson json_t *running = item("running", "wait for tcp 3306", 1000, 0);
	autojson json_t *done = item("done", "ready", 1000, 1030);
	autojson json_t *failed = item("failed", "start", 1000, 1004);
	char buf[PROGRESS_LINE];

	(void)state;
	assert_string_equal(progress_item(buf, waiting, 4, 8, 1012), "  db    waiting");
	assert_string_equal(progress_item(buf, running, 4, 20, 1012),
			    "  db    wait for tcp 3306     12 s (expected 31 s)");
	assert_string_equal(progress_item(buf, done, 4, 6, 1050), "  db    done    30 s");
	assert_string_equal(progress_item(buf, failed, 2, 6, 1050), "  db  failed: start  4 s");
	json_object_set_new(running, "done", json_integer(45));
	json_object_set_new(running, "total", json_integer(120));
	json_object_set_new(running, "unit", json_string("packages"));
	assert_string_equal(progress_what(buf, running), "wait for tcp 3306, 45 of 120 packages");
	json_object_set_new(running, "unit", json_string("bytes"));
	assert_string_equal(progress_what(buf, running), "wait for tcp 3306, 45 B of 120 B");
}

/* A clock that went back shows no nonsense, nor does an object without keys */
static void test_odd_item(void **state)
{
	autojson json_t *future = item("running", "start", 2000, 0), *empty = json_object();
	char buf[PROGRESS_LINE];

	(void)state;
	assert_string_equal(progress_item(buf, future, 2, 5, 1000),
			    "  db  start  0 s (expected 31 s)");
	assert_string_equal(progress_item(buf, empty, 2, 2, 1000), "      ");
	assert_string_equal(progress_title(buf, empty), "");
}

static char *changes(const json_t *old, const json_t *job)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	progress_changes(f, old, job);
	fclose(f);
	return text;
}

static void test_changes(void **state)
{
	autojson json_t *before = json_pack("{s:s, s:[o,o]}", "kind", "up", "items",
					    item("waiting", "", 0, 0), item("running", "x", 1, 0));
	autojson json_t *after = json_pack("{s:s, s:[o,o]}", "kind", "up", "items",
					   item("running", "disks", 1000, 0),
					   item("done", "x", 1000, 1005));
	autofree char *text = changes(before, after), *none = changes(after, after);

	(void)state;
	assert_string_equal(text, "db: disks (expected 31 s)\ndb: done after 5 s\n");
	assert_string_equal(none, "");
}

static void test_base64(void **state)
{
	static const unsigned char bytes[] = { 0, 255, 10, 'a', 0, 7 };

	(void)state;
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		autofree char *text = base64_text(bytes, n);
		autofree unsigned char *back = NULL;
		size_t len = 99;

		assert_non_null(text);
		assert_int_equal(base64_bytes(text, &back, &len), 0);
		assert_int_equal(len, n);
		assert_memory_equal(back, bytes, n);
	}
}

static void test_bad_base64(void **state)
{
	static const char *const bad[] = { "a", "abc", "ab!d", "=abc", "abcde" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		autofree unsigned char *back = NULL;
		size_t len = 0;

		if (base64_bytes(bad[i], &back, &len) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_object),	   cmocka_unit_test(test_is_file),
		cmocka_unit_test(test_tail),	   cmocka_unit_test(test_plain),
		cmocka_unit_test(test_cells),	   cmocka_unit_test(test_cut),
		cmocka_unit_test(test_item),	   cmocka_unit_test(test_odd_item),
		cmocka_unit_test(test_changes),	   cmocka_unit_test(test_base64),
		cmocka_unit_test(test_bad_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
