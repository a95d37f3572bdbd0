/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ready_impl.h - what the kinds of readiness probes share; for labd/ready*.c */
#ifndef LABD_READY_IMPL_H
#define LABD_READY_IMPL_H

#include "labd/ready.h"

#include <regex.h>

/**
 * struct ready_try - one probe while it is waited for
 * @ready, @probe: whom and what
 * @begin, @deadline: of the wait, num_now_us() time
 * @last:	what the last try said, for people
 */
struct ready_try {
	const struct ready *ready;
	const json_t *probe;
	uint64_t begin, deadline;
	char last[300];
};

/**
 * ready_wait_fd() - Wait for a descriptor, while waiting makes sense
 * @fd:		-1: only wait
 *
 * Return: 1 if it is ready, 0 at @until; -ETIMEDOUT at the probe's deadline,
 * -ECANCELED, -ECHILD
 */
int ready_wait_fd(const struct ready_try *t, int fd, short events, uint64_t until);

/*
 * One try. Return 1 if the probe succeeded, 0 if not (t->last says why), or
 * what ended the wait as ready_wait_fd().
 */
int ready_try_tcp(struct ready_try *t, uint16_t port);
int ready_try_http(struct ready_try *t, const char *text);

/* Wait for a line that matches @text until it comes or the wait ends */
int ready_wait_console(struct ready_try *t, const char *text);

/**
 * struct ready_url - a URL taken apart
 * @host:	as written, "" if left out
 * @path:	"/v3/"; points into the URL
 */
struct ready_url {
	char host[256];
	uint16_t port;
	const char *path;
};

/** ready_url_parse() - Take "http://[HOST][:PORT][/PATH]" apart; 0 or -EINVAL */
int ready_url_parse(const char *url, struct ready_url *ret);

#endif
