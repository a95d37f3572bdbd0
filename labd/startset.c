// SPDX-License-Identifier: GPL-2.0-or-later
/* startset.c - instances that are started together, in the order of their needs */
#define _GNU_SOURCE
#include "labd/startset.h"

#include "labd/boot.h"
#include "labd/network.h"
#include "labd/service.h"
#include "labd/service_context.h"
#include "labd/work.h"
#include "lib/util.h"

#include <string.h>
#include <time.h>

int startset_add(struct startset *s, struct instance *in, struct lab_err *err)
{
	struct start_member *more = realloc(s->members, (s->n + 1) * sizeof(*more));

	if (!more)
		return lab_fail(err, -ENOMEM, "out of memory");
	s->members = more;
	s->members[s->n++] = (struct start_member){ .in = in, .err = LAB_ERR_INIT };
	return 0;
}

void startset_done(struct startset *s)
{
	free(s->members);
	s->members = NULL;
	s->n = 0;
}

static struct start_member *member(const struct startset *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->members[i].in->name, name))
			return &s->members[i];
	return NULL;
}

static bool needs(const struct instance *in, const struct instance *other)
{
	const json_t *need;
	size_t i;

	json_array_foreach(json_object_get(instance_spec(in), "needs"), i, need)
		if (!strcmp(json_string_value(need), other->name))
			return true;
	return false;
}

/* The first of @from.. that needs none of the others there */
static size_t next_free(const struct startset *s, size_t from)
{
	for (size_t i = from; i < s->n; i++) {
		bool has_free_needs = true;

		for (size_t j = from; j < s->n; j++)
			has_free_needs &= !needs(s->members[i].in, s->members[j].in);
		if (has_free_needs)
			return i;
	}
	return s->n;
}

int startset_sort(struct startset *s, struct lab_err *err)
{
	for (size_t at = 0; at < s->n; at++) {
		size_t i = next_free(s, at);
		struct start_member m;

		if (i == s->n)
			return lab_fail(err, -EINVAL, "instances need each other in a circle");
		m = s->members[i];
		memmove(&s->members[at + 1], &s->members[at], (i - at) * sizeof(m));
		s->members[at] = m;
	}
	return 0;
}

bool startset_satisfied(const struct instance *in)
{
	return instance_running(in) && !strcmp(in->state, "running") && strcmp(in->ready, "no") &&
	       services_ready(in);
}

/* Whether to wait on for a need: 1 wait, 0 it is there, negative it failed */
static int need_state(const struct startset *s, const char *name, struct lab_err *err)
{
	struct start_member *m = member(s, name);
	struct instance *in = m ? m->in : NULL;

	if (m && !m->ended)
		return 1;
	if (m && m->err.code)
		return lab_fail(err, m->err.code == -ECANCELED ? -ECANCELED : -ENODATA,
				"not started, because it needs %s", name);
	if (!in)
		in = model_instance(s->members[0].in->lab, name);
	if (in && startset_satisfied(in))
		return 0;
	return lab_fail(err, -ENODATA, "not started, because it needs %s, which is not ready",
			name);
}

static void wait_changed(struct labd *d)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	pthread_cond_timedwait(&d->changed, &d->lock, &until);
}

