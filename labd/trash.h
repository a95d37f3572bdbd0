/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * trash.h - what was destroyed, for as long as it can be had again
 *
 * DOC: Theory of Operation
 *
 * To destroy a lab, a stopped instance, a snapshot or an image is to put it into the trash:
 * in one transaction its row gets a name that nothing else can have (one that begins with
 * a '.', an image none and the state "trashed"), so that its own is free, and table
 * `trash` a row with that name, and of an instance with its specification. So whenever labd
 * dies, an object is either live or in the trash. Then it leaves the model; its files stay
 * where they are.
 *
 * As its row stays, whatever counts references to frozen files counts it: disks_collect()
 * and memory_collect() need not know of the trash. An image that something in the trash
 * stands on cannot be destroyed before that.
 *
 * The memory of what runs is on no disk. So of a lab that runs an automatic snapshot is made
 * before it is brought down and goes along, unless that is not wanted (labdown.c).
 *
 * What is older than the trash's age goes, and the oldest as long as all together are larger
 * than its size. A size of 0 is the end of each at once. What labd drops by itself (an
 * automatic snapshot, an image that was built again) never goes through the trash.
 *
 * A lab that goes takes those of its instances and snapshots along that are in the
 * trash.
 */
#ifndef LABD_TRASH_H
#define LABD_TRASH_H

#include "labd/model.h"

#define TRASH_DAYS 7
#define TRASH_SIZE (20ULL << 30)

/**
 * trash_open() - Begin; what has expired meanwhile goes
 * @days:	how long something stays
 * @size:	how much in all
 */
int trash_open(struct labd *d, unsigned int days, uint64_t size, struct lab_err *err);

/** trash_close() - When no job and no call runs any more */
void trash_close(struct labd *d);

/** trash_keeps() - Whether what is put in stays at all */
bool trash_keeps(struct labd *d);

/* Each is called by who has claimed the object, which is free()d; 0, or why it stays */
int trash_lab(struct labd *d, struct lab *lab, struct lab_err *err);
int trash_snapshot(struct labd *d, struct lab *lab, int64_t id, struct lab_err *err);
int trash_image(struct labd *d, struct image *im, struct lab_err *err);
/** trash_instance() - @spec: its specification, which the lab's has not any more; may be NULL */
int trash_instance(struct labd *d, struct instance *in, const json_t *spec, struct lab_err *err);

/** trash_instance_rows() - Its part in the store, for a transaction that changes more */
int trash_instance_rows(struct labd *d, const struct instance *in, const json_t *spec,
			struct lab_err *err);

/** trash_expire() - Remove what is too old, or too much */
void trash_expire(struct labd *d);

/**
 * trash_json() - What is in it, oldest first (docs/api.md), or only @id if that is not 0
 * Return: new reference; NULL also if there is no @id
 */
json_t *trash_json(struct labd *d, int64_t id, struct lab_err *err);

/**
 * trash_restore() - Have something again
 * @name:	another name for it, or NULL
 * @ret:	{"kind", "lab", "name"}, new reference
 *
 * Return: 0; -ENOENT; -EEXIST if its name is taken; -EBUSY if its lab is in the trash, or busy
 */
int trash_restore(struct labd *d, int64_t id, const char *name, json_t **ret, struct lab_err *err);

/**
 * trash_remove() - Remove one for ever
 * Return: 0, or -ENOENT if it is not there (any more)
 */
int trash_remove(struct labd *d, int64_t id, struct lab_err *err);

/* Its parts, for trash_restore.c */

/**
 * struct trashed - a row of the trash
 * @object:	id of the lab, instance, snapshot or image
 * @lab:	id of its lab, 0 for a lab and an image
 */
struct trashed {
	int64_t id, object, lab;
	char kind[MODEL_STATE], name[NAME_MAX_LEN + 1], lab_name[NAME_MAX_LEN + 1];
	bool lab_in_trash;
	double since;
	uint64_t size;
	char *spec;
};

int trash_restore_lab(struct labd *d, const struct trashed *t, const char *name,
		      struct lab_err *err);
int trash_restore_instance(struct labd *d, const struct trashed *t, const char *name,
			   struct lab_err *err);
int trash_restore_snapshot(struct labd *d, const struct trashed *t, const char *name,
			   struct lab_err *err);
int trash_restore_image(struct labd *d, const struct trashed *t, const char *name,
			struct lab_err *err);

#endif
