// SPDX-License-Identifier: GPL-2.0-or-later
/* model.c - labd's labs, instances, networks, snapshots and images, mirrored */
#define _GNU_SOURCE
#include "fs/model.h"

#include "lib/err.h"
#include "lib/num.h"
#include "lib/util.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#define MODEL_JOBS 64 /* ended jobs remembered for those who wait for one */

struct object {
	struct item item;
	json_t *stamps; /* key: time it last changed; not there if it did not */
	double first, changed;
	char *failure;
	bool seen;
};

/* The objects of a kind, sorted by id and by lab and name */
struct table {
	struct object **by_id, **by_name;
	size_t n, room;
};

struct ended_job {
	uint64_t id;
	int code;
	char *text;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct table tables[KIND_COUNT];
	struct ended_job jobs[MODEL_JOBS];
	size_t next_job;
	uint64_t seq, version;
	bool online;
	void (*listener)(const struct change *change);
} model = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const struct {
	const char *type, *list;
} kinds[] = {
	[KIND_NONE] = { "", "" },
	[KIND_IMAGE] = { "image", "images" },
	[KIND_LAB] = { "lab", "labs" },
	[KIND_INSTANCE] = { "instance", "instances" },
	[KIND_NETWORK] = { "network", "networks" },
	[KIND_SNAPSHOT] = { "snapshot", "snapshots" },
};
static_assert(ARRAY_SIZE(kinds) == KIND_COUNT, "a row for each kind");

void item_done(struct item *item)
{
	json_decref(item->json);
	*item = (struct item){ 0 };
}

static void item_copy(struct item *to, const struct item *from)
{
	*to = *from;
	json_incref(to->json);
}

static struct object *object_free(struct object *o)
{
	if (!o)
		return NULL;
	item_done(&o->item);
	json_decref(o->stamps);
	free(o->failure);
	free(o);
	return NULL;
}

static int compare_name(const struct object *o, uint32_t lab, const char *name)
{
	if (o->item.lab != lab)
		return o->item.lab < lab ? -1 : 1;
	return strcmp(o->item.name, name);
}

/* Index of the first object in by_id that is not before @id */
static size_t place_id(const struct table *t, uint32_t id)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->by_id[mid]->item.id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Index of the first object in by_name that is not before @lab and @name */
static size_t place_name(const struct table *t, uint32_t lab, const char *name)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_name(t->by_name[mid], lab, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct object *get_locked(enum kind kind, uint32_t id)
{
	const struct table *t = &model.tables[kind];
	size_t i = place_id(t, id);

	return i < t->n && t->by_id[i]->item.id == id ? t->by_id[i] : NULL;
}

static struct object *find_locked(enum kind kind, uint32_t lab, const char *name)
{
	const struct table *t = &model.tables[kind];
	size_t i = place_name(t, lab, name);

	return i < t->n && !compare_name(t->by_name[i], lab, name) ? t->by_name[i] : NULL;
}

static void insert(struct object *array[], size_t n, size_t at, struct object *o)
{
	memmove(array + at + 1, array + at, (n - at) * sizeof(void *));
	array[at] = o;
}

static void take_out(struct object *array[], size_t n, const struct object *o)
{
	for (size_t i = 0; i < n; i++) {
		if (array[i] != o)
			continue;
		memmove(array + i, array + i + 1, (n - i - 1) * sizeof(void *));
		return;
	}
}

static int table_room(struct table *t)
{
	size_t room = t->room ? 2 * t->room : 16;
	struct object **more;

	if (t->n < t->room)
		return 0;
	more = reallocarray(t->by_id, room, sizeof(void *));
	if (!more)
		return -ENOMEM;
	t->by_id = more;
	more = reallocarray(t->by_name, room, sizeof(void *));
	if (!more)
		return -ENOMEM;
	t->by_name = more;
	t->room = room;
	return 0;
}

static int add_locked(struct object *o)
{
	struct table *t = &model.tables[o->item.kind];

	if (table_room(t) < 0)
		return -ENOMEM;
	insert(t->by_id, t->n, place_id(t, o->item.id), o);
	insert(t->by_name, t->n, place_name(t, o->item.lab, o->item.name), o);
	t->n++;
	return 0;
}

static void drop_locked(struct object *o)
{
	struct table *t = &model.tables[o->item.kind];

	take_out(t->by_id, t->n, o);
	take_out(t->by_name, t->n, o);
	t->n--;
}

/* Tell everybody who waits that the model is another now */
static void touched_locked(void)
{
	model.version++;
	pthread_cond_broadcast(&model.changed);
}

static void tell(const struct change *change)
{
	if (model.listener)
		model.listener(change);
}

static double json_time(const json_t *json)
{
	const json_t *t = json_object_get(json, "changed");

	if (!t)
		t = json_object_get(json, "created");
	return json_number_value(t);
}

/* Note the time for each key whose value differs */
static void stamp_keys(struct object *o, const json_t *now, double time)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)now, key, value) {
		if (json_equal(json_object_get(o->item.json, key), value))
			continue;
		if (!o->stamps)
			o->stamps = json_object();
		json_object_set_new(o->stamps, key, json_real(time));
	}
}

