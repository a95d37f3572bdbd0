// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qemu.c - one QEMU guest: its start, its adoption and its end
 *
 * DOC: Theory of Operation
 *
 * A QEMU is known by three things together: its pid, its start time and the
 * digest of its command line. The first two name one process for ever, the third
 * tells that it is the machine we meant. They are what labd stores, and a later
 * labd finds it again by them, needing no relation to it: the keeper started it.
 *
 * A pidfd stands for it from then on, so no signal can hit another process that
 * got the pid. It is not our child: how it ended is asked of the keeper.
 *
 * A start succeeds when the monitor has answered. Until then the guest has not
 * run an instruction (-S), and if anything fails the process is killed and
 * waited for: a failed start leaves nothing.
 */
#define _GNU_SOURCE
#include "labd/qemu.h"

#include "labd/ram.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MAX_CMDLINE (1 << 20)
#define START_KILL_TIME 3000000 /* us */

/* ---- processes ------------------------------------------------------------ */

/**
 * struct proc_stat - what /proc/PID/stat says
 * @state:	'R', 'S', 'Z', ...
 * @cpu:	clock ticks in user and system mode
 * @start:	clock ticks since the boot of the host
 */
struct proc_stat {
	char state;
	uint64_t cpu, start;
};

static int read_proc(pid_t pid, const char *file, size_t max, char **ret, size_t *ret_len)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return io_read_file(AT_FDCWD, path, max, ret, ret_len);
}

static int read_stat(pid_t pid, struct proc_stat *ret)
{
	autofree char *text = NULL;
	uint64_t user, sys;
	const char *rest;
	int r = read_proc(pid, "stat", 4096, &text, NULL);

	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	rest = strrchr(text, ')'); /* the name in parentheses may hold anything */
	if (!rest || sscanf(rest,
			    ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
			    " %*d %*d %*d %*d %*d %*d %" SCNu64,
			    &ret->state, &user, &sys, &ret->start) != 4)
		return -EPROTO;
	ret->cpu = user + sys;
	return 0;
}

int qemu_usage(pid_t pid, uint64_t *ret_rss, double *ret_cpu)
{
	autofree char *text = NULL;
	struct proc_stat stat;
	uint64_t pages;
	int r = read_stat(pid, &stat);

	if (!r)
		r = read_proc(pid, "statm", 256, &text, NULL);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	if (sscanf(text, "%*u %" SCNu64, &pages) != 1)
		return -EPROTO;
	*ret_rss = pages * (uint64_t)sysconf(_SC_PAGESIZE);
	*ret_cpu = (double)stat.cpu / (double)sysconf(_SC_CLK_TCK);
	return 0;
}

/* What /proc/PID/cmdline shows of @argv: each word with its NUL */
static int argv_digest(char *const *argv, char digest[DIGEST_HEX])
{
	autofree char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	bool ok;

	if (!f)
		return -ENOMEM;
	for (size_t i = 0; argv[i]; i++)
		fwrite(argv[i], 1, strlen(argv[i]) + 1, f);
	ok = !ferror(f);
	if (fclose(f) || !ok)
		return -ENOMEM;
	digest_hex(digest, text, len);
	return 0;
}

/* Whether the process is the one that was stored */
static bool same_process(pid_t pid, uint64_t start_time, const char *digest)
{
	autofree char *text = NULL;
	char found[DIGEST_HEX];
	struct proc_stat stat;
	size_t len;

	if (read_stat(pid, &stat) < 0 || stat.start != start_time || stat.state == 'Z' ||
	    stat.state == 'X')
		return false;
	if (read_proc(pid, "cmdline", MAX_CMDLINE, &text, &len) < 0)
		return false;
	return !strcmp(digest_hex(found, text, len), digest);
}

/* Wait until the process has ended; 0 or -ETIMEDOUT */
static int wait_end(int pidfd, uint64_t deadline)
{
	for (;;) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };
		uint64_t now = num_now_us(), left = deadline > now ? deadline - now : 0;

		if (poll(&p, 1, (int)((MIN(left, (uint64_t)60000000) + 999) / 1000)) > 0)
			return 0;
		if (!left)
			return -ETIMEDOUT;
	}
}

