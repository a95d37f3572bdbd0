/* SPDX-License-Identifier: GPL-2.0-or-later */
/* layer.h - rows of the store's table `layers`: the qcow2 files of instances (disk.h) */
#ifndef LABD_LAYER_H
#define LABD_LAYER_H

#include "labd/model.h"
#include "lib/io.h"

/*
 * layers.snapshot: of the file a guest writes, of one that is to be that (disks_thaw()), and of
 * one that a spare has open (spare.h)
 */
#define LAYER_HEAD 0
#define LAYER_PREPARED (-1)
#define LAYER_SPARE (-2)

/**
 * struct layer - a file
 * @base:	what it stands on, "" for nothing
 * @disk:	"root", "data", ...
 * @head:	of a frozen one: its name when the guest wrote it
 * @snapshot:	id, LAYER_HEAD, LAYER_PREPARED or LAYER_SPARE
 */
struct layer {
	char path[IO_PATH], base[IO_PATH], head[IO_PATH];
	char disk[NAME_MAX_LEN + 1];
	int64_t instance, snapshot;
	uint64_t size;
};

struct layers {
	struct layer *v;
	size_t n;
};

void layers_done(struct layers *l);
#define autolayers __attribute__((cleanup(layers_done)))

/** layers_of() - Of an instance in a snapshot, root first */
int layers_of(struct labd *d, int64_t instance, int64_t snapshot, struct layers *ret,
	      struct lab_err *err);

/** layers_unused() - Frozen ones whose snapshot is gone, and which nothing stands on */
int layers_unused(struct labd *d, struct layers *ret);

int layer_save(struct labd *d, const struct layer *l, struct lab_err *err);
int layer_remove(struct labd *d, const char *path, struct lab_err *err);

/** layer_known() - Whether there is a row for a file */
bool layer_known(struct labd *d, const char *path);

/** layer_base() - What a file stands on, "" at the bottom; @base may be @path */
void layer_base(struct labd *d, const char *path, char base[IO_PATH]);

/** layer_image() - Id of the image at the bottom of the chain that begins with @path; 0: none */
int64_t layer_image(struct labd *d, const char *path);

#endif
