// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - labkeeper: holds a lab's namespaces and serves them
 *
 * DOC: Theory of Operation
 *
 * labd starts one labkeeper a lab (netns/keeper.c) and speaks to it over
 * RUN_DIR/keeper.sock. It is one thread with one event loop; every request is
 * short, so they are done one after the other.
 *
 * Start: the process that labd started forks and waits. The new one leaves the
 * session, listens, enters the lab (sandbox.c), builds what every lab has, and
 * says "ready" through a pipe; then the first one exits. So labd reads the reason
 * of a failure from the standard error of a short-lived program, and has no
 * child to reap.
 *
 * Who dies, and what then:
 *	labd		nothing happens here. The next labd connects again.
 *	the keeper	dnsmasq and slirp4netns end with it; forwards and consoles
 *			stop; guests go on with their links, for the namespace
 *			lives in them. On the host remain the veth pair, the nftables
 *			table and sockets: `labkeeper --sweep`, which keeper_sweep()
 *			runs, removes them. A keeper cannot be replaced under living
 *			guests, so labd takes the lab for failed and ends them.
 *	a guest		its status is kept for labd; its taps stay.
 *
 * Privileges (SECURITY): as root the keeper is root in the host's user namespace -
 * it needs that for the veth pair and nftables on the host, and to give each lab a
 * uid - but sees only the lab's mounts. As a user it is uid 0 of a user namespace
 * that holds nothing but its caller's uid: no set-uid program, no sudo, no
 * privilege on the host. In both cases guests run without any capability, with
 * no_new_privs, in the lab's network and mounts only. As root each lab's guests have
 * a uid of their own; as a user they share the caller's, so a QEMU that was broken
 * out of may write what is in the state and run directories, labd's own files
 * included, but may not speak to the keeper: its socket is covered in there.
 * Requests come from peers of our own uid only (SO_PEERCRED). What guests
 * send reaches this process as bytes of a console, of a forwarded connection, of a
 * DNS question or of one for the time, and is not interpreted but for two bits of the
 * third and 48 bytes of the last (clock.c).
 */
#define _GNU_SOURCE
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"
#include "netns/keeper.h"
#include "netns/lab.h"
#include "netns/link.h"
#include "netns/nat.h"
#include "netns/netlink.h"
#include "netns/protocol.h"
#include "netns/sandbox.h"
#include "netns/uplink.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define MAX_FILES (1 << 20)

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *arg)
{
	(void)source;
	log_info("signal %u: shutting down", si->ssi_signo);
	lab_end(arg);
	return 0;
}

/* What must be held open from the host, before it is left */
static int open_host(struct lab *lab, struct lab_err *err)
{
	lab->host_net = lab->host_forward = -EBADF;
	if (!lab->root)
		return 0;
	lab->host_net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	lab->host_forward = open("/proc/sys/net/ipv4/ip_forward", O_RDWR | O_CLOEXEC);
	if (lab->host_net < 0 || lab->host_forward < 0)
		return lab_fail_errno(err, -errno, "cannot open the host's network");
	return 0;
}

static int make_run_dir(const struct lab *lab, char net_dir[IO_PATH], struct lab_err *err)
{
	io_path(net_dir, "%s/net", lab->run_dir);
	if (mkdir(net_dir, 0755) < 0 && errno != EEXIST)
		return lab_fail_errno(err, -errno, "cannot make %s", net_dir);
	/* dnsmasq reads it with another uid */
	if (chmod(net_dir, 0755) < 0)
		return lab_fail_errno(err, -errno, "%s", net_dir);
	return 0;
}

static int watch_signals(struct lab *lab, struct lab_err *err)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	r = sd_event_add_signal(lab->event, NULL, SIGTERM, on_signal, lab);
	return r < 0 ? lab_fail_errno(err, r, "cannot watch signals") : 0;
}

