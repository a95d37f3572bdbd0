/* SPDX-License-Identifier: GPL-2.0-or-later */
/* follow.h - waiting for jobs, not always to their end */
#ifndef CLI_FOLLOW_H
#define CLI_FOLLOW_H

#include "cli/cli.h"

/**
 * follow_until() - cli_follow() that ends earlier
 * @enough:	whether a job has come far enough; may be NULL
 */
int follow_until(struct cli *cli, const uint64_t *ids, size_t n, bool (*enough)(const json_t *job));

#endif
