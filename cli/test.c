// SPDX-License-Identifier: GPL-2.0-or-later
/* test.c - labctl test: the steps of test files, one after the other */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/source.h"
#include "cli/table.h"
#include "cli/testrun.h"

#include "lib/util.h"

#include <string.h>

/**
 * struct options - of the command
 * @lab:	as given, or ""
 * @only_lab:	the only one there is, when it was first asked for
 * @files:	read, all of them before anything is run
 */
struct options {
	struct testrun_options run;
	regex_t only;
	bool list;
	const char *out;
	char lab[NAME_MAX_LEN + 1], only_lab[NAME_MAX_LEN + 1];
	struct stepfile *files;
	size_t n;
};

static void options_done(struct options *opt)
{
	for (size_t i = 0; i < opt->n; i++)
		stepfile_free(&opt->files[i]);
	free(opt->files);
	if (opt->run.only)
		regfree(&opt->only);
}

static int take_only(struct cli *cli, struct options *opt, const char *text)
{
	char words[128];
	int r;

	if (opt->run.only)
		return cli_usage(cli, "--only is given twice");
	r = regcomp(&opt->only, text, REG_EXTENDED | REG_NOSUB);
	if (r) {
		regerror(r, &opt->only, words, sizeof(words));
		return cli_usage(cli, "--only '%s': %s", text, words);
	}
	opt->run.only = &opt->only;
	return 0;
}

/* Returns -1, or the exit code */
static int take_options(struct cli *cli, int argc, char **argv, struct options *opt)
{
	static const struct option options[] = {
		{ "from", required_argument, NULL, 'f' }, { "only", required_argument, NULL, 'o' },
		{ "keep-going", no_argument, NULL, 'k' }, { "list", no_argument, NULL, 'l' },
		{ "out", required_argument, NULL, 'O' },  CLI_LONG
	};
	int c, code;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "f:o:klO:", options)) != -1) {
		switch (c) {
		case 'f':
			opt->run.from = optarg;
			break;
		case 'o':
			code = take_only(cli, opt, optarg);
			if (code)
				return code;
			break;
		case 'k':
			opt->run.keep_going = true;
			break;
		case 'l':
			opt->list = true;
			break;
		case 'O':
			opt->out = optarg;
			break;
		default:
			return cli->exit;
		}
	}
	return -1;
}

/* Problems of all files are told before anything is done; a file that is wrong is usage */
static int read_files(struct cli *cli, char **names, size_t n, struct options *opt)
{
	int code = CLI_OK;

	opt->files = calloc(n, sizeof(*opt->files));
	if (!opt->files)
		return cli_end(cli, lab_fail_errno(&cli->err, -ENOMEM, "test files"));
	for (; opt->n < n; opt->n++) {
		struct source source = { 0 };
		int r = source_file(cli, names[opt->n], &source);

		if (!r)
			r = stepfile_read(source.text, strlen(source.text), names[opt->n],
					  &opt->files[opt->n], &cli->problems, &cli->err);
		free(source.text);
		if (r < 0) {
			cli_end(cli, r);
			code = CLI_USAGE;
		}
		json_decref(cli->problems);
		cli->problems = NULL;
	}
	return code;
}

/* The only lab there is; "" if there is none or another */
static int only_lab(struct cli *cli, char ret[NAME_MAX_LEN + 1])
{
	json_t *labs;
	int r = cli_labs(cli, &labs);

	if (r < 0)
		return r;
	if (json_array_size(labs) == 1)
		snprintf(ret, NAME_MAX_LEN + 1, "%s", cell_string(json_array_get(labs, 0), "name"));
	return 0;
}

/* The lab of a file: the command line's, its own, the only one */
static int find_lab(struct cli *cli, struct options *opt, const struct stepfile *f)
{
	const char *lab = *opt->lab ? opt->lab : f->lab;
	int r = lab || *opt->only_lab ? cli_ready(cli) : only_lab(cli, opt->only_lab);

	opt->run.lab = lab ? lab : opt->only_lab;
	return r;
}

static int run_file(struct cli *cli, struct options *opt, size_t i, const struct keep *keep,
		    struct tap *tap, struct testrun_count *sum)
{
	const struct stepfile *f = &opt->files[i];
	struct testrun_count count;
	struct tap inner = *tap;
	struct keep below = *keep;
	bool several = opt->n > 1, shown = !cli->json && !cli->quiet;
	int r = find_lab(cli, opt, f), sig;

	/* not even what cleans up is done for a file that was not begun */
	if (several && step_signals(&sig)) {
		if (shown)
			tap_point(tap, true, f->file, "interrupted");
		return 0;
	}
	if (!r && several)
		r = keep_below(keep, i + 1, f->file, &below, &cli->err);
	if (r < 0)
		return r;
	if (several && shown)
		tap_subtest(tap, f->file, &inner);
	r = testrun_file(cli, f, &opt->run, &below, &inner, &count);
	if (r < 0)
		return r;
	if (several && shown)
		tap_point(tap, !count.failed, f->file, NULL);
	sum->passed += count.passed;
	sum->failed += count.failed;
	sum->skipped += count.skipped;
	return 0;
}

