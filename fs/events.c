// SPDX-License-Identifier: GPL-2.0-or-later
/* events.c - labd's last events as a growing file of JSON lines */
#define _GNU_SOURCE
#include "fs/events.h"

#include "lib/util.h"

#include <string.h>

static struct {
	pthread_mutex_t lock;
	char *text;
	size_t len, room;
} events = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Drop whole lines from the front until half is free */
static void make_room_locked(void)
{
	const char *from = memchr(events.text + events.len / 2, '\n', events.len - events.len / 2);
	size_t keep = from ? events.len - (size_t)(from + 1 - events.text) : 0;

	memmove(events.text, events.text + events.len - keep, keep);
	events.len = keep;
}

void events_append(const json_t *event)
{
	autofree char *line = json_dumps(event, JSON_COMPACT | JSON_SORT_KEYS);
	size_t len = line ? strlen(line) : 0;

	if (!line || len + 1 > EVENTS_MAX / 2)
		return;
	line[len++] = '\n';
	SCOPED_LOCK(&events.lock);
	if (events.len + len > EVENTS_MAX)
		make_room_locked();
	if (events.len + len > events.room) {
		size_t room = MIN(MAX(2 * events.room, events.len + len), (size_t)EVENTS_MAX);
		char *more = realloc(events.text, room);

		if (!more)
			return;
		events.text = more;
		events.room = room;
	}
	memcpy(events.text + events.len, line, len);
	events.len += len;
}

size_t events_size(void)
{
	SCOPED_LOCK(&events.lock);

	return events.len;
}

size_t events_read(off_t off, void *buf, size_t size)
{
	SCOPED_LOCK(&events.lock);

	if (off < 0 || (size_t)off >= events.len)
		return 0;
	size = MIN(size, events.len - (size_t)off);
	memcpy(buf, events.text + off, size);
	return size;
}
