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
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define RUN_MAX_OUT (4 << 20)
#define RUN_TAIL 1200
#define RUN_CANCEL_MS 200
#define RUN_READ 4096

/*
 * One of the child's two output pipes. Standard output is collected or cut
 * into lines; of standard error, and of output that nobody wants, only the tail
 * is kept.
 */
struct stream {
	int fd, number;
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

/* Hand over complete lines; at the end of the stream also one without newline */
/* A line ends at a newline, or at a carriage return: programs show progress that way */
static char *line_end(char *p, const char *end)
{
	while (p < end && *p != '\n' && *p != '\r')
		p++;
	return p < end ? p : NULL;
}

static void give_lines(const struct run *run, struct stream *s, bool end)
{
	char *start = s->buf, *nl;

	if (!s->buf)
		return;
	while ((nl = line_end(start, s->buf + s->len))) {
		*nl = '\0';
		run->line(run->line_arg, start);
		start = nl + 1;
	}
	s->len -= (size_t)(start - s->buf);
	memmove(s->buf, start, s->len);
	if (!end || !s->len)
		return;
	s->buf[s->len] = '\0';
	run->line(run->line_arg, s->buf);
	s->len = 0;
}

/* Read what is there: 1 more may come, 0 end */
static int stream_read(struct stream *s)
{
	ssize_t n;

	if (s->room - s->len < RUN_READ + 1) {
		size_t room = s->room ? s->room * 2 : 16384;
		char *more = realloc(s->buf, room);

		if (!more)
			return -ENOMEM;
		s->buf = more;
		s->room = room;
	}
	n = RETRY(read(s->fd, s->buf + s->len, RUN_READ));
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
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	setsid();
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (run->max_memory)
		setrlimit(RLIMIT_AS, &as);
	if (run->max_cpu)
		setrlimit(RLIMIT_CPU, &cpu);
	/* above 2 first, in case we run with one of 0, 1, 2 closed */
	null = fcntl(null, F_DUPFD_CLOEXEC, 3);
	out = fcntl(out, F_DUPFD_CLOEXEC, 3);
	errfd = fcntl(errfd, F_DUPFD_CLOEXEC, 3);
	/* a library's descriptor may lack the flag */
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(errfd, 2) < 0)
		_exit(125);
	if (run->env)
		environ = (char **)run->env;
	execvp(run->argv[0], (char *const *)run->argv);
	_exit(errno == ENOENT ? 127 : 126);
}

