// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_labfile.c - any bytes as a lab file
 *
 * Beside not to crash: what is refused has problems, in order, that can be
 * shown. What is accepted reads back as the same from its specification's JSON
 * and from its YAML, and then nothing differs.
 */
#define _GNU_SOURCE
#include "labd/labfile.h"
#include "lib/util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct paths fuzz_paths = { .data = "tests/unit/labfile" };

static void check_problems(json_t *problems, const struct lab_err *err)
{
	long long before = 0;
	json_t *p;
	size_t i;

	if (!json_array_size(problems) || !*err->text)
		abort();
	json_array_foreach(problems, i, p) {
		long long line = json_integer_value(json_object_get(p, "line"));
		long long column = json_integer_value(json_object_get(p, "column"));

		if (line < 1 || column < 1 || (line << 32 | column) < before ||
		    !json_string_length(json_object_get(p, "message")))
			abort();
		before = line << 32 | column;
	}
}

/* Abort unless @text reads as exactly @spec, whose JSON is @json */
static void check_same(const char *text, const char *what, const json_t *spec, const char *json)
{
	autojson json_t *again = NULL, *problems = NULL, *changes = NULL;
	struct lab_err err = LAB_ERR_INIT;
	autofree char *dump = NULL;

	if (labfile_read(text, strlen(text), what, &fuzz_paths, spec, &again, &problems, &err)) {
		fprintf(stderr, "%s\n%s\n", err.text, text);
		abort();
	}
	dump = json_dumps(again, JSON_COMPACT);
	if (!dump)
		abort();
	if (strcmp(dump, json)) {
		fprintf(stderr, "%s\nwas: %s\nnow: %s\n", text, json, dump);
		abort();
	}
	if (labfile_changes(spec, again, &changes, &err) || json_array_size(changes))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	autojson json_t *spec = NULL, *problems = NULL, *changes = NULL;
	autofree char *json = NULL, *yaml = NULL;
	struct lab_err err = LAB_ERR_INIT;
	int r = labfile_read((const char *)data, len, "fuzz.yaml", &fuzz_paths, NULL, &spec,
			     &problems, &err);

	if (r < 0) {
		if (r != -EINVAL || spec)
			abort();
		check_problems(problems, &err);
		return 0;
	}
	json = json_dumps(spec, JSON_COMPACT);
	if (!json || labfile_yaml(spec, &yaml, &err))
		abort();
	check_same(json, "json", spec, json);
	check_same(yaml, "yaml", spec, json);
	if (labfile_changes(NULL, spec, &changes, &err) ||
	    json_array_size(changes) != json_object_size(json_object_get(spec, "instances")) +
						json_object_size(json_object_get(spec, "networks")))
		abort();
	return 0;
}
