/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load.h - the saved state of one instance into a new QEMU
 *
 * DOC: Theory of Operation
 *
 * A restore takes the instance's spare, which has loaded it already (spare.h), if there is one.
 * Else a new QEMU maps the whole memory at the bottom of the saved chain, gets what is
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

#include "labd/boot.h"
#include "labd/member.h"

/** load_saved() - A member that has no QEMU gets its spare (spare.h), or a new one that is loaded
 */
int load_saved(struct member *m);

/**
 * load_state() - Memory and devices into a QEMU that was started with the memory_file() of @dir
 * @lab:	whose it is
 */
int load_state(struct labd *d, const struct lab *lab, const struct machine *m, const char *dir,
	       struct lab_err *err);

#endif
