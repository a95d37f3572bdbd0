// SPDX-License-Identifier: GPL-2.0-or-later
/* stream.c - answers that come bit by bit: events, consoles, output of programs */
#define _GNU_SOURCE
#include "labd/stream_impl.h"

#include "labd/api.h"
#include "labd/events.h"
#include "labd/loop.h"
#include "labd/ready.h"
#include "labd/work.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

const char *stream_type(const struct stream *s)
{
	return s->type;
}

ssize_t stream_read(struct stream *s, char *buf, size_t max)
{
	size_t n;

	if (s->at == s->len) {
		int r;

		free(s->pending);
		s->pending = NULL;
		s->at = s->len = 0;
		r = s->fill(s);
		if (r <= 0)
			return r;
	}
	n = MIN(max, s->len - s->at);
	memcpy(buf, s->pending + s->at, n);
	s->at += n;
	return (ssize_t)n;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	if (s->close)
		s->close(s);
	free(s->pending);
	free(s);
}

void *stream_new(struct labd *d, size_t size, const char *type, int (*fill)(struct stream *s),
		 void (*close_fn)(struct stream *s))
{
	struct stream *s = calloc(1, size);

	if (!s)
		abort();
	s->d = d;
	s->type = type;
	s->fill = fill;
	s->close = close_fn;
	return s;
}

/* --- events --- */

struct event_stream {
	struct stream s;
	uint64_t since;
	bool follow;
};

static int fill_events(struct stream *s)
{
	struct event_stream *es = container_of(s, struct event_stream, s);
	const char *line;
	uint64_t seq;
	int n;

	SCOPED_LOCK(&s->d->lock);
	line = events_get(s->d->events, es->since, &seq);
	if (!line)
		return es->follow ? 0 : -1;
	if (!*line) {
		es->since = seq - 1;
		n = asprintf(&s->pending, "{\"type\":\"gap\",\"seq\":%llu}\n",
			     (unsigned long long)seq);
	} else {
		es->since = seq;
		n = asprintf(&s->pending, "%s\n", line);
	}
	s->len = n > 0 ? (size_t)n : 0;
	return n > 0 ? 1 : -1;
}

struct stream *stream_events(struct labd *d, uint64_t since, bool follow)
{
	struct event_stream *es = stream_new(d, sizeof(*es), "application/x-ndjson", fill_events,
					     NULL);

	es->since = since;
	es->follow = follow;
	return &es->s;
}

/* --- the recorded console --- */

struct console_stream {
	struct stream s;
	char path[IO_PATH];
	int fd;
	bool follow;
	sd_event_source *watch;
};

#define CONSOLE_PIECE 16384

