// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * edit.c - labctl edit: a file of a running guest in the editor
 *
 * The editor works on a copy in a directory of mode 0700 here. What it left is
 * staged beside the guest's file, and takes its place by rename(2) if that still has the
 * content that was fetched. Whatever goes wrong after the editor, the copy stays
 * here, and its name is told.
 */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/inguest.h"

#include "lib/digest.h"
#include "lib/io.h"
#include "lib/text.h"
#include "lib/util.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CHANGED 3 /* exit code of finish_script */

/* $1 the file: prints "old" or "new", and what it is called where links end */
static const char find_script[] =
	"[ ! -d \"$1\" ] || { echo \"$1 is a directory\" >&2; exit 1; }\n"
	"p=$(readlink -f -- \"$1\" && echo x) || { echo \"$1: no such directory\" >&2; exit 1; }\n"
	"p=${p%?x}\n"
	"[ -d \"${p%/*}/\" ] || { echo \"${p%/*}: no such directory\" >&2; exit 1; }\n"
	"if [ ! -e \"$p\" ]; then printf 'new%s' \"$p\"\n"
	"elif [ -f \"$p\" ]; then printf 'old%s' \"$p\"\n"
	"else echo \"$1 is no regular file\" >&2; exit 1; fi\n";

static const char stage_script[] =
	"e=$(mkdir -m 700 -- \"$1\" 2>&1) || { echo \"${1%/*}: ${e##*: }\" >&2; exit 1; }\n";

/* $1 the file, $2 what is to take its place, $3 its digest as it was fetched, or "new" */
static const char finish_script[] = "if [ \"$3\" = new ]; then\n"
				    "	[ ! -e \"$1\" ] || exit 3\n"
				    "	chmod 644 \"$2\" || exit 1\n"
				    "else\n"
				    "	sum=$(sha256sum <\"$1\") || exit 3\n"
				    "	[ \"${sum%% *}\" = \"$3\" ] || exit 3\n"
				    "	chown \"$(stat -c %u:%g -- \"$1\")\" \"$2\" || exit 1\n"
				    "	chmod \"$(stat -c %a -- \"$1\")\" \"$2\" || exit 1\n"
				    "fi\n"
				    "mv -f -- \"$2\" \"$1\"\n";

static const char editor_command[] = "e=${VISUAL:-${EDITOR:-$(command -v editor || echo vi)}}\n"
				     "eval \"$e \\\"\\$1\\\"\"";

/**
 * struct edit
 * @path:	in the guest, where links end; malloced
 * @exists:	in the guest
 * @dir, @copy:	the copy here, and the directory it is alone in
 * @digest:	of what was fetched, or "new"
 */
struct edit {
	struct inguest guest;
	struct meter meter;
	char *path;
	bool exists;
	char dir[PATH_MAX], copy[PATH_MAX];
	char digest[DIGEST_HEX];
};

static int find_file(struct edit *e, const char *path)
{
	const char *args[] = { path, NULL };
	struct script s = { .text = find_script, .args = args };
	int r = inguest_script(&e->guest, &s);

	if (!r && (s.out_len < 5 || strlen(s.out) != s.out_len || s.out[3] != '/'))
		r = lab_fail(&e->guest.cli->err, -EPROTO, "the guest's answer makes no sense");
	if (!r) {
		e->exists = !strncmp(s.out, "old", 3);
		e->path = strdup(s.out + 3);
	}
	free(s.out);
	return r || e->path ? r : lab_fail(&e->guest.cli->err, -ENOMEM, "out of memory");
}

