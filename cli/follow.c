// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * follow.c - waiting for jobs
 *
 * DOC: Theory of Operation
 *
 * Jobs are followed through the stream of events, never by asking again. The
 * stream begins at an event number taken from /v1/model *before* the jobs are
 * fetched: what happened up to then is in the fetched objects, what happens
 * later is in the stream. Each event carries the whole job, so one that is
 * seen twice does no harm. After a gap, or when the stream breaks because labd
 * is restarted, the same is done again, for FOLLOW_RETRY_US at most. A job that
 * then was created at another time is not the one that was followed.
 *
 * The first Ctrl-C asks the jobs to stop, and waiting goes on: labd still has
 * to bring things back into order. The second one leaves. The handler only
 * counts; the stream's idle function looks.
 */
#define _GNU_SOURCE
#include "cli/follow.h"
#include "cli/progress.h"
#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define FOLLOW_RETRY_US 10000000ULL
#define FOLLOW_PAUSE_MS 200
#define PAINT_US 1000000ULL /* elapsed seconds move on */

struct follow {
	struct cli *cli;
	struct client *second;
	const uint64_t *ids;
	json_t **jobs;
	size_t n;
	struct progress progress;
	bool (*enough)(const json_t *job);
	bool plain, dirty, left;
	int stops;
	uint64_t painted;
};

static volatile sig_atomic_t interrupts;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupts++;
}

static bool has_ended(const json_t *job)
{
	const char *state = cell_string(job, "state");

	return !strcmp(state, "done") || !strcmp(state, "failed") || !strcmp(state, "cancelled");
}

static bool finished(const struct follow *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (!f->jobs[i] ||
		    (!has_ended(f->jobs[i]) && !(f->enough && f->enough(f->jobs[i]))))
			return false;
	return true;
}

static void paint(struct follow *f)
{
	progress_paint(&f->progress, f->jobs, f->n, num_wall());
	f->painted = num_now_us();
	f->dirty = false;
}

static void set_job(struct follow *f, size_t i, json_t *job)
{
	if (f->plain)
		progress_changes(stderr, f->jobs[i], job);
	json_decref(f->jobs[i]);
	f->jobs[i] = json_incref(job);
	f->dirty = true;
}

static bool on_event(void *arg, json_t *ev)
{
	struct follow *f = arg;
	json_t *job = json_object_get(ev, "object");
	const char *type = cell_string(ev, "type");
	json_int_t id = json_integer_value(json_object_get(job, "id"));

	if (!strcmp(type, "gap"))
		return false;
	if (strcmp(type, "job") != 0 || id <= 0)
		return true;
	for (size_t i = 0; i < f->n; i++)
		if (f->ids[i] == (uint64_t)id && !strcmp(cell_string(ev, "action"), "change"))
			set_job(f, i, job);
	return !finished(f);
}

static void ask_to_stop(struct follow *f)
{
	progress_erase(&f->progress);
	for (size_t i = 0; i < f->n; i++) {
		struct lab_err err = LAB_ERR_INIT;
		char path[64];

		if (f->jobs[i] && has_ended(f->jobs[i]))
			continue;
		snprintf(path, sizeof(path), "/v1/jobs/%" PRIu64, f->ids[i]);
		if (client_call(f->second, "DELETE", path, NULL, NULL, NULL, &err) < 0)
			fprintf(stderr, "labctl: job %" PRIu64 " cannot be asked to stop: %s\n",
				f->ids[i], err.text);
		else
			fprintf(stderr,
				"Asked job %" PRIu64 " to stop; waiting for its end. Ctrl-C again "
				"leaves at once.\n",
				f->ids[i]);
	}
}

/* Whether to go on waiting, after looking at Ctrl-C */
static bool go_on(struct follow *f)
{
	int seen = interrupts;

	if (!f->stops && seen) {
		f->stops = seen;
		ask_to_stop(f);
		f->dirty = true;
	} else if (seen > f->stops) {
		f->left = true;
	}
	return !f->left;
}

