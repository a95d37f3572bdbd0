// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * spawn.c - start a program with exactly the privileges it needs
 *
 * DOC: Theory of Operation
 *
 * The child reports a step that failed, exec included, through a pipe that closes
 * itself when exec succeeds: so spawn_program() knows whether the program runs.
 *
 * Order in the child: limits and descriptors first, while it may; then
 * capabilities with the change of uid in one go (libcap-ng), no_new_privs, and
 * the parent-death signal last, because a change of uid clears it.
 *
 * As root a guest's program runs with the uid KEEPER_UID_BASE + lab, so it cannot
 * signal, trace or read what belongs to another lab or to root. Without root it
 * has uid 0 of the lab's user namespace, which is the caller's own uid outside,
 * and the empty bounding set is what keeps that 0 from meaning anything.
 */
#define _GNU_SOURCE
#include "netns/spawn.h"

#include "lib/io.h"
#include "lib/util.h"
#include "netns/keeper.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* QEMU uses a few dozen; a program that scans its descriptors stays quick */
#define SPAWN_NOFILE 4096
/* Before the desktop and labd, behind nothing: a guest can be restored */
#define SPAWN_OOM_SCORE "500"

static const char *const common_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG=C.UTF-8",
	"TMPDIR=/tmp",
};
#define N_COMMON ARRAY_SIZE(common_env)

/**
 * struct failure - what a child tells when it could not become the program
 */
struct failure {
	int code;
	char step[32];
};

/* In the child: put the descriptors at 0, 1, 2, 3, ... and close the rest at exec */
static int place_fds(const struct spawn *s)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int n = (int)s->nfds, high[SPAWN_MAX_FDS + 1];

	if (null < 0)
		return -errno;
	/* first out of the way of the numbers that are to be used */
	for (int i = 0; i < n; i++) {
		high[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, 3 + n);
		if (high[i] < 0)
			return -errno;
	}
	high[n] = fcntl(s->output, F_DUPFD_CLOEXEC, 3 + n);
	if (high[n] < 0 || dup2(null, 0) < 0 || dup2(high[n], 1) < 0 || dup2(high[n], 2) < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		if (dup2(high[i], 3 + i) < 0)
			return -errno;
	return close_range(3 + (unsigned int)n, ~0U, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

static int set_limits(void)
{
	struct rlimit none = { 0, 0 }, files;
	autoclose int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	files.rlim_cur = MIN(files.rlim_max, (rlim_t)SPAWN_NOFILE);
	if (setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	/* raising it needs no privilege; a container may hide the file */
	if (oom >= 0)
		(void)io_write_all(oom, SPAWN_OOM_SCORE, strlen(SPAWN_OOM_SCORE));
	return 0;
}

/* As root: that of all guests, and the one that owns /dev/kvm where that may use it */
static int set_groups(void)
{
	gid_t gids[2] = { KEEPER_GUESTS_GID };
	struct stat st;
	bool kvm = !stat("/dev/kvm", &st) && st.st_gid && (st.st_mode & 0060) == 0060;

	gids[1] = kvm ? st.st_gid : 0;
	return setgroups(kvm ? 2 : 1, gids) < 0 ? -errno : 0;
}

static int drop_privileges(const struct lab *lab, enum spawn_as as)
{
	const bool dns = as == SPAWN_AS_DNSMASQ;
	uid_t uid = (dns ? KEEPER_DNS_UID_BASE : KEEPER_UID_BASE) + lab->id;
	const int flags = CAPNG_CLEAR_BOUNDING | CAPNG_CLEAR_AMBIENT;
	int r;

	if (as == SPAWN_AS_KEEPER)
		return 0;
	capng_clear(CAPNG_SELECT_ALL);
	/* port 53 and 67, raw sockets bound to a link, entries in the ARP table */
	if (dns && capng_updatev(CAPNG_ADD,
				 CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE |
					 CAPNG_BOUNDING_SET | CAPNG_AMBIENT,
				 CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, -1) < 0)
		return -EINVAL;
	if (!lab->root)
		return capng_apply(CAPNG_SELECT_ALL) < 0 ? -EPERM : 0;
	r = set_groups();
	if (r < 0)
		return r;
	if (capng_change_id((int)uid, (int)uid, dns ? CAPNG_NO_FLAG : flags) < 0)
		return -EPERM;
	return capng_apply(dns ? CAPNG_SELECT_AMBIENT : CAPNG_SELECT_ALL) < 0 ? -EPERM : 0;
}

static int tie_to_parent(const struct spawn *s, pid_t parent)
{
	if (!s->dies)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

static void default_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Does not return unless it fails */
static int execute(const struct spawn *s)
{
	const char *env[N_COMMON + SPAWN_MAX_ENV + 1] = { NULL };

	memcpy(env, common_env, sizeof(common_env));
	for (size_t i = 0; s->env && s->env[i]; i++) {
		if (i == SPAWN_MAX_ENV)
			return -E2BIG;
		env[N_COMMON + i] = s->env[i];
	}
	default_signals();
	if (s->no_hup)
		signal(SIGHUP, SIG_IGN);
	execve(s->argv[0], (char *const *)s->argv, (char *const *)env);
	return -errno;
}

__attribute__((noreturn)) static void become(const struct lab *lab, const struct spawn *s,
					     int report, pid_t parent)
{
	struct failure f = { 0 };
	const char *step = "set up its descriptors";
	/* the report must survive the placing of descriptors */
	int r, out = fcntl(report, F_DUPFD_CLOEXEC, 3 + (int)s->nfds);

	setsid();
	umask(077);
	r = place_fds(s);
	if (!r) {
		step = "set its limits";
		r = set_limits();
	}
	if (!r) {
		step = "drop its privileges";
		r = drop_privileges(lab, s->as);
	}
	if (!r && s->as != SPAWN_AS_KEEPER && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (!r) {
		step = "tie it to the keeper";
		r = tie_to_parent(s, parent);
	}
	if (!r) {
		step = "execute it";
		r = execute(s);
	}
	f.code = r;
	snprintf(f.step, sizeof(f.step), "%s", step);
	(void)io_write_all(out, &f, sizeof(f));
	_exit(127);
}

int spawn_program(const struct lab *lab, const struct spawn *spawn, pid_t *ret, struct lab_err *err)
{
	autoclose int from = -EBADF, to = -EBADF;
	pid_t pid, parent = getpid();
	struct failure f;
	int p[2];

	if (spawn->nfds > SPAWN_MAX_FDS)
		return lab_fail(err, -E2BIG, "a program gets at most %d descriptors",
				SPAWN_MAX_FDS);
	if (spawn->argv[0][0] != '/')
		return lab_fail(err, -EINVAL, "%.200s: not an absolute path", spawn->argv[0]);
	if (pipe2(p, O_CLOEXEC) < 0)
		return lab_fail_errno(err, -errno, "%s: cannot start", spawn->argv[0]);
	from = p[0];
	to = p[1];
	pid = fork();
	if (pid < 0)
		return lab_fail_errno(err, -errno, "%s: cannot start", spawn->argv[0]);
	if (!pid)
		become(lab, spawn, to, parent);
	close(steal_fd(&to));
	if (RETRY(read(from, &f, sizeof(f))) == (ssize_t)sizeof(f)) {
		RETRY(waitpid(pid, NULL, 0));
		return lab_fail_errno(err, f.code, "%s: cannot %s", spawn->argv[0], f.step);
	}
	*ret = pid;
	return 0;
}

void spawn_end(pid_t pid)
{
	kill(pid, SIGKILL);
	RETRY(waitpid(pid, NULL, 0));
}
