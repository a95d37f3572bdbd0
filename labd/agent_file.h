/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * agent_file.h - files in a guest, piece by piece, by its agent
 *
 * Each piece opens, seeks and closes the file: it costs 2 ms of the 50 that a
 * piece takes, and a client that goes away leaves nothing open in the guest.
 */
#ifndef LABD_AGENT_FILE_H
#define LABD_AGENT_FILE_H

#include "labd/agent.h"

#define AGENT_FILE_PIECE (1 << 20) /* as base64 it must fit into one line of the agent */

/**
 * agent_file_read() - A piece of a regular file
 * @path:	in the guest; a FIFO there would stop the agent
 * @count:	at most so many bytes, up to AGENT_FILE_PIECE
 * @ret_data:	base64 as the guest wrote it, not looked into: a new reference
 * @ret_end:	nothing comes behind it
 *
 * Return: 0; -ENOENT, -EISDIR and the like as the guest says; else as agent_call()
 */
int agent_file_read(struct agent *a, const char *path, uint64_t offset, size_t count,
		    uint64_t deadline, json_t **ret_data, bool *ret_end, struct lab_err *err);

/**
 * agent_file_write() - Put a piece into a file
 * @offset:	0 makes the file, or empties it
 * @data:	base64 (string, borrowed) of at most AGENT_FILE_PIECE bytes
 *
 * Return: 0; -ENOSPC, -EROFS and the like as the guest says; else as agent_call()
 */
int agent_file_write(struct agent *a, const char *path, uint64_t offset, json_t *data,
		     uint64_t deadline, struct lab_err *err);

#endif
