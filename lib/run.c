// SPDX-License-Identifier: GPL-2.0-or-later
/* run.c - run a program, without a shell, and wait for it with a deadline */
#define _GNU_SOURCE
#include "lib/run.h"

#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define RUN_MAX_OUT (4 << 20)
#define RUN_TAIL 1200
#define RUN_CANCEL_MS 200

/*
 * One of the child's two output pipes. Standard output is collected or cut
 * into lines; of standard error only the tail is kept, for the message.
 */
struct stream {
	int fd;
	char *buf;
	size_t len, room, max;
	bool tail;
};

static void stream_done(struct stream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->buf);
}

static void give_lines(const struct run *run, struct stream *s)
{
	char *start = s->buf, *nl;

	while ((nl = memchr(start, '\n', s->len - (size_t)(start - s->buf)))) {
		*nl = '\0';
		run->line(run->line_arg, start);
		start = nl + 1;
	}
	s->len -= (size_t)(start - s->buf);
	memmove(s->buf, start, s->len);
}

/* Read what is there: 1 more may come, 0 end */
static int stream_read(struct stream *s)
{
	ssize_t n;

	if (s->room - s->len < 4096 + 1) {
		size_t room = s->room ? s->room * 2 : 16384;
		char *more = realloc(s->buf, room);

		if (!more)
			return -ENOMEM;
		s->buf = more;
		s->room = room;
	}
	n = RETRY(read(s->fd, s->buf + s->len, 4096));
	if (n < 0)
		return -errno;
	s->len += (size_t)n;
	s->buf[s->len] = '\0';
	if (s->tail && s->len > 2 * RUN_TAIL) {
		memmove(s->buf, s->buf + s->len - RUN_TAIL, RUN_TAIL + 1);
		s->len = RUN_TAIL;
	}
	if (s->len > s->max)
		return -EFBIG;
	return n > 0;
}

__attribute__((noreturn)) static void child(const struct run *run, int out, int errfd, pid_t parent)
{
	struct rlimit as = { run->max_memory, run->max_memory };
	struct rlimit cpu = { run->max_cpu, run->max_cpu };
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (run->max_memory)
		setrlimit(RLIMIT_AS, &as);
	if (run->max_cpu)
		setrlimit(RLIMIT_CPU, &cpu);
	dup2(null, 0);
	dup2(out, 1);
	dup2(errfd, 2);
	execvp(run->argv[0], (char *const *)run->argv);
	_exit(errno == ENOENT ? 127 : 126);
}

static int start(const struct run *run, struct stream *out, struct stream *err, pid_t *ret_pid)
{
	int po[2], pe[2];
	pid_t parent = getpid(), pid;

	if (pipe2(po, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(pe, O_CLOEXEC) < 0) {
		int r = -errno;

		close(po[0]);
		close(po[1]);
		return r;
	}
	pid = fork();
	if (!pid)
		child(run, po[1], pe[1], parent);
	close(po[1]);
	close(pe[1]);
	out->fd = po[0];
	err->fd = pe[0];
	*ret_pid = pid;
	return pid < 0 ? -errno : 0;
}

/* Move output until both pipes end; kill at the deadline or on cancel */
static int pump(const struct run *run, struct stream *out, struct stream *err, pid_t pid)
{
	int killed = 0;

	while (out->fd >= 0 || err->fd >= 0) {
		struct pollfd p[2] = { { out->fd, POLLIN, 0 }, { err->fd, POLLIN, 0 } };
		struct stream *s[2] = { out, err };
		int r = poll(p, 2, RUN_CANCEL_MS);

		if (r < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; r > 0 && i < 2; i++) {
			int got;

			if (!p[i].revents)
				continue;
			got = stream_read(s[i]);
			if (run->line && s[i] == out && got >= 0)
				give_lines(run, out);
			if (got <= 0) {
				close(s[i]->fd);
				s[i]->fd = -EBADF;
			}
			if (got < 0 && !killed)
				killed = got;
		}
		if (!killed && run->cancel && run->cancel(run->cancel_arg))
			killed = -ECANCELED;
		if (!killed && num_now_us() >= run->deadline)
			killed = -ETIMEDOUT;
		if (killed)
			kill(-pid, SIGKILL), kill(pid, SIGKILL);
	}
	return killed;
}

static int explain(const struct run *run, int status, const struct stream *tail,
		   struct lab_err *err)
{
	const char *words = tail->buf ? tail->buf : "";
	size_t len = tail->len;

	while (len && words[len - 1] == '\n')
		len--;
	if (WIFSIGNALED(status))
		return lab_fail(err, -EIO, "%s was ended by signal %d (%s)%s%.*s", run->argv[0],
				WTERMSIG(status), strsignal(WTERMSIG(status)), len ? ": " : "",
				(int)len, words);
	if (WEXITSTATUS(status) == 127 && !len)
		return lab_fail(err, -ENOENT,
				"%s: no such program; install the package that has it",
				run->argv[0]);
	return lab_fail(err, -EIO, "%s failed with status %d%s%.*s", run->argv[0],
			WEXITSTATUS(status), len ? ": " : "", (int)len, words);
}

int run_program(const struct run *run, char **ret_out, struct lab_err *err)
{
	struct stream out
		__attribute__((cleanup(stream_done))) = { .fd = -EBADF, .max = RUN_MAX_OUT };
	struct stream tail __attribute__((
		cleanup(stream_done))) = { .fd = -EBADF, .max = SIZE_MAX, .tail = true };
	int status = 0, r;
	pid_t pid = -1;

	r = start(run, &out, &tail, &pid);
	if (r < 0)
		return lab_fail_errno(err, r, "%s: cannot start", run->argv[0]);
	r = pump(run, &out, &tail, pid);
	RETRY(waitpid(pid, &status, 0));
	if (r == -ETIMEDOUT)
		return lab_fail(err, r, "%s did not end in time and was killed", run->argv[0]);
	if (r == -ECANCELED)
		return lab_fail(err, r, "%s was cancelled", run->argv[0]);
	if (r < 0)
		return lab_fail_errno(err, r, "%s: reading its output", run->argv[0]);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return explain(run, status, &tail, err);
	if (ret_out) {
		*ret_out = out.buf ? steal_ptr(out.buf) : strdup("");
		if (!*ret_out)
			return lab_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}
