// SPDX-License-Identifier: GPL-2.0-or-later
/* keeper.c - labd's end of a lab's keeper: start it, ask it, end it */
#define _GNU_SOURCE
#include "netns/keeper.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/paths.h"
#include "lib/run.h"
#include "lib/util.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

/*
 * A keeper does nothing that takes long: 30 s without an answer means that it
 * hangs. After that the connection is out of step and is given up.
 */
#define KEEPER_TIMEOUT_S 30
#define KEEPER_START_US (15 * 1000000ULL)

/* A nic is at most about 300 bytes of JSON; so many fit in a message twice */
#define KEEPER_NICS_PER_MESSAGE 250

/* The resolvers of the host are few; glibc itself uses three */
#define KEEPER_MAX_RESOLVERS 3
#define KEEPER_MAX_RESOLV_CONF (64 << 10)

#define KEEPER_SOCKET "keeper.sock"

static int socket_path(char buf[IO_PATH], const char *run_dir, struct lab_err *err)
{
	io_path(buf, "%s/" KEEPER_SOCKET, run_dir);
	if (!*buf || strlen(buf) > 107)
		return lab_fail(err, -ENAMETOOLONG,
				"the run directory %s is too long for a socket in it", run_dir);
	return 0;
}

struct keeper *keeper_close(struct keeper *k)
{
	if (!k)
		return NULL;
	if (k->sock >= 0)
		close(k->sock);
	pthread_mutex_destroy(&k->lock);
	free(k);
	return NULL;
}

