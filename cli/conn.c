// SPDX-License-Identifier: GPL-2.0-or-later
/* conn.c - reaching labd, and starting it on demand */
#define _GNU_SOURCE
#include "cli/cli.h"

#include "lib/io.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Whether somebody listens at the socket, asked until the deadline. labd
 * listens before its starter returns, so the first try normally succeeds; the
 * others are for a labd that another labctl is starting at this moment.
 */
static bool listens(const char *socket, uint64_t deadline)
{
	for (;;) {
		autoclose int fd = io_connect_unix(socket, SOCK_STREAM);

		if (fd >= 0)
			return true;
		if (num_now_us() >= deadline)
			return false;
		poll(NULL, 0, 20);
	}
}

const char *cli_program(const struct cli *cli, const char *name, char *buf)
{
	char self[IO_PATH], *slash;
	ssize_t n;

	io_path(buf, "%s/%s", cli->paths.exec, name);
	if (!access(buf, X_OK))
		return buf;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash)
			io_path(buf, "%.*s/%s", (int)(slash - self), self, name);
	}
	return buf;
}

/*
 * Whether the labd that holds the state directory lives: started by another
 * labctl at this moment, it makes ours fail, and will listen soon.
 */
static bool is_starting(const struct cli *cli)
{
	autofree char *text = NULL, *comm = NULL;
	char path[IO_PATH];
	uint64_t pid;

	if (io_read_file(AT_FDCWD, io_path(path, "%s/lock", cli->paths.state), 32, &text, NULL) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	if (num_u64(text, INT32_MAX, &pid) < 0)
		return false;
	io_path(path, "/proc/%u/comm", (unsigned int)pid);
	return !io_read_file(AT_FDCWD, path, 32, &comm, NULL) && !strcmp(comm, "labd\n");
}

static int start_labd(struct cli *cli)
{
	uint64_t deadline = num_now_us() + CLI_TIMEOUT_MS * 1000ULL;
	struct lab_err err = LAB_ERR_INIT;
	char path[IO_PATH];
	const char *argv[] = { cli_program(cli, "labd", path), "--daemon", NULL };
	struct run run = { .argv = argv, .deadline = deadline };
	int r = run_program(&run, NULL, &err);

	if (listens(cli->socket, r < 0 && !is_starting(cli) ? 0 : deadline))
		return 0;
	if (r < 0)
		return lab_fail(&cli->err, -ECONNREFUSED,
				"no labd answers at %s, and starting it failed: %s", cli->socket,
				err.text);
	return lab_fail(&cli->err, -ECONNREFUSED,
			"labd was started, but does not listen at %s after %d s", cli->socket,
			CLI_TIMEOUT_MS / 1000);
}

static int need_client(struct cli *cli)
{
	if (!cli->client)
		cli->client = client_new(cli->socket, CLI_TIMEOUT_MS);
	return cli->client ? 0 : lab_fail_errno(&cli->err, -ENOMEM, "labd's client");
}

struct client *cli_second(struct cli *cli)
{
	return client_new(cli->socket, CLI_TIMEOUT_MS);
}

int cli_call(struct cli *cli, const char *method, const char *path, json_t *body, json_t **ret)
{
	autojson json_t *kept = json_incref(body);
	int r = need_client(cli);

	if (r < 0) {
		json_decref(body);
		return r;
	}
	r = client_call(cli->client, method, path, body, ret, &cli->problems, &cli->err);
	if (r == -ECONNREFUSED && !client_answered(cli->client) && cli->may_start && !cli->ready) {
		r = start_labd(cli);
		if (!r)
			r = client_call(cli->client, method, path, json_incref(kept), ret,
					&cli->problems, &cli->err);
	}
	if (r == -ECONNREFUSED && !cli->may_start)
		lab_fail(&cli->err, r, "no labd answers at %s; 'labd --daemon' starts one",
			 cli->socket);
	cli->ready = cli->ready || client_answered(cli->client);
	cli->unreachable = r < 0 && !client_answered(cli->client) &&
			   (r == -ECONNREFUSED || r == -ECONNRESET || r == -EACCES ||
			    r == -ETIMEDOUT);
	return r;
}

int cli_ready(struct cli *cli)
{
	return cli->ready ? 0 : cli_call(cli, "GET", "/v1/version", NULL, NULL);
}

int cli_job(struct cli *cli, const char *method, const char *path, json_t *body, uint64_t *ret_id)
{
	autojson json_t *answer = NULL;
	json_int_t id = 0;
	int r = cli_call(cli, method, path, body, &answer);

	if (r < 0)
		return r;
	if (json_unpack(answer, "{s?I}", "job", &id) < 0 || id < 0)
		return lab_fail(&cli->err, -EPROTO, "labd's answer to %s %s has no job", method,
				path);
	*ret_id = (uint64_t)id;
	return 0;
}

int cli_labs(struct cli *cli, json_t **ret)
{
	int r = cli->labs ? 0 : cli_call(cli, "GET", "/v1/labs", NULL, &cli->labs);

	if (r < 0)
		return r;
	*ret = cli->labs;
	return 0;
}
