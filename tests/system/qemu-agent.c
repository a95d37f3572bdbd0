// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qemu-agent.c - programs run in a real guest by its real agent
 *
 * TIMEOUT: 240
 * REQUIRES: root tun
 * IMAGES: tiny
 */
#define _GNU_SOURCE
#include "labd/agent.h"
#include "lib/digest.h"
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/qemutest.h"

#include <string.h>

#define BIG (5 << 20)

static struct qt_guest g;
static struct agent *a;

/**
 * struct heard - what a program wrote
 * @data, @len:	of streams 1 and 2
 * @calls:	how many pieces
 * @cancel_at:	num_now_us() time from which on it is cancelled
 */
struct heard {
	char *data[2];
	size_t len[2];
	unsigned int calls;
	uint64_t cancel_at;
};

static void on_output(void *arg, int stream, const void *data, size_t len)
{
	struct heard *h = arg;
	size_t *have = &h->len[stream - 1];

	h->data[stream - 1] = realloc(h->data[stream - 1], *have + len + 1);
	memcpy(h->data[stream - 1] + *have, data, len);
	*have += len;
	h->data[stream - 1][*have] = '\0';
	h->calls++;
}

static bool on_cancelled(void *arg)
{
	const struct heard *h = arg;

	return h->cancel_at && num_now_us() >= h->cancel_at;
}

static void forget(struct heard *h)
{
	free(h->data[0]);
	free(h->data[1]);
	*h = (struct heard){ .calls = 0 };
}

static int run_in(struct heard *h, double seconds, const char *input, const char *const *env,
		  const char *const *argv, int *ret_status, struct lab_err *err)
{
	struct agent_exec exec = { .argv = argv,
				   .env = env,
				   .input = input,
				   .input_len = input ? strlen(input) : 0,
				   .deadline = qt_in(seconds),
				   .output = on_output,
				   .cancelled = on_cancelled,
				   .arg = h };

	return agent_exec(a, &exec, ret_status, err);
}

#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Run a shell line to its end and check what came of it; NULL: not checked */
static void expect(const char *line, const char *input, int status, const char *out,
		   const char *errout)
{
	struct lab_err err = LAB_ERR_INIT;
	struct heard h = { .calls = 0 };
	int got = -1;

	NT_OK(run_in(&h, 30, input, NULL, ARGV("sh", "-c", line), &got, &err));
	NT_CHECK(got == status, "%s: status %d, expected %d", line, got, status);
	NT_CHECK(!out || !strcmp(h.data[0] ? h.data[0] : "", out), "%s: wrote '%s'", line,
		 h.data[0]);
	NT_CHECK(!errout || !strcmp(h.data[1] ? h.data[1] : "", errout), "%s: complained '%s'",
		 line, h.data[1]);
	forget(&h);
}

static void test_results(void)
{
	static const char *const words[] = { "printf", "%s|",	    "a b", "",	 "$(id)",
					     "'",      "\"\\\n;&*", "-n",  "--", NULL };
	struct lab_err err = LAB_ERR_INIT;
	struct heard h = { .calls = 0 };
	uint64_t begin = num_now_us();
	int status;

	expect("exit 0", NULL, 0, "", "");
	nt_say("true: %.0f ms", (double)(num_now_us() - begin) / 1000);
	expect("exit 3", NULL, 3, "", "");
	expect("exit 127", NULL, 127, "", "");
	expect("exit 125", NULL, 125, "", "");
	expect("exit 255", NULL, 255, "", "");
	expect("kill -9 $$", NULL, 256 + 9, "", "");
	expect("kill -15 $$", NULL, 256 + 15, "", "");
	expect("echo out; echo err >&2; echo more; exit 7", NULL, 7, "out\nmore\n", "err\n");
	expect("cat", "given\non\n\n\nstdin", 0, "given\non\n\n\nstdin", "");
	expect("read x || echo end of file", NULL, 0, "end of file\n", "");
	/* words reach the program as they are */
	NT_OK(run_in(&h, 30, NULL, NULL, words, &status, &err));
	NT_CHECK(!strcmp(h.data[0], "a b||$(id)|'|\"\\\n;&*|-n|--|"), "%s", h.data[0]);
	forget(&h);
}

