// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_qmp.c - a monitor that has been taken over by a guest
 *
 * TIMEOUT: 60
 */
#define _GNU_SOURCE
#include "labd/qmp.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n"
#define WAIT 300000 /* us */

/* Read the negotiation and answer it with its id */
static bool negotiate(int sock, const char *result)
{
	char line[4096], reply[256];
	const char *id;

	if (!peer_read_line(sock, line, sizeof(line)) || !strstr(line, "qmp_capabilities"))
		return false;
	id = strstr(line, "\"id\":");
	snprintf(reply, sizeof(reply), "{%s, \"id\": %llu}\n", result,
		 id ? strtoull(id + 5, NULL, 10) : 0ULL);
	return peer_say(sock, reply);
}

static bool greet(int sock)
{
	return peer_say(sock, GREETING) && negotiate(sock, "\"return\": {}");
}

/* Replies to a client that has gone come first */
static void say_stray_replies(struct peer *p, int sock)
{
	peer_say(sock, "{\"return\": {}, \"id\": 41}\n" GREETING
		       "{\"error\": {\"desc\": \"no\"}, \"id\": 1}\n{\"return\": 5, \"id\": 7}\n");
	negotiate(sock, "\"return\": {}");
	peer_wait_end(p, sock);
}

/* ---- connecting ------------------------------------------------------------- */

static void say_garbage(struct peer *p, int sock)
{
	(void)p;
	peer_say(sock, "SSH-2.0-OpenSSH_9.2\r\n");
}

static void say_array(struct peer *p, int sock)
{
	(void)p;
	peer_say(sock, "[1, 2]\n");
}

static void say_other_object(struct peer *p, int sock)
{
	(void)p;
	peer_say(sock, "{\"QMP\": 7}\n");
}

static void refuse_capabilities(struct peer *p, int sock)
{
	(void)p;
	peer_say(sock, GREETING);
	negotiate(sock, "\"error\": {\"desc\": \"no\"}");
}

static void say_nothing(struct peer *p, int sock)
{
	peer_wait_end(p, sock);
}

static void close_at_once(struct peer *p, int sock)
{
	(void)p;
	(void)sock;
}

/* Each of a greeting's bytes, then silence */
static void say_half(struct peer *p, int sock)
{
	peer_write(sock, GREETING, MIN((size_t)p->served, strlen(GREETING) - 1));
	peer_wait_end(p, sock);
}

static void check_open(void (*script)(struct peer *, int), int expected)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qmp *q = NULL;
	struct peer p;

	peer_start(&p, script);
	assert_int_equal(qmp_open(p.path, num_now_us() + WAIT, &q, &err), expected);
	assert_null(q);
	assert_true(*err.text);
	peer_stop(&p);
}

static void test_open(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qmp *q = NULL;
	struct peer p;

	(void)state;
	check_open(say_garbage, -EPROTO);
	check_open(say_array, -EPROTO);
	check_open(say_other_object, -EPROTO);
	check_open(refuse_capabilities, -EPROTO);
	check_open(say_nothing, -ETIMEDOUT);
	check_open(close_at_once, -ECONNRESET);
	peer_start(&p, say_stray_replies);
	assert_int_equal(qmp_open(p.path, num_now_us() + 10 * WAIT, &q, &err), 0);
	qmp_close(q);
	q = NULL;
	peer_stop(&p);
	assert_int_equal(qmp_open("/nonexistent/qmp", num_now_us() + WAIT, &q, &err), -ENOENT);
}

static void test_open_stalls(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qmp *q = NULL;
	struct peer p;

	(void)state;
	peer_start(&p, say_half);
	for (size_t i = 1; i < strlen(GREETING); i++)
		assert_int_equal(qmp_open(p.path, num_now_us() + 5000, &q, &err), -ETIMEDOUT);
	peer_stop(&p);
}

/* Somebody else has the monitor, and one more waits: no connect() blocks */
static void test_open_busy(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qmp *q = NULL;
	uint64_t begin = num_now_us();
	struct peer p;
	int r = 0;

	(void)state;
	peer_start(&p, say_nothing);
	for (int i = 0; i < 3 && !r; i++)
		r = qmp_open(p.path, num_now_us() + WAIT, &q, &err) == -ETIMEDOUT ? 0 : -1;
	assert_int_equal(r, 0);
	assert_true(num_now_us() - begin < 5 * WAIT);
	peer_stop(&p);
}

/* ---- calls ------------------------------------------------------------------- */

