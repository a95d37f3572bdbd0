// SPDX-License-Identifier: GPL-2.0-or-later
/* attr_image.c - images and what is in their directories */
#define _GNU_SOURCE
#include "fs/attr.h"
#include "fs/upload.h"
#include "lib/digest.h"
#include "lib/jsonl.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MANIFEST_MAX (16 << 20) /* thousands of packages */

static int image_file(const struct ref *ref, const char *name, char path[IO_PATH])
{
	const char *dir = attr_string(ref, "path");

	if (!*dir || strcmp(attr_string(ref, "state"), "ready"))
		return -ENOENT;
	io_path(path, "%s/%s", dir, name);
	return 0;
}

static int disk_path(const struct ref *ref, char path[IO_PATH])
{
	return image_file(ref, "disk.qcow2", path);
}

static int read_manifest(const struct ref *ref, char **ret, size_t *ret_len)
{
	char path[IO_PATH];
	int r = image_file(ref, "manifest.json", path);

	if (!r)
		r = io_read_file(AT_FDCWD, path, MANIFEST_MAX, ret, ret_len);
	return r;
}

static int show_manifest(const struct ref *ref, FILE *out)
{
	autofree char *text = NULL;
	size_t len;
	int r = read_manifest(ref, &text, &len);

	if (!r)
		fwrite(text, 1, len, out);
	return r == -ENOENT ? 0 : r;
}

/* An imported image can be used before its digest has been counted */
static off_t digest_late(const struct ref *ref)
{
	const char *state = attr_string(ref, "state");
	bool comes = !strcmp(state, "importing") || !strcmp(state, "ready");

	/* a newline in the place of the NUL */
	return comes && !*attr_string(ref, "sha256") ? DIGEST_HEX : 0;
}

/* "name version arch" a line: what dpkg-query would say inside */
static int show_packages(const struct ref *ref, FILE *out)
{
	autojson json_t *manifest = NULL;
	autofree char *text = NULL;
	size_t len, i;
	json_t *p;
	int r = read_manifest(ref, &text, &len);

	if (!r)
		r = jsonl_parse(text, len, &manifest);
	json_array_foreach(json_object_get(manifest, "packages"), i, p) {
		const char *name = "", *version = "", *arch = "";

		if (!json_unpack(p, "{s:s, s?s, s?s}", "name", &name, "version", &version, "arch",
				 &arch))
			fprintf(out, "%s %s %s\n", name, version, arch);
	}
	return r == -ENOENT ? 0 : r;
}

/* Write "lab/instance" of those in a lab whose disks stand on an image; how many, or errno */
static int users_in(const struct item *lab, uint32_t image, bool more, FILE *out)
{
	struct item *items;
	int n = model_list(KIND_INSTANCE, lab->id, &items), found = 0;

	for (int i = 0; i < n; i++) {
		if (json_integer_value(json_object_get(items[i].json, "image_id")) != image)
			continue;
		fprintf(out, "%s%s/%s", more || found ? " " : "", lab->name, items[i].name);
		found++;
	}
	if (n >= 0)
		model_list_free(items, n);
	return n < 0 ? n : found;
}

/*
 * From what instances say: labd tells of an image when that changes, not when one who uses
 * it comes or goes
 */
static int write_users(const struct ref *ref, FILE *out)
{
	struct item *labs;
	int n = model_list(KIND_LAB, 0, &labs), found = 0, r = MIN(n, 0);

	for (int i = 0; i < n && r >= 0; i++) {
		r = users_in(&labs[i], ref->item.id, found, out);
		found += MAX(r, 0);
	}
	if (n >= 0)
		model_list_free(labs, n);
	return r < 0 ? r : found;
}

static int show_users(const struct ref *ref, FILE *out)
{
	return MIN(write_users(ref, out), 0);
}

static int image_unused(const struct ref *ref, struct lab_err *err)
{
	autofree char *users = NULL;
	size_t len;
	FILE *out = open_memstream(&users, &len);
	int n = out ? write_users(ref, out) : -ENOMEM;

	if (out)
		fclose(out);
	if (n < 0)
		return n;
	return n ? lab_fail(err, -EBUSY, "image %s is used by %.200s", ref->item.name, users) : 0;
}