static void raise_file_limit(void)
{
	struct rlimit files;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Inside the lab: what every lab has */
static int set_up(struct lab *lab, int listener, struct lab_err *err)
{
	int r = sd_event_new(&lab->event);

	if (r < 0)
		return lab_fail_errno(err, r, "cannot make an event loop");
	lab->lab_net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	lab->nl = netlink_open(NETLINK_ROUTE);
	if (lab->lab_net < 0 || !lab->nl)
		return lab_fail(err, -EIO, "cannot open the lab's network");
	r = watch_signals(lab, err);
	if (!r)
		r = nat_lab_start(lab, err);
	if (!r)
		r = uplink_attach(lab, err);
	if (!r)
		r = protocol_listen(lab, listener, err);
	return r;
}

/**
 * keep() - Be the keeper
 * @report:	pipe for one word "+" when ready, or the words of a failure
 *
 * Return: 0 after a regular end, negative errno if it never got ready
 */
static int keep(struct lab *lab, int report, struct lab_err *err)
{
	char path[IO_PATH], net_dir[IO_PATH];
	autoclose int listener = -EBADF;
	int r = make_run_dir(lab, net_dir, err);

	if (!r)
		r = open_host(lab, err);
	if (!r)
		r = uplink_prepare(lab, err);
	if (r < 0)
		return r;
	io_path(path, "%s/" LAB_SOCKET, lab->run_dir);
	listener = io_listen_unix(path, SOCK_SEQPACKET | SOCK_NONBLOCK, 0600);
	if (listener == -EADDRINUSE)
		return lab_fail(err, listener, "a keeper runs already at %s", path);
	if (listener < 0)
		return lab_fail_errno(err, listener, "cannot listen at %s", path);
	r = sandbox_enter(lab->root, lab->state_dir, lab->run_dir, path, net_dir, err);
	if (!r)
		r = set_up(lab, listener, err);
	/* nobody waits any more (a deadline): then nobody knows of us either */
	if (!r && io_write_all(report, "+", 1) < 0)
		r = -EPIPE;
	if (r < 0) {
		lab_remove_files(lab->run_dir);
		return r;
	}
	close(report);
	log_info("lab %s: ready", lab->name);
	r = sd_event_loop(lab->event);
	protocol_end_all(lab);
	sd_event_unref(lab->event);
	log_info("lab %s: ended", lab->name);
	return r;
}

/* Leave labd: own session, nothing of its descriptors, output to the log */
static int detach(const char *log, struct lab_err *err)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return lab_fail_errno(err, -errno, "cannot open the log %s", log);
	setsid();
	if (null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		return lab_fail_errno(err, -errno, "cannot redirect the output");
	close(null);
	close(fd);
	return 0;
}

static int run_detached(struct lab *lab, const char *log, int report)
{
	struct lab_err err = LAB_ERR_INIT;
	int r = detach(log, &err);

	if (!r)
		r = keep(lab, report, &err);
	if (r < 0) {
		uplink_free(lab);
		log_error("%s", err.text);
		(void)io_write_all(report, err.text, strlen(err.text));
	}
	return r < 0;
}

/* Wait for the keeper to be ready; what else it says is why it is not */
static int wait_ready(int from)
{
	autofree char *words = NULL;
	char first = '\0';
	ssize_t n = RETRY(read(from, &first, 1));

	if (n == 1 && first == '+')
		return 0;
	if (n == 1 && io_read_fd(from, LAB_ERR_TEXT, &words, NULL) == 0)
		fprintf(stderr, "%c%s\n", first, words);
	else
		fprintf(stderr, "the keeper ended before it was ready; see its log\n");
	return 1;
}

static int start(struct lab *lab, const char *log)
{
	int p[2];
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		perror("labkeeper: cannot start");
		return 1;
	}
	if (pid) {
		close(p[1]);
		return wait_ready(p[0]);
	}
	close(p[0]);
	return run_detached(lab, log, p[1]);
}

