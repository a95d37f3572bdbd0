// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net-clock.c - a lab's guests are told one time, the lab's own
 *
 * TIMEOUT: 60
 * REQUIRES: root tun dnsmasq ip
 */
#define _GNU_SOURCE
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/nettest.h"

#include <arpa/inet.h>
#include <string.h>

#define MAC_A "52:54:00:00:00:0a"
#define MAC_B "52:54:00:00:00:0b"
#define HOUR 3600000000LL
#define YEAR (365 * 24 * HOUR)

static struct nt_lab lab;

/* What a guest is told is the host's time plus @offset, at some moment of the exchange */
static void check_time(struct nt_guest *g, const char *gateway, unsigned int version,
		       int64_t offset)
{
	int64_t before = nt_now_us(), told = 0;
	int r = nt_sntp(g, gateway, gateway, version, &told, 2000);

	NT_CHECK(r == 0, "%s does not tell the time: %d", gateway, r);
	/* a fraction of 2^-32 s is cut off */
	NT_CHECK(told >= before + offset - 1 && told <= nt_now_us() + offset,
		 "%s tells %lld us more than expected", gateway,
		 (long long)(told - before - offset));
}

static void test_offsets(struct nt_guest *a, struct nt_guest *b)
{
	static const int64_t offsets[] = { 0,	      -1,	  -HOUR,     HOUR - 1,
					   123456789, -123456789, 30 * YEAR, -30 * YEAR };
	struct lab_err err = LAB_ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		int64_t got = 1;

		NT_OK(keeper_clock_set(lab.k, offsets[i], &err));
		NT_OK(keeper_clock_get(lab.k, &got, &err));
		NT_CHECK(got == offsets[i], "offset is %lld", (long long)got);
		check_time(a, "10.20.0.1", 4, offsets[i]);
		check_time(b, "10.20.1.1", 3, offsets[i]);
	}
	nt_say("both networks tell the lab's time");
}

static void test_refused(struct nt_guest *a)
{
	struct lab_err err = LAB_ERR_INIT;
	int64_t got = 0;

	NT_OK(keeper_clock_set(lab.k, -HOUR, &err));
	NT_FAILS(ERANGE, keeper_clock_set(lab.k, 51 * YEAR, &err));
	NT_FAILS(ERANGE, keeper_clock_set(lab.k, -51 * YEAR, &err));
	NT_FAILS(ERANGE, keeper_clock_set(lab.k, INT64_MIN, &err));
	NT_FAILS(ERANGE, keeper_clock_set(lab.k, INT64_MAX, &err));
	NT_OK(keeper_clock_get(lab.k, &got, &err));
	NT_CHECK(got == -HOUR, "a refused offset was set");
	check_time(a, "10.20.0.1", 4, -HOUR);
	nt_say("refused offsets");
}

/* What is no client's question gets no answer; one with more behind it does */
static void test_questions(struct nt_guest *a)
{
	static const struct {
		uint8_t flags;
		size_t len;
		ssize_t want;
	} questions[] = {
		{ 4 << 3 | 3, 0, -ETIMEDOUT },	 { 4 << 3 | 3, 47, -ETIMEDOUT },
		{ 4 << 3 | 3, 49, -ETIMEDOUT },	 { 4 << 3 | 3, 1028, -ETIMEDOUT },
		{ 4 << 3 | 4, 48, -ETIMEDOUT },	 { 4 << 3 | 1, 48, -ETIMEDOUT },
		{ 4 << 3 | 6, 48, -ETIMEDOUT },	 { 2 << 3 | 3, 48, -ETIMEDOUT },
		{ 5 << 3 | 3, 48, -ETIMEDOUT },	 { 4 << 3 | 3, 48, 48 },
		{ 3 << 6 | 4 << 3 | 3, 48, 48 }, { 4 << 3 | 3, 68, 48 },
		{ 4 << 3 | 3, 1024, 48 },
	};
	uint8_t q[1100] = { 0 }, answer[1100];

	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		ssize_t n;

		q[0] = questions[i].flags;
		n = nt_udp(a, "10.20.0.1", "10.20.0.1", 123, q, questions[i].len, answer,
			   sizeof(answer), questions[i].want < 0 ? 150 : 2000);
		NT_CHECK(n == questions[i].want, "question %zu: %zd", i, n);
	}
	nt_say("questions that are none");
}

