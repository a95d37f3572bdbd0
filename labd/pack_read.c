// SPDX-License-Identifier: GPL-2.0-or-later
/* pack_read.c - reading the archive of a lab, which may be hostile (libarchive) */
#define _GNU_SOURCE
#include "labd/pack.h"

#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/util.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK (256 << 10)
#define MAX_PART 80 /* bytes of one word of a name */

/**
 * struct pack
 * @seen:	names that have been read
 */
struct pack {
	struct archive *a;
	json_t *manifest, *seen;
};

/**
 * struct reading - one pack_extract()
 * @done, @total: bytes of data
 */
struct reading {
	struct pack *p;
	const char *dir;
	const json_t *skip;
	const struct image_progress *progress;
	uint64_t done, total;
};

/* libarchive's results as errno; the only place that knows them */
static int fail_read(struct archive *a, struct lab_err *err)
{
	const char *words = archive_error_string(a);
	int code = archive_errno(a);

	/* what the kernel says is passed on; all else is what the file says */
	code = code == EIO || code == ENOMEM ? -code : -EUCLEAN;
	return lab_fail(err, code, "the file is damaged or truncated: %s",
			words ? words : "it ends too early");
}

static int refuse(struct lab_err *err, const char *name, const char *why)
{
	return lab_fail(err, -EINVAL, "refused: '%.200s' %s", name, why);
}

/* ---- manifest ------------------------------------------------------------------- */

static bool part_ok(const char *s, size_t len)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	static const char more[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	return len && len <= MAX_PART && strchr(plain, *s) && strspn(s, more) >= len;
}

/* Plain words between slashes: never absolute, never upwards, never hidden */
static bool file_name_ok(const char *name)
{
	size_t parts = 0;

	for (;;) {
		size_t len = strcspn(name, "/");

		if (++parts > PACK_MAX_PARTS || !part_ok(name, len))
			return false;
		if (!name[len])
			return parts > 1;
		name += len + 1;
	}
}

static int check_file(const char *name, const json_t *file, struct lab_err *err)
{
	json_int_t size = -1, data = -1;
	const char *sha = "";

	if (!file_name_ok(name))
		return refuse(err, name, "cannot be the name of a file in it");
	if (json_unpack((json_t *)file, "{s:I s:I s:s}", "size", &size, "data", &data, "sha256",
			&sha) < 0 ||
	    size < 0 || (uint64_t)size > IMAGE_MAX_SIZE || data < 0 || data > size ||
	    strlen(sha) != DIGEST_HEX - 1)
		return refuse(err, name, "has no proper size and digest");
	return 0;
}

static int check_manifest(const json_t *m, struct lab_err *err)
{
	const char *format = json_string_value(json_object_get(m, "format"));
	json_t *files = json_object_get(m, "files"), *file;
	const char *name;
	int r = 0;

	if (!format || strcmp(format, PACK_FORMAT) || !json_is_object(files))
		return lab_fail(err, -EINVAL, "refused: this is not an exported lab");
	if (json_integer_value(json_object_get(m, "version")) != PACK_VERSION)
		return lab_fail(err, -EPROTO, "it was exported by a newer labd");
	json_object_foreach(files, name, file)
		if (!r)
			r = check_file(name, file, err);
	return r;
}

/* The next member, which is a plain file; 0 at the end, else 1 */
static int next(struct pack *p, struct archive_entry **ret, const char **ret_name,
		struct lab_err *err)
{
	int r = archive_read_next_header(p->a, ret);

	if (r == ARCHIVE_EOF)
		return 0;
	if (r != ARCHIVE_OK)
		return fail_read(p->a, err);
	*ret_name = archive_entry_pathname(*ret);
	if (!*ret_name)
		return refuse(err, "?", "is no name");
	if (archive_entry_filetype(*ret) != AE_IFREG || archive_entry_hardlink(*ret) ||
	    archive_entry_symlink(*ret) || !archive_entry_size_is_set(*ret))
		return refuse(err, *ret_name, "is not a plain file");
	return 1;
}

