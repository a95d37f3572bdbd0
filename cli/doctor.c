// SPDX-License-Identifier: GPL-2.0-or-later
/* doctor.c - labctl doctor: whether this machine can run labs; needs no daemon */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/table.h"

#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <string.h>

#define DOCTOR_US 60000000ULL /* it tries KVM and QEMU for real */

/* What labd --doctor found */
static int examine(struct cli *cli, json_t **ret)
{
	char path[IO_PATH];
	const char *argv[] = { cli_program(cli, "labd", path), "--doctor", NULL };
	struct run run = { .argv = argv, .deadline = num_now_us() + DOCTOR_US };
	autofree char *out = NULL;
	autojson json_t *found = NULL;
	int r = run_program(&run, &out, &cli->err);

	if (r < 0)
		return r;
	if (jsonl_parse(out, strlen(out), &found) < 0 || !json_is_array(found))
		return lab_fail(&cli->err, -EPROTO, "%s --doctor did not print its findings", path);
	*ret = steal_ptr(found);
	return 0;
}

static bool has_failed(const json_t *finding)
{
	return !strcmp(cell_string(finding, "state"), "fail");
}

/* Columns that the check's name and its state take */
static size_t columns_used(const json_t *found)
{
	size_t i, width = strlen("CHECK");
	json_t *f;

	json_array_foreach(found, i, f) {
		width = MAX(width, strlen(cell_string(f, "check")));
	}
	return width + strlen(" STATE ");
}

/* A finding, and below it what mends it */
static int add_finding(struct table *t, const json_t *f, size_t used)
{
	autofree char *text = NULL;
	const char *fix = cell_string(f, "fix"), *found = cell_string(f, "found");

	if (*fix ? asprintf(&text, "%s\nFix: %s", found, fix) < 0
		 : asprintf(&text, "%s", found) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	return table_row(t, (const char *[]){ cell_string(f, "check"), cell_string(f, "state"),
					      cell_fold(text, used) });
}

static int print_findings(const json_t *found)
{
	static const char *const headings[] = { "CHECK", "STATE", "+FOUND", NULL };
	struct table *t = table_new(headings);
	json_t *f;
	size_t i;

	if (!t)
		return -ENOMEM;
	json_array_foreach(found, i, f) {
		if (add_finding(t, f, columns_used(found)) < 0) {
			table_free(t);
			return -ENOMEM;
		}
	}
	return table_print(t);
}

static int run_doctor(struct cli *cli, int argc, char **argv)
{
	autojson json_t *found = NULL;
	int code = CLI_OK, r;
	json_t *f;
	size_t i;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 0, 0))
		return CLI_USAGE;
	r = examine(cli, &found);
	if (r < 0)
		return cli_end(cli, r);
	json_array_foreach(found, i, f) {
		if (cli->quiet && strcmp(cell_string(f, "state"), "ok") != 0)
			puts(cell_string(f, "check"));
		code = has_failed(f) ? CLI_FAILED : code;
	}
	if (cli->json) {
		cli_print_json(found);
	} else if (!cli->quiet) {
		if (print_findings(found) < 0)
			return cli_end(cli, lab_fail_errno(&cli->err, -ENOMEM, "table"));
	}
	return code;
}

const struct command cmd_doctor = {
	.name = "doctor",
	.args = "",
	.summary = "Check what labs need of this machine, and say how to mend it",
	.details =
		"Needs no labd. The exit code is 1 if something fails. With -q only the names of\n"
		"what is not ok are printed.\n\n"
		"Example:\n  labctl doctor\n",
	.run = run_doctor,
};
