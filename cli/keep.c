// SPDX-License-Identifier: GPL-2.0-or-later
/* keep.c - what is kept of a test: the log of each step, consoles, variables */
#define _GNU_SOURCE
#include "cli/keep.h"

#include "cli/lines.h"
#include "cli/table.h"
#include "lib/jsonl.h"
#include "lib/names.h"
#include "lib/util.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define CONSOLE_TAIL (64 << 10) /* of each guest; a boot is about half of that */
#define SLUG 40

int keep_open(struct keep *k, const char *dir, struct lab_err *err)
{
	const char *tmp = getenv("TMPDIR");
	autofree char *real = NULL;
	int r;

	k->asked = dir;
	if (!dir) {
		io_path(k->dir, "%s/labctl-test.XXXXXX", tmp && *tmp ? tmp : "/tmp");
		return mkdtemp(k->dir) ? 0 : lab_fail_errno(err, -errno, "%s", k->dir);
	}
	r = mkdir(dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
	real = r ? NULL : realpath(dir, NULL);
	if (!r && (!real || !*io_path(k->dir, "%s", real)))
		r = real ? -ENAMETOOLONG : -errno;
	return r < 0 ? lab_fail_errno(err, r, "%s", dir) : 0;
}

/* A name as part of a file's: letters, digits, the rest as '-' */
static const char *slug(char buf[SLUG + 1], const char *name)
{
	size_t n = 0;

	for (; *name && n < SLUG; name++) {
		bool plain = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
			     (*name >= '0' && *name <= '9') || *name == '.' || *name == '_';

		if (plain || (n && buf[n - 1] != '-'))
			buf[n++] = (char)(plain ? *name : '-');
	}
	while (n && buf[n - 1] == '-')
		n--;
	buf[n] = '\0';
	return buf;
}

int keep_below(const struct keep *k, size_t number, const char *name, struct keep *ret,
	       struct lab_err *err)
{
	const char *slash = strrchr(name, '/');
	char buf[SLUG + 1];

	ret->asked = k->asked;
	io_path(ret->dir, "%s/%zu-%s", k->dir, number, slug(buf, slash ? slash + 1 : name));
	if (mkdir(ret->dir, 0700) < 0 && errno != EEXIST)
		return lab_fail_errno(err, -errno, "%s", ret->dir);
	return 0;
}

/* DIR/03-token.ENDING */
static const char *path_of(const struct keep *k, size_t number, const struct step *step,
			   const char *ending, char buf[IO_PATH])
{
	char name[SLUG + 1];

	return io_path(buf, "%s/%02zu-%s.%s", k->dir, number, slug(name, step->name), ending);
}

static FILE *create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (!f && fd >= 0)
		close(fd);
	return f;
}

static void put_output(FILE *f, const char *title, const struct output *o)
{
	if (!o->len && !o->lost)
		return;
	fprintf(f, "--- %s, %zu bytes\n", title, o->len);
	if (o->len) {
		fwrite(o->text, 1, o->len, f);
		if (o->text[o->len - 1] != '\n')
			fputc('\n', f);
	}
	if (o->lost)
		fprintf(f, "--- %" PRIu64 " bytes more were not kept\n", o->lost);
}

static void put_headers(FILE *f, const json_t *headers)
{
	const char *name;
	json_t *value;

	if (json_object_size(headers))
		fputs("--- headers\n", f);
	json_object_foreach((json_t *)headers, name, value) {
		fprintf(f, "%s: %s\n", name, json_string_value(value));
	}
}

int keep_log(const struct keep *k, size_t number, const struct step *step,
	     const struct step_result *result, const char *words, char *ret, struct lab_err *err)
{
	const struct outcome *o = &result->outcome;
	bool http = step->kind == STEP_HTTP;
	FILE *f = create(path_of(k, number, step, "log", ret));

	if (!f)
		return lab_fail_errno(err, -errno, "%s", ret);
	fprintf(f, "step: %s\n%s: %s\n", step->name, step_kind_name(step->kind),
		o->what ? o->what : "-");
	if (o->status >= 0)
		fprintf(f, "status: %d\n", o->status);
	fprintf(f, "tries: %u\nseconds: %.1f\nresult: %s\n", result->tries, result->seconds, words);
	put_headers(f, o->headers);
	put_output(f, http ? "body" : "stdout", &o->out);
	put_output(f, "stderr", &o->err);
	return fclose(f) == EOF ? lab_fail_errno(err, -errno, "%s", ret) : 0;
}