/* What the script does with the first command after the negotiation */
static void (*misbehave)(struct peer *p, int sock);

static void after_greeting(struct peer *p, int sock)
{
	char line[4096];

	if (greet(sock) && peer_read_line(sock, line, sizeof(line)))
		misbehave(p, sock);
}

static void reply_wrong_id(struct peer *p, int sock)
{
	peer_say(sock, "{\"return\": {}, \"id\": 77}\n");
	peer_wait_end(p, sock);
}

static void reply_no_id(struct peer *p, int sock)
{
	peer_say(sock, "{\"return\": {}}\n");
	peer_wait_end(p, sock);
}

static void reply_id_text(struct peer *p, int sock)
{
	peer_say(sock, "{\"return\": {}, \"id\": \"1\"}\n");
	peer_wait_end(p, sock);
}

static void reply_neither(struct peer *p, int sock)
{
	peer_say(sock, "{\"id\": 1}\n");
	peer_wait_end(p, sock);
}

static void reply_half(struct peer *p, int sock)
{
	(void)p;
	peer_say(sock, "{\"return\": {\"status\": \"run");
}

static void reply_deep(struct peer *p, int sock)
{
	static const char open[] = "[{\"a\":";
	autofree char *line = malloc(600001);

	for (size_t i = 0; i < 100000; i++)
		memcpy(line + i * (sizeof(open) - 1), open, sizeof(open) - 1);
	line[600000] = '\n';
	peer_write(sock, line, 600001);
	peer_wait_end(p, sock);
}

static void reply_endless(struct peer *p, int sock)
{
	char block[4096];

	memset(block, 'a', sizeof(block));
	while (!p->stop && peer_write(sock, block, sizeof(block)))
		;
}

/* A line just short enough, of as many values as fit */
static void reply_many_values(struct peer *p, int sock)
{
	autofree char *line = malloc(QMP_MAX_LINE);
	size_t len = 0;

	len += (size_t)sprintf(line, "{\"id\": 1, \"return\": [");
	while (len + 16 < QMP_MAX_LINE)
		len += (size_t)sprintf(line + len, "{},");
	sprintf(line + len, "{}]}\n");
	peer_say(sock, line);
	peer_wait_end(p, sock);
}

static void reply_events(struct peer *p, int sock)
{
	while (!p->stop &&
	       peer_say(sock, "{\"event\": \"RTC_CHANGE\", \"data\": {\"offset\": 1}}\n"))
		;
}

static void reply_blank(struct peer *p, int sock)
{
	while (!p->stop && peer_say(sock, "\n\n \r\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"))
		;
}

static void reply_nul(struct peer *p, int sock)
{
	peer_write(sock, "{\"id\": 1, \0\"return\": {}}\n", 25);
	peer_wait_end(p, sock);
}

static void check_call(void (*script)(struct peer *, int), int expected)
{
	struct lab_err err = LAB_ERR_INIT;
	struct qmp *q = NULL;
	size_t before;
	struct peer p;
	uint64_t begin;

	misbehave = script;
	peer_start(&p, after_greeting);
	assert_int_equal(qmp_open(p.path, num_now_us() + 5000000, &q, &err), 0);
	before = peer_rss();
	begin = num_now_us();
	assert_int_equal(qmp_call(q, "query-status", NULL, begin + WAIT, NULL, &err), expected);
	assert_true(num_now_us() - begin < WAIT + 500000);
	assert_true(strstr(err.text, "query-status") != NULL);
	assert_true(peer_rss() < before + PEER_MEMORY_LIMIT);
	/* nothing of it is believed any more */
	assert_true(qmp_call(q, "cont", NULL, num_now_us() + WAIT, NULL, &err) < 0);
	assert_true(num_now_us() - begin < WAIT + 600000);
	qmp_close(q);
	peer_stop(&p);
}

static void test_call(void **state)
{
	(void)state;
	check_call(reply_wrong_id, -EPROTO);
	check_call(reply_no_id, -EPROTO);
	check_call(reply_id_text, -EPROTO);
	check_call(reply_neither, -EPROTO);
	check_call(reply_half, -ECONNRESET);
	check_call(say_nothing, -ETIMEDOUT);
	check_call(reply_deep, -EPROTO);
	check_call(reply_endless, -EPROTO);
	check_call(reply_many_values, -EPROTO);
	check_call(reply_events, -ETIMEDOUT);
	check_call(reply_blank, -ETIMEDOUT);
	check_call(reply_nul, -EPROTO);
}

