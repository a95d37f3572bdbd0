// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * agent_exec.c - programs run in a guest by its agent
 *
 * DOC: Theory of Operation
 *
 * The agent can start a program and say how it ended, but hands over its output
 * only then, and at most 16 MB as one line. So a fixed shell script sends the
 * output to two files in a new directory of mode 0700, and the agent reads
 * these to us while the program runs. As soon as the agent has both open, the
 * directory is removed: nothing is left in the guest, not even if labd dies.
 *
 * The script is a constant; words of the user reach it as parameters only.
 * It ends in exec, so that the agent's pid is the program's, and that the agent
 * sees its exit status or signal. With setsid(1) in the guest, the program
 * leads a process group, and is killed with its children.
 *
 * A guest without /bin/sh, or where no directory can be written, gets the
 * agent's own capture: output comes at the end and is limited to one line.
 */
#define _GNU_SOURCE
#include "labd/agent.h"

#include "lib/num.h"
#include "lib/util.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define EXEC_CHUNK (128 << 10)
#define STEP_TIME 30000000 /* us; one request to an agent that is alive */
#define STEP_GRACE 1000000 /* us; a request may take longer than the program's time by so much */
#define KILL_TIME 10000000 /* us; to kill a program and tidy up, if 32 are at the same time */
#define PAUSE_MIN 10000 /* us; between two questions how it is */
#define PAUSE_MAX 250000
#define NO_DIRECTORY 125
#define NO_PROGRAM 127

/* Parameters: DIR NENV NAME=VALUE... PROGRAM ARGUMENT... */
static const char run_script[] =
	"PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}\n"
	"HOME=${HOME:-/root}\n"
	"export PATH HOME\n"
	"dir=$1 count=$2\n"
	"shift 2\n"
	"{ mkdir -m 700 \"$dir\" && : >\"$dir/1\"; } 2>/dev/null || exit 125\n"
	"while [ \"$count\" -gt 0 ]; do export \"$1\"; shift; count=$((count - 1)); done\n"
	"command -v \"$1\" >/dev/null 2>&1 || exit 127\n"
	"command -v setsid >/dev/null 2>&1 && exec setsid -- \"$@\" >>\"$dir/1\" 2>\"$dir/2\"\n"
	"exec \"$@\" >>\"$dir/1\" 2>\"$dir/2\"\n";

/* Parameter: PID, of a process group if setsid made one */
static const char kill_script[] = "kill -9 -- \"-$1\" 2>/dev/null || kill -9 \"$1\"\n";

/**
 * struct program - one that runs in the guest
 * @a, @exec:	whose
 * @pid:	in the guest
 * @remover:	pid of the rm that removes its directory; 0 if none was started
 * @file:	the agent's handles of its output, [0] of stream 1; -1 if not open
 * @pause:	how long to wait before asking again, us
 * @stopped:	it was us who gave it up, not the agent that failed
 * @ended, @status: how it ended
 * @result:	the last reply of guest-exec-status
 */
struct program {
	struct agent *a;
	const struct agent_exec *exec;
	json_int_t pid, remover;
	json_int_t file[2];
	uint64_t pause;
	bool stopped, ended;
	int status;
	json_t *result;
};

static json_t *encode(const void *data, size_t len)
{
	autofree unsigned char *text = malloc(len / 3 * 4 + 5);

	if (!text || len > AGENT_MAX_INPUT)
		return NULL;
	return json_stringn((char *)text, (size_t)EVP_EncodeBlock(text, data, (int)len));
}

/* Decode base64; the result is malloced. -EPROTO if it is none */
static int decode(const json_t *text, unsigned char **ret, size_t *ret_len)
{
	size_t len = json_string_length(text), pad = 0;
	const char *s = json_string_value(text);
	unsigned char *data;
	int n;

	if (!s || len % 4 || len > INT32_MAX)
		return -EPROTO;
	while (pad < 2 && pad < len && s[len - 1 - pad] == '=')
		pad++;
	if (strcspn(s, "=") != len - pad)
		return -EPROTO;
	data = malloc(len / 4 * 3 + 1);
	if (!data)
		return -ENOMEM;
	n = len ? EVP_DecodeBlock(data, (const unsigned char *)s, (int)len) : 0;
	if (n < (int)pad) {
		free(data);
		return -EPROTO;
	}
	*ret_len = (size_t)n - pad;
	*ret = data;
	return 0;
}

