/* SPDX-License-Identifier: GPL-2.0-or-later */
/* env.h - the environment for programs that use a lab */
#ifndef CLI_ENV_H
#define CLI_ENV_H

#include "cli/object.h"

/**
 * env_get() - Ask labd for it
 * @inside:	for programs that run in the lab's network (run.c)
 * @ret:	{"env": ["NAME=VALUE"], "resolver", "domain"}; new reference
 */
int env_get(struct cli *cli, const struct object *lab, bool inside, json_t **ret);

#endif
