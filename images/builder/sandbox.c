// SPDX-License-Identifier: GPL-2.0-or-later
/* sandbox.c - the namespaces a build runs in */
#define _GNU_SOURCE
#include "images/builder/sandbox.h"

#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SANDBOX_MIN_IDS 65536

static bool mapped;

bool sandbox_mapped(void)
{
	return mapped;
}

/**
 * struct idrange - a range of /etc/subuid or /etc/subgid
 * @first, @count:	as text, ready for newuidmap
 */
struct idrange {
	char first[24], count[24];
};

static int read_idrange(const char *file, const char *user, struct idrange *ret,
			struct lab_err *err)
{
	autofile FILE *f = fopen(file, "re");
	char line[256], uid[24];

	snprintf(uid, sizeof(uid), "%u", getuid());
	while (f && fgets(line, sizeof(line), f)) {
		char *rest = line, *name = strsep(&rest, ":"), *first = strsep(&rest, ":");
		char *count = strsep(&rest, ":\n");
		uint64_t a, n;

		if (!count || (strcmp(name, user) && strcmp(name, uid)))
			continue;
		if (num_u64(first, UINT32_MAX, &a) < 0 || num_u64(count, UINT32_MAX, &n) < 0 ||
		    n < SANDBOX_MIN_IDS)
			continue;
		snprintf(ret->first, sizeof(ret->first), "%s", first);
		snprintf(ret->count, sizeof(ret->count), "%d", SANDBOX_MIN_IDS);
		return 0;
	}
	return lab_fail(err, -EPERM,
			"%s has no range of %d ids for user %s, which building images as an "
			"ordinary user needs; as root run: usermod --add-sub%s "
			"100000-165535 %s",
			file, SANDBOX_MIN_IDS, user, strstr(file, "gid") ? "gids" : "uids", user);
}

/* One of newuidmap and newgidmap for process @pid: root is us, 1.. is the range */
static int run_idmap(const char *program, pid_t pid, unsigned int self, const struct idrange *range)
{
	char target[24], own[24];
	const char *argv[] = {
		program, target, "0", own, "1", "1", range->first, range->count, NULL
	};
	int status;
	pid_t child;

	snprintf(target, sizeof(target), "%d", pid);
	snprintf(own, sizeof(own), "%u", self);
	child = fork();
	if (!child) {
		execvp(program, (char *const *)argv);
		_exit(127);
	}
	if (child < 0 || RETRY(waitpid(child, &status, 0)) < 0)
		return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EPERM;
}

/*
 * The programs that may write the maps must run outside of the new user
 * namespace; a helper that was forked before we entered it starts them.
 */
static int enter_user(struct lab_err *err)
{
	struct passwd *pw = getpwuid(getuid());
	struct idrange uids, gids;
	int go[2], status, r;
	uid_t uid = getuid();
	gid_t gid = getgid();
	pid_t helper, self = getpid();
	char c;

	if (!pw)
		return lab_fail(err, -EPERM, "user %u has no entry in the password file", uid);
	r = read_idrange("/etc/subuid", pw->pw_name, &uids, err);
	if (!r)
		r = read_idrange("/etc/subgid", pw->pw_name, &gids, err);
	if (r < 0)
		return r;
	if (pipe2(go, O_CLOEXEC) < 0)
		return lab_fail_errno(err, -errno, "pipe");
	helper = fork();
	if (!helper) {
		close(go[1]);
		if (read(go[0], &c, 1) != 1)
			_exit(1);
		_exit(run_idmap("newuidmap", self, uid, &uids) ||
		      run_idmap("newgidmap", self, gid, &gids));
	}
	close(go[0]);
	if (helper < 0 || unshare(CLONE_NEWUSER) < 0) {
		r = -errno;
		close(go[1]);
		return lab_fail_errno(err, r, "cannot make a user namespace");
	}
	r = write(go[1], "g", 1) == 1 ? 0 : -EPIPE;
	close(go[1]);
	RETRY(waitpid(helper, &status, 0));
	if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		return lab_fail(err, -EPERM,
				"newuidmap or newgidmap failed; install package uidmap");
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 || setgroups(0, NULL) < 0)
		return lab_fail_errno(err, -errno, "cannot become root of the user namespace");
	mapped = true;
	return 0;
}

/* Die with the process that holds the other end of the pipe, even if it is dead already */
static void die_with(int alive)
{
	struct pollfd p = { alive, 0, 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (poll(&p, 1, 0) > 0 && p.revents & POLLHUP)
		_exit(125);
}

/* Mounts of our own, a /proc that shows our processes */
static int settle(struct lab_err *err)
{
	umask(022);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return lab_fail_errno(err, -errno, "cannot make mounts private");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return lab_fail_errno(err, -errno, "cannot mount /proc");
	if (sethostname("localhost", 9) < 0)
		return lab_fail_errno(err, -errno, "cannot set the host name");
	return 0;
}

__attribute__((noreturn)) static void first_process(const struct sandbox *box, int alive)
{
	struct lab_err err = LAB_ERR_INIT;
	int r;

	die_with(alive);
	r = settle(&err);
	_exit(r < 0 ? box->failed(r, &err) : box->work(box->arg));
}

/* Enter the namespaces, start process 1, pass its status on */
static int run_first(const struct sandbox *box, int alive, struct lab_err *err)
{
	int inner[2], status, r = 0;
	pid_t pid;

	if (geteuid())
		r = enter_user(err);
	if (r < 0)
		return r;
	die_with(alive); /* a change of ids forgets it */
	if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return lab_fail_errno(err, -errno, "cannot make namespaces");
	if (pipe2(inner, O_CLOEXEC) < 0)
		return lab_fail_errno(err, -errno, "pipe");
	pid = fork();
	if (!pid) {
		close(inner[1]);
		first_process(box, inner[0]);
	}
	if (pid < 0)
		return lab_fail_errno(err, -errno, "fork");
	box->started(pid);
	RETRY(waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}

/*
 * A process between: one that has unshared its pid namespace cannot fork any
 * more once process 1 is gone, and its caller may want to.
 */
int sandbox_run(const struct sandbox *box, struct lab_err *err)
{
	int alive[2], status, r;
	pid_t pid;

	if (pipe2(alive, O_CLOEXEC) < 0)
		return lab_fail_errno(err, -errno, "pipe");
	pid = fork();
	if (!pid) {
		close(alive[1]);
		die_with(alive[0]);
		r = run_first(box, alive[0], err);
		_exit(r < 0 ? box->failed(r, err) : r);
	}
	close(alive[0]);
	if (pid > 0)
		RETRY(waitpid(pid, &status, 0));
	close(alive[1]);
	if (pid < 0)
		return lab_fail_errno(err, -errno, "fork");
	return WIFEXITED(status) ? WEXITSTATUS(status)
				 : lab_fail(err, -EIO, "the build was killed");
}

void sandbox_kill_others(void)
{
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}
