/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qmp.h - QEMU's monitor, spoken to a peer that may have been taken over
 *
 * An instance has two monitors: one for commands, used by jobs, which block
 * with a deadline; one for events, read by the event loop.
 */
#ifndef LABD_QMP_H
#define LABD_QMP_H

#include "lib/err.h"

#include <jansson.h>
#include <stdint.h>

#define QMP_MAX_LINE (1 << 20) /* query-qmp-schema is the longest honest reply */

struct qmp;

/**
 * qmp_open() - Connect, read the greeting, negotiate
 * @path:	unix socket
 * @deadline:	num_now_us() time for all of it
 *
 * Return: 0, -ECONNREFUSED, -ETIMEDOUT, -EPROTO or negative errno
 */
int qmp_open(const char *path, uint64_t deadline, struct qmp **ret, struct lab_err *err);

/** qmp_close() - Close and free; takes NULL, returns NULL */
struct qmp *qmp_close(struct qmp *q);

/**
 * qmp_call() - Run one command
 * @args:	arguments; the reference is taken; may be NULL
 * @deadline:	num_now_us() time
 * @ret:	the "return" value, new reference; may be NULL
 *
 * One call at a time a connection (locked inside). After -ETIMEDOUT or
 * -EPROTO the connection is of no use any more and every call fails at once.
 *
 * Return: 0; -EIO if QEMU refused, with its words; -ETIMEDOUT, -EPROTO,
 * -ECONNRESET if it went away
 */
int qmp_call(struct qmp *q, const char *command, json_t *args, uint64_t deadline, json_t **ret,
	     struct lab_err *err);

/** qmp_fd() - For the event loop; readable when qmp_event() may have one */
int qmp_fd(const struct qmp *q);

/**
 * qmp_event() - The next event, without waiting
 * Return: 1 with a new reference, 0 at the end of the connection, -EAGAIN
 * if there is none now, -EPROTO for nonsense
 */
int qmp_event(struct qmp *q, json_t **ret);

#endif