static int make_copy(struct edit *e)
{
	const char *tmp = getenv("TMPDIR"), *name = strrchr(e->path, '/') + 1;
	struct lab_err *err = &e->guest.cli->err;
	autoclose int fd = -EBADF;
	int r;

	io_path(e->dir, "%s/labctl-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(e->dir)) {
		r = lab_fail_errno(err, -errno, "%s", e->dir);
		e->dir[0] = '\0';
		return r;
	}
	io_path(e->copy, "%s/%s", e->dir, name);
	fd = open(e->copy, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", e->copy);
	snprintf(e->digest, sizeof(e->digest), "new");
	if (!e->exists)
		return 0;
	e->meter.name = e->path;
	r = inguest_get(&e->guest, e->path, fd, &e->meter);
	meter_end(&e->meter);
	return r < 0 ? r : digest_fd(fd, e->digest, err);
}

/* The terminal's Ctrl-C is the editor's then */
static int run_editor(struct edit *e)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, was_int, was_quit;
	int status = 0;
	pid_t pid;

	sigaction(SIGINT, &ignore, &was_int);
	sigaction(SIGQUIT, &ignore, &was_quit);
	pid = fork();
	if (!pid) {
		signal(SIGINT, SIG_DFL);
		signal(SIGQUIT, SIG_DFL);
		execlp("sh", "sh", "-c", editor_command, "sh", e->copy, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		(void)RETRY(waitpid(pid, &status, 0));
	sigaction(SIGINT, &was_int, NULL);
	sigaction(SIGQUIT, &was_quit, NULL);
	if (pid < 0)
		return lab_fail_errno(&e->guest.cli->err, -errno, "starting the editor");
	return status ? lab_fail(&e->guest.cli->err, -ECANCELED,
				 "the editor failed: the guest's file is as it was")
		      : 0;
}

/* 1 if the editor has left something else than it was given */
static int has_changed(struct edit *e, int *ret_fd)
{
	autoclose int fd = open(e->copy, O_RDONLY | O_CLOEXEC);
	char digest[DIGEST_HEX];
	struct stat st;
	int r;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return lab_fail_errno(&e->guest.cli->err, -errno, "%s", e->copy);
	r = digest_fd(fd, digest, &e->guest.cli->err);
	if (r < 0)
		return r;
	if (e->exists ? !strcmp(digest, e->digest) : !st.st_size)
		return 0;
	*ret_fd = steal_fd(&fd);
	return 1;
}

static int finish(struct edit *e, const char *staged)
{
	const char *args[] = { e->path, staged, e->digest, NULL };
	struct script s = { .text = finish_script, .args = args };
	int r = inguest_run(&e->guest, &s);

	free(s.out);
	if (!r && s.code == CHANGED)
		r = lab_fail(&e->guest.cli->err, -EBUSY, "%s has changed in the guest meanwhile",
			     e->path);
	else if (!r && s.code)
		r = lab_fail(&e->guest.cli->err, -EIO, "%s: %s", e->path, s.words);
	return r;
}

static int write_back(struct edit *e, int fd)
{
	char stage[PATH_MAX], staged[PATH_MAX + 4], random[17];
	const char *args[] = { stage, NULL };
	struct script s = { .text = stage_script, .args = args };
	int r;

	snprintf(stage, sizeof(stage), "%.*s/.labctl-%s", (int)(strrchr(e->path, '/') - e->path),
		 e->path, inguest_random(random));
	snprintf(staged, sizeof(staged), "%s/0", stage);
	r = inguest_script(&e->guest, &s);
	free(s.out);
	if (r < 0)
		return r;
	meter_begin(&e->meter, e->guest.cli->quiet);
	e->meter.name = e->path;
	r = inguest_put(&e->guest, staged, fd, &e->meter);
	meter_end(&e->meter);
	if (!r)
		r = finish(e, staged);
	inguest_clean_up(&e->guest, stage);
	return r;
}

static int edit_copy(struct edit *e)
{
	struct lab_err *err = &e->guest.cli->err;
	autoclose int fd = -EBADF;
	int r = run_editor(e), changed;

	if (r < 0)
		return r;
	changed = has_changed(e, &fd);
	r = changed > 0 ? write_back(e, fd) : changed;
	if (!changed && !e->guest.cli->quiet)
		fprintf(stderr, "%s: not changed\n", e->path);
	if (r < 0) {
		lab_wrap(err, r, "the guest's file is as it was");
		fprintf(stderr, "labctl: what you wrote is in %s\n", e->copy);
		e->dir[0] = '\0';
	}
	return r;
}

static int edit_file(struct cli *cli, const struct object *o, const char *path)
{
	struct edit e = { .path = NULL };
	int r = inguest_open(&e.guest, cli, o);

	meter_begin(&e.meter, cli->quiet);
	if (!r)
		r = find_file(&e, path);
	if (!r)
		r = make_copy(&e);
	if (!r)
		r = edit_copy(&e);
	if (*e.dir)
		(void)io_remove_tree(AT_FDCWD, e.dir);
	inguest_close(&e.guest);
	free(e.path);
	return r;
}

static int run_edit(struct cli *cli, int argc, char **argv)
{
	char name[2 * NAME_MAX_LEN + 2];
	const char *path;
	struct object o;
	int r;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 1, 1))
		return CLI_USAGE;
	r = inguest_parse(cli, argv[optind], &o, &path);
	if (!r)
		return cli_usage(cli, "'%s' is not [LAB/]INSTANCE:/PATH", argv[optind]);
	snprintf(name, sizeof(name), "%s%s%s", o.lab, *o.lab ? "/" : "", o.name);
	if (r > 0)
		r = object_in_lab(cli, name, &o);
	return cli_end(cli, r < 0 ? r : edit_file(cli, &o, path));
}

const struct command cmd_edit = {
	.name = "edit",
	.args = "[LAB/]INSTANCE:/PATH",
	.summary = "Edit a file of a running guest",
	.details =
		"$VISUAL, $EDITOR, editor or vi gets a copy. If it was changed, it takes the "
		"place\n"
		"of the guest's file as a whole, with the same owner and permissions; not if that\n"
		"has changed meanwhile, and then the copy stays.\n\n"
		"Example:\n  labctl edit demo/identity:/etc/keystone/keystone.conf\n",
	.run = run_edit,
};
