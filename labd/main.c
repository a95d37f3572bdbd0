// SPDX-License-Identifier: GPL-2.0-or-later
/* main.c - labd, the daemon that owns labs, instances, images, snapshots and networks */
#define _GNU_SOURCE
#include "images/image.h"
#include "labd/api.h"
#include "labd/doctor.h"
#include "labd/events.h"
#include "labd/expire.h"
#include "labd/imagejob.h"
#include "labd/job.h"
#include "labd/loop.h"
#include "labd/model.h"
#include "labd/recover.h"
#include "labd/spare.h"
#include "labd/store.h"
#include "labd/trash.h"
#include "labd/work.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

static const char usage[] =
	"Usage: labd [OPTION]\n"
	"The daemon of the cloud laboratory. In the foreground unless told otherwise.\n"
	"\n"
	"  -d, --daemon     go to the background once the API is served\n"
	"      --doctor     check this machine, print findings as JSON, and exit\n"
	"      --no-spares        no QEMUs that wait for the next reset; saves memory\n"
	"      --trash-days N     how long what was destroyed can be had again (7)\n"
	"      --trash-size SIZE  how much of it is kept in all (20G); 0: nothing\n"
	"  -h, --help       this text\n"
	"  -V, --version    the version\n"
	"\n"
	"LABD_STATE, LABD_RUN, LABD_DATA, LABD_EXEC and LABD_ACCEL in the environment\n"
	"change where it keeps and finds things, LABD_TRASH_DAYS, LABD_TRASH_SIZE and\n"
	"LABD_SPARES=no what the options of that name do; see labd(8).\n";

#define JOBS_AT_ONCE 64 /* they mostly wait */

struct options {
	bool daemon, doctor, no_spares;
	uint64_t trash_days, trash_size;
};

#define TRASH_MAX_DAYS 36500

/* 0, or the exit status after a message */
static int take_trash(struct options *opt, const char *days, const char *size)
{
	if (days && num_u64(days, TRASH_MAX_DAYS, &opt->trash_days) < 0) {
		fprintf(stderr, "labd: '%s' is no number of days\n", days);
		return 2;
	}
	if (size && num_size(size, &opt->trash_size) < 0) {
		fprintf(stderr, "labd: '%s' is no size such as 20G\n", size);
		return 2;
	}
	return 0;
}

/* -1: go on; else the exit status */
static int parse_options(int argc, char **argv, struct options *opt)
{
	static const struct option longs[] = {
		{ "daemon", no_argument, NULL, 'd' },
		{ "doctor", no_argument, NULL, 'D' },
		{ "no-spares", no_argument, NULL, 'n' },
		{ "trash-days", required_argument, NULL, 'a' },
		{ "trash-size", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	const char *spares = getenv("LABD_SPARES");
	int c, status = take_trash(opt, getenv("LABD_TRASH_DAYS"), getenv("LABD_TRASH_SIZE"));

	opt->no_spares = spares && !strcmp(spares, "no");
	while (!status && (c = getopt_long(argc, argv, "dhV", longs, NULL)) != -1) {
		if (c == 'd')
			opt->daemon = true;
		else if (c == 'D')
			opt->doctor = true;
		else if (c == 'n')
			opt->no_spares = true;
		else if (c == 'a' || c == 's')
			status = take_trash(opt, c == 'a' ? optarg : NULL,
					    c == 's' ? optarg : NULL);
		else if (c == 'h' || c == 'V') {
			fputs(c == 'h' ? usage : "labd " LAB_VERSION "\n", stdout);
			return 0;
		} else
			return 2;
	}
	if (status)
		return status;
	if (optind < argc) {
		fprintf(stderr, "labd: unexpected argument '%s'; see labd --help\n", argv[optind]);
		return 2;
	}
	return -1;
}

static int print_doctor(const struct paths *paths)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *checks = NULL;

	if (doctor_check(paths, &checks, &err) < 0) {
		fprintf(stderr, "labd: %s\n", err.text);
		return 1;
	}
	json_dumpf(checks, stdout, JSON_INDENT(1));
	putchar('\n');
	return 0;
}

static int make_dirs(const struct paths *p, struct lab_err *err)
{
	char images[IO_PATH];
	const char *const dirs[] = { p->state, p->run, io_path(images, "%s/images", p->state) };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		struct stat st;
		int r = io_mkdirs(dirs[i], 0711);

		if (r < 0)
			return lab_fail_errno(err, r, "cannot make %s", dirs[i]);
		if (stat(dirs[i], &st) < 0 || st.st_uid != geteuid())
			return lab_fail(err, -EACCES, "%s belongs to another user", dirs[i]);
		/* guests have uids of their own and must be able to pass */
		(void)chmod(dirs[i], 0711);
	}
	return 0;
}

