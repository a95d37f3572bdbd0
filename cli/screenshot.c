// SPDX-License-Identifier: GPL-2.0-or-later
/* screenshot.c - labctl screenshot: what a guest's screen shows now */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/object.h"
#include "lib/base64.h"

#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>

static int save(struct cli *cli, const char *file, const unsigned char *bytes, size_t len)
{
	int r = strcmp(file, "-") != 0 ? io_write_file(AT_FDCWD, file, bytes, len, 0644)
				       : io_write_all(STDOUT_FILENO, bytes, len);

	return r < 0 ? lab_fail_errno(&cli->err, r, "%s", file) : 0;
}

static int shoot(struct cli *cli, const char *arg, const char *file)
{
	autofree unsigned char *bytes = NULL;
	autojson json_t *answer = NULL;
	const char *text = NULL;
	char path[CLIENT_PATH];
	struct object o;
	size_t len = 0;
	int r = object_in_lab(cli, arg, &o);

	if (!r)
		r = cli_call(cli, "GET",
			     client_path(path, "/v1/labs/%s/instances/%s/screen", o.lab, o.name),
			     NULL, &answer);
	if (r < 0)
		return r;
	if (json_unpack(answer, "{s:s}", "png", &text) < 0 || base64_bytes(text, &bytes, &len) < 0)
		return lab_fail(&cli->err, -EPROTO, "labd's answer has no picture");
	return save(cli, file, bytes, len);
}

static int run_screenshot(struct cli *cli, int argc, char **argv)
{
	const char *file;

	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 1, 2))
		return CLI_USAGE;
	file = argc - optind == 2 ? argv[optind + 1] : "-";
	if (!strcmp(file, "-") && isatty(STDOUT_FILENO))
		return cli_usage(cli, "a picture is no text: say where to");
	return cli_end(cli, shoot(cli, argv[optind], file));
}

const struct command cmd_screenshot = {
	.name = "screenshot",
	.args = "[LAB/]INSTANCE [FILE]",
	.summary = "Save what a guest's screen shows now",
	.details = "As a PNG picture, to FILE or standard output.\n\n"
		   "Example:\n  labctl screenshot demo/db db.png\n",
	.run = run_screenshot,
};