/* Whether the log was rotated: then the new one is opened at its start */
static bool rotated(struct console_stream *cs)
{
	struct stat here, there;
	int fd;

	if (stat(cs->path, &there) < 0)
		return false;
	if (cs->fd >= 0 && !fstat(cs->fd, &here) && here.st_ino == there.st_ino &&
	    here.st_dev == there.st_dev)
		return false;
	fd = open(cs->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (cs->fd >= 0)
		close(cs->fd);
	cs->fd = fd;
	return true;
}

static int fill_console(struct stream *s)
{
	struct console_stream *cs = container_of(s, struct console_stream, s);
	ssize_t n;

	s->pending = malloc(CONSOLE_PIECE);
	if (!s->pending)
		return -1;
	do
		n = cs->fd < 0 ? 0 : RETRY(read(cs->fd, s->pending, CONSOLE_PIECE));
	while (!n && rotated(cs));
	if (n > 0) {
		s->len = (size_t)n;
		return 1;
	}
	return !n && cs->follow ? 0 : -1;
}

static void close_console(struct stream *s)
{
	struct console_stream *cs = container_of(s, struct console_stream, s);

	sd_event_source_disable_unref(cs->watch);
	if (cs->fd >= 0)
		close(cs->fd);
}

static int on_console(sd_event_source *source, const struct inotify_event *event, void *arg)
{
	(void)source, (void)event;
	api_wake_followers(arg);
	return 0;
}

/* Watches belong to the loop's thread; the call may come from a worker */
static void watch_console(struct labd *d, void *arg)
{
	struct console_stream *cs = arg;
	char *slash = strrchr(cs->path, '/');

	*slash = '\0';
	(void)sd_event_add_inotify(d->event, &cs->watch, cs->path,
				   IN_MODIFY | IN_CREATE | IN_MOVED_TO, on_console, d);
	*slash = '/';
	api_wake_followers(d);
}

struct stream *stream_console(struct labd *d, const char *dir, uint64_t tail, bool follow)
{
	struct console_stream *cs = stream_new(d, sizeof(*cs), "application/octet-stream",
					       fill_console, close_console);
	struct stat st;

	io_path(cs->path, "%s/console.log", dir);
	cs->follow = follow;
	cs->fd = open(cs->path, O_RDONLY | O_CLOEXEC);
	if (cs->fd >= 0 && !fstat(cs->fd, &st) && (uint64_t)st.st_size > tail)
		(void)lseek(cs->fd, st.st_size - (off_t)tail, SEEK_SET);
	if (follow)
		watch_console(d, cs);
	return &cs->s;
}

/* --- a program in a guest, or a wait for it --- */

#define EXEC_BUFFER (256 << 10) /* more than that waits for the client */
#define EXEC_SECONDS 3600
#define EXEC_MAX_SECONDS (366 * 86400)

/**
 * struct run_state - shared by the stream and the thread that talks to the guest
 * @input:	standard input, decoded
 * @target:	what a wait looks at; NULL for a program
 * @buf:	lines that the stream has not yet taken
 * @client_gone: the stream was closed: kill the program, say no more
 */
struct run_state {
	struct labd *d;
	struct guest *guest;
	json_t *body;
	unsigned char *input;
	size_t input_len;
	struct wait_target *target;
	pthread_mutex_t lock;
	pthread_cond_t drained;
	char *buf;
	size_t len;
	bool ended, client_gone;
	int refs;
};

struct run_stream {
	struct stream s;
	struct run_state *x;
};

static void put_state(struct run_state *x)
{
	bool last;

	pthread_mutex_lock(&x->lock);
	last = !--x->refs;
	pthread_mutex_unlock(&x->lock);
	if (!last)
		return;
	guest_unref(x->d, x->guest);
	json_decref(x->body);
	free(x->input);
	free(x->target);
	free(x->buf);
	pthread_mutex_destroy(&x->lock);
	pthread_cond_destroy(&x->drained);
	free(x);
}

static void put_line(struct run_state *x, json_t *msg)
{
	autofree char *line = json_dumps(msg, JSON_COMPACT);
	size_t n = line ? strlen(line) : 0;
	char *more;

	json_decref(msg);
	pthread_mutex_lock(&x->lock);
	while (x->len > EXEC_BUFFER && !x->client_gone)
		pthread_cond_wait(&x->drained, &x->lock);
	more = n && !x->client_gone ? realloc(x->buf, x->len + n + 1) : NULL;
	if (more) {
		x->buf = more;
		memcpy(more + x->len, line, n); // NOLINT(bugprone-not-null-terminated-result): len
		more[x->len + n] = '\n';
		x->len += n + 1;
	}
	pthread_mutex_unlock(&x->lock);
	api_wake_followers(x->d);
}

static void on_output(void *arg, int stream, const void *data, size_t len)
{
	autofree unsigned char *text = malloc(len / 3 * 4 + 8);

	if (!text)
		return;
	EVP_EncodeBlock(text, data, (int)len);
	put_line(arg, json_pack("{s:s}", stream == 2 ? "stderr" : "stdout", (char *)text));
}

static bool client_gone(void *arg)
{
	struct run_state *x = arg;

	SCOPED_LOCK(&x->lock);
	return x->client_gone;
}

/* {"A": "1"} as {"A=1", NULL} */
static char **env_of(const json_t *env)
{
	char **list = calloc(json_object_size(env) + 1, sizeof(*list));
	const char *key;
	json_t *v;
	size_t n = 0;

	if (!list)
		return NULL;
	json_object_foreach((json_t *)env, key, v)
		if (asprintf(&list[n], "%s=%s", key, json_string_value(v)) > 0)
			n++;
	list[n] = NULL;
	return list;
}

static void free_env(char ***env)
{
	for (char **e = *env; e && *e; e++)
		free(*e);
	free(*env);
}

/* The thread has said its last */
static void end_run(struct run_state *x)
{
	pthread_mutex_lock(&x->lock);
	x->ended = true;
	pthread_mutex_unlock(&x->lock);
	api_wake_followers(x->d);
	put_state(x);
}

static void put_error(struct run_state *x, int r, const struct lab_err *err)
{
	put_line(x, json_pack("{s:{s:s s:s}}", "error", "errno", lab_errno_name(r), "message",
			      err->text));
}

static void exec_thread(void *arg)
{
	struct run_state *x = arg;
	const json_t *argv_json = json_object_get(x->body, "argv");
	json_int_t timeout = json_integer_value(json_object_get(x->body, "timeout"));
	size_t n = json_array_size(argv_json);
	autofree const char **argv = calloc(n + 1, sizeof(*argv));
	char **env __attribute__((cleanup(free_env))) = env_of(json_object_get(x->body, "env"));
	struct lab_err err = LAB_ERR_INIT;
	struct agent_exec exec = {
		.argv = argv,
		.env = (const char *const *)env,
		.input = x->input,
		.input_len = x->input_len,
		.deadline = num_now_us() +
			    (uint64_t)(timeout > 0 ? timeout : EXEC_SECONDS) * 1000000,
		.output = on_output,
		.cancelled = client_gone,
		.arg = x,
	};
	int status = 0, r = -ENOMEM;

	for (size_t i = 0; argv && i < n; i++)
		argv[i] = json_string_value(json_array_get(argv_json, i));
	if (client_gone(x))
		r = -ECANCELED;
	else if (argv && env)
		r = agent_exec(x->guest->agent, &exec, &status, &err);
	if (r < 0 && client_gone(x))
		log_info("exec: its client left: %s", err.text);
	if (r < 0)
		put_error(x, r, &err);
	else
		put_line(x, json_pack("{s:i}", status >= 256 ? "signal" : "exit", status & 255));
	end_run(x);
}

static int fill_run(struct stream *s)
{
	struct run_state *x = container_of(s, struct run_stream, s)->x;

	SCOPED_LOCK(&x->lock);
	if (!x->len)
		return x->ended ? -1 : 0;
	s->pending = steal_ptr(x->buf);
	s->len = x->len;
	x->len = 0;
	pthread_cond_broadcast(&x->drained);
	return 1;
}

static void close_run(struct stream *s)
{
	struct run_state *x = container_of(s, struct run_stream, s)->x;

	pthread_mutex_lock(&x->lock);
	x->client_gone = true;
	pthread_cond_broadcast(&x->drained);
	pthread_mutex_unlock(&x->lock);
	put_state(x);
}

static int bad_body(struct lab_err *err, const char *what)
{
	return lab_fail(err, -EINVAL, "the body of exec: %s", what);
}

static int check_body(const json_t *body, struct lab_err *err)
{
	const json_t *argv = json_object_get(body, "argv"), *env = json_object_get(body, "env");
	const json_t *timeout = json_object_get(body, "timeout"), *v;
	const char *key;
	size_t i;

	if (!json_is_array(argv) || !json_array_size(argv))
		return bad_body(err, "\"argv\" must say what to run, a list of strings");
	json_array_foreach(argv, i, v)
		if (!json_is_string(v))
			return bad_body(err, "\"argv\" must be strings");
	if (env && !json_is_object(env))
		return bad_body(err, "\"env\" must be an object");
	json_object_foreach((json_t *)env, key, v)
		if (!json_is_string(v))
			return bad_body(err, "the values of \"env\" must be strings");
	if (timeout && (!json_is_integer(timeout) || json_integer_value(timeout) < 0 ||
			json_integer_value(timeout) > EXEC_MAX_SECONDS))
		return bad_body(err, "\"timeout\" must be seconds, at most a year");
	return 0;
}

/* Standard input, from base64 without line breaks */
static int decode_input(struct run_state *x, struct lab_err *err)
{
	const json_t *text = json_object_get(x->body, "stdin");
	size_t len = json_string_length(text), pad = 0;
	const char *s = json_string_value(text);
	int n;

	if (!text || !len)
		return !text || s ? 0 : bad_body(err, "\"stdin\" must be a string");
	while (pad < 2 && s[len - 1 - pad] == '=')
		pad++;
	x->input = malloc(len / 4 * 3 + 4);
	if (!x->input)
		return lab_fail(err, -ENOMEM, "out of memory");
	/* it would pass over white space at both ends, and take "=" anywhere */
	n = len % 4 || strcspn(s, "= \t\r\n") != len - pad
		    ? -1
		    : EVP_DecodeBlock(x->input, (const unsigned char *)s, (int)len);
	if (n < (int)pad)
		return bad_body(err, "\"stdin\" is not base64");
	x->input_len = (size_t)n - pad;
	if (x->input_len > AGENT_MAX_INPUT)
		return lab_fail(err, -E2BIG, "standard input is longer than %d bytes",
				AGENT_MAX_INPUT);
	return 0;
}

static struct run_state *new_run(struct labd *d, struct guest *guest, json_t *body)
{
	struct run_state *x = calloc(1, sizeof(*x));

	if (!x)
		abort();
	x->d = d;
	x->guest = guest;
	x->body = json_incref(body);
	x->refs = 2;
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->drained, NULL);
	return x;
}

