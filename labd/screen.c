// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * screen.c - what a guest's screen shows now
 *
 * QEMU writes the picture into a file whose name nobody else has. Whoever has taken QEMU
 * over may put something else there: no link is followed, no more than SCREEN_MAX is read,
 * and it has to begin as a PNG does. What it shows is the guest's business.
 */
#define _GNU_SOURCE
#include "labd/screen.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define SCREEN_US 10000000
#define SCREEN_MAX (16 << 20) /* of 4 MiB of video memory; it is compressed, too */

static const char signature[] = "\x89PNG\r\n\x1a\n";

static int read_picture(const char *path, char **ret, size_t *ret_len, struct lab_err *err)
{
	autoclose int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	autofree char *data = NULL;
	struct stat st;
	size_t len = 0;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return lab_fail_errno(err, -errno, "the picture that QEMU wrote");
	r = S_ISREG(st.st_mode) ? io_read_fd(fd, SCREEN_MAX, &data, &len) : -EPROTO;
	if (r < 0 || len < sizeof(signature) || memcmp(data, signature, sizeof(signature) - 1) != 0)
		return lab_fail(err, -EPROTO, "what QEMU wrote is no picture");
	*ret = steal_ptr(data);
	*ret_len = len;
	return 0;
}

int screen_shot(struct guest *g, const char *run_dir, char **ret, size_t *ret_len,
		struct lab_err *err)
{
	unsigned long long random = 0;
	char path[IO_PATH];
	int r;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return lab_fail(err, -EIO, "no random numbers");
	io_path(path, "%s/screen-%016llx.png", run_dir, random);
	r = qmp_call(g->qmp, "screendump",
		     json_pack("{s:s s:s}", "filename", path, "format", "png"),
		     num_now_us() + SCREEN_US, NULL, err);
	/* Not the caller's connection, which is to labd */
	if (r == -ECONNRESET || r == -EPIPE || r == -ENOTCONN || r == -ECONNREFUSED)
		r = lab_fail(err, -EBUSY, "QEMU ended meanwhile");
	if (!r)
		r = read_picture(path, ret, ret_len, err);
	(void)unlink(path);
	return r;
}