/* ---- the lab ------------------------------------------------------------------------- */

struct console {
	FILE *f;
	struct lines_filter filter;
};

static bool on_console(void *arg, const void *data, size_t len)
{
	struct console *c = arg;
	autofree char *text = malloc(len + 1);

	if (text)
		fwrite(text, 1, lines_plain(&c->filter, text, data, len), c->f);
	return text;
}

/* Its end as text; a guest without a console has none */
static void keep_console(struct cli *cli, const char *dir, const char *lab, const char *name)
{
	char path[IO_PATH], call[CLIENT_PATH], url[CLIENT_PATH + 32];
	struct lab_err err = LAB_ERR_INIT;
	struct console c = { 0 };

	c.f = create(io_path(path, "%s/%s.console", dir, name));
	if (!c.f)
		return;
	client_path(call, "/v1/labs/%s/instances/%s/console", lab, name);
	snprintf(url, sizeof(url), "%s?tail=%d", call, CONSOLE_TAIL);
	if (client_stream(cli->client, "GET", url, NULL, on_console, NULL, &c, &err) < 0)
		fprintf(c.f, "%s\n", err.text);
	fclose(c.f);
}

int keep_lab(struct cli *cli, const struct keep *k, size_t number, const struct step *step,
	     const char *lab, char *ret, struct lab_err *err)
{
	char path[CLIENT_PATH], file[IO_PATH];
	autojson json_t *object = NULL;
	const json_t *in;
	FILE *f;
	size_t i;
	int r = cli_call(cli, "GET", client_path(path, "/v1/labs/%s", lab), NULL, &object);

	*ret = '\0';
	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		*err = cli->err;
		return r;
	}
	path_of(k, number, step, "lab", ret);
	if (mkdir(ret, 0700) < 0 && errno != EEXIST)
		return lab_fail_errno(err, -errno, "%s", ret);
	json_array_foreach(json_object_get(object, "instances"), i, in) {
		if (name_valid(cell_string(in, "name")))
			keep_console(cli, ret, lab, cell_string(in, "name"));
	}
	f = create(io_path(file, "%s/lab.json", ret));
	if (!f)
		return lab_fail_errno(err, -errno, "%s", file);
	(void)json_dumpf(object, f, JSON_INDENT(2));
	return fclose(f) == EOF ? lab_fail_errno(err, -errno, "%s", file) : 0;
}

/* ---- variables ------------------------------------------------------------------------- */

int keep_variables(const struct keep *k, const struct vars *v, struct lab_err *err)
{
	autofree char *text = json_dumps(v->values, JSON_INDENT(2));
	char path[IO_PATH];
	int r = -ENOMEM;

	io_path(path, "%s/variables.json", k->dir);
	if (text)
		r = io_write_file(AT_FDCWD, path, text, strlen(text), 0600);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

#define MAX_VARIABLES (8U << 20)

int keep_known(const struct keep *k, struct vars *v, struct lab_err *err)
{
	autojson json_t *known = NULL;
	autofree char *text = NULL;
	char path[IO_PATH];
	const char *name;
	json_t *value;
	size_t len;
	int r;

	io_path(path, "%s/variables.json", k->dir);
	r = io_read_file(AT_FDCWD, path, MAX_VARIABLES, &text, &len);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	if (jsonl_parse(text, len, &known) < 0)
		return lab_fail(err, -EPROTO, "%s is not JSON", path);
	json_object_foreach(known, name, value) {
		if (json_is_string(value) && !json_object_get(v->values, name))
			json_object_set(v->values, name, value);
	}
	return 0;
}

void keep_drop(const struct keep *k)
{
	if (!k->asked && *k->dir)
		(void)io_remove_tree(AT_FDCWD, k->dir);
}
