// SPDX-License-Identifier: GPL-2.0-or-later
/* guestrun.c - a program in a guest, for a job, with what it said */
#define _GNU_SOURCE
#include "labd/guestrun.h"

#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <string.h>

#define WORDS 1200 /* of a failed program, in an error */

/* The last words of a program */
struct words {
	struct job *job;
	char text[8192];
	size_t len;
};

static void on_output(void *arg, int stream, const void *data, size_t len)
{
	struct words *w = arg;
	size_t room = sizeof(w->text) - 1, keep, n = MIN(len, room);

	(void)stream;
	keep = MIN(w->len, room - n);
	memmove(w->text, w->text + w->len - keep, keep);
	memcpy(w->text + keep, (const char *)data + len - n, n);
	w->len = keep + n;
	w->text[w->len] = '\0';
}

static bool on_cancelled(void *arg)
{
	const struct words *w = arg;

	return w->job && job_cancelled(w->job);
}

/* As much of the end as there is room for, from the start of a line if it can be */
static void last_words(char *text, char *buf, size_t size)
{
	const char *from = text_clean(text);
	size_t n = strlen(from), cut;

	while (n && text[n - 1] == '\n')
		text[--n] = '\0';
	if (n >= size) {
		from += n - size + 1;
		cut = strcspn(from, "\n");
		if (from[cut])
			from += cut + 1;
	}
	text_copy(buf, size, from);
}

int guestrun(struct instance *in, struct job *job, const struct guestrun *run, struct lab_err *err)
{
	struct words words = { .job = job };
	struct agent_exec exec = {
		.argv = run->argv,
		.input = run->input,
		.input_len = run->len,
		.deadline = num_now_us() + run->seconds * 1000000ULL,
		.output = on_output,
		.cancelled = on_cancelled,
		.arg = &words,
	};
	char shown[WORDS];
	int status = 0, r = agent_exec(in->guest->agent, &exec, &status, err);

	last_words(words.text, shown, sizeof(shown));
	if (run->words)
		text_copy(run->words, run->size, shown);
	if (r < 0)
		return lab_wrap(err, r, "%s", run->argv[0]);
	if (!status)
		return 0;
	return lab_fail(err, -EIO, "%s: exit status %d%s%s", run->argv[0], status,
			*shown ? ": " : "", shown);
}
