// SPDX-License-Identifier: GPL-2.0-or-later
/* command.c - the builder's programs: logged, watched, and quoted when they fail */
#define _GNU_SOURCE
#include "images/builder/command.h"

#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define COMMAND_LINE 4096
#define COMMAND_TAIL 1400

/**
 * struct tail - the last output, for the message of a failure
 * @text:	NUL-terminated, begins at a line
 */
struct tail {
	char text[2 * COMMAND_TAIL + COMMAND_LINE];
	size_t len;
};

static void tail_add(struct tail *t, const char *line)
{
	size_t n = strlen(line);

	memcpy(t->text + t->len, line, n);
	t->text[t->len + n] = '\n';
	t->len += n + 1;
	if (t->len > COMMAND_TAIL) {
		char *cut = memchr(t->text + t->len - COMMAND_TAIL, '\n', COMMAND_TAIL);
		size_t off = cut ? (size_t)(cut + 1 - t->text) : t->len;

		if (off == t->len) /* one line longer than the room */
			off = t->len - COMMAND_TAIL;
		memmove(t->text, t->text + off, t->len - off);
		t->len -= off;
	}
	t->text[t->len] = '\0';
}

/* A new network namespace has its loopback down */
static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &ifr) < 0)
		_exit(125);
	close(sock);
}

__attribute__((noreturn)) static void child(const struct command *cmd, int out)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	for (const char *const *e = cmd->env; e && *e; e++)
		putenv((char *)*e);
	if (cmd->alone) {
		if (unshare(CLONE_NEWNET) < 0)
			_exit(125);
		loopback_up();
	}
	if (cmd->root && (chroot(cmd->root) < 0 || chdir("/") < 0))
		_exit(125);
	execvp(cmd->argv[0], (char *const *)cmd->argv);
	dprintf(2, "%s: %s\n", cmd->argv[0], strerror(errno));
	_exit(127);
}

/**
 * struct lines - cuts a program's output into lines
 */
struct lines {
	const struct command *cmd;
	struct tail *tail;
	char buf[COMMAND_LINE];
	size_t len;
};

static void give_line(struct lines *l, size_t len, size_t skip)
{
	l->buf[len] = '\0';
	tail_add(l->tail, l->buf);
	if (l->cmd->line)
		l->cmd->line(l->cmd->arg, l->buf);
	l->len -= len + skip;
	memmove(l->buf, l->buf + len + skip, l->len);
}

/* Take what is in the pipe: 1 more may come, 0 end, -EAGAIN nothing now */
static int lines_read(struct lines *l, int fd)
{
	ssize_t n = RETRY(read(fd, l->buf + l->len, sizeof(l->buf) - 1 - l->len));
	char *nl;
	int r;

	if (n <= 0)
		return n < 0 ? -errno : 0;
	r = io_write_all(l->cmd->log, l->buf + l->len, (size_t)n);
	if (r < 0)
		return r;
	l->len += (size_t)n;
	while ((nl = memchr(l->buf, '\n', l->len)))
		give_line(l, (size_t)(nl - l->buf), 1);
	if (l->len == sizeof(l->buf) - 1)
		give_line(l, l->len, 0);
	return 1;
}

/*
 * Until the program has ended, not until its output has: a daemon it leaves
 * behind holds the pipe too. What was written before the end is taken.
 */
static int watch(const struct command *cmd, int fd, int pidfd, struct tail *tail)
{
	struct lines l = { .cmd = cmd, .tail = tail };
	struct pollfd p[2] = { { fd, POLLIN, 0 }, { pidfd, POLLIN, 0 } };
	int r = 1;

	while (!p[1].revents) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return -errno;
		while (p[0].revents && (r = lines_read(&l, fd)) > 0)
			;
		if (r == 0)
			p[0].fd = -1;
		else if (r < 0 && r != -EAGAIN)
			return r;
	}
	while (p[0].fd >= 0 && (r = lines_read(&l, fd)) > 0)
		;
	if (l.len)
		give_line(&l, l.len, 0);
	return r < 0 && r != -EAGAIN ? r : 0;
}

static int explain(const struct command *cmd, int status, struct tail *tail, struct lab_err *err)
{
	while (tail->len && tail->text[tail->len - 1] == '\n')
		tail->text[--tail->len] = '\0';
	if (WIFSIGNALED(status))
		return lab_fail(err, -EIO, "%s was ended by signal %d (%s); its last lines:\n%s",
				cmd->argv[0], WTERMSIG(status), strsignal(WTERMSIG(status)),
				tail->text);
	return lab_fail(err, -EIO, "%s failed with status %d; its last lines:\n%s", cmd->argv[0],
			WEXITSTATUS(status), tail->text);
}

int command_run(const struct command *cmd, struct lab_err *err)
{
	autofree struct tail *tail = calloc(1, sizeof(*tail));
	autoclose int out = -EBADF, pidfd = -EBADF;
	int pipefd[2], status = 0, r;
	pid_t pid;

	if (!tail)
		return lab_fail(err, -ENOMEM, "out of memory");
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		// cppcheck-suppress memleak ; autofree
		return lab_fail_errno(err, -errno, "%s: pipe", cmd->argv[0]);
	out = pipefd[0];
	fcntl(out, F_SETFL, O_NONBLOCK);
	pid = fork();
	if (!pid)
		child(cmd, pipefd[1]);
	close(pipefd[1]);
	if (pid < 0)
		// cppcheck-suppress memleak ; autofree
		return lab_fail_errno(err, -errno, "%s: fork", cmd->argv[0]);
	pidfd = pidfd_open(pid, 0);
	r = pidfd < 0 ? -errno : watch(cmd, out, pidfd, tail);
	if (r < 0)
		kill(-pid, SIGKILL);
	RETRY(waitpid(pid, &status, 0));
	if (r < 0)
		return lab_fail_errno(err, r, "%s: writing the build log", cmd->argv[0]);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return explain(cmd, status, tail, err);
	return 0;
}
