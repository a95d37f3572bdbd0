// SPDX-License-Identifier: GPL-2.0-or-later
/* disk.c - an image's files out of a finished root */
#define _GNU_SOURCE
#include "images/builder/builder.h"
#include "images/builder/command.h"

#include "lib/digest.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define DISK_CMDLINE "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet"

/* The newest kernel in the root: its release, "" if there is none */
static void find_kernel(const char *root, char release[128])
{
	char path[IO_PATH];
	autodir DIR *dir = opendir(io_path(path, "%s/boot", root));
	struct dirent *d;

	*release = '\0';
	while (dir && (d = readdir(dir)))
		if (!strncmp(d->d_name, "vmlinuz-", 8) && strverscmp(d->d_name + 8, release) > 0)
			snprintf(release, 128, "%.127s", d->d_name + 8);
}

static int copy_file(int root, const char *path, const char *to, struct lab_err *err)
{
	autoclose int in = root_open(root, path, O_RDONLY, 0);
	autoclose int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r;

	if (in < 0 || out < 0)
		return lab_fail_errno(err, in < 0 ? in : -errno, "%s", in < 0 ? path : to);
	r = io_copy(in, out);
	if (!r && fsync(out) < 0)
		r = -errno;
	return r < 0 ? lab_fail_errno(err, r, "%s", to) : 0;
}

/* {"sha256", "size"} of a finished file, which becomes read-only and is synced */
static int seal(const struct builder *b, const char *name, json_t *manifest, const char *key,
		struct lab_err *err)
{
	char path[IO_PATH], sha[DIGEST_HEX];
	autoclose int fd = open(io_path(path, "%s/%s", b->dir, name), O_RDONLY | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || fchmod(fd, 0444) < 0 || fsync(fd) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	r = digest_fd(fd, sha, err);
	if (r < 0)
		return r;
	if (json_object_set_new(manifest, key,
				json_pack("{ss sI}", "sha256", sha, "size",
					  (json_int_t)st.st_size)))
		return lab_fail(err, -ENOMEM, "out of memory");
	return 0;
}

/* "    (42.00/100%)", one after the other with carriage returns */
static int to_qcow2(const struct builder *b, const char *raw, const char *qcow2,
		    struct lab_err *err)
{
	const char *argv[] = { "qemu-img", "convert", "-f", "raw",
			       "-O",	   "qcow2",   "-o", "lazy_refcounts=off",
			       "-T",	   "none",    "-t", "unsafe",
			       raw,	   qcow2,     NULL };
	struct command cmd = { .argv = argv, .log = b->log };

	builder_step("convert", 0, 0, "");
	builder_log(b, "convert");
	return command_run(&cmd, err);
}

static int write_boot_files(const struct builder *b, const char *root, json_t *manifest,
			    struct lab_err *err)
{
	autoclose int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char release[128], from[IO_PATH], to[IO_PATH];
	int r;

	find_kernel(root, release);
	if (!*release)
		return lab_fail(err, -ENOENT,
				"the image has no kernel in /boot; add a linux-image package to "
				"`packages`");
	r = copy_file(fd, io_path(from, "/boot/vmlinuz-%s", release),
		      io_path(to, "%s/vmlinuz", b->dir), err);
	if (!r)
		r = initrd_write(root, release, io_path(to, "%s/initrd.img", b->dir), err);
	if (!r)
		r = seal(b, "vmlinuz", manifest, "kernel", err);
	return r ? r : seal(b, "initrd.img", manifest, "initrd", err);
}

static int write_disk(const struct builder *b, const json_t *info, const char *root,
		      json_t *manifest, struct lab_err *err)
{
	uint64_t size = (uint64_t)json_integer_value(json_object_get(b->spec, "size"));
	uint64_t epoch = (uint64_t)json_integer_value(json_object_get(info, "epoch"));
	char raw[IO_PATH], qcow2[IO_PATH];
	int r;

	io_path(raw, "%s/disk.raw", b->dir);
	io_path(qcow2, "%s/disk.qcow2", b->dir);
	builder_step("filesystem", 0, 0, "bytes");
	builder_log(b, "file system");
	r = ext4_write(b, root, raw, size, recipe_str(b->spec, "digest"), epoch, err);
	if (!r)
		r = to_qcow2(b, raw, qcow2, err);
	if (unlink(raw) < 0 && !r)
		r = lab_fail_errno(err, -errno, "%s", raw);
	return r ? r : seal(b, "disk.qcow2", manifest, "disk", err);
}

static json_t *new_manifest(const struct builder *b, const json_t *info)
{
	const char *extra = recipe_str(b->spec, "cmdline");
	autofree char *cmdline = NULL;

	if (asprintf(&cmdline, "%s%s%s", DISK_CMDLINE, *extra ? " " : "", extra) < 0)
		return NULL;
	return json_pack("{ss ss ss sO ss ss sO}", "name", recipe_str(b->spec, "name"), "recipe",
			 recipe_str(b->spec, "digest"), "from",
			 recipe_str(json_object_get(b->spec, "from"), "name"), "size",
			 json_object_get(b->spec, "size"), "boot", "direct", "cmdline", cmdline,
			 "packages", json_object_get(info, "packages"));
}

/* What differs from build to build is kept apart from the manifest */
static int write_build_info(const struct builder *b, const json_t *info, struct lab_err *err)
{
	autojson json_t *o = json_pack("{sf ss}", "built", num_wall(), "layer",
				       recipe_str(info, "id"));
	autofree char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
	char path[IO_PATH];
	int r;

	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = io_write_file(AT_FDCWD, io_path(path, "%s/build.json", b->dir), text, strlen(text),
			  0444);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

int disk_write(const struct builder *b, const json_t *info, const char *root, struct lab_err *err)
{
	autojson json_t *manifest = new_manifest(b, info);
	autofree char *text = NULL;
	char path[IO_PATH];
	int r;

	if (!manifest)
		return lab_fail(err, -ENOMEM, "out of memory");
	if ((r = write_boot_files(b, root, manifest, err)) < 0 ||
	    (r = write_disk(b, info, root, manifest, err)) < 0 ||
	    (r = write_build_info(b, info, err)) < 0)
		return r;
	text = json_dumps(manifest, JSON_INDENT(1) | JSON_SORT_KEYS);
	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = io_write_file(AT_FDCWD, io_path(path, "%s/manifest.json", b->dir), text, strlen(text),
			  0444);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}
