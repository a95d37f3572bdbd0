/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent.h - the guest agent (qemu-ga) of an instance, which is untrusted
 */
#ifndef LABD_AGENT_H
#define LABD_AGENT_H

#include "lib/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent;

/**
 * agent_new() - An agent at a unix socket; connects when first used
 * Safe to share between threads: one call at a time, several programs at once.
 */
struct agent *agent_new(const char *path);

/**
 * agent_open() - Connect to its channel, so that it finds somebody there
 * @path:	of the socket, where it is now
 *
 * Whether that worked shows when it is used. A guest that was saved while its channel
 * was open need not hear that it was closed, and opened, if this is done before it is loaded.
 */
void agent_open(struct agent *a, const char *path);

/**
 * agent_abort() - End the calls that run with -ECANCELED or -ECONNRESET, refuse others
 * From any thread; for when labd ends and a guest does not answer.
 */
void agent_abort(struct agent *a);

/** agent_free() - Disconnect and free; takes NULL, returns NULL */
struct agent *agent_free(struct agent *a);

/**
 * agent_call() - One command of the agent
 * @args:	reference is taken; may be NULL
 * @deadline:	num_now_us() time
 * @ret:	"return", new reference; may be NULL
 *
 * Return: 0; -EIO refused by the agent; -ETIMEDOUT if it does not answer
 * (the guest is not up, or has no agent); -EPROTO for nonsense
 */
int agent_call(struct agent *a, const char *command, json_t *args, uint64_t deadline, json_t **ret,
	       struct lab_err *err);

/**
 * agent_ping() - Whether the agent answers; errors as of agent_call()
 * By the handshake that begins each connection. Its command guest-ping is logged in the guest,
 * which costs an emulated one more than all the rest.
 */
int agent_ping(struct agent *a, uint64_t deadline, struct lab_err *err);

/**
 * struct agent_exec - a program to run in the guest
 * @argv:	NULL-terminated; argv[0] is looked up in the guest's PATH
 * @env:	NULL-terminated "NAME=value", or NULL
 * @input:	bytes for standard input
 * @input_len:	how many, at most AGENT_MAX_INPUT
 * @deadline:	when to give up (the program is killed)
 * @output:	called with what it writes, as it comes; stream 1 or 2
 * @cancelled:	asked between; when true the program is killed; may be NULL
 * @arg:	for both
 */
#define AGENT_MAX_INPUT (1 << 20)
struct agent_exec {
	const char *const *argv;
	const char *const *env;
	const void *input;
	size_t input_len;
	uint64_t deadline;
	void (*output)(void *arg, int stream, const void *data, size_t len);
	bool (*cancelled)(void *arg);
	void *arg;
};

/**
 * agent_exec() - Run a program in the guest to its end
 * @ret_status:	its exit code, or 256 + signal number
 *
 * Return: 0, -ENOENT if the guest has no such program, -ETIMEDOUT,
 * -ECANCELED, -EPROTO, or negative errno
 */
int agent_exec(struct agent *a, const struct agent_exec *exec, int *ret_status,
	       struct lab_err *err);

#endif