/**
 * start_run() - Start a run's thread, and the stream of what it says
 * @r:		what was found out about its body; if negative it is given up
 */
static int start_run(struct run_state *x, int r, void (*thread)(void *x), struct stream **ret,
		     struct lab_err *err)
{
	struct run_stream *rs;

	if (!r) {
		r = work_submit(x->d->execs, thread, x);
		if (r == -EBUSY)
			lab_fail(err, r,
				 "too many programs run in guests at once; try again when "
				 "one has ended");
		else if (r < 0)
			lab_fail_errno(err, r, "no thread for the program");
	}
	if (r < 0) {
		x->refs = 1;
		put_state(x);
		return r;
	}
	rs = stream_new(x->d, sizeof(*rs), "application/x-ndjson", fill_run, close_run);
	rs->x = x;
	*ret = &rs->s;
	return 0;
}

int stream_exec(struct labd *d, struct guest *guest, json_t *body, struct stream **ret,
		struct lab_err *err)
{
	struct run_state *x = new_run(d, guest, body);
	int r = check_body(body, err);

	if (!r)
		r = decode_input(x, err);
	return start_run(x, r, exec_thread, ret, err);
}

static bool guest_alive(void *arg)
{
	const struct run_state *x = arg;
	struct pollfd p = { .fd = x->guest->proc.pidfd, .events = POLLIN };

	return p.fd < 0 || poll(&p, 1, 0) <= 0;
}

