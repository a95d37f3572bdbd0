// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * child.c - the programs labd had started in the lab, and how they ended
 *
 * They are our children, so that their exit status can be kept for a labd that
 * is away. They do not die with us: a keeper that is killed costs the lab its
 * network's services, not its guests.
 */
#define _GNU_SOURCE
#include "netns/child.h"

#include "lib/util.h"
#include "netns/link.h"
#include "netns/network.h"
#include "netns/spawn.h"
#include "netns/tap.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

static struct child *find(const struct lab *lab, pid_t pid)
{
	struct child *c;

	TAILQ_FOREACH(c, &lab->children, entry)
		if (c->pid == pid)
			return c;
	return NULL;
}

static void forget(struct lab *lab, struct child *c)
{
	TAILQ_REMOVE(&lab->children, c, entry);
	if (c->ended)
		lab->n_ended--;
	else
		lab->n_children--;
	sd_event_source_disable_unref(c->source);
	free(c);
}

static void forget_oldest_ended(struct lab *lab)
{
	struct child *c;

	TAILQ_FOREACH(c, &lab->children, entry)
		if (c->ended)
			break;
	if (c)
		forget(lab, c);
}

/* How it ended, in the form of waitpid() */
static int wait_status(const siginfo_t *si)
{
	if (si->si_code == CLD_EXITED)
		return W_EXITCODE(si->si_status, 0);
	return si->si_status | (si->si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

static int on_end(sd_event_source *source, const siginfo_t *si, void *arg)
{
	struct lab *lab = arg;
	struct child *c = find(lab, si->si_pid);

	(void)source;
	if (!c || c->ended)
		return 0;
	c->ended = true;
	c->status = wait_status(si);
	lab->n_children--;
	lab->n_ended++;
	c->source = sd_event_source_disable_unref(c->source);
	/* newest last, so that the oldest is forgotten first */
	TAILQ_REMOVE(&lab->children, c, entry);
	TAILQ_INSERT_TAIL(&lab->children, c, entry);
	if (lab->n_ended > LAB_MAX_ENDED)
		forget_oldest_ended(lab);
	return 0;
}

/* The descriptor of a nic, or of a tap that is none yet; negative without */
static int tap_fd(const struct lab *lab, const char *ifname)
{
	const struct nic *nic = nic_find(lab, ifname);
	const struct tap *tap = nic ? NULL : tap_find(lab, ifname);

	return nic ? nic->fd : tap ? tap->fd : -ENOENT;
}

static int collect_fds(const struct lab *lab, const struct child_spec *spec, int *fds,
		       struct lab_err *err)
{
	size_t n = 0;

	if (spec->nfds + spec->nnics > SPAWN_MAX_FDS)
		return lab_fail(err, -E2BIG, "a program gets at most %d descriptors",
				SPAWN_MAX_FDS);
	for (size_t i = 0; i < spec->nfds; i++)
		fds[n++] = spec->fds[i];
	for (size_t i = 0; i < spec->nnics; i++) {
		int fd = tap_fd(lab, spec->nics[i]);

		if (fd < 0)
			return lab_fail(err, fd, "there is no nic %.15s", spec->nics[i]);
		fds[n++] = fd;
	}
	return 0;
}

/* What waits in the taps was sent to whoever had them before */
static void drain_nics(const struct lab *lab, const struct child_spec *spec)
{
	for (size_t i = 0; i < spec->nnics; i++)
		link_tap_drain(tap_fd(lab, spec->nics[i]));
}

static int watch(struct lab *lab, pid_t pid, const char *path)
{
	struct child *c = calloc(1, sizeof(*c));
	const char *slash = strrchr(path, '/');
	int r;

	if (!c)
		return -ENOMEM;
	c->pid = pid;
	snprintf(c->name, sizeof(c->name), "%s", slash ? slash + 1 : path);
	r = sd_event_add_child(lab->event, &c->source, pid, WEXITED, on_end, lab);
	if (r < 0) {
		free(c);
		return r;
	}
	/* the kernel gives a pid again: what the ended one of it did is not asked for any more */
	if (find(lab, pid))
		forget(lab, find(lab, pid));
	TAILQ_INSERT_TAIL(&lab->children, c, entry);
	lab->n_children++;
	return 0;
}

int child_spawn(struct lab *lab, const struct child_spec *spec, pid_t *ret_pid, int *ret_pidfd,
		struct lab_err *err)
{
	autoclose int log = -EBADF, pidfd = -EBADF;
	int fds[SPAWN_MAX_FDS], r;
	struct spawn spawn = { .argv = spec->argv,
			       .env = spec->env,
			       .fds = fds,
			       .nfds = spec->nfds + spec->nnics,
			       .as = spec->unprivileged ? SPAWN_AS_GUEST : SPAWN_AS_KEEPER };
	pid_t pid;

	if (lab->n_children >= LAB_MAX_CHILDREN)
		return lab_fail(err, -EDQUOT, "a lab has at most %d programs", LAB_MAX_CHILDREN);
	r = collect_fds(lab, spec, fds, err);
	if (r < 0)
		return r;
	/* the directory may belong to a guest's uid: do not follow what it put there */
	log = open(spec->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		   0600);
	if (log < 0)
		return lab_fail_errno(err, -errno, "cannot open the log %s", spec->log);
	fcntl(log, F_SETFL, O_APPEND);
	spawn.output = log;
	drain_nics(lab, spec);
	r = spawn_program(lab, &spawn, &pid, err);
	if (r < 0)
		return r;
	pidfd = pidfd_open(pid, 0);
	r = pidfd < 0 ? -errno : watch(lab, pid, spec->argv[0]);
	if (r < 0) {
		spawn_end(pid);
		return lab_fail_errno(err, r, "cannot watch %s", spec->argv[0]);
	}
	*ret_pid = pid;
	*ret_pidfd = steal_fd(&pidfd);
	return 0;
}

int child_status(const struct lab *lab, pid_t pid, int *ret_status, struct lab_err *err)
{
	const struct child *c = find(lab, pid);
	siginfo_t si = { 0 };

	if (!c)
		return lab_fail(err, -ESRCH, "the lab had no program with pid %d", pid);
	if (c->ended) {
		*ret_status = c->status;
		return 1;
	}
	/* labd saw it end and asks before our own event loop came to it */
	if (waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || si.si_pid != pid)
		return 0;
	*ret_status = wait_status(&si);
	return 1;
}

void child_end_all(struct lab *lab)
{
	struct child *c;

	/* all at once, then wait: freeing the memory of guests takes its time */
	TAILQ_FOREACH(c, &lab->children, entry)
		if (!c->ended)
			kill(c->pid, SIGKILL);
	while ((c = TAILQ_FIRST(&lab->children))) {
		if (!c->ended)
			RETRY(waitpid(c->pid, NULL, 0));
		forget(lab, c);
	}
}
