/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * builder.h - one run of labbuild
 *
 * DOC: Theory of Operation
 *
 * labd writes a plan: the recipe with all it builds on resolved, and the directory
 * to fill. labbuild makes each missing layer, from the bottom up, and an
 * image of the topmost one. A layer is a directory
 *
 *	STATE/layers/DIGEST/root	what the recipe adds to its parent (an
 *					overlayfs upper directory; the base
 *					layer's is the whole tree)
 *	STATE/layers/DIGEST/layer.json	identity, parent, packages; written last
 *	STATE/layers/DIGEST.lock	flock: shared while used, exclusive
 *					while made
 *
 * A layer is made as DIGEST.tmp and renamed. Each has a random "id"; a layer
 * whose recorded parent id is not that of the parent that is there now is
 * made again, for an overlay over another lower tree is garbage.
 *
 * Package files and lists are shared by all builds of a suite (STATE/apt/SUITE),
 * one apt at a time. What a locked recipe installs comes from its pool alone.
 *
 * The first line on standard output is {"pid"}: the build's process 1, whose end
 * is the end of all its processes. Then progress, one JSON line a change; the
 * last line is {"error": {"errno", "message"}} if it failed.
 */
#ifndef IMAGES_BUILDER_BUILDER_H
#define IMAGES_BUILDER_BUILDER_H

#include "images/recipe.h"
#include "lib/err.h"
#include "lib/io.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/**
 * struct builder - what all steps of a build share
 * @state:	the state directory
 * @dir:	the directory to fill, exists; scratch space too
 * @spec:	the recipe to build (borrowed from the plan)
 * @fresh:	make its own layer anew
 * @log:	descriptor of build.log
 * @started:	num_now_us() time, for the log
 */
struct builder {
	const char *state;
	const char *dir;
	const json_t *spec;
	bool fresh;
	int log;
	uint64_t started;
};

/** builder_step() - Tell how far the build is; @total 0: not known */
void builder_step(const char *step, uint64_t done, uint64_t total, const char *unit);

/** builder_log() - A line of our own in the build log */
void builder_log(const struct builder *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* --- packages.c --- */

/**
 * packages_base() - Fill an empty root with a suite's packages
 * @root:	existing, empty directory
 * @ret_info:	{"packages": [{"name", "version", "arch", "sha256"}],
 *		"sources": apt's one-line entries, "epoch": seconds}
 */
int packages_base(const struct builder *b, const json_t *spec, const char *root, json_t **ret_info,
		  struct lab_err *err);

/**
 * packages_add() - Install a recipe's packages into a root that has a parent's
 * @info:	the parent layer's info
 */
int packages_add(const struct builder *b, const json_t *spec, const char *root, const json_t *info,
		 json_t **ret_info, struct lab_err *err);

/* --- sources.c --- */

/**
 * sources_find() - The host's own Debian entries for a suite
 * @etc:	"/etc/apt"
 * @ret:	one-line entries, malloced; the suite itself, -updates, -security
 *
 * Return: 0, -ENOENT (with what to do) if the host has none
 */
int sources_find(const char *etc, const char *suite, char **ret, struct lab_err *err);

/**
 * sources_options() - How the host's apt fetches (proxies, retries, checks)
 * @ret:	array of "Acquire::...=value" strings
 */
int sources_options(json_t **ret, struct lab_err *err);

/* --- root.c --- */

/**
 * root_overlay() - Mount a stack of layers
 * @lowers:	layer directories' names, colon-separated, topmost first,
 *		relative to the current directory
 * @upper, @work: relative too, or NULL for a read-only mount
 */
int root_overlay(const char *at, const char *lowers, const char *upper, const char *work,
		 struct lab_err *err);

/**
 * root_enter() - Mount what programs in a root need: /proc, /dev, /run, /tmp
 */
int root_enter(const char *root, struct lab_err *err);

/** root_leave() - End all processes of the build and undo root_enter() */
void root_leave(const char *root);

/**
 * root_open() - Open a path inside a root; links never lead out of it
 * Return: descriptor or negative errno
 */
int root_open(int root, const char *path, int flags, mode_t mode);

/** root_files() - Write a recipe's `files` into a root */
int root_files(const char *root, const json_t *files, struct lab_err *err);

/** root_script() - Run a recipe's script in a root, without network */
int root_script(const struct builder *b, const char *root, const char *script, uint64_t epoch,
		struct lab_err *err);

/** root_clean() - Drop what must not be in an image: caches, logs, identities */
int root_clean(const char *root, struct lab_err *err);

/* --- layer.c --- */

/**
 * struct layer - a finished layer in use
 * @info:	layer.json
 * @lowers:	its own and its parents' root directories, as for root_overlay()
 * @lock:	shared lock, held until layer_put()
 * @from:	its parent, or NULL
 */
struct layer {
	json_t *info;
	char lowers[IO_PATH];
	int lock;
	struct layer *from;
};

/**
 * layer_get() - A recipe's layer, made first if it is missing
 * The current directory must be STATE/layers.
 */
int layer_get(const struct builder *b, const json_t *spec, struct layer **ret, struct lab_err *err);

struct layer *layer_put(struct layer *layer);

/* --- ext4.c --- */

/**
 * ext4_write() - Make a file system image of a directory tree
 * @path:	file to make
 * @size:	of the file system
 * @seed:	any text; UUID and hash seed are derived from it
 * @epoch:	no time in the image is later than this
 *
 * Same tree, same bytes: entries are sorted, and all times are the files'
 * modification times.
 */
int ext4_write(const struct builder *b, const char *tree, const char *path, uint64_t size,
	       const char *seed, uint64_t epoch, struct lab_err *err);

/* --- initrd.c --- */

/**
 * initrd_write() - Make a small initrd from what a root has
 * @root:	has /bin/busybox and /lib/modules/RELEASE
 * @release:	the kernel's
 */
int initrd_write(const char *root, const char *release, const char *path, struct lab_err *err);

/* --- disk.c --- */

/**
 * disk_write() - Make disk.qcow2, vmlinuz, initrd.img and manifest.json in B->dir
 * @root:	the mounted tree
 */
int disk_write(const struct builder *b, const json_t *info, const char *root, struct lab_err *err);

#endif
