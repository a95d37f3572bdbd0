/* SPDX-License-Identifier: GPL-2.0-or-later */
/* compose.h - what services of the catalogue add to a recipe */
#ifndef IMAGES_COMPOSE_H
#define IMAGES_COMPOSE_H

#include "images/catalogue.h"

/**
 * compose() - Add services to a recipe that was read
 * @names:	[NAME]
 * @spec:	its packages and files become more, its script comes after theirs;
 *		"services" is set, and "composed", the digest of what makes another image
 */
int compose(const struct paths *paths, const json_t *names, json_t *spec, struct lab_err *err);

#endif