static void test_environment(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct heard h = { .calls = 0 };
	int status;

	NT_OK(run_in(&h, 30, NULL, ARGV("A=1 2", "_b3=$(id)"),
		     ARGV("sh", "-c", "echo \"$A|$_b3|$HOME\""), &status, &err));
	NT_CHECK(!strncmp(h.data[0], "1 2|$(id)|/", 11), "%s", h.data[0]);
	forget(&h);
	NT_FAILS(EINVAL, run_in(&h, 30, NULL, ARGV("A;id=1"), ARGV("true"), &status, &err));
	NT_FAILS(EINVAL, run_in(&h, 30, NULL, ARGV("=1"), ARGV("true"), &status, &err));
	NT_FAILS(EINVAL, run_in(&h, 30, NULL, NULL, ARGV(""), &status, &err));
}

static void test_missing(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct heard h = { .calls = 0 };
	int status = -1;

	NT_FAILS(ENOENT, run_in(&h, 30, NULL, NULL, ARGV("no-such-program", "x"), &status, &err));
	NT_CHECK(status == -1, "a status for no program");
	nt_say("as told: %s", err.text);
	NT_FAILS(ENOENT, run_in(&h, 30, NULL, NULL, ARGV("/sbin/no-such"), &status, &err));
}

/* Five megabytes arrive whole, and while the program runs */
static void test_big(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct heard h = { .calls = 0 };
	char digest[DIGEST_HEX];
	uint64_t begin = num_now_us();
	int status;

	NT_OK(run_in(&h, 120, NULL, NULL,
		     ARGV("sh", "-c",
			  "head -c 5242880 /dev/urandom | tee /tmp/big; "
			  "sha256sum </tmp/big | cut -d' ' -f1 | tr -d '\\n' >&2; rm /tmp/big"),
		     &status, &err));
	NT_CHECK(!status && h.len[0] == BIG, "status %d, %zu bytes", status, h.len[0]);
	digest_hex(digest, h.data[0], h.len[0]);
	NT_CHECK(h.len[1] == 64 && !strcmp(digest, h.data[1]), "%s is not %s", digest, h.data[1]);
	nt_say("5 MiB in %.1f s, %u pieces", (double)(num_now_us() - begin) / 1e6, h.calls);
	forget(&h);
}

static void test_big_input(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct heard h = { .calls = 0 };
	autofree char *input = malloc(AGENT_MAX_INPUT + 2);
	uint64_t begin = num_now_us();
	int status;

	memset(input, 'x', AGENT_MAX_INPUT + 1);
	input[AGENT_MAX_INPUT] = '\0';
	NT_OK(run_in(&h, 60, input, NULL, ARGV("wc", "-c"), &status, &err));
	NT_CHECK(strtoul(h.data[0], NULL, 10) == AGENT_MAX_INPUT, "%s", h.data[0]);
	nt_say("1 MiB of input in %.1f s", (double)(num_now_us() - begin) / 1e6);
	forget(&h);
	input[AGENT_MAX_INPUT] = 'x';
	input[AGENT_MAX_INPUT + 1] = '\0';
	NT_FAILS(E2BIG, run_in(&h, 60, input, NULL, ARGV("wc", "-c"), &status, &err));
}

