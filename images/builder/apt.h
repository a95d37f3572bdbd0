/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * apt.h - one use of apt for a root
 *
 * DOC: Theory of Operation
 *
 * apt runs outside of the root it fills (Dir, DPkg::Chroot-Directory), so it
 * uses the host's network and keyrings, and a root needs neither a
 * resolver nor a proxy setting. Package lists and .deb files are in STATE/apt/SUITE
 * and bound into the root while apt works; lists younger than an hour are not
 * fetched again. apt has checked every .deb in there against the signed lists,
 * so the digest of the file is the digest the archive promised.
 *
 * A recipe with a lock sees its own pool and those of its parents as the only
 * source, with lists and files of its own in the build's scratch directory.
 */
#ifndef IMAGES_BUILDER_APT_H
#define IMAGES_BUILDER_APT_H

#include "images/builder/builder.h"

/**
 * struct apt - one use of apt
 * @b:		the build
 * @root:	the root it works on
 * @suite:	"bookworm"
 * @cache:	directory with lists/ and archives/
 * @conf:	its configuration file
 * @list:	its sources file
 * @sources:	what is in there
 * @options:	"Acquire::...=value" of the host
 * @lock:	one apt at a time uses a cache
 * @locked:	whether sources are pools
 * @done, @total: packages, for progress
 */
struct apt {
	const struct builder *b;
	const char *root, *suite;
	char cache[IO_PATH], conf[IO_PATH], list[IO_PATH];
	char *sources;
	json_t *options;
	int lock;
	bool locked;
	uint64_t done, total;
};

#define autoapt __attribute__((cleanup(apt_done)))

/**
 * apt_init() - Set up sources, cache directories and configuration
 * @root:	the root to work on (borrowed)
 *
 * Waits until no other build uses apt for the same suite. Undone by apt_done(),
 * also after a failure.
 */
int apt_init(struct apt *a, const struct builder *b, const json_t *spec, const char *root,
	     struct lab_err *err);

/** apt_done() - Unbind the cache, let others use apt */
void apt_done(struct apt *a);

/** apt_write_conf() - Write the configuration again, for another A->root */
int apt_write_conf(const struct apt *a, struct lab_err *err);

/** apt_bind() - Make lists and .deb files visible in the root */
int apt_bind(const struct apt *a, struct lab_err *err);

/** apt_update() - Fetch the package lists, unless they are fresh */
int apt_update(struct apt *a, struct lab_err *err);

/** apt_run() - Run apt with our configuration, with progress */
int apt_run(struct apt *a, const char *const *argv, struct lab_err *err);

/** apt_count_line() - Make progress of a line that apt or dpkg prints; @arg: struct apt */
void apt_count_line(void *arg, const char *line);

/** apt_epoch() - The newest date of the archives' release files, in seconds */
uint64_t apt_epoch(const struct apt *a);

/**
 * apt_add_package() - Append {"name", "version", "arch", "sha256"} to a list
 * @before:	a parent's list: what is there already has its digest from there
 */
int apt_add_package(const struct apt *a, json_t *list, const json_t *before, const char *name,
		    const char *version, const char *arch, struct lab_err *err);

/** apt_list_installed() - All that dpkg has installed in the root, with digests */
int apt_list_installed(const struct apt *a, const json_t *before, json_t **ret,
		       struct lab_err *err);

#endif
