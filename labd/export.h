/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * export.h - a lab to one file
 *
 * DOC: Theory of Operation
 *
 * What is exported is a snapshot: its files never change, so guests may run meanwhile. The
 * lab is claimed, so that nobody removes it. pack.h says what the file looks like. Beside
 * "files" its manifest has
 *
 *	"lab", "created", "by", "snapshot"	for people
 *	"clock"		the lab's time in that snapshot
 *	"identity"	lab_identity(): MACs and machine ids are made of it
 *	"spec"		the specification of the lab in that snapshot
 *	"images"	{KEY: {"name", "boot", "cmdline", "size", "disk", "kernel", "initrd"}}, as
 *			in the image's own manifest; files images/KEY/...
 *	"instances"	{NAME: {"image": KEY, "disks": [{"name", "layers": N, "base"}], "memory"}}
 *			of the snapshot's members; files instances/NAME/DISK.N.qcow2, bottom
 *			first, the bottom stands on the image if "base"; if there is a memory,
 *			what it was saved with, and files instances/NAME/memory/...
 *
 * The file is made under another name in its directory, which the store knows meanwhile:
 * a labd that was killed leaves nothing once the next has started. A memory that
 * stands on others is made one, below STATE/exports.
 */
#ifndef LABD_EXPORT_H
#define LABD_EXPORT_H

#include "labd/job.h"
#include "labd/model.h"

/**
 * export_run() - Write a snapshot of a claimed lab to a file
 * @ram:	with the memories of what ran
 * @path:	absolute, of a file that does not exist
 */
int export_run(struct labd *d, struct job *job, struct lab *lab, int64_t snapshot, bool ram,
	       const char *path, struct lab_err *err);

/** export_image_facts() - Of an image's manifest what tells it from others; new reference */
json_t *export_image_facts(const json_t *manifest);

/** export_recover() - At start: remove what an earlier labd did not finish */
void export_recover(struct labd *d);

#endif
