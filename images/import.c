// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * import.c - foreign disks in, our disks out
 *
 * DOC: Theory of Operation
 *
 * The converter opens the file through our open descriptor in /proc, so what was
 * inspected is what is read, whatever happens to its name meanwhile, and no
 * descriptor is inherited. Formats and the protocol driver are always named:
 * nothing is probed, and "json:" or "nbd:" in a file name means nothing.
 * The converter runs with limits on memory and CPU time.
 *
 * A changed file could be made to look different after the inspection by
 * someone who writes to it at the same time; the converter only reads, as
 * the same user, and a backing file added meanwhile is ruled out by
 * "backing=" (null) in its options.
 *
 * A qcow2 that is handed over, and has nothing that a converter could make better, is taken as it
 * is: it is renamed, and its SHA-256 is that of the file that came. `qemu-img check` has to find it
 * whole, without clusters that nobody refers to, and nothing may be compressed, for guests would
 * decompress it with each read.
 *
 * Nothing is synced here: the image can be read while the disk still writes, and its SHA-256 is
 * counted meanwhile (image_digest()). image_settle() in labd waits for both before anything
 * stands on it.
 */
#define _GNU_SOURCE
#include "images/recipe.h"

#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CONVERT_MAX_MEMORY (2ULL << 30)
#define CONVERT_MAX_CPU (4 * 3600)
#define CONVERT_DEADLINE_US (8 * 3600 * 1000000ULL)

/* qemu-img -p: "    (12.34/100%)" */
static void heard(void *arg, const char *line)
{
	const struct image_progress *progress = arg;
	const char *open = strchr(line, '('), *dot;
	char digits[8];
	uint64_t percent;

	dot = open ? strchr(open, '.') : NULL;
	if (!dot || dot - open > 4 || !progress || !progress->report)
		return;
	snprintf(digits, sizeof(digits), "%.*s", (int)(dot - open - 1), open + 1);
	if (!num_u64(digits, 100, &percent))
		progress->report(progress->arg, "convert", percent, 100, "%");
}

/* qemu-img on foreign data */
static struct run limited(const char *const *argv, const struct image_progress *progress)
{
	return (struct run){ .argv = argv,
			     .deadline = num_now_us() + CONVERT_DEADLINE_US,
			     .max_memory = CONVERT_MAX_MEMORY,
			     .max_cpu = CONVERT_MAX_CPU,
			     .cancel = progress ? progress->cancelled : NULL,
			     .cancel_arg = progress ? progress->arg : NULL };
}

static int convert(const char *source, const char *format, const char *to,
		   const struct image_progress *progress, struct lab_err *err)
{
	const char *argv[] = { "qemu-img", "convert", "-p", "--image-opts", source, "-O",
			       format,	   to,	      NULL };
	struct run run = limited(argv, progress);

	run.line = heard;
	run.line_arg = (void *)progress;
	return run_program(&run, NULL, err);
}

