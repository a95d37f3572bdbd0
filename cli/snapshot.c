// SPDX-License-Identifier: GPL-2.0-or-later
/* snapshot.c - labctl snapshot: points in time of a lab */
#define _GNU_SOURCE
#include "cli/snapshot.h"
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/ls.h"
#include "cli/object.h"
#include "cli/repair.h"

#include "lib/util.h"

#include <string.h>

/* "[LAB] NAME" or "LAB/NAME" */
static int take_snapshot_name(struct cli *cli, int n, char **args, struct object *ret)
{
	struct object name;
	int r;

	if (n == 1)
		return object_in_lab(cli, args[0], ret);
	r = object_lab(cli, args[0], ret);
	if (!r)
		r = object_parse(args[1], &name, &cli->err);
	if (!r && *name.lab)
		r = lab_fail(&cli->err, -EINVAL, "'%s' cannot be the name of a snapshot: use %s",
			     args[1], NAME_RULE);
	if (r < 0)
		return r;
	snprintf(ret->name, sizeof(ret->name), "%s", name.name);
	return 0;
}

struct options {
	bool detach, yes, force;
	json_t *instances;
	struct repair_options repair;
};

static int create(struct cli *cli, const struct object *o, const struct options *opt)
{
	char path[CLIENT_PATH];
	json_t *body = json_pack("{s:s, s:b}", "name", o->name, "force", opt->force);
	uint64_t id = 0;
	int r;

	if (json_array_size(opt->instances))
		json_object_set(body, "instances", opt->instances);
	r = cli_job(cli, "POST", client_path(path, "/v1/labs/%s/snapshots", o->lab), body, &id);
	return cli_job_end(cli, r, id, opt->detach);
}

static int destroy(struct cli *cli, const struct object *o, const struct options *opt)
{
	char path[CLIENT_PATH];
	uint64_t id = 0;
	int r;

	if (!opt->yes && !ask("Destroy snapshot %s of lab %s?", o->name, o->lab))
		return CLI_FAILED;
	client_path(path, "/v1/labs/%s/snapshots/%s", o->lab, o->name);
	r = cli_job(cli, "DELETE", path, NULL, &id);
	return cli_job_end(cli, r, id, opt->detach);
}

static int restore(struct cli *cli, const struct object *o, const struct options *opt)
{
	char path[CLIENT_PATH];
	uint64_t id = 0;
	int r;

	client_path(path, "/v1/labs/%s/snapshots/%s/restore", o->lab, o->name);
	r = cli_job(cli, "POST", path, repair_body(&opt->repair, json_object()), &id);
	return cli_job_end(cli, r, id, opt->detach);
}

static int show(struct cli *cli, const struct object *o, const struct options *opt)
{
	(void)opt;
	return snapshot_show(cli, o);
}

/* "LAB FROM TO", "LAB TO", "LAB/TO" or "TO": all but TO may be left out */
static int diff(struct cli *cli, int n, char **args)
{
	struct object to, from = { 0 };
	char *names[] = { args[0], args[n - 1], NULL };
	int r = n == 1 ? take_snapshot_name(cli, 1, args, &to)
		       : take_snapshot_name(cli, 2, names, &to);

	if (!r && n == 3)
		r = object_parse(args[1], &from, &cli->err);
	return r < 0 ? cli_end(cli, r) : snapshot_diff(cli, &to, n == 3 ? from.name : NULL);
}

static int run_verb(struct cli *cli, const char *verb, int n, char **args,
		    const struct options *opt)
{
	static const struct {
		const char *name;
		int (*run)(struct cli *cli, const struct object *o, const struct options *opt);
	} verbs[] = {
		{ "create", create }, { "rm", destroy }, { "restore", restore }, { "show", show }
	};

	if (!strcmp(verb, "ls"))
		return cli_nargs(cli, n, 0, 1) ? ls_snapshots(cli, n ? args[0] : NULL) : CLI_USAGE;
	if (!strcmp(verb, "diff"))
		return cli_nargs(cli, n, 1, 3) ? diff(cli, n, args) : CLI_USAGE;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		struct object o;
		int r;

		if (strcmp(verb, verbs[i].name) != 0)
			continue;
		if (!cli_nargs(cli, n, 1, 2))
			return CLI_USAGE;
		r = take_snapshot_name(cli, n, args, &o);
		return r < 0 ? cli_end(cli, r) : verbs[i].run(cli, &o, opt);
	}
	return cli_usage(cli, "unknown word '%s'; known are create, ls, show, diff, restore and rm",
			 verb);
}

static int run_snapshot(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "instance", required_argument, NULL, 'i' },
						 { "detach", no_argument, NULL, 'd' },
						 { "yes", no_argument, NULL, 'y' },
						 { "force", no_argument, NULL, 'f' },
						 REPAIR_LONG,
						 CLI_LONG };
	autojson json_t *instances = json_array();
	struct options opt = { .instances = instances };
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "i:dyf", options)) != -1) {
		if (c == '?')
			return cli->exit;
		if (c == 'i')
			json_array_append_new(instances, json_string(optarg));
		opt.detach = opt.detach || c == 'd';
		opt.yes = opt.yes || c == 'y';
		opt.force = opt.force || c == 'f';
		repair_option(&opt.repair, c);
	}
	if (!cli_nargs(cli, argc - optind, 1, 4))
		return CLI_USAGE;
	return run_verb(cli, argv[optind], argc - optind - 1, argv + optind + 1, &opt);
}

const struct command cmd_snapshot = {
	.name = "snapshot",
	.args = "create|ls|show|diff|restore|rm [LAB] [FROM] NAME",
	.summary = "Make, list, compare, destroy and go back to points in time of a lab",
	.details = "A snapshot has the disks of its instances, and of those that run memory and "
		   "devices, all\n"
		   "of one instant. diff compares with FROM, or with the snapshot it was made "
		   "after.\n\n"
		   "  -i, --instance NAME  create: of this instance only; may be repeated\n"
		   "  -f, --force      create: even if an instance runs guests of its own on AMD's "
		   "KVM\n"
		   "  -y, --yes        rm: do not ask\n" REPAIR_HELP
		   "  -d, --detach     do not wait\n\n"
		   "Example:\n  labctl snapshot create demo clean\n",
	.run = run_snapshot,
};
