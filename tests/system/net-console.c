// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net-console.c - consoles are recorded, rotated, shown to many, and flooding costs little
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
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct nt_lab lab;
static char qemu_path[300], listen_path[300], log_path[300];

/* QEMU's end: a unix server that takes one client */
static int qemu_listen(void)
{
	int fd;

	unlink(qemu_path);
	fd = io_listen_unix(qemu_path, SOCK_STREAM, 0600);
	NT_CHECK(fd >= 0, "%s: %s", qemu_path, strerror(-fd));
	return fd;
}

static int qemu_accept(int listener)
{
	int fd;

	NT_CHECK(nt_wait_fd(listener, POLLIN, 3000), "the keeper does not connect");
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	NT_CHECK(fd >= 0, "accept: %m");
	return fd;
}

static int reader(void)
{
	int fd = io_connect_unix(listen_path, SOCK_STREAM);

	NT_CHECK(fd >= 0, "%s: %s", listen_path, strerror(-fd));
	return fd;
}

static const json_t *console_state(json_t **hold)
{
	struct lab_err err = LAB_ERR_INIT;

	json_decref(*hold);
	NT_OK(keeper_state(lab.k, hold, &err));
	return json_object_get(json_object_get(*hold, "consoles"), "db");
}

static void wait_readers(int n)
{
	uint64_t deadline = num_now_us() + 3000000;
	autojson json_t *hold = NULL;

	while (json_integer_value(json_object_get(console_state(&hold), "readers")) != n)
		NT_CHECK(num_now_us() < deadline, "there are not %d readers", n);
}

static void wait_bytes(uint64_t n)
{
	uint64_t deadline = num_now_us() + 20000000;
	autojson json_t *hold = NULL;

	while ((uint64_t)json_integer_value(json_object_get(console_state(&hold), "bytes")) < n)
		NT_CHECK(num_now_us() < deadline, "%llu bytes are not recorded",
			 (unsigned long long)n);
}

static void expect(int fd, const char *want)
{
	char buf[512] = "";
	size_t len = strlen(want), n = 0;

	while (n < len) {
		ssize_t r = nt_wait_fd(fd, POLLIN, 3000) ? recv(fd, buf + n, len - n, 0) : 0;

		NT_CHECK(r > 0, "expected '%s', got '%s'", want, buf);
		n += (size_t)r;
	}
	NT_CHECK(!memcmp(buf, want, len), "expected '%s', got '%s'", want, buf);
}

static void expect_log(const char *path, const char *want)
{
	uint64_t deadline = num_now_us() + 3000000;
	autofree char *text = NULL;

	do {
		free(text);
		text = NULL;
		NT_CHECK(num_now_us() < deadline, "%s lacks '%s'", path, want);
	} while (io_read_file(AT_FDCWD, path, 4 << 20, &text, NULL) < 0 || !strstr(text, want));
}

static void say(int qemu, const char *text)
{
	NT_CHECK(send(qemu, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text), "send: %m");
}

static void test_readers(int *listener, int *qemu)
{
	int a, b, c;
	char byte;

	*listener = qemu_listen(); /* after console_add(): inotify tells */
	*qemu = qemu_accept(*listener);
	say(*qemu, "early\n");
	expect_log(log_path, "early\n");
	a = reader();
	b = reader();
	wait_readers(2);
	say(*qemu, "login: ");
	expect(a, "login: ");
	expect(b, "login: ");
	NT_CHECK(send(a, "ro", 2, 0) == 2, "send: %m");
	expect(*qemu, "ro");
	NT_CHECK(send(b, "ot\n", 3, 0) == 3, "send: %m");
	expect(*qemu, "ot\n");
	close(a);
	wait_readers(1);
	c = reader(); /* nothing of before is shown again */
	wait_readers(2);
	say(*qemu, "more");
	expect(b, "more");
	expect(c, "more");
	close(*qemu);
	close(*listener);
	NT_CHECK(send(b, "lost", 4, MSG_NOSIGNAL) == 4, "readers leave with QEMU");
	NT_CHECK(recv(c, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN,
		 "a reader was closed or got something");
	*listener = qemu_listen();
	*qemu = qemu_accept(*listener);
	say(*qemu, "again");
	expect(b, "again");
	expect(c, "again");
	close(b);
	close(c);
	wait_readers(0);
	nt_say("readers, typing, and QEMU started again");
}

/* One reader does not read; the guest and the other reader go on */
static void test_slow_reader(int qemu)
{
	static char block[65536];
	int slow = reader(), quick = reader();
	size_t sent = 0, got = 0, note = 0;
	char buf[8192];
	ssize_t n;

	wait_readers(2);
	memset(block, '.', sizeof(block));
	while (sent < (4 << 20)) {
		struct pollfd p[] = { { qemu, POLLOUT, 0 }, { quick, POLLIN, 0 } };

		NT_CHECK(poll(p, 2, 3000) > 0, "the guest stands still after %zu bytes", sent);
		if (p[0].revents)
			sent += (size_t)send(qemu, block, sizeof(block), MSG_DONTWAIT);
		if (p[1].revents)
			got += (size_t)recv(quick, block, sizeof(block), 0);
	}
	while (got < sent && nt_wait_fd(quick, POLLIN, 3000))
		got += (size_t)recv(quick, block, sizeof(block), 0);
	NT_CHECK(got == sent, "the quick reader got %zu of %zu bytes", got, sent);
	for (got = 0; nt_wait_fd(slow, POLLIN, 100);) /* what its buffer held */
		got += (size_t)recv(slow, buf, sizeof(buf), 0);
	say(qemu, "after");
	while (nt_wait_fd(slow, POLLIN, 300)) {
		n = recv(slow, buf, sizeof(buf) - 1, 0);
		NT_CHECK(n > 0, "the slow reader was closed");
		buf[n] = '\0';
		note += strstr(buf, "bytes not shown]") != NULL;
	}
	NT_CHECK(note == 1 && got < sent, "the slow reader was told %zu times, got %zu", note, got);
	close(slow);
	close(quick);
	wait_readers(0);
	nt_say("a slow reader got %zu of %zu bytes, and was told", got, sent);
}

static uint64_t cpu_ticks(pid_t pid)
{
	char path[IO_PATH];
	autofree char *text = NULL;
	unsigned long long user, sys;
	const char *p;

	io_path(path, "/proc/%d/stat", pid);
	NT_CHECK(io_read_file(AT_FDCWD, path, 4096, &text, NULL) == 0, "%s", path);
	p = strrchr(text, ')');
	NT_CHECK(sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
			&sys) == 2,
		 "%s", path);
	return user + sys;
}

