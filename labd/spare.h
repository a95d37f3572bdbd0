/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spare.h - a second QEMU of each running instance, which stands still in the golden's state
 *
 * DOC: Theory of Operation
 *
 * Most of a reset is starting QEMUs and loading devices. So this is done before anybody asks:
 * when a lab was left alone for a second, each of its instances that runs gets a spare. It is
 * a QEMU that has loaded the lab's golden, with disks (LAYER_SPARE) and taps of its own, in a
 * run directory of its own. What it costs is some 30 MiB of memory, for all of the guest's
 * are the golden's; none is made while less than a quarter of the host's is available.
 *
 * A restore to the golden takes it: its disks become the prepared ones, its taps the nics, its
 * directory the instance's, and it need only go on. Where there is none, or it does not
 * answer, or fits no more, a new QEMU is started (load.h).
 *
 * A spare is of an instance that runs, and ends with it; with another golden; and with labd,
 * which is the only one that knows what to do with it. The store's table `spares` names
 * those that a killed labd has left to the next one.
 *
 * Spares are made without a claim, so that nobody is told that a lab is busy for their sake.
 * Instead who claims a lab, or a part of it, waits by spares_wait() for the one that is being
 * made at that moment, which is given up at its next step.
 */
#ifndef LABD_SPARE_H
#define LABD_SPARE_H

#include "labd/boot.h"

/**
 * struct spare - one
 * @snapshot:	the golden whose state it is in
 * @digest:	of the machine (boot_machine())
 * @taken:	a restore has taken it: it does not end with the instance that runs still
 */
struct spare {
	struct machine machine;
	int64_t snapshot;
	char digest[DIGEST_HEX];
	bool taken;
};

/** spares_open() - Have some made from now on, unless d->no_spares */
int spares_open(struct labd *d, struct lab_err *err);
/** spares_close() - End all; nobody makes any more */
void spares_close(struct labd *d);

/** spares_look() - See whether some are to be made soon; in the event loop, with the lock */
void spares_look(struct labd *d);

/** spares_wait() - Until none is made of what @job has claimed; the lock is held, but for a while
 */
void spares_wait(struct labd *d, int64_t job);

/** spare_fits() - Whether a restore to @snapshot can take the instance's spare, as far as one knows
 */
bool spare_fits(struct labd *d, struct instance *in, int64_t snapshot);

/** spare_take() - Take it: its files are the prepared ones (disks_thaw()), its taps the next nics
 */
int spare_take(struct labd *d, struct instance *in, struct lab_err *err);
bool spare_taken(const struct instance *in);

/**
 * spare_use() - The one that was taken is the QEMU of the instance, which has none, from now on
 * Return: 0; -ESRCH: it was not there any more, and another is to be started (@err is not
 * set); or why it failed, and something may be left for boot_failed()
 */
int spare_use(struct labd *d, struct instance *in, struct lab_err *err);

/** spare_end_taken() - End one that was taken and not used */
void spare_end_taken(struct labd *d, struct instance *in);

/** spare_drop() - End an instance's, unless it was taken */
void spare_drop(struct labd *d, struct instance *in);
/** spares_drop() - The same of @n in a lab, faster than one after the other */
void spares_drop(struct labd *d, struct lab *lab, struct instance *const *ins, size_t n);

/** spare_recover() - End the one that an earlier labd has left */
void spare_recover(struct labd *d, struct instance *in);

#endif