/*
 * When a request made while the program runs has to be answered: a little later than
 * the program's own deadline, or a good connection would be given up at it
 */
static uint64_t step_deadline(const struct program *p)
{
	uint64_t longest = num_now_us() + STEP_TIME;

	return p->exec->deadline < longest - STEP_GRACE ? p->exec->deadline + STEP_GRACE : longest;
}

static int step(struct program *p, const char *command, json_t *args, json_t **ret,
		struct lab_err *err)
{
	return agent_call(p->a, command, args, step_deadline(p), ret, err);
}

static int nonsense(struct lab_err *err, const char *command)
{
	return lab_fail(err, -EPROTO, "the guest agent's reply to %s makes no sense", command);
}

/* Start something with guest-exec; takes @args */
static int start(struct program *p, json_t *args, uint64_t deadline, json_int_t *ret_pid,
		 struct lab_err *err)
{
	autojson json_t *reply = NULL;
	json_int_t pid;
	int r = agent_call(p->a, "guest-exec", args, deadline, &reply, err);

	if (r < 0)
		return r;
	pid = json_integer_value(json_object_get(reply, "pid"));
	if (pid <= 0)
		return nonsense(err, "guest-exec");
	*ret_pid = pid;
	return 0;
}

/* Ask whether @pid has ended: 1 it has, 0 it runs. *ret then is the reply */
static int ask_status(struct program *p, json_int_t pid, uint64_t deadline, json_t **ret,
		      struct lab_err *err)
{
	autojson json_t *reply = NULL;
	json_t *exited;
	int r = agent_call(p->a, "guest-exec-status", json_pack("{s:I}", "pid", pid), deadline,
			   &reply, err);

	if (r < 0)
		return r;
	exited = json_object_get(reply, "exited");
	if (!json_is_boolean(exited))
		return nonsense(err, "guest-exec-status");
	if (!json_is_true(exited))
		return 0;
	*ret = steal_ptr(reply);
	return 1;
}

/* Ask how the program is; its end is noted in @p */
static int check(struct program *p, struct lab_err *err)
{
	json_t *code, *sig, *result = NULL;
	int r = ask_status(p, p->pid, step_deadline(p), &result, err);

	if (r <= 0)
		return r;
	json_decref(p->result);
	p->result = result;
	code = json_object_get(p->result, "exitcode");
	sig = json_object_get(p->result, "signal");
	if (!json_is_integer(code) && !json_is_integer(sig))
		return nonsense(err, "guest-exec-status");
	p->ended = true;
	p->status = json_is_integer(sig) ? 256 + (int)(json_integer_value(sig) & 0x7f)
					 : (int)(json_integer_value(code) & 0xff);
	return 0;
}

/* Whether to stop waiting: 0, -ECANCELED or -ETIMEDOUT */
static int must_stop(struct program *p, struct lab_err *err)
{
	p->stopped = true;
	if (p->exec->cancelled && p->exec->cancelled(p->exec->arg))
		return lab_fail(err, -ECANCELED, "%s: cancelled", p->exec->argv[0]);
	if (num_now_us() >= p->exec->deadline)
		return lab_fail(err, -ETIMEDOUT, "%s: not ended when its time was up",
				p->exec->argv[0]);
	p->stopped = false;
	return 0;
}

