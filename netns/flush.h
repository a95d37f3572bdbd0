/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush.h - what an abandoned run has left in the lab's network */
#ifndef NETNS_FLUSH_H
#define NETNS_FLUSH_H

#include "netns/lab.h"

#include <stddef.h>

/**
 * flush_nics() - Forget what is remembered of nics, and throw away what waits for them
 * @ifnames:	@n names; one that is given twice counts once
 *
 * Return: 0, -ENOENT a nic is not there (nothing was done then), or negative errno
 */
int flush_nics(struct lab *lab, const char *const *ifnames, size_t n, struct lab_err *err);

#endif
