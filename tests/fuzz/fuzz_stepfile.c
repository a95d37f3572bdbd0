// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_stepfile.c - any bytes as a test file
 *
 * Beside not to crash: what is refused has problems and leaves nothing behind;
 * what is accepted has steps with names, things to do and deadlines, and its
 * variables can be put in.
 */
#define _GNU_SOURCE
#include "cli/expect.h"

#include "lib/util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Every variable has a value, which is as nasty as it may be */
static void give_value(void *arg, const char *name, size_t len)
{
	struct vars *v = arg;
	autofree char *key = strndup(name, len);

	if (!key || !vars_name_valid(name, len))
		return;
	vars_set(v, key, "${A}\\[(*\"\n", 10, NULL);
}

static void check_texts(const json_t *doc)
{
	autofree char *text = doc ? json_dumps(doc, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	struct vars v = { NULL, NULL };
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *to = NULL;

	if (!text)
		return;
	vars_uses(text, give_value, &v);
	/* a text for sh may have uses that are none, which is an error */
	if (vars_expand_json(&v, doc, VARS_REGEX, &to, &err) == 0 && !to)
		abort();
	json_decref(v.values);
}

static void check_step(const struct step *s)
{
	const struct outcome o = { .out = { (char *)"{\"a\": [1]}", 10, 0 } };
	struct lab_err err = LAB_ERR_INIT;
	const char *name;
	json_t *source;

	if (!*s->name || !s->spec || !s->deadline_us)
		abort();
	check_texts(s->spec);
	check_texts(s->expect);
	(void)expect_met(s->kind, s->expect, s->forbid, &o, &err);
	json_object_foreach(s->save, name, source) {
		autofree char *text = NULL;
		size_t len;

		if (!vars_name_valid(name, strlen(name)))
			abort();
		(void)expect_save(source, &o, &text, &len, &err);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *problems = NULL;
	struct stepfile f;
	int r = stepfile_read((const char *)data, len, "fuzz.yaml", &f, &problems, &err);

	if (r == -EINVAL && (!json_array_size(problems) || f.n || f.doc))
		abort();
	if (r < 0 && r != -EINVAL)
		abort();
	if (!r && !f.n)
		abort();
	for (size_t i = 0; i < f.n; i++)
		check_step(&f.steps[i]);
	stepfile_free(&f);
	return 0;
}
