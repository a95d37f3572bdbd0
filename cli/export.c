// SPDX-License-Identifier: GPL-2.0-or-later
/* export.c - labctl export, import: a whole lab in one file */
#define _GNU_SOURCE
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/object.h"
#include "cli/source.h"

#include "lib/num.h"
#include "lib/util.h"

#include <limits.h>
#include <string.h>

static int run_export(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "with-ram", no_argument, NULL, 'r' },
						 { "from", required_argument, NULL, 'f' },
						 { "detach", no_argument, NULL, 'd' },
						 CLI_LONG };
	char path[CLIENT_PATH], file[IO_PATH];
	bool detach = false, ram = false;
	const char *from = NULL;
	struct object o;
	uint64_t id = 0;
	int c, r, n;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "rf:d", options)) != -1) {
		if (c == '?')
			return cli->exit;
		ram = ram || c == 'r';
		detach = detach || c == 'd';
		from = c == 'f' ? optarg : from;
	}
	n = argc - optind;
	if (!cli_nargs(cli, n, 1, 2))
		return CLI_USAGE;
	r = source_new_file(cli, argv[argc - 1], file);
	if (!r)
		r = object_lab(cli, n == 2 ? argv[optind] : NULL, &o);
	if (r < 0)
		return cli_end(cli, r);
	r = cli_job(cli, "POST", client_path(path, "/v1/labs/%s/export", o.lab),
		    json_pack("{s:s, s:b, s:s*}", "path", file, "ram", ram, "from", from), &id);
	return cli_job_end(cli, r, id, detach);
}

/* ---- import ---------------------------------------------------------------------- */

struct options {
	bool disks, yes, detach, check;
};

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* What is in the file, and what would come of it */
static void print_found(const json_t *found, bool disks)
{
	const json_t *images = json_object_get(found, "images"), *im;
	const char *memory = text(found, "memory");
	char size[NUM_TEXT];
	size_t i;

	printf("%s: %s of lab %s, %zu instances, %s on the disk\n", text(found, "lab"),
	       text(found, "snapshot"), text(found, "was"),
	       json_array_size(json_object_get(found, "instances")),
	       num_size_text(size, (uint64_t)json_integer_value(json_object_get(found, "data"))));
	json_array_foreach(images, i, im) {
		printf("image %s: %s\n", text(im, "name"),
		       json_is_true(json_object_get(im, "here")) ? "is here already" : "is added");
	}
	if (!strcmp(memory, "none"))
		puts("memory: none in the file; up boots");
	else if (disks)
		puts("memory: left out; up boots");
	else if (!strcmp(memory, "yes"))
		puts("memory: can be used here; up goes on where the lab was");
	else
		printf("memory: cannot be used here, up boots: %s\n", text(found, "reason"));
	fflush(stdout);
}

static json_t *body(const char *real, const char *name, bool ram, bool check)
{
	return json_pack("{s:s, s:s, s:b, s:b}", "import", real, "name", name ? name : "", "ram",
			 ram, "check", check);
}

/* Say what is in the file; false if the user wants no more of it */
static int look(struct cli *cli, const char *real, const char *name, const struct options *opt,
		bool *ret_go)
{
	autojson json_t *found = NULL;
	int r = cli_call(cli, "POST", "/v1/labs", body(real, name, !opt->disks, true), &found);

	*ret_go = false;
	if (r < 0)
		return r;
	if (opt->check && cli->json)
		return cli_print_json(found);
	if (!cli->json && !cli->quiet)
		print_found(found, opt->disks);
	*ret_go = !opt->check && (opt->yes || opt->disks || strcmp(text(found, "memory"), "no") ||
				  ask("Import the disks only?"));
	return 0;
}

static int import(struct cli *cli, const char *file, const char *name, const struct options *opt)
{
	autofree char *real = realpath(file, NULL);
	uint64_t id = 0;
	bool go = false;
	int r = 0;

	if (!real)
		r = lab_fail_errno(&cli->err, -errno, "%s", file);
	else if (name && !name_valid(name))
		r = lab_fail(&cli->err, -EINVAL, "'%s' cannot be the name of a lab: use %s", name,
			     NAME_RULE);
	if (!r)
		r = look(cli, real, name, opt, &go);
	if (r < 0)
		return cli_end(cli, r);
	if (!go)
		return opt->check ? CLI_OK : CLI_FAILED;
	r = cli_job(cli, "POST", "/v1/labs", body(real, name, !opt->disks, false), &id);
	return cli_job_end(cli, r, id, opt->detach);
}

static int run_import(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "disks", no_argument, NULL, 'D' },
						 { "check", no_argument, NULL, 'c' },
						 { "yes", no_argument, NULL, 'y' },
						 { "detach", no_argument, NULL, 'd' },
						 CLI_LONG };
	struct options opt = { 0 };
	int c, n;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "Dcyd", options)) != -1) {
		if (c == '?')
			return cli->exit;
		opt.disks = opt.disks || c == 'D';
		opt.check = opt.check || c == 'c';
		opt.yes = opt.yes || c == 'y';
		opt.detach = opt.detach || c == 'd';
	}
	n = argc - optind;
	if (!cli_nargs(cli, n, 1, 2))
		return CLI_USAGE;
	return import(cli, argv[optind], n == 2 ? argv[optind + 1] : NULL, &opt);
}

const struct command cmd_export = {
	.name = "export",
	.args = "[LAB] FILE [--with-ram] [--from SNAPSHOT] [--detach]",
	.summary =
		"Write a lab to one file: its lab file, images and disks, and its memory if asked",
	.details =
		"Of the golden of the lab; without one, of its disks as they are if nothing of it "
		"runs, else of\n"
		"its newest snapshot. The file is for labctl import, on this machine or "
		"another.\n\n"
		"  -r, --with-ram       also the memory: up goes on where the lab was\n"
		"  -f, --from SNAPSHOT  of this one\n"
		"  -d, --detach         do not wait\n\n"
		"Example:\n  labctl export demo --with-ram demo.lab\n",
	.run = run_export,
};

const struct command cmd_import = {
	.name = "import",
	.args = "FILE [NAME] [--disks] [--check] [--yes] [--detach]",
	.summary = "Make a lab of a file that labctl export has written",
	.details = "Says first what is in the file, and whether its memory can be used here: that "
		   "needs the same\n"
		   "QEMU, accelerator and processor. The lab is down then: labctl up NAME.\n\n"
		   "  -D, --disks   leave the memory out\n"
		   "  -c, --check   say what is in the file, and no more\n"
		   "  -y, --yes     do not ask whether the disks are enough\n"
		   "  -d, --detach  do not wait\n\n"
		   "Example:\n  labctl import demo.lab demo2\n",
	.run = run_import,
};
