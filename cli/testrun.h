/* SPDX-License-Identifier: GPL-2.0-or-later */
/* testrun.h - running the steps of one test file, and the report of it */
#ifndef CLI_TESTRUN_H
#define CLI_TESTRUN_H

#include "cli/keep.h"
#include "cli/tap.h"

#include <regex.h>

/**
 * struct testrun_options - which steps, and when to stop
 * @from:	name of the first, which the file has, or NULL
 * @only:	expression that names match, or NULL; what these need is run too
 * @keep_going:	also after one has failed
 * @lab:	that the steps are about, "" if none is known
 */
struct testrun_options {
	const char *from;
	const regex_t *only;
	bool keep_going;
	const char *lab;
};

/**
 * struct testrun_count - how many of the steps passed, failed, were not done
 */
struct testrun_count {
	size_t passed, failed, skipped;
};

/** testrun_list() - Print the steps that would run; 0 or -ENOMEM */
int testrun_list(struct cli *cli, const struct stepfile *f, const struct testrun_options *opt);

/**
 * testrun_file() - Run the steps of a file
 * @tap:	where to, begun
 * @ret:	always set
 *
 * Return: 0 if it could be run, whatever came of it; negative errno with cli->err
 */
int testrun_file(struct cli *cli, const struct stepfile *f, const struct testrun_options *opt,
		 const struct keep *keep, struct tap *tap, struct testrun_count *ret);

#endif
