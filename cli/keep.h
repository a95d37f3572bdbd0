/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keep.h - what is kept of a test: the log of each step, consoles, variables
 *
 *	DIR/03-token.log		what was done and what it has written
 *	DIR/03-token.lab/lab.json	the lab when the step had failed
 *	DIR/03-token.lab/db.console	the end of what its guests had written
 *	DIR/variables.json		for another run, from a later step
 *
 * Modes are 0700 and 0600: there may be passwords in what servers answer. A
 * directory that nobody has asked for goes if nothing has failed.
 */
#ifndef CLI_KEEP_H
#define CLI_KEEP_H

#include "cli/step.h"

#include "lib/io.h"

/**
 * struct keep - where
 * @dir:	absolute
 * @asked:	the user has named it
 */
struct keep {
	char dir[IO_PATH];
	bool asked;
};

/** keep_open() - Make the directory: @dir, or a new one for NULL */
int keep_open(struct keep *k, const char *dir, struct lab_err *err);

/** keep_below() - Another one in it, for one of several files; @name: its file */
int keep_below(const struct keep *k, size_t number, const char *name, struct keep *ret,
	       struct lab_err *err);

/**
 * keep_log() - Write the log of a step
 * @number:	in its file, from 1
 * @words:	how it went
 * @ret:	IO_PATH bytes: the log
 */
int keep_log(const struct keep *k, size_t number, const struct step *step,
	     const struct step_result *result, const char *words, char *ret, struct lab_err *err);

/**
 * keep_lab() - Keep the state of a lab and its consoles
 * @ret:	IO_PATH bytes: their directory, "" if there is no lab
 */
int keep_lab(struct cli *cli, const struct keep *k, size_t number, const struct step *step,
	     const char *lab, char *ret, struct lab_err *err);

/** keep_variables() - Write the variables; they are few */
int keep_variables(const struct keep *k, const struct vars *v, struct lab_err *err);

/** keep_known() - The variables of an earlier run, added to @v; none is no error */
int keep_known(const struct keep *k, struct vars *v, struct lab_err *err);

/** keep_drop() - Remove it all, unless the user has asked for it */
void keep_drop(const struct keep *k);

#endif
