// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events.c - the numbered stream of what changed
 *
 * A ring of serialised lines, bounded by number and by bytes, though the newest
 * is always kept. Event N is in slot N % EVENTS_KEPT. Numbers go on
 * over restarts of labd: they begin at the start's wall clock in microseconds,
 * which is larger than any number an earlier daemon can have reached.
 */
#define _GNU_SOURCE
#include "labd/events.h"

#include "labd/api.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

/**
 * struct events
 * @first:	number of the oldest kept, @last + 1 if none is
 * @last:	number of the newest
 * @bytes:	of all lines
 */
struct events {
	uint64_t first, last;
	size_t bytes;
	char *lines[EVENTS_KEPT];
};

struct events *events_new(uint64_t first)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (ev) {
		ev->first = first;
		ev->last = first - 1;
	}
	return ev;
}

struct events *events_free(struct events *ev)
{
	for (size_t i = 0; ev && i < EVENTS_KEPT; i++)
		free(ev->lines[i]);
	free(ev);
	return NULL;
}

static void drop_oldest(struct events *ev)
{
	char **slot = &ev->lines[ev->first++ % EVENTS_KEPT];

	ev->bytes -= strlen(*slot);
	free(*slot);
	*slot = NULL;
}

void events_emit(struct labd *d, const char *type, const char *action, const char *lab,
		 const char *name, const char *from, json_t *object)
{
	struct events *ev = d->events;
	uint64_t seq = ev->last + 1;
	autojson json_t *line = json_pack("{s:I s:f s:s s:s s:s s:s s:s* s:o*}", "seq",
					  (json_int_t)seq, "time", num_wall(), "type", type,
					  "action", action, "lab", lab, "name", name, "from", from,
					  "object", object);
	char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

	if (!text)
		return;
	if (seq - ev->first == EVENTS_KEPT)
		drop_oldest(ev);
	ev->lines[seq % EVENTS_KEPT] = text;
	ev->last = seq;
	ev->bytes += strlen(text);
	while (ev->bytes > EVENTS_BYTES && ev->first < ev->last)
		drop_oldest(ev);
	api_wake_followers(d);
}

uint64_t events_last(const struct events *ev)
{
	return ev->last;
}

const char *events_get(const struct events *ev, uint64_t since, uint64_t *ret_seq)
{
	if (since == ev->last)
		return NULL;
	if (since > ev->last || since + 1 < ev->first) {
		*ret_seq = since > ev->last ? ev->last + 1 : ev->first;
		return "";
	}
	*ret_seq = since + 1;
	return ev->lines[(since + 1) % EVENTS_KEPT];
}
