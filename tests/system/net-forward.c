// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net-forward.c - ports of the host that lead into the lab carry every byte, both ways
 *
 * TIMEOUT: 60
 * REQUIRES: root tun dnsmasq ip
 */
#define _GNU_SOURCE
#include "lib/digest.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/nettest.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define MAC "52:54:00:00:00:0a"
#define SIZE (10 << 20)
#define PORT 18080

static struct nt_lab lab;
static struct nt_box guest;
static uint8_t data[2][SIZE];

/**
 * struct end - one end of a connection under test
 * @send, @want:	what goes out, what must come in
 */
struct end {
	int fd;
	const uint8_t *send;
	const uint8_t *want;
	size_t got;
	bool same;
};

static void *send_all(void *arg)
{
	const struct end *e = arg;

	for (size_t n = 0; n < SIZE;) {
		ssize_t r = send(e->fd, e->send + n, SIZE - n, MSG_NOSIGNAL);

		if (r <= 0)
			break;
		n += (size_t)r;
	}
	shutdown(e->fd, SHUT_WR);
	return NULL;
}

static void *recv_all(void *arg)
{
	struct end *e = arg;
	static __thread uint8_t buf[65536];
	ssize_t n;

	e->same = true;
	while ((n = recv(e->fd, buf, sizeof(buf), 0)) > 0) {
		e->same &= e->got + (size_t)n <= SIZE && !memcmp(buf, e->want + e->got, (size_t)n);
		e->got += (size_t)n;
	}
	return NULL;
}

/* Connect through the forward; @ret_far is the guest's end */
static int pair(int listener, int *ret_far)
{
	int near = nt_tcp_connect(NULL, "127.0.0.1", PORT, 3000);

	NT_CHECK(near >= 0, "connecting to the forward: %s", strerror(-near));
	NT_CHECK(nt_wait_fd(listener, POLLIN, 3000), "nothing came to the guest");
	*ret_far = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return near;
}

