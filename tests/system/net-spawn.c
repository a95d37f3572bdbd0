// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net-spawn.c - what runs in a lab has its descriptors, its log, and no privilege
 *
 * TIMEOUT: 60
 * REQUIRES: root tun ip
 */
#define _GNU_SOURCE
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/nettest.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct nt_lab lab;

/* ------------------------------------------------------ as the program */

static void show_file(const char *path)
{
	autofree char *text = NULL;
	int r = io_read_file(AT_FDCWD, path, 65536, &text, NULL);

	printf("%s: %s\n", path, r < 0 ? strerror(-r) : text);
}

static void show_reach(const char *path)
{
	printf("reach %s: %s\n", path, access(path, F_OK) < 0 ? strerror(errno) : "yes");
}

static void show_write(const char *path)
{
	char file[IO_PATH];
	int fd = open(io_path(file, "%s/made", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	printf("write %s: %s\n", path, fd < 0 ? strerror(errno) : "yes");
	if (fd >= 0) {
		close(fd);
		unlink(file);
	}
}

/* --show STATE RUN: everything about ourselves, for the log */
static int show(char **argv)
{
	struct ifreq ifr = { 0 };
	struct rlimit core, files;
	sigset_t mask;
	int n = 0;

	show_file("/proc/self/status");
	show_file("/proc/self/oom_score_adj");
	getrlimit(RLIMIT_CORE, &core);
	getrlimit(RLIMIT_NOFILE, &files);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int s = 1; s < 32; s++)
		n += sigismember(&mask, s) || signal(s, SIG_DFL) == SIG_IGN;
	printf("core %llu files %llu signals %d dumpable %d session %d\n",
	       (unsigned long long)core.rlim_max, (unsigned long long)files.rlim_cur, n,
	       prctl(PR_GET_DUMPABLE), getsid(0) == getpid());
	for (int fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("fd %d\n", fd);
	printf("fd 4 is %s\n", ioctl(4, TUNGETIFF, &ifr) ? strerror(errno) : ifr.ifr_name);
	show_reach("/root");
	show_reach("/home");
	show_reach("/etc/shadow");
	show_reach("/var/lib");
	show_reach("/sys");
	show_reach("/proc/sys");
	show_reach("/proc/1/status");
	show_reach(argv[2]);
	show_reach(argv[3]);
	show_write("/");
	show_write("/usr");
	show_write("/etc");
	show_write("/tmp");
	show_write(argv[2]);
	printf("keeper: %s\n",
	       strerror(-io_connect_unix(io_path((char[IO_PATH]){ 0 }, "%s/keeper.sock", argv[3]),
					 SOCK_SEQPACKET)));
	fprintf(stderr, "on standard error\n");
	return 0;
}

static int be_program(int argc, char **argv)
{
	if (argc >= 4 && !strcmp(argv[1], "--show"))
		return show(argv);
	if (argc >= 3 && !strcmp(argv[1], "--exit"))
		_exit(atoi(argv[2])); /* without a sanitizer's own status */
	if (argc >= 3 && !strcmp(argv[1], "--die"))
		return raise(atoi(argv[2]));
	if (argc == 2 && !strcmp(argv[1], "--stay"))
		return pause();
	return -1;
}

/* -------------------------------------------------------- as the test */

static pid_t run(const char *a, const char *b, const char *nic, bool unprivileged, int *pidfd)
{
	const char *const argv[] = { "/proc/self/fd/3", a, b, b ? lab.run : NULL, NULL };
	const char *const nics[] = { nic };
	struct lab_err err = LAB_ERR_INIT;
	autoclose int self = nt_self();
	struct keeper_spawn spawn = { .argv = argv,
				      .fds = &self,
				      .nfds = 1,
				      .nics = nics,
				      .nnics = nic ? 1 : 0,
				      .log = lab.guest_log,
				      .unprivileged = unprivileged };
	pid_t pid;

	NT_OK(keeper_spawn(lab.k, &spawn, &pid, pidfd, &err));
	return pid;
}

static char *run_show(bool unprivileged)
{
	autoclose int pidfd = -1;
	char *text = NULL;
	pid_t pid;

	unlink(lab.guest_log);
	pid = run("--show", lab.state, "db0", unprivileged, &pidfd);
	NT_CHECK(nt_wait_exit(&lab, pid, pidfd) == 0, "the program failed");
	NT_CHECK(io_read_file(AT_FDCWD, lab.guest_log, 1 << 20, &text, NULL) == 0, "no log");
	return text;
}

static void has(const char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void has(const char *text, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	NT_CHECK(strstr(text, line), "expected '%s' in:\n%s", line, text);
}

static void test_unprivileged(void)
{
	static const char *const caps[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
	const unsigned int uid = KEEPER_UID_BASE + lab.id;
	autofree char *text = NULL;

	NT_CHECK(keeper_uid(lab.id) == uid, "keeper_uid");
	/* where labd lets guests in: the directory is theirs */
	NT_CHECK(chown(lab.state, uid, uid) == 0, "chown: %m");
	text = run_show(true);
	has(text, "Uid:\t%u\t%u\t%u\t%u\n", uid, uid, uid, uid);
	has(text, "Gid:\t%u\t%u\t%u\t%u\n", uid, uid, uid, uid);
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		has(text, "%s:\t0000000000000000\n", caps[i]);
	has(text, "NoNewPrivs:\t1\n");
	has(text, "/proc/self/oom_score_adj: 500\n");
	has(text, "core 0 files 4096 signals 0 dumpable 1 session 1\n");
	has(text, "fd 0\nfd 1\nfd 2\nfd 3\nfd 4\nfd 4 is db0\n");
	has(text, "reach /root: No such");
	has(text, "reach /home: No such");
	has(text, "reach /etc/shadow: No such");
	has(text, "reach /var/lib: No such");
	has(text, "reach /sys: No such");
	has(text, "reach /proc/sys: No such");
	has(text, "reach /proc/1/status: No such");
	has(text, "reach %s: yes", lab.state);
	has(text, "reach %s: yes", lab.run);
	has(text, "write /: Read-only");
	has(text, "write /usr: Read-only");
	has(text, "write /etc: Read-only");
	has(text, "write /tmp: yes");
	has(text, "write %s: yes", lab.state);
	has(text, "keeper: Connection refused");
	has(text, "on standard error\n");
	nt_say("a guest has no privilege and sees the lab only");
}

static void test_privileged(void)
{
	autofree char *text = run_show(false);

	has(text, "Uid:\t0\t0\t0\t0\n");
	has(text, "NoNewPrivs:\t0\n");
	has(text, "reach /root: No such");
	has(text, "keeper: Connection refused");
	nt_say("what keeps its privileges sees the lab only, too");
}

static void test_ends(void)
{
	struct lab_err err = LAB_ERR_INIT;
	autoclose int a = -1, b = -1, c = -1;
	int status;
	pid_t pid;

	pid = run("--exit", "7", NULL, true, &a);
	status = nt_wait_exit(&lab, pid, a);
	NT_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "status %d", status);
	pid = run("--die", "6", NULL, true, &b);
	status = nt_wait_exit(&lab, pid, b);
	NT_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !WCOREDUMP(status),
		 "status %d", status);
	pid = run("--stay", NULL, NULL, true, &c);
	NT_CHECK(NT_OK(keeper_exit_status(lab.k, pid, &status, &err)) == 0, "it does not stay");
	NT_CHECK(!nt_wait_fd(c, POLLIN, 0), "its pidfd says it ended");
	NT_CHECK(pidfd_send_signal(c, SIGKILL, NULL, 0) == 0, "kill: %m");
	status = nt_wait_exit(&lab, pid, c);
	NT_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);
	NT_FAILS(ESRCH, keeper_exit_status(lab.k, 1, &status, &err));
	nt_say("exit statuses");
}

static void test_many_ends(void)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *state = NULL;
	int status;
	pid_t first = 0;

	for (int i = 0; i < 300; i++) {
		autoclose int pidfd = -1;
		pid_t pid = run("--exit", "0", NULL, true, &pidfd);

		NT_CHECK(nt_wait_exit(&lab, pid, pidfd) == 0, "program %d", i);
		first = first ? first : pid;
	}
	NT_FAILS(ESRCH, keeper_exit_status(lab.k, first, &status, &err));
	NT_OK(keeper_state(lab.k, &state, &err));
	NT_CHECK(json_object_size(json_object_get(state, "children")) == 256,
		 "%zu ended programs are remembered",
		 json_object_size(json_object_get(state, "children")));
	nt_say("300 programs");
}

