/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot.h - what labctl snapshot tells; each returns an exit code */
#ifndef CLI_SNAPSHOT_H
#define CLI_SNAPSHOT_H

#include "cli/cli.h"
#include "cli/object.h"

int snapshot_show(struct cli *cli, const struct object *o);

/** snapshot_diff() - @from: NULL for the parent of @to */
int snapshot_diff(struct cli *cli, const struct object *to, const char *from);

#endif