static void test_both_ways(int listener)
{
	struct end e[2] = { { .send = data[0], .want = data[1] },
			    { .send = data[1], .want = data[0] } };
	pthread_t t[4];
	uint64_t start = num_now_us();

	e[0].fd = pair(listener, &e[1].fd);
	for (int i = 0; i < 2; i++) {
		pthread_create(&t[i], NULL, send_all, &e[i]);
		pthread_create(&t[2 + i], NULL, recv_all, &e[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 2; i++) {
		NT_CHECK(e[i].got == SIZE && e[i].same, "end %d got %zu bytes, %s", i, e[i].got,
			 e[i].same ? "right" : "wrong");
		close(e[i].fd);
	}
	nt_say("10 MiB each way at once: %.0f MiB/s", 20.0 * 1e6 / (double)(num_now_us() - start));
}

static void test_half_close(int listener)
{
	char buf[8];
	int far, near = pair(listener, &far);

	shutdown(near, SHUT_WR);
	NT_CHECK(recv(far, buf, 1, 0) == 0, "the end did not pass");
	NT_CHECK(send(far, "late", 4, 0) == 4 && recv(near, buf, 8, 0) == 4,
		 "nothing passes after a half close");
	close(far);
	NT_CHECK(recv(near, buf, 8, 0) == 0, "the second end did not pass");
	close(near);
	nt_say("half close");
}

/* A reader that does not read stops its writer and nobody else */
static void test_back_pressure(int listener)
{
	int far, near = pair(listener, &far), far2, near2;
	size_t sent = 0;
	char byte;

	fcntl(near, F_SETFL, O_RDWR | O_NONBLOCK);
	while (nt_wait_fd(near, POLLOUT, 300)) {
		ssize_t n = send(near, data[0], 65536, MSG_NOSIGNAL);

		NT_CHECK(n > 0 && (sent += (size_t)n) < (64 << 20), "nothing holds the writer");
	}
	near2 = pair(listener, &far2);
	NT_CHECK(send(near2, "x", 1, 0) == 1 && nt_wait_fd(far2, POLLIN, 1000) &&
			 recv(far2, &byte, 1, 0) == 1,
		 "another connection waits too");
	close(near2);
	close(far2);
	close(far);
	close(near);
	nt_say("a slow reader held its writer after %zu KiB", sent >> 10);
}

static void test_refused(int listener)
{
	struct lab_err err = LAB_ERR_INIT;
	char byte;
	int fd;

	NT_OK(keeper_forward_add(lab.k, "closed", listener, "10.20.0.10", 81, &err));
	fd = nt_tcp_connect(NULL, "127.0.0.1", PORT + 1, 3000);
	/* the reset may be there before we look at the connection */
	NT_CHECK(fd == -ECONNRESET || (fd >= 0 && nt_wait_fd(fd, POLLIN, 3000)),
		 "no answer of a closed port: %d", fd);
	NT_CHECK(fd < 0 || (recv(fd, &byte, 1, 0) == -1 && errno == ECONNRESET),
		 "a closed port: %m");
	if (fd >= 0)
		close(fd);
	NT_OK(keeper_forward_del(lab.k, "closed", &err));
	NT_OK(keeper_forward_del(lab.k, "closed", &err));
	nt_say("a refused connection is reset");
}

static void test_delete_drops(int listener, int target)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *state = NULL;
	const json_t *f;
	char byte;
	int far, near = pair(target, &far);

	NT_OK(keeper_state(lab.k, &state, &err));
	f = json_object_get(json_object_get(state, "forwards"), "web");
	NT_CHECK(json_integer_value(json_object_get(f, "connections")) == 1 &&
			 json_integer_value(json_object_get(f, "bytes_out")) >= SIZE,
		 "state of the forward");
	NT_OK(keeper_forward_del(lab.k, "web", &err));
	NT_CHECK(recv(near, &byte, 1, 0) == -1 && errno == ECONNRESET, "connection stays: %m");
	NT_CHECK(recv(far, &byte, 1, 0) == -1 && errno == ECONNRESET, "connection stays: %m");
	close(near);
	close(far);
	/* labd's own listener stays: it may be handed over again */
	NT_OK(keeper_forward_add(lab.k, "web", listener, "10.20.0.10", 80, &err));
	near = pair(target, &far);
	close(near);
	close(far);
	nt_say("a removed forward drops its connections");
}

/* More than may be open at once wait, and are served when others end */
static void test_many(int listener)
{
	enum { N = 300 };
	static int near[N], far[N];
	int n = 0;

	for (int i = 0; i < N; i++) {
		near[i] = nt_tcp_connect(NULL, "127.0.0.1", PORT, 3000);
		NT_CHECK(near[i] >= 0, "connection %d: %s", i, strerror(-near[i]));
	}
	while (n < N && nt_wait_fd(listener, POLLIN, n < 256 ? 3000 : 300))
		far[n++] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	NT_CHECK(n == 256, "%d connections were open at once", n);
	for (int i = 0; i < 100; i++) {
		close(near[i]);
		close(far[i]);
	}
	while (n < N && nt_wait_fd(listener, POLLIN, 3000))
		far[n++] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	NT_CHECK(n == N, "%d of %d connections were served", n, N);
	for (int i = 100; i < N; i++) {
		close(near[i]);
		close(far[i]);
	}
	nt_say("%d connections, 256 at once", N);
}

static void test_bad(void)
{
	struct lab_err err = LAB_ERR_INIT;
	int plain = socket(AF_INET, SOCK_STREAM, 0), file = open("/dev/null", O_RDWR);
	int listener = nt_tcp_listen(NULL, "127.0.0.1", PORT + 2);

	NT_FAILS(EINVAL, keeper_forward_add(lab.k, "x", plain, "10.20.0.10", 80, &err));
	NT_FAILS(EINVAL, keeper_forward_add(lab.k, "x", file, "10.20.0.10", 80, &err));
	NT_FAILS(EINVAL, keeper_forward_add(lab.k, "x", listener, "guest", 80, &err));
	NT_FAILS(EINVAL, keeper_forward_add(lab.k, "x", listener, "10.20.0.10", 0, &err));
	NT_FAILS(EINVAL, keeper_forward_add(lab.k, "", listener, "10.20.0.10", 80, &err));
	NT_FAILS(EINVAL, keeper_forward_add(lab.k, "_resolver", listener, "10.20.0.10", 80, &err));
	close(plain);
	close(file);
	close(listener);
	nt_say("refused forwards");
}

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	int listener, closed, target;

	nt_main(argc, argv);
	for (size_t i = 0; i < SIZE; i += sizeof(uint64_t)) {
		uint64_t v[2] = { digest_u64(&i, sizeof(i)) };

		v[1] = ~v[0] * 0x9e3779b97f4a7c15ULL;
		memcpy(&data[0][i], &v[0], sizeof(v[0]));
		memcpy(&data[1][i], &v[1], sizeof(v[1]));
	}
	nt_start(&lab, 7);
	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", false);
	nt_nic(&lab, "db0", "mgmt", MAC, "10.20.0.10", "db");
	nt_box_init(&guest, nt_tap(&lab, "db0"), MAC, "10.20.0.10", 24, "10.20.0.1");
	target = nt_tcp_listen(&guest, "10.20.0.10", 80);
	listener = nt_tcp_listen(NULL, "127.0.0.1", PORT);
	closed = nt_tcp_listen(NULL, "127.0.0.1", PORT + 1);
	NT_OK(keeper_forward_add(lab.k, "web", listener, "10.20.0.10", 80, &err));
	test_both_ways(target);
	test_half_close(target);
	test_back_pressure(target);
	test_refused(closed);
	test_delete_drops(listener, target);
	test_many(target);
	test_bad();
	nt_box_done(&guest);
	nt_shutdown(&lab);
	return 0;
}
