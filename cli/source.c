// SPDX-License-Identifier: GPL-2.0-or-later
/* source.c - what up and plan are about: a known lab, or a lab file */
#define _GNU_SOURCE
#include "cli/source.h"

#include "cli/table.h"

#include "lib/util.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* The file's absolute path and its text, or standard input's for "-" */
static int read_source(const char *path, struct source *ret, size_t *ret_len)
{
	autofree char *real = NULL;

	if (!strcmp(path, "-")) {
		io_path(ret->file, "-");
		return io_read_fd(STDIN_FILENO, SOURCE_MAX_FILE, &ret->text, ret_len);
	}
	real = realpath(path, NULL);
	if (!real)
		return -errno;
	if (!*io_path(ret->file, "%s", real))
		return -ENAMETOOLONG;
	return io_read_file(AT_FDCWD, real, SOURCE_MAX_FILE, &ret->text, ret_len);
}

int source_file(struct cli *cli, const char *path, struct source *ret)
{
	size_t len = 0;
	int r = read_source(path, ret, &len);

	if (r == -EFBIG)
		return lab_fail(&cli->err, r, "%s is longer than %u KiB", path,
				SOURCE_MAX_FILE >> 10);
	if (r < 0)
		return lab_fail_errno(&cli->err, r, "%s", path);
	if (strlen(ret->text) != len)
		return lab_fail(&cli->err, -EINVAL, "%s is not text: it has a NUL byte", path);
	/* Names from outside go to people as they were typed */
	cli->file = path;
	return 0;
}

/* A lab that ships with labd; -ENOENT if there is none */
static int shipped(struct cli *cli, const char *name, struct source *ret)
{
	static char path[IO_PATH]; /* cli->file keeps it */

	io_path(path, "%s/labs/%s.yaml", cli->paths.data, name);
	if (access(path, F_OK) < 0)
		return lab_fail(
			&cli->err, -ENOENT,
			"there is no lab '%s', and none of that name is shipped; a lab file "
			"is given as a path: ./%s.yaml",
			name, name);
	return source_file(cli, path, ret);
}

int source_find(struct cli *cli, const char *arg, struct source *ret)
{
	struct object o;
	int r;

	*ret = (struct source){ 0 };
	if (!arg && !access("lab.yaml", F_OK))
		arg = "./lab.yaml";
	if (arg && object_is_file(arg))
		return source_file(cli, arg, ret);
	r = object_lab(cli, arg, &o);
	if (r < 0)
		return r;
	r = arg ? object_lab_exists(cli, arg) : 1;
	if (r < 0)
		return r;
	if (!r)
		return shipped(cli, arg, ret);
	snprintf(ret->lab, sizeof(ret->lab), "%s", o.lab);
	return 0;
}

int source_of_lab(struct cli *cli, struct source *source)
{
	static char file[IO_PATH]; /* cli->file keeps it */
	json_t *labs, *lab;
	size_t i;
	int r = cli_labs(cli, &labs);

	if (r < 0)
		return r;
	json_array_foreach(labs, i, lab) {
		if (!strcmp(cell_string(lab, "name"), source->lab))
			io_path(file, "%s", cell_string(lab, "file"));
	}
	r = *file ? source_file(cli, file, source)
		  : lab_fail(&cli->err, -ENOENT, "it was not made from a file");
	return lab_wrap(&cli->err, r, "the lab file of %s", source->lab);
}

int source_new_file(struct cli *cli, const char *path, char ret[IO_PATH])
{
	const char *slash = strrchr(path, '/');
	autofree char *parent = slash ? strndup(path, MAX(slash - path, 1)) : strdup(".");
	autofree char *dir = parent ? realpath(parent, NULL) : NULL;

	if (!dir)
		return lab_fail_errno(&cli->err, -errno, "%s", path);
	io_path(ret, "%s/%s", strcmp(dir, "/") ? dir : "", slash ? slash + 1 : path);
	if (!*ret)
		return lab_fail_errno(&cli->err, -ENAMETOOLONG, "%s", path);
	if (!access(ret, F_OK))
		return lab_fail(&cli->err, -EEXIST, "%s exists already", path);
	return 0;
}