/* A member of text at the beginning; malloced */
static int read_text(struct pack *p, const char *want, size_t max, char **ret, size_t *ret_len,
		     struct lab_err *err)
{
	struct archive_entry *e = NULL;
	autofree char *text = NULL;
	const char *name = "";
	la_ssize_t n;
	size_t size;
	int r = next(p, &e, &name, err);

	if (r < 0)
		return r;
	if (!r || strcmp(name, want))
		return lab_fail(err, -EINVAL,
				"refused: this is not an exported lab: it does not"
				" begin with its manifest");
	if (archive_entry_size(e) < 0 || (uint64_t)archive_entry_size(e) > max)
		return refuse(err, want, "is too large");
	size = (size_t)archive_entry_size(e);
	text = calloc(1, size + 1);
	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	n = archive_read_data(p->a, text, size);
	if (n < 0 || (size_t)n != size)
		return fail_read(p->a, err);
	*ret = steal_ptr(text);
	*ret_len = size;
	return 0;
}

static int read_manifest(struct pack *p, struct lab_err *err)
{
	autofree char *text = NULL, *sum = NULL;
	char hex[DIGEST_HEX];
	size_t len = 0, sum_len = 0;
	int r = read_text(p, "manifest.json", PACK_MAX_MANIFEST, &text, &len, err);

	if (!r)
		r = read_text(p, "manifest.sha256", DIGEST_HEX, &sum, &sum_len, err);
	if (r < 0 || !text || !sum)
		return r;
	if (strcmp(sum, digest_hex(hex, text, len)))
		return lab_fail(err, -EUCLEAN,
				"the file is damaged: its manifest is not what it"
				" was");
	if (jsonl_parse(text, len, &p->manifest) < 0)
		return lab_fail(err, -EINVAL, "refused: its manifest is not JSON");
	return check_manifest(p->manifest, err);
}

static struct archive *new_archive(int fd, struct lab_err *err)
{
	struct archive *a = archive_read_new();

	if (!a || archive_read_support_format_tar(a) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(a) != ARCHIVE_OK) {
		lab_fail(err, -ENOMEM, "libarchive cannot read tar with zstd here");
	} else if (archive_read_open_fd(a, fd, BLOCK) != ARCHIVE_OK) {
		fail_read(a, err);
	} else {
		return a;
	}
	archive_read_free(a);
	return NULL;
}

int pack_open(int fd, struct pack **ret, struct lab_err *err)
{
	struct pack *p = calloc(1, sizeof(*p));
	int r;

	if (!p || !(p->seen = json_object())) {
		free(p);
		return lab_fail(err, -ENOMEM, "out of memory");
	}
	p->a = new_archive(fd, err);
	r = p->a ? read_manifest(p, err) : err->code;
	if (r < 0)
		pack_close(p);
	else
		*ret = p;
	return r;
}

const json_t *pack_manifest(const struct pack *p)
{
	return p->manifest;
}

struct pack *pack_close(struct pack *p)
{
	if (p) {
		archive_read_free(p->a);
		json_decref(p->manifest);
		json_decref(p->seen);
		free(p);
	}
	return NULL;
}

/* ---- files ------------------------------------------------------------------------ */

static uint64_t number(const json_t *file, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(file, key));
}

uint64_t pack_data(const struct pack *p, const json_t *skip)
{
	const char *name;
	uint64_t sum = 0;
	json_t *file;

	json_object_foreach(json_object_get(p->manifest, "files"), name, file)
		if (!json_object_get(skip, name))
			sum += number(file, "data");
	return sum;
}

static int make_file(const char *path, struct lab_err *err)
{
	char parent[IO_PATH], *slash;
	int fd, r;

	io_path(parent, "%s", path);
	slash = strrchr(parent, '/');
	*slash = '\0';
	r = io_mkdirs(parent, 0700);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", parent);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? lab_fail_errno(err, -errno, "%s", path) : fd;
}