int qemu_kill(const struct qemu_proc *p, uint64_t deadline, struct lab_err *err)
{
	if (pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return lab_fail_errno(err, -errno, "killing QEMU (pid %d)", p->pid);
	if (wait_end(p->pidfd, deadline) < 0)
		return lab_fail(err, -ETIMEDOUT,
				"QEMU (pid %d) was killed, but the kernel has not ended it yet",
				p->pid);
	return 0;
}

/* ---- starting -------------------------------------------------------------- */

/* Wait until something new is in the run directory, or QEMU has ended, or a moment passed */
static int wait_socket(int inotify, int pidfd, uint64_t deadline)
{
	struct pollfd p[2] = { { .fd = inotify, .events = POLLIN },
			       { .fd = pidfd, .events = POLLIN } };
	uint64_t now = num_now_us();
	char buf[4096];

	if (now >= deadline)
		return -ETIMEDOUT;
	/* between bind() and listen() nothing tells: hence the moment */
	(void)poll(p, 2, (int)MIN((deadline - now + 999) / 1000, 20U));
	if (p[1].revents)
		return -ECHILD;
	while (read(inotify, buf, sizeof(buf)) > 0)
		;
	return 0;
}

/* Connect to the monitor as soon as it is there */
static int wait_monitor(const struct qemu_config *c, const struct qemu_proc *p, uint64_t deadline,
			struct qmp **ret, struct lab_err *err)
{
	autoclose int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[IO_PATH];

	if (inotify < 0 || inotify_add_watch(inotify, c->run_dir, IN_CREATE | IN_MOVED_TO) < 0)
		return lab_fail_errno(err, -errno, "watching %s", c->run_dir);
	io_path(path, "%s/qmp", c->run_dir);
	for (;;) {
		int r = qmp_open(path, deadline, ret, err);

		if (r != -ENOENT && r != -ECONNREFUSED)
			return r;
		r = wait_socket(inotify, p->pidfd, deadline);
		if (r == -ETIMEDOUT)
			return lab_fail(err, r, "QEMU's monitor did not appear in time");
		if (r < 0)
			return lab_fail(err, r, "QEMU ended at once");
	}
}

/* labram.so is given as a descriptor: its file need not be visible in the lab */
static int spawn(struct keeper *k, const struct qemu_config *c, char *const *argv,
		 struct qemu_proc *ret, struct lab_err *err)
{
	autoclose int preload = open(c->preload, O_RDONLY | O_CLOEXEC);
	char ram[IO_PATH + 16], control[IO_PATH + 32];
	const char *const env[] = { "LD_PRELOAD=/proc/self/fd/3", ram, control, NULL };
	const char *taps[LAB_MAX_NICS];
	struct keeper_spawn spawn = {
		.argv = (const char *const *)argv,
		.env = env,
		.fds = &preload,
		.nfds = 1,
		.nics = taps,
		.nnics = c->nnics,
		.log = c->log,
		.unprivileged = true,
	};

	if (preload < 0)
		return lab_fail_errno(err, -errno, "%s", c->preload);
	snprintf(ram, sizeof(ram), "LAB_RAM=%s", c->ram ? c->ram : QEMU_NO_RAM);
	snprintf(control, sizeof(control), "LAB_RAM_SOCKET=%s/ram", c->run_dir);
	for (size_t i = 0; i < c->nnics; i++)
		taps[i] = c->nics[i].ifname;
	return keeper_spawn(k, &spawn, &ret->pid, &ret->pidfd, err);
}

static off_t file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_size;
}

