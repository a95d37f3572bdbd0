/* SPDX-License-Identifier: GPL-2.0-or-later */
/* servicelog.h - the log that a service keeps in its guest */
#ifndef LABD_SERVICELOG_H
#define LABD_SERVICELOG_H

#include "lib/err.h"

#include <jansson.h>
#include <stdbool.h>

/**
 * struct servicelog - how much of it
 * @lines:	how many of the last lines; NULL: all
 * @mark:	put between what is there and what comes; NULL: nothing
 * @follow:	go on with what comes
 */
struct servicelog {
	const char *lines, *mark;
	bool follow;
};

/**
 * servicelog_body() - The program that reads a service's log in its guest
 * @service:	of service_load()
 * @ret:	as the body of an exec call; new reference
 *
 * Return: 0, -ENODATA if the service has none, -EINVAL, -ENOMEM
 */
int servicelog_body(const json_t *service, const struct servicelog *how, json_t **ret,
		    struct lab_err *err);

#endif
