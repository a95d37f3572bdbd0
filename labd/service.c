// SPDX-License-Identifier: GPL-2.0-or-later
/* service.c - services of the catalogue on running instances */
#define _GNU_SOURCE
#include "labd/service.h"

#include "labd/boot.h"
#include "labd/bootid.h"
#include "labd/guestrun.h"
#include "labd/plan.h"
#include "labd/service_context.h"
#include "labd/service_fill.h"
#include "lib/jobj.h"
#include "lib/text.h"
#include "lib/util.h"

#include <string.h>

#define START_SECONDS 1800 /* setup and start of one, in an emulated guest */
#define SCRIPT_SECONDS 600
#define LOOK_SECONDS 60
#define MAX_UNITS 32 /* catalogue_read.c */
#define HALF_DONE "half done" /* a digest that nothing has */

const json_t *service_names(const struct instance *in)
{
	return json_object_get(instance_spec(in), "services");
}

bool service_carried(const struct instance *in, const char *name)
{
	return jlist_has(service_names(in), name);
}

json_t *service_shown(const struct instance *in, const char *name)
{
	const json_t *s = json_object_get(in->services, name);
	/* what it waits for, or has waited for when its `up` was cut off, is no state of it */
	bool off = !s || (!in->guest && strcmp(in->state, "starting") != 0);

	return json_pack("{s:s s:s s:s}", "name", name, "state",
			 off ? "stopped" : service_state(in, name), "text",
			 off ? "" : jobj_text(s, "text"));
}

const char *service_state(const struct instance *in, const char *name)
{
	return jobj_text(json_object_get(in->services, name), "state");
}

bool services_ready(const struct instance *in)
{
	const json_t *name;
	size_t i;

	json_array_foreach(service_names(in), i, name)
		if (strcmp(service_state(in, json_string_value(name)), "ready") != 0)
			return false;
	return true;
}

/* In the model only */
static void set_state(struct instance *in, const char *name, const char *state, const char *text)
{
	json_t *s = json_object_get(in->services, name);

	if (!s) {
		s = json_pack("{s:s}", "digest", HALF_DONE);
		json_object_set_new(in->services, name, s);
	}
	json_object_set_new(s, "state", json_string(state));
	json_object_set_new(s, "text", json_string(text));
}

static void put_state(struct labd *d, struct instance *in, const char *name, const char *state,
		      const char *text, const char *digest)
{
	char words[LAB_ERR_TEXT];

	text_copy(words, sizeof(words), text);
	text_clean(words);
	pthread_mutex_lock(&d->lock);
	set_state(in, name, state, words);
	if (digest)
		json_object_set_new(json_object_get(in->services, name), "digest",
				    json_string(digest));
	instance_emit(d, in);
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	(void)instance_save(d, in, NULL);
}

void service_set_state(struct labd *d, struct instance *in, const char *name, const char *state,
		       const char *text)
{
	put_state(d, in, name, state, text, NULL);
}

void services_expect(struct instance *in)
{
	const json_t *name;
	size_t i;

	json_array_foreach(service_names(in), i, name)
		set_state(in, json_string_value(name), "waiting", "");
}

void services_lost(struct instance *in)
{
	const char *name;
	json_t *s;

	json_object_foreach(in->services, name, s)
		if (!strcmp(jobj_text(s, "state"), "waiting") ||
		    !strcmp(jobj_text(s, "state"), "starting"))
			set_state(in, name, "failed",
				  "labd has ended while it was started: labctl up");
}

/* ---- start ------------------------------------------------------------------------ */

