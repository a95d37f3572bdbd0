// SPDX-License-Identifier: GPL-2.0-or-later
/* image.c - labctl image: build, import, export, list, look at, lock and remove images */
#define _GNU_SOURCE
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/ls.h"
#include "cli/show.h"
#include "cli/source.h"
#include "cli/table.h"

#include "lib/util.h"

#include <limits.h>
#include <string.h>

struct options {
	bool force, lock, consume, detach, yes, lab;
	const char *format;
};

static int image_path(struct cli *cli, char path[CLIENT_PATH], const char *fmt, const char *name)
{
	if (!name_valid(name))
		return lab_fail(&cli->err, -EINVAL, "'%s' cannot be the name of an image: use %s",
				name, NAME_RULE);
	client_path(path, fmt, name);
	return 0;
}

/* The file's name without its directory and its ending */
static int base_name(struct cli *cli, const char *path, char ret[NAME_MAX_LEN + 1])
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');
	size_t len = dot && dot != base ? (size_t)(dot - base) : strlen(base);
	char name[NAME_MAX_LEN + 1] = "";

	if (len <= NAME_MAX_LEN)
		snprintf(name, sizeof(name), "%.*s", (int)len, base);
	if (!name_valid(name))
		return lab_fail(&cli->err, -EINVAL,
				"no image can be named after %s: give a NAME of %s", path,
				NAME_RULE);
	snprintf(ret, NAME_MAX_LEN + 1, "%s", name);
	return 0;
}

static int build(struct cli *cli, char **args, int n, const struct options *opt)
{
	char name[NAME_MAX_LEN + 1];
	struct source source = { 0 };
	json_t *body = json_pack("{s:b, s:b}", "lock", opt->lock, "force", opt->force);
	bool file = object_is_file(args[0]);
	uint64_t id = 0;
	int r = 0;

	(void)n;
	if (file) {
		r = source_file(cli, args[0], &source);
		if (!r)
			r = base_name(cli, args[0], name);
		if (!r && (json_object_set_new(body, "recipe", json_string(source.text)) < 0 ||
			   json_object_set_new(body, "file", json_string(source.file)) < 0))
			r = lab_fail(&cli->err, -EINVAL, "%s is not UTF-8 text", args[0]);
		free(source.text);
	} else if (!name_valid(args[0])) {
		r = lab_fail(&cli->err, -EINVAL, "'%s' cannot be the name of a recipe: use %s",
			     args[0], NAME_RULE);
	}
	if (r < 0) {
		json_decref(body);
		return cli_end(cli, r);
	}
	json_object_set_new(body, "build", json_string(file ? name : args[0]));
	r = cli_job(cli, "POST", "/v1/images", body, &id);
	return cli_job_end(cli, r, id, opt->detach);
}

static int import(struct cli *cli, char **args, int n, const struct options *opt)
{
	autofree char *real = realpath(args[0], NULL);
	char name[NAME_MAX_LEN + 1] = "";
	uint64_t id = 0;
	json_t *body;
	int r = 0;

	if (!real)
		return cli_end(cli, lab_fail_errno(&cli->err, -errno, "%s", args[0]));
	if (n == 1)
		r = base_name(cli, args[0], name);
	else if (!name_valid(args[1]))
		r = lab_fail(&cli->err, -EINVAL, "'%s' cannot be the name of an image: use %s",
			     args[1], NAME_RULE);
	if (r < 0)
		return cli_end(cli, r);
	body = json_pack("{s:s, s:s, s:s, s:b}", "import", real, "name", n == 1 ? name : args[1],
			 "format", opt->format ? opt->format : "", "consume", opt->consume);
	if (!body)
		return cli_end(cli, lab_fail(&cli->err, -EINVAL, "%s is not UTF-8", args[0]));
	r = cli_job(cli, "POST", "/v1/images", body, &id);
	return cli_job_end(cli, r, id, opt->detach);
}

