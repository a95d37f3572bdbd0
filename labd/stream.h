/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stream.h - answers that come bit by bit
 *
 * A stream is read by the event loop. When it has nothing now its connection
 * sleeps until stream_wake(), which has all sleeping streams look again.
 */
#ifndef LABD_STREAM_H
#define LABD_STREAM_H

#include "labd/model.h"
#include "lib/io.h"

#include <stdbool.h>
#include <stddef.h>

struct stream;

/** stream_events() - The event stream from number @since on */
struct stream *stream_events(struct labd *d, uint64_t since, bool follow);

/**
 * stream_console() - The recorded console from its last @tail bytes on
 * @dir:	of the instance
 */
struct stream *stream_console(struct labd *d, const char *dir, uint64_t tail, bool follow);

/**
 * stream_exec() - Run a program in a guest; its output as JSON lines
 * @guest:	reference is taken
 * @body:	of the call, reference is taken
 *
 * When the stream is freed before the program has ended, the program is killed.
 *
 * Return: 0; -EINVAL or -E2BIG for a body that makes no sense; -EBUSY if as many
 * programs run as may at once
 */
int stream_exec(struct labd *d, struct guest *guest, json_t *body, struct stream **ret,
		struct lab_err *err);

/**
 * struct wait_target - where probes look
 * @run_dir:	of the lab, for its keeper
 * @addr:	of the instance, "" if it has none
 * @console_log, @console_from: the recorded console, and from where on
 */
struct wait_target {
	char run_dir[IO_PATH], console_log[IO_PATH];
	char addr[16];
	off_t console_from;
};

/**
 * stream_wait() - Wait until probes succeed; what is waited for as JSON lines
 * @guest:	reference is taken
 * @probes:	as probe_list() gives them, reference is taken
 * @target:	copied
 *
 * When the stream is freed before its end, nothing is waited for any more.
 *
 * Return: 0, or -EBUSY as of stream_exec()
 */
int stream_wait(struct labd *d, struct guest *guest, json_t *probes,
		const struct wait_target *target, struct stream **ret, struct lab_err *err);

/** stream_type() - Its content type */
const char *stream_type(const struct stream *s);

/**
 * stream_read() - Next bytes, in the event loop
 * Return: how many; 0: nothing now; -1: it has ended
 */
ssize_t stream_read(struct stream *s, char *buf, size_t max);

/** stream_free() - In the event loop; takes NULL */
void stream_free(struct stream *s);

#endif
