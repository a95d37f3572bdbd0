/* SPDX-License-Identifier: GPL-2.0-or-later */
/* jobj.h - what is asked of JSON objects and lists again and again */
#ifndef LIB_JOBJ_H
#define LIB_JOBJ_H

#include <jansson.h>
#include <stdbool.h>

/** jobj_text() - A string of an object, "" if it is not there; borrowed */
const char *jobj_text(const json_t *object, const char *key);

/** jlist_has() - Whether a list of strings has this one */
bool jlist_has(const json_t *list, const char *text);

#endif
