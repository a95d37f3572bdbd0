/* SPDX-License-Identifier: GPL-2.0-or-later */
/* screen.h - what a guest's screen shows now */
#ifndef LABD_SCREEN_H
#define LABD_SCREEN_H

#include "labd/model.h"

/**
 * screen_shot() - The screen as a PNG picture
 * @run_dir:	of the instance: QEMU may write there, and it goes with the guest
 * @ret:	malloced
 *
 * Return: 0; -EIO if QEMU refuses, with its words; -ETIMEDOUT; -EPROTO if what it wrote is
 * no picture
 */
int screen_shot(struct guest *g, const char *run_dir, char **ret, size_t *ret_len,
		struct lab_err *err);

#endif
