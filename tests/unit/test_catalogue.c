// SPDX-License-Identifier: GPL-2.0-or-later
/* test_catalogue.c - services: reading them, their order, their templates, and images of them */
#define _GNU_SOURCE
#include "images/catalogue.h"
#include "images/compose.h"

#include "lib/io.h"
#include "lib/jobj.h"
#include "lib/util.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct paths paths;
static char dir[64];

static void put_file(const char *name, const char *text)
{
	char path[IO_PATH], *slash;

	io_path(path, "%s/services/%s", dir, name);
	slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(io_mkdirs(path, 0755), 0);
	*slash = '/';
	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_catalogue.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(paths.data, sizeof(paths.data), "%s", dir);
	put_file("db/service.yaml",
		 "packages: [mariadb-server]\ndisk: 400M\nfiles:\n"
		 "  /etc/db.cnf: { owner: \"root:db\", mode: 0640 }\nprovides: { port: 3306 }\n");
	put_file("db/files/etc/db.cnf", "for {{lab}}: {{secrets.db}}\n");
	put_file("db/build", "start database\n");
	put_file("db/build-end", "stop database\n");
	put_file("id/service.yaml", "needs: [db, cache]\npackages: [keystone]\ndisk: 100M\n");
	put_file("id/files/etc/id/id.conf",
		 "{{#services}}{{name}}@{{addr}}{{#here}} here{{/here}} {{/services}}\n");
	put_file("id/build", "{{#building}}sync {{at.db}}{{/building}}\n");
	put_file("cache/service.yaml", "units: [memcached.service]\nmany: true\n");
	put_file("ring1/service.yaml", "needs: [ring2]\n");
	put_file("ring2/service.yaml", "needs: [ring3]\n");
	put_file("ring3/service.yaml", "needs: [ring1]\n");
	put_file("self/service.yaml", "needs: [self]\n");
	put_file("no-service/readme", "a folder without service.yaml\n");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return io_remove_tree(AT_FDCWD, dir) < 0;
}

/* Names, separated by blanks, as a JSON array */
static json_t *words(const char *text)
{
	json_t *list = json_array();

	while (*text) {
		size_t n = strcspn(text, " ");

		json_array_append_new(list, json_stringn(text, n));
		text += n + (text[n] == ' ');
	}
	return list;
}

/* A member of each element, in one line */
static void check_each(const json_t *list, const char *key, const char *want)
{
	char have[1000] = "";
	size_t i, n = 0;
	json_t *o;

	json_array_foreach(list, i, o)
		n += (size_t)snprintf(have + n, sizeof(have) - n, "%s%s", i ? " " : "",
				      key ? jobj_text(o, key) : json_string_value(o));
	assert_string_equal(have, want);
}

static json_t *good_set(const char *names)
{
	autojson json_t *list = words(names);
	struct lab_err err = LAB_ERR_INIT;
	json_t *set = NULL;

	if (catalogue_set(&paths, list, &set, &err) < 0)
		fail_msg("%s: %s", names, err.text);
	return set;
}

static void bad_set(const char *names, int code, const char *want)
{
	autojson json_t *list = words(names), *set = NULL;
	struct lab_err err = LAB_ERR_INIT;

	assert_int_equal(catalogue_set(&paths, list, &set, &err), code);
	assert_null(set);
	if (!strstr(err.text, want))
		fail_msg("%s: wanted '%s', got '%s'", names, want, err.text);
}

static json_t *load(const char *name)
{
	struct lab_err err = LAB_ERR_INIT;
	json_t *service = NULL;

	if (catalogue_load(&paths, name, catalogue_read, &service, &err) < 0)
		fail_msg("%s", err.text);
	return service;
}

/* ---- reading ------------------------------------------------------------------------- */

static void test_names(void **state)
{
	autojson json_t *names = NULL;

	(void)state;
	assert_int_equal(catalogue_names(&paths, &names, NULL), 0);
	check_each(names, NULL, "cache db id ring1 ring2 ring3 self");
}

static void test_defaults(void **state)
{
	autojson json_t *s = load("cache"), *want = NULL;

	(void)state;
	want = json_loads("{\"name\": \"cache\", \"description\": \"\", \"needs\": [], "
			  "\"packages\": [], \"memory\": 0, \"disk\": 0, \"vcpus\": 1, "
			  "\"apart\": [], \"many\": true, \"units\": [\"memcached.service\"], "
			  "\"files\": {}, \"log\": \"\", \"provides\": {}}",
			  0, NULL);
	assert_true(json_equal(s, want));
}