/* Nothing tells us when a program writes or ends: ask, ever less often */
static void wait_a_little(struct program *p)
{
	uint64_t now = num_now_us();
	uint64_t us = p->exec->deadline > now ? MIN(p->pause, p->exec->deadline - now) : 0;
	struct timespec t = { .tv_sec = 0, .tv_nsec = (long)us * 1000 };

	nanosleep(&t, NULL);
	p->pause = MIN(p->pause * 3 / 2, (uint64_t)PAUSE_MAX);
}

/*
 * Kill the program and see it gone, so that the agent forgets it too. An agent that
 * has just failed us gets less time.
 */
static bool kill_program(struct program *p)
{
	uint64_t deadline = num_now_us() + (p->stopped ? KILL_TIME : STEP_GRACE);
	autojson json_t *killed = NULL;
	json_int_t killer = 0;
	char pid[24];

	snprintf(pid, sizeof(pid), "%" JSON_INTEGER_FORMAT, p->pid);
	if (start(p,
		  json_pack("{s:s, s:[s,s,s,s]}", "path", "/bin/sh", "arg", "-c", kill_script, "sh",
			    pid),
		  deadline, &killer, NULL) < 0 &&
	    start(p, json_pack("{s:s, s:[s,s]}", "path", "kill", "arg", "-9", pid), deadline,
		  &killer, NULL) < 0)
		return false;
	for (p->pause = PAUSE_MIN; !p->ended && num_now_us() < deadline;) {
		struct timespec t = { .tv_nsec = PAUSE_MIN * 1000L };

		nanosleep(&t, NULL);
		if (check(p, NULL) < 0)
			break;
	}
	(void)ask_status(p, killer, deadline, &killed, NULL);
	return p->ended;
}

/* The program was given up for @r: kill it, and say what became of it */
static int give_up(struct program *p, int r, struct lab_err *err)
{
	bool killed = p->ended || kill_program(p);
	char text[LAB_ERR_TEXT];

	if (err) {
		memcpy(text, err->text, sizeof(text));
		lab_fail(err, r, "%.*s%s", LAB_ERR_TEXT - 40, text,
			 killed ? ", and was killed" : "; it may still run in the guest");
	}
	return r;
}

/* ---- output through files ------------------------------------------------- */

static int open_output(struct program *p, const char *dir, int stream, struct lab_err *err)
{
	autojson json_t *reply = NULL;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "%s/%d", dir, stream);
	r = step(p, "guest-file-open", json_pack("{s:s, s:s}", "path", path, "mode", "r"), &reply,
		 err);
	if (r < 0)
		return r;
	if (!json_is_integer(reply))
		return nonsense(err, "guest-file-open");
	p->file[stream - 1] = json_integer_value(reply);
	return 0;
}

/* Whether the agent's refusal says that a file or program is not there */
static bool says_missing(int r, const struct lab_err *err)
{
	return r == -EIO && strstr(err->text, "No such file or directory");
}

/*
 * Open both files as soon as the script has made them, the second one last. Return 1; 0
 * if it ended without.
 */
static int open_outputs(struct program *p, const char *dir, struct lab_err *err)
{
	for (;;) {
		struct lab_err local = LAB_ERR_INIT;
		bool ended = p->ended;
		int r = open_output(p, dir, 2, &local);

		if (!r)
			r = open_output(p, dir, 1, &local);
		if (!r)
			return 1;
		if (!says_missing(r, &local))
			return lab_fail(err, r, "%s", local.text);
		if (ended)
			return 0;
		r = check(p, err);
		if (!r)
			r = must_stop(p, err);
		if (r < 0)
			return r;
		if (!p->ended)
			wait_a_little(p);
	}
}

/* Read what one stream has now. Return 1 if there was something */
static int read_stream(struct program *p, int stream, struct lab_err *err)
{
	int got = 0;

	for (;;) {
		autojson json_t *reply = NULL;
		autofree unsigned char *data = NULL;
		size_t len = 0;
		int r = step(p, "guest-file-read",
			     json_pack("{s:I, s:i}", "handle", p->file[stream - 1], "count",
				       EXEC_CHUNK),
			     &reply, err);

		if (r < 0)
			return r;
		r = decode(json_object_get(reply, "buf-b64"), &data, &len);
		if (r < 0 || len > EXEC_CHUNK)
			return nonsense(err, "guest-file-read");
		if (len)
			p->exec->output(p->exec->arg, stream, data, len);
		got |= len > 0;
		if (!len || json_is_true(json_object_get(reply, "eof")))
			return got;
		r = must_stop(p, err);
		if (r < 0)
			return r;
	}
}

