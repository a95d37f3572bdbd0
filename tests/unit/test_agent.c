// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_agent.c - a guest agent that belongs to an attacker
 *
 * TIMEOUT: 90
 */
#define _GNU_SOURCE
#include "labd/agent.h"
#include "labd/agent_file.h"
#include "lib/jsonl.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/peer.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define WAIT 300000 /* us */
#define MAX_REQUEST (2 << 20)

/* The next request; new reference, NULL at the end */
static json_t *next_request(int sock, char *line)
{
	json_t *msg = NULL;
	const char *text = line;

	if (!peer_read_line(sock, line, MAX_REQUEST))
		return NULL;
	while (*text == '\xff')
		text++;
	msg = json_loads(text, 0, NULL);
	assert_non_null(msg);
	return msg;
}

static bool reply(int sock, json_t *value)
{
	autojson json_t *msg = json_pack("{s:o}", "return", value);

	return jsonl_write(sock, msg, UINT64_MAX) == 0;
}

/* Answer a sync as the agent does */
static bool sync_reply(int sock, const json_t *request)
{
	json_t *id = json_object_get(json_object_get(request, "arguments"), "id");

	return peer_write(sock, "\xff", 1) && reply(sock, json_incref(id));
}

static bool is_command(const json_t *request, const char *command)
{
	const char *got = json_string_value(json_object_get(request, "execute"));

	return got && !strcmp(got, command);
}

/* Answer the sync, read the request behind it */
static bool sync_and_read(int sock)
{
	autofree char *line = malloc(MAX_REQUEST);
	autojson json_t *request = next_request(sock, line), *second = NULL;

	if (!request || !is_command(request, "guest-sync-delimited") || !sync_reply(sock, request))
		return false;
	second = next_request(sock, line);
	return second != NULL;
}

/* ---- synchronising ------------------------------------------------------------ */

static void say_nothing(struct peer *p, int sock)
{
	peer_wait_end(p, sock);
}

static void flood(struct peer *p, int sock)
{
	char block[4096];

	memset(block, '{', sizeof(block));
	while (!p->stop && peer_write(sock, block, sizeof(block)))
		;
}

static void flood_marks(struct peer *p, int sock)
{
	char block[4096];

	memset(block, 0xff, sizeof(block));
	while (!p->stop && peer_write(sock, block, sizeof(block)))
		;
}

static void flood_wrong_syncs(struct peer *p, int sock)
{
	while (!p->stop && peer_say(sock, "\xff{\"return\": 1}\n"))
		;
}

static void flood_line_after_mark(struct peer *p, int sock)
{
	peer_write(sock, "\xff", 1);
	flood(p, sock);
}

static void close_at_once(struct peer *p, int sock)
{
	(void)p;
	(void)sock;
}

static void check_call(void (*script)(struct peer *, int), int expected)
{
	struct lab_err err = LAB_ERR_INIT;
	size_t before = peer_rss();
	struct agent *a;
	struct peer p;
	uint64_t begin;

	peer_start(&p, script);
	a = agent_new(p.path);
	begin = num_now_us();
	assert_int_equal(agent_call(a, "guest-ping", NULL, begin + WAIT, NULL, &err), expected);
	assert_true(num_now_us() - begin < WAIT + 500000);
	assert_true(*err.text);
	assert_true(peer_rss() < before + PEER_MEMORY_LIMIT);
	agent_free(a);
	peer_stop(&p);
}

static void test_sync(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct agent *a = agent_new("/nonexistent/agent");

	(void)state;
	assert_int_equal(agent_call(a, "guest-ping", NULL, num_now_us() + WAIT, NULL, &err),
			 -ECONNREFUSED);
	agent_free(a);
	agent_free(NULL);
	check_call(say_nothing, -ETIMEDOUT);
	check_call(flood, -ETIMEDOUT);
	check_call(flood_marks, -EPROTO);
	check_call(flood_wrong_syncs, -ETIMEDOUT);
	check_call(flood_line_after_mark, -EPROTO);
	check_call(close_at_once, -ECONNRESET);
}

/* ---- replies -------------------------------------------------------------------- */

static void reply_garbage(struct peer *p, int sock)
{
	sync_and_read(sock);
	peer_say(sock, "login: \n");
	peer_wait_end(p, sock);
}

static void reply_array(struct peer *p, int sock)
{
	sync_and_read(sock);
	peer_say(sock, "[1]\n");
	peer_wait_end(p, sock);
}