static int image_removable(const struct ref *ref, struct lab_err *err)
{
	if (json_is_true(json_object_get(ref->item.json, "protect")))
		return lab_fail(err, -EPERM, "image %s is protected: echo 0 > protect",
				ref->item.name);
	if (json_integer_value(json_object_get(ref->item.json, "job")))
		return lab_fail(err, -EBUSY, "image %s is being worked on", ref->item.name);
	return image_unused(ref, err);
}

static int files_path(const struct ref *ref, char path[IO_PATH])
{
	if (strcmp(attr_string(ref, "state"), "ready") != 0)
		return -ENOENT;
	io_path(path, "../../inspect/images/%s", ref->item.name);
	return 0;
}

static const struct entry image_entries[] = {
	{ .name = "disk.qcow2", .type = ENTRY_DISK, .mode = 0444, .path = disk_path },
	{ .name = "state", .type = ENTRY_TEXT, .mode = 0444, .key = "state", .show = show_string },
	{ .name = "format",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "format",
	  .show = show_string },
	{ .name = "size", .type = ENTRY_TEXT, .mode = 0444, .key = "size", .show = show_count },
	{ .name = "used", .type = ENTRY_TEXT, .mode = 0444, .key = "used", .show = show_count },
	{ .name = "sha256",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "sha256",
	  .late = digest_late,
	  .show = show_string },
	{ .name = "manifest",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "sha256",
	  .show = show_manifest },
	{ .name = "packages",
	  .type = ENTRY_TEXT,
	  .mode = 0444,
	  .key = "sha256",
	  .show = show_packages },
	{ .name = "base", .type = ENTRY_TEXT, .mode = 0444, .key = "base", .show = show_string },
	{ .name = "users", .type = ENTRY_TEXT, .mode = 0444, .show = show_users },
	{ .name = "protect",
	  .type = ENTRY_TEXT,
	  .mode = 0644,
	  .key = "protect",
	  .show = show_bool,
	  .store = store_protect },
	{ .name = "error", .type = ENTRY_TEXT, .mode = 0444, .key = "error", .show = show_error },
	{ .name = "files", .type = ENTRY_LINK, .path = files_path },
};

const struct class class_image = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_IMAGES,
	.kind = KIND_IMAGE,
	.entries = image_entries,
	.nentries = ARRAY_SIZE(image_entries),
	.removable = image_removable,
};

static int images_list(const struct ref *dir, member_fn fn, void *arg)
{
	int r = attr_members(KIND_IMAGE, 0, CLASS_IMAGE, fn, arg);

	(void)dir;
	if (!r)
		upload_list(fn, arg);
	return r;
}

static int images_find(const struct ref *dir, const char *name, struct node *ret)
{
	(void)dir;
	if (!attr_member(KIND_IMAGE, 0, CLASS_IMAGE, name, ret))
		return 0;
	return upload_find(name, ret);
}

static int images_rename(const struct ref *image, const char *to, struct action *ret,
			 struct lab_err *err)
{
	(void)err;
	return attr_patch(image, "name", json_string(to), ret);
}

static int images_destroy(const struct ref *image, struct action *ret, struct lab_err *err)
{
	(void)err;
	ret->method = "DELETE";
	attr_path(&image->item, NULL, ret->path);
	ret->until = UNTIL_GONE;
	ret->kind = KIND_IMAGE;
	ret->id = image->item.id;
	return 0;
}

static int images_make(const struct ref *dir, const char *name, struct action *ret,
		       struct lab_err *err)
{
	(void)dir;
	(void)ret;
	return lab_fail(err, -EPERM,
			"an image is not made by mkdir: cp %s.qcow2 here, or labctl image build",
			name);
}

static const struct members images_members = {
	.list = images_list,
	.find = images_find,
	.make = images_make,
	.rename = images_rename,
	.destroy = images_destroy,
};

const struct class class_images = {
	.mode = S_IFDIR | 0755,
	.up = CLASS_ROOT,
	.members = &images_members,
};

const struct class class_upload = {
	.mode = S_IFREG | 0600,
	.up = CLASS_IMAGES,
};