static void test_provides(void **state)
{
	autojson json_t *s = NULL;
	const json_t *provides;

	(void)state;
	put_file("free/service.yaml", "provides: { yes: true, no: false, text: \"true\", n: 007, "
				      "none: , list: [a, { b: c }] }\n");
	s = load("free");
	provides = json_object_get(s, "provides");
	assert_true(json_is_true(json_object_get(provides, "yes")));
	assert_true(json_is_false(json_object_get(provides, "no")));
	assert_string_equal(jobj_text(provides, "text"), "true");
	assert_string_equal(jobj_text(provides, "n"), "007");
	assert_true(json_is_null(json_object_get(provides, "none")));
	assert_int_equal(json_array_size(json_object_get(provides, "list")), 2);
}

/* What is wrong in a service.yaml: LINE:COLUMN: words; several are told at once */
static const struct {
	const char *text, *want[3];
} bad[] = {
	{ "memroy: 1M\n", { "1:1: unknown key 'memroy'; did you mean 'memory'?" } },
	{ "", { "1:1: the file is empty" } },
	{ "[]\n", { "1:1: expected" } },
	{ "needs: db\n", { "1:8: expected a list" } },
	{ "needs: [../x]\n", { "1:9: expected a service's name" } },
	{ "packages: [--force-yes]\n", { "1:12: expected the name of a package" } },
	{ "packages: [\"a b\"]\n", { "1:12: expected the name of a package" } },
	{ "units: [\"x; reboot\"]\n", { "1:9: expected the name of a unit" } },
	{ "memory: much\ndisk: -1\n", { "1:9: ", "2:7: " } },
	{ "memory: 65G\n", { "1:9: " } },
	{ "vcpus: 0\n", { "1:8: " } },
	{ "vcpus: 65\n", { "1:8: " } },
	{ "many: perhaps\n", { "1:7: expected true or false" } },
	{ "files: { etc/x: {} }\n", { "1:10: expected the absolute path of a file" } },
	{ "files: { /x: { owner: root } }\n",
	  { "1:23: expected the names of a user and a group" } },
	{ "files: { /x: { owner: \"0:0\" } }\n",
	  { "1:23: expected the names of a user and a group" } },
	{ "files: { /x: { mode: 0888 } }\n", { "1:22: expected permissions in octal" } },
	{ "files: { /x: { mode: 100640 } }\n", { "1:22: expected permissions in octal" } },
	{ "files: { /x: { modus: 0640 } }\n", { "1:16: unknown key 'modus'" } },
	{ "log: [a]\n", { "1:6: expected the path of a log" } },
	{ "needs: [a\n", { "2:1: " } },
	{ "needs: x\nunits: y\nmany: z\n", { "1:8: ", "2:8: ", "3:7: " } },
};

static void check_bad(const char *text, const char *const want[3])
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *s = NULL;

	put_file("bad/service.yaml", text);
	assert_int_equal(catalogue_load(&paths, "bad", catalogue_read, &s, &err), -EINVAL);
	assert_null(s);
	for (size_t i = 0; i < 3 && want[i]; i++) {
		char place[IO_PATH + 200];

		snprintf(place, sizeof(place), "%s/services/bad/service.yaml:%s", dir, want[i]);
		if (!strstr(err.text, place))
			fail_msg("%s: wanted '%s', got '%s'", text, place, err.text);
	}
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_bad(bad[i].text, bad[i].want);
}

static void test_too_many_units(void **state)
{
	static const char *const want[3] = { "1:8: expected at most 32 units" };
	char text[200];
	int n = snprintf(text, sizeof(text), "units: [a");

	(void)state;
	for (int i = 0; i < 32; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, ", b");
	snprintf(text + n, sizeof(text) - (size_t)n, "]\n");
	check_bad(text, want);
}

/* ---- several ------------------------------------------------------------------------- */

static void test_set(void **state)
{
	autojson json_t *set = good_set("id db cache"), *alone = good_set("id"),
			*none = good_set(""), *again = good_set("cache id db");

	(void)state;
	check_each(set, "name", "db cache id");
	check_each(again, "name", "cache db id");
	/* whether all are there that it needs is for the reader of the lab to say */
	check_each(alone, "name", "id");
	assert_int_equal(json_array_size(none), 0);
}

