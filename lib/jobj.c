// SPDX-License-Identifier: GPL-2.0-or-later
/* jobj.c - what is asked of JSON objects and lists again and again */
#define _GNU_SOURCE
#include "lib/jobj.h"

#include <string.h>

const char *jobj_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

bool jlist_has(const json_t *list, const char *text)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		if (json_is_string(v) && !strcmp(json_string_value(v), text))
			return true;
	return false;
}
