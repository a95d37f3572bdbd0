// SPDX-License-Identifier: GPL-2.0-or-later
/* paths.c - where things are */
#define _GNU_SOURCE
#include "lib/paths.h"

#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>

#ifndef LAB_DATADIR
#define LAB_DATADIR "/usr/local/share/labd"
#endif
#ifndef LAB_LIBEXECDIR
#define LAB_LIBEXECDIR "/usr/local/libexec/labd"
#endif

static int put(char *buf, size_t size, const char *what, struct lab_err *err, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static int put(char *buf, size_t size, const char *what, struct lab_err *err, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= size)
		return lab_fail(
			err, -ENAMETOOLONG,
			"the %s directory's path is longer than %zu bytes: set %s to a shorter one",
			what, size - 1, what);
	if (buf[0] != '/')
		return lab_fail(err, -EINVAL, "the %s directory '%s' is not an absolute path", what,
				buf);
	return 0;
}

/* The directory the running program is in */
static int own_dir(char *buf, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", buf, size - 1);
	char *slash;

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	if (slash)
		*slash = '\0';
	return 0;
}

static int find_state_and_run(struct paths *p, struct lab_err *err)
{
	const char *state = getenv("LABD_STATE"), *run = getenv("LABD_RUN");
	const char *xdg_state = getenv("XDG_STATE_HOME");
	const char *xdg_run = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
	int r;

	if (state)
		r = put(p->state, sizeof(p->state), "LABD_STATE", err, "%s", state);
	else if (!geteuid())
		r = put(p->state, sizeof(p->state), "state", err, "/var/lib/labd");
	else if (xdg_state)
		r = put(p->state, sizeof(p->state), "XDG_STATE_HOME", err, "%s/labd", xdg_state);
	else
		r = put(p->state, sizeof(p->state), "HOME", err, "%s/.local/state/labd",
			home ? home : "");
	if (r < 0)
		return r;
	if (run)
		return put(p->run, sizeof(p->run), "LABD_RUN", err, "%s", run);
	if (!geteuid())
		return put(p->run, sizeof(p->run), "run", err, "/run/labd");
	if (xdg_run)
		return put(p->run, sizeof(p->run), "XDG_RUNTIME_DIR", err, "%s/labd", xdg_run);
	return put(p->run, sizeof(p->run), "LABD_RUN", err, "/tmp/labd-%u", geteuid());
}

static int find_installed(struct paths *p, struct lab_err *err)
{
	const char *data = getenv("LABD_DATA"), *exec = getenv("LABD_EXEC");
	char self[256] = "", probe[512];
	struct stat st;
	bool built;
	int r;

	(void)own_dir(self, sizeof(self));
	snprintf(probe, sizeof(probe), "%s/labkeeper", self);
	built = !stat(probe, &st);
	if (exec || built)
		r = put(p->exec, sizeof(p->exec), "LABD_EXEC", err, "%s", exec ? exec : self);
	else
		r = put(p->exec, sizeof(p->exec), "LABD_EXEC", err, "%s", LAB_LIBEXECDIR);
	if (r < 0)
		return r;
	if (data)
		return put(p->data, sizeof(p->data), "LABD_DATA", err, "%s", data);
	snprintf(probe, sizeof(probe), "%s/../stack", self);
	if (built && !stat(probe, &st))
		return put(p->data, sizeof(p->data), "LABD_DATA", err, "%s/../stack", self);
	return put(p->data, sizeof(p->data), "LABD_DATA", err, "%s", LAB_DATADIR);
}

int paths_find(struct paths *ret, struct lab_err *err)
{
	struct paths p = { 0 };
	int r = find_state_and_run(&p, err);

	if (r < 0)
		return r;
	r = put(p.socket, sizeof(p.socket), "LABD_RUN", err, "%s/labd.sock", p.run);
	if (r < 0)
		return r;
	r = find_installed(&p, err);
	if (r < 0)
		return r;
	*ret = p;
	return 0;
}