static void test_bad_sets(void **state)
{
	(void)state;
	bad_set("db cach", -ENOENT, "there is no service 'cach'; did you mean 'cache'?");
	bad_set("quite-another", -ENOENT, "there is no service 'quite-another': labctl ls");
	bad_set("no-service", -ENOENT, "there is no service 'no-service'");
	bad_set("../db", -EINVAL, "'../db' is not a name");
	bad_set("ring1 db ring2 ring3", -EINVAL, "it needs itself, by way of others");
	bad_set("self", -EINVAL, "it needs itself");
}

/* ---- templates ----------------------------------------------------------------------- */

/* As on machine b of a lab, which has id and cache; db is elsewhere */
static json_t *make_context(void)
{
	autojson json_t *set = good_set("db id cache"), *here = words("id cache");
	autojson json_t *places = json_pack(
		"{s:{s:s s:s s:s s:s} s:{s:s s:s s:s s:s} s:{s:s s:s s:s s:s}}", "db", "instance",
		"a", "addr", "10.0.0.1", "secret", "s1", "bcrypt", "b1", "id", "instance", "b",
		"addr", "10.0.0.2", "secret", "s2", "bcrypt", "b2", "cache", "instance", "b",
		"addr", "10.0.0.2", "secret", "s3", "bcrypt", "b3");
	json_t *context = catalogue_context(set, places, here);

	assert_non_null(context);
	json_object_set_new(context, "lab", json_string("demo"));
	json_object_set_new(context, "building", json_false());
	return context;
}

static void test_context(void **state)
{
	autojson json_t *context = make_context();
	const json_t *list = json_object_get(context, "services");

	(void)state;
	check_each(list, "name", "db cache id");
	check_each(list, "instance", "a b b");
	assert_string_equal(jobj_text(json_array_get(list, 0), "port"), "3306");
	assert_true(json_is_false(json_object_get(json_array_get(list, 0), "here")));
	assert_true(json_is_true(json_object_get(json_array_get(list, 2), "here")));
	assert_string_equal(jobj_text(json_object_get(context, "at"), "db"), "10.0.0.1");
	assert_string_equal(jobj_text(json_object_get(context, "on"), "db"), "a");
	assert_string_equal(jobj_text(json_object_get(context, "secrets"), "id"), "s2");
	assert_string_equal(jobj_text(json_object_get(context, "bcrypt"), "cache"), "b3");
	assert_true(json_is_true(json_object_get(json_object_get(context, "has"), "db")));
	assert_null(json_object_get(json_object_get(context, "has"), "queue"));
}

/* What a service provides does not hide what labd says of it */
static void test_provided_words(void **state)
{
	autojson json_t *set = NULL, *here = json_array(), *context = NULL;
	autojson json_t *places = json_pack("{s:{s:s s:s}}", "sly", "instance", "a", "addr",
					    "10.0.0.1");

	(void)state;
	put_file("sly/service.yaml", "provides: { name: other, here: yes, addr: 6.6.6.6, x: y }\n");
	set = good_set("sly");
	context = catalogue_context(set, places, here);
	check_each(json_object_get(context, "services"), "name", "sly");
	check_each(json_object_get(context, "services"), "addr", "10.0.0.1");
	check_each(json_object_get(context, "services"), "x", "y");
	/* and the service itself is what it was */
	assert_string_equal(jobj_text(json_object_get(json_array_get(set, 0), "provides"), "addr"),
			    "6.6.6.6");
}

static void test_files(void **state)
{
	autojson json_t *context = make_context(), *db = load("db"), *id = load("id"), *list = NULL,
			*more = NULL;
	const json_t *file;

	(void)state;
	assert_int_equal(catalogue_files(&paths, db, context, &list, NULL), 0);
	check_each(list, "path", "/etc/db.cnf");
	check_each(list, "content", "for demo: s1\n");
	check_each(list, "owner", "root:db");
	file = json_array_get(list, 0);
	assert_int_equal(json_integer_value(json_object_get(file, "mode")), 0640);
	assert_int_equal(catalogue_files(&paths, id, context, &more, NULL), 0);
	check_each(more, "content", "db@10.0.0.1 cache@10.0.0.2 here id@10.0.0.2 here \n");
	check_each(more, "owner", "root:root");
	file = json_array_get(more, 0);
	assert_int_equal(json_integer_value(json_object_get(file, "mode")), 0644);
}