static int export(struct cli *cli, char **args, int n, const struct options *opt)
{
	char path[CLIENT_PATH], file[IO_PATH];
	const char *dot = strrchr(args[1], '.');
	const char *format = opt->format;
	uint64_t id = 0;
	int r = image_path(cli, path, "/v1/images/%s/export", args[0]);

	(void)n;
	if (!r)
		r = source_new_file(cli, args[1], file);
	if (!format)
		format = dot && (!strcmp(dot, ".raw") || !strcmp(dot, ".img")) ? "raw" : "qcow2";
	if (!r)
		r = cli_job(cli, "POST", path,
			    json_pack("{s:s, s:s}", "path", file, "format", format), &id);
	return cli_job_end(cli, r, id, opt->detach);
}

static int destroy(struct cli *cli, char **args, int n, const struct options *opt)
{
	int code = CLI_OK;

	for (int i = 0; i < n; i++) {
		char path[CLIENT_PATH];
		int r = image_path(cli, path, "/v1/images/%s", args[i]);

		if (!r && !opt->yes && !ask("Destroy image %s?", args[i]))
			return CLI_FAILED;
		if (!r)
			r = cli_call(cli, "DELETE", path, NULL, NULL);
		code = r < 0 ? cli_end(cli, r) : code;
	}
	return code;
}

static int lock_one(struct cli *cli, const char *name, const struct options *opt)
{
	char path[CLIENT_PATH];
	uint64_t id = 0;
	int r = image_path(cli, path, "/v1/images/%s/lock", name);

	if (!r)
		r = cli_job(cli, "POST", path, json_object(), &id);
	return cli_job_end(cli, r, id, opt->detach);
}

/* The images of a lab's instances, each once */
static int lock_lab(struct cli *cli, const char *lab, const struct options *opt)
{
	autojson json_t *instances = NULL, *done = json_object();
	char path[CLIENT_PATH];
	const json_t *in;
	size_t i;
	int r = image_path(cli, path, "/v1/labs/%s/instances", lab), code = CLI_OK;

	if (!r)
		r = cli_call(cli, "GET", path, NULL, &instances);
	if (r < 0)
		return cli_end(cli, r);
	json_array_foreach(instances, i, in) {
		const char *image = cell_string(in, "image");

		if (code || !*image || json_object_get(done, image))
			continue;
		json_object_set_new(done, image, json_true());
		code = lock_one(cli, image, opt);
	}
	return code;
}

static int lock(struct cli *cli, char **args, int n, const struct options *opt)
{
	(void)n;
	return opt->lab ? lock_lab(cli, args[0], opt) : lock_one(cli, args[0], opt);
}

static int show(struct cli *cli, char **args, int n, const struct options *opt)
{
	autojson json_t *image = NULL;
	char path[CLIENT_PATH];
	int r = image_path(cli, path, "/v1/images/%s", args[0]);

	(void)n;
	(void)opt;
	if (!r)
		r = cli_call(cli, "GET", path, NULL, &image);
	if (r < 0)
		return cli_end(cli, r);
	if (cli->json)
		cli_print_json(image);
	else
		show_value("", image);
	return CLI_OK;
}

static int manifest(struct cli *cli, char **args, int n, const struct options *opt)
{
	autojson json_t *doc = NULL;
	char path[CLIENT_PATH];
	int r = image_path(cli, path, "/v1/images/%s/manifest", args[0]);

	(void)n;
	(void)opt;
	if (!r)
		r = cli_call(cli, "GET", path, NULL, &doc);
	return r < 0 ? cli_end(cli, r) : cli_print_json(doc);
}

static bool put_text(void *arg, const void *data, size_t len)
{
	(void)arg;
	return fwrite(data, 1, len, stdout) == len;
}

static int build_log(struct cli *cli, char **args, int n, const struct options *opt)
{
	char path[CLIENT_PATH];
	int r = image_path(cli, path, "/v1/images/%s/log", args[0]);

	(void)n;
	(void)opt;
	if (!r)
		r = cli_ready(cli);
	if (!r)
		r = client_stream(cli->client, "GET", path, NULL, put_text, NULL, NULL, &cli->err);
	return cli_end(cli, r);
}

