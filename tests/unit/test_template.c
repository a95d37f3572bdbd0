// SPDX-License-Identifier: GPL-2.0-or-later
/* test_template.c - templates: what becomes of them, and what is wrong with them */
#define _GNU_SOURCE
#include "lib/template.h"
#include "lib/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char context[] =
	"{\"lab\": \"demo\", \"n\": 3, \"yes\": true, \"no\": false, \"none\": [], \"at\": "
	"{\"db\": "
	"\"10.0.0.2\"}, \"services\": [{\"name\": \"a\", \"schemas\": [\"x\", \"y\"]}, {\"name\": "
	"\"b\"}]}";

static const struct {
	const char *text, *expect; /* an error begins with ! */
} cases[] = {
	{ "", "" },
	{ "plain { } }} text\n", "plain { } }} text\n" },
	{ "{{lab}}-{{ n }} {{yes}}", "demo-3 true" },
	{ "at {{at.db}}", "at 10.0.0.2" },
	{ "{{#services}}{{name}} {{/services}}", "a b " },
	/* names of the outer scopes are seen inside */
	{ "{{#services}}{{lab}}/{{name}} {{/services}}", "demo/a demo/b " },
	{ "{{#services}}{{#schemas}}{{name}}.{{.}} {{/schemas}}{{/services}}", "a.x a.y " },
	{ "{{#at}}{{db}}{{/at}}", "10.0.0.2" },
	{ "{{#yes}}Y{{/yes}}{{#no}}N{{/no}}{{^no}}n{{/no}}{{^none}}0{{/none}}", "Yn0" },
	{ "{{#missing}}{{a}}{{/missing}}{{^missing}}-{{/missing}}", "-" },
	{ "a{{! a comment }}b", "ab" },
	/* tags alone on a line take it with them */
	{ "[x]\n{{#services}}\nname = {{name}}\n{{/services}}\nend\n",
	  "[x]\nname = a\nname = b\nend\n" },
	{ "  {{! words }}  \nx", "x" },
	{ "{{#yes}} in line {{/yes}}\n", " in line \n" },
	{ "{{#yes}}\na\n{{/yes}}", "a\n" },
	/* mistakes */
	{ "a\n{{labb}}", "!t:2: there is no labb" },
	{ "{{services}}", "!t:1: this is no single value: services" },
	{ "{{lab", "!t:1: this {{ is never closed" },
	{ "{{}}", "!t:1: expected a name between {{ and }}" },
	{ "{{a b}}", "!t:1: expected a name between {{ and }}" },
	{ "\n{{#yes}}\nx\n", "!t:2: this section has no end: yes" },
	{ "{{#yes}}{{/no}}", "!t:1: this is not the end of a section: no" },
	{ "{{/yes}}", "!t:1: this is not the end of a section: yes" },
	{ "{{#no}}{{#yes}}{{/no}}", "!t:1: this is not the end of a section: no" },
};

static void test_cases(void **state)
{
	autojson json_t *o = json_loads(context, 0, NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lab_err err = LAB_ERR_INIT;
		autofree char *got = NULL;
		int r = template_render(cases[i].text, "t", o, &got, &err);

		if (*cases[i].expect == '!') {
			assert_int_equal(r, -EINVAL);
			assert_string_equal(err.text, cases[i].expect + 1);
		} else {
			assert_int_equal(r, 0);
			assert_string_equal(got, cases[i].expect);
		}
	}
}

static void test_deep(void **state)
{
	autojson json_t *o = json_pack("{s:b}", "a", 1);
	struct lab_err err = LAB_ERR_INIT;
	autofree char *got = NULL;
	char text[8 * 200 + 1] = "";

	(void)state;
	for (size_t i = 0; i < 200; i++)
		memcpy(text + 6 * i, "{{#a}}", 7);
	assert_int_equal(template_render(text, "t", o, &got, &err), -EINVAL);
	assert_non_null(strstr(err.text, "too many sections"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
