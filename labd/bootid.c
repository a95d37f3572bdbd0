// SPDX-License-Identifier: GPL-2.0-or-later
/* bootid.c - whether a guest is still in the boot in which its services were started */
#define _GNU_SOURCE
#include "labd/bootid.h"

#include "labd/agent_file.h"
#include "labd/boot.h"
#include "labd/labjob.h"
#include "labd/service.h"
#include "labd/watch.h"
#include "labd/work.h"
#include "lib/jobj.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

#define ASK_US (5 * 1000000ULL)
#define MAX_ID 64 /* bytes; it has 37 */

/* As base64: it is only compared */
static int ask(struct guest *g, json_t **ret, struct lab_err *err)
{
	json_t *id = NULL;
	bool end;
	int r = agent_file_read(g->agent, "/proc/sys/kernel/random/boot_id", 0, MAX_ID,
				num_now_us() + ASK_US, &id, &end, err);

	if (!r)
		*ret = id;
	return r;
}

void bootid_note(struct labd *d, struct instance *in, const char *service)
{
	autojson json_t *id = NULL;
	json_t *s;

	if (ask(in->guest, &id, NULL) < 0)
		return; /* it is not known then */
	SCOPED_LOCK(&d->lock);
	s = json_object_get(in->services, service);
	if (s)
		json_object_set(s, "boot", id);
}

/* Whether another boot is known of a service; the lock is held */
static bool is_other(const struct instance *in, const char *id)
{
	const char *name;
	json_t *s;

	json_object_foreach(in->services, name, s)
		if (*jobj_text(s, "boot") && strcmp(jobj_text(s, "boot"), id) != 0)
			return true;
	return false;
}

int bootid_changed(struct labd *d, struct guest *g, struct lab_err *err)
{
	autojson json_t *id = NULL;
	const struct instance *in;
	int r = ask(g, &id, err);

	if (r == -ENOENT)
		return 0; /* a guest without /proc */
	if (r < 0)
		return r;
	SCOPED_LOCK(&d->lock);
	in = model_instance_of(d, g);
	return in && is_other(in, json_string_value(id));
}

int bootid_unseen(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	int r;

	if (!json_array_size(service_names(in)))
		return 0;
	r = boot_wait_agent(d, job, in, job_item(job, in->name), err);
	return r < 0 ? r : bootid_changed(d, in->guest, err);
}

/* Whether there is something to notice; what QEMU told of is noticed with this */
static bool take_news(struct labd *d, struct instance *in, bool *ret_booted)
{
	struct guest *g = in->guest;
	bool news;

	SCOPED_LOCK(&d->lock);
	if (!g || strcmp(in->state, "running") != 0)
		return false;
	*ret_booted = g->booted;
	news = g->booted || g->unasked;
	g->booted = g->unasked = false;
	return news;
}

/* It has not said: who comes next is to ask */
static void ask_again(struct labd *d, struct instance *in)
{
	SCOPED_LOCK(&d->lock);
	if (in->guest)
		in->guest->unasked = true;
}

int bootid_notice(struct labd *d, struct job *job, struct instance *in, struct lab_err *err)
{
	bool booted = false;
	int r;

	if (!take_news(d, in, &booted))
		return 0;
	r = booted ? 1 : bootid_unseen(d, job, in, err);
	if (r > 0)
		services_forget(d, in);
	if (r < 0)
		ask_again(d, in);
	return MIN(r, 0);
}

/**
 * struct asking - of a guest that was adopted
 * @g:		a reference
 */
struct asking {
	struct labd *d;
	struct guest *g;
};

/* Its answer: the same kernel (0), another one (1), or none */
static void answered(struct labd *d, struct guest *g, int r)
{
	struct instance *in;

	pthread_mutex_lock(&d->lock);
	/* a job has asked it first, and has dealt with the answer */
	in = g->unasked ? model_instance_of(d, g) : NULL;
	if (in && r > 0)
		g->booted = true;
	if (r >= 0)
		g->unasked = false;
	if (in && r > 0)
		log_info("%s/%s has booted while labd was away", in->lab->name, in->name);
	else if (in && r < 0 && r != -ECANCELED)
		labjob_probe(d, in);
	pthread_mutex_unlock(&d->lock);
	if (r > 0)
		watch_recheck(d);
}

static void run(void *arg)
{
	struct asking *a = arg;

	answered(a->d, a->g, bootid_changed(a->d, a->g, NULL));
	guest_unref(a->d, a->g);
	free(a);
}

void bootid_adopted(struct labd *d, struct instance *in)
{
	struct asking *a = malloc(sizeof(*a));

	if (!a)
		return;
	pthread_mutex_lock(&d->lock);
	in->guest->unasked = true;
	*a = (struct asking){ d, guest_ref(in->guest) };
	pthread_mutex_unlock(&d->lock);
	if (work_submit(d->calls, run, a) < 0) {
		guest_unref(d, a->g);
		free(a);
	}
}