/* Put an object's new JSON in place, and tell if it differs */
static int put(enum kind kind, uint32_t lab, json_t *json, double time)
{
	uint32_t id = (uint32_t)json_integer_value(json_object_get(json, "id"));
	const char *name = json_string_value(json_object_get(json, "name"));
	struct change change = { 0 };
	struct object *o;
	int r = 0;

	if (!id || !name_valid(name))
		return -EPROTO;
	o = get_locked(kind, id); /* this thread is the only one that changes tables */
	if (o && json_equal(o->item.json, json)) {
		o->seen = true;
		return 0;
	}
	pthread_mutex_lock(&model.lock);
	if (o) {
		item_copy(&change.was, &o->item);
		stamp_keys(o, json, time);
		drop_locked(o);
	} else {
		o = calloc(1, sizeof(*o));
		if (!o) {
			pthread_mutex_unlock(&model.lock);
			return -ENOMEM;
		}
	}
	json_decref(o->item.json);
	o->item = (struct item){ .kind = kind, .id = id, .lab = lab, .json = json_incref(json) };
	snprintf(o->item.name, sizeof(o->item.name), "%s", name);
	o->changed = change.was.kind || !json_time(json) ? time : json_time(json);
	if (!change.was.kind)
		o->first = o->changed;
	o->seen = true;
	r = add_locked(o);
	if (r < 0)
		object_free(o);
	else
		item_copy(&change.now, &o->item);
	touched_locked();
	pthread_mutex_unlock(&model.lock);
	tell(&change);
	item_done(&change.was);
	item_done(&change.now);
	return r;
}

static void drop(struct object *o)
{
	struct change change = { .was = o->item };

	pthread_mutex_lock(&model.lock);
	drop_locked(o);
	touched_locked();
	pthread_mutex_unlock(&model.lock);
	tell(&change);
	object_free(o);
}

/* Drop what the model no longer has, what is inside a lab before the lab */
static void drop_unseen(void)
{
	for (int kind = KIND_COUNT - 1; kind > KIND_NONE; kind--) {
		struct table *t = &model.tables[kind];

		for (size_t i = t->n; i-- > 0;)
			if (!t->by_id[i]->seen)
				drop(t->by_id[i]);
	}
}