static void reply_deep(struct peer *p, int sock)
{
	autofree char *line = malloc(1000001);

	sync_and_read(sock);
	memset(line, '[', 1000000);
	line[1000000] = '\n';
	peer_write(sock, line, 1000001);
	peer_wait_end(p, sock);
}

static void reply_values(struct peer *p, int sock)
{
	autofree char *line = malloc(1500000);
	size_t len;

	sync_and_read(sock);
	len = (size_t)sprintf(line, "{\"return\": [");
	while (len < 1499000)
		len += (size_t)sprintf(line + len, "{},");
	len += (size_t)sprintf(line + len, "0]}\n");
	peer_write(sock, line, len);
	peer_wait_end(p, sock);
}

static void reply_endless(struct peer *p, int sock)
{
	if (sync_and_read(sock))
		flood(p, sock);
}

static void reply_blank(struct peer *p, int sock)
{
	char block[4096];

	memset(block, '\n', sizeof(block));
	if (sync_and_read(sock))
		while (!p->stop && peer_write(sock, block, sizeof(block)))
			;
}

/* One byte more of the answer with each connection, then silence */
static void reply_part(struct peer *p, int sock)
{
	static const char answer[] = "{\"return\": {}}";

	if (sync_and_read(sock))
		peer_write(sock, answer, MIN((size_t)p->served, sizeof(answer) - 1));
	peer_wait_end(p, sock);
}

static void test_replies(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct agent *a;
	struct peer p;

	(void)state;
	check_call(reply_garbage, -EPROTO);
	check_call(reply_array, -EPROTO);
	check_call(reply_deep, -EPROTO);
	check_call(reply_values, -EPROTO);
	check_call(reply_endless, -EPROTO);
	check_call(reply_blank, -ETIMEDOUT);
	peer_start(&p, reply_part);
	a = agent_new(p.path);
	for (int i = 0; i < 14; i++)
		assert_int_equal(agent_call(a, "guest-ping", NULL, num_now_us() + 20000, NULL,
					    &err),
				 -ETIMEDOUT);
	agent_free(a);
	peer_stop(&p);
}

/* What an earlier client left, a late reply, and a reply to another sync: skipped */
static void stale(struct peer *p, int sock)
{
	autofree char *line = malloc(MAX_REQUEST);

	peer_say(sock, "{\"return\": {\"pid\": 99");
	peer_say(sock, "{\"return\": {}}\n\xff{\"return\": 12345}\n{\"return\": {}}\n");
	for (;;) {
		autojson json_t *request = next_request(sock, line);

		if (!request)
			return;
		if (is_command(request, "guest-sync-delimited"))
			sync_reply(sock, request);
		else if (is_command(request, "guest-get-host-name"))
			peer_say(sock, "{\"return\": {\"host-name\": \"right\"}}\n");
		else
			peer_say(sock, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": "
				       "\"The command \\u001b[2J has not been found\"}}\n");
		if (p->stop)
			return;
	}
}

static void test_stale(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *value = NULL;
	struct agent *a;
	struct peer p;

	(void)state;
	peer_start(&p, stale);
	a = agent_new(p.path);
	assert_int_equal(agent_call(a, "guest-get-host-name", NULL, num_now_us() + 5000000, &value,
				    &err),
			 0);
	assert_string_equal(json_string_value(json_object_get(value, "host-name")), "right");
	assert_int_equal(agent_call(a, "x", NULL, num_now_us() + 5000000, NULL, &err), -EIO);
	assert_null(strchr(err.text, '\x1b'));
	assert_int_equal(p.served, 1); /* a refusal does not cost the connection */
	agent_free(a);
	peer_stop(&p);
}

/* ---- programs ------------------------------------------------------------------- */

/**
 * struct lies - what the agent below answers
 * @no_shell:	there is no /bin/sh
 * @data:	"buf-b64" of a read; NULL for an honest one
 * @status:	of guest-exec-status, as JSON
 * @out_data:	captured output, as base64
 */
static struct {
	bool no_shell;
	const char *data, *status;
	unsigned int reads, closes, opens, kills;
} lies;

static bool is_shell(const json_t *request)
{
	const char *path =
		json_string_value(json_object_get(json_object_get(request, "arguments"), "path"));

	return path && !strcmp(path, "/bin/sh");
}

static bool is_kill(const json_t *request)
{
	const char *text = json_string_value(
		json_array_get(json_object_get(json_object_get(request, "arguments"), "arg"), 1));

	return text && !strncmp(text, "kill", 4);
}

