/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * paths.h - where things are
 *
 *	state	$LABD_STATE, else /var/lib/labd (root) or $XDG_STATE_HOME/labd
 *	run	$LABD_RUN, else /run/labd (root) or $XDG_RUNTIME_DIR/labd
 *	socket	run/labd.sock, mode 0600
 *	data	$LABD_DATA, else PREFIX/share/labd, else stack/ beside build/:
 *		images/NAME.yaml labs/NAME.yaml services/NAME/
 *	exec	$LABD_EXEC, else PREFIX/libexec/labd, else the directory the
 *		program itself is in: labkeeper, labbuild, labinspect
 *
 * A program run from the build tree finds data and helpers in that tree.
 */
#ifndef LIB_PATHS_H
#define LIB_PATHS_H

#include "lib/err.h"

/**
 * struct paths - all of them, absolute
 */
struct paths {
	char state[256];
	char run[64];
	char socket[96];
	char data[256];
	char exec[256];
};

/**
 * paths_find() - Work out all paths from the environment; creates nothing
 *
 * Return: 0, or -EINVAL / -ENAMETOOLONG with the variable to change named
 */
int paths_find(struct paths *ret, struct lab_err *err);

#endif
