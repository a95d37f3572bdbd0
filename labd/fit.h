/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fit.h - whether a lab fits into what memory and disk are free */
#ifndef LABD_FIT_H
#define LABD_FIT_H

#include "labd/model.h"

/**
 * fit_check() - Compare what a lab would take with what is there
 * @lab:	name of the lab; what it has already does not count
 * @ret:	{"memory_needed", "memory_free", "disk_needed", "disk_free", "ok",
 *		"message"}; new reference
 */
int fit_check(struct labd *d, const char *lab, const json_t *spec, json_t **ret,
	      struct lab_err *err);

/** fit_memory_free() - Bytes the kernel could give to programs; fit_disk_free() likewise */
uint64_t fit_memory_free(uint64_t *ret_total);
uint64_t fit_disk_free(const char *dir);

#endif
