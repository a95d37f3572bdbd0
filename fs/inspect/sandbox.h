/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sandbox.h - what labinspect may still do once it has its descriptors */
#ifndef FS_INSPECT_SANDBOX_H
#define FS_INSPECT_SANDBOX_H

#include "lib/err.h"

#define SANDBOX_MEMORY (1ULL << 30)

/**
 * inspect_sandbox() - Give everything away that reading and answering does not need
 *
 * Limits: memory, no file grows, no process, no further descriptor. Root becomes
 * nobody. The filter knows the calls that are left; no one of them makes or opens anything:
 * no socket, no file, no process.
 */
int inspect_sandbox(struct lab_err *err);

#endif
