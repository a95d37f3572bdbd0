/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pack.h - a lab in one file: what `labctl export` writes and `labctl import` reads
 *
 * DOC: Theory of Operation
 *
 * A tar archive (pax, with sparse files), compressed by zstd; tar(1) unpacks it. Its members:
 *
 *	manifest.json	what it is and what is in it, at most PACK_MAX_MANIFEST bytes
 *	manifest.sha256	digest of the manifest
 *	...		the files that the manifest names, in any order
 *
 * "files" of the manifest is {NAME: {"size", "data", "sha256"}}: bytes, how many of them
 * are not in holes, and digest_sparse_fd(). So all that can be said before an import,
 * also how much disk it takes, is known after two members; the rest of the manifest is
 * export.c's and import.c's.
 *
 * An archive is hostile input. Only the readers of tar and zstd are enabled. A member is a
 * regular file that the manifest names, once, with the size and no more data than it says,
 * and its name consists of PACK_MAX_PARTS plain words. It is written below a directory of
 * our own, and its digest is taken from what was written. Everything else ends it.
 */
#ifndef LABD_PACK_H
#define LABD_PACK_H

#include "images/image.h"

#define PACK_FORMAT "lab export"
#define PACK_VERSION 1
#define PACK_MAX_MANIFEST (1 << 20)
#define PACK_MAX_PARTS 4

struct pack;

/**
 * pack_write() - Write an archive
 * @fd:		empty file
 * @manifest:	"format", "version" and "files" are added
 * @paths:	{NAME: path of the file that is to have it}
 *
 * Return: 0, -ECANCELED, or negative errno
 */
int pack_write(int fd, json_t *manifest, const json_t *paths, const struct image_progress *progress,
	       struct lab_err *err);

/**
 * pack_open() - Read and check the manifest of an archive
 * @fd:		borrowed until pack_close()
 *
 * Return: 0; -EINVAL if it is none, or refused; -EPROTO if a newer labd made it; -EUCLEAN if
 * it is damaged
 */
int pack_open(int fd, struct pack **ret, struct lab_err *err);

/** pack_manifest() - Borrowed; its "files" are checked, everything else is as hostile as ever */
const json_t *pack_manifest(const struct pack *p);

/**
 * pack_data() - Bytes on disk that pack_extract() would write
 * @skip:	as there
 */
uint64_t pack_data(const struct pack *p, const json_t *skip);

/**
 * pack_extract() - Write all files below @dir, once; no digest is wrong then
 * @skip:	object with the names of files that are not wanted
 *
 * What is there after a failure is for the caller to remove.
 *
 * Return: 0, -EINVAL refused, -EUCLEAN damaged or truncated, -ECANCELED, or negative errno
 */
int pack_extract(struct pack *p, const char *dir, const json_t *skip,
		 const struct image_progress *progress, struct lab_err *err);

/** pack_close() - Takes NULL, returns NULL */
struct pack *pack_close(struct pack *p);

#endif