static int put_list(enum kind kind, uint32_t lab, const json_t *holder, double time)
{
	json_t *list = json_object_get(holder, kinds[kind].list), *json;
	size_t i;
	int r;

	if (!json_is_array(list))
		return -EPROTO;
	json_array_foreach(list, i, json) {
		r = put(kind, lab, json, time);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A lab without what is in it, as events carry it */
static json_t *lab_alone(const json_t *lab)
{
	json_t *alone = json_copy((json_t *)lab);

	for (int kind = KIND_INSTANCE; alone && kind < KIND_COUNT; kind++)
		json_object_del(alone, kinds[kind].list);
	return alone;
}

static int put_lab(const json_t *lab, double time)
{
	uint32_t id = (uint32_t)json_integer_value(json_object_get(lab, "id"));
	autojson json_t *alone = lab_alone(lab);
	int r;

	if (!alone)
		return -ENOMEM;
	r = put(KIND_LAB, 0, alone, time);
	for (int kind = KIND_INSTANCE; !r && kind < KIND_COUNT; kind++)
		r = put_list(kind, id, lab, time);
	return r;
}

int model_replace(json_t *json)
{
	json_t *labs = json_object_get(json, "labs"), *lab;
	double time = num_wall();
	size_t i;
	int r;

	if (!json_is_array(labs))
		return -EPROTO;
	for (int kind = KIND_NONE; kind < KIND_COUNT; kind++)
		for (i = 0; i < model.tables[kind].n; i++)
			model.tables[kind].by_id[i]->seen = false;
	r = put_list(KIND_IMAGE, 0, json, time);
	json_array_foreach(labs, i, lab)
		if (!r)
			r = put_lab(lab, time);
	if (r < 0)
		return r;
	drop_unseen();
	pthread_mutex_lock(&model.lock);
	model.seq = (uint64_t)json_integer_value(json_object_get(json, "seq"));
	touched_locked();
	pthread_mutex_unlock(&model.lock);
	return 0;
}

/* Remember how a job ended */
static void note_job(const json_t *job)
{
	const char *state = json_string_value(json_object_get(job, "state"));
	const char *name = json_string_value(json_object_get(job, "errno"));
	const char *text = json_string_value(json_object_get(job, "error"));
	struct ended_job *slot;
	int code = 0;

	if (!state || !strcmp(state, "queued") || !strcmp(state, "running"))
		return;
	if (!strcmp(state, "cancelled"))
		code = -ECANCELED;
	else if (strcmp(state, "done"))
		code = name && *name ? lab_errno_value(name) : -EIO;
	SCOPED_LOCK(&model.lock);
	slot = &model.jobs[model.next_job++ % MODEL_JOBS];
	free(slot->text);
	slot->id = (uint64_t)json_integer_value(json_object_get(job, "id"));
	slot->code = code;
	slot->text = strdup(text && *text ? text : state);
}

int model_job(uint64_t id, char *ret_text)
{
	SCOPED_LOCK(&model.lock);

	for (size_t i = 0; i < MODEL_JOBS; i++) {
		if (!id || model.jobs[i].id != id)
			continue;
		snprintf(ret_text, LAB_ERR_TEXT, "%s",
			 model.jobs[i].text ? model.jobs[i].text : "");
		return model.jobs[i].code;
	}
	return 1;
}

static enum kind kind_of(const char *type)
{
	int kind = KIND_COUNT;

	while (--kind > KIND_NONE && strcmp(kinds[kind].type, type))
		;
	return kind;
}

/* Carry out an event about an object; as model_event() */
static int apply(enum kind kind, const json_t *event, const char *action)
{
	const char *lab_name = json_string_value(json_object_get(event, "lab"));
	json_t *object = json_object_get(event, "object");
	uint32_t id = (uint32_t)json_integer_value(json_object_get(object, "id"));
	double time = json_number_value(json_object_get(event, "time"));
	struct object *lab = NULL, *o = get_locked(kind, id);

	if (!strcmp(action, "remove")) {
		if (o)
			drop(o);
		return 0;
	}
	if (!json_is_object(object))
		return -EPROTO;
	if (kind == KIND_LAB) {
		autojson json_t *alone = lab_alone(object);

		return alone ? put(kind, 0, alone, time) : -ENOMEM;
	}
	if (kind == KIND_IMAGE)
		return put(kind, 0, object, time);
	lab = lab_name ? find_locked(KIND_LAB, 0, lab_name) : NULL;
	return lab ? put(kind, lab->item.id, object, time) : 1;
}

int model_event(json_t *event)
{
	const char *type = json_string_value(json_object_get(event, "type"));
	const char *action = json_string_value(json_object_get(event, "action"));
	enum kind kind;
	int r = 0;

	if (!type)
		return -EPROTO;
	if (!strcmp(type, "gap"))
		return 1;
	kind = kind_of(type);
	if (kind && !action)
		return -EPROTO;
	if (kind)
		r = apply(kind, event, action);
	else if (!strcmp(type, "job"))
		note_job(json_object_get(event, "object"));
	pthread_mutex_lock(&model.lock);
	model.seq = MAX(model.seq, (uint64_t)json_integer_value(json_object_get(event, "seq")));
	touched_locked();
	pthread_mutex_unlock(&model.lock);
	return r;
}

void model_listen(void (*listener)(const struct change *change))
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&model.changed, &attr);
	pthread_condattr_destroy(&attr);
	model.listener = listener;
}