static void test_executable(void **state)
{
	autojson json_t *context = make_context(), *s = NULL, *list = NULL;
	char path[IO_PATH];

	(void)state;
	put_file("tool/service.yaml", "description: x\n");
	put_file("tool/files/usr/bin/tool", "#!/bin/sh\n");
	put_file("tool/files/etc/a", "");
	assert_int_equal(chmod(io_path(path, "%s/services/tool/files/usr/bin/tool", dir), 0700), 0);
	s = load("tool");
	assert_int_equal(catalogue_files(&paths, s, context, &list, NULL), 0);
	check_each(list, "path", "/etc/a /usr/bin/tool"); /* always in one order */
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "mode")),
			 0755);
}

static void bad_files(const char *name, const char *want)
{
	autojson json_t *context = make_context(), *s = load(name), *list = NULL;
	struct lab_err err = LAB_ERR_INIT;

	assert_int_equal(catalogue_files(&paths, s, context, &list, &err), -EINVAL);
	assert_null(list);
	if (!strstr(err.text, want))
		fail_msg("wanted '%s', got '%s'", want, err.text);
}

static void test_bad_files(void **state)
{
	char path[IO_PATH];

	(void)state;
	put_file("f1/service.yaml", "files: { /etc/nothing: { mode: 0600 } }\n");
	bad_files("f1",
		  "service f1: 'files' names /etc/nothing, but there is no files/etc/nothing");
	put_file("f2/service.yaml", "description: x\n");
	put_file("f2/files/etc/x", "one\n{{nothing}}\n");
	bad_files("f2", "services/f2/files/etc/x:2: there is no nothing");
	put_file("f3/service.yaml", "description: x\n");
	put_file("f3/files/a", "");
	assert_int_equal(symlink("/etc/shadow", io_path(path, "%s/services/f3/files/b", dir)), 0);
	bad_files("f3", "services/f3/files/b: it is not a file");
	put_file("f4/service.yaml", "description: x\n");
	put_file("f4/files/x", "");
	assert_int_equal(io_write_file(AT_FDCWD, io_path(path, "%s/services/f4/files/x", dir),
				       "a\0b", 3, 0644),
			 0);
	bad_files("f4", "this is no text");
}

static void test_script(void **state)
{
	autojson json_t *context = make_context();
	autofree char *text = NULL, *none = NULL, *wrong = NULL;
	struct lab_err err = LAB_ERR_INIT;

	(void)state;
	assert_int_equal(catalogue_script(&paths, "db", "build", context, &text, &err), 1);
	assert_string_equal(text, "start database\n");
	assert_int_equal(catalogue_script(&paths, "db", "remove", context, &none, &err), 0);
	assert_null(none);
	put_file("db/check", "{{#services}}\n");
	assert_int_equal(catalogue_script(&paths, "db", "check", context, &wrong, &err), -EINVAL);
	assert_null(wrong);
	assert_non_null(strstr(err.text, "services/db/check:1: "));
}

/* ---- images -------------------------------------------------------------------------- */

static json_t *composed(const char *names)
{
	autojson json_t *list = words(names);
	struct lab_err err = LAB_ERR_INIT;
	json_t *spec = json_pack("{s:[s] s:[{s:s}] s:s s:i}", "packages", "own", "files", "path",
				 "/own", "script", "own script\n", "size", 1 << 30);

	if (compose(&paths, list, spec, &err) < 0)
		fail_msg("%s", err.text);
	return spec;
}

/* Each is behind the one before */
static void check_order(const char *text, const char *const *parts)
{
	for (; *parts; parts++) {
		const char *at = strstr(text, *parts);

		if (at)
			text = at + strlen(*parts);
		else
			fail_msg("'%s' is not there, or too early: %s", *parts, text);
	}
}

