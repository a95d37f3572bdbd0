// SPDX-License-Identifier: GPL-2.0-or-later
/* client.c - what starting a labinspect needs: the files of a disk, a process */
#define _GNU_SOURCE
#include "fs/inspect/client.h"

#include "fs/inspect/protocol.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The last part of the name is in a directory that the guest's QEMU may write to: it
 * may be anything by now.
 */
int inspect_open_file(const json_t *file, struct lab_err *err)
{
	const char *path = json_string_value(json_object_get(file, "path"));
	const char *format = json_string_value(json_object_get(file, "format"));
	autoclose int fd = -EBADF;
	struct stat st;

	if (!path || !format || strcmp(format, "qcow2") != 0)
		return lab_fail(err, -EPROTO, "labd names a file that is not understood");
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return lab_fail(err, -EUCLEAN, "%s is no regular file", path);
	return steal_fd(&fd);
}

int inspect_send_files(int sock, const int *fds, size_t n)
{
	for (size_t at = 0; at < n; at += INSPECT_BATCH) {
		const struct inspect_files head = { .total = (uint32_t)n };
		int r = io_send_fds(sock, &head, sizeof(head), fds + at,
				    MIN(n - at, (size_t)INSPECT_BATCH));

		if (r < 0)
			return r;
	}
	return 0;
}

int inspect_spawn(const char *path, const char *mode, int sock, pid_t *ret, struct lab_err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	char name[] = "labinspect", word[16];
	char *const argv[] = { name, mode ? word : NULL, NULL }, *const env[] = { NULL };
	sigset_t none, all;
	int r;

	snprintf(word, sizeof(word), "%s", mode ? mode : "");
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, sock, 0);
	r = posix_spawn(ret, path, &actions, &attr, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return r ? lab_fail_errno(err, -r, "%s", path) : 0;
}