/* What a labd that was killed had just forked holds its lock until it is another program */
static bool take_lock(int fd)
{
	int r = -1;

	for (int i = 0; r < 0 && i < 20; i++) {
		r = flock(fd, LOCK_EX | LOCK_NB);
		if (r < 0)
			(void)poll(NULL, 0, 50);
	}
	return !r;
}

/* One labd a state directory; the descriptor is held until the end */
static int lock_state(const struct paths *p, struct lab_err *err)
{
	char path[IO_PATH];
	int fd = open(io_path(path, "%s/lock", p->state), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char pid[16] = "";
	ssize_t n;

	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (take_lock(fd)) {
		if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", getpid()) < 0)
			log_warn("%s: cannot write my pid", path);
		return fd;
	}
	n = read(fd, pid, sizeof(pid) - 1);
	pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
	close(fd);
	return lab_fail(err, -EBUSY, "another labd (pid %s) uses %s", *pid ? pid : "unknown",
			p->state);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *arg)
{
	struct labd *d = arg;

	(void)source;
	log_info("signal %u: ending; guests go on", si->ssi_signo);
	d->ending = true; /* which who is cancelled may look at */
	jobs_cancel_all(d);
	return 0;
}

static int open_event(struct labd *d, struct lab_err *err)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_default(&d->event);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGTERM, on_signal, d);
	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGINT, on_signal, d);
	return r < 0 ? lab_fail_errno(err, r, "event loop") : 0;
}

/*
 * The verdict holds until the machine is booted again or KVM's device changes:
 * a labd that comes back has guests to adopt, and half a second to lose.
 */
static void find_accel(struct labd *d)
{
	autofree char *seen = NULL;
	const char *forced = getenv("LABD_ACCEL");
	char path[IO_PATH], boot[IO_BOOT_ID], now[128], *reason;
	struct stat st = { 0 };
	int n;

	io_path(path, "%s/accel", d->paths.state);
	(void)stat("/dev/kvm", &st);
	n = snprintf(now, sizeof(now), "%s %lld %s", io_boot_id(boot), (long long)st.st_ctim.tv_sec,
		     forced ? forced : "");
	if (!io_read_file(AT_FDCWD, path, 1024, &seen, NULL) && !strncmp(seen, now, (size_t)n) &&
	    (reason = strchr(seen, '\n')) && (reason[1] == 'k' || reason[1] == 't')) {
		accel_set(&d->accel, reason[1] == 'k', reason + 2);
		return;
	}
	accel_probe(&d->accel);
	free(seen);
	seen = NULL;
	if (asprintf(&seen, "%s\n%c%s", now, d->accel.kvm ? 'k' : 't', d->accel.reason) > 0)
		(void)io_write_file(AT_FDCWD, path, seen, strlen(seen), 0600);
}

static int open_all(struct labd *d, const struct options *opt, struct lab_err *err)
{
	int r = open_event(d, err);

	if (!r)
		r = loop_open(d, err);
	d->work = work_new(JOBS_AT_ONCE, WORK_NO_LIMIT);
	d->events = events_new((uint64_t)(num_wall() * 1e6));
	if (!d->work || !d->events)
		return lab_fail(err, -ENOMEM, "out of memory");
	if (!r)
		r = store_open(d->paths.state, &d->store, err);
	if (!r)
		r = jobs_open(d, err);
	if (!r)
		r = model_load(d, err);
	if (r < 0)
		return r;
	find_accel(d);
	log_info("guests run on %s: %s", d->accel.name, d->accel.reason);
	d->boots = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN) * (d->accel.kvm ? 8 : 2);
	r = recover_all(d, err);
	if (!r)
		r = trash_open(d, (unsigned int)opt->trash_days, opt->trash_size, err);
	if (!r)
		r = spares_open(d, err);
	return r < 0 ? r : expire_open(d, err);
}

