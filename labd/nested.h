/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nested.h - guests that run guests of their own, and must not be saved
 *
 * DOC: Theory of Operation
 *
 * A guest of KVM can run guests of its own if KVM lets it use the processor's
 * virtualisation. Where that is AMD's (SVM), the kernel documents that such a guest must
 * not be saved or migrated while one of its own runs (running-nested-guests.rst,
 * "Migrating an L1 guest"):
 *
 *	once an L1 guest has started an L2 guest, the L1 guest should no longer be migrated
 *	or saved [...] until the L2 guest shuts down. Attempting to migrate or save-and-load
 *	an L1 guest while an L2 guest is running will result in undefined behavior. You
 *	might see a kernel BUG! entry in dmesg, a kernel 'oops', or an outright kernel
 *	panic. Such a migrated or loaded L1 guest can no longer be considered stable or
 *	secure, and must be restarted.
 *
 * A guest that merely could is safe. So two things are looked at:
 *
 *	exposed	KVM runs guests here, on AMD, and kvm_amd lets them nest
 *	used	on at least one of the guest's processors EFER.SVME is set. A guest's kernel
 *		sets it before its first VMRUN, without it there is none. Linux clears it
 *		when the last of its guests has ended; since 6.12 it is set as long as
 *		kvm_amd is loaded, and then what is refused may be more than need be.
 *
 * Intel's (VMX) is saved by QEMU since 4.2, and TCG gives guests neither.
 */
#ifndef LABD_NESTED_H
#define LABD_NESTED_H

#include "labd/accel.h"
#include "labd/qmp.h"

#include <stdbool.h>
#include <stdint.h>

/**
 * nested_exposed() - Whether guests of KVM get AMD's SVM
 * @cpuinfo:	/proc/cpuinfo
 * @parameter:	/sys/module/kvm_amd/parameters/nested, "1\n" or "Y\n"; NULL: it is not there
 */
bool nested_exposed(const char *cpuinfo, const char *parameter);

/**
 * nested_used() - Whether SVM is on in one of a guest's processors
 * @registers:	qemu_registers()
 *
 * Return: 1, 0, or -EPROTO if that is not said of any
 */
int nested_used(const char *registers);

/**
 * nested_ask() - Whether a guest runs guests of its own here, so that it must not be saved
 * Asks its QEMU if guests can at all here. @deadline as in qmp_call().
 *
 * Return: 1, 0, or why that is not known
 */
int nested_ask(const struct accel *accel, struct qmp *q, uint64_t deadline, struct lab_err *err);

/** NESTED_DANGER - of a guest that is saved so, for a person; a sentence goes before it */
#define NESTED_DANGER                                                                              \
	"AMD's virtualisation does not survive being saved: loaded again its kernel may crash or"  \
	" compute wrongly, and it is neither stable nor secure until it is restarted"

#endif
