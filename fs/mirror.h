/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mirror.h - the thread that keeps the model equal to labd's
 *
 * It fetches /v1/model, then follows /v1/events from there, for as long as labd
 * lives. It waits for what labd sends and for labd's socket to appear (inotify),
 * with a try now and then in case that was missed: more and more seldom.
 */
#ifndef FS_MIRROR_H
#define FS_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct mirror_status - what labfs knows of labd by itself
 * @online:	whether events are being followed
 * @stuck:	the last action was not answered in time
 * @since:	seconds since 1970 when that last changed
 * @labd_pid:	of the labd last seen, 0 for none
 * @socket:	its path
 * @why:	the last failure's words, "" without
 */
struct mirror_status {
	bool online, stuck;
	double since;
	uint64_t labd_pid;
	const char *socket;
	char why[256];
};

/**
 * mirror_start() - Start the thread
 * @socket:	labd's, borrowed for good
 * @state_dir:	where labd's state is as long as it has not said so itself
 *
 * Return: 0 or negative errno
 */
int mirror_start(const char *socket, const char *state_dir);

/** mirror_wait() - Wait until the first try to reach labd has ended, or @deadline */
void mirror_wait(uint64_t deadline);

/** mirror_answered() - An action was answered, or not in time */
void mirror_answered(bool answered);

void mirror_status(struct mirror_status *ret);

/** mirror_state_dir() - labd's state directory; @buf has 256 bytes */
const char *mirror_state_dir(char buf[256]);

#endif
