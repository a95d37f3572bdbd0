// SPDX-License-Identifier: GPL-2.0-or-later
/* manifest.c - an image's directory: made under another name, described, read */
#define _GNU_SOURCE
#include "images/recipe.h"

#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define IMAGE_MAX_MANIFEST (16 << 20)

const char *recipe_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

const char *recipe_deb_name(char *buf, const json_t *package)
{
	const char *version = recipe_str(package, "version"), *colon = strchr(version, ':');

	if (!colon)
		return io_path(buf, "%s_%s_%s.deb", recipe_str(package, "name"), version,
			       recipe_str(package, "arch"));
	return io_path(buf, "%s_%.*s%%3a%s_%s.deb", recipe_str(package, "name"),
		       (int)(colon - version), version, colon + 1, recipe_str(package, "arch"));
}

int image_begin(const char *dir, char *tmp, struct lab_err *err)
{
	struct stat st;

	if (dir[0] != '/')
		return lab_fail(err, -EINVAL, "'%.200s' is not an absolute path", dir);
	if (!*io_path(tmp, "%s.tmp", dir))
		return lab_fail(err, -ENAMETOOLONG, "%s: name too long", dir);
	if (!lstat(dir, &st))
		return lab_fail(err, -EEXIST, "%s exists already", dir);
	if (mkdir(tmp, 0755) < 0)
		return lab_fail_errno(err, -errno, "%s", tmp);
	return 0;
}

static int sync_parent(const char *dir)
{
	char parent[IO_PATH], *slash;
	autoclose int fd = -EBADF;

	io_path(parent, "%s", dir);
	slash = strrchr(parent, '/');
	if (slash)
		*slash = '\0';
	fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int image_commit(const char *tmp, const char *dir, struct lab_err *err)
{
	autoclose int self = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (self < 0 || fsync(self) < 0)
		return lab_fail_errno(err, -errno, "%s", tmp);
	r = renameat2(AT_FDCWD, tmp, AT_FDCWD, dir, RENAME_NOREPLACE) < 0 ? -errno
									  : sync_parent(dir);
	return r < 0 ? lab_fail_errno(err, r, "%s", dir) : 0;
}

int image_sync(const char *dir, struct lab_err *err)
{
	int r = io_sync_dir(dir) ?: sync_parent(dir);

	return r < 0 ? lab_fail_errno(err, r, "%s", dir) : 0;
}

int image_manifest(const char *dir, json_t **ret, struct lab_err *err)
{
	autofree char *text = NULL;
	char path[IO_PATH];
	size_t len = 0;
	int r = io_read_file(AT_FDCWD, io_path(path, "%s/manifest.json", dir), IMAGE_MAX_MANIFEST,
			     &text, &len);

	if (r < 0)
		return lab_fail_errno(err, r, "%s", path);
	r = jsonl_parse(text, len, ret);
	return r < 0 ? lab_fail(err, r, "%s is damaged: not JSON", path) : 0;
}

static int open_disk(const char *dir, struct lab_err *err)
{
	char path[IO_PATH];
	int fd = open(io_path(path, "%s/disk.qcow2", dir), O_RDONLY | O_CLOEXEC);

	return fd < 0 ? lab_fail_errno(err, -errno, "%s", path) : fd;
}

static const char *known_digest(const json_t *manifest)
{
	return recipe_str(json_object_get(manifest, "disk"), "sha256");
}

/* As a whole, but not synced: image_sync() does that, with the disk */
static int replace(const char *path, const char *text)
{
	char tmp[IO_PATH];
	autoclose int fd = open(io_path(tmp, "%s.tmp", path),
				O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444);
	int r = fd < 0 ? -errno : io_write_all(fd, text, strlen(text));

	if (!r && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(tmp);
	return r;
}

static int keep_digest(const char *dir, json_t *manifest, const char *sha, struct lab_err *err)
{
	json_t *disk = json_object_get(manifest, "disk");
	autofree char *text = NULL;
	char path[IO_PATH];
	int r;

	json_object_del(disk, "boot_id");
	if (json_object_set_new(disk, "sha256", json_string(sha)) ||
	    !(text = json_dumps(manifest, JSON_INDENT(1) | JSON_SORT_KEYS)))
		return lab_fail(err, -ENOMEM, "out of memory");
	r = replace(io_path(path, "%s/manifest.json", dir), text);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

int image_digest(const char *dir, char sha[DIGEST_HEX], struct lab_err *err)
{
	autojson json_t *manifest = NULL;
	autoclose int fd = open_disk(dir, err);
	int r = fd < 0 ? fd : image_manifest(dir, &manifest, err);

	if (r < 0)
		return r;
	snprintf(sha, DIGEST_HEX, "%s", known_digest(manifest));
	if (*sha)
		return 0;
	/* the disk writes while the processor counts */
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	r = digest_fd(fd, sha, err);
	return r < 0 ? r : keep_digest(dir, manifest, sha, err);
}

/* Without a digest: what was written in this boot is what is read in it */
static int same_boot(const char *dir, const json_t *manifest, struct lab_err *err)
{
	char boot[IO_BOOT_ID];

	if (*io_boot_id(boot) &&
	    !strcmp(recipe_str(json_object_get(manifest, "disk"), "boot_id"), boot))
		return 0;
	return lab_fail(err, -EUCLEAN, "%s: the host went down before it was known to be whole",
			dir);
}

int image_verify(const char *dir, struct lab_err *err)
{
	char sha[DIGEST_HEX];
	autojson json_t *manifest = NULL;
	autoclose int fd = open_disk(dir, err);
	int r = fd < 0 ? fd : image_manifest(dir, &manifest, err);

	if (r < 0)
		return r;
	if (!*known_digest(manifest))
		return same_boot(dir, manifest, err) ?: image_digest(dir, sha, err);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* what the disk has, not the memory */
	r = digest_fd(fd, sha, err);
	if (!r && strcmp(sha, known_digest(manifest)))
		r = lab_fail(err, -EUCLEAN, "%s/disk.qcow2 is not what the image's manifest says",
			     dir);
	return r;
}
