/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compare.h - two disks compared by a labinspect
 *
 * labctl reads nothing of the disks. It opens the files that labd names, hands them to a labinspect
 * that gives all rights away, and takes what that says: differences, one a message. The form of
 * each is checked here; names and targets in it are a guest's, and may be anything but a NUL.
 */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include "cli/cli.h"
#include "cli/meter.h"
#include "fs/inspect/protocol.h"

/**
 * struct compare_change - something that was found
 * @c:		its numbers; only INSPECT_ADDED to INSPECT_DIRTY come here
 * @path:	"" for a partition as a whole
 * @target:	of links, or the kinds of filesystem of a partition; [0]: the words of a trouble
 */
struct compare_change {
	const struct inspect_change *c;
	const char *path, *target[2];
};

/**
 * struct compare - what is wanted
 * @name:	for the line of progress
 * @part, @path: as in struct inspect_diff; NULL: everything
 * @meter:	NULL: without progress
 * @take:	gets what is found
 * @found:	set to true if @path is on one of the disks; stays otherwise
 */
struct compare {
	struct cli *cli;
	const char *name;
	uint32_t part;
	const char *path;
	struct meter *meter;
	void (*take)(void *arg, const struct compare_change *change);
	void *arg;
	bool found;
};

/**
 * compare_chain() - Ask labd for the files of a disk
 * @snapshot:	NULL: as it is now
 */
int compare_chain(struct cli *cli, const char *lab, const char *snapshot, const char *instance,
		  const char *disk, json_t **ret);

/**
 * compare_run() - Compare two disks
 * @from, @to:	answers of compare_chain()
 *
 * Return: 0, also if there was trouble with a part, which @take was told; or negative errno
 */
int compare_run(struct compare *cmp, const json_t *from, const json_t *to);

#endif