static void answer(int sock, const json_t *request)
{
	if (is_command(request, "guest-sync-delimited")) {
		sync_reply(sock, request);
	} else if (is_command(request, "guest-exec")) {
		lies.kills += is_kill(request);
		if (lies.no_shell && is_shell(request))
			peer_say(sock,
				 "{\"error\": {\"desc\": \"Guest agent command failed, error was "
				 "'Failed to execute child process “/bin/sh” (No such file or "
				 "directory)'\"}}\n");
		else
			peer_say(sock, "{\"return\": {\"pid\": 4711}}\n");
	} else if (is_command(request, "guest-exec-status")) {
		peer_say(sock, lies.status);
		peer_say(sock, "\n");
	} else if (is_command(request, "guest-file-open")) {
		reply(sock, json_integer(1000 + lies.opens++));
	} else if (is_command(request, "guest-file-read")) {
		lies.reads++;
		reply(sock, json_pack("{s:i, s:s, s:b}", "count", 7, "buf-b64",
				      lies.data ? lies.data : "", "eof", !lies.data));
	} else {
		lies.closes += is_command(request, "guest-file-close");
		peer_say(sock, "{\"return\": {}}\n");
	}
}

static void lie(struct peer *p, int sock)
{
	autofree char *line = malloc(MAX_REQUEST);

	while (!p->stop) {
		autojson json_t *request = next_request(sock, line);

		if (!request)
			return;
		answer(sock, request);
	}
}

static size_t heard;

static void on_output(void *arg, int stream, const void *data, size_t len)
{
	(void)arg;
	(void)data;
	assert_true(stream == 1 || stream == 2);
	heard += len;
}

static int run(double seconds, int *ret_status, struct lab_err *err)
{
	static const char *const argv[] = { "prog", NULL };
	struct agent_exec exec = { .argv = argv,
				   .output = on_output,
				   .deadline = num_now_us() + (uint64_t)(seconds * 1e6) };
	struct agent *a;
	struct peer p;
	int r;

	heard = 0;
	lies.reads = lies.closes = lies.opens = lies.kills = 0;
	peer_start(&p, lie);
	a = agent_new(p.path);
	r = agent_exec(a, &exec, ret_status, err);
	agent_free(a);
	peer_stop(&p);
	return r;
}

static void test_exec_lies(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	size_t before = peer_rss();
	int status = -1;

	(void)state;
	/* all is well, with little to say */
	lies.data = NULL;
	lies.status = "{\"return\": {\"exited\": true, \"exitcode\": 5}}";
	assert_int_equal(run(5, &status, &err), 0);
	assert_int_equal(status, 5);
	assert_int_equal(lies.closes, 2);
	/* ended, but how? */
	lies.status = "{\"return\": {\"exited\": true}}";
	assert_int_equal(run(5, &status, &err), -EPROTO);
	assert_int_equal(lies.kills, 1); /* it may run as well */
	lies.status = "{\"return\": {\"exited\": 1, \"exitcode\": 5}}";
	assert_int_equal(run(5, &status, &err), -EPROTO);
	lies.status = "{\"return\": []}";
	assert_int_equal(run(5, &status, &err), -EPROTO);
	/* numbers out of their range stay inside ours */
	lies.status = "{\"return\": {\"exited\": true, \"exitcode\": 99999999999}}";
	assert_int_equal(run(5, &status, &err), 0);
	assert_in_range(status, 0, 255);
	lies.status = "{\"return\": {\"exited\": true, \"signal\": -7}}";
	assert_int_equal(run(5, &status, &err), 0);
	assert_in_range(status, 256, 256 + 127);
	/* output that is not base64, and output without end */
	lies.status = "{\"return\": {\"exited\": true, \"exitcode\": 0}}";
	lies.data = "!!!!";
	assert_int_equal(run(5, &status, &err), -EPROTO);
	lies.data = "abc";
	assert_int_equal(run(5, &status, &err), -EPROTO);
	lies.data = "====";
	assert_int_equal(run(5, &status, &err), -EPROTO);
	lies.data = "YWJjZGVm";
	assert_int_equal(run(0.5, &status, &err), -ETIMEDOUT);
	assert_true(lies.reads > 10 && heard == lies.reads * 6);
	/* it never ends */
	lies.data = NULL;
	lies.status = "{\"return\": {\"exited\": false}}";
	assert_int_equal(run(0.5, &status, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "may still run"));
	assert_true(peer_rss() < before + PEER_MEMORY_LIMIT);
}

