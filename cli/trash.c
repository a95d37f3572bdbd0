// SPDX-License-Identifier: GPL-2.0-or-later
/* trash.c - labctl trash: what was destroyed and can be had again */
#define _GNU_SOURCE
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/object.h"
#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <inttypes.h>
#include <string.h>

#define MAX_ITEMS 1000

/* "lab demo", "instance demo/db": as it was called */
static const char *title(char buf[CELL_TEXT], const json_t *item)
{
	const char *lab = cell_string(item, "lab");

	snprintf(buf, CELL_TEXT, "%s%s%s", lab, *lab ? "/" : "", cell_string(item, "name"));
	return buf;
}

static int fetch(struct cli *cli, json_t **ret)
{
	return cli_call(cli, "GET", "/v1/trash", NULL, ret);
}

static int print_table(const json_t *items)
{
	static const char *const headings[] = { ">ID",	 "KIND",  "NAME", "DESTROYED",
						"UNTIL", ">SIZE", NULL };
	struct table *t = table_new(headings);
	const json_t *item;
	int r = t ? 0 : -ENOMEM;
	size_t i;

	json_array_foreach(items, i, item) {
		char id[CELL_TEXT], name[CELL_TEXT], since[CELL_TEXT], until[CELL_TEXT],
			size[CELL_TEXT];
		const char *cells[] = { cell_count(id, item, "id"),
					cell_string(item, "kind"),
					title(name, item),
					cell_time(since, item, "since"),
					cell_time(until, item, "expires"),
					cell_size(size, item, "size") };

		if (!r)
			r = table_row(t, cells);
	}
	if (r < 0) {
		table_free(t);
		return r;
	}
	return table_print(t);
}

static int run_ls(struct cli *cli)
{
	autojson json_t *items = NULL;
	const json_t *item;
	char name[CELL_TEXT];
	size_t i;
	int r = fetch(cli, &items);

	if (r < 0)
		return cli_end(cli, r);
	if (cli->json)
		return cli_print_json(items);
	if (!cli->quiet)
		return cli_end(cli, print_table(items));
	json_array_foreach(items, i, item)
		printf("%s\n", title(name, item));
	return CLI_OK;
}

/* What an argument means: a number, or a name that only one has */
static int find_item(struct cli *cli, const json_t *items, const char *arg, const json_t **ret)
{
	const json_t *item, *found = NULL;
	char name[CELL_TEXT], number[24];
	size_t i;

	json_array_foreach(items, i, item) {
		snprintf(number, sizeof(number), "%.0f", cell_number(item, "id"));
		if (!strcmp(number, arg)) {
			*ret = item;
			return 0;
		}
		if (strcmp(title(name, item), arg) != 0)
			continue;
		if (found)
			return lab_fail(&cli->err, -EINVAL,
					"the trash has several that were called %s: say which by "
					"its number (labctl trash ls)",
					arg);
		found = item;
	}
	*ret = found;
	return found ? 0
		     : lab_fail(&cli->err, -ENOENT, "the trash has no %s: labctl trash ls", arg);
}

static int restore(struct cli *cli, const char *arg, const char *name)
{
	autojson json_t *items = NULL, *answer = NULL;
	const json_t *item = NULL;
	char path[CLIENT_PATH], text[CELL_TEXT];
	int r = fetch(cli, &items);

	if (!r)
		r = find_item(cli, items, arg, &item);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/v1/trash/%.0f/restore", cell_number(item, "id"));
	r = cli_call(cli, "POST", path, json_pack("{s:s*}", "name", name), &answer);
	if (!r && cli->json)
		return cli_print_json(answer);
	if (!r && !cli->quiet)
		fprintf(stderr, "%s %s is back\n", cell_string(answer, "kind"),
			title(text, answer));
	return r;
}

static int remove_items(struct cli *cli, char **args, int n, bool yes)
{
	autojson json_t *items = NULL;
	uint64_t jobs[MAX_ITEMS];
	int r = fetch(cli, &items);

	if (!r && !yes && !ask("Remove %s%s for ever?", args[0], n > 1 ? " and others" : ""))
		return CLI_FAILED;
	for (int i = 0; i < n && !r; i++) {
		const json_t *item = NULL;
		char path[CLIENT_PATH];

		r = find_item(cli, items, args[i], &item);
		if (r < 0)
			break;
		snprintf(path, sizeof(path), "/v1/trash/%.0f", cell_number(item, "id"));
		r = cli_job(cli, "DELETE", path, NULL, &jobs[i]);
	}
	return r < 0 ? cli_end(cli, r) : cli_follow(cli, jobs, (size_t)n);
}

static int empty(struct cli *cli, bool yes)
{
	uint64_t id = 0;
	int r;

	if (!yes && !ask("Remove all that is in the trash for ever?"))
		return CLI_FAILED;
	r = cli_job(cli, "DELETE", "/v1/trash", NULL, &id);
	return cli_job_end(cli, r, id, false);
}

static int run_verb(struct cli *cli, int n, char **args, bool yes)
{
	const char *verb = args[0];

	if (!strcmp(verb, "ls"))
		return cli_nargs(cli, n, 1, 1) ? run_ls(cli) : CLI_USAGE;
	if (!strcmp(verb, "empty"))
		return cli_nargs(cli, n, 1, 1) ? empty(cli, yes) : CLI_USAGE;
	if (!strcmp(verb, "rm"))
		return cli_nargs(cli, n, 2, MAX_ITEMS) ? remove_items(cli, args + 1, n - 1, yes)
						       : CLI_USAGE;
	if (strcmp(verb, "restore") != 0)
		return cli_usage(cli, "unknown verb '%s'", verb);
	return cli_nargs(cli, n, 2, 3) ? cli_end(cli, restore(cli, args[1], n > 2 ? args[2] : NULL))
				       : CLI_USAGE;
}

static int run_trash(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "yes", no_argument, NULL, 'y' }, CLI_LONG };
	bool yes = false;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "y", options)) != -1) {
		if (c == '?')
			return cli->exit;
		yes = true;
	}
	if (!cli_nargs(cli, argc - optind, 1, 1000))
		return CLI_USAGE;
	return run_verb(cli, argc - optind, argv + optind, yes);
}

const struct command cmd_trash = {
	.name = "trash",
	.args = "ls | restore WHAT [NAME] | rm WHAT... [--yes] | empty [--yes]",
	.summary = "Restore what was destroyed",
	.details =
		"Labs, instances, snapshots and images that were destroyed stay in the trash for\n"
		"7 days, up to 20 GiB in all; see labd(8).\n\n"
		"  ls                   what is in it, and until when\n"
		"  restore WHAT [NAME]  have it again, under another NAME if its own is taken;\n"
		"                       WHAT: its number, or the name it had\n"
		"  rm WHAT...           remove it for ever\n"
		"  empty                remove all\n\n"
		"  -y, --yes            do not ask (labctl asks on a terminal only)\n\n"
		"Example:\n  labctl trash restore demo/db\n",
	.run = run_trash,
};