/* Pass output on until the program has ended and all of it was read */
static int follow(struct program *p, struct lab_err *err)
{
	for (;;) {
		int r = p->ended ? 0 : check(p, err); /* first: what it wrote is in the files */
		int got;

		if (r < 0)
			return r;
		got = read_stream(p, 1, err);
		if (got < 0)
			return got;
		r = read_stream(p, 2, err);
		if (r < 0)
			return r;
		if (p->ended)
			return 0;
		if (got || r)
			p->pause = PAUSE_MIN;
		r = must_stop(p, err);
		if (r < 0)
			return r;
		wait_a_little(p);
	}
}

/* Remove the directory; the files live on in the agent's handles */
static void remove_directory(struct program *p, const char *dir)
{
	(void)start(p, json_pack("{s:s, s:[s,s]}", "path", "rm", "arg", "-rf", dir),
		    step_deadline(p), &p->remover, NULL);
}

static void tidy_up(struct program *p)
{
	uint64_t deadline = num_now_us() + KILL_TIME;
	autojson json_t *removed = NULL;
	int r = 0;

	for (int i = 0; i < 2 && !r; i++)
		if (p->file[i] >= 0)
			r = agent_call(p->a, "guest-file-close",
				       json_pack("{s:I}", "handle", p->file[i]), deadline, NULL,
				       NULL);
	/* The agent remembers a program until somebody has asked how it ended */
	if (p->remover && !r)
		(void)ask_status(p, p->remover, deadline, &removed, NULL);
}

/* ---- starting ------------------------------------------------------------- */

static bool valid_variable(const char *s)
{
	size_t n = strcspn(s, "=");

	if (!s[n] || !n || isdigit((unsigned char)*s))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '_')
			return false;
	return true;
}

static json_t *with_input(json_t *request, const struct agent_exec *exec)
{
	if (request && exec->input_len)
		json_object_set_new(request, "input-data", encode(exec->input, exec->input_len));
	return request;
}

/* sh -c SCRIPT sh DIR NENV ENV... ARGV... */
static json_t *script_request(const struct agent_exec *exec, const char *dir)
{
	json_t *words = json_pack("[s,s,s,s]", "-c", run_script, "sh", dir);
	size_t n = 0;

	while (exec->env && exec->env[n])
		n++;
	json_array_append_new(words, json_sprintf("%zu", n));
	for (size_t i = 0; i < n; i++)
		json_array_append_new(words, json_string(exec->env[i]));
	for (size_t i = 0; exec->argv[i]; i++)
		json_array_append_new(words, json_string(exec->argv[i]));
	return with_input(json_pack("{s:s, s:o}", "path", "/bin/sh", "arg", words), exec);
}

/* The program itself, its output kept by the agent */
static json_t *plain_request(const struct agent_exec *exec)
{
	json_t *words = json_array(), *env = json_array();

	for (size_t i = 1; exec->argv[i]; i++)
		json_array_append_new(words, json_string(exec->argv[i]));
	for (size_t i = 0; exec->env && exec->env[i]; i++)
		json_array_append_new(env, json_string(exec->env[i]));
	if (!json_array_size(env)) {
		json_decref(env);
		env = NULL;
	}
	return with_input(json_pack("{s:s, s:o, s:o*, s:b}", "path", exec->argv[0], "arg", words,
				    "env", env, "capture-output", 1),
			  exec);
}

static int no_program(const struct agent_exec *exec, struct lab_err *err)
{
	return lab_fail(err, -ENOENT, "%s: the guest has no such program", exec->argv[0]);
}

