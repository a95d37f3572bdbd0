// SPDX-License-Identifier: GPL-2.0-or-later
/* member.c - instances of a snapshot, which take their steps together */
#define _GNU_SOURCE
#include "labd/member.h"

#include "labd/work.h"
#include "lib/util.h"

#include <string.h>

int members_new(struct members *ms, struct labd *d, struct job *job, struct instance *const *ins,
		size_t n, int64_t snapshot, struct lab_err *err)
{
	ms->v = calloc(n + 1, sizeof(*ms->v));
	ms->n = ms->v ? n : 0;
	for (size_t i = 0; i < ms->n; i++)
		ms->v[i] = (struct member){
			.d = d,
			.job = job,
			.item = job ? job_item(job, ins[i]->name) : NULL,
			.in = ins[i],
			.snapshot = snapshot,
			.ram = { .mem = -EBADF, .pagemap = -EBADF },
			.err = LAB_ERR_INIT,
		};
	return ms->v ? 0 : lab_fail(err, -ENOMEM, "out of memory");
}

void members_end(struct members *ms)
{
	for (size_t i = 0; i < ms->n; i++) {
		struct member *m = &ms->v[i];

		ram_close(&m->ram);
		ram_chain_close(&m->chain);
		if (m->job && m->err.code)
			job_item_end(m->job, m->item, m->err.code);
	}
	free(ms->v);
	*ms = (struct members){ 0 };
}

struct round {
	struct members *ms;
	member_step step;
	bool failed_too;
};

static void run_one(void *arg, size_t i)
{
	const struct round *round = arg;
	struct member *m = &round->ms->v[i];
	struct lab_err before = m->err;
	int r;

	if (before.code && !round->failed_too)
		return;
	r = round->step(m);
	if (before.code)
		m->err = before;
	else if (r < 0 && !m->err.code)
		lab_fail(&m->err, r, "%s", strerror(-r));
	else if (!r)
		m->err.code = 0;
}

static int run(struct members *ms, member_step step, bool failed_too, struct lab_err *err)
{
	char text[LAB_ERR_TEXT] = "";
	int first = 0;

	work_fan_out(ms->n, run_one, &(struct round){ ms, step, failed_too });
	for (size_t i = 0; i < ms->n; i++) {
		const struct member *m = &ms->v[i];
		size_t len = strlen(text);

		if (!m->err.code)
			continue;
		first = first ? first : m->err.code;
		snprintf(text + len, sizeof(text) - len, "%sinstance %s: %.700s", len ? "\n" : "",
			 m->in->name, m->err.text);
	}
	return first ? lab_fail(err, first, "%s", text) : 0;
}

int members_each(struct members *ms, member_step step, struct lab_err *err)
{
	return run(ms, step, false, err);
}

int members_all(struct members *ms, member_step step, struct lab_err *err)
{
	return run(ms, step, true, err);
}