/* What it is, where it stands and what its log says, for a person */
static void look(struct instance *in, const json_t *service, struct lab_err *err)
{
	static const char script[] = "log=$1; shift\n"
				     "for u; do systemctl is-active -q \"$u\" ||\n"
				     "	echo \"$u: $(systemctl show -P ActiveState \"$u\") "
				     "($(systemctl show -P Result \"$u\"))\"; done\n"
				     "if [ -s \"$log\" ]; then tail -n 12 \"$log\"\n"
				     "elif [ $# -gt 0 ]; then journalctl -q -n 12 -o cat $(printf "
				     "-- '-u %s ' \"$@\"); fi\n";
	const char *argv[MAX_UNITS + 6] = { "sh", "-c", script, "sh", jobj_text(service, "log") };
	char words[1200] = "";
	struct guestrun run = {
		.argv = argv, .seconds = LOOK_SECONDS, .words = words, .size = sizeof(words)
	};
	const json_t *unit;
	size_t i, n = 5, len;

	json_array_foreach(json_object_get(service, "units"), i, unit)
		if (n + 1 < ARRAY_SIZE(argv))
			argv[n++] = json_string_value(unit);
	(void)guestrun(in, NULL, &run, NULL);
	len = strcspn(err->text, "\n"); /* the console's last lines say less */
	if (*words)
		snprintf(err->text + len, sizeof(err->text) - len, "\n%s", words);
	text_clean(err->text);
}

/*
 * Write it into the guest, set it up and start it. One that an earlier labd has begun goes
 * on there, so there is a lock, which what is started does not inherit.
 */
static int bring(struct instance *in, struct job *job, const char *name,
		 const struct filled *filled, struct lab_err *err)
{
	static const char script[] = "mkdir -p " SERVICE_DIR "\n"
				     "exec 9>" SERVICE_DIR "/$1.lock\n"
				     /* a guest of busybox alone has none */
				     "! command -v flock >/dev/null || flock 9\n"
				     "tar -xpf - -C / && sh " SERVICE_DIR "/$1/go 9>&-";
	const char *argv[] = { "sh", "-c", script, "sh", name, NULL };
	struct guestrun run = {
		.argv = argv, .input = filled->data, .len = filled->len, .seconds = START_SECONDS
	};

	return guestrun(in, job, &run, err);
}

static int wait_probes(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		       const json_t *service, struct lab_err *err)
{
	const json_t *probes = json_object_get(service, "ready");
	int r = json_array_size(probes) ? boot_probe(d, job, in, item, probes, err) : 0;

	if (r == -ETIMEDOUT)
		look(in, service, err);
	return r;
}

static bool is_started_with(struct labd *d, const struct instance *in, const char *name,
			    const char *digest)
{
	SCOPED_LOCK(&d->lock);

	const json_t *s = json_object_get(in->services, name);

	return s && !strcmp(jobj_text(s, "digest"), digest);
}

static int start(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		 const json_t *service, struct lab_err *err)
{
	const char *name = jobj_text(service, "name");
	__attribute__((cleanup(filled_done))) struct filled filled = { 0 };
	char step[96];
	int r = service_fill(d, in, service, &filled, err);

	if (r < 0)
		return r;
	if (is_started_with(d, in, name, filled.digest))
		return 0;
	snprintf(step, sizeof(step), "start %s", name);
	job_item_step(job, item, step, 0);
	/* from here on it is neither what it was nor what it is to be */
	put_state(d, in, name, "starting", "", HALF_DONE);
	r = bring(in, job, name, &filled, err);
	if (r == -EIO)
		look(in, service, err);
	if (!r)
		put_state(d, in, name, "starting", "", filled.digest);
	return r;
}

int service_start(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		  const json_t *service, struct lab_err *err)
{
	const char *name = jobj_text(service, "name");
	int r;

	put_state(d, in, name, "starting", "", NULL);
	r = start(d, job, in, item, service, err);
	if (!r)
		r = wait_probes(d, job, in, item, service, err);
	if (!r)
		bootid_note(d, in, name);
	lab_wrap(err, r, "service %s", name);
	put_state(d, in, name, r < 0 ? "failed" : "ready", r < 0 ? err->text : "", NULL);
	return r;
}