/* A guest that writes as fast as it can: the processor time of the keeper is bounded */
static void test_flood(int qemu)
{
	static char block[65536];
	uint64_t start = num_now_us(), end = start + 2000000, ticks = cpu_ticks(lab.k->pid);
	size_t sent = 0;
	autojson json_t *hold = NULL;
	uint64_t bytes =
		(uint64_t)json_integer_value(json_object_get(console_state(&hold), "bytes"));
	double share, rate;

	memset(block, 'f', sizeof(block));
	fcntl(qemu, F_SETFL, O_RDWR | O_NONBLOCK);
	while (num_now_us() < end) {
		ssize_t n = send(qemu, block, sizeof(block), MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		else
			(void)nt_wait_fd(qemu, POLLOUT, 100);
	}
	fcntl(qemu, F_SETFL, O_RDWR);
	share = (double)(cpu_ticks(lab.k->pid) - ticks) / (double)sysconf(_SC_CLK_TCK) / 2.0;
	rate = (double)sent / 2.0 / (1 << 20);
	nt_say("flood: %.1f MiB/s, %.0f %% of a processor", rate, share * 100);
	wait_bytes(bytes + sent);
	NT_CHECK(rate < 12, "a flood passes at %.1f MiB/s", rate);
	NT_CHECK(share < 0.5, "a flood takes %.0f %% of a processor", share * 100);
}

static void test_rotation(int qemu)
{
	char old[320];
	struct stat now, before;
	char line[64];
	autojson json_t *hold = NULL;
	json_int_t bytes;

	snprintf(old, sizeof(old), "%s.1", log_path);
	NT_CHECK(stat(log_path, &now) == 0 && stat(old, &before) == 0, "no second log");
	NT_CHECK(before.st_size == 256 << 10 && now.st_size <= 256 << 10, "logs of %lld and %lld",
		 (long long)before.st_size, (long long)now.st_size);
	bytes = json_integer_value(json_object_get(console_state(&hold), "bytes"));
	for (int i = 0; i < 20000; i++) {
		snprintf(line, sizeof(line), "line %05d of a console\n", i);
		say(qemu, line);
	}
	wait_bytes((uint64_t)bytes + 20000 * 24);
	expect_log(log_path, "line 19999 of a console\n");
	NT_CHECK(stat(log_path, &now) == 0 && now.st_size <= 256 << 10, "log of %lld",
		 (long long)now.st_size);
	nt_say("rotation");
}

static void test_bad(void)
{
	struct lab_err err = LAB_ERR_INIT;
	char link[300];
	struct stat st;

	NT_OK(keeper_console_add(lab.k, "db", qemu_path, listen_path, log_path, 256 << 10, &err));
	NT_FAILS(EEXIST,
		 keeper_console_add(lab.k, "db", qemu_path, listen_path, "/tmp/x", 1, &err));
	NT_FAILS(EINVAL, keeper_console_add(lab.k, "x", "qemu", listen_path, log_path, 1, &err));
	NT_FAILS(ENOENT, keeper_console_add(lab.k, "x", "/nowhere/qemu", "/nowhere/l", "/nowhere/x",
					    1, &err));
	/* a guest's uid may own the directory: what it put there is not followed */
	snprintf(link, sizeof(link), "%s/link", lab.state);
	NT_CHECK(symlink("/etc/passwd", link) == 0, "symlink: %m");
	NT_FAILS(ELOOP, keeper_console_add(lab.k, "x", qemu_path, "/tmp/l", link, 1, &err));
	unlink(link);
	NT_OK(keeper_console_del(lab.k, "x", &err));
	NT_OK(keeper_console_del(lab.k, "db", &err));
	NT_CHECK(lstat(listen_path, &st) < 0, "%s is left", listen_path);
	nt_say("refused consoles, and the end");
}

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	int listener, qemu;

	nt_main(argc, argv);
	nt_start(&lab, 7);
	snprintf(qemu_path, sizeof(qemu_path), "%s/serial", lab.state);
	snprintf(listen_path, sizeof(listen_path), "%s/console", lab.run);
	snprintf(log_path, sizeof(log_path), "%s/console.log", lab.state);
	NT_OK(keeper_console_add(lab.k, "db", qemu_path, listen_path, log_path, 256 << 10, &err));
	test_readers(&listener, &qemu);
	test_slow_reader(qemu);
	test_flood(qemu);
	test_rotation(qemu);
	say(qemu, "last words");
	test_bad();
	expect_log(log_path, "last words");
	close(qemu);
	close(listener);
	unlink(qemu_path);
	nt_shutdown(&lab);
	return 0;
}
