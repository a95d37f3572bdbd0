/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model.h - labd's labs, instances, networks, snapshots and images, mirrored
 *
 * DOC: Theory of Operation
 *
 * The model is what the last /v1/model and the events after it said. Only the
 * mirror's thread changes it; everybody may read it. An object's JSON is never
 * changed in place but replaced, so that a reader takes a reference under the
 * lock and looks at it afterwards without: no I/O, no formatting and no call
 * into FUSE happens under the lock.
 *
 * When labd is gone the model stays as it was. When it is back, the new model
 * is compared with the old one by the store's ids: what is the same keeps its
 * identity, and only differences are reported to the listener.
 */
#ifndef FS_MODEL_H
#define FS_MODEL_H

#include "lib/names.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind {
	KIND_NONE,
	KIND_IMAGE,
	KIND_LAB,
	KIND_INSTANCE,
	KIND_NETWORK,
	KIND_SNAPSHOT,
	KIND_COUNT,
};

/**
 * struct item - one object as it was at one moment
 * @kind:	KIND_NONE: nothing
 * @id:		the store's id, unique within the kind and never used again
 * @lab:	id of the lab it is in; 0 for labs and images
 * @name:	its name then
 * @json:	its JSON, a reference of the holder; read only
 *
 * Release with item_done(); a zeroed item needs no release.
 */
struct item {
	enum kind kind;
	uint32_t id, lab;
	char name[NAME_MAX_LEN + 1];
	json_t *json;
};

/** item_done() - Drop the reference; the item is empty afterwards */
void item_done(struct item *item);

#define autoitem __attribute__((cleanup(item_done)))

/**
 * struct change - what happened to an object
 * @was:	the object before; kind KIND_NONE if it is new
 * @now:	the object after; kind KIND_NONE if it is gone
 *
 * The listener borrows both, and is called from the mirror's thread, without
 * a lock, after the model shows the new state.
 */
struct change {
	struct item was, now;
};

/** model_listen() - Who is told about changes; set once, before the first load */
void model_listen(void (*listener)(const struct change *change));

/**
 * model_replace() - Take over a whole model
 * @json:	the answer to GET /v1/model, borrowed
 *
 * Return: 0, -EPROTO if it is not one, -ENOMEM
 */
int model_replace(json_t *json);

/**
 * model_event() - Take over one event
 * @event:	borrowed
 *
 * Return: 1 if the model must be loaded again (a gap, an object that is not
 * known), 0, -EPROTO, -ENOMEM
 */
int model_event(json_t *event);

/** model_seq() - Number of the last event that the model shows */
uint64_t model_seq(void);

/**
 * model_online() - Say whether the model follows labd
 * Wakes those who wait.
 */
void model_online(bool online);
bool model_is_online(void);

/** model_get() - The object with an id; false if there is none */
bool model_get(enum kind kind, uint32_t id, struct item *ret);

/**
 * model_find() - The object with a name
 * @lab:	id of its lab; 0 for labs and images
 */
bool model_find(enum kind kind, uint32_t lab, const char *name, struct item *ret);

/** model_exists() - Whether an object is (still) there */
bool model_exists(enum kind kind, uint32_t id);

/** model_count() - How many objects of a kind there are in all */
size_t model_count(enum kind kind);

/**
 * model_list() - All objects of a kind, sorted by name
 * @lab:	only those of this lab; 0 for labs and images
 * @ret:	malloced array of items; model_list_free()
 *
 * Return: how many, or -ENOMEM
 */
int model_list(enum kind kind, uint32_t lab, struct item **ret);
void model_list_free(struct item *items, int n);

/**
 * model_mtime() - When the value of one of an object's keys last changed
 * @key:	of the JSON; NULL: anything about the object
 *
 * Return: seconds since 1970
 */
double model_mtime(enum kind kind, uint32_t id, const char *key);

/**
 * model_fail() - Remember why something with an object failed here
 * @text:	NULL: forget it (an action succeeded)
 */
void model_fail(enum kind kind, uint32_t id, const char *text);

/** model_failure() - What model_fail() remembers; malloced, or NULL */
char *model_failure(enum kind kind, uint32_t id);

/**
 * model_wait() - Wait until something is so
 * @done:	asked without the lock after each change; not 0 ends the wait
 * @deadline:	num_now_us() time
 *
 * Return: what @done returned, or -ETIMEDOUT
 */
int model_wait(int (*done)(void *arg), void *arg, uint64_t deadline);

/**
 * model_job() - How a job ended
 * @ret_text:	its error, LAB_ERR_TEXT bytes
 *
 * Return: 1 if it is not known to have ended, 0 if it succeeded, its errno
 */
int model_job(uint64_t id, char *ret_text);

#endif
