/* SPDX-License-Identifier: GPL-2.0-or-later */
/* labenv.h - what programs of the host are told of a lab */
#ifndef CLI_LABENV_H
#define CLI_LABENV_H

#include "cli/cli.h"

/**
 * lab_environment() - A lab as environment variables
 * @lab:	its name; it need not exist (yet)
 * @ret:	{"LAB": "demo", "LAB_FORWARD_IDENTITY_5000": "127.0.0.1:15000"} and what
 *		its services give; new reference
 *
 * Of a name that a variable cannot have, letters become capitals and all else a '_'.
 *
 * Return: 0, or negative errno with cli->err if labd cannot be asked
 */
int lab_environment(struct cli *cli, const char *lab, json_t **ret);

#endif