static int wait_for_needs(struct startset *s, struct instance *in, struct lab_err *err)
{
	const json_t *need;
	size_t i;

	SCOPED_LOCK(&s->d->lock);
	json_array_foreach(json_object_get(instance_spec(in), "needs"), i, need) {
		int r;

		while ((r = need_state(s, json_string_value(need), err)) > 0) {
			if (job_cancelled(s->job))
				return lab_fail(err, -ECANCELED, "stopped on request");
			wait_changed(s->d);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_slot(struct startset *s, struct lab_err *err)
{
	SCOPED_LOCK(&s->d->lock);
	while (!s->d->boots) {
		if (job_cancelled(s->job))
			return lab_fail(err, -ECANCELED, "stopped on request");
		wait_changed(s->d);
	}
	s->d->boots--;
	return 0;
}

static void give_slot(struct startset *s)
{
	SCOPED_LOCK(&s->d->lock);
	s->d->boots++;
	pthread_cond_broadcast(&s->d->changed);
}

/* QEMU may tell of one reboot twice: what came before the agent answered was this one */
static void forget_reset(struct labd *d, struct instance *in)
{
	SCOPED_LOCK(&d->lock);
	in->guest->booted = false;
}

/* With services: until its agent can start them; without: until it is ready */
static int boot(struct startset *s, struct instance *in, struct job_item *item, struct lab_err *err)
{
	bool services = json_array_size(service_names(in));
	int r = take_slot(s, err);

	if (r < 0)
		return r;
	r = job_check(s->job, err);
	if (!r && !instance_running(in))
		r = boot_start(s->d, s->job, in, item, err);
	if (!r)
		r = services ? boot_wait_agent(s->d, s->job, in, item, err)
			     : boot_wait_ready(s->d, s->job, in, item, err);
	if (!r)
		forget_reset(s->d, in);
	give_slot(s);
	return r;
}

/* ---- services ---------------------------------------------------------------------- */

/* Whether to wait on for a service on an instance: as need_state() */
static int service_need_state(const struct startset *s, const struct instance *in, const char *name,
			      struct lab_err *err)
{
	const struct start_member *m = member(s, in->name);
	const char *state = service_state(in, name);

	if (!strcmp(state, "ready"))
		return 0;
	if (m && !m->ended && strcmp(state, "failed") != 0)
		return 1;
	return lab_fail(err, -ENODATA, "not started, because it needs %s on %s, which is not ready",
			name, in->name);
}

/* The same for one that may be on many; the lock is held */
static int service_needs_state(const struct startset *s, const json_t *service, struct lab_err *err)
{
	const struct lab *lab = s->members[0].in->lab;
	const json_t *need;
	struct instance *in;
	size_t i;
	int r = 0;

	json_array_foreach(json_object_get(service, "needs"), i, need) {
		const char *name = json_string_value(need);

		TAILQ_FOREACH(in, &lab->instances, link)
			if (!r && service_carried(in, name))
				r = service_need_state(s, in, name, err);
	}
	return r;
}

static int wait_for_services(struct startset *s, const json_t *service, struct lab_err *err)
{
	SCOPED_LOCK(&s->d->lock);
	int r;

	while ((r = service_needs_state(s, service, err)) > 0) {
		if (job_cancelled(s->job))
			return lab_fail(err, -ECANCELED, "stopped on request");
		wait_changed(s->d);
	}
	return r;
}

/**
 * struct starting - the services of one instance
 * @names:	array
 * @errs:	one each
 */
struct starting {
	struct startset *s;
	struct instance *in;
	const json_t *names;
	struct lab_err *errs;
};

static int start_service(struct startset *s, struct instance *in, struct job_item *item,
			 const char *name, struct lab_err *err)
{
	autojson json_t *service = NULL;
	int r;

	r = service_load(&s->d->paths, name, &service, err);
	if (!r && json_array_size(json_object_get(service, "needs")))
		job_item_step(s->job, item, "wait for its needs", 0);
	if (!r)
		r = wait_for_services(s, service, err) ?: take_slot(s, err);
	if (r < 0) {
		lab_wrap(err, r, "service %s", name);
		service_set_state(s->d, in, name, "failed", err->text);
		return r;
	}
	r = boot_alive(in, err) ?: service_start(s->d, s->job, in, item, service, err);
	give_slot(s);
	return r;
}

static void start_nth(void *arg, size_t i)
{
	struct starting *t = arg;
	const char *name = json_string_value(json_array_get(t->names, i));
	struct job_item *item = job_add_item(t->s->job, "%s on %s", name, t->in->name);
	int r = start_service(t->s, t->in, item, name, &t->errs[i]);

	/* words of tries that succeeded in the end do not count */
	t->errs[i].code = MIN(r, 0);
	job_item_end(t->s->job, item, r);
}

/* That of a service which has itself failed, not for the lack of another */
static int first_failed(const struct starting *t, size_t n, struct lab_err *err)
{
	const struct lab_err *first = NULL;

	for (size_t i = 0; i < n; i++)
		if (t->errs[i].code && (!first || first->code == -ENODATA))
			first = &t->errs[i];
	if (!first)
		return 0;
	*err = *first;
	return first->code;
}

/* Those of an instance, needs first: so it goes on even where threads cannot be had */
static json_t *names_sorted(struct startset *s, const struct instance *in, struct lab_err *err)
{
	autojson json_t *set = NULL;
	json_t *names, *service;
	size_t i;

	if (service_set(s->d, in->lab->spec, &set, err) < 0)
		return NULL;
	names = json_array();
	json_array_foreach(set, i, service)
		if (service_carried(in, json_string_value(json_object_get(service, "name"))))
			json_array_append(names, json_object_get(service, "name"));
	return names;
}

/*
 * One that fails takes with it those that need it, and nothing else. All of them use the
 * guest: if it ends, this is told by who waits for all
 */
static int start_services(struct startset *s, struct instance *in, struct lab_err *err)
{
	autojson json_t *names = names_sorted(s, in, err);
	size_t i, n = json_array_size(names);
	autofree struct lab_err *errs = calloc(n + 1, sizeof(*errs));
	struct starting t = { s, in, names, errs };
	const json_t *name;
	int r;

	if (!names || !errs)
		return names ? lab_fail(err, -ENOMEM, "out of memory") : err->code;
	json_array_foreach(names, i, name)
		service_set_state(s->d, in, json_string_value(name), "waiting", "");
	work_fan_out(n, start_nth, &t);
	r = first_failed(&t, n, err);
	return r < 0 && boot_alive(in, NULL) < 0 ? boot_ended(s->d, in, err) : r;
}

static int start(struct startset *s, struct instance *in, struct job_item *item,
		 struct lab_err *err)
{
	int r = wait_for_needs(s, in, err);

	if (!r)
		r = boot(s, in, item, err);
	if (r < 0 || !json_array_size(service_names(in)))
		return r;
	job_item_step(s->job, item, "services", 0);
	r = start_services(s, in, err);
	if (!r)
		r = boot_wait_ready(s->d, s->job, in, item, err);
	if (!r)
		instance_set_state(s->d, in, "running", "");
	else if (instance_running(in)) {
		instance_set_ready(s->d, in, "no", "its services");
		instance_set_state(s->d, in, "running", r == -ECANCELED ? NULL : err->text);
	}
	return r;
}

static void start_member(void *arg, size_t i)
{
	struct startset *s = arg;
	struct start_member *m = &s->members[i];
	struct job_item *item = job_item(s->job, m->in->name);
	int r = start(s, m->in, item, &m->err);

	if (r == -ENODATA)
		instance_set_state(s->d, m->in, m->in->state, m->err.text);
	job_item_end(s->job, item, r);
	SCOPED_LOCK(&s->d->lock);
	m->ended = true;
	/* words of tries that succeeded in the end do not count */
	m->err.code = MIN(r, 0);
	pthread_cond_broadcast(&s->d->changed);
}

static int add_all_nics(struct startset *s, struct lab_err *err)
{
	autofree struct instance **ins = calloc(s->n + 1, sizeof(struct instance *));
	size_t n = 0;

	if (!ins)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < s->n; i++)
		if (!instance_running(s->members[i].in))
			ins[n++] = s->members[i].in;
	return n ? network_add_nics(s->d, ins[0]->lab, ins, n, err) : 0;
}

/* From here on they should run, also those whose turn never comes */
static void want_all(struct startset *s)
{
	SCOPED_LOCK(&s->d->lock);
	for (size_t i = 0; i < s->n; i++) {
		struct instance *in = s->members[i].in;

		snprintf(in->want, sizeof(in->want), "running");
		/* what they were before says nothing to those that need them */
		services_expect(in);
	}
}

int startset_run(struct startset *s, struct lab_err *err)
{
	char text[LAB_ERR_TEXT] = "";
	int r = add_all_nics(s, err), first = 0;

	if (r < 0)
		return r;
	want_all(s);
	work_fan_out(s->n, start_member, s);
	for (size_t i = 0; i < s->n; i++) {
		const struct start_member *m = &s->members[i];
		size_t len = strlen(text);

		if (!m->err.code)
			continue;
		if (!first || first == -ENODATA)
			first = m->err.code;
		snprintf(text + len, sizeof(text) - len, "%sinstance %s: %.1500s", len ? "\n" : "",
			 m->in->name, m->err.text);
	}
	return first ? lab_fail(err, first, "%s", text) : 0;
}

int startset_refresh(struct labd *d, struct instance *in, struct lab_err *err)
{
	json_t *part = instance_applied(in);
	const json_t *now = instance_spec(in);
	int r = 0;

	if (!json_equal(json_object_get(part, "forward"), json_object_get(now, "forward"))) {
		network_del_forwards(d, in, part);
		r = network_add_forwards(d, in, err);
	}
	pthread_mutex_lock(&d->lock);
	json_object_set_new(json_object_get(in->applied, "instances"), in->name,
			    json_deep_copy(now));
	pthread_mutex_unlock(&d->lock);
	if (!r)
		r = instance_save(d, in, err);
	return r;
}
