// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_steps.c - test files: what is read, what is refused, variables, expectations
 *
 * TIMEOUT: 30
 */
#define _GNU_SOURCE
#include "cli/expect.h"
#include "lib/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- reading ----------------------------------------------------------------------- */

static struct stepfile read_good(const char *text)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *problems = NULL;
	struct stepfile f;

	if (stepfile_read(text, strlen(text), "t.yaml", &f, &problems, &err) < 0)
		fail_msg("%s", err.text);
	assert_null(problems);
	return f;
}

/* @want: "line:column: words" of each problem, NULL at the end */
static void read_bad(const char *text, const char *const *want)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *problems = NULL;
	struct stepfile f;
	size_t i = 0;

	assert_int_equal(stepfile_read(text, strlen(text), "t.yaml", &f, &problems, &err), -EINVAL);
	assert_int_equal(f.n, 0);
	assert_non_null(strstr(err.text, "t.yaml:"));
	for (; want[i]; i++) {
		const json_t *p = json_array_get(problems, i);
		const char *words = strchr(strchr(want[i], ':') + 1, ':') + 1;
		char have[600];

		snprintf(have, sizeof(have), "%d:%d:%s",
			 (int)json_integer_value(json_object_get(p, "line")),
			 (int)json_integer_value(json_object_get(p, "column")),
			 json_string_value(json_object_get(p, "message")));
		if (strncmp(have, want[i], (size_t)(words - want[i])) || !strstr(have, words))
			fail_msg("problem %zu: wanted '%s', got '%s'", i, want[i], have);
	}
	assert_int_equal(json_array_size(problems), i);
}

#define BAD(text, ...) read_bad(text, (const char *const[]){ __VA_ARGS__, NULL })
/* One step named a, whose other keys begin in column 5 of line 3 */
#define STEP(keys) "steps:\n  - name: a\n    " keys "\n"