/* ------------------------------------------------------------- sweeping */

/* The sockets a killed keeper served, if they are where a keeper makes them */
static void remove_listed(const char *run_dir)
{
	autofree char *list = NULL;
	char path[IO_PATH], *save = NULL;

	io_path(path, "%s/" LAB_FILES, run_dir);
	if (io_read_file(AT_FDCWD, path, MAX_FILES, &list, NULL) < 0)
		return;
	for (char *p = strtok_r(list, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		struct stat st;

		if (strncmp(p, run_dir, strlen(run_dir)) == 0 && p[strlen(run_dir)] == '/' &&
		    !strstr(p, "/../") && !lstat(p, &st) && S_ISSOCK(st.st_mode))
			unlink(p);
	}
}

static int sweep(unsigned int id, const char *run_dir)
{
	struct lab_err err = LAB_ERR_INIT;
	char path[IO_PATH];
	int fd, r = 0;

	fd = io_connect_unix(io_path(path, "%s/" LAB_SOCKET, run_dir), SOCK_SEQPACKET);
	if (fd >= 0) {
		fprintf(stderr, "the keeper at %s still runs: shut it down instead\n", path);
		return 1;
	}
	if (!geteuid())
		r = uplink_sweep(id, &err);
	remove_listed(run_dir);
	lab_remove_files(run_dir);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	return r < 0;
}

/* ------------------------------------------------------------ arguments */

/**
 * struct options - the command line
 */
struct options {
	const char *id, *lab, *run, *state, *log;
	bool sweep;
};

static const char usage_text[] =
	"labkeeper is started by labd; it is of no use by hand.\n"
	"usage: labkeeper --id N --lab NAME --run DIR --state DIR --log FILE\n"
	"       labkeeper --sweep --id N --run DIR\n";

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
		{ "id", required_argument, NULL, 'i' },	 { "lab", required_argument, NULL, 'l' },
		{ "run", required_argument, NULL, 'r' }, { "state", required_argument, NULL, 's' },
		{ "log", required_argument, NULL, 'o' }, { "sweep", no_argument, NULL, 'w' },
		{ "version", no_argument, NULL, 'V' },	 { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1)
		switch (c) {
		case 'i':
			o->id = optarg;
			break;
		case 'l':
			o->lab = optarg;
			break;
		case 'r':
			o->run = optarg;
			break;
		case 's':
			o->state = optarg;
			break;
		case 'o':
			o->log = optarg;
			break;
		case 'w':
			o->sweep = true;
			break;
		case 'V':
			puts("labkeeper " LAB_VERSION);
			exit(0);
		default:
			return -EINVAL;
		}
	return optind == argc && o->id && o->run ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct lab lab = { 0 };
	uint64_t id;

	log_init("labkeeper");
	if (parse_options(argc, argv, &o) < 0 || num_u64(o.id, KEEPER_MAX_LAB_ID, &id) < 0 ||
	    o.run[0] != '/') {
		fputs(usage_text, stderr);
		return 2;
	}
	close_range(3, ~0U, 0);
	umask(077);
	if (o.sweep)
		return sweep((unsigned int)id, o.run);
	if (!o.lab || !o.log || !o.state || o.state[0] != '/') {
		fputs(usage_text, stderr);
		return 2;
	}
	lab.id = (unsigned int)id;
	lab.name = o.lab;
	lab.run_dir = o.run;
	lab.state_dir = o.state;
	lab.root = !geteuid();
	TAILQ_INIT(&lab.networks);
	TAILQ_INIT(&lab.nics);
	TAILQ_INIT(&lab.taps);
	TAILQ_INIT(&lab.children);
	TAILQ_INIT(&lab.forwards);
	TAILQ_INIT(&lab.consoles);
	TAILQ_INIT(&lab.clients);
	raise_file_limit();
	return start(&lab, o.log);
}
