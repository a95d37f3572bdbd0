// SPDX-License-Identifier: GPL-2.0-or-later
/* test_netns.c - what a keeper reads and writes, without any namespace */
#define _GNU_SOURCE
#include "lib/io.h"
#include "lib/util.h"
#include "netns/clock.h"
#include "netns/dhcp.h"
#include "netns/dns.h"
#include "netns/keeper.h"
#include "netns/network.h"
#include "netns/protocol.h"
#include "netns/uplink.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct in_addr addr(const char *text)
{
	return (struct in_addr){ inet_addr(text) };
}

static struct network_spec good_network(void)
{
	return (struct network_spec){ .name = "mgmt",
				      .cidr = "10.20.0.0/24",
				      .gateway = "10.20.0.1",
				      .domain = "lab.test",
				      .mtu = 1500,
				      .nat = true,
				      .dhcp = true };
}

static void test_network_parse(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct network_spec spec = good_network();
	struct network net;

	(void)state;
	assert_int_equal(network_parse(&spec, &net, &err), 0);
	assert_string_equal(net.bridge, "mgmt");
	assert_int_equal(net.prefix, 24);
	assert_int_equal(net.gateway.s_addr, inet_addr("10.20.0.1"));
	spec.name = "a-very-long-name-of-a-network";
	assert_int_equal(network_parse(&spec, &net, &err), 0);
	assert_int_equal(strlen(net.bridge), 15);
}