static int source_options(char *buf, size_t size, int fd, const char *format)
{
	/* a qcow2 that gets a backing file now still has none for us */
	int n = snprintf(buf, size,
			 "driver=%s,read-only=on,%sfile.driver=file,file.locking=off,"
			 "file.filename=/proc/%d/fd/%d",
			 format, strcmp(format, "qcow2") ? "" : "backing=,", getpid(), fd);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* 1: `qemu-img check` finds nothing to better; 0: it does, or cannot tell; negative errno */
static int check(const char *source, off_t file_size, const struct image_progress *progress,
		 struct lab_err *err)
{
	const char *argv[] = { "qemu-img", "check", "--output=json", "--image-opts", source, NULL };
	autojson json_t *found = NULL;
	autofree char *text = NULL;
	json_int_t end = 0;
	struct run run = limited(argv, progress);
	int status, r;

	run.ret_status = &status;
	r = run_program(&run, &text, err);
	if (r < 0)
		return r;
	if (status || jsonl_parse(text, strlen(text), &found) < 0 ||
	    json_unpack(found, "{s:I}", "image-end-offset", &end) < 0)
		return 0;
	return end == file_size && !json_object_get(found, "leaks") &&
	       !json_object_get(found, "corruptions") &&
	       !json_object_get(found, "compressed-clusters");
}

/* 1: @spool is the image's disk now; 0: it has to be converted; or negative errno */
static int adopt(int fd, const char *source, const struct image_header *header, const char *spool,
		 const char *disk, const struct image_progress *progress, struct lab_err *err)
{
	struct stat st;
	int r;

	if (!spool || !header->plain || fstat(fd, &st) < 0)
		return 0;
	r = check(source, st.st_size, progress, err);
	if (r <= 0)
		return r;
	if (!rename(spool, disk))
		return 1;
	return errno == EXDEV ? 0 : lab_fail_errno(err, -errno, "%s", spool);
}

static int write_new(const char *path, const char *text)
{
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

	return fd < 0 ? -errno : io_write_all(fd, text, strlen(text));
}

/* Its digest comes later: until then it says in which boot of the host the file was written */
static int write_manifest(const char *tmp, const char *dir, const struct image_header *header,
			  struct lab_err *err)
{
	const char *slash = strrchr(dir, '/');
	char path[IO_PATH], boot[IO_BOOT_ID];
	autojson json_t *manifest = NULL;
	autofree char *text = NULL;
	autoclose int fd = open(io_path(path, "%s/disk.qcow2", tmp), O_RDWR | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd >= 0)
		io_fill_holes(fd, IMAGE_FEW_HOLES);
	if (fd < 0 || fchmod(fd, 0444) < 0 || fstat(fd, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	manifest = json_pack("{ss ss ss sI ss ss s{ss sI} s[]}", "name", slash ? slash + 1 : dir,
			     "recipe", "", "from", "", "size", (json_int_t)header->size, "boot",
			     "firmware", "cmdline", "", "disk", "boot_id", io_boot_id(boot), "size",
			     (json_int_t)st.st_size, "packages");
	text = manifest ? json_dumps(manifest, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	r = write_new(io_path(path, "%s/manifest.json", tmp), text);
	return r < 0 ? lab_fail_errno(err, r, "%s", path) : 0;
}

int image_import(int fd, const char *format, const char *spool, const char *dir,
		 const struct image_progress *progress, struct lab_err *err)
{
	struct image_header header;
	char tmp[IO_PATH], disk[IO_PATH], source[256];
	int r = image_inspect(fd, format, IMAGE_MAX_SIZE, &header, err);

	if (r < 0)
		return r;
	r = source_options(source, sizeof(source), fd, header.format);
	if (r < 0)
		return lab_fail_errno(err, r, "import");
	r = image_begin(dir, tmp, err);
	if (r < 0)
		return r;
	r = adopt(fd, source, &header, spool, io_path(disk, "%s/disk.qcow2", tmp), progress, err);
	if (!r)
		r = convert(source, "qcow2", disk, progress, err);
	if (r >= 0)
		r = write_manifest(tmp, dir, &header, err);
	if (!r && renameat2(AT_FDCWD, tmp, AT_FDCWD, dir, RENAME_NOREPLACE) < 0)
		r = lab_fail_errno(err, -errno, "%s", dir);
	if (r < 0)
		io_remove_tree(AT_FDCWD, tmp);
	return lab_wrap(err, r, "import");
}

/* Rename without replacing: the name was free at the start and may not be now */
static int publish(const char *tmp, const char *path, struct lab_err *err)
{
	autoclose int fd = open(tmp, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return lab_fail_errno(err, -errno, "%s", tmp);
	if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	return 0;
}

int image_export(const char *dir, const char *path, const char *format,
		 const struct image_progress *progress, struct lab_err *err)
{
	char disk[IO_PATH], tmp[IO_PATH], source[256];
	autoclose int fd = open(io_path(disk, "%s/disk.qcow2", dir), O_RDONLY | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0)
		return lab_fail_errno(err, -errno, "%s", disk);
	if (strcmp(format, "qcow2") && strcmp(format, "raw"))
		return lab_fail(err, -EINVAL,
				"'%.20s' is not a format to export to; qcow2 and raw are", format);
	if (path[0] != '/')
		return lab_fail(err, -EINVAL, "export: '%.200s' is not an absolute path", path);
	if (!lstat(path, &st))
		return lab_fail(err, -EEXIST, "export: %s exists already", path);
	if (!*io_path(tmp, "%s.%d.tmp", path, gettid()))
		return lab_fail(err, -ENAMETOOLONG, "export: %.200s...: name too long", path);
	/* ours stands on nothing: as a qcow2 it goes out byte for byte, compressed if it is */
	r = source_options(source, sizeof(source), fd, strcmp(format, "qcow2") ? "qcow2" : "raw");
	if (!r)
		r = convert(source, "raw", tmp, progress, err);
	if (!r)
		r = publish(tmp, path, err);
	if (r < 0)
		unlink(tmp);
	return lab_wrap(err, r, "export");
}