static void test_refused(void)
{
	const char *argv[] = { "/usr/bin/no-such-program", NULL };
	const char *const no_nic[] = { "nic9" };
	struct lab_err err = LAB_ERR_INIT;
	struct keeper_spawn spawn = { .argv = argv, .log = lab.guest_log, .unprivileged = true };
	int pidfd, many[17];
	pid_t pid;

	NT_FAILS(ENOENT, keeper_spawn(lab.k, &spawn, &pid, &pidfd, &err));
	NT_CHECK(strstr(err.text, "no-such-program") && strstr(err.text, "execute"), "%s",
		 err.text);
	argv[0] = "/usr";
	NT_FAILS(EACCES, keeper_spawn(lab.k, &spawn, &pid, &pidfd, &err));
	argv[0] = "true";
	NT_FAILS(EINVAL, keeper_spawn(lab.k, &spawn, &pid, &pidfd, &err));
	argv[0] = NULL;
	NT_FAILS(EINVAL, keeper_spawn(lab.k, &spawn, &pid, &pidfd, &err));
	argv[0] = "/usr/bin/true";
	spawn.log = "/nowhere/log";
	NT_FAILS(ENOENT, keeper_spawn(lab.k, &spawn, &pid, &pidfd, &err));
	spawn.log = lab.guest_log;
	spawn.nics = no_nic;
	spawn.nnics = 1;
	NT_FAILS(ENOENT, keeper_spawn(lab.k, &spawn, &pid, &pidfd, &err));
	spawn.nnics = 0;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = 0;
	spawn.fds = many;
	spawn.nfds = ARRAY_SIZE(many);
	NT_FAILS(E2BIG, keeper_spawn(lab.k, &spawn, &pid, &pidfd, &err));
	nt_say("refused programs");
}