static void close_all(struct labd *d)
{
	api_close(d);
	expire_close(d);
	if (d->jobs) /* those too that a last call has started */
		jobs_cancel_all(d);
	d->work = work_free(d->work);
	spares_close(d);
	trash_close(d);
	model_free(d);
	/* the last references to guests are given back in the loop */
	while (d->loop && sd_event_run(d->event, 0) > 0)
		;
	jobs_close(d);
	d->events = events_free(d->events);
	d->store = store_close(d->store);
	loop_close(d);
	sd_event_unref(d->event);
	if (d->state_lock >= 0)
		close(d->state_lock);
}

/* Tell the parent that waits in --daemon how it went, and leave its terminal */
static void detach(int ready, const char *log)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	dup2(null, 0);
	dup2(null, 1);
	dup2(fd < 0 ? null : fd, 2);
	close(null);
	if (fd >= 0)
		close(fd);
	(void)!write(ready, "1", 1);
	close(ready);
}

static int serve(const struct paths *paths, const struct options *opt, int ready)
{
	struct labd d = { .paths = *paths,
			  .state_lock = -EBADF,
			  .started = num_wall(),
			  .no_spares = opt->no_spares };
	struct lab_err err = LAB_ERR_INIT;
	char log[IO_PATH];
	int r;

	pthread_mutex_init(&d.lock, NULL);
	pthread_cond_init(&d.changed, NULL);
	TAILQ_INIT(&d.images);
	TAILQ_INIT(&d.labs);
	r = make_dirs(paths, &err);
	if (!r)
		r = d.state_lock = lock_state(paths, &err);
	if (r >= 0)
		r = open_all(&d, opt, &err);
	if (!r)
		r = api_open(&d, &err);
	if (!r) {
		if (ready >= 0)
			detach(ready, io_path(log, "%s/labd.log", paths->state));
		recover_probe(&d);
		log_info("serving %s", paths->socket);
		sd_notify(0, "READY=1");
		while (r >= 0 && !d.ending)
			r = sd_event_run(d.event, UINT64_MAX);
		sd_notify(0, "STOPPING=1");
	}
	if (r < 0)
		log_error("%s", err.code ? err.text : strerror(-r));
	close_all(&d);
	return r < 0;
}

/* Run in a child; return when it serves, or with its failure */
static int daemonize(const struct paths *paths, const struct options *opt)
{
	int p[2], status = 1;
	char done;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return 1;
	pid = fork();
	if (pid < 0)
		return 1;
	if (!pid) {
		close(p[0]);
		setsid();
		if (chdir("/") < 0)
			_exit(1);
		_exit(serve(paths, opt, p[1]));
	}
	close(p[1]);
	return RETRY(read(p[0], &done, 1)) == 1 ? 0 : (waitpid(pid, &status, 0), 1);
}

int main(int argc, char **argv)
{
	struct rlimit files = { 65536, 65536 };
	struct lab_err err = LAB_ERR_INIT;
	struct options opt = { .trash_days = TRASH_DAYS, .trash_size = TRASH_SIZE };
	struct paths paths;
	int status = parse_options(argc, argv, &opt);

	if (status >= 0)
		return status;
	log_init("labd");
	/* many threads that mostly wait: more arenas would only cost memory */
	mallopt(M_ARENA_MAX, 2);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (paths_find(&paths, &err) < 0) {
		fprintf(stderr, "labd: %s\n", err.text);
		return 1;
	}
	if (opt.doctor)
		return print_doctor(&paths);
	return opt.daemon ? daemonize(&paths, &opt) : serve(&paths, &opt, -1);
}
