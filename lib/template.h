/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * template.h - text filled from JSON: the part of mustache that configuration needs
 *
 *	{{a.b}}			a value: string, number, true or false; as it is, without escapes
 *	{{.}}			the element of the list that is gone through
 *	{{#a.b}} ... {{/a.b}}	for each element of a list; once for another value that is
 *				there and not false, empty or 0; inside, its members are names too
 *	{{^a.b}} ... {{/a.b}}	otherwise
 *	{{! words }}		nothing
 *
 * A section's tag or a comment that is alone on its line takes the line with it. Unlike in
 * mustache a value that is not there is an error, for it is a misspelt name; a section's
 * name may be missing. There is no library of it in C that Debian 12 has.
 */
#ifndef LIB_TEMPLATE_H
#define LIB_TEMPLATE_H

#include "lib/err.h"

#include <jansson.h>

/**
 * template_render() - Fill a template
 * @text:	the template
 * @name:	for messages: "NAME:LINE: ..."
 * @context:	an object
 * @ret:	malloced text
 *
 * Return: 0, -EINVAL with what is wrong and where, or -ENOMEM
 */
int template_render(const char *text, const char *name, const json_t *context, char **ret,
		    struct lab_err *err);

#endif
