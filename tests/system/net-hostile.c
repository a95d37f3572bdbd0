// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net-hostile.c - whatever comes in at a keeper's socket, it goes on
 *
 * TIMEOUT: 60
 * REQUIRES: root tun ip
 */
#define _GNU_SOURCE
#include "lib/digest.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/nettest.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct nt_lab lab;
static char path[300];

static int dial(void)
{
	const int room = 4 * KEEPER_MAX_MESSAGE;
	int fd = io_connect_unix(path, SOCK_SEQPACKET);

	NT_CHECK(fd >= 0, "%s: %s", path, strerror(-fd));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	return fd;
}

/* Send bytes and want an answer that is an error, or the end of the connection */
static void provoke(const void *data, size_t len)
{
	static char buf[KEEPER_MAX_MESSAGE];
	autoclose int fd = dial();
	autojson json_t *reply = NULL;
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

	NT_CHECK(n == (ssize_t)len, "send %zu: %m", len);
	NT_CHECK(nt_wait_fd(fd, POLLIN, 5000), "no answer to %zu bytes", len);
	n = recv(fd, buf, sizeof(buf), 0);
	if (n <= 0)
		return;
	reply = json_loadb(buf, (size_t)n, 0, NULL);
	NT_CHECK(json_is_string(json_object_get(reply, "error")) &&
			 json_is_string(json_object_get(reply, "errno")),
		 "answer to %.60s: %.*s", (const char *)data, (int)n, buf);
}

static void provoke_text(const char *text)
{
	provoke(text, strlen(text));
}

static void test_texts(void)
{
	static const char *const texts[] = {
		"x",
		"{",
		"[]",
		"{}",
		"null",
		"\"op\"",
		"{\"op\":null}",
		"{\"op\":\"\"}",
		"{\"op\":\"rm\"}",
		"{\"op\":\"network_add\"}",
		"{\"op\":\"network_add\",\"name\":1}",
		"{\"op\":\"network_del\",\"name\":\"a\",\"more\":1}",
		"{\"op\":\"nics_add\",\"nics\":[1],\"more\":false,\"resolvers\":[]}",
		"{\"op\":\"nics_add\",\"nics\":{\"a\":[]},\"more\":0,\"resolvers\":7}",
		"{\"op\":\"nics_del\",\"ifnames\":[null]}",
		"{\"op\":\"nics_del\",\"ifnames\":\"lo\"}",
		"{\"op\":\"spawn\",\"argv\":[],\"nics\":[],\"log\":\"/\",\"unprivileged\":true}",
		"{\"op\":\"spawn\",\"argv\":[1],\"nics\":[],\"log\":\"/\",\"unprivileged\":true}",
		"{\"op\":\"exit_status\",\"pid\":-1}",
		"{\"op\":\"exit_status\",\"pid\":99999999999}",
		"{\"op\":\"connect_tcp\",\"addr\":\"10.0.0.1\",\"port\":65536}",
		"{\"op\":\"connect_tcp\",\"addr\":\"localhost\",\"port\":80}",
		"{\"op\":\"forward_add\",\"id\":\"x\",\"addr\":\"10.0.0.1\",\"port\":80}",
		"{\"op\":\"console_add\",\"id\":\"x\",\"path\":\"\",\"listen\":\"\",\"max\":-1}",
		"{\"op\":\"state\",\"section\":\"secrets\",\"from\":0}",
		"{\"op\":\"state\",\"section\":\"nics\",\"from\":-5}",
		"{\"op\":\"link_set\",\"ifname\":\"\",\"up\":true}",
		"{\"op\":\"shutdown\",\"op\":\"shutdown\"",
		"{\"op\":\"console_add\",\"id\":\"\",\"path\":\"\",\"listen\":\"\",\"max\":1}",
		"{\"op\":\"a\\u0000b\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		provoke_text(texts[i]);
	provoke("\xff\xfe\x00\x01", 4);
	nt_say("%zu bad requests", ARRAY_SIZE(texts));
}

static void test_sizes(void)
{
	static char big[KEEPER_MAX_MESSAGE + 4096];

	memset(big, '[', sizeof(big));
	provoke(big, 100000); /* deep */
	provoke(big, KEEPER_MAX_MESSAGE);
	provoke(big, sizeof(big)); /* too long */
	memset(big, ' ', sizeof(big));
	provoke(big, KEEPER_MAX_MESSAGE);
	memset(big, 'a', sizeof(big));
	for (size_t i = 0; i < 7; i++)
		big[i] = "{\"op\":\""[i];
	provoke(big, KEEPER_MAX_MESSAGE);
	nt_say("deep and long requests");
}

static void test_noise(void)
{
	static const char start[] = "{\"op\":\"network_add\",\"name\":\"";
	char buf[512];

	for (uint64_t i = 0; i < 500; i++) {
		for (size_t j = 0; j < sizeof(buf); j += 8) {
			uint64_t key[2] = { i, j }, v = digest_u64(key, sizeof(key));

			memcpy(buf + j, &v, 8);
		}
		if (i % 2)
			memcpy(buf, start, sizeof(start) - 1);
		provoke(buf, 1 + (size_t)(i % sizeof(buf)));
	}
	nt_say("500 random requests");
}

static size_t open_files(void)
{
	char dir[64];
	autodir DIR *d = NULL;
	size_t n = 0;

	snprintf(dir, sizeof(dir), "/proc/%d/fd", lab.k->pid);
	d = opendir(dir);
	NT_CHECK(d, "%s: %m", dir);
	while (readdir(d))
		n++;
	return n;
}

/* Descriptors nobody asked for are closed */
static void test_descriptors(void)
{
	static char huge[KEEPER_MAX_MESSAGE + 1];
	int fds[IO_MAX_FDS], many[60];
	size_t before = open_files();

	for (size_t i = 0; i < IO_MAX_FDS; i++)
		fds[i] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = 0;
	for (int i = 0; i < 50; i++) {
		autoclose int fd = dial();
		union {
			struct cmsghdr head;
			char room[CMSG_SPACE(sizeof(many))];
		} ctl = { 0 };
		struct iovec iov = { "{}", 2 };
		struct msghdr msg = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = &ctl,
				      .msg_controllen = sizeof(ctl) };

		NT_CHECK(io_send_fds(fd, "junk", 4, fds, IO_MAX_FDS) == 0, "send");
		NT_CHECK(io_send_fds(fd, huge, sizeof(huge), fds, IO_MAX_FDS) == 0, "send");
		ctl.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(many)),
					     .cmsg_level = SOL_SOCKET,
					     .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&ctl.head), many, sizeof(many));
		NT_CHECK(sendmsg(fd, &msg, MSG_NOSIGNAL) == 2, "send: %m");
		for (int j = 0; j < 3; j++)
			NT_CHECK(nt_wait_fd(fd, POLLIN, 5000) &&
					 recv(fd, huge, sizeof(huge), 0) >= 0,
				 "no answer");
	}
	provoke_text("{}"); /* what was closed before, is seen to be closed before this */
	NT_CHECK(open_files() <= before + 2, "%zu descriptors, %zu before", open_files(), before);
	nt_say("unwanted descriptors");
}