/* A restarted guest does not get what was sent to the one before it */
static void test_stale_frames(void)
{
	struct nt_guest a, b;
	char frame[2000];
	int tap;

	nt_nic(&lab, "web0", "mgmt", "52:54:00:00:00:0b", "10.20.0.11", "web");
	nt_guest_init(&a, nt_tap(&lab, "db0"), "52:54:00:00:00:0a", "10.20.0.10");
	nt_guest_init(&b, nt_tap(&lab, "web0"), "52:54:00:00:00:0b", "10.20.0.11");
	(void)nt_udp(&a, "10.20.0.11", "10.20.0.11", 9, "old", 3, frame, sizeof(frame), 100);
	NT_CHECK(nt_wait_fd(b.tap, POLLIN, 1000), "nothing waits in the tap");
	tap = nt_tap(&lab, "web0");
	NT_CHECK(!nt_wait_fd(tap, POLLIN, 0), "an old frame waits in the tap");
	close(tap);
	close(a.tap);
	close(b.tap);
	nt_say("no stale frames");
}

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	autoclose int pidfd = -1;
	pid_t pid;
	int r = be_program(argc, argv);

	if (r >= 0)
		return r;
	nt_main(argc, argv);
	nt_start(&lab, 7);
	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", false);
	nt_nic(&lab, "db0", "mgmt", "52:54:00:00:00:0a", "10.20.0.10", "db");
	test_unprivileged();
	test_privileged();
	test_ends();
	test_many_ends();
	test_refused();
	test_stale_frames();
	pid = run("--stay", NULL, NULL, true, &pidfd);
	(void)err;
	nt_shutdown(&lab);
	NT_CHECK(nt_wait_fd(pidfd, POLLIN, 0), "pid %d outlives the shutdown", pid);
	return 0;
}
