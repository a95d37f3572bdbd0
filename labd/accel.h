/* SPDX-License-Identifier: GPL-2.0-or-later */
/* accel.h - whether KVM really runs guests here */
#ifndef LABD_ACCEL_H
#define LABD_ACCEL_H

#include <stdbool.h>

/**
 * struct accel - what instances run on
 * @kvm:	KVM ran a guest
 * @name:	"kvm" or "tcg"
 * @cpu:	CPU model to give to guests: "host" with KVM; with TCG the one
 *		that boots fastest
 * @reason:	why not KVM, and what to do; or how fast the probe was
 */
struct accel {
	bool kvm;
	const char *name;
	const char *cpu;
	char reason[256];
};

/**
 * accel_probe() - Run a few instructions of 64-bit code in a KVM guest
 *
 * In a child that is killed after 0.5 s: a /dev/kvm that opens but hangs
 * exists in the field. LABD_ACCEL=tcg or kvm in the environment overrides.
 * Blocks for at most 0.6 s.
 */
void accel_probe(struct accel *ret);

/** accel_set() - Fill in an earlier verdict instead */
void accel_set(struct accel *ret, bool kvm, const char *reason);

#endif
