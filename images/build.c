// SPDX-License-Identifier: GPL-2.0-or-later
/* build.c - labd's side of a build: the plan, labbuild, and what it leaves */
#define _GNU_SOURCE
#include "images/recipe.h"

#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#define BUILD_DEADLINE_US (6 * 3600 * 1000000ULL)
#define BUILD_END_MS 10000

/**
 * struct listener - what labbuild says
 * @progress:	whom to tell
 * @pidfd:	the build's process 1
 * @code, @text: its error line
 */
struct listener {
	const struct image_progress *progress;
	int pidfd;
	int code;
	char text[LAB_ERR_TEXT];
};

static void heard(void *arg, const char *line)
{
	struct listener *l = arg;
	autojson json_t *msg = NULL;
	const json_t *error;

	if (jsonl_parse(line, strlen(line), &msg) < 0)
		return;
	if (json_object_get(msg, "pid") && l->pidfd < 0) {
		l->pidfd = pidfd_open((pid_t)json_integer_value(json_object_get(msg, "pid")), 0);
		return;
	}
	error = json_object_get(msg, "error");
	if (error) {
		l->code = lab_errno_value(recipe_str(error, "errno"));
		snprintf(l->text, sizeof(l->text), "%s", recipe_str(error, "message"));
		return;
	}
	if (l->progress && l->progress->report)
		l->progress->report(l->progress->arg, recipe_str(msg, "step"),
				    (uint64_t)json_integer_value(json_object_get(msg, "done")),
				    (uint64_t)json_integer_value(json_object_get(msg, "total")),
				    recipe_str(msg, "unit"));
}

/* labbuild may have been killed, and its processes are about to die of that */
static void wait_end(int pidfd)
{
	struct pollfd p = { pidfd, POLLIN, 0 };

	if (pidfd < 0)
		return;
	while (poll(&p, 1, BUILD_END_MS) < 0 && errno == EINTR)
		;
	close(pidfd);
}

int builder_run(const struct paths *paths, const json_t *plan, const char *plan_path,
		const struct image_progress *progress, struct lab_err *err)
{
	char program[IO_PATH];
	const char *argv[] = { io_path(program, "%s/labbuild", paths->exec), plan_path, NULL };
	struct listener l = { .progress = progress, .pidfd = -EBADF };
	struct run run = { .argv = argv,
			   .deadline = num_now_us() + BUILD_DEADLINE_US,
			   .cancel = progress ? progress->cancelled : NULL,
			   .cancel_arg = progress ? progress->arg : NULL,
			   .line = heard,
			   .line_arg = &l };
	autofree char *text = json_dumps(plan, JSON_COMPACT);
	int r;

	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = io_write_file(AT_FDCWD, plan_path, text, strlen(text), 0600);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", plan_path);
	r = run_program(&run, NULL, err);
	wait_end(l.pidfd);
	if (r < 0 && l.code)
		return lab_fail(err, l.code, "%s", l.text);
	return r;
}

static void keep_log(const struct paths *paths, const char *tmp, const char *name,
		     struct lab_err *err)
{
	char from[IO_PATH], to[IO_PATH];
	size_t n;

	if (io_mkdirs(io_path(to, "%s/log", paths->state), 0755) < 0)
		return;
	io_path(from, "%s/build.log", tmp);
	io_path(to, "%s/log/build-%s.log", paths->state, name);
	if (rename(from, to) < 0 || !err)
		return;
	n = strlen(err->text);
	snprintf(err->text + n, sizeof(err->text) - n, "\nthe whole log: %.300s", to);
}

int recipe_build(const struct paths *paths, const struct recipe *recipe, const char *dir,
		 const struct image_progress *progress, struct lab_err *err)
{
	autojson json_t *plan = NULL, *leftover = json_array();
	char tmp[IO_PATH], path[IO_PATH];
	int r = image_begin(dir, tmp, err);

	if (r < 0)
		return r;
	plan = json_pack("{ss ss sO sb}", "state", paths->state, "dir", tmp, "spec", recipe->spec,
			 "fresh", recipe->fresh);
	if (!plan || !leftover)
		r = lab_fail(err, -ENOMEM, "out of memory");
	if (!r)
		r = builder_run(paths, plan, io_path(path, "%s/plan.json", tmp), progress, err);
	if (!r)
		r = image_commit(tmp, dir, err);
	if (r < 0) {
		lab_wrap(err, r, "image %s", recipe->name);
		keep_log(paths, tmp, recipe->name, err);
		json_array_append_new(leftover, json_string(tmp));
		image_remove_trees(paths, leftover, NULL);
		image_sweep_layers(paths, NULL);
	}
	return r;
}
