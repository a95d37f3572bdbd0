/* SPDX-License-Identifier: GPL-2.0-or-later */
/* events.h - the numbered stream of what changed */
#ifndef LABD_EVENTS_H
#define LABD_EVENTS_H

#include "labd/labd.h"

#include <jansson.h>

#define EVENTS_KEPT 1024 /* about a megabyte: minutes of a busy lab */
#define EVENTS_BYTES (4 << 20) /* a job of 250 instances tells 50 KB a step */

/** events_new() - Numbers go on from @first */
struct events *events_new(uint64_t first);
struct events *events_free(struct events *ev);

/**
 * events_emit() - Something changed; labd's lock is held
 * @type:	"lab", "instance", ...
 * @action:	"add", "change", "remove" or "rename"
 * @lab:	name or ""
 * @name:	name of the object
 * @from:	old name for "rename", else NULL
 * @object:	reference is taken; NULL for none
 */
void events_emit(struct labd *d, const char *type, const char *action, const char *lab,
		 const char *name, const char *from, json_t *object);

/** events_last() - The number of the newest event; the lock is held */
uint64_t events_last(const struct events *ev);

/**
 * events_get() - The first kept event after number @since; the lock is held
 * @ret_seq:	its number
 *
 * Return: its line (valid while the lock is held); NULL if there is none yet;
 * "" for a gap: *ret_seq is the oldest kept if @since is too old, and the next
 * to come if no event has had that number (the clock was set back)
 */
const char *events_get(const struct events *ev, uint64_t since, uint64_t *ret_seq);

#endif