static void on_step(void *arg, const char *words)
{
	put_line(arg, json_pack("{s:s}", "step", words));
}

static int wait_in(struct run_state *x, struct lab_err *err)
{
	const struct wait_target *t = x->target;
	struct ready ready = {
		.agent = x->guest->agent,
		.addr = t->addr,
		.console_log = t->console_log,
		.console_from = t->console_from,
		.alive = guest_alive,
		.cancelled = client_gone,
		.step = on_step,
		.arg = x,
	};
	/* the lab's own connection belongs to jobs */
	int r = keeper_connect(t->run_dir, &ready.keeper, err);

	if (r < 0)
		return r;
	r = ready_wait(&ready, x->body, err);
	keeper_close(ready.keeper);
	return r;
}

static void wait_thread(void *arg)
{
	struct run_state *x = arg;
	struct lab_err err = LAB_ERR_INIT;
	int r = wait_in(x, &err);

	if (r < 0)
		put_error(x, r, &err);
	else
		put_line(x, json_pack("{s:b}", "ready", 1));
	end_run(x);
}

int stream_wait(struct labd *d, struct guest *guest, json_t *probes,
		const struct wait_target *target, struct stream **ret, struct lab_err *err)
{
	struct run_state *x = new_run(d, guest, probes);

	x->target = malloc(sizeof(*target));
	if (!x->target)
		abort();
	*x->target = *target;
	return start_run(x, 0, wait_thread, ret, err);
}
