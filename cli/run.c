// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * run.c - labctl run, labctl openstack: programs of the host in a lab's network
 *
 * DOC: Theory of Operation
 *
 * The program is the host's, with the host's files, but for two things: the network is that of
 * the lab's keeper, and /etc/resolv.conf asks the lab's resolver, so that the lab's
 * names are known. For the second it gets a mount namespace of its own. A lab of an
 * ordinary user is in a user namespace of that user, which is entered first; there
 * the user is root, over the lab's network and nothing else.
 */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/env.h"
#include "cli/table.h"

#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* @proc: the keeper's directory in /proc, so that all are of the same process */
static int enter(struct cli *cli, int proc, const char *kind, int type)
{
	autoclose int fd = openat(proc, kind, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return lab_fail_errno(&cli->err, -errno, "the lab's keeper: %s", kind);
	if (setns(fd, type) < 0)
		return lab_fail_errno(&cli->err, -errno, "entering the lab's network");
	return 0;
}

/* The lab's resolver in place of the host's; what it is put over stays as it was outside */
static int use_resolver(struct cli *cli, const json_t *answer)
{
	char text[256], path[] = "/tmp/resolv.conf.XXXXXX";
	autoclose int fd = -EBADF;
	int n = snprintf(text, sizeof(text), "nameserver %.64s\nsearch %.100s\n",
			 cell_string(answer, "resolver"), cell_string(answer, "domain"));

	if (!*cell_string(answer, "resolver"))
		return 0;
	fd = mkostemp(path, O_CLOEXEC);
	n = fd < 0 ? -errno : io_write_all(fd, text, (size_t)n);
	if (!n && (fchmod(fd, 0644) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		   mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) < 0))
		n = -errno;
	/* the mount keeps it until the program ends */
	if (fd >= 0)
		unlink(path);
	return n < 0 ? lab_fail_errno(&cli->err, n, "the lab's resolver") : 0;
}

static int enter_lab(struct cli *cli, const struct object *o, const json_t *answer)
{
	autojson json_t *lab = NULL;
	char path[CLIENT_PATH], dir[64];
	autoclose int proc = -EBADF;
	long long keeper;
	int r = cli_call(cli, "GET", client_path(path, "/v1/labs/%s", o->lab), NULL, &lab);

	if (r < 0)
		return r;
	keeper = (long long)json_integer_value(json_object_get(lab, "keeper"));
	if (!keeper)
		return lab_fail(&cli->err, -ENODATA, "lab %s is down: labctl up %s", o->lab,
				o->lab);
	snprintf(dir, sizeof(dir), "/proc/%lld", keeper);
	proc = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return lab_fail_errno(&cli->err, -errno, "the lab's keeper: %s", dir);
	if (geteuid())
		r = enter(cli, proc, "ns/user", CLONE_NEWUSER);
	if (!r && unshare(CLONE_NEWNS) < 0)
		r = lab_fail_errno(&cli->err, -errno, "a mount namespace");
	if (!r)
		r = enter(cli, proc, "ns/net", CLONE_NEWNET);
	return r < 0 ? r : use_resolver(cli, answer);
}

static int run_in(struct cli *cli, const struct object *o, char **argv)
{
	autojson json_t *answer = NULL;
	const json_t *line;
	size_t i;
	int r = env_get(cli, o, true, &answer);

	if (!r)
		r = enter_lab(cli, o, answer);
	if (r < 0)
		return cli_end(cli, r);
	json_array_foreach(json_object_get(answer, "env"), i, line)
		putenv((char *)json_string_value(line));
	execvp(argv[0], argv);
	r = -errno;
	if (r == -ENOENT && !strcmp(argv[0], "openstack"))
		lab_fail(&cli->err, r,
			 "there is no openstack client here: "
			 "apt-get install python3-openstackclient");
	else
		lab_fail_errno(&cli->err, r, "%s", argv[0]);
	return cli_end(cli, r);
}

/* [LAB] in front of the words of a program; the word after is returned in *ret */
static int take_lab(struct cli *cli, char **args, struct object *o, char ***ret)
{
	int r = *args ? object_lab_exists(cli, *args) : 0;

	if (r < 0)
		return r;
	*ret = args + r;
	return object_lab(cli, r ? *args : NULL, o);
}

/* The lab, and the words after it: -1, or the exit code */
static int take_words(struct cli *cli, int argc, char **argv, struct object *o, char ***ret)
{
	static const struct option options[] = { CLI_LONG };
	int r;

	/* "+": options after the first word are those of the command */
	if (cli_getopt(cli, argc, argv, "+" CLI_SHORT, options) != -1)
		return cli->exit;
	r = take_lab(cli, argv + optind, o, ret);
	return r < 0 ? cli_end(cli, r) : -1;
}

static int run_run(struct cli *cli, int argc, char **argv)
{
	struct object o;
	char **words;
	int code = take_words(cli, argc, argv, &o, &words);

	if (code >= 0)
		return code;
	if (*words && !strcmp(*words, "--"))
		words++;
	return *words ? run_in(cli, &o, words) : cli_usage(cli, "which command?");
}

const struct command cmd_run = {
	.name = "run",
	.args = "[LAB] [--] COMMAND [ARGUMENT...]",
	.summary = "Run a command of this machine in a lab's network",
	.details = "It sees this machine's files, but the lab's network and names, and has the "
		   "environment that the\n"
		   "lab's services give. Its exit code is that of the command.\n\n"
		   "Example:\n  labctl run core -- curl http://identity:5000/v3/\n",
	.run = run_run,
};

static int run_openstack(struct cli *cli, int argc, char **argv)
{
	struct object o;
	char **words;
	int code = take_words(cli, argc, argv, &o, &words);

	if (code >= 0)
		return code;
	/* the word before the client's own is ours to take: an option or the lab */
	*--words = "openstack";
	return run_in(cli, &o, words);
}

const struct command cmd_openstack = {
	.name = "openstack",
	.args = "[LAB] [ARGUMENT...]",
	.summary = "Run the openstack client as the admin of a lab",
	.details = "As 'labctl run LAB -- openstack ...'. The client is Debian's "
		   "python3-openstackclient.\n\n"
		   "Example:\n  labctl openstack core server list\n",
	.run = run_openstack,
};
