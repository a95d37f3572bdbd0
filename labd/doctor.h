/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doctor.h - whether this machine has what labs need, and what to do if not */
#ifndef LABD_DOCTOR_H
#define LABD_DOCTOR_H

#include "lib/err.h"
#include "lib/paths.h"

#include <jansson.h>

/**
 * doctor_check() - Look at everything that labs depend on
 * @paths:	where labd keeps things
 * @ret:	[{"check": "kvm", "state": "ok" | "warn" | "fail", "found": "...",
 *		"fix": "..."}]; new reference. "warn": labs work, but slower or
 *		without something; "fail": they do not. "fix" is "" if ok.
 *
 * Changes nothing. Really tries where trying is cheap: runs a KVM guest, makes
 * namespaces, opens devices. Blocks for at most one second.
 *
 * Return: 0, whatever was found, or -ENOMEM
 */
int doctor_check(const struct paths *paths, json_t **ret, struct lab_err *err);

#endif