/* A peer that asks and never reads does not hold the others */
static void test_deaf_peer(void)
{
	static const char ask[] = "{\"op\":\"state\",\"section\":\"nics\",\"from\":0}";
	struct lab_err err = LAB_ERR_INIT;
	autoclose int deaf = dial();
	uint64_t start;

	fcntl(deaf, F_SETFL, O_RDWR | O_NONBLOCK);
	for (int i = 0; i < 100000; i++)
		if (send(deaf, ask, strlen(ask), MSG_NOSIGNAL) < 0 && errno == EPIPE)
			break;
	start = num_now_us();
	NT_OK(keeper_network_del(lab.k, "none", &err));
	NT_CHECK(num_now_us() - start < 2000000, "the others wait");
	nt_say("a peer that does not read");
}

static void test_crowd(void)
{
	struct lab_err err = LAB_ERR_INIT;
	int fds[64];
	char byte;
	int closed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		closed += nt_wait_fd(fds[i], POLLIN, i ? 0 : 500) && recv(fds[i], &byte, 1, 0) == 0;
	NT_OK(keeper_network_del(lab.k, "none", &err));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		closed += nt_wait_fd(fds[i], POLLIN, 0) &&
			  recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;
		close(fds[i]);
	}
	NT_CHECK(closed >= 32, "%d of 64 connections were refused", closed);
	nt_say("64 connections");
}

/* Another uid, even where the file's mode would let it in */
static void test_other_user(void)
{
	int status;
	pid_t pid;

	NT_CHECK(chmod(path, 0777) == 0, "chmod: %m");
	pid = fork();
	if (!pid) {
		char buf[256];
		int fd;

		if (setgid(12345) || setuid(12345))
			_exit(9);
		fd = io_connect_unix(path, SOCK_SEQPACKET);
		if (fd < 0)
			_exit(2);
		(void)send(fd, "{\"op\":\"shutdown\"}", 17, MSG_NOSIGNAL);
		_exit(nt_wait_fd(fd, POLLIN, 3000) && recv(fd, buf, sizeof(buf), 0) <= 0 ? 0 : 3);
	}
	RETRY(waitpid(pid, &status, 0));
	NT_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "another user: %d", status);
	nt_say("another user is refused");
}

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *state = NULL;

	nt_main(argc, argv);
	nt_start(&lab, 7);
	snprintf(path, sizeof(path), "%s/keeper.sock", lab.run);
	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", false);
	test_texts();
	test_sizes();
	test_noise();
	test_descriptors();
	test_deaf_peer();
	test_crowd();
	test_other_user();
	NT_OK(keeper_state(lab.k, &state, &err));
	NT_CHECK(json_object_size(json_object_get(state, "networks")) == 1, "the lab has changed");
	nt_shutdown(&lab);
	return 0;
}
