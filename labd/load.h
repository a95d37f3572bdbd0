/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load.h - the saved state of one instance into a new QEMU
 *
 * DOC: Theory of Operation
 *
 * A new QEMU maps the whole memory at the bottom of the saved chain, gets what is
 * above it, and loads the devices. The guest stands still then.
 *
 * A QEMU that runs and maps that very file already could stay: forget the pages that its
 * guest has made its own, change disks, load the devices. That took half the time and
 * was given up. Under TCG QEMU 7.2 never lets a guest's time stamp counter go back
 * (cpu_get_ticks()): it goes on from the abandoned run, and guests saw their clock
 * jump, up to a soft lockup. And of two guests with traffic between them one in ten times
 * one knew of a datagram of the abandoned run, with new QEMUs never (lab-cut).
 */
#ifndef LABD_LOAD_H
#define LABD_LOAD_H

#include "labd/member.h"

/** load_saved() - Start a QEMU for a member that has none, with its disks and nics */
int load_saved(struct member *m);

#endif