static void test_compose(void **state)
{
	static const char *const order[] = { "127.0.0.1 localhost db cache id # build",
					     "/db.build\n",
					     "/id.build\n",
					     "/db.build-end\n",
					     "/ # build$/d",
					     "preset-all",
					     "rm -rf ",
					     "own script",
					     NULL };
	autojson json_t *spec = composed("id db cache");
	const json_t *files = json_object_get(spec, "files"), *f;
	bool found = false;
	size_t i;

	(void)state;
	check_order(jobj_text(spec, "script"), order);
	check_each(json_object_get(spec, "packages"), NULL, "mariadb-server keystone own");
	assert_int_equal(json_integer_value(json_object_get(spec, "size")),
			 (1LL << 30) + (500LL << 20));
	/* as if all were on this machine */
	json_array_foreach(files, i, f) {
		const char *content = jobj_text(f, "content");

		if (!strcmp(jobj_text(f, "path"), "/etc/id/id.conf"))
			assert_string_equal(content, "db@127.0.0.1 here cache@127.0.0.1 here "
						     "id@127.0.0.1 here \n");
		else if (!strcmp(jobj_text(f, "path"), "/etc/db.cnf"))
			assert_string_equal(content, "for build: build\n");
		else if (strstr(jobj_text(f, "path"), "/id.build"))
			assert_string_equal(content, "sync 127.0.0.1\n");
		found |= !strcmp(jobj_text(f, "path"), "/own");
	}
	assert_true(found);
}

/* The other way round than they were begun */
static void test_build_end(void **state)
{
	static const char *const order[] = { "/db.build\n", "/late.build\n", "/late.build-end\n",
					     "/db.build-end\n", NULL };
	autojson json_t *spec = NULL;

	(void)state;
	put_file("late/service.yaml", "needs: [db]\n");
	put_file("late/build", "true\n");
	put_file("late/build-end", "true\n");
	spec = composed("late db");
	check_order(jobj_text(spec, "script"), order);
}

static void check_digest(const char *before, const char *names, bool same)
{
	autojson json_t *spec = composed(names);

	if (same)
		assert_string_equal(before, jobj_text(spec, "composed"));
	else
		assert_string_not_equal(before, jobj_text(spec, "composed"));
}

static void test_digest(void **state)
{
	autojson json_t *spec = NULL;
	const char *digest;

	(void)state;
	put_file("d1/service.yaml", "packages: [p]\n");
	put_file("d1/build", "one\n");
	put_file("d2/service.yaml", "needs: [d1]\n");
	spec = composed("d1 d2");
	digest = jobj_text(spec, "composed");
	assert_int_equal(strlen(digest), 64);
	check_digest(digest, "d1 d2", true);
	check_digest(digest, "d2 d1", true); /* the needs say the order */
	check_digest(digest, "d1", false);
	/* files are written anew into each guest */
	put_file("d1/files/etc/d1", "a setting of {{lab}}\n");
	check_digest(digest, "d1 d2", true);
	put_file("d1/start", "what is done in a guest\n");
	check_digest(digest, "d1 d2", true);
	put_file("d1/build", "two\n");
	check_digest(digest, "d1 d2", false);
	put_file("d1/build", "one\n");
	check_digest(digest, "d1 d2", true);
	put_file("d1/service.yaml", "packages: [p, q]\n");
	check_digest(digest, "d1 d2", false);
	put_file("d1/service.yaml", "packages: [p]\ndisk: 1M\n");
	check_digest(digest, "d1 d2", false);
}

static void test_bad_compose(void **state)
{
	autojson json_t *list = words("db nothing"), *spec = json_object(), *none = json_object();
	autojson json_t *broken = words("broken");
	struct lab_err err = LAB_ERR_INIT;

	(void)state;
	assert_int_equal(compose(&paths, list, spec, &err), -ENOENT);
	assert_non_null(strstr(err.text, "there is no service 'nothing'"));
	put_file("broken/service.yaml", "description: x\n");
	put_file("broken/build", "{{at.db}}\n");
	assert_int_equal(compose(&paths, broken, none, &err), -EINVAL);
	assert_non_null(strstr(err.text, "services/broken/build:1: there is no at.db"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	       cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_provides),       cmocka_unit_test(test_bad),
		cmocka_unit_test(test_too_many_units), cmocka_unit_test(test_set),
		cmocka_unit_test(test_bad_sets),       cmocka_unit_test(test_context),
		cmocka_unit_test(test_provided_words), cmocka_unit_test(test_files),
		cmocka_unit_test(test_executable),     cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_script),	       cmocka_unit_test(test_compose),
		cmocka_unit_test(test_build_end),      cmocka_unit_test(test_digest),
		cmocka_unit_test(test_bad_compose),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