static bool on_idle(void *arg)
{
	struct follow *f = arg;

	if (!go_on(f))
		return false;
	if (f->dirty || num_now_us() - f->painted >= PAINT_US)
		paint(f);
	return true;
}

/* The number of the newest event */
static int last_event(struct follow *f, json_int_t *ret)
{
	autojson json_t *model = NULL;
	int r = client_call(f->second, "GET", "/v1/model", NULL, &model, NULL, &f->cli->err);

	if (!r)
		*ret = json_integer_value(json_object_get(model, "seq"));
	return r;
}

static int fetch_jobs(struct follow *f)
{
	for (size_t i = 0; i < f->n; i++) {
		autojson json_t *job = NULL;
		char path[64];
		int r;

		snprintf(path, sizeof(path), "/v1/jobs/%" PRIu64, f->ids[i]);
		r = client_call(f->second, "GET", path, NULL, &job, NULL, &f->cli->err);
		if (r < 0)
			return r;
		if (f->jobs[i] &&
		    fabs(cell_number(f->jobs[i], "created") - cell_number(job, "created")) > 0.5)
			return lab_fail(&f->cli->err, -ENOENT,
					"labd was restarted and does not know job %" PRIu64
					" any more; 'labctl status' tells what was reached",
					f->ids[i]);
		set_job(f, i, job);
	}
	return 0;
}

/* Fetch the jobs and listen to the events after; 0 when the stream ended */
static int follow_once(struct follow *f)
{
	json_int_t seq = 0;
	char path[96];
	int r = last_event(f, &seq);

	if (!r)
		r = fetch_jobs(f);
	if (r < 0 || finished(f))
		return r;
	paint(f);
	snprintf(path, sizeof(path), "/v1/events?since=%lld&follow=1", (long long)seq);
	return client_lines(f->cli->client, "GET", path, NULL, on_event, on_idle, f, &f->cli->err);
}

static bool worth_retry(int r)
{
	return r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT;
}

static int follow_all(struct follow *f)
{
	uint64_t broken = 0;

	for (;;) {
		uint64_t before = num_now_us();
		int r = follow_once(f);

		if (finished(f) || f->left)
			return 0;
		if (r < 0 && !worth_retry(r))
			return r;
		/* a stream that ended without an error broke as well, or had a gap */
		if (!broken || num_now_us() - before > FOLLOW_RETRY_US)
			broken = num_now_us();
		if (num_now_us() - broken > FOLLOW_RETRY_US) {
			f->cli->unreachable = r < 0;
			return r < 0 ? r
				     : lab_fail(&f->cli->err, -EIO,
						"labd ended the stream of events");
		}
		if (!go_on(f))
			return 0;
		poll(NULL, 0, FOLLOW_PAUSE_MS);
	}
}

static void say_end(struct follow *f, const json_t *job)
{
	char title[PROGRESS_LINE], took[NUM_TEXT];
	double started = cell_number(job, "started"), ended = cell_number(job, "ended");

	num_seconds_text(took, (uint64_t)MAX(ended - started, 0.0));
	if (!f->cli->json && !f->cli->quiet)
		printf("%s: done in %s\n", progress_title(title, job), took);
}

static void say_notes(const json_t *job)
{
	const json_t *note;
	size_t i;

	json_array_foreach(json_object_get(job, "notes"), i, note)
		fprintf(stderr, "labctl: note: %s\n", json_string_value(note));
}

/* Tell how a job ended; exit code */
static int report(struct follow *f, const json_t *job)
{
	const char *state = cell_string(job, "state"), *error = cell_string(job, "error");
	char title[PROGRESS_LINE];

	if (!f->cli->json && has_ended(job))
		say_notes(job);
	if (!strcmp(state, "done")) {
		say_end(f, job);
		return CLI_OK;
	}
	if (!has_ended(job))
		return CLI_OK;
	fprintf(stderr, "labctl: %s %s%s%s\n", progress_title(title, job), state,
		*error ? ": " : "", error);
	return CLI_FAILED;
}

