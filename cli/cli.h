/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cli.h - labctl as its subcommands see it
 *
 * A subcommand is one struct command, in a file named after it, listed in
 * labctl.c. Its run function reads options with cli_getopt(), talks to labd
 * through cli_call() and its relatives, and returns an exit code. Helpers
 * return 0 or a negative errno with the words in cli->err; cli_end() turns
 * that into a message and an exit code, once.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "lib/client.h"
#include "lib/err.h"
#include "lib/paths.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes; exec passes on the code of its command instead */
enum { CLI_OK, CLI_FAILED, CLI_USAGE, CLI_UNREACHABLE };

#define CLI_TIMEOUT_MS 10000 /* for one answer of labd, and for its start */

struct cli;

/**
 * struct command - one subcommand
 * @name:	as typed
 * @args:	what follows it, for the usage line
 * @summary:	one line
 * @details:	options, remarks and an example; lines ending in a newline
 * @run:	gets its own name as argv[0]; returns an exit code
 */
struct command {
	const char *name, *args, *summary, *details;
	int (*run)(struct cli *cli, int argc, char **argv);
};

/**
 * struct cli - one run of labctl
 * @socket:	of labd
 * @may_start:	whether labd is started if nobody answers there
 * @json, @quiet: -j, -q
 * @client:	made when first used
 * @ready:	labd has answered once
 * @unreachable: the failure in @err is that labd cannot be reached
 * @labs:	all labs, fetched by cli_labs() once
 * @problems:	of the file that labd refused, to be printed instead of @err
 * @file:	its name as the user gave it; borrowed
 * @exit:	what a subcommand returns when cli_getopt() gives '?'
 */
struct cli {
	struct paths paths;
	const char *socket;
	bool may_start, json, quiet;
	const struct command *command;
	struct client *client;
	bool ready, unreachable;
	json_t *labs, *problems;
	const char *file;
	int exit;
	struct lab_err err;
};

/** cli_commands() - All subcommands, NULL at the end */
const struct command *const *cli_commands(void);

/* Options that every subcommand takes; put them into its tables */
enum { CLI_OPT_SOCKET = 256, CLI_OPT_NO_START, CLI_OPT_OWN };
#define CLI_SHORT "jqh"
#define CLI_LONG                                                                                   \
	{ "json", no_argument, NULL, 'j' }, { "quiet", no_argument, NULL, 'q' },                   \
		{ "help", no_argument, NULL, 'h' },                                                \
		{ "socket", required_argument, NULL, CLI_OPT_SOCKET },                             \
		{ "no-start", no_argument, NULL, CLI_OPT_NO_START },                               \
	{                                                                                          \
		NULL, 0, NULL, 0                                                                   \
	}

/**
 * cli_getopt() - getopt_long() that deals with the options of CLI_LONG
 *
 * Return: the subcommand's own option, -1 after the last, '?' when the
 * subcommand is to return cli->exit (help was printed, or a wrong option)
 */
int cli_getopt(struct cli *cli, int argc, char **argv, const char *shorts,
	       const struct option *longs);

/** cli_plain() - cli_getopt() for subcommands without options of their own */
int cli_plain(struct cli *cli, int argc, char **argv);

/** cli_usage() - Say what is wrong with the command line; CLI_USAGE */
int cli_usage(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** cli_nargs() - Check the number of arguments left; false after cli_usage() */
bool cli_nargs(struct cli *cli, int n, int min, int max);

/**
 * cli_end() - Turn a result into a message and an exit code
 * @r:		0, or negative errno with cli->err set
 */
int cli_end(struct cli *cli, int r);

/** cli_print_json() - Print a JSON document for -j; 0 */
int cli_print_json(const json_t *doc);

/** cli_print_line() - Print JSON as one line of a stream, and flush it; 0 */
int cli_print_line(const json_t *doc);

/*
 * conn.c - reaching labd
 */

/**
 * cli_ready() - Make sure that labd answers; start it if that is allowed
 * Return: 0 or negative errno; cli->unreachable tells why
 */
int cli_ready(struct cli *cli);

/**
 * cli_call() - client_call(), with labd started on demand
 * @body:	reference is taken
 * @ret:	new reference; may be NULL
 */
int cli_call(struct cli *cli, const char *method, const char *path, json_t *body, json_t **ret);

/**
 * cli_job() - A call that starts a job
 * @ret_id:	the job's number, 0 if there was nothing to do
 */
int cli_job(struct cli *cli, const char *method, const char *path, json_t *body, uint64_t *ret_id);

/** cli_labs() - All labs (array, borrowed from @cli); fetched once */
int cli_labs(struct cli *cli, json_t **ret);

/**
 * cli_program() - Where one of our programs is: LABD_EXEC, else beside labctl
 * @buf:	IO_PATH bytes
 *
 * Return: @buf
 */
const char *cli_program(const struct cli *cli, const char *name, char *buf);

/** cli_second() - Another client for calls during a stream; NULL without memory */
struct client *cli_second(struct cli *cli);

/*
 * follow.c - waiting for jobs
 */

/**
 * cli_follow() - Show jobs until they have ended
 * @ids:	their numbers; 0 are skipped
 *
 * Return: exit code; failures are printed, and with -j the jobs as they ended
 */
int cli_follow(struct cli *cli, const uint64_t *ids, size_t n);

/**
 * cli_job_end() - What a subcommand does with the job it started
 * @r:		result of cli_job()
 * @detach:	say the job's number and do not wait
 *
 * Return: exit code
 */
int cli_job_end(struct cli *cli, int r, uint64_t id, bool detach);

/*
 * status.c
 */

/** cli_status() - Print the status of a lab, or of all labs for NULL; exit code */
int cli_status(struct cli *cli, const char *lab);

#endif
