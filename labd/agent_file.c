// SPDX-License-Identifier: GPL-2.0-or-later
/* agent_file.c - files in a guest, piece by piece, by its agent */
#define _GNU_SOURCE
#include "labd/agent_file.h"

#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define CLOSE_TIME 5000000 /* us more than the caller gave: an open file must not stay */

static int nonsense(struct lab_err *err, const char *command)
{
	return lab_fail(err, -EPROTO, "the guest agent's reply to %s makes no sense", command);
}

/* The agent has words only, those of strerror(3) at their end */
static int errno_of(const char *text)
{
	static const int known[] = { ENOENT, EACCES,	   EISDIR, ENOTDIR, ENOSPC, EROFS,
				     EPERM,  ENAMETOOLONG, ELOOP,  EFBIG,   EDQUOT, ENXIO };
	size_t len = strlen(text);

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		const char *words = strerrordesc_np(known[i]);
		size_t n = words ? strlen(words) : SIZE_MAX;

		if (len >= n && !strcmp(text + len - n, words))
			return -known[i];
	}
	return -EIO;
}

/* One call about @path; what the guest refuses gets the guest's errno */
static int call(struct agent *a, const char *path, const char *command, json_t *args,
		uint64_t deadline, json_t **ret, struct lab_err *err)
{
	struct lab_err local = LAB_ERR_INIT;
	int r = agent_call(a, command, args, deadline, ret, &local);

	if (r == -EIO)
		r = errno_of(local.text);
	if (r >= 0)
		return r;
	return r == local.code ? lab_fail(err, r, "%s: %s", path, local.text)
			       : lab_fail_errno(err, r, "%s", path);
}

static int close_file(struct agent *a, const char *path, json_int_t handle, uint64_t deadline,
		      struct lab_err *err)
{
	return call(a, path, "guest-file-close", json_pack("{s:I}", "handle", handle),
		    deadline + CLOSE_TIME, NULL, err);
}

static int open_at(struct agent *a, const char *path, const char *mode, uint64_t offset,
		   uint64_t deadline, json_int_t *ret_handle, struct lab_err *err)
{
	autojson json_t *reply = NULL;
	json_int_t handle;
	int r = call(a, path, "guest-file-open",
		     json_pack("{s:s, s:s}", "path", path, "mode", mode), deadline, &reply, err);

	if (r < 0)
		return r;
	if (!json_is_integer(reply))
		return nonsense(err, "guest-file-open");
	handle = json_integer_value(reply);
	if (offset)
		r = call(a, path, "guest-file-seek",
			 json_pack("{s:I, s:I, s:i}", "handle", handle, "offset",
				   (json_int_t)offset, "whence", SEEK_SET),
			 deadline, NULL, err);
	if (r < 0)
		(void)close_file(a, path, handle, deadline, NULL);
	else
		*ret_handle = handle;
	return r;
}

/* What guest-file-read has answered */
static int take_piece(const json_t *reply, size_t count, json_t **ret_data, bool *ret_end,
		      struct lab_err *err)
{
	json_t *data = json_object_get(reply, "buf-b64");
	const json_t *end = json_object_get(reply, "eof");

	if (!json_is_string(data) || !json_is_boolean(end) ||
	    json_string_length(data) > (count + 2) / 3 * 4)
		return nonsense(err, "guest-file-read");
	*ret_data = json_incref(data);
	*ret_end = json_is_true(end) || !json_string_length(data);
	return 0;
}

int agent_file_read(struct agent *a, const char *path, uint64_t offset, size_t count,
		    uint64_t deadline, json_t **ret_data, bool *ret_end, struct lab_err *err)
{
	autojson json_t *reply = NULL;
	json_int_t handle = 0;
	int r = open_at(a, path, "r", offset, deadline, &handle, err);

	if (r < 0)
		return r;
	r = call(a, path, "guest-file-read",
		 json_pack("{s:I, s:I}", "handle", handle, "count", (json_int_t)count), deadline,
		 &reply, err);
	(void)close_file(a, path, handle, deadline, NULL);
	return r < 0 ? r : take_piece(reply, count, ret_data, ret_end, err);
}

/* How many bytes a base64 text stands for */
static size_t decoded_length(const json_t *text)
{
	size_t len = json_string_length(text), pad = 0;
	const char *s = json_string_value(text);

	while (pad < 2 && pad < len && s[len - 1 - pad] == '=')
		pad++;
	return len / 4 * 3 - pad;
}

int agent_file_write(struct agent *a, const char *path, uint64_t offset, json_t *data,
		     uint64_t deadline, struct lab_err *err)
{
	size_t len = decoded_length(data);
	autojson json_t *reply = NULL;
	json_int_t handle = 0;
	int closed, r = open_at(a, path, offset ? "r+" : "w", offset, deadline, &handle, err);

	if (r < 0)
		return r;
	if (len)
		r = call(a, path, "guest-file-write",
			 json_pack("{s:I, s:O}", "handle", handle, "buf-b64", data), deadline,
			 &reply, err);
	/* the agent buffers: that the disk is full may show at the end only */
	closed = close_file(a, path, handle, deadline, r < 0 ? NULL : err);
	if (!r && len && json_integer_value(json_object_get(reply, "count")) != (json_int_t)len)
		r = lab_fail(err, -EIO, "%s: the guest wrote less than it was given", path);
	return r < 0 ? r : closed;
}