static int list(struct cli *cli, char **args, int n, const struct options *opt)
{
	(void)args;
	(void)n;
	(void)opt;
	return ls_images(cli);
}

static const struct {
	const char *name;
	int min, max;
	int (*run)(struct cli *cli, char **args, int n, const struct options *opt);
} verbs[] = {
	{ "build", 1, 1, build }, { "import", 1, 2, import },	  { "export", 2, 2, export },
	{ "ls", 0, 0, list },	  { "rm", 1, 100, destroy },	  { "lock", 1, 1, lock },
	{ "show", 1, 1, show },	  { "manifest", 1, 1, manifest }, { "log", 1, 1, build_log },
};

static int run_verb(struct cli *cli, int argc, char **argv, const struct options *opt)
{
	const char *names[ARRAY_SIZE(verbs) + 1] = { NULL }, *near;
	int n = argc - optind - 1;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		names[i] = verbs[i].name;
		if (strcmp(argv[optind], verbs[i].name) != 0)
			continue;
		if (!cli_nargs(cli, n, verbs[i].min, verbs[i].max))
			return CLI_USAGE;
		return verbs[i].run(cli, argv + optind + 1, n, opt);
	}
	near = name_nearest(argv[optind], names);
	if (near)
		return cli_usage(cli, "unknown word '%s'; did you mean '%s'?", argv[optind], near);
	return cli_usage(cli, "unknown word '%s'", argv[optind]);
}

static int run_image(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, 'f' },   { "lock", no_argument, NULL, 'l' },
		{ "consume", no_argument, NULL, 'c' }, { "format", required_argument, NULL, 'F' },
		{ "detach", no_argument, NULL, 'd' },  { "lab", no_argument, NULL, 'L' },
		{ "yes", no_argument, NULL, 'y' },     CLI_LONG
	};
	struct options opt = { 0 };
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT "flLcF:dy", options)) != -1) {
		if (c == '?')
			return cli->exit;
		opt.force = opt.force || c == 'f';
		opt.lock = opt.lock || c == 'l';
		opt.consume = opt.consume || c == 'c';
		opt.detach = opt.detach || c == 'd';
		opt.yes = opt.yes || c == 'y';
		opt.lab = opt.lab || c == 'L';
		if (c == 'F')
			opt.format = optarg;
	}
	if (!cli_nargs(cli, argc - optind, 1, 101))
		return CLI_USAGE;
	if (opt.lab && strcmp(argv[optind], "lock") != 0)
		return cli_usage(cli, "--lab goes with lock alone");
	return run_verb(cli, argc, argv, &opt);
}

const struct command cmd_image = {
	.name = "image",
	.args = "build|import|export|ls|rm|lock|show|manifest|log [ARGUMENT]...",
	.summary = "Build, import, export, list, look at, lock and remove images",
	.details = "  build RECIPE|FILE  of a shipped recipe, or of a recipe in a file\n"
		   "  import FILE [NAME] take a qcow2 or raw disk in, after looking at its header\n"
		   "  export NAME FILE   write the disk to a new file\n"
		   "  lock NAME          keep its exact packages, to build it again without a "
		   "network\n"
		   "  ls, rm NAME..., show NAME, manifest NAME, log NAME\n\n"
		   "  -f, --force        build: although it is there already\n"
		   "  -l, --lock         build: and lock\n"
		   "  -L, --lab          lock: NAME is a lab, and all its images are meant\n"
		   "  -F, --format F     import, export: qcow2 or raw (default: by the file's "
		   "ending)\n"
		   "  -c, --consume      import: remove the file when done\n"
		   "  -d, --detach       do not wait\n"
		   "  -y, --yes          rm: do not ask\n\n"
		   "Example:\n  labctl image import ./debian-13.qcow2\n",
	.run = run_image,
};