static int write_block(int fd, const char *data, size_t len, off_t at)
{
	while (len) {
		ssize_t n = RETRY(pwrite(fd, data, len, at));

		if (n <= 0)
			return n ? -errno : -ENOSPC;
		data += n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

static int advance(struct reading *v, uint64_t bytes, struct lab_err *err)
{
	const struct image_progress *p = v->progress;

	v->done += bytes;
	if (p && p->report)
		p->report(p->arg, "read", v->done, v->total, "bytes");
	return p && p->cancelled && p->cancelled(p->arg)
		       ? lab_fail(err, -ECANCELED, "stopped on request")
		       : 0;
}

/* The data of a member, within what the manifest says of it */
static int copy_data(struct reading *v, const char *name, const json_t *file, int fd,
		     struct lab_err *err)
{
	uint64_t size = number(file, "size"), left = number(file, "data");
	const void *data;
	la_int64_t at;
	size_t len;
	int r;

	while ((r = archive_read_data_block(v->p->a, &data, &len, &at)) == ARCHIVE_OK) {
		if (len > left || at < 0 || (uint64_t)at > size || len > size - (uint64_t)at)
			return refuse(err, name, "has more bytes than the manifest says");
		left -= len;
		r = write_block(fd, data, len, at);
		if (r < 0)
			return lab_fail_errno(err, r, "%s", name);
		r = advance(v, len, err);
		if (r < 0)
			return r;
	}
	if (r != ARCHIVE_EOF)
		return fail_read(v->p->a, err);
	if (ftruncate(fd, (off_t)size) < 0 || fdatasync(fd) < 0)
		return lab_fail_errno(err, -errno, "%s", name);
	return 0;
}

static int extract(struct reading *v, const char *name, const json_t *file, struct lab_err *err)
{
	char path[IO_PATH], hex[DIGEST_HEX];
	autoclose int fd = make_file(io_path(path, "%s/%s", v->dir, name), err);
	int r = fd < 0 ? fd : copy_data(v, name, file, fd, err);

	if (!r)
		r = digest_sparse_fd(fd, hex, err);
	if (!r && strcmp(hex, json_string_value(json_object_get(file, "sha256"))))
		r = lab_fail(err, -EUCLEAN,
			     "the file is damaged: the digest of '%s' is not what the manifest"
			     " says",
			     name);
	return r;
}

static int take(struct reading *v, struct archive_entry *e, const char *name, struct lab_err *err)
{
	const json_t *file = json_object_get(json_object_get(v->p->manifest, "files"), name);

	if (!file)
		return refuse(err, name, "is not in the manifest");
	if (json_object_get(v->p->seen, name))
		return refuse(err, name, "is there twice");
	if (archive_entry_size(e) < 0 || (uint64_t)archive_entry_size(e) != number(file, "size"))
		return refuse(err, name, "has not the size that the manifest says");
	json_object_set_new(v->p->seen, name, json_true());
	return json_object_get(v->skip, name) ? advance(v, 0, err) : extract(v, name, file, err);
}

static int check_complete(const struct pack *p, struct lab_err *err)
{
	const char *name;
	json_t *file;

	json_object_foreach(json_object_get(p->manifest, "files"), name, file)
		if (!json_object_get(p->seen, name))
			return lab_fail(err, -EUCLEAN, "the file is truncated: '%s' is missing",
					name);
	return 0;
}

int pack_extract(struct pack *p, const char *dir, const json_t *skip,
		 const struct image_progress *progress, struct lab_err *err)
{
	struct reading v = { p, dir, skip, progress, 0, pack_data(p, skip) };
	struct archive_entry *e = NULL;
	const char *name = "";
	int r;

	while ((r = next(p, &e, &name, err)) > 0) {
		r = take(&v, e, name, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : check_complete(p, err);
}