uint64_t model_seq(void)
{
	SCOPED_LOCK(&model.lock);

	return model.seq;
}

void model_online(bool online)
{
	SCOPED_LOCK(&model.lock);

	model.online = online;
	touched_locked();
}

bool model_is_online(void)
{
	SCOPED_LOCK(&model.lock);

	return model.online;
}

bool model_get(enum kind kind, uint32_t id, struct item *ret)
{
	SCOPED_LOCK(&model.lock);
	const struct object *o = get_locked(kind, id);

	if (o)
		item_copy(ret, &o->item);
	return o;
}

bool model_find(enum kind kind, uint32_t lab, const char *name, struct item *ret)
{
	SCOPED_LOCK(&model.lock);
	const struct object *o = find_locked(kind, lab, name);

	if (o)
		item_copy(ret, &o->item);
	return o;
}

bool model_exists(enum kind kind, uint32_t id)
{
	SCOPED_LOCK(&model.lock);

	return get_locked(kind, id);
}

size_t model_count(enum kind kind)
{
	SCOPED_LOCK(&model.lock);

	return model.tables[kind].n;
}

int model_list(enum kind kind, uint32_t lab, struct item **ret)
{
	const struct table *t = &model.tables[kind];
	size_t from, n = 0;
	struct item *items;

	SCOPED_LOCK(&model.lock);
	from = place_name(t, lab, "");
	while (from + n < t->n && t->by_name[from + n]->item.lab == lab)
		n++;
	items = calloc(n + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		item_copy(&items[i], &t->by_name[from + i]->item);
	*ret = items;
	return (int)n;
}

void model_list_free(struct item *items, int n)
{
	for (int i = 0; i < n; i++)
		item_done(&items[i]);
	free(items);
}

double model_mtime(enum kind kind, uint32_t id, const char *key)
{
	SCOPED_LOCK(&model.lock);
	const struct object *o = get_locked(kind, id);
	const json_t *stamp;

	if (!o)
		return 0;
	if (!key)
		return o->changed;
	stamp = json_object_get(o->stamps, key);
	return stamp ? json_real_value(stamp) : o->first;
}

void model_fail(enum kind kind, uint32_t id, const char *text)
{
	SCOPED_LOCK(&model.lock);
	struct object *o = get_locked(kind, id);

	if (!o)
		return;
	free(o->failure);
	o->failure = text ? strdup(text) : NULL;
}

char *model_failure(enum kind kind, uint32_t id)
{
	SCOPED_LOCK(&model.lock);
	const struct object *o = get_locked(kind, id);

	return o && o->failure ? strdup(o->failure) : NULL;
}

int model_wait(int (*done)(void *arg), void *arg, uint64_t deadline)
{
	struct timespec until = { .tv_sec = (time_t)(deadline / 1000000),
				  .tv_nsec = (long)(deadline % 1000000) * 1000 };

	for (;;) {
		uint64_t version;
		int r = 0;

		pthread_mutex_lock(&model.lock);
		version = model.version;
		pthread_mutex_unlock(&model.lock);
		r = done(arg);
		if (r)
			return r;
		pthread_mutex_lock(&model.lock);
		while (version == model.version && r != ETIMEDOUT)
			r = pthread_cond_timedwait(&model.changed, &model.lock, &until);
		pthread_mutex_unlock(&model.lock);
		if (r == ETIMEDOUT)
			return -ETIMEDOUT;
	}
}
