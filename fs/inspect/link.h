/* SPDX-License-Identifier: GPL-2.0-or-later */
/* link.h - targets of symbolic links in a guest, so that they stay in the guest */
#ifndef FS_INSPECT_LINK_H
#define FS_INSPECT_LINK_H

#include "fs/inspect/protocol.h"

/**
 * link_show() - A target as it is to be shown
 * @target:	as the guest has it
 * @depth:	how far below the root the directory with the link is
 *
 * Return: 0, -ENAMETOOLONG
 */
int link_show(const char *target, uint32_t depth, char ret[INSPECT_TARGET]);

#endif