/* An honest peer: events between, a refusal, an answer */
static void honest(struct peer *p, int sock)
{
	char line[4096];

	if (!greet(sock))
		return;
	peer_read_line(sock, line, sizeof(line));
	peer_say(sock,
		 "{\"event\": \"STOP\"}\n{\"id\": 1, \"error\": {\"class\": \"GenericError\", "
		 "\"desc\": \"Device \\u001b[31m'x'\\u0007 not found\"}}\n");
	peer_read_line(sock, line, sizeof(line));
	peer_say(sock, strstr(line, "\"arguments\":{\"a\":1}")
			       ? "{\"event\": \"STOP\"}\n{\"return\": {\"n\": 5}, \"id\": 2}\n"
			       : "{}\n");
	peer_wait_end(p, sock);
}

static void test_honest(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *reply = NULL;
	struct qmp *q = NULL;
	struct peer p;

	(void)state;
	peer_start(&p, honest);
	assert_int_equal(qmp_open(p.path, num_now_us() + 5000000, &q, &err), 0);
	assert_int_equal(qmp_call(q, "device_del", NULL, num_now_us() + 5000000, &reply, &err),
			 -EIO);
	assert_string_equal(err.text, "QEMU refused device_del: Device 'x' not found");
	assert_null(reply);
	assert_int_equal(qmp_call(q, "x", json_pack("{s:i}", "a", 1), num_now_us() + 5000000,
				  &reply, &err),
			 0);
	assert_int_equal(json_integer_value(json_object_get(reply, "n")), 5);
	qmp_close(q);
	peer_stop(&p);
}

/* ---- events ------------------------------------------------------------------- */

static void send_events(struct peer *p, int sock)
{
	if (!greet(sock))
		return;
	peer_say(sock, "{\"event\": \"A\"}\n{\"event\": \"B\"}\n{\"ev");
	peer_wait_end(p, sock);
}

static void send_nonsense(struct peer *p, int sock)
{
	if (!greet(sock))
		return;
	peer_say(sock, "{\"event\": {}}\n");
	peer_wait_end(p, sock);
}

static void send_blank(struct peer *p, int sock)
{
	if (greet(sock))
		reply_blank(p, sock);
}

static void send_end(struct peer *p, int sock)
{
	(void)p;
	greet(sock);
}

static struct qmp *open_events(struct peer *p, void (*script)(struct peer *, int))
{
	struct lab_err err = LAB_ERR_INIT;
	struct qmp *q = NULL;

	peer_start(p, script);
	assert_int_equal(qmp_open(p->path, num_now_us() + 5000000, &q, &err), 0);
	return q;
}

/* Until something other than "none now" comes, for a while */
static int next_event(struct qmp *q, json_t **ret)
{
	uint64_t until = num_now_us() + 2000000;
	int r;

	do
		r = qmp_event(q, ret);
	while (r == -EAGAIN && num_now_us() < until);
	return r;
}

static void test_events(void **state)
{
	json_t *event = NULL;
	uint64_t begin;
	struct peer p;
	struct qmp *q;

	(void)state;
	q = open_events(&p, send_events);
	assert_int_equal(next_event(q, &event), 1);
	assert_string_equal(json_string_value(json_object_get(event, "event")), "A");
	json_decref(event);
	assert_int_equal(next_event(q, &event), 1);
	json_decref(event);
	assert_int_equal(qmp_event(q, &event), -EAGAIN); /* half of one */
	qmp_close(q);
	peer_stop(&p);

	q = open_events(&p, send_nonsense);
	assert_int_equal(next_event(q, &event), -EPROTO);
	assert_int_equal(qmp_event(q, &event), 0); /* it is over */
	qmp_close(q);
	peer_stop(&p);

	q = open_events(&p, send_end);
	assert_int_equal(next_event(q, &event), 0);
	qmp_close(q);
	peer_stop(&p);

	/* a flood of nothing does not hold the event loop */
	q = open_events(&p, send_blank);
	for (int i = 0; i < 100; i++) {
		begin = num_now_us();
		assert_int_equal(qmp_event(q, &event), -EAGAIN);
		assert_true(num_now_us() - begin < 200000);
	}
	qmp_close(q);
	peer_stop(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),	  cmocka_unit_test(test_open_stalls),
		cmocka_unit_test(test_open_busy), cmocka_unit_test(test_call),
		cmocka_unit_test(test_honest),	  cmocka_unit_test(test_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