/* Prepare a connected socket: deadlines, room for the largest message, the peer's uid */
static int prepare(struct keeper *k, struct lab_err *err)
{
	const struct timeval tv = { .tv_sec = KEEPER_TIMEOUT_S };
	const int room = 2 * KEEPER_MAX_MESSAGE;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (setsockopt(k->sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0 ||
	    setsockopt(k->sock, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0 ||
	    setsockopt(k->sock, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) < 0 ||
	    getsockopt(k->sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return lab_fail_errno(err, -errno, "the keeper's socket");
	if (peer.uid != geteuid())
		return lab_fail(err, -EPERM, "the keeper's socket belongs to uid %u, not to us",
				peer.uid);
	k->pid = peer.pid;
	return 0;
}

int keeper_connect(const char *run_dir, struct keeper **ret, struct lab_err *err)
{
	struct keeper *k;
	char path[IO_PATH];
	int r = socket_path(path, run_dir, err);

	if (r < 0)
		return r;
	k = calloc(1, sizeof(*k));
	if (!k)
		return lab_fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&k->lock, NULL);
	k->sock = io_connect_unix(path, SOCK_SEQPACKET);
	if (k->sock < 0)
		r = lab_fail_errno(err, k->sock, "no keeper answers at %s", path);
	else
		r = prepare(k, err);
	if (r < 0) {
		keeper_close(k);
		return r;
	}
	*ret = k;
	return 0;
}

int keeper_start(const struct keeper_config *config, struct keeper **ret, struct lab_err *err)
{
	char program[IO_PATH], id[16], path[IO_PATH];
	const char *argv[] = { program,		"--id",	     id,
			       "--lab",		config->lab, "--run",
			       config->run_dir, "--state",   config->state_dir,
			       "--log",		config->log, NULL };
	struct run run = { .argv = argv };
	int r = socket_path(path, config->run_dir, err);

	if (r < 0)
		return r;
	io_path(program, "%s/labkeeper", config->exec_dir);
	snprintf(id, sizeof(id), "%u", config->lab_id);
	run.deadline = num_now_us() + KEEPER_START_US;
	/* labkeeper goes to the background itself, and only when it answers */
	r = run_program(&run, NULL, err);
	if (r < 0)
		return lab_wrap(err, r, "lab %s: keeper", config->lab);
	r = keeper_connect(config->run_dir, ret, err);
	return lab_wrap(err, r, "lab %s: keeper", config->lab);
}

/* The connection cannot be used any more: let every later request fail at once */
static int give_up(struct keeper *k, int code, struct lab_err *err)
{
	shutdown(k->sock, SHUT_RDWR);
	if (code == -EAGAIN || code == -EWOULDBLOCK)
		return lab_fail(err, -ETIMEDOUT, "the keeper (pid %d) did not answer for %d s",
				k->pid, KEEPER_TIMEOUT_S);
	if (!code || code == -EPIPE || code == -ECONNRESET)
		return lab_fail(err, -EPIPE, "the keeper (pid %d) is gone", k->pid);
	return lab_fail_errno(err, code, "speaking to the keeper (pid %d)", k->pid);
}

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

/* Take a reply apart: its "ok" or its error */
static int read_reply(struct keeper *k, const char *buf, size_t len, json_t **ret,
		      struct lab_err *err)
{
	autojson json_t *reply = NULL;
	json_t *ok;

	reply = json_loadb(buf, len, JSON_REJECT_DUPLICATES, NULL);
	ok = json_object_get(reply, "ok");
	if (!ok && !json_object_get(reply, "error"))
		return give_up(k, -EPROTO, err);
	if (!ok) {
		const char *words = json_string_value(json_object_get(reply, "error"));
		const char *name = json_string_value(json_object_get(reply, "errno"));

		return lab_fail(err, lab_errno_value(name), "%s", words ? words : "keeper failed");
	}
	if (ret)
		*ret = json_incref(ok);
	return 0;
}

/* Send a request and wait for its reply: bytes of it, or negative errno */
static int exchange(struct keeper *k, const char *text, const int *fds, size_t nfds, char *buf,
		    int *got, size_t *ngot, struct lab_err *err)
{
	SCOPED_LOCK(&k->lock);
	int r = io_send_fds(k->sock, text, strlen(text), fds, nfds);
	ssize_t n;

	if (r < 0)
		return give_up(k, r, err);
	n = io_recv_fds(k->sock, buf, KEEPER_MAX_MESSAGE, got, ngot);
	return n <= 0 ? give_up(k, (int)n, err) : (int)n;
}

/**
 * ask() - One request and its reply
 * @req:	stolen; NULL if it could not be built
 * @fds:	@nfds descriptors that go with it
 * @ret:	the value of "ok", new reference; may be NULL
 * @ret_fd:	the descriptor that came with it; NULL if none is expected
 *
 * Return: 0 or negative errno
 */
static int ask(struct keeper *k, json_t *req, const int *fds, size_t nfds, json_t **ret,
	       int *ret_fd, struct lab_err *err)
{
	autojson json_t *owned = req;
	autofree char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
	autofree char *buf = NULL;
	autojson json_t *ok = NULL;
	int got[IO_MAX_FDS], n, r;
	size_t ngot = 0;

	if (!text)
		return lab_fail(err, -EINVAL,
				"the request to the keeper has text that is not "
				"UTF-8, or there is no memory for it");
	if (strlen(text) > KEEPER_MAX_MESSAGE)
		return lab_fail(err, -E2BIG, "the request to the keeper is %zu bytes: at most %d",
				strlen(text), KEEPER_MAX_MESSAGE);
	if (nfds > IO_MAX_FDS)
		return lab_fail(err, -E2BIG,
				"a request to the keeper carries at most %d descriptors",
				IO_MAX_FDS);
	buf = malloc(KEEPER_MAX_MESSAGE);
	if (!buf)
		return lab_fail(err, -ENOMEM, "out of memory");
	n = exchange(k, text, fds, nfds, buf, got, &ngot, err);
	if (n < 0)
		return n;
	r = read_reply(k, buf, (size_t)n, &ok, err);
	if (!r && ngot != (ret_fd ? 1 : 0))
		r = give_up(k, -EPROTO, err);
	if (r < 0 || !ret_fd)
		close_all(got, ngot);
	else
		*ret_fd = got[0];
	if (!r && ret)
		*ret = steal_ptr(ok);
	return r;
}

static void wait_gone(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	if (RETRY(poll(&p, 1, KEEPER_TIMEOUT_S * 1000)) == 0)
		pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
}

int keeper_shutdown(struct keeper *k, struct lab_err *err)
{
	autoclose int pidfd = pidfd_open(k->pid, 0);
	int r = ask(k, json_pack("{ss}", "op", "shutdown"), NULL, 0, NULL, NULL, err);

	if (pidfd >= 0) {
		/* one that did not answer is ended: the lab must be gone afterwards */
		if (r < 0)
			pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
		wait_gone(pidfd);
	}
	keeper_close(k);
	return r;
}

int keeper_sweep(unsigned int lab_id, const char *run_dir, struct lab_err *err)
{
	char program[IO_PATH], id[16];
	const char *argv[] = { program, "--sweep", "--id", id, "--run", run_dir, NULL };
	struct run run = { .argv = argv };
	struct paths paths;
	int r = paths_find(&paths, err);

	if (r < 0)
		return r;
	io_path(program, "%s/labkeeper", paths.exec);
	snprintf(id, sizeof(id), "%u", lab_id);
	run.deadline = num_now_us() + KEEPER_START_US;
	return run_program(&run, NULL, err);
}

/*
 * The host's resolvers, as labd sees them now: inside the lab there is no
 * /etc/resolv.conf, and a workstation's changes as it moves. The keeper uses
 * the newest it was told.
 */
static json_t *host_resolvers(void)
{
	autofree char *text = NULL;
	json_t *list = json_array();
	char *save = NULL;

	if (io_read_file(AT_FDCWD, "/etc/resolv.conf", KEEPER_MAX_RESOLV_CONF, &text, NULL) < 0)
		return list;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char addr[64];

		if (json_array_size(list) < KEEPER_MAX_RESOLVERS &&
		    sscanf(line, " nameserver %63s", addr) == 1)
			json_array_append_new(list, json_string(addr));
	}
	return list;
}

int keeper_network_add(struct keeper *k, const struct keeper_network *net, struct lab_err *err)
{
	json_t *req = json_pack("{ss ss ss ss ss si sb sb so}", "op", "network_add", "name",
				net->name, "cidr", net->cidr, "gateway", net->gateway, "domain",
				net->domain ? net->domain : "", "mtu", (int)net->mtu, "nat",
				net->nat, "dhcp", net->dhcp, "resolvers", host_resolvers());

	return ask(k, req, NULL, 0, NULL, NULL, err);
}

int keeper_network_del(struct keeper *k, const char *name, struct lab_err *err)
{
	return ask(k, json_pack("{ss ss}", "op", "network_del", "name", name), NULL, 0, NULL, NULL,
		   err);
}

static json_t *nics_request(const struct keeper_nic *nics, size_t n, bool more)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{ss ss ss ss ss ss* ss*}", "ifname",
						      nics[i].ifname, "network", nics[i].network,
						      "mac", nics[i].mac, "addr",
						      nics[i].addr ? nics[i].addr : "", "host",
						      nics[i].host ? nics[i].host : "", "aliases",
						      nics[i].aliases, "tap", nics[i].tap));
	if (json_array_size(list) != n) {
		json_decref(list);
		return NULL;
	}
	return json_pack("{ss so sb so}", "op", "nics_add", "nics", list, "more", more, "resolvers",
			 host_resolvers());
}

