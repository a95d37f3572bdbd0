// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz_recipe.c - any bytes as a recipe
 *
 * Beside not to crash: what is refused has problems, in order of place, that can
 * be shown; what is accepted has a name, a digest and a size, and its
 * packages are no options of apt.
 */
#define _GNU_SOURCE
#include "images/image.h"

#include "lib/names.h"
#include "lib/util.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct paths fuzz_paths = { .data = "stack", .state = "/nonexistent" };

static void check_problems(const json_t *problems, const struct lab_err *err)
{
	json_int_t before = 0;
	json_t *p;
	size_t i;

	if (!json_array_size(problems) || !*err->text)
		abort();
	json_array_foreach(problems, i, p) {
		json_int_t line = json_integer_value(json_object_get(p, "line"));
		json_int_t column = json_integer_value(json_object_get(p, "column"));

		if (line < 1 || column < 1 || line << 32 < before ||
		    !json_string_length(json_object_get(p, "message")))
			abort();
		before = line << 32;
	}
}

static void check_good(const struct recipe *r)
{
	const json_t *packages = json_object_get(r->spec, "packages");
	size_t i;
	json_t *p;

	if (!name_valid(r->name) || strlen(r->digest) != 64 || !r->size || r->size > IMAGE_MAX_SIZE)
		abort();
	json_array_foreach(packages, i, p)
		if (*json_string_value(p) == '-' || strpbrk(json_string_value(p), " ,\n"))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	autofree char *text = strndup((const char *)data, len);
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *problems = NULL;
	struct recipe *recipe = NULL;
	int r;

	if (!text)
		abort();
	r = recipe_load(&fuzz_paths, text, "fuzz.yaml", NULL, &recipe, &problems, &err);
	if (r == -EINVAL)
		check_problems(problems, &err);
	else if (r < 0)
		abort();
	else
		check_good(recipe);
	recipe_free(recipe);
	return 0;
}
