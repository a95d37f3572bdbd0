/* SPDX-License-Identifier: GPL-2.0-or-later */
/* show.h - JSON as lines of "key: value" */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include <jansson.h>

/**
 * show_value() - Print a value; what is inside of it gets keys with dots
 * @key:	its key; "" for the whole document
 */
void show_value(const char *key, const json_t *value);

#endif