static int exit_code(const struct testrun_count *sum)
{
	int sig, signals = step_signals(&sig);

	return signals ? 128 + sig : sum->failed ? CLI_FAILED : CLI_OK;
}

/* The end of the report; what is kept of a good run goes, unless it was asked for */
static int finish(struct cli *cli, const struct options *opt, const struct keep *keep,
		  struct tap *tap, const struct testrun_count *sum)
{
	int code = exit_code(sum);
	bool stays = opt->out || code;

	if (!cli->json && !cli->quiet) {
		tap_comment(tap, "%zu passed, %zu failed, %zu skipped", sum->passed, sum->failed,
			    sum->skipped);
		if (stays)
			tap_comment(tap, "logs: %s", keep->dir);
	}
	if (!stays)
		keep_drop(keep);
	return code;
}

static int run_files(struct cli *cli, struct options *opt)
{
	bool shown = !cli->json && !cli->quiet;
	struct testrun_count sum = { 0 };
	struct tap tap = { 0 };
	struct keep keep;
	int r = cli_ready(cli);

	if (!r)
		r = keep_open(&keep, opt->out, &cli->err);
	if (r < 0)
		return cli_end(cli, r);
	step_watch_signals();
	if (shown)
		tap_begin(&tap);
	if (shown && opt->n > 1)
		tap_plan(&tap, opt->n);
	for (size_t i = 0; !r && i < opt->n; i++)
		r = run_file(cli, opt, i, &keep, &tap, &sum);
	if (!r)
		return finish(cli, opt, &keep, &tap, &sum);
	keep_drop(&keep);
	return cli_end(cli, r);
}

/* Whether the step of --from is there: if not, the command line is wrong */
static bool has_from(const struct options *opt)
{
	const struct stepfile *f = opt->files;

	if (!opt->run.from)
		return true;
	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->steps[i].name, opt->run.from))
			return true;
	fprintf(stderr, "labctl test: %s has no step '%s'; --list shows them\n", f->file,
		opt->run.from);
	return false;
}

static int list_files(struct cli *cli, const struct options *opt)
{
	int r = 0;

	if (!has_from(opt))
		return CLI_USAGE;
	for (size_t i = 0; !r && i < opt->n; i++)
		r = testrun_list(cli, &opt->files[i], &opt->run);
	return cli_end(cli, r);
}

static int test(struct cli *cli, int argc, char **argv, struct options *opt)
{
	int code = take_options(cli, argc, argv, opt);

	if (code >= 0)
		return code;
	if (optind < argc && !object_is_file(argv[optind])) {
		if (!name_valid(argv[optind]))
			return cli_usage(cli, "'%s' cannot be the name of a lab: " NAME_RULE,
					 argv[optind]);
		snprintf(opt->lab, sizeof(opt->lab), "%s", argv[optind++]);
	}
	if (optind == argc)
		return cli_usage(cli, "a test file is missing: a path with a '/' or '.yaml'");
	if (opt->run.from && argc - optind > 1)
		return cli_usage(cli, "--from is for one file");
	code = read_files(cli, argv + optind, (size_t)(argc - optind), opt);
	if (code)
		return code;
	if (opt->list)
		return list_files(cli, opt);
	return has_from(opt) ? run_files(cli, opt) : CLI_USAGE;
}

static int run_test(struct cli *cli, int argc, char **argv)
{
	struct options opt __attribute__((cleanup(options_done))) = { 0 };

	return test(cli, argc, argv, &opt);
}

const struct command cmd_test = {
	.name = "test",
	.args = "[LAB] FILE... [OPTION]...",
	.summary = "Run the steps of test files against a lab",
	.details =
		"Each step is a command on the host or in a guest, an HTTP request, or a wait, "
		"and\n"
		"becomes one point of a report in TAP: see labtest.yaml(5). The lab is LAB, the\n"
		"one that the file names, or the only one. Ctrl-C ends the step that runs, and\n"
		"runs those that clean up. The exit code is 0 if all passed, 1 if some failed, 2\n"
		"if nothing was run because a file or the command line is wrong.\n\n"
		"  -f, --from STEP    leave out the steps before STEP; with --out of an earlier "
		"run,\n"
		"                     the variables that it saved are known\n"
		"  -o, --only REGEX   only steps whose names match, and those that these need\n"
		"                     or that clean up after them\n"
		"  -k, --keep-going   go on after a step has failed\n"
		"  -l, --list         print the steps and do nothing\n"
		"  -O, --out DIR      keep the logs of all steps in DIR; without it, they are "
		"kept\n"
		"                     in a new directory if a step fails\n\n"
		"Example:\n  labctl test demo ./identity-test.yaml\n",
	.run = run_test,
};