static void check_json(const json_t *have, const char *want)
{
	autofree char *text = have ? json_dumps(have, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	assert_string_equal(text ? text : "nothing", want);
}

static void test_kinds(void **state)
{
	struct stepfile f = read_good(
		"lab: demo\ndescription: x\nvars: { A: 1, B: }\ndeadline: 5m\nsteps:\n"
		"  - { name: one, run: [echo, 1, ''] }\n"
		"  - { name: two, run: 'echo $X', deadline: 7 }\n"
		"  - { name: three, exec: { on: db, run: [ls] }, retry: { every: 2s } }\n"
		"  - { name: four, http: { on: x/y, url: ':80/', json: { a: 1, b: '1', c: [true] } "
		"} }\n"
		"  - { name: five, wait: { on: db, for: { tcp: 22 }, since: now }, always: true }\n"
		"  - { name: six, http: 'https://h/', skip-if: 'true' }\n");

	(void)state;
	assert_string_equal(f.lab, "demo");
	assert_int_equal(f.n, 6);
	check_json(f.vars, "{\"A\":\"1\"}");
	check_json(f.given, "{\"B\":null}");
	check_json(f.steps[0].spec, "{\"argv\":[\"echo\",\"1\",\"\"],\"shell\":false}");
	assert_true(f.steps[0].deadline_us == 300000000);
	check_json(f.steps[1].spec, "{\"argv\":[\"sh\",\"-ec\",\"echo $X\"],\"shell\":true}");
	assert_true(f.steps[1].deadline_us == 7000000);
	check_json(f.steps[2].spec, "{\"argv\":[\"ls\"],\"shell\":false,\"on\":\"db\"}");
	assert_true(f.steps[2].every_us == 2000000);
	check_json(f.steps[3].spec,
		   "{\"url\":\":80/\",\"on\":\"x/y\",\"method\":\"POST\",\"headers\":{},"
		   "\"json\":{\"a\":1,\"b\":\"1\",\"c\":[true]}}");
	check_json(f.steps[4].spec, "{\"on\":\"db\",\"ready\":{\"tcp\":22},\"since\":\"now\"}");
	assert_true(f.steps[4].always && !f.steps[3].always);
	assert_int_equal(f.steps[5].kind, STEP_HTTP);
	check_json(f.steps[5].skip_if, "{\"argv\":[\"sh\",\"-ec\",\"true\"],\"shell\":true}");
	assert_int_equal(f.steps[5].line, 11);
	stepfile_free(&f);
	assert_null(f.steps);
}

/* A step needs those that it names, and those that save what it uses */
static void test_needs(void **state)
{
	struct stepfile f = read_good(
		"vars: { C: x, D: }\nsteps:\n"
		"  - { name: one, run: ['true'], save: { A: , B: { json: x } } }\n"
		"  - { name: two, run: ['${A}', '${C}${D}', '${LAB}', '$${no}'], save: A }\n"
		"  - { name: three, run: 'echo ${A} ${other}', needs: one }\n"
		"  - { name: four, exec: { on: '${B}', run: 'echo ${shell}' }, needs: [two] }\n");
	const unsigned char *three = f.steps[2].needs, *four = f.steps[3].needs;

	(void)state;
	assert_int_equal(f.steps[1].needs[0], STEP_USES);
	assert_int_equal(three[0], STEP_NEEDS);
	assert_int_equal(three[1], STEP_USES); /* the last that saves it */
	assert_int_equal(four[0], STEP_USES);
	assert_int_equal(four[1], STEP_NEEDS);
	assert_int_equal(four[2], 0);
	stepfile_free(&f);
}

static void test_vars_of_environment(void **state)
{
	struct stepfile f;

	(void)state;
	setenv("TEST_STEPS_A", "given", 1);
	f = read_good("vars: { TEST_STEPS_A: a, TEST_STEPS_B: b }\n" STEP("run: 'true'"));
	check_json(f.vars, "{\"TEST_STEPS_A\":\"given\",\"TEST_STEPS_B\":\"b\"}");
	unsetenv("TEST_STEPS_A");
	stepfile_free(&f);
}

static void test_bad_files(void **state)
{
	(void)state;
	BAD("", "1:1:empty");
	BAD("lab: x\n", "1:1:expected the key steps");
	BAD("~ ", "1:1:expected the key steps");
	BAD("steps: []\n", "1:8:expected the key steps");
	BAD("steps: x\n", "1:8:expected");
	BAD("step: x\nlab: ../x\n", "1:1:expected the key steps", "1:1:did you mean 'steps'",
	    "2:6:a lab's name");
	BAD("vars: { 1a: x, LAB_X: y, B: [] }\n" STEP("run: 'true'"), "1:9:a variable's name",
	    "1:16:a variable's name", "1:29:expected a text");
	BAD("deadline: 25h\n" STEP("run: 'true'"), "1:11:whole seconds");
	BAD("steps:\n  - x\n", "2:5:a map of keys");
	BAD("steps:\n  - run: 'true'\n", "2:5:the key name");
	BAD("steps:\n  - { name: 'a\n\n      b', run: 'true' }\n", "2:13:one line");
	BAD("steps:\n  - { name: a, run: x }\n  - { name: a, run: y }\n",
	    "3:13:the step in line 2 has this name");
}

static void test_bad_steps(void **state)
{
	(void)state;
	BAD(STEP("always: true"), "2:5:expected one of run, exec, http or wait");
	BAD(STEP("rnu: x"), "3:5:did you mean 'run'");
	BAD(STEP("{ run: x }"), "4:1:not YAML");
	BAD(STEP("run: x\n    wait: {}"), "4:5:make two steps");
	BAD(STEP("run:"), "3:5:expected what to do");
	BAD(STEP("run: []"), "3:10:a list of words");
	BAD(STEP("run: {}"), "3:10:a list of words");
	BAD(STEP("exec: [ls]"), "3:11:a map");
	BAD(STEP("exec: { on: -x }"), "3:11:the key run", "3:17:expected an instance");
	BAD(STEP("exec: { on: a/b/c, run: x }"), "3:17:expected an instance");
	BAD(STEP("http: 'file:///etc/passwd'"), "3:11:expected a URL");
	BAD(STEP("http: ':80/'"), "3:11:or the key on");
	BAD(STEP("http: { on: a, url: 'http://h/' }"), "3:25:on the instance");
	BAD(STEP("http: { url: 'http://:80/' }"), "3:18:expected a URL");
	BAD(STEP("http: { url: 'http://h/ x' }"), "3:18:expected a URL");
	BAD(STEP("http: { url: 'http://h/', method: get, body: x, json: y, headers: { 'A b': c } "
		 "}"),
	    "3:39:a method", "3:53:found both", "3:73:a header's name");
	BAD(STEP("wait: { on: a }"), "3:11:the key for");
	BAD(STEP("wait: { on: a, for: { tpc: 2 }, since: x }"), "3:27:did you mean 'tcp'",
	    "3:44:boot or now");
	BAD(STEP("wait: { on: a, for: { tcp: 0 } }\n    save: A"), "3:32:a port",
	    "4:5:nothing to save");
	BAD(STEP("wait: { on: a, for: { tcp: 1 } }\n    expect: { status: 1 }"),
	    "4:5:what it waits for");
	BAD(STEP("wait: { on: a, for: { tcp: 1 } }\n    retry: { every: 1s }"),
	    "4:5:tries again by itself");
	/* probes with variables are looked at too */
	BAD(STEP("wait: { on: a, for: [{ exec: ['${LAB}'] }, { tcp: x }] }"), "3:25:a port");
}

static void test_bad_keys(void **state)
{
	(void)state;
	BAD(STEP("run: x\n    deadline: 0"), "4:15:whole seconds");
	BAD(STEP("run: x\n    retry: 2s"), "4:12:a map");
	BAD(STEP("run: x\n    retry: {}"), "4:12:the key every");
	BAD(STEP("run: x\n    always: yes"), "4:13:true or false");
	BAD(STEP("run: x\n    needs: [b, a]"), "4:13:no earlier step has the name 'b'",
	    "4:16:no earlier step has the name 'a'");
	BAD(STEP("run: x\n    expect: { body: x, status: 256 }"), "4:15:unknown key 'body'",
	    "4:32:from 0 to 255");
	BAD(STEP("http: 'http://h/'\n    expect: { stdout: x, status: [99], headers: { A: '(' } }"),
	    "4:15:unknown key 'stdout'", "4:35:from 100 to 599", "4:54:regular expression");
	BAD(STEP("run: x\n    expect: { stdout: 'a{2}', not: { stderr: '[', not: {} } }"),
	    "4:23:without {m,n}", "4:46:regular expression", "4:51:'not' within 'not'");
	BAD(STEP("run: x\n    expect: { json: { a..b: 1, '[x]': 2 }, contains: { a: b } }"),
	    "4:23:expected a path", "4:32:expected a path", "4:54:a list of texts");
	BAD(STEP("run: x\n    save: 1A"), "4:11:a variable's name");
	BAD(STEP("run: x\n    save: [A]"), "4:11:a variable's name");
	BAD(STEP("run: x\n    save: { A: { json: '.' }, LAB: , C: { header: x }, D: { json: a, "
		 "match: b } }"),
	    "4:24:expected a path", "4:31:a variable's name", "4:43:only http has headers",
	    "4:59:one of json");
}

static void test_bad_variables(void **state)
{
	(void)state;
	BAD(STEP("run: ['${A}', 'x${', '${}', '${a b}']"),
	    "3:11:no earlier step saves the variable A", "3:19:expected ${NAME}",
	    "3:26:expected ${NAME}", "3:33:expected ${NAME}");
	BAD(STEP("run: ['${A}']\n    save: A"), "3:11:no earlier step");
	BAD(STEP("run: x\n    expect: { stdout: '${A}' }"), "4:23:no earlier step");
	BAD(STEP("exec: { on: '${A}', run: '${A}' }"), "3:17:no earlier step");
	BAD(STEP("run: x\n    skip-if: ['${A}']"), "4:15:no earlier step");
}

/* ---- variables --------------------------------------------------------------------- */

static void check_expand(const struct vars *v, const char *text, enum vars_into into,
			 const char *want)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *have = NULL;

	if (vars_expand(v, text, into, &have, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	assert_string_equal(have, want);
}

static void test_expand(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct vars v = { .lab = json_pack("{s:s, s:s}", "LAB", "demo", "A", "shadowed") };
	autofree char *none = NULL;

	(void)state;
	assert_int_equal(vars_set(&v, "A", "a.b", 3, &err), 0);
	assert_int_equal(vars_set(&v, "E", "", 0, &err), 0);
	assert_int_equal(vars_set(&v, "B", "${A} $(x) `x` ;", 15, &err), 0);
	check_expand(&v, "", VARS_TEXT, "");
	check_expand(&v, "${A}", VARS_TEXT, "a.b");
	check_expand(&v, "x${A}${E}${LAB}y", VARS_TEXT, "xa.bdemoy");
	check_expand(&v, "$A $$ $ {A}", VARS_TEXT, "$A $$ $ {A}");
	check_expand(&v, "$${A} ${A}$${", VARS_TEXT, "${A} a.b${");
	/* what comes in is not looked at again */
	check_expand(&v, "${B}", VARS_TEXT, "${A} $(x) `x` ;");
	check_expand(&v, "^${A}$", VARS_REGEX, "^a\\.b$");
	check_expand(&v, "${B}", VARS_REGEX, "\\$\\{A\\} \\$\\(x\\) `x` ;");
	assert_int_equal(vars_expand(&v, "${C}", VARS_TEXT, &none, &err), -ENOENT);
	assert_non_null(strstr(err.text, "variable C "));
	assert_null(none);
	json_decref(v.values);
	json_decref(v.lab);
}

static void test_expand_json(void **state)
{
	struct vars v = { .values = json_pack("{s:s}", "A", "x\"y") };
	autojson json_t *doc = json_loads("{\"a\": [\"${A}\", 1, null, true, 1.5], \"${A}\": {}}",
					  0, NULL);
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *to = NULL;

	(void)state;
	assert_int_equal(vars_expand_json(&v, doc, VARS_TEXT, &to, &err), 0);
	check_json(to, "{\"a\":[\"x\\\"y\",1,null,true,1.5],\"${A}\":{}}");
	json_decref(v.values);
}

static void test_set(void **state)
{
	autofree char *big = calloc(1, VARS_MAX_VALUE + 2);
	struct lab_err err = LAB_ERR_INIT;
	struct vars v = { NULL, NULL };

	(void)state;
	memset(big, 'x', VARS_MAX_VALUE + 1);
	assert_int_equal(vars_set(&v, "A", big, VARS_MAX_VALUE, &err), 0);
	assert_int_equal(vars_set(&v, "A", big, VARS_MAX_VALUE + 1, &err), -E2BIG);
	assert_int_equal(vars_set(&v, "A", "a\0b", 3, &err), -EINVAL);
	assert_int_equal(vars_set(&v, "A", "\xff", 1, &err), -EINVAL);
	assert_int_equal(json_string_length(json_object_get(v.values, "A")), VARS_MAX_VALUE);
	json_decref(v.values);
}

static const char *find_env(char *const *env, const char *name)
{
	const char *found = NULL;
	size_t n = strlen(name);

	for (; *env; env++) {
		if (strncmp(*env, name, n) || (*env)[n] != '=')
			continue;
		assert_null(found); /* once */
		found = *env + n + 1;
	}
	return found;
}

static void test_environ(void **state)
{
	struct vars v = { .values = json_pack("{s:s}", "TEST_STEPS_A", "new"),
			  .lab = json_pack("{s:s}", "LAB", "demo") };
	char **env;

	(void)state;
	setenv("TEST_STEPS_A", "old", 1);
	setenv("TEST_STEPS_B", "kept", 1);
	setenv("PATH", "/usr/bin:/bin", 1);
	env = vars_environ(&v, "/opt/lab");
	assert_string_equal(find_env(env, "TEST_STEPS_A"), "new");
	assert_string_equal(find_env(env, "TEST_STEPS_B"), "kept");
	assert_string_equal(find_env(env, "LAB"), "demo");
	assert_string_equal(find_env(env, "PATH"), "/opt/lab:/usr/bin:/bin");
	vars_environ_free(&env);
	json_decref(v.values);
	json_decref(v.lab);
}

static void test_paths(void **state)
{
	autojson json_t *doc = json_loads("{\"a\": {\"b c\": [1, [\"x\", null]]}, \"d-e\": 2.5}", 0,
					  NULL);
	static const char *const bad[] = { "",
					   ".",
					   "a.",
					   ".a",
					   "a..b",
					   "[",
					   "[x]",
					   "[-1]",
					   "a[1",
					   "a]b[",
					   "[99999999999999999999]",
					   "[1]b" };

	(void)state;
	check_json(jsonpath_get(doc, "a.b c[0]"), "1");
	check_json(jsonpath_get(doc, "a.b c[1][0]"), "\"x\"");
	check_json(jsonpath_get(doc, "a.b c[1][1]"), "null");
	check_json(jsonpath_get(doc, "d-e"), "2.5");
	assert_null(jsonpath_get(doc, "a.b"));
	assert_null(jsonpath_get(doc, "a[0]"));
	assert_null(jsonpath_get(doc, "a.b c[2]"));
	assert_null(jsonpath_get(doc, "d-e.x"));
	assert_null(jsonpath_get(NULL, "a"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (jsonpath_valid(bad[i]))
			fail_msg("'%s' is taken for a path", bad[i]);
		assert_null(jsonpath_get(doc, bad[i]));
	}
}

/* ---- expectations ------------------------------------------------------------------ */

/* "" if all is as expected, else what differs; @expect and @forbid are JSON */
static const char *check(enum step_kind kind, const char *expect, const char *forbid,
			 const struct outcome *o, char buf[LAB_ERR_TEXT])
{
	autojson json_t *e = expect ? json_loads(expect, 0, NULL) : NULL;
	autojson json_t *f = forbid ? json_loads(forbid, 0, NULL) : NULL;
	struct lab_err err = LAB_ERR_INIT;
	int r = expect_met(kind, e, f, o, &err);

	assert_int_equal(!r, !*err.text);
	memcpy(buf, err.text, sizeof(err.text));
	return buf;
}

#define CHECK(kind, expect, forbid, o, want)                                                       \
	assert_string_equal(check(kind, expect, forbid, o, (char[LAB_ERR_TEXT]){ 0 }), want)

static struct outcome outcome_of(int status, const char *out, size_t len)
{
	struct outcome o = { .status = status };

	output_add(&o.out, out, len);
	return o;
}

static void test_status(void **state)
{
	struct outcome o = { .status = 0 };

	(void)state;
	CHECK(STEP_RUN, NULL, NULL, &o, "");
	CHECK(STEP_RUN, "{\"status\":[1,0]}", NULL, &o, "");
	CHECK(STEP_RUN, "{\"status\":[1,2]}", NULL, &o, "expected status 1,2, found 0");
	CHECK(STEP_RUN, NULL, "{\"status\":[0]}", &o, "expected status other than 0, found 0");
	o.status = 3;
	CHECK(STEP_RUN, NULL, NULL, &o, "expected status 0, found 3");
	CHECK(STEP_RUN, NULL, "{\"status\":[0]}", &o, "");
	CHECK(STEP_HTTP, NULL, NULL, &o, "expected a status from 200 to 299, found 3");
	o.status = 204;
	CHECK(STEP_HTTP, NULL, NULL, &o, "");
	CHECK(STEP_HTTP, NULL, "{\"body\":\"x\"}", &o, "");
}

static void test_texts(void **state)
{
	struct outcome o = outcome_of(0, "one\ntwo 2\n", 10);

	(void)state;
	output_add(&o.err, "why\n", 4);
	CHECK(STEP_RUN, "{\"stdout\":\"^two [0-9]$\",\"stderr\":\"^why$\"}", NULL, &o, "");
	CHECK(STEP_RUN, "{\"stdout\":\"one.two\"}", NULL, &o, "expected stdout to match 'one.two'");
	CHECK(STEP_RUN, NULL, "{\"stdout\":\"t\",\"stderr\":\"t\"}", &o,
	      "expected stdout not to match 't'");
	CHECK(STEP_RUN, "{\"contains\":[\"one\\ntwo\",\"\"]}", NULL, &o, "");
	CHECK(STEP_RUN, "{\"contains\":[\"one\",\"three\"],\"status\":[1]}",
	      "{\"contains\":[\"2\"]}", &o,
	      "expected status 1, found 0\nexpected output with 'three'\n"
	      "expected output without '2'");
	outcome_done(&o);
	/* what cannot be looked for is no success, also where it must not be */
	CHECK(STEP_RUN, "{\"stdout\":\"(\"}", "{\"stderr\":\"(\"}", &o,
	      "'(' cannot be compiled\n'(' cannot be compiled");
	/* nothing at all is a text too */
	CHECK(STEP_RUN, "{\"stdout\":\"^$\",\"contains\":[\"\"]}", "{\"contains\":[\"x\"]}", &o,
	      "");
	/* and what is behind a NUL counts */
	o = outcome_of(0, "a\0b\n", 4);
	CHECK(STEP_RUN, "{\"stdout\":\"b$\",\"contains\":[\"b\"]}", NULL, &o, "");
	outcome_done(&o);
}

static void test_json(void **state)
{
	static const char text[] = "{\"a\": [{\"n\": 5, \"s\": \"x\", \"z\": null}]}\n";
	struct outcome o = outcome_of(0, text, strlen(text));

	(void)state;
	CHECK(STEP_RUN, "{\"json\":{\"a[0].n\":5,\"a[0].s\":\"x\",\"a[0].z\":null}}", NULL, &o, "");
	CHECK(STEP_RUN, "{\"json\":{\"a[0].n\":\"5\"}}", NULL, &o, "");
	CHECK(STEP_RUN, "{\"json\":{\"a[0].n\":6}}", NULL, &o, "expected a[0].n '6', found '5'");
	CHECK(STEP_RUN, "{\"json\":{\"b\":6}}", NULL, &o, "expected b '6', found nothing");
	CHECK(STEP_RUN, "{\"json\":{\"b\":null}}", NULL, &o, "expected a value at b, found none");
	CHECK(STEP_RUN, NULL, "{\"json\":{\"a[0].s\":\"x\",\"b\":null,\"a\":null}}", &o,
	      "expected a[0].s not to be 'x', found 'x'\nexpected no value at a, found one");
	outcome_done(&o);
	o = outcome_of(0, "no", 2);
	CHECK(STEP_RUN, "{\"json\":{\"a\":1}}", NULL, &o, "expected a '1', found no JSON");
	CHECK(STEP_RUN, NULL, "{\"json\":{\"a\":1}}", &o, "");
	outcome_done(&o);
}

static void test_headers(void **state)
{
	struct outcome o = { .status = 200, .headers = json_pack("{s:s}", "X-Token", "abc") };

	(void)state;
	CHECK(STEP_HTTP, "{\"headers\":{\"x-token\":\"^a.c$\"}}", NULL, &o, "");
	CHECK(STEP_HTTP, "{\"headers\":{\"X-Token\":\"d\",\"Y\":\"\"}}", NULL, &o,
	      "expected header X-Token to match 'd', found 'abc'\n"
	      "expected header Y to match '', found none");
	CHECK(STEP_HTTP, NULL, "{\"headers\":{\"Y\":\"\"}}", &o, "");
	outcome_done(&o);
}

/* A floods of mismatches is cut, not overrun */
static void test_many_differ(void **state)
{
	struct outcome o = outcome_of(0, "x", 1);
	autojson json_t *list = json_array(), *expect = NULL;
	struct lab_err err = LAB_ERR_INIT;

	(void)state;
	for (int i = 0; i < 300; i++)
		json_array_append_new(list, json_sprintf("%0*d", 150 + i % 50, i));
	expect = json_pack("{s:O}", "contains", list);
	assert_int_equal(expect_met(STEP_RUN, expect, NULL, &o, &err), -EBADMSG);
	assert_in_range(strlen(err.text), LAB_ERR_TEXT / 2, LAB_ERR_TEXT - 1);
	outcome_done(&o);
}

/* What is saved by a source; "-" if nothing is */
static const char *saved(const char *source, const struct outcome *o, char buf[200])
{
	autojson json_t *s = json_loads(source, 0, NULL);
	struct lab_err err = LAB_ERR_INIT;
	autofree char *text = NULL;
	size_t len = 0;
	int r = expect_save(s, o, &text, &len, &err);

	assert_int_equal(!r, !*err.text);
	snprintf(buf, 200, "%.*s", r ? 1 : (int)len, r ? "-" : text);
	return buf;
}

static void test_save(void **state)
{
	static const char text[] = "{\"a\": [7, {\"b\": \"x\"}]}\n\n";
	struct outcome o = outcome_of(0, text, strlen(text));
	char buf[200];

	(void)state;
	o.headers = json_pack("{s:s}", "Location", "/u/1");
	assert_string_equal(saved("{}", &o, buf), "{\"a\": [7, {\"b\": \"x\"}]}");
	assert_string_equal(saved("{\"json\":\"a[0]\"}", &o, buf), "7");
	assert_string_equal(saved("{\"json\":\"a[1].b\"}", &o, buf), "x");
	assert_string_equal(saved("{\"json\":\"a[1]\"}", &o, buf), "{\"b\":\"x\"}");
	assert_string_equal(saved("{\"json\":\"c\"}", &o, buf), "-");
	assert_string_equal(saved("{\"header\":\"location\"}", &o, buf), "/u/1");
	assert_string_equal(saved("{\"header\":\"none\"}", &o, buf), "-");
	assert_string_equal(saved("{\"match\":\"b.: \\\"(.)\"}", &o, buf), "x");
	assert_string_equal(saved("{\"match\":\"[0-9]\"}", &o, buf), "7");
	assert_string_equal(saved("{\"match\":\"8\"}", &o, buf), "-");
	outcome_done(&o);
	assert_string_equal(saved("{}", &o, buf), "");
	assert_string_equal(saved("{\"match\":\"x*\"}", &o, buf), "");
	assert_string_equal(saved("{\"json\":\"a\"}", &o, buf), "-");
}

static void test_output(void **state)
{
	autofree char *half = calloc(1, OUTPUT_MAX / 2 + 1);
	struct output o = { 0 };
	char buf[200];
	struct outcome all = { 0 };

	(void)state;
	output_add(&o, half, OUTPUT_MAX / 2 + 1);
	output_add(&o, half, OUTPUT_MAX / 2 + 1);
	output_add(&o, "x", 1);
	assert_int_equal(o.len, OUTPUT_MAX);
	assert_int_equal(o.lost, 3);
	/* part of a text would be saved as if it were all */
	all.out = o;
	assert_string_equal(saved("{}", &all, buf), "-");
	outcome_done(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_needs),
		cmocka_unit_test(test_vars_of_environment),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_bad_steps),
		cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_bad_variables),
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_expand_json),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_environ),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_many_differ),
		cmocka_unit_test(test_save),
		cmocka_unit_test(test_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
