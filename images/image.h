/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image.h - making, checking and taking in images
 *
 * DOC: Theory of Operation
 *
 * An image is a directory: disk.qcow2, manifest.json, build.log and, if it
 * boots directly, vmlinuz and initrd.img. It is made under another name in
 * the same file system, synced, and renamed: it exists whole or not at all.
 * One that is imported is synced after that, as a copied file would be. Once
 * made it is never written again (mode 0444).
 *
 * The functions here know directories, not names or users of images: labd
 * keeps those. All of them block and are called from jobs. Work on foreign
 * data (qemu-img on an imported file) is done by a child with rlimits.
 *
 * Layers (STATE/layers/DIGEST) are the root trees of recipes, so that a recipe
 * `from` another starts where that one ended. Pools (STATE/pool/NAME) are the
 * .deb files of locked recipes, with the lock file (STATE/locks/NAME.json).
 */
#ifndef IMAGES_IMAGE_H
#define IMAGES_IMAGE_H

#include "lib/digest.h"
#include "lib/err.h"
#include "lib/paths.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * struct image_progress - how a long operation tells what it does
 * @report:	called with the stage ("packages", "script", "filesystem",
 *		"convert", ...) and how far it is; @total 0: not known
 * @cancelled:	asked a few times a second
 * @arg:	for both
 */
struct image_progress {
	void (*report)(void *arg, const char *step, uint64_t done, uint64_t total,
		       const char *unit);
	bool (*cancelled)(void *arg);
	void *arg;
};

/**
 * struct image_header - what the first bytes of a disk file say
 * @format:	"qcow2" or "raw"
 * @size:	virtual size in bytes
 * @plain:	a qcow2 as we make them: version 3, clusters of 64 KiB, no incompatible feature
 */
struct image_header {
	char format[8];
	uint64_t size;
	bool plain;
};

#define IMAGE_MAX_SIZE (1ULL << 41) /* 2 TiB: more is a mistake or an attack */

/**
 * image_inspect() - Decide whether a foreign disk file may be opened at all
 * @fd:		the file, open for reading
 * @format:	what it is said to be: "qcow2" or "raw"; never guessed
 * @max_size:	the largest virtual size to accept
 *
 * Reads the header only, with bounds. Refused: a qcow2 that is truncated, has
 * a backing file, an external data file, unknown incompatible features,
 * encryption, internal snapshots, tables outside the file; a "raw" file
 * that begins like another format (qcow2, QED, VMDK, VDI, VHDX, LUKS, ...).
 *
 * Return: 0, -EINVAL refused (with the reason), -ERANGE too large, or
 * negative errno
 */
int image_inspect(int fd, const char *format, uint64_t max_size, struct image_header *ret,
		  struct lab_err *err);

/**
 * enum image_allow - what a part of an exported lab may have that a foreign disk may not
 * @IMAGE_ALLOW_BASE:	  it stands on another file. Its name is not looked at: it is replaced
 *			  before anything opens it
 * @IMAGE_ALLOW_SNAPSHOT: internal snapshots: QEMU keeps the state of devices in one
 */
enum image_allow { IMAGE_ALLOW_BASE = 1, IMAGE_ALLOW_SNAPSHOT = 2 };

/** image_inspect_part() - image_inspect() for a qcow2 that may have what @allow says */
int image_inspect_part(int fd, unsigned int allow, struct image_header *ret, struct lab_err *err);

/**
 * image_import() - Make an inspected foreign file our own image
 * @fd:		the file; it is inspected again here, and only this descriptor
 *		is handed to the converter
 * @spool:	the file's name, if it is ours and nobody writes to it any more: it is then taken as
 *		it is, where that is as good as converting it. NULL: it stays
 * @dir:	directory to make; must not exist; its parent does
 *
 * It can be read then, but its SHA-256 is not known, and it is not on the disk: that is the part of
 * image_digest() and image_sync().
 *
 * Return: 0 or negative errno; on failure nothing is left, perhaps not @spool either
 */
int image_import(int fd, const char *format, const char *spool, const char *dir,
		 const struct image_progress *progress, struct lab_err *err);

/**
 * image_digest() - Count the SHA-256 of an imported image's disk and put it into its manifest
 * @sha:	out: the digest, also if it was there already
 *
 * Return: 0 or negative errno
 */
int image_digest(const char *dir, char sha[DIGEST_HEX], struct lab_err *err);

