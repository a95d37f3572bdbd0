/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load.h - the saved state of one instance into a QEMU
 *
 * DOC: Theory of Operation
 *
 * There are two ways. A new QEMU maps the whole memory at the bottom of the saved chain,
 * gets what is above it, and loads the devices. A QEMU that runs and maps that very file
 * already can stay: it forgets the pages its guest has made its own, gets what is
 * above, new disks, and loads the devices. That is quicker, as no process, links or
 * sockets are made anew; for now it is done only with KVM and without a network (load.c
 * says why).
 *
 * In both cases the guest stands still afterwards.
 */
#ifndef LABD_LOAD_H
#define LABD_LOAD_H

#include "labd/member.h"

/** load_new() - Start a QEMU for a member that has none, with its disks and nics */
int load_new(struct member *m);

/** load_can_stay() - Whether its QEMU maps the memory it is to go back to, and answers */
bool load_can_stay(const struct member *m);

/** load_in_place() - Let a stopped member's QEMU go back; its disks have changed already */
int load_in_place(struct member *m, struct lab_err *err);

#endif
