/* SPDX-License-Identifier: GPL-2.0-or-later */
/* diff.h - what labctl diff prints */
#ifndef CLI_DIFF_H
#define CLI_DIFF_H

#include "cli/compare.h"

/**
 * diff_print() - Print a difference, as cli->json and cli->quiet say
 * @disk:	"" for the instance as a whole
 */
void diff_print(const struct cli *cli, const char *instance, const char *disk,
		const struct compare_change *change);

/** diff_where() - "db:/etc/fstab" or "db/data:p1/x", malloced; NULL without memory */
char *diff_where(const char *instance, const char *disk, const struct compare_change *change);

#endif
