// SPDX-License-Identifier: GPL-2.0-or-later
/* main.c - labfs: labs, instances and images as files */
#define _GNU_SOURCE
#include "fs/guest_child.h"
#include "fs/live.h"
#include "fs/loop.h"
#include "fs/mirror.h"
#include "fs/notify.h"
#include "fs/ops.h"
#include "fs/upload.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>

#define FIRST_MODEL_US 2000000 /* wait for labd before the tree is shown */
#define UMOUNT_US 5000000

static const char usage[] =
	"Usage: labfs [-f] [--socket PATH] DIR\n"
	"Show labd's labs, instances, images and snapshots as files below DIR.\n"
	"\n"
	"  -f, --foreground   do not become a daemon\n"
	"      --socket PATH  labd's socket (default: $LABD_RUN/labd.sock)\n"
	"  -h, --help         this text\n"
	"  -V, --version      print the version\n"
	"\n"
	"End it with: fusermount3 -u DIR\n";

struct options {
	bool foreground;
	const char *socket;
	const char *dir;
};

/* 0 to go on, else exit status + 1 */
static int parse(int argc, char *argv[], struct options *ret)
{
	static const struct option longs[] = { { "foreground", no_argument, NULL, 'f' },
					       { "socket", required_argument, NULL, 's' },
					       { "help", no_argument, NULL, 'h' },
					       { "version", no_argument, NULL, 'V' },
					       { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "fhV", longs, NULL)) != -1) {
		switch (c) {
		case 'f':
			ret->foreground = true;
			break;
		case 's':
			ret->socket = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 1;
		case 'V':
			puts("labfs " LAB_VERSION);
			return 1;
		default:
			fputs("Try 'labfs --help'.\n", stderr);
			return 3;
		}
	}
	if (argc - optind != 1) {
		fputs("labfs: give one directory\nTry 'labfs --help'.\n", stderr);
		return 3;
	}
	ret->dir = argv[optind];
	return 0;
}

/* What a labfs that was killed has left: a mount that nobody answers */
static int clear_stale(const char *dir, struct lab_err *err)
{
	const char *const argv[] = { "fusermount3", "-u", "-z", "--", dir, NULL };
	const struct run run = { .argv = argv, .deadline = num_now_us() + UMOUNT_US };
	int r;

	log_warn("%s: clearing the mount of a labfs that is gone", dir);
	if (!umount2(dir, MNT_DETACH))
		return 0;
	r = run_program(&run, NULL, err);
	return lab_wrap(err, r, "%s is a mount that nobody answers, and cannot be cleared", dir);
}

static int check_dir(const char *dir, struct lab_err *err)
{
	autodir DIR *d = NULL;
	struct dirent *e;
	struct stat st;
	int r;

	/* Aborted: it is being torn down at this moment */
	if (stat(dir, &st) < 0 && (errno == ENOTCONN || errno == ECONNABORTED)) {
		r = clear_stale(dir, err);
		if (r < 0)
			return r;
	}
	d = opendir(dir);
	if (!d)
		return lab_fail_errno(err, -errno, "%s", dir);
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			return lab_fail(err, -EBUSY,
					"%s is not empty (is it mounted already?): give an empty "
					"directory",
					dir);
	return 0;
}

static struct fuse_session *new_session(struct lab_err *err)
{
	char name[] = "labfs", opt[] = "-o", value[256];
	char *argv[] = { name, opt, value, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_lowlevel_ops ops;
	struct fuse_session *se;

	snprintf(value, sizeof(value), "fsname=lab,subtype=labfs,nosuid,nodev,max_read=%d",
		 INSPECT_DATA);
	ops_fill(&ops);
	se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	fuse_opt_free_args(&args);
	if (!se)
		lab_fail(err, -EIO, "libfuse takes no session");
	return se;
}

/* Signals end the loop: they must come to its thread, so the others block them */
static int start_threads(const struct options *opt, const struct paths *paths,
			 struct fuse_session *se)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	action_init(opt->socket);
	live_init(opt->socket);
	model_listen(notify_change);
	r = guest_child_init(paths->exec);
	if (!r)
		r = notify_start(se);
	if (!r)
		r = mirror_start(opt->socket, paths->state);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

/* Mount, say that it is ready through @ready, and serve until the end */
static int serve(const struct options *opt, const struct paths *paths, int *ready,
		 struct lab_err *err)
{
	struct fuse_session *se = new_session(err);
	int r;

	if (!se)
		return -EIO;
	r = start_threads(opt, paths, se);
	if (r < 0)
		return lab_fail_errno(err, r, "starting threads");
	mirror_wait(num_now_us() + FIRST_MODEL_US);
	upload_sweep();
	if (fuse_set_signal_handlers(se) < 0)
		return lab_fail_errno(err, -EIO, "signal handlers");
	if (fuse_session_mount(se, opt->dir) < 0)
		return lab_fail(err, -EIO,
				"cannot mount at %s (is fuse3 installed, /dev/fuse there?)",
				opt->dir);
	if (*ready >= 0) {
		(void)!write(*ready, "", 1);
		close(*ready);
		*ready = -EBADF;
	}
	r = loop_run(se);
	fuse_session_unmount(se);
	return r < 0 ? lab_fail_errno(err, r, "%s", opt->dir) : 0;
}

/* The child is mounted when it writes; then the tree itself must answer */
static int wait_for_child(int ready, const char *dir)
{
	char path[IO_PATH], byte;
	struct stat st;

	if (RETRY(read(ready, &byte, 1)) != 1)
		return EXIT_FAILURE; /* the child has said why */
	io_path(path, "%s/status", dir);
	return stat(path, &st) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* In the child: leave the terminal, but keep standard error for what fails at start */
static int become_daemon(int *ret_ready)
{
	int fds[2], null;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid) {
		close(fds[1]);
		*ret_ready = fds[0];
		return 1;
	}
	close(fds[0]);
	setsid();
	(void)!chdir("/");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	}
	*ret_ready = fds[1];
	return 0;
}

static int setup(struct options *opt, struct paths *paths, char **ret_dir, struct lab_err *err)
{
	int r = paths_find(paths, err);

	if (r < 0 && !opt->socket)
		return r;
	if (!opt->socket)
		opt->socket = paths->socket;
	r = check_dir(opt->dir, err);
	if (r < 0)
		return r;
	*ret_dir = realpath(opt->dir, NULL);
	if (!*ret_dir)
		return lab_fail_errno(err, -errno, "%s", opt->dir);
	opt->dir = *ret_dir;
	return 0;
}

/* Threads of one process that mostly sleep: what they free goes back at once */
static void save_memory(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 64 << 10);
	mallopt(M_TRIM_THRESHOLD, 64 << 10);
}

int main(int argc, char *argv[])
{
	struct lab_err err = LAB_ERR_INIT;
	struct options opt = { 0 };
	struct paths paths = { 0 };
	autofree char *dir = NULL;
	int r, ready = -EBADF;

	log_init("labfs");
	save_memory();
	r = parse(argc, argv, &opt);
	if (r)
		return r - 1;
	r = setup(&opt, &paths, &dir, &err);
	if (!r && !opt.foreground) {
		r = become_daemon(&ready);
		if (r > 0)
			return wait_for_child(ready, opt.dir);
	}
	if (!r)
		r = serve(&opt, &paths, &ready, &err);
	if (r < 0)
		log_error("%s", err.text);
	/* Threads still run: no destructor may pull anything from under them */
	fflush(NULL);
	_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
