// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * labbuild.c - builds one image, or removes what killed builds left
 *
 *	labbuild PLAN.json
 *
 * PLAN is {"state", "dir", "spec"} (see builder.h) or {"remove": [paths]};
 * written by labd, and of no use to a person.
 */
#define _GNU_SOURCE
#include "images/builder/builder.h"
#include "images/builder/sandbox.h"

#include "lib/jsonl.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define PLAN_MAX (32 << 20)
#define STEP_INTERVAL_US 100000

static void say(json_t *msg)
{
	if (msg)
		(void)jsonl_write(STDOUT_FILENO, msg, UINT64_MAX);
	json_decref(msg);
}

void builder_step(const char *step, uint64_t done, uint64_t total, const char *unit)
{
	static char last[64];
	static uint64_t when;
	uint64_t now = num_now_us();

	if (!strcmp(step, last) && done != total && now - when < STEP_INTERVAL_US)
		return;
	snprintf(last, sizeof(last), "%s", step);
	when = now;
	say(json_pack("{ss sI sI ss}", "step", step, "done", (json_int_t)done, "total",
		      (json_int_t)total, "unit", unit));
}

void builder_log(const struct builder *b, const char *fmt, ...)
{
	va_list ap;

	dprintf(b->log, "== %5.1f s: ", (double)(num_now_us() - b->started) / 1e6);
	va_start(ap, fmt);
	vdprintf(b->log, fmt, ap);
	va_end(ap);
	dprintf(b->log, "\n");
}

static int report(int r, const struct lab_err *err)
{
	if (r < 0)
		say(json_pack("{s{ss ss}}", "error", "errno", lab_errno_name(r), "message",
			      err->text));
	return r < 0;
}

static int build(struct builder *b, struct lab_err *err)
{
	struct layer *layer = NULL;
	char root[IO_PATH], sub[IO_PATH];
	int r;

	io_path(root, "%s/root", b->dir);
	r = io_mkdirs(io_path(sub, "%s/layers", b->state), 0755);
	if (r < 0 || chdir(sub) < 0)
		return lab_fail_errno(err, r < 0 ? r : -errno, "%s", sub);
	r = layer_get(b, b->spec, &layer, err);
	if (r < 0)
		return r;
	if (mkdir(root, 0755) < 0)
		r = lab_fail_errno(err, -errno, "%s", root);
	if (!r)
		r = root_overlay(root, layer->lowers, NULL, NULL, err);
	if (!r)
		r = disk_write(b, layer->info, root, err);
	umount2(root, MNT_DETACH);
	layer_put(layer);
	return r;
}

/* All that is in the directory when a build has ended well is the image */
static int tidy(const struct builder *b, struct lab_err *err)
{
	static const char *const scratch[] = { "root",	   "empty",	   "apt",
					       "apt.conf", "sources.list", "plan.json" };
	autoclose int dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return lab_fail_errno(err, -errno, "%s", b->dir);
	for (size_t i = 0; i < ARRAY_SIZE(scratch); i++) {
		int r = io_remove_tree(dir, scratch[i]);

		if (r < 0)
			return lab_fail_errno(err, r, "%s/%s", b->dir, scratch[i]);
	}
	return fsync(dir) < 0 ? lab_fail_errno(err, -errno, "%s", b->dir) : 0;
}

static int do_build(const json_t *plan, struct lab_err *err)
{
	struct builder b = { .state = recipe_str(plan, "state"),
			     .dir = recipe_str(plan, "dir"),
			     .spec = json_object_get(plan, "spec"),
			     .fresh = json_is_true(json_object_get(plan, "fresh")) };
	char path[IO_PATH];
	autoclose int log = open(io_path(path, "%s/build.log", b.dir),
				 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	int r;

	if (log < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (strpbrk(b.state, "\"\\\n;") || strpbrk(b.dir, "\"\\\n;"))
		return lab_fail(err, -EINVAL,
				"the state directory's path '%s' has a quote, backslash, semicolon "
				"or newline, which apt's configuration cannot carry",
				b.state);
	b.log = log;
	b.started = num_now_us();
	r = build(&b, err);
	if (r < 0)
		builder_log(&b, "failed: %s", err->text);
	if (!r)
		r = tidy(&b, err);
	return r;
}

static int do_remove(const json_t *paths, struct lab_err *err)
{
	size_t i;
	json_t *path;

	json_array_foreach(paths, i, path) {
		int r = io_remove_tree(AT_FDCWD, json_string_value(path));

		if (r < 0)
			return lab_fail_errno(err, r, "cannot remove %s", json_string_value(path));
	}
	return 0;
}

/* When this process has ended, so have all of the build */
static void started(pid_t pid)
{
	say(json_pack("{sI}", "pid", (json_int_t)pid));
}

static int work(void *arg)
{
	const json_t *plan = arg, *paths = json_object_get(plan, "remove");
	struct lab_err err = LAB_ERR_INIT;

	return report(paths ? do_remove(paths, &err) : do_build(plan, &err), &err);
}

int main(int argc, char **argv)
{
	struct sandbox box = { .work = work, .started = started, .failed = report };
	struct lab_err err = LAB_ERR_INIT;
	autofree char *text = NULL;
	autojson json_t *plan = NULL;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: labbuild PLAN.json (labd runs it)\n");
		return 2;
	}
	/* a directory of the caller's is not there in a root, nor writable for every id */
	unsetenv("TMPDIR");
	r = io_read_file(AT_FDCWD, argv[1], PLAN_MAX, &text, NULL);
	if (!r)
		plan = json_loads(text, 0, NULL);
	if (!plan)
		return report(lab_fail_errno(&err, r < 0 ? r : -EINVAL, "plan %s", argv[1]), &err);
	box.arg = plan;
	r = sandbox_run(&box, &err);
	return r < 0 ? report(r, &err) : r;
}