static int start(const struct run *run, struct stream *out, struct stream *err, pid_t *ret_pid)
{
	int po[2], pe[2], r;
	pid_t parent = getpid(), pid;

	if (pipe2(po, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(pe, O_CLOEXEC) < 0) {
		r = -errno;
		close(po[0]);
		close(po[1]);
		return r;
	}
	pid = fork();
	if (!pid)
		child(run, po[1], pe[1], parent);
	r = pid < 0 ? -errno : 0;
	close(po[1]);
	close(pe[1]);
	out->fd = po[0];
	err->fd = pe[0];
	*ret_pid = pid;
	return r;
}

/* Hand over what was read */
static void give_output(const struct run *run, struct stream *s)
{
	if (s->len)
		run->output(run->output_arg, s->number, s->buf, s->len);
	s->len = 0;
}

/* Read once from a stream; at its end it is closed. 0 or negative errno */
static int serve(const struct run *run, struct stream *s)
{
	int got = stream_read(s);

	if (got == -EAGAIN)
		return 0;
	if (run->output)
		give_output(run, s);
	else if (run->line && !s->tail)
		give_lines(run, s, got <= 0);
	if (got <= 0) {
		close(s->fd);
		s->fd = -EBADF;
	}
	return MIN(got, 0);
}

/* How long to wait at most, in milliseconds; -1: until something happens */
static int patience(const struct run *run)
{
	uint64_t now = num_now_us(), left;

	if (run->deadline == UINT64_MAX)
		return run->cancel ? RUN_CANCEL_MS : -1;
	left = now >= run->deadline ? 0 : (run->deadline - now + 999) / 1000;
	return (int)MIN(left, run->cancel ? RUN_CANCEL_MS : (uint64_t)INT32_MAX);
}

/*
 * The program has ended. What it wrote is in the pipes; but they may still be
 * open in a process that it left behind, so nothing more is waited for.
 */
static int drain(const struct run *run, struct stream *out, struct stream *err)
{
	struct stream *s[2] = { out, err };
	int result = 0;

	for (int i = 0; i < 2; i++) {
		int left = 0, r = 0;

		if (s[i]->fd < 0)
			continue;
		fcntl(s[i]->fd, F_SETFL, O_NONBLOCK);
		ioctl(s[i]->fd, FIONREAD, &left);
		for (; left > 0 && s[i]->fd >= 0 && !r; left -= RUN_READ)
			r = serve(run, s[i]);
		if (run->line && !run->output && s[i] == out && out->fd >= 0)
			give_lines(run, out, true);
		result = result ? result : r;
	}
	return result;
}

/* Move output until the program ends; 0, or why it has to be killed */
static int pump(const struct run *run, struct stream *out, struct stream *err, int pidfd)
{
	for (;;) {
		struct pollfd p[3] = { { out->fd, POLLIN, 0 },
				       { err->fd, POLLIN, 0 },
				       { pidfd, POLLIN, 0 } };
		int n = poll(p, 3, patience(run)), r = 0;

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[2].revents)
			return drain(run, out, err);
		if (n > 0 && p[0].revents)
			r = serve(run, out);
		if (n > 0 && p[1].revents && !r)
			r = serve(run, err);
		if (r < 0)
			return r;
		if (run->cancel && run->cancel(run->cancel_arg))
			return -ECANCELED;
		if (num_now_us() >= run->deadline)
			return -ETIMEDOUT;
	}
}

/* Kill a program, its whole group, which may have a little time to end by itself */
static void end_program(const struct run *run, struct stream *out, struct stream *err, pid_t pid,
			int pidfd)
{
	struct run last = *run;

	if (run->grace && pidfd >= 0) {
		kill(-pid, SIGTERM);
		last.cancel = NULL;
		last.deadline = num_now_us() + run->grace;
		(void)pump(&last, out, err, pidfd);
	}
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
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
	struct stream out __attribute__((
		cleanup(stream_done))) = { .fd = -EBADF, .number = 1, .max = RUN_MAX_OUT };
	struct stream tail __attribute__((cleanup(stream_done))) = {
		.fd = -EBADF, .number = 2, .max = SIZE_MAX, .tail = !run->output
	};
	autoclose int pidfd = -EBADF;
	int status = 0, r;
	pid_t pid = -1;

	r = start(run, &out, &tail, &pid);
	if (r < 0)
		return lab_fail_errno(err, r, "%s: cannot start", run->argv[0]);
	/* whoever wants neither its output nor its lines gets no limit of them */
	out.tail = !ret_out && !run->line && !run->output;
	pidfd = pidfd_open(pid, 0);
	r = pidfd < 0 ? -errno : pump(run, &out, &tail, pidfd);
	if (r < 0)
		end_program(run, &out, &tail, pid, pidfd);
	RETRY(waitpid(pid, &status, 0));
	if (run->ret_status)
		*run->ret_status = status;
	if (r == -ETIMEDOUT)
		return lab_fail(err, r, "%s did not end in time and was killed", run->argv[0]);
	if (r == -ECANCELED)
		return lab_fail(err, r, "%s was cancelled", run->argv[0]);
	if (r < 0)
		return lab_fail_errno(err, r, "%s: reading its output", run->argv[0]);
	if ((!WIFEXITED(status) || WEXITSTATUS(status)) && !run->ret_status)
		return explain(run, status, &tail, err);
	if (ret_out) {
		*ret_out = out.buf ? steal_ptr(out.buf) : strdup("");
		if (!*ret_out)
			return lab_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}