static void test_network_refused(void **state)
{
	static const char *const cidrs[] = { "",
					     "10.20.0.0",
					     "10.20.0.0/",
					     "10.20.0.0/7",
					     "10.20.0.0/31",
					     "10.20.0.0/-1",
					     "10.20.0.1/24",
					     "10.20.0.0/24x",
					     "fd00::/64",
					     "10.20.0.0.0.0.0.0.0.0/24" };
	static const char *const gateways[] = { "", "10.20.0.0", "10.20.0.255", "10.20.1.1", "x" };
	static const char *const domains[] = { "a b", "a\nb", "-x", ".x", "a/b", "a,b", "\xff" };
	struct network net;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cidrs); i++) {
		struct lab_err err = LAB_ERR_INIT;
		struct network_spec spec = good_network();

		spec.cidr = cidrs[i];
		assert_int_equal(network_parse(&spec, &net, &err), -EINVAL);
		assert_non_null(strstr(err.text, "cidr"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(gateways); i++) {
		struct lab_err err = LAB_ERR_INIT;
		struct network_spec spec = good_network();

		spec.gateway = gateways[i];
		assert_int_equal(network_parse(&spec, &net, &err), -EINVAL);
		assert_non_null(strstr(err.text, "gateway"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(domains); i++) {
		struct network_spec spec = good_network();

		spec.domain = domains[i];
		assert_int_equal(network_parse(&spec, &net, NULL), -EINVAL);
	}
}

static void test_overlaps(void **state)
{
	(void)state;
	assert_true(network_overlaps(addr("10.0.0.0"), 8, addr("10.20.0.0"), 24));
	assert_true(network_overlaps(addr("10.20.0.0"), 24, addr("10.0.0.0"), 8));
	assert_true(network_overlaps(addr("10.20.0.7"), 32, addr("10.20.0.0"), 24));
	assert_true(network_overlaps(addr("0.0.0.0"), 0, addr("10.20.0.0"), 24));
	assert_false(network_overlaps(addr("10.20.0.0"), 24, addr("10.20.1.0"), 24));
	assert_false(network_overlaps(addr("10.20.0.7"), 32, addr("10.20.0.8"), 32));
}

/* A lab of two networks and three nics, without anything of the kernel's */
struct sample {
	struct lab lab;
	struct network mgmt, data;
	struct nic nics[3];
};

static void make_sample(struct sample *s)
{
	static const struct nic_spec specs[] = {
		{ "db0", "mgmt", "52:54:00:00:00:0a", "10.20.0.10", "db", NULL, NULL },
		{ "web.1", "mgmt", "52:54:00:00:00:0b", "10.20.0.11", "web.1", NULL, NULL },
		{ "x0", "data", "52:54:00:00:00:0c", "", "x", NULL, NULL },
	};
	struct network_spec spec = good_network();

	memset(s, 0, sizeof(*s));
	TAILQ_INIT(&s->lab.networks);
	TAILQ_INIT(&s->lab.nics);
	assert_int_equal(network_parse(&spec, &s->mgmt, NULL), 0);
	spec.name = "data";
	spec.cidr = "10.20.1.0/24";
	spec.gateway = "10.20.1.1";
	spec.nat = false;
	spec.domain = "";
	spec.mtu = 1550;
	assert_int_equal(network_parse(&spec, &s->data, NULL), 0);
	TAILQ_INSERT_TAIL(&s->lab.networks, &s->mgmt, entry);
	TAILQ_INSERT_TAIL(&s->lab.networks, &s->data, entry);
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		s->nics[i].network = i < 2 ? &s->mgmt : &s->data;
		assert_int_equal(nic_parse(&specs[i], &s->nics[i], NULL), 0);
		TAILQ_INSERT_TAIL(&s->lab.nics, &s->nics[i], entry);
	}
}

static char *written(void (*write)(FILE *f, const struct sample *s), const struct sample *s)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	write(f, s);
	fclose(f);
	return text;
}

static void config_mgmt(FILE *f, const struct sample *s)
{
	dhcp_write_config(f, &s->mgmt, "127.0.0.1#5300");
}

static void config_data(FILE *f, const struct sample *s)
{
	dhcp_write_config(f, &s->data, NULL);
}

static void leases_mgmt(FILE *f, const struct sample *s)
{
	dhcp_write_leases(f, &s->lab, &s->mgmt);
}

static void leases_data(FILE *f, const struct sample *s)
{
	dhcp_write_leases(f, &s->lab, &s->data);
}

static void hosts(FILE *f, const struct sample *s)
{
	dhcp_write_hosts(f, &s->lab);
}

static void test_dhcp_texts(void **state)
{
	struct sample s;
	autofree char *mgmt = NULL, *data = NULL, *lm = NULL, *ld = NULL, *h = NULL;

	(void)state;
	make_sample(&s);
	mgmt = written(config_mgmt, &s);
	data = written(config_data, &s);
	lm = written(leases_mgmt, &s);
	ld = written(leases_data, &s);
	h = written(hosts, &s);
	assert_non_null(strstr(mgmt, "\nserver=127.0.0.1#5300\n"));
	assert_non_null(strstr(mgmt, "\ninterface=mgmt\n"));
	assert_non_null(strstr(mgmt, "\ndhcp-range=10.20.0.0,static,255.255.255.0,infinite\n"));
	assert_non_null(strstr(mgmt, "\nlocal=/lab.test/\n"));
	assert_non_null(strstr(mgmt, "\ndhcp-option=option:ntp-server,10.20.0.1\n"));
	assert_non_null(strstr(data, "\ndhcp-option=option:ntp-server,10.20.1.1\n"));
	assert_null(strstr(mgmt, "option:router"));
	assert_null(strstr(data, "server="));
	assert_null(strstr(data, "local="));
	assert_non_null(strstr(data, "\ndhcp-option=option:router\n"));
	assert_non_null(strstr(data, "option:mtu,1550\n"));
	/* a name with a dot is no client's name for dnsmasq, but one for DNS */
	assert_string_equal(lm, "52:54:00:00:00:0a,10.20.0.10,db,infinite\n"
				"52:54:00:00:00:0b,10.20.0.11,infinite\n");
	assert_string_equal(ld, "");
	assert_string_equal(h, "10.20.0.10 db.lab.test db\n10.20.0.11 web.1.lab.test web.1\n");
}

static bool taken_below(void *arg, struct in_addr a, unsigned int prefix)
{
	return network_overlaps(addr(arg), 10, a, prefix);
}

static bool all_taken(void *arg, struct in_addr a, unsigned int prefix)
{
	(void)arg;
	(void)a;
	(void)prefix;
	return true;
}

static bool none_taken(void *arg, struct in_addr a, unsigned int prefix)
{
	(void)arg;
	(void)a;
	(void)prefix;
	return false;
}

static void test_uplink_pick(void **state)
{
	struct in_addr a, b;

	(void)state;
	assert_int_equal(uplink_pick(1, none_taken, NULL, &a), 0);
	assert_int_equal(a.s_addr, inet_addr("100.64.0.4"));
	assert_int_equal(uplink_pick(2, none_taken, NULL, &b), 0);
	assert_int_not_equal(a.s_addr, b.s_addr);
	assert_int_equal(uplink_pick(KEEPER_MAX_LAB_ID, none_taken, NULL, &a), 0);
	assert_true(network_overlaps(a, 30, addr("100.64.0.0"), 10));
	assert_false(network_overlaps(a, 30, addr("100.127.255.0"), 24));
	/* a VPN has it all */
	assert_int_equal(uplink_pick(1, taken_below, "100.64.0.0", &a), 0);
	assert_int_equal(a.s_addr, inet_addr("198.18.0.4"));
	assert_int_equal(uplink_pick(1, all_taken, NULL, &a), -EADDRNOTAVAIL);
}

static void test_resolver(void **state)
{
	unsigned char question[12] = { 1, 2, 1, 0, 0, 1 }, answer[12] = { 1, 2, 0x81, 0 };
	struct sockaddr_storage ss;

	(void)state;
	assert_int_equal(resolver_parse("127.0.0.53", &ss), sizeof(struct sockaddr_in));
	assert_int_equal(resolver_parse("fe80::1", &ss), sizeof(struct sockaddr_in6));
	assert_int_equal(resolver_parse("", &ss), 0);
	assert_int_equal(resolver_parse("localhost", &ss), 0);
	assert_int_equal(resolver_refuse(question, 11), 0);
	assert_int_equal(resolver_refuse(answer, 12), 0);
	assert_int_equal(resolver_refuse(question, 12), 12);
	assert_int_equal(question[2] & 0x80, 0x80);
	assert_int_equal(question[3] & 15, 2);
}

/* The answer to a question with these first bits, @len bytes long; 0 without one */
static size_t ask_clock(unsigned char flags, size_t len, struct timespec now, unsigned char *ret)
{
	autofree unsigned char *question = calloc(1, len + 1);
	const struct timespec received = { now.tv_sec, 0 };

	if (len)
		question[0] = flags;
	for (size_t i = 40; i < 48 && i < len; i++)
		question[i] = (unsigned char)i;
	/* no byte behind @len may be looked at: the sanitizer sees to that */
	return clock_answer(question, len, &received, &now, ret);
}

static void test_clock_answer(void **state)
{
	/* 2026-01-01 is 3976214400 seconds after 1900; half a second is the first bit */
	static const unsigned char want[] = {
		0x24, 10,   0,	  0xec, /* version 4, server */
		0,    0,    0,	  0,	0,    0,  0,  0, /* root */
		'L',  'A',  'B',  ' ', /* refid */
		0xed, 0x00, 0x37, 0x80, 0,    0,  0,  0, /* reference */
		40,   41,   42,	  43,	44,   45, 46, 47, /* originate */
		0xed, 0x00, 0x37, 0x80, 0,    0,  0,  0, /* receive */
		0xed, 0x00, 0x37, 0x80, 0x80, 0,  0,  0, /* transmit */
	};
	const struct timespec now = { 1767225600, 500000000 };
	unsigned char got[CLOCK_PACKET];

	(void)state;
	assert_int_equal(ask_clock(4 << 3 | 3, 48, now, got), CLOCK_PACKET);
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(ask_clock(3 << 3 | 3, 68, now, got), CLOCK_PACKET);
	assert_int_equal(got[0], 3 << 3 | 4);
	/* the next era begins in 2036; the one before 1900 ends there */
	assert_int_equal(ask_clock(4 << 3 | 3, 48, (struct timespec){ 2085978497, 0 }, got), 48);
	assert_memory_equal(got + 40, ((unsigned char[]){ 0, 0, 0, 1, 0, 0, 0, 0 }), 8);
	assert_int_equal(ask_clock(4 << 3 | 3, 48, (struct timespec){ -2208988801, 0 }, got), 48);
	assert_memory_equal(got + 40, ((unsigned char[]){ 255, 255, 255, 255, 0, 0, 0, 0 }), 8);
}

static void test_clock_refused(void **state)
{
	static const struct {
		unsigned char flags;
		size_t len;
	} bad[] = { { 0x23, 0 },    { 0x23, 1 },    { 0x23, 47 }, { 0x23, 49 }, { 0x23, 50 },
		    { 0x23, 1028 }, { 0x23, 4096 }, { 0x13, 48 }, { 0x2b, 48 }, { 0x03, 48 },
		    { 0x3b, 48 },   { 0x20, 48 },   { 0x21, 48 }, { 0x22, 48 }, { 0x24, 48 },
		    { 0x25, 48 },   { 0x26, 48 },   { 0x27, 48 } };
	unsigned char got[CLOCK_PACKET] = { 0 }, none[CLOCK_PACKET] = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ask_clock(bad[i].flags, bad[i].len, (struct timespec){ 0 }, got),
				 0);
	assert_memory_equal(got, none, sizeof(none));
}

