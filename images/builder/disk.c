// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * disk.c - an image's files out of a finished root
 *
 * DOC: Theory of Operation
 *
 * A root becomes one of two things. Most are a file system of all that is in
 * them, beside the newest kernel in /boot and an initrd for it: QEMU starts
 * that kernel itself, so such a disk needs no boot loader. A recipe with `disk`
 * has made a whole disk, boot loader and all, as a file in its root; that file is
 * the image, and nothing else of the root is. It boots by firmware, in a lab
 * or wherever it is carried, so it is compressed.
 */
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

/* @size: what the copy is extended to, 0: as it is */
static int copy_to(int in, const char *to, uint64_t size, struct lab_err *err)
{
	autoclose int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r = out < 0 ? -errno : io_copy(in, out);

	if (!r && ((size && ftruncate(out, (off_t)size) < 0) || fsync(out) < 0))
		r = -errno;
	return r < 0 ? lab_fail_errno(err, r, "%s", to) : 0;
}

static int copy_file(int root, const char *path, const char *to, struct lab_err *err)
{
	autoclose int in = root_open(root, path, O_RDONLY, 0);

	return in < 0 ? lab_fail_errno(err, in, "%s", path) : copy_to(in, to, 0, err);
}

/* {"sha256", "size"} of a finished file, which becomes read-only and is synced */
static int seal(const struct builder *b, const char *name, json_t *manifest, const char *key,
		struct lab_err *err)
{
	char path[IO_PATH], sha[DIGEST_HEX];
	autoclose int fd = open(io_path(path, "%s/%s", b->dir, name), O_RDWR | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd >= 0)
		io_fill_holes(fd, IMAGE_FEW_HOLES);
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

static int to_qcow2(const struct builder *b, const char *raw, const char *qcow2, bool compress,
		    struct lab_err *err)
{
	const char *how = compress ? "-c" : "-q"; /* -q: quiet, which it is anyway */
	const char *argv[] = {
		"qemu-img",	      "convert", how,	 "-f", "raw",	 "-O", "qcow2", "-o",
		"lazy_refcounts=off", "-T",	 "none", "-t", "unsafe", raw,  qcow2,	NULL
	};
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

static uint64_t disk_size(const struct builder *b)
{
	return (uint64_t)json_integer_value(json_object_get(b->spec, "size"));
}

static int write_filesystem(const struct builder *b, const json_t *info, const char *root,
			    const char *raw, struct lab_err *err)
{
	uint64_t epoch = (uint64_t)json_integer_value(json_object_get(info, "epoch"));

	builder_step("filesystem", 0, 0, "bytes");
	builder_log(b, "file system");
	return ext4_write(b, root, raw, disk_size(b), recipe_str(b->spec, "digest"), epoch, err);
}

/* Firmware starts what has this mark at the end of its first sector */
static int check_boot_sector(int fd, struct lab_err *err)
{
	unsigned char mark[2] = { 0 };
	ssize_t n = RETRY(pread(fd, mark, sizeof(mark), 510));

	if (n < 0)
		return lab_fail_errno(err, -errno, "cannot read it");
	if (mark[0] != 0x55 || mark[1] != 0xaa)
		return lab_fail(err, -EINVAL,
				"it has no boot sector, so firmware would not start it");
	return 0;
}

/* What the script left as the disk: a raw one that firmware starts, and not too large */
static int check_made_disk(const struct builder *b, int fd, struct lab_err *err)
{
	char have[NUM_TEXT], most[NUM_TEXT];
	struct image_header header;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return lab_fail_errno(err, -errno, "cannot look at it");
	if (!S_ISREG(st.st_mode))
		return lab_fail(err, -EINVAL, "it is not a regular file");
	r = image_inspect(fd, "raw", IMAGE_MAX_SIZE, &header, err);
	if (r < 0)
		return r;
	if (header.size > disk_size(b))
		return lab_fail(err, -EFBIG, "it has %s, which does not fit into `size`, %s",
				num_size_text(have, header.size),
				num_size_text(most, disk_size(b)));
	return check_boot_sector(fd, err);
}

static int copy_made_disk(const struct builder *b, const char *root, const char *path,
			  const char *raw, struct lab_err *err)
{
	autoclose int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* not to wait for whoever would write to it, should it be a pipe */
	autoclose int fd = dir < 0 ? -errno : root_open(dir, path, O_RDONLY | O_NONBLOCK, 0);
	int r;

	builder_log(b, "disk %s", path);
	if (fd == -ENOENT)
		return lab_fail(err, fd, "disk %s: the script did not make it", path);
	r = fd < 0 ? lab_fail_errno(err, fd, "cannot open it") : check_made_disk(b, fd, err);
	if (r < 0)
		return lab_wrap(err, r, "disk %s", path);
	return copy_to(fd, raw, disk_size(b), err);
}

static int write_disk(const struct builder *b, const json_t *info, const char *root,
		      json_t *manifest, struct lab_err *err)
{
	const char *made = recipe_str(b->spec, "disk");
	char raw[IO_PATH], qcow2[IO_PATH];
	int r;

	io_path(raw, "%s/disk.raw", b->dir);
	io_path(qcow2, "%s/disk.qcow2", b->dir);
	r = *made ? copy_made_disk(b, root, made, raw, err)
		  : write_filesystem(b, info, root, raw, err);
	if (!r)
		r = to_qcow2(b, raw, qcow2, *made, err);
	if (unlink(raw) < 0 && !r)
		r = lab_fail_errno(err, -errno, "%s", raw);
	return r ? r : seal(b, "disk.qcow2", manifest, "disk", err);
}

static json_t *new_manifest(const struct builder *b, const json_t *info)
{
	const char *extra = recipe_str(b->spec, "cmdline");
	bool direct = !json_object_get(b->spec, "disk");
	autofree char *cmdline = NULL;

	if (asprintf(&cmdline, "%s%s%s", DISK_CMDLINE, *extra ? " " : "", extra) < 0)
		return NULL;
	return json_pack("{ss ss ss sO ss ss sO}", "name", recipe_str(b->spec, "name"), "recipe",
			 recipe_str(b->spec, "digest"), "from",
			 recipe_str(json_object_get(b->spec, "from"), "name"), "size",
			 json_object_get(b->spec, "size"), "boot", direct ? "direct" : "firmware",
			 "cmdline", direct ? cmdline : "", "packages",
			 json_object_get(info, "packages"));
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
	int r = 0;

	if (!manifest)
		return lab_fail(err, -ENOMEM, "out of memory");
	if (!json_object_get(b->spec, "disk"))
		r = write_boot_files(b, root, manifest, err);
	if (r < 0 || (r = write_disk(b, info, root, manifest, err)) < 0 ||
	    (r = write_build_info(b, info, err)) < 0)
		return r;
	text = json_dumps(manifest, JSON_INDENT(1) | JSON_SORT_KEYS);
	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = io_write_file(AT_FDCWD, io_path(path, "%s/manifest.json", b->dir), text, strlen(text),
			  0444);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}
