// SPDX-License-Identifier: GPL-2.0-or-later
/* cp.c - labctl cp: files into a running guest and out of it */
#define _GNU_SOURCE
#include "cli/cp.h"

#include "cli/commands.h"
#include "lib/util.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

void cp_failed(struct copy *c)
{
	struct cli *cli = c->guest.cli;

	meter_end(&c->meter);
	fprintf(stderr, "labctl: %s\n", cli->err.text);
	cli->err.code = 0;
	c->failed = true;
}

int cp_base(struct copy *c, const char *path, char ret[NAME_MAX + 1])
{
	size_t end = strlen(path), begin;

	while (end && path[end - 1] == '/')
		end--;
	for (begin = end; begin && path[begin - 1] != '/'; begin--)
		;
	if (end - begin > NAME_MAX)
		return lab_fail_errno(&c->guest.cli->err, -ENAMETOOLONG, "%s", path);
	snprintf(ret, NAME_MAX + 1, "%.*s", (int)(end - begin), path + begin);
	if (!strcmp(ret, ".."))
		return lab_fail(&c->guest.cli->err, -EINVAL, "%s has no name of its own", path);
	if (!strcmp(ret, "."))
		ret[0] = '\0';
	return 0;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static int out_all(struct copy *c, char **args, int n)
{
	const char *dest = args[n - 1];
	bool dir = strcmp(dest, "-") != 0 && is_directory(dest);

	if (!dir && (n > 2 || dest[strlen(dest) - 1] == '/'))
		return lab_fail(&c->guest.cli->err, -ENOTDIR, "%s is not a directory", dest);
	for (int i = 0; i < n - 1; i++) {
		int r = cp_out(c, strchr(args[i], ':') + 1, dest, dir);

		if (r == -ECANCELED || r == -ECONNRESET || r == -ETIMEDOUT)
			return r;
		if (r < 0)
			cp_failed(c);
	}
	return 0;
}

/* Which side is the guest's, and that it is one guest; sets *in */
static int find_sides(struct cli *cli, char **args, int n, struct object *o, bool *in)
{
	struct object other;
	const char *path;
	int r = inguest_parse(cli, args[n - 1], o, &path), guests = 0;

	if (r < 0)
		return r;
	*in = r > 0;
	for (int i = 0; i < n - 1; i++) {
		r = inguest_parse(cli, args[i], &other, &path);
		if (r < 0)
			return r;
		if (r && guests++ && strcmp(other.lab, o->lab) + strcmp(other.name, o->name))
			return lab_fail(&cli->err, -EINVAL, "the sources are in several guests");
		if (r && !*in)
			*o = other;
	}
	if (*in && guests)
		return lab_fail(&cli->err, -EINVAL,
				"one side must be here: copy out of the one guest, then into the "
				"other");
	if (!*in && guests < n - 1)
		return lab_fail(&cli->err, -EINVAL, "%s is no path in a guest (LAB/INSTANCE:/PATH)",
				guests ? "one of the sources" : "none of these");
	return 0;
}

static int copy_all(struct cli *cli, struct copy *c, char **args, int n)
{
	char name[2 * NAME_MAX_LEN + 2];
	struct object o;
	bool in;
	int r = find_sides(cli, args, n, &o, &in);

	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "%s%s%s", o.lab, *o.lab ? "/" : "", o.name);
	r = object_in_lab(cli, name, &o);
	if (!r)
		r = inguest_open(&c->guest, cli, &o);
	if (r < 0)
		return r;
	meter_begin(&c->meter, cli->quiet);
	r = in ? cp_in(c, args, (size_t)n - 1, strchr(args[n - 1], ':') + 1) : out_all(c, args, n);
	meter_end(&c->meter);
	inguest_close(&c->guest);
	return r;
}

static int run_cp(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "recursive", no_argument, NULL, 'r' },
						 CLI_LONG };
	struct copy c = { .guest.cli = cli };
	int code, opt;

	while ((opt = cli_getopt(cli, argc, argv, CLI_SHORT "r", options)) != -1) {
		if (opt == '?')
			return cli->exit;
		c.recursive = true;
	}
	if (!cli_nargs(cli, argc - optind, 2, INT_MAX))
		return CLI_USAGE;
	code = cli_end(cli, copy_all(cli, &c, argv + optind, argc - optind));
	return code ? code : c.failed ? CLI_FAILED : CLI_OK;
}

const struct command cmd_cp = {
	.name = "cp",
	.args = "[-r] FILE... [LAB/]INSTANCE:/PATH, or [-r] [LAB/]INSTANCE:/PATH... FILE",
	.summary = "Copy files into a running guest, or out of it",
	.details =
		"The guest's agent reads and writes them, so that it works without any network.\n"
		"Permissions are kept; out of a guest without setuid and setgid. A FILE \"-\" is\n"
		"standard input or output; one with a ':' in its name is given as ./NAME.\n\n"
		"  -r, --recursive  directories with all that is in them\n\n"
		"Example:\n  labctl cp -r demo/db:/var/log ./db-log\n",
	.run = run_cp,
};
