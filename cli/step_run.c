// SPDX-License-Identifier: GPL-2.0-or-later
/* step_run.c - a step that runs a program on the host */
#define _GNU_SOURCE
#include "cli/step.h"

#include "lib/io.h"
#include "lib/run.h"
#include "lib/util.h"

#include <string.h>
#include <sys/wait.h>

#define GRACE_US 5000000 /* between SIGTERM and SIGKILL */

static void on_output(void *arg, int stream, const void *data, size_t len)
{
	struct outcome *o = arg;

	output_add(stream == 2 ? &o->err : &o->out, data, len);
}

static bool on_cancel(void *arg)
{
	const struct try *t = arg;

	return step_stopped(t->control);
}

/* Where labctl itself is, so that steps call the one of the same build */
static const char *own_dir(char buf[IO_PATH])
{
	ssize_t n = readlink("/proc/self/exe", buf, IO_PATH - 1);
	char *slash;

	buf[MAX(n, 0)] = '\0';
	slash = strrchr(buf, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	return buf;
}

int try_run(const struct try *t, struct outcome *o, struct lab_err *err)
{
	const json_t *words = json_object_get(t->spec, "argv");
	size_t n = json_array_size(words);
	autofree const char **argv = calloc(n + 1, sizeof(*argv));
	char path[IO_PATH];
	char **env
		__attribute__((cleanup(vars_environ_free))) = vars_environ(t->vars, own_dir(path));
	int status = 0, r;
	struct run run = {
		.argv = argv,
		.env = (const char *const *)env,
		.deadline = t->deadline,
		.cancel = on_cancel,
		.cancel_arg = (void *)t,
		.output = on_output,
		.output_arg = o,
		.ret_status = &status,
		.grace = GRACE_US,
	};

	if (!argv || !env)
		return lab_fail_errno(err, -ENOMEM, "running a program");
	for (size_t i = 0; i < n; i++)
		argv[i] = json_string_value(json_array_get(words, i));
	o->what = step_words(t->spec);
	r = run_program(&run, NULL, err);
	if (r == -ETIMEDOUT)
		return lab_fail(err, r, "it did not end in time, and was killed");
	if (r == -ECANCELED)
		return lab_fail(err, r, "interrupted");
	if (r < 0)
		return r;
	o->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (o->status == 127 && !o->err.len)
		return lab_fail(err, -ENOENT, "there is no program %s", argv[0]);
	return 0;
}
