/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ram.h - the memory of a guest, in its QEMU and in files
 *
 * DOC: Theory of Operation
 *
 * A guest's memory is a private mapping in its QEMU (preload/labram.c): of
 * /dev/zero if it booted, of a saved memory if it was restored. The kernel knows
 * which pages the guest has made its own (/proc/PID/pagemap), so nothing has to be
 * tracked, and nothing is copied to start from a saved memory.
 *
 * A saved memory is a chain of files. The bottom is a sparse file of the whole
 * memory. Each one above it has, at their own offsets, only the pages that differ
 * from what is below, and a file beside it with one bit a page ("ram.map").
 *
 * Two operations compare a stopped guest's own pages, and those that a chain changes,
 * with the chain: ram_save() writes the pages that differ into its top, ram_load()
 * writes them into the guest. Both may be repeated: ram_save() while the guest still
 * runs leaves less to do once it has stopped.
 *
 * What is read from a QEMU is bytes, whoever has taken it over: sizes and
 * offsets come from the specification.
 */
#ifndef LABD_RAM_H
#define LABD_RAM_H

#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RAM_PAGE 4096U
#define RAM_MAX_CHAIN 64

/**
 * struct ram - the memory of a running QEMU, open
 * @mem, @pagemap: of the process; they stay with it when the pid is used again
 * @addr, @size:	the mapping, in bytes
 * @mapped:	the file it maps, "/dev/zero" for none
 * @tracked:	the kernel remembers what is written (ram_track())
 */
struct ram {
	int mem, pagemap;
	uint64_t addr, size;
	bool tracked;
	char mapped[512];
};

/** ram_has_file() - Whether pages that the guest has not written are those of a file */
bool ram_has_file(const struct ram *ram);

/**
 * struct ram_layer - one file of a chain
 * @map:	a bit for each page it has; NULL: it has all
 */
struct ram_layer {
	int fd;
	uint8_t *map;
};

/**
 * struct ram_chain - a saved memory; bottom first
 * @written:	bytes that ram_save() or ram_load() have written so far
 */
struct ram_chain {
	uint64_t size;
	struct ram_layer layers[RAM_MAX_CHAIN];
	size_t n;
	uint64_t written;
};

/**
 * ram_open() - Open the memory of a QEMU
 * @pidfd:	of the process: looked at after opening, so that it is this one
 * @size:	bytes of memory its guest has
 *
 * Return: 0; -ENODATA if the process has no memory of ours (started by an older
 * labd); negative errno
 */
int ram_open(pid_t pid, int pidfd, uint64_t size, struct ram *ret, struct lab_err *err);
void ram_close(struct ram *ram);

/**
 * ram_chain_push() - Put the memory saved in @dir on top of a chain, open for reading
 * A chain without a size takes that of the file.
 */
int ram_chain_push(struct ram_chain *c, const char *dir, struct lab_err *err);

/**
 * ram_chain_create() - Begin a new memory in @dir on top of a chain, to be saved into
 * On an empty chain it is a whole one.
 */
int ram_chain_create(struct ram_chain *c, const char *dir, struct lab_err *err);

/**
 * ram_chain_flatten() - Begin a new whole memory in @dir with what a chain holds
 * The chain is replaced by it.
 */
int ram_chain_flatten(struct ram_chain *c, const char *dir, struct lab_err *err);

/** ram_chain_sync() - Wait until the disk has what was written so far */
int ram_chain_sync(const struct ram_chain *c, struct lab_err *err);

/** ram_chain_finish() - Write the map of the top, and all of it to the disk */
int ram_chain_finish(struct ram_chain *c, const char *dir, struct lab_err *err);

/**
 * ram_chain_diff() - How many pages of two chains differ
 * @common:	so many files from the bottom are the same in both
 * Return: a count, or negative errno
 */
int64_t ram_chain_diff(const struct ram_chain *a, const struct ram_chain *b, size_t common,
		       struct lab_err *err);

void ram_chain_close(struct ram_chain *c);

/**
 * ram_track() - Let the kernel remember what is written to it from now on
 * @socket:	of labram.so
 * Return: 0; negative errno where the kernel cannot (Linux before 6.7)
 */
int ram_track(struct ram *ram, const char *socket, uint64_t deadline, struct lab_err *err);

/** ram_save() - Bring the top of a chain up to what the guest has now */
int ram_save(const struct ram *ram, struct ram_chain *c, struct lab_err *err);

/**
 * ram_save_again() - The same, after a ram_save() that was preceded by ram_track()
 * Looks only at what was written since, if that is known.
 */
int ram_save_again(const struct ram *ram, struct ram_chain *c, struct lab_err *err);

/** ram_load() - Bring a stopped guest's memory to what a chain holds */
int ram_load(const struct ram *ram, struct ram_chain *c, struct lab_err *err);

/** ram_private() - How many pages are the guest's own */
int64_t ram_private(const struct ram *ram, struct lab_err *err);

#endif
