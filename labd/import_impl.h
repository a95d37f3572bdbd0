/* SPDX-License-Identifier: GPL-2.0-or-later */
/* import_impl.h - what the files of import.h share */
#ifndef LABD_IMPORT_IMPL_H
#define LABD_IMPORT_IMPL_H

#include "labd/import.h"
#include "labd/pack.h"
#include "lib/io.h"

/**
 * struct import
 * @spec:	of the new lab, with its name
 * @images:	{KEY: id of the image here}, as far as it is known
 * @made:	ids of images that were added
 * @skip:	files that are not wanted
 * @ram:	memories are wanted
 * @dir:	where files are written
 */
struct import {
	struct labd *d;
	int fd;
	struct pack *pack;
	json_t *spec, *images, *made, *skip;
	bool ram;
	char name[NAME_MAX_LEN + 1];
	char dir[IO_PATH];
};

/* --- import_look.c --- */

/** import_part() - A value of the manifest, borrowed, or NULL */
const json_t *import_part(const struct import *m, const char *key);

/** import_text() - A string of an object, "" if there is none */
const char *import_text(const json_t *o, const char *key);

/** import_has() - Whether the archive has a file of that name */
bool import_has(const struct import *m, const char *name);

/** import_refuse() - "refused: ..."; -EINVAL */
int import_refuse(struct lab_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** import_skip() - Do not write files whose names begin so */
void import_skip(struct import *m, const char *prefix);

/** import_skip_memories() - Nor those of memories */
void import_skip_memories(struct import *m);

/** import_space() - Whether what is to be written fits on the disk; 0 or -ENOSPC */
int import_space(struct import *m, struct lab_err *err);

/* --- import_image.c --- */

/** import_images_found() - [{"name", "here"}]; those that are here are skipped */
json_t *import_images_found(struct import *m);

/** import_images_find() - Claim those that are here, and skip their files */
void import_images_find(struct import *m, const struct job *job);

/** import_images_make() - Add those that are not here, from files that were written */
int import_images_make(struct import *m, struct job *job, struct lab_err *err);

/** import_images_name() - Put the names that the images have here into the specification */
void import_images_name(struct import *m);

/* --- import_member.c --- */

/** import_inspect() - Whether a qcow2 that came with the archive may be opened */
int import_inspect(const char *path, unsigned int allow, struct image_header *ret,
		   struct lab_err *err);

/** import_member() - Disks, and memory if it is wanted, of one instance for a snapshot */
int import_member(struct import *m, struct instance *in, int64_t snapshot, struct lab_err *err);

/* --- import.c --- */

/** import_mark() - Write into the store what has to be removed if labd is killed now */
int import_mark(struct import *m, int64_t job, struct lab_err *err);

#endif
