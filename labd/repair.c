// SPDX-License-Identifier: GPL-2.0-or-later
/* repair.c - what is done in and around guests that go on in an earlier state */
#define _GNU_SOURCE
#include "labd/repair.h"

#include "labd/guestrun.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <poll.h>
#include <string.h>
#include <sys/random.h>

#define CALL_US (20 * 1000000ULL)
#define COMMAND 120 /* seconds, for one of `repair` */
#define MAX_WORDS 64
#define AGENT_PAUSE_MS 200
#define SEED_BYTES 64

double repair_lab_time(const struct lab *lab)
{
	return num_wall() + lab->clock;
}

void repair_set_lab_time(struct labd *d, struct lab *lab, double time)
{
	struct lab_err err = LAB_ERR_INIT;

	pthread_mutex_lock(&d->lock);
	lab->clock = time > 0 ? time - num_wall() : 0;
	pthread_mutex_unlock(&d->lock);
	if (lab->keeper && keeper_clock_set(lab->keeper, (int64_t)(lab->clock * 1e6), &err) < 0)
		log_warn("lab %s: its time: %s", lab->name, err.text);
}

static int run(struct instance *in, struct job *job, const char *const *argv, const void *input,
	       size_t len, struct lab_err *err)
{
	struct guestrun how = { .argv = argv, .input = input, .len = len, .seconds = COMMAND };

	return guestrun(in, job, &how, err);
}

/* ---- clock, seeds, commands ------------------------------------------------------- */

/* The agent wants hwclock for it; where there is none (busybox), date does it */
static int set_clock(struct instance *in, struct job *job, struct lab_err *err)
{
	char when[32];
	const char *argv[] = { "date", "-s", when, NULL };
	json_int_t ns = (json_int_t)(repair_lab_time(in->lab) * 1e9);
	int r = agent_call(in->guest->agent, "guest-set-time", json_pack("{s:I}", "time", ns),
			   num_now_us() + CALL_US, NULL, NULL);

	if (r == -EIO) {
		snprintf(when, sizeof(when), "@%.0f", repair_lab_time(in->lab));
		r = run(in, job, argv, NULL, 0, err);
	}
	return lab_wrap(err, r, "setting its clock");
}

/* What is written to /dev/urandom is mixed in; RNDRESEEDCRNG would want a program of ours */
static int reseed(struct instance *in, struct job *job, struct lab_err *err)
{
	static const char script[] = "cat >/dev/urandom\n"
				     "[ -e /etc/machine-id ] || exit 0\n"
				     "umount /etc/machine-id 2>/dev/null\n"
				     "tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id\n";
	static const char *const argv[] = { "/bin/sh", "-c", script, NULL };
	unsigned char seed[SEED_BYTES];

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return lab_fail_errno(err, -errno, "getrandom");
	return lab_wrap(err, run(in, job, argv, seed, sizeof(seed), err), "fresh seeds");
}

static int run_commands(struct instance *in, struct job *job, struct lab_err *err)
{
	const json_t *commands = json_object_get(instance_spec(in), "repair"), *command, *word;
	size_t i, j;

	json_array_foreach(commands, i, command) {
		const char *argv[MAX_WORDS] = { NULL };
		int r;

		json_array_foreach(command, j, word)
			if (j + 1 < MAX_WORDS)
				argv[j] = json_string_value(word);
		job_item_step(job, job_item(job, in->name), argv[0], 0);
		r = run(in, job, argv, NULL, 0, err);
		if (r < 0)
			return lab_wrap(err, r, "repair");
	}
	return 0;
}

/* Loading its devices may close the agent's channel once more */
static int wait_agent(struct instance *in, struct job *job, struct lab_err *err)
{
	uint64_t end = num_now_us() + COMMAND * 1000000ULL;
	int r;

	while ((r = agent_ping(in->guest->agent, num_now_us() + CALL_US, err)) < 0) {
		if (job_cancelled(job) || num_now_us() > end || r == -ECANCELED)
			return lab_wrap(err, r, "its agent");
		(void)poll(NULL, 0, AGENT_PAUSE_MS);
	}
	return 0;
}

int repair_guest(struct instance *in, const struct repair *how, bool clock, struct job *job,
		 struct lab_err *err)
{
	bool set = clock || how->clock_now;
	int r = 0;

	if (!set && !how->reseed && !json_array_size(json_object_get(instance_spec(in), "repair")))
		return 0;
	r = wait_agent(in, job, err);
	if (!r && set)
		r = set_clock(in, job, err);
	if (!r && how->reseed)
		r = reseed(in, job, err);
	return r < 0 ? r : run_commands(in, job, err);
}
