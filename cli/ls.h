/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ls.h - lists that other subcommands print too */
#ifndef CLI_LS_H
#define CLI_LS_H

#include "cli/cli.h"

/** ls_images() - As "labctl ls images"; exit code */
int ls_images(struct cli *cli);

/** ls_snapshots() - As "labctl ls snapshots", of one lab or for NULL of all; exit code */
int ls_snapshots(struct cli *cli, const char *lab);

#endif
