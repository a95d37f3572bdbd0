/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * events.h - labd's last events as a growing file of JSON lines
 *
 * At EVENTS_MAX bytes the older half goes, which readers see as a log that was
 * truncated: tail -f says so and goes on from its beginning.
 */
#ifndef FS_EVENTS_H
#define FS_EVENTS_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#define EVENTS_MAX (256 << 10)

/** events_append() - Add an event as a line; one that does not fit is left out */
void events_append(const json_t *event);

/** events_size() - Bytes there are now */
size_t events_size(void);

/** events_read() - Copy from @off on; Return: bytes, 0 at the end */
size_t events_read(off_t off, void *buf, size_t size);

#endif
