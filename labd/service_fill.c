// SPDX-License-Identifier: GPL-2.0-or-later
/* service_fill.c - what a service is given in a guest: its templates, filled, as one archive */
#define _GNU_SOURCE
#include "labd/service_fill.h"

#include "labd/agent.h"
#include "labd/service_context.h"
#include "lib/jobj.h"
#include "lib/util.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

/* ---- the archive ---------------------------------------------------------------------- */

static int add_member(struct archive *a, const char *path, const char *owner, mode_t mode,
		      const char *content)
{
	struct archive_entry *e = archive_entry_new();
	size_t len = strlen(content), user = strcspn(owner, ":");
	char name[64];
	bool good;

	if (!e)
		return -ENOMEM;
	snprintf(name, sizeof(name), "%.*s", (int)user, owner);
	archive_entry_set_pathname(e, path + 1);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, mode);
	archive_entry_set_size(e, (la_int64_t)len);
	archive_entry_set_uname(e, name);
	archive_entry_set_gname(e, owner[user] ? owner + user + 1 : name);
	good = archive_write_header(a, e) == ARCHIVE_OK &&
	       archive_write_data(a, content, len) == (la_ssize_t)len;
	archive_entry_free(e);
	return good ? 0 : -EINVAL;
}

/* The script that does it all in the guest */
static char *go_script(const json_t *service, bool setup, bool start)
{
	const char *name = jobj_text(service, "name");
	char *text = NULL;
	const json_t *unit;
	size_t len, i;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	/* they hold secrets */
	fprintf(f, "set -eu\ntrap 'rm -rf " SERVICE_DIR "/%s' EXIT\n", name);
	fprintf(f, "cd " SERVICE_DIR "/%s\nmark=" SERVICE_MARKS "/%s\n", name, name);
	if (setup)
		fputs("[ -e $mark ] || (cd /; sh -eu \"$OLDPWD/setup\")\n", f);
	fputs("mkdir -p " SERVICE_MARKS "\n: >$mark\n", f);
	if (json_array_size(json_object_get(service, "units")))
		fputs("systemctl daemon-reload\n", f);
	json_array_foreach(json_object_get(service, "units"), i, unit)
		fprintf(f, "systemctl restart %s\n", json_string_value(unit));
	if (start)
		fputs("(cd /; sh -eu \"$OLDPWD/start\")\n", f);
	fclose(f);
	return text;
}

/* A file of our own, for the start only */
static void add_own(const json_t *service, const char *name, const char *content, json_t *files)
{
	json_array_append_new(
		files,
		json_pack("{s:o s:s s:i s:s}", "path",
			  json_sprintf(SERVICE_DIR "/%s/%s", jobj_text(service, "name"), name),
			  "owner", "root:root", "mode", 0600, "content", content));
}

static int add_script(struct labd *d, const json_t *service, const char *script,
		      const json_t *context, json_t *files, struct lab_err *err)
{
	autofree char *text = NULL;
	int r = catalogue_script(&d->paths, jobj_text(service, "name"), script, context, &text,
				 err);

	if (r > 0)
		add_own(service, script, text, files);
	return r;
}

static int list_files(struct labd *d, const json_t *service, const json_t *context, json_t **ret,
		      struct lab_err *err)
{
	autojson json_t *files = NULL;
	autofree char *go = NULL;
	int r = catalogue_files(&d->paths, service, context, &files, err), setup = 0, start = 0;

	if (!r)
		r = setup = add_script(d, service, "setup", context, files, err);
	if (r >= 0)
		r = start = add_script(d, service, "start", context, files, err);
	if (r < 0)
		return r;
	go = go_script(service, setup > 0, start > 0);
	if (!go)
		return lab_fail(err, -ENOMEM, "out of memory");
	add_own(service, "go", go, files);
	*ret = steal_ptr(files);
	return 0;
}

/* Of what is in it: the archive itself has times */
static int digest_files(const json_t *files, char digest[DIGEST_HEX])
{
	autofree char *text = json_dumps(files, JSON_COMPACT);

	if (!text)
		return -ENOMEM;
	digest_hex(digest, text, strlen(text));
	return 0;
}

static int write_archive(const json_t *files, struct filled *f, struct lab_err *err)
{
	struct archive *a = archive_write_new();
	const json_t *file;
	size_t i;
	int r;

	f->data = malloc(AGENT_MAX_INPUT);
	if (!a || !f->data) {
		archive_write_free(a);
		return lab_fail(err, -ENOMEM, "out of memory");
	}
	archive_write_set_format_pax_restricted(a);
	archive_write_set_bytes_in_last_block(a, 1);
	r = archive_write_open_memory(a, f->data, AGENT_MAX_INPUT, &f->len) ? -ENOMEM : 0;
	json_array_foreach(files, i, file)
		if (!r)
			r = add_member(a, jobj_text(file, "path"), jobj_text(file, "owner"),
				       (mode_t)json_integer_value(json_object_get(file, "mode")),
				       jobj_text(file, "content"));
	if (archive_write_close(a) != ARCHIVE_OK && !r)
		r = -EINVAL;
	if (r < 0)
		lab_fail(err, r, "its files, at most %d KiB, cannot be packed: %s",
			 AGENT_MAX_INPUT >> 10, archive_error_string(a) ?: "no room");
	archive_write_free(a);
	return r;
}

int service_fill(struct labd *d, struct instance *in, const json_t *service, struct filled *ret,
		 struct lab_err *err)
{
	autojson json_t *context = NULL, *files = NULL;
	int r = service_context(d, in->lab->spec, in->name, &context, err);

	if (!r)
		r = list_files(d, service, context, &files, err);
	if (!r && digest_files(files, ret->digest) < 0)
		r = lab_fail(err, -ENOMEM, "out of memory");
	return r < 0 ? r : write_archive(files, ret, err);
}

void filled_done(struct filled *f)
{
	free(f->data);
}