/** image_sync() - Wait until an image's files and names are on the disk; 0 or negative errno */
int image_sync(const char *dir, struct lab_err *err);

/**
 * image_verify() - Whether an image that was perhaps not synced has arrived as it was written
 * One whose SHA-256 was not known yet has, if the host has not booted since; it is counted then.
 *
 * Return: 0, -EUCLEAN it has not, or negative errno
 */
int image_verify(const char *dir, struct lab_err *err);

/**
 * image_export() - Write an image's disk as one file
 * @dir:	the image
 * @path:	file to make; must not exist
 * @format:	"qcow2", which is a copy of the image's own file, or "raw"
 */
int image_export(const char *dir, const char *path, const char *format,
		 const struct image_progress *progress, struct lab_err *err);

/**
 * struct recipe - a read recipe
 * @name:	its `image:` key
 * @digest:	SHA-256 over the recipe as read and the digests of those it builds
 *		on: what the image depends on. A lock that was taken of this
 *		very recipe leaves it as it is, for it gives the same image; a
 *		lock of an older text is part of it
 * @from:	name of the recipe it builds on, or ""
 * @size:	of the disk, in bytes
 * @locked:	whether a lock is in force
 * @fresh:	set it to have the recipe's own layer made anew in recipe_build(),
 *		from packages as they are now, even if there is one
 * @spec:	everything as JSON, with those it builds on resolved; for the
 *		builder
 */
struct recipe {
	char name[49];
	char digest[DIGEST_HEX];
	char from[49];
	uint64_t size;
	bool locked;
	bool fresh;
	json_t *spec;
};

/**
 * recipe_load() - Read a recipe
 * @text:	YAML, or NULL to read PATHS->data/images/NAME.yaml
 * @file:	name for messages, if @text is given
 * @name:	of a shipped recipe, if @text is NULL
 * @ret_problems: array of {"line", "column", "message"} if it is not valid;
 *		new reference; may be NULL
 *
 * Return: 0, -ENOENT no such recipe (with the nearest names), -EINVAL, or
 * negative errno
 */
int recipe_load(const struct paths *paths, const char *text, const char *file, const char *name,
		struct recipe **ret, json_t **ret_problems, struct lab_err *err);

/** recipe_free() - Free a recipe; returns NULL */
struct recipe *recipe_free(struct recipe *recipe);

/**
 * recipe_names() - All shipped recipes' names as a JSON array of strings
 */
int recipe_names(const struct paths *paths, json_t **ret, struct lab_err *err);

/**
 * recipe_build() - Build an image with labbuild
 * @dir:	directory to make; must not exist; its parent does
 *
 * Layers it builds on are made first if they are missing. Two builds of one
 * layer at the same time: the second waits for the first. On failure the log is
 * moved to STATE/log/build-NAME.log, the error carries the failing command's
 * last lines, and nothing else is left.
 */
int recipe_build(const struct paths *paths, const struct recipe *recipe, const char *dir,
		 const struct image_progress *progress, struct lab_err *err);

/**
 * recipe_lock() - Keep what a built image was made of
 * @recipe:	the recipe
 * @image_dir:	an image built from it; its manifest is what is locked
 *
 * Writes the lock (names, versions, digests) and fills the pool with the .deb
 * files, verified against those digests. From then on the recipe builds from
 * the pool alone, without network, and gives the same manifest.
 */
int recipe_lock(const struct paths *paths, const struct recipe *recipe, const char *image_dir,
		const struct image_progress *progress, struct lab_err *err);

/**
 * image_sweep() - Remove what killed builds, imports and locks left
 * Call it at start, before any of them runs. Layers that nothing is built from
 * any more, and package files that no layer was made of, go as well.
 *
 * Return: how many partial directories were removed, or negative errno
 */
int image_sweep(const struct paths *paths, struct lab_err *err);

/**
 * image_manifest() - Read an image's manifest
 * @ret:	{"name", "recipe" (digest), "from", "size", "boot": "direct" or
 *		"firmware", "cmdline", "kernel": {"sha256","size"}, "initrd":
 *		{...}, "disk": {"sha256", "size"} or, before image_digest(),
 *		{"boot_id", "size"}, "packages": [{"name",
 *		"version", "arch", "sha256"}]}; new reference
 */
int image_manifest(const char *dir, json_t **ret, struct lab_err *err);

#endif
