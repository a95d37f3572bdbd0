/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * step.h - the steps of a test file: what they say, and doing one
 *
 * DOC: Theory of Operation
 *
 * A test file is read as a whole, by stepfile_read(), into steps whose texts may
 * still have ${VARIABLES} in them. What can be checked then is checked then: the
 * keys, the forms of values, regular expressions, probes, and that a variable
 * that is used is one that an earlier step saves. So a step that fails later is
 * about the lab.
 *
 * step_do() does one: it puts the variables in (vars.c), tries (step_run.c,
 * step_guest.c, step_http.c) and compares the outcome with what is expected
 * (expect.c), again and again if the step says so, until its deadline. All kinds
 * have one outcome: a status, two streams of output, headers. Output is kept up to
 * OUTPUT_MAX; what is beyond is counted.
 *
 * Nothing waits without asking struct step_control, which is where Ctrl-C arrives
 * and the terminal gets its line of progress.
 */
#ifndef CLI_STEP_H
#define CLI_STEP_H

#include "cli/object.h"
#include "cli/vars.h"
#include "lib/yaml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STEP_MAX_FILE (256 << 10)
#define STEP_MAX 500 /* in one file; a report that long nobody reads */
#define STEP_NAME_MAX 80
#define STEP_DEADLINE_S 60
#define STEP_MAX_DEADLINE_S 86400

enum { STEP_NEEDS = 1, STEP_USES = 2 };
enum step_kind { STEP_RUN, STEP_EXEC, STEP_HTTP, STEP_WAIT };

/**
 * struct step - one step, as written
 * @line:	of the file
 * @spec:	what to do, by kind:
 *		run: {"argv": [], "shell": bool}
 *		exec: {"on", "argv": [], "shell": bool}
 *		http: {"url", "method", "headers": {}}, and "on", "body" or "json" if given
 *		wait: {"on", "ready", "since"}
 * @expect, @forbid: what has to be so, and what must not, see expect.h; may be NULL
 * @save:	{"VAR": {}, or {"json": PATH}, {"header": NAME}, {"match": REGEX}}; may be NULL
 * @skip_if:	{"argv", "shell"} of a program that exits with 0 if there is nothing to
 *		do; may be NULL
 * @deadline_us: for all tries
 * @every_us:	between tries; 0: there is one
 * @always:	runs after a failure too
 * @needs:	for each earlier step, whether this one needs it: STEP_NEEDS if it says so,
 *		STEP_USES if it uses a variable that it saves
 */
struct step {
	const char *name;
	unsigned int line;
	enum step_kind kind;
	json_t *spec, *expect, *forbid, *save, *skip_if;
	uint64_t deadline_us, every_us;
	bool always;
	unsigned char *needs;
};

/**
 * struct stepfile - a test file
 * @file:	its name as the user gave it
 * @lab:	that it names, or NULL
 * @vars:	{"NAME": "value"}
 * @given:	{"NAME": null}: variables that the lab is to give
 */
struct stepfile {
	const char *file, *lab;
	struct ydoc *doc;
	json_t *vars, *given;
	struct step *steps;
	size_t n;
};

/**
 * stepfile_read() - Read and check a test file
 * @file:	its name; kept
 * @ret_problems: as ydoc_finish()
 *
 * Return: 0, -EINVAL with all problems, or -ENOMEM; then @ret is empty
 */
int stepfile_read(const char *text, size_t len, const char *file, struct stepfile *ret,
		  json_t **ret_problems, struct lab_err *err);

/** stepfile_free() - Free what it holds, also if it is empty */
void stepfile_free(struct stepfile *f);

/** step_kind_name() - "run", "exec", "http", "wait" */
const char *step_kind_name(enum step_kind kind);

#define OUTPUT_MAX (1U << 20)

/**
 * struct output - what a program or server has written
 * @text:	malloced, NUL-terminated; NULL if nothing
 * @len:	bytes that are kept
 * @lost:	bytes that are not
 */
struct output {
	char *text;
	size_t len;
	uint64_t lost;
};

/** output_add() - Keep more of it, as far as there is room */
void output_add(struct output *o, const void *data, size_t len);

/**
 * struct outcome - of one try
 * @status:	exit status (128 + N for signal N), or that of HTTP; -1: there was none
 * @out, @err:	standard output or body, standard error
 * @headers:	{"lower-case": "value"} of an HTTP reply
 * @what:	what was done, for people: the command, the request
 */
struct outcome {
	int status;
	struct output out, err;
	json_t *headers;
	char *what;
};

void outcome_done(struct outcome *o);

/** step_words() - The program of a spec, for people; malloced, NULL without memory */
char *step_words(const json_t *spec);

/**
 * struct step_control - whether to go on, and the line on the terminal
 * @stops:	how many Ctrl-C end what is done now
 * @tick:	asked at least once a second; may be NULL
 */
struct step_control {
	int stops;
	void (*tick)(void *arg);
	void *arg;
};

/** step_watch_signals() - Count SIGINT and SIGTERM from now on */
void step_watch_signals(void);
/** step_signals() - How many came; *ret_last the last one's number */
int step_signals(int *ret_last);
/** step_stopped() - Whether to end what is done now; also a tick */
bool step_stopped(const struct step_control *c);

/**
 * struct try - one try of a step
 * @spec:	of the step, with the variables put in
 * @lab:	of the test
 * @vars:	for the environment of programs
 * @deadline:	num_now_us() time
 */
struct
try {
	struct cli *cli;
	const json_t *spec;
	const char *lab;
	const struct vars *vars;
	uint64_t deadline;
	const struct step_control *control;
};

/**
 * step_instance() - The instance that a try is about: its "on"
 * Return: 0, or -EINVAL if it is none, or of no lab
 */
int step_instance(const struct try *t, struct object *ret, struct lab_err *err);

/*
 * The kinds. Return 0 with an outcome, also if a program failed; -ETIMEDOUT,
 * -ECANCELED, or why there is no outcome, with words.
 */
int try_run(const struct try *t, struct outcome *o, struct lab_err *err);
int try_exec(const struct try *t, struct outcome *o, struct lab_err *err);
int try_http(const struct try *t, struct outcome *o, struct lab_err *err);
int try_wait(const struct try *t, struct outcome *o, struct lab_err *err);

/**
 * struct step_result - how a step went
 * @tries:	how many there were
 * @outcome:	of the last
 * @seconds:	that it took
 * @skipped:	there was nothing to do
 */
struct step_result {
	unsigned int tries;
	struct outcome outcome;
	double seconds;
	bool skipped;
};

/**
 * step_do() - Do a step, and save its variables
 * @vars:	what is known; changed
 *
 * Return: 0 if all is as expected, else negative errno with words
 */
int step_do(struct cli *cli, const struct step *step, const char *lab, struct vars *vars,
	    const struct step_control *control, struct step_result *ret, struct lab_err *err);

#endif