static bool is_stale(struct labd *d, struct instance *in, const char *name)
{
	__attribute__((cleanup(filled_done))) struct filled filled = { 0 };
	autojson json_t *service = NULL;

	if (service_load(&d->paths, name, &service, NULL) < 0 ||
	    service_fill(d, in, service, &filled, NULL) < 0)
		return true; /* whoever starts it is told why */
	/* of what comes from another machine it is not known */
	return !is_started_with(d, in, name, filled.digest) && !is_started_with(d, in, name, "");
}

bool services_stale(struct labd *d, struct instance *in)
{
	const json_t *name;
	size_t i;

	json_array_foreach(service_names(in), i, name)
		if (is_stale(d, in, json_string_value(name)))
			return true;
	return false;
}

void services_forget(struct labd *d, struct instance *in)
{
	SCOPED_LOCK(&d->lock);
	json_object_clear(in->services);
}

int services_wait(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		  struct lab_err *err)
{
	const json_t *name;
	size_t i;
	int first = 0;

	json_array_foreach(service_names(in), i, name) {
		const char *text = json_string_value(name);
		struct lab_err why = LAB_ERR_INIT;
		autojson json_t *service = NULL;
		int r = service_load(&d->paths, text, &service, &why)
				?: wait_probes(d, job, in, item, service, &why);

		lab_wrap(&why, r, "service %s", text);
		if (r < 0 && !first) {
			first = r;
			if (err)
				*err = why;
		}
		if (r == -ECANCELED || r == -ECHILD)
			break;
		put_state(d, in, text, r < 0 ? "failed" : "ready", r < 0 ? why.text : "", NULL);
	}
	return first < 0 && boot_alive(in, NULL) < 0 ? boot_ended(d, in, err) : first;
}

/* ---- scripts ------------------------------------------------------------------------ */

/* Filled from a specification, which for what was taken away is not the lab's any more */
static int run_script(struct labd *d, struct job *job, struct instance *in, const json_t *spec,
		      const char *name, const char *script, char *words, size_t size,
		      struct lab_err *err)
{
	static const char *const argv[] = { "sh", "-eu", "-s", NULL };
	autojson json_t *context = NULL;
	autofree char *text = NULL;
	struct guestrun run = {
		.argv = argv, .seconds = SCRIPT_SECONDS, .words = words, .size = size
	};
	int r = service_context(d, spec, in->name, &context, err);

	if (r < 0)
		return r;
	r = catalogue_script(&d->paths, name, script, context, &text, err);
	if (r <= 0)
		return r;
	run.input = text;
	run.len = strlen(text);
	r = guestrun(in, job, &run, err);
	return r < 0 ? r : 1;
}

int service_script(struct labd *d, struct job *job, struct instance *in, const char *name,
		   const char *script, char *words, size_t size, struct lab_err *err)
{
	return run_script(d, job, in, in->lab->spec, name, script, words, size, err);
}

/* Names of services it was started with and does not have any more */
static json_t *names_gone(struct labd *d, const struct instance *in)
{
	SCOPED_LOCK(&d->lock);
	json_t *gone = json_array(), *state;
	const char *name;

	json_object_foreach(in->services, name, state)
		if (!service_carried(in, name))
			json_array_append_new(gone, json_string(name));
	return gone;
}

void services_take_away(struct labd *d, struct job *job, struct instance *in)
{
	static const char script[] = "rm -f " SERVICE_MARKS "/$1";
	autojson json_t *gone = names_gone(d, in), *was = plan_applied(d, in->lab->name);
	const json_t *v;
	size_t i;

	json_array_foreach(gone, i, v) {
		const char *name = json_string_value(v);
		const char *argv[] = { "sh", "-c", script, "sh", name, NULL };
		struct guestrun run = { .argv = argv, .seconds = LOOK_SECONDS };
		struct lab_err err = LAB_ERR_INIT;
		int r;

		json_object_set(was, "key", json_object_get(in->lab->spec, "key"));
		r = run_script(d, job, in, was, name, "remove", NULL, 0, &err);

		if (r >= 0)
			r = guestrun(in, job, &run, &err);
		if (r < 0)
			job_note(job, "service %s is not removed from %s: %s", name, in->name,
				 err.text);
	}
}