static void test_exec_captured(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	int status = -1;

	(void)state;
	lies.no_shell = true;
	lies.status = "{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": "
		      "\"aGVsbG8=\", \"err-data\": \"eA==\"}}";
	assert_int_equal(run(5, &status, &err), 0);
	assert_int_equal(status, 0);
	assert_int_equal(heard, 6);
	assert_int_equal(lies.opens, 0);
	lies.status = "{\"return\": {\"exited\": true, \"exitcode\": 0, \"out-data\": 7}}";
	assert_int_equal(run(5, &status, &err), -EPROTO);
	lies.no_shell = false;
}

/* ---- files -------------------------------------------------------------------- */

/* What the agent says to the calls of one piece; closed: whether the file was */
static const char *open_reply, *piece_reply, *close_reply;
static int closed;

static void serve_files(struct peer *p, int sock)
{
	autofree char *line = malloc(MAX_REQUEST);
	json_t *next;

	while (!p->stop && (next = next_request(sock, line))) {
		autojson json_t *request = next;
		const char *text = is_command(request, "guest-file-open")    ? open_reply
				   : is_command(request, "guest-file-close") ? close_reply
									     : piece_reply;

		if (is_command(request, "guest-sync-delimited")) {
			sync_reply(sock, request);
			continue;
		}
		if (is_command(request, "guest-file-seek"))
			text = "{\"return\": {\"position\": 5, \"eof\": false}}";
		closed += is_command(request, "guest-file-close");
		if (!peer_say(sock, text) || !peer_say(sock, "\n"))
			return;
	}
}

/* One piece, read or written, with these answers */
static void check_piece(const char *opened, const char *piece, const char *at_close, bool writing,
			int expected, const char *words)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *text = json_string("YWJj"), *data = NULL;
	uint64_t deadline = num_now_us() + 10 * WAIT;
	bool end = false;
	struct agent *a;
	struct peer p;
	int r;

	open_reply = opened;
	piece_reply = piece;
	close_reply = at_close;
	closed = 0;
	peer_start(&p, serve_files);
	a = agent_new(p.path);
	r = writing ? agent_file_write(a, "/f", 5, text, deadline, &err)
		    : agent_file_read(a, "/f", 5, 3, deadline, &data, &end, &err);
	agent_free(a);
	peer_stop(&p);
	assert_int_equal(r, expected);
	assert_non_null(strstr(err.text, words));
	if (!r && !writing)
		assert_string_equal(json_string_value(data), "YWJj");
	assert_int_equal(closed, strstr(opened, "return") != NULL);
}

#define OPENED "{\"return\": 7}"
#define CLOSED "{\"return\": {}}"
#define REFUSED(words) "{\"error\": {\"class\": \"GenericError\", \"desc\": \"" words "\"}}"

static void test_file_read(void **state)
{
	(void)state;
	check_piece(OPENED, "{\"return\": {\"count\": 3, \"buf-b64\": \"YWJj\", \"eof\": true}}",
		    CLOSED, false, 0, "");
	check_piece(REFUSED("failed to open file '/f' (mode: 'r'): No such file or directory"),
		    CLOSED, CLOSED, false, -ENOENT, "/f: No such file");
	check_piece(REFUSED("what I say"), CLOSED, CLOSED, false, -EIO, "what I say");
	check_piece(OPENED, REFUSED("failed to read: Is a directory"), CLOSED, false, -EISDIR,
		    "/f");
	/* more than was asked for, or something else */
	check_piece(OPENED,
		    "{\"return\": {\"count\": 3, \"buf-b64\": \"YWJjYWJj\", \"eof\": true}}",
		    CLOSED, false, -EPROTO, "no sense");
	check_piece(OPENED, "{\"return\": {\"buf-b64\": 5, \"eof\": true}}", CLOSED, false, -EPROTO,
		    "no sense");
	check_piece(OPENED, "{\"return\": []}", CLOSED, false, -EPROTO, "no sense");
}

static void test_file_write(void **state)
{
	(void)state;
	check_piece(OPENED, "{\"return\": {\"count\": 3, \"eof\": false}}", CLOSED, true, 0, "");
	check_piece(OPENED, "{\"return\": {\"count\": 2, \"eof\": false}}", CLOSED, true, -EIO,
		    "less");
	check_piece(OPENED, "{\"return\": {\"count\": 3, \"eof\": false}}",
		    REFUSED("failed to close handle: No space left on device"), true, -ENOSPC,
		    "/f");
	check_piece(REFUSED("failed to open: Read-only file system"), CLOSED, CLOSED, true, -EROFS,
		    "/f");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sync),	      cmocka_unit_test(test_file_read),
		cmocka_unit_test(test_file_write),    cmocka_unit_test(test_replies),
		cmocka_unit_test(test_stale),	      cmocka_unit_test(test_exec_lies),
		cmocka_unit_test(test_exec_captured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
