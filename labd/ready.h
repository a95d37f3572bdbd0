/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ready.h - whether an instance is ready: real probes
 *
 * A probe is one element of the specification's "ready" list:
 *	{"tcp": 22}			somebody listens
 *	{"http": "http://:5000/v3/", "status": 200, "body": "text"}
 *					host left out: the instance's address
 *	{"exec": ["cmd", "arg"]}	exits with 0 in the guest
 *	{"agent": true}			the guest agent answers
 *	{"console": "regex"}		a line of this boot's console matches
 * each with "timeout" in seconds. They are tried in order.
 */
#ifndef LABD_READY_H
#define LABD_READY_H

#include "labd/agent.h"
#include "lib/err.h"
#include "netns/keeper.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct ready - whom to probe
 * @addr:	IPv4 address inside the lab; "" if it has none
 * @console_log: recorded console
 * @console_from: where this boot's output begins in it
 * @alive:	whether waiting still makes sense (QEMU runs); false ends the
 *		wait at once
 * @cancelled:	whether the job was asked to stop
 * @step:	told what is waited for now, for people ("tcp 3306"); may be NULL
 * @arg:	for the three
 */
struct ready {
	struct keeper *keeper;
	struct agent *agent;
	const char *addr;
	const char *console_log;
	off_t console_from;
	bool (*alive)(void *arg);
	bool (*cancelled)(void *arg);
	void (*step)(void *arg, const char *text);
	void *arg;
};

/**
 * ready_wait() - Wait until all probes have succeeded
 * @probes:	the "ready" list
 *
 * Tries again when something can have changed, at least twice a second and
 * backing off to 2 s for expensive probes (exec, http).
 *
 * Return: 0; -ETIMEDOUT with: what was waited for, how long, what the last try
 * said, and the last lines of the console; -ECANCELED; -ECHILD if the guest
 * ended
 */
int ready_wait(const struct ready *ready, const json_t *probes, struct lab_err *err);

/** ready_text() - A probe in words: "tcp 3306", "http :5000/v3/" */
const char *ready_text(const json_t *probe, char *buf, size_t len);

#endif