static void test_clock_set(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct lab lab = { .clock_offset_us = 5 };

	(void)state;
	assert_int_equal(clock_set(&lab, CLOCK_MAX_OFFSET_US + 1, &err), -ERANGE);
	assert_int_equal(clock_set(&lab, INT64_MIN, &err), -ERANGE);
	assert_int_equal(lab.clock_offset_us, 5);
	assert_int_equal(clock_set(&lab, -CLOCK_MAX_OFFSET_US, &err), 0);
	assert_int_equal(lab.clock_offset_us, -CLOCK_MAX_OFFSET_US);
}

/* Requests that must fail before they reach anything */
static void test_requests(void **state)
{
	static const char *const texts[] = {
		"",
		"x",
		"[]",
		"{}",
		"{\"op\":1}",
		"{\"op\":\"none\"}",
		"{\"op\":\"spawn\"}",
		"{\"op\":\"link_set\",\"ifname\":\"x\",\"up\":true}",
		"{\"op\":\"flush\"}",
		"{\"op\":\"flush\",\"ifnames\":\"x\"}",
		"{\"op\":\"flush\",\"ifnames\":[1]}",
		"{\"op\":\"flush\",\"ifnames\":[\"db0\",\"x\"]}",
		"{\"op\":\"clock_set\"}",
		"{\"op\":\"clock_set\",\"offset_us\":1.5}",
		"{\"op\":\"clock_set\",\"offset_us\":9223372036854775807}",
		"{\"op\":\"clock_get\",\"x\":1}",
		"{\"op\":\"state\",\"section\":\"x\",\"from\":0}",
		"{\"op\":\"network_del\",\"name\":\"x\",\"name2\":1}",
	};
	struct sample s;

	(void)state;
	make_sample(&s);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int fd = 0;
		autojson json_t *reply = protocol_answer(&s.lab, texts[i], strlen(texts[i]), NULL,
							 0, &fd);

		assert_true(fd < 0);
		assert_true(json_is_string(json_object_get(reply, "error")));
		assert_true(json_is_string(json_object_get(reply, "errno")));
	}
}

static void test_client(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct keeper *k = NULL;
	char longer[160];

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(keeper_connect(longer, &k, &err), -ENAMETOOLONG);
	assert_int_equal(keeper_connect("/nowhere", &k, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/keeper.sock"));
	assert_null(keeper_close(NULL));
	if (geteuid())
		assert_int_equal(keeper_uid(5), geteuid());
	else
		assert_int_equal(keeper_uid(5), KEEPER_UID_BASE + 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_network_parse), cmocka_unit_test(test_network_refused),
		cmocka_unit_test(test_overlaps),      cmocka_unit_test(test_dhcp_texts),
		cmocka_unit_test(test_uplink_pick),   cmocka_unit_test(test_resolver),
		cmocka_unit_test(test_clock_answer),  cmocka_unit_test(test_clock_refused),
		cmocka_unit_test(test_clock_set),     cmocka_unit_test(test_requests),
		cmocka_unit_test(test_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