/* A program whose time is up is killed with its children */
static void test_kill(void)
{
	static const char line[] = "echo begun; (sleep 1000; echo no) & sleep 1000; echo no";
	struct lab_err err = LAB_ERR_INIT;
	struct heard h = { .calls = 0 };
	uint64_t begin = num_now_us();
	int status = -1;

	NT_FAILS(ETIMEDOUT, run_in(&h, 2, NULL, NULL, ARGV("sh", "-c", line), &status, &err));
	NT_CHECK(num_now_us() < begin + (qt_in(8) - num_now_us()), "it took too long");
	NT_CHECK(!strcmp(h.data[0], "begun\n"), "%s", h.data[0]);
	NT_CHECK(strstr(err.text, "was killed"), "%s", err.text);
	forget(&h);
	h.cancel_at = num_now_us() + 500000;
	NT_FAILS(ECANCELED, run_in(&h, 60, NULL, NULL, ARGV("sh", "-c", line), &status, &err));
	NT_CHECK(strstr(err.text, "was killed"), "%s", err.text);
	forget(&h);
	expect("ps | grep -c '[s]leep 1000'", NULL, 1, "0\n", "");
}

/* Nothing is left in the guest: files, handles, programs the agent remembers */
static void test_clean(void)
{
	/* but the directory of this very program, which may be removed just now */
	expect("n=$(ls -d /run/labd-exec* /tmp/labd-exec* 2>/dev/null | wc -l); [ $n -le 1 ]", NULL,
	       0, "", "");
	/* its own two, and the agent's standard ones, channel and log at most */
	expect("for p in $(pidof qemu-ga); do :; done; n=$(ls /proc/$p/fd | wc -l); [ $n -le 12 ] "
	       "|| echo $n",
	       NULL, 0, "", "");
}

/* Several programs at once share the agent */
static void *one_of_many(void *arg)
{
	char line[64], want[64];
	long i = (long)(intptr_t)arg;

	snprintf(line, sizeof(line), "sleep 1; echo %ld; exit %ld", i, i);
	snprintf(want, sizeof(want), "%ld\n", i);
	expect(line, NULL, (int)i, want, "");
	return NULL;
}

static void test_many(void)
{
	uint64_t begin = num_now_us();
	pthread_t threads[8];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, one_of_many, (void *)(intptr_t)(i + 1));
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	nt_say("8 programs of 1 s at once: %.1f s", (double)(num_now_us() - begin) / 1e6);
}

/* An agent that is restarted, or a guest that stands still */
static void test_lost(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct heard h = { .calls = 0 };
	uint64_t begin;
	int status;

	/* killing the agent from a program of its own: our answer never comes */
	(void)run_in(&h, 3, NULL, NULL, ARGV("sh", "-c", "kill -9 $(pidof qemu-ga)"), &status,
		     &err);
	nt_say("as told: %s", err.text);
	forget(&h);
	expect("echo back", NULL, 0, "back\n", "");
	NT_OK(qemu_pause(g.qmp, qt_in(5), &err));
	begin = num_now_us();
	NT_FAILS(ETIMEDOUT, agent_call(a, "guest-ping", NULL, num_now_us() + 500000, NULL, &err));
	NT_CHECK(num_now_us() - begin < 1500000, "the time-out took too long");
	NT_OK(qemu_cont(g.qmp, qt_in(5), &err));
	expect("echo back", NULL, 0, "back\n", "");
}

int main(int argc, char **argv)
{
	struct lab_err err = LAB_ERR_INIT;
	char path[300];

	nt_main(argc, argv);
	qt_init(&g, 92);
	qt_start(&g);
	snprintf(path, sizeof(path), "%s/agent", g.dir);
	a = agent_new(path);
	NT_FAILS(ETIMEDOUT, agent_call(a, "guest-ping", NULL, num_now_us() + 300000, NULL, &err));
	NT_OK(qemu_cont(g.qmp, qt_in(5), &err));
	NT_OK(agent_call(a, "guest-ping", NULL, qt_in(90), NULL, &err));
	nt_say("the guest agent answers");
	test_results();
	test_environment();
	test_missing();
	test_big();
	test_big_input();
	test_kill();
	test_many();
	test_clean();
	test_lost();
	agent_free(a);
	qt_done(&g);
	return 0;
}