static int report_all(struct follow *f)
{
	autojson json_t *all = json_array();
	int code = CLI_OK;

	for (size_t i = 0; i < f->n; i++) {
		int one = report(f, f->jobs[i]);

		code = code ? code : one;
		json_array_append(all, f->jobs[i]);
	}
	if (f->cli->json)
		cli_print_json(f->n == 1 ? f->jobs[0] : all);
	return code;
}

static int say_left(const struct follow *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (!f->jobs[i] || !has_ended(f->jobs[i]))
			fprintf(stderr, "labctl: left; job %" PRIu64 " goes on being stopped\n",
				f->ids[i]);
	return CLI_FAILED;
}

/* Follow what @f names; Ctrl-C is ours meanwhile */
static int run_follow(struct follow *f)
{
	struct sigaction ours = { .sa_handler = on_interrupt }, theirs, ignore;
	int r, code;

	f->plain = !f->cli->json && !f->cli->quiet && !f->progress.live;
	interrupts = 0;
	sigaction(SIGINT, NULL, &ignore);
	if (ignore.sa_handler != SIG_IGN) /* a background job of a script */
		sigaction(SIGINT, &ours, &theirs);
	r = follow_all(f);
	if (ignore.sa_handler != SIG_IGN)
		sigaction(SIGINT, &theirs, NULL);
	if (r < 0) {
		progress_keep(&f->progress);
		return cli_end(f->cli, r);
	}
	paint(f);
	code = f->left ? say_left(f) : CLI_OK;
	for (size_t i = 0; i < f->n && !code; i++)
		if (strcmp(cell_string(f->jobs[i], "state"), "done") != 0)
			code = CLI_FAILED;
	if (code) /* what had been reached helps to understand */
		progress_keep(&f->progress);
	else
		progress_erase(&f->progress);
	return f->left ? code : report_all(f);
}

int follow_until(struct cli *cli, const uint64_t *ids, size_t n, bool (*enough)(const json_t *job))
{
	autofree uint64_t *real = calloc(n + 1, sizeof(*real));
	autofree json_t **jobs =
		calloc(n + 1, sizeof(*jobs)); /* NOLINT(bugprone-sizeof-expression): of pointers */
	struct follow f = { .cli = cli, .ids = real, .jobs = jobs, .enough = enough };
	int code;

	if (!real || !jobs)
		return cli_end(cli, lab_fail_errno(&cli->err, -ENOMEM, "jobs"));
	for (size_t i = 0; i < n; i++)
		if (ids[i])
			real[f.n++] = ids[i];
	if (!f.n)
		return CLI_OK;
	code = cli_end(cli, cli_ready(cli));
	if (code)
		return code;
	f.second = cli_second(cli);
	if (!f.second)
		return cli_end(cli, lab_fail_errno(&cli->err, -ENOMEM, "labd's client"));
	progress_init(&f.progress, STDERR_FILENO, cli->json || cli->quiet);
	code = run_follow(&f);
	for (size_t i = 0; i < f.n; i++)
		json_decref(jobs[i]);
	client_free(f.second);
	return code;
}

int cli_follow(struct cli *cli, const uint64_t *ids, size_t n)
{
	return follow_until(cli, ids, n, NULL);
}

int cli_job_end(struct cli *cli, int r, uint64_t id, bool detach)
{
	autojson json_t *doc = NULL;

	if (r < 0)
		return cli_end(cli, r);
	if (!id) {
		if (cli->json)
			puts("{\"job\": 0}");
		else if (!cli->quiet)
			puts("nothing to do");
		return CLI_OK;
	}
	if (!detach)
		return cli_follow(cli, &id, 1);
	doc = json_pack("{s:I}", "job", (json_int_t)id);
	if (cli->json)
		cli_print_json(doc);
	else if (cli->quiet)
		printf("%" PRIu64 "\n", id);
	else
		printf("job %" PRIu64 " goes on; 'labctl wait %" PRIu64 "' shows it\n", id, id);
	return CLI_OK;
}