/* Without output files there is only the script's own word for why */
static int script_ended(const struct program *p, struct lab_err *err)
{
	if (p->status == NO_DIRECTORY)
		return 1;
	if (p->status == NO_PROGRAM)
		return no_program(p->exec, err);
	return lab_fail(err, -EIO, "%s: the guest's shell ended with status %d", p->exec->argv[0],
			p->status);
}

/* Run it with output through files below @parent; 1 if that cannot be done there */
static int run_in(struct program *p, const char *parent, struct lab_err *err)
{
	struct lab_err local = LAB_ERR_INIT;
	unsigned long long random;
	char dir[48];
	int r;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return lab_fail(err, -EIO, "no random numbers");
	snprintf(dir, sizeof(dir), "%s/labd-exec-%016llx", parent, random);
	r = start(p, script_request(p->exec, dir), step_deadline(p), &p->pid, &local);
	if (says_missing(r, &local))
		return 1;
	if (r < 0)
		return lab_fail(err, r, "%s", local.text);
	r = open_outputs(p, dir, err);
	if (r > 0 || (!r && p->status != NO_DIRECTORY))
		remove_directory(p, dir);
	if (r)
		r = r < 0 ? r : follow(p, err);
	else
		r = script_ended(p, err);
	if (r < 0 && !p->ended)
		give_up(p, r, err);
	tidy_up(p);
	return r;
}

/* Hand over what the agent captured of one stream */
static int captured(struct program *p, int stream, struct lab_err *err)
{
	const json_t *text = json_object_get(p->result, stream == 1 ? "out-data" : "err-data");
	autofree unsigned char *data = NULL;
	size_t len = 0;

	if (!text)
		return 0;
	if (decode(text, &data, &len) < 0)
		return nonsense(err, "guest-exec-status");
	if (len)
		p->exec->output(p->exec->arg, stream, data, len);
	return 0;
}

static int run_plain(struct program *p, struct lab_err *err)
{
	struct lab_err local = LAB_ERR_INIT;
	int r = start(p, plain_request(p->exec), step_deadline(p), &p->pid, &local);

	if (says_missing(r, &local))
		return no_program(p->exec, err);
	if (r < 0)
		return lab_fail(err, r, "%s", local.text);
	for (;;) {
		r = check(p, err);
		if (!r && !p->ended)
			r = must_stop(p, err);
		if (r < 0 || p->ended)
			break;
		wait_a_little(p);
	}
	if (r < 0)
		return give_up(p, r, err);
	r = captured(p, 1, err);
	return r < 0 ? r : captured(p, 2, err);
}

static int validate(const struct agent_exec *exec, struct lab_err *err)
{
	if (!exec->argv || !exec->argv[0] || !exec->argv[0][0])
		return lab_fail(err, -EINVAL, "no program to run");
	if (exec->input_len > AGENT_MAX_INPUT)
		return lab_fail(err, -E2BIG, "standard input is longer than %d bytes",
				AGENT_MAX_INPUT);
	for (size_t i = 0; exec->env && exec->env[i]; i++)
		if (!valid_variable(exec->env[i]))
			return lab_fail(err, -EINVAL, "'%.60s' is not NAME=value", exec->env[i]);
	return 0;
}

int agent_exec(struct agent *a, const struct agent_exec *exec, int *ret_status, struct lab_err *err)
{
	static const char *const parents[] = { "/run", "/tmp", "/dev/shm" };
	int r = validate(exec, err);

	if (r < 0)
		return r;
	r = 1;
	for (size_t i = 0; r > 0 && i <= ARRAY_SIZE(parents); i++) {
		struct program p = { .a = a, .exec = exec, .file = { -1, -1 }, .pause = PAUSE_MIN };

		r = i < ARRAY_SIZE(parents) ? run_in(&p, parents[i], err) : run_plain(&p, err);
		if (!r)
			*ret_status = p.status;
		json_decref(p.result);
	}
	return r;
}