/* How it ended, as a clause: ", exit status 1" */
static const char *how_ended(struct keeper *k, pid_t pid, char *buf, size_t len)
{
	int status;

	buf[0] = '\0';
	if (keeper_exit_status(k, pid, &status, NULL) != 1)
		return buf;
	if (WIFSIGNALED(status))
		snprintf(buf, len, ", by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(buf, len, ", exit status %d", WEXITSTATUS(status));
	return buf;
}

/* End what was started, and tell why: our words, and QEMU's own last ones */
static int start_failed(struct keeper *k, const struct qemu_config *c, struct qemu_proc *p,
			off_t log_from, int code, struct lab_err *err)
{
	char text[LAB_ERR_TEXT], tail[1200], how[64] = "";
	struct pollfd ended = { .fd = p->pidfd, .events = POLLIN };

	/* A monitor that closes is a QEMU that ends: let it say how */
	if ((code == -ECHILD || code == -ECONNRESET) && poll(&ended, 1, 1000) > 0)
		how_ended(k, p->pid, how, sizeof(how));
	(void)qemu_kill(p, num_now_us() + START_KILL_TIME, NULL);
	close(steal_fd(&p->pidfd));
	if (!err)
		return code;
	snprintf(text, sizeof(text), "%s", err->text);
	text_tail(c->log, log_from, 10, "  ", tail, sizeof(tail));
	return lab_fail(err, code, "%.600s%s%s%s", text, how, *tail ? "; its last words:\n" : "",
			tail);
}

/* The linker only warns of a library that it cannot load */
static int check_preloaded(const struct qemu_config *c, const struct qemu_proc *p,
			   struct lab_err *err)
{
	struct ram ram;
	int r = ram_open(p->pid, p->pidfd, c->memory, &ram, err);

	if (r < 0)
		return r == -ENODATA
			       ? lab_fail(err, r, "QEMU runs without %s, which could not be loaded",
					  c->preload)
			       : r;
	ram_close(&ram);
	return 0;
}

int qemu_start(struct keeper *k, const struct qemu_config *config, uint64_t deadline,
	       struct qemu_proc *ret, struct qmp **ret_qmp, struct lab_err *err)
{
	struct qemu_proc p = { .pidfd = -EBADF };
	off_t log_from = file_size(config->log);
	struct proc_stat stat;
	char **argv;
	int r = qemu_argv(config, &argv, err);

	if (r < 0)
		return r;
	r = argv_digest(argv, p.digest);
	r = r < 0 ? lab_fail_errno(err, r, "QEMU's command line") : spawn(k, config, argv, &p, err);
	qemu_argv_free(argv);
	if (r < 0)
		return r;
	r = read_stat(p.pid, &stat);
	if (r < 0)
		lab_fail(err, -ECHILD, "QEMU ended at once");
	else
		r = wait_monitor(config, &p, deadline, ret_qmp, err);
	if (!r) {
		r = check_preloaded(config, &p, err);
		if (r < 0)
			*ret_qmp = qmp_close(*ret_qmp);
	}
	if (r < 0)
		return start_failed(k, config, &p, log_from, r == -ESRCH ? -ECHILD : r, err);
	p.start_time = stat.start;
	*ret = p;
	return 0;
}

int qemu_adopt(pid_t pid, uint64_t start_time, const char *digest, const char *run_dir,
	       uint64_t deadline, struct qemu_proc *ret, struct qmp **ret_qmp, struct lab_err *err)
{
	autoclose int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	struct qmp *q = NULL;
	char path[IO_PATH];
	int r;

	/* the pidfd first: it stays with the process that is looked at next */
	if (pidfd < 0 || !same_process(pid, start_time, digest))
		return lab_fail(err, -ESRCH, "QEMU (pid %d) is gone", pid);
	io_path(path, "%s/qmp", run_dir);
	r = qmp_open(path, deadline, &q, err);
	if (r < 0 && wait_end(pidfd, 0) == 0)
		return lab_fail(err, -ESRCH, "QEMU (pid %d) is gone", pid);
	*ret = (struct qemu_proc){ .pid = pid,
				   .start_time = start_time,
				   .pidfd = steal_fd(&pidfd) };
	snprintf(ret->digest, sizeof(ret->digest), "%s", digest);
	*ret_qmp = q;
	return r;
}

bool qemu_has_open(pid_t pid, const char *path)
{
	char dir[64];
	struct stat want, st;
	autodir DIR *fds = NULL;
	struct dirent *de;

	snprintf(dir, sizeof(dir), "/proc/%d/fd", pid);
	fds = opendir(dir);
	if (!fds || stat(path, &want) < 0)
		return false;
	while ((de = readdir(fds)))
		if (!fstatat(dirfd(fds), de->d_name, &st, 0) && st.st_dev == want.st_dev &&
		    st.st_ino == want.st_ino)
			return true;
	return false;
}

/* ---- monitor commands ------------------------------------------------------ */

int qemu_cont(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	return qmp_call(q, "cont", NULL, deadline, NULL, err);
}

int qemu_pause(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	return qmp_call(q, "stop", NULL, deadline, NULL, err);
}

int qemu_reboot(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	return qmp_call(q, "system_reset", NULL, deadline, NULL, err);
}

int qemu_nmi(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	return qmp_call(q, "inject-nmi", NULL, deadline, NULL, err);
}

int qemu_powerdown(struct qmp *q, uint64_t deadline, struct lab_err *err)
{
	return qmp_call(q, "system_powerdown", NULL, deadline, NULL, err);
}

int qemu_registers(struct qmp *q, uint64_t deadline, char **ret, struct lab_err *err)
{
	autojson json_t *text = NULL;
	/* QMP has no command of its own for this */
	int r = qmp_call(q, "human-monitor-command",
			 json_pack("{s:s}", "command-line", "info registers -a"), deadline, &text,
			 err);

	if (r < 0)
		return r;
	*ret = strdup(json_string_value(text) ?: "");
	return *ret ? 0 : lab_fail(err, -ENOMEM, "out of memory");
}