/* More than is served at once, as fast as it can be sent: the keeper goes on */
static void test_flood(struct nt_guest *a)
{
	struct lab_err err = LAB_ERR_INIT;
	uint8_t q[48] = { 4 << 3 | 3 }, answer[48];
	autojson json_t *state = NULL;
	uint64_t deadline;
	int64_t told;

	for (int i = 0; i < 3000; i++)
		(void)nt_udp(a, "10.20.0.1", "10.20.0.1", 123, q, sizeof(q), answer, sizeof(answer),
			     0);
	NT_OK(keeper_state(lab.k, &state, &err));
	/* the socket is full: questions are lost, as on any network, until it is not */
	deadline = num_now_us() + 5000000;
	while (nt_sntp(a, "10.20.0.1", "10.20.0.1", 4, &told, 200) != 0)
		NT_CHECK(num_now_us() < deadline, "no answer after a flood");
	check_time(a, "10.20.0.1", 4, -HOUR);
	nt_say("a flood");
}

static void test_networks(struct nt_guest *a, struct nt_guest *b)
{
	struct lab_err err = LAB_ERR_INIT;
	int64_t told;
	int r = nt_sntp(b, "10.20.1.1", "10.20.0.1", 4, &told, 300);

	NT_CHECK(r < 0, "a guest reaches the clock of another network");
	NT_OK(keeper_network_del(lab.k, "data", &err));
	nt_network(&lab, "data", "10.20.1.0/24", "10.20.1.1", false);
	nt_nic(&lab, "web0", "data", MAC_B, "10.20.1.10", "web");
	close(b->tap);
	nt_guest_init(b, nt_tap(&lab, "web0"), MAC_B, "10.20.1.10");
	check_time(b, "10.20.1.1", 4, -HOUR);
	check_time(a, "10.20.0.1", 4, -HOUR);
	nt_say("a network taken away and made again");
}

int main(int argc, char **argv)
{
	autofree char *before = NULL;
	struct nt_guest a, b;
	struct nt_lease l;

	nt_main(argc, argv);
	before = nt_world();
	nt_start(&lab, 7);
	nt_network(&lab, "mgmt", "10.20.0.0/24", "10.20.0.1", true);
	nt_network(&lab, "data", "10.20.1.0/24", "10.20.1.1", false);
	nt_nic(&lab, "db0", "mgmt", MAC_A, "10.20.0.10", "db");
	nt_nic(&lab, "web0", "data", MAC_B, "10.20.1.10", "web");
	nt_guest_init(&a, nt_tap(&lab, "db0"), MAC_A, "10.20.0.10");
	nt_guest_init(&b, nt_tap(&lab, "web0"), MAC_B, "10.20.1.10");
	NT_CHECK(nt_dhcp(&a, 5000, &l) == 0 && l.ntp.s_addr == inet_addr("10.20.0.1"),
		 "the lease of mgmt names %s", inet_ntoa(l.ntp));
	NT_CHECK(nt_dhcp(&b, 5000, &l) == 0 && l.ntp.s_addr == inet_addr("10.20.1.1"),
		 "the lease of data names %s", inet_ntoa(l.ntp));
	test_offsets(&a, &b);
	test_refused(&a);
	test_questions(&a);
	test_flood(&a);
	test_networks(&a, &b);
	close(a.tap);
	close(b.tap);
	nt_shutdown(&lab);
	nt_same_world(before);
	return 0;
}