/* Take back the nics of the messages before the one that failed */
static void undo_nics(struct keeper *k, const json_t *added)
{
	if (json_array_size(added))
		(void)ask(k, json_pack("{ss sO}", "op", "nics_del", "ifnames", added), NULL, 0,
			  NULL, NULL, NULL);
}

int keeper_nics_add(struct keeper *k, const struct keeper_nic *nics, size_t n, struct lab_err *err)
{
	autojson json_t *added = json_array();

	for (size_t i = 0; i < n; i += KEEPER_NICS_PER_MESSAGE) {
		size_t part = MIN(n - i, (size_t)KEEPER_NICS_PER_MESSAGE);
		autojson json_t *ok = NULL;
		int r = ask(k, nics_request(nics + i, part, i + part < n), NULL, 0, &ok, NULL, err);

		if (r < 0) {
			undo_nics(k, added);
			return r;
		}
		json_array_extend(added, json_object_get(ok, "added"));
	}
	return 0;
}

/* Strings as a JSON array; NULL if one cannot be carried */
static json_t *string_array(const char *const *words, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(list, json_string(words[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

int keeper_nics_del(struct keeper *k, const char *const *ifnames, size_t n, struct lab_err *err)
{
	for (size_t i = 0; i < n; i += KEEPER_NICS_PER_MESSAGE) {
		size_t part = MIN(n - i, (size_t)KEEPER_NICS_PER_MESSAGE);
		int r = ask(k,
			    json_pack("{ss so}", "op", "nics_del", "ifnames",
				      string_array(ifnames + i, part)),
			    NULL, 0, NULL, NULL, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int keeper_taps_add(struct keeper *k, const char *const *ifnames, size_t n, struct lab_err *err)
{
	return ask(k, json_pack("{ss so}", "op", "taps_add", "ifnames", string_array(ifnames, n)),
		   NULL, 0, NULL, NULL, err);
}

int keeper_link_set(struct keeper *k, const char *ifname, bool up, struct lab_err *err)
{
	return ask(k, json_pack("{ss ss sb}", "op", "link_set", "ifname", ifname, "up", up), NULL,
		   0, NULL, NULL, err);
}

int keeper_flush(struct keeper *k, const char *const *ifnames, size_t n, struct lab_err *err)
{
	/* one message holds all names a lab can have: they must be known together */
	return ask(k, json_pack("{ss so}", "op", "flush", "ifnames", string_array(ifnames, n)),
		   NULL, 0, NULL, NULL, err);
}

int keeper_clock_set(struct keeper *k, int64_t offset_us, struct lab_err *err)
{
	return ask(k, json_pack("{ss sI}", "op", "clock_set", "offset_us", (json_int_t)offset_us),
		   NULL, 0, NULL, NULL, err);
}

int keeper_clock_get(struct keeper *k, int64_t *ret_offset_us, struct lab_err *err)
{
	autojson json_t *ok = NULL;
	int r = ask(k, json_pack("{ss}", "op", "clock_get"), NULL, 0, &ok, NULL, err);
	const json_t *offset = json_object_get(ok, "offset_us");

	if (r < 0)
		return r;
	if (!json_is_integer(offset))
		return lab_fail(err, -EPROTO, "the keeper does not say the time");
	*ret_offset_us = json_integer_value(offset);
	return 0;
}

static size_t count_words(const char *const *words)
{
	size_t n = 0;

	while (words && words[n])
		n++;
	return n;
}

int keeper_spawn(struct keeper *k, const struct keeper_spawn *spawn, pid_t *ret_pid, int *ret_pidfd,
		 struct lab_err *err)
{
	autojson json_t *ok = NULL;
	json_t *req = json_pack("{ss so so so ss sb}", "op", "spawn", "argv",
				string_array(spawn->argv, count_words(spawn->argv)), "env",
				string_array(spawn->env, count_words(spawn->env)), "nics",
				string_array(spawn->nics, spawn->nnics), "log", spawn->log,
				"unprivileged", spawn->unprivileged);
	int r = ask(k, req, spawn->fds, spawn->nfds, &ok, ret_pidfd, err);

	if (!r)
		*ret_pid = (pid_t)json_integer_value(json_object_get(ok, "pid"));
	return r;
}

uid_t keeper_uid(unsigned int lab_id)
{
	return geteuid() ? geteuid() : KEEPER_UID_BASE + lab_id;
}

/* What a guest has had in its directory may be a link to anything, or wait for ever */
static int set_owner(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	autoclose int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EUCLEAN;
	if (!geteuid() && fchown(fd, uid, gid) < 0)
		return -errno;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

int keeper_freeze_file(const char *path)
{
	return set_owner(path, 0, KEEPER_GUESTS_GID, 0440);
}

int keeper_give_file(const char *path, uid_t uid)
{
	return set_owner(path, uid, (gid_t)-1, 0600);
}

int keeper_exit_status(struct keeper *k, pid_t pid, int *ret_status, struct lab_err *err)
{
	autojson json_t *ok = NULL;
	int r = ask(k, json_pack("{ss si}", "op", "exit_status", "pid", (int)pid), NULL, 0, &ok,
		    NULL, err);
	const json_t *status = json_object_get(ok, "status");

	if (r < 0 || !json_is_integer(status))
		return r;
	*ret_status = (int)json_integer_value(status);
	return 1;
}

int keeper_connect_tcp(struct keeper *k, const char *addr, uint16_t port, struct lab_err *err)
{
	int fd = -EBADF;
	int r = ask(k, json_pack("{ss ss si}", "op", "connect_tcp", "addr", addr, "port", port),
		    NULL, 0, NULL, &fd, err);

	return r < 0 ? r : fd;
}

int keeper_capture(struct keeper *k, const char *ifname, struct lab_err *err)
{
	int fd = -EBADF;
	int r = ask(k, json_pack("{ss ss}", "op", "capture", "ifname", ifname), NULL, 0, NULL, &fd,
		    err);

	return r < 0 ? r : fd;
}

int keeper_forward_add(struct keeper *k, const char *id, int listener, const char *addr,
		       uint16_t port, struct lab_err *err)
{
	return ask(k,
		   json_pack("{ss ss ss si}", "op", "forward_add", "id", id, "addr", addr, "port",
			     port),
		   &listener, 1, NULL, NULL, err);
}

int keeper_forward_del(struct keeper *k, const char *id, struct lab_err *err)
{
	return ask(k, json_pack("{ss ss}", "op", "forward_del", "id", id), NULL, 0, NULL, NULL,
		   err);
}

int keeper_console_add(struct keeper *k, const char *id, const char *path, const char *listen,
		       const char *log, uint64_t max, struct lab_err *err)
{
	json_t *req = json_pack("{ss ss ss ss ss sI}", "op", "console_add", "id", id, "path", path,
				"listen", listen, "log", log, "max", (json_int_t)max);

	return ask(k, req, NULL, 0, NULL, NULL, err);
}

int keeper_console_del(struct keeper *k, const char *id, struct lab_err *err)
{
	return ask(k, json_pack("{ss ss}", "op", "console_del", "id", id), NULL, 0, NULL, NULL,
		   err);
}

/* One part of the state; a large one comes in several pages */
static int state_section(struct keeper *k, const char *section, json_t *all, struct lab_err *err)
{
	json_int_t from = 0;

	do {
		autojson json_t *ok = NULL;
		int r = ask(
			k, json_pack("{ss ss sI}", "op", "state", "section", section, "from", from),
			NULL, 0, &ok, NULL, err);

		if (r < 0)
			return r;
		if (json_object_update(all, json_object_get(ok, "items")) < 0)
			return lab_fail(err, -ENOMEM, "out of memory");
		from = json_integer_value(json_object_get(ok, "next"));
	} while (from > 0);
	return 0;
}

int keeper_state(struct keeper *k, json_t **ret, struct lab_err *err)
{
	static const char *const sections[] = { "networks", "nics",	"forwards",
						"consoles", "children", "uplink" };
	autojson json_t *state = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		json_t *all = json_object();
		int r = json_object_set_new(state, sections[i], all);

		if (r < 0)
			return lab_fail(err, -ENOMEM, "out of memory");
		r = state_section(k, sections[i], all, err);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(state);
	return 0;
}
