// SPDX-License-Identifier: GPL-2.0-or-later
/* pack_write.c - writing the archive of a lab (libarchive) */
#define _GNU_SOURCE
#include "labd/pack.h"

#include "lib/util.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK (256 << 10)
#define MIN_HOLE (64 << 10) /* smaller ones cost more in the list of extents than they save */

/**
 * struct extent - a part of a file that is not a hole
 */
struct extent {
	off_t from, to;
};

/**
 * struct source - a file on its way into the archive
 * @v:		looked for once: what a filesystem calls a hole may change when it writes
 *		its pages back, and the manifest says how much data there is
 * @data:	bytes in its extents
 */
struct source {
	int fd;
	off_t size;
	struct extent *v;
	size_t n;
	uint64_t data;
};

/**
 * struct writing - one pack_write()
 * @sources:	a file each, in the order of the paths
 * @done, @total: bytes of data
 */
struct writing {
	struct archive *a;
	const struct image_progress *progress;
	const char *step;
	uint64_t done, total;
	char *block;
	struct source *sources;
	size_t n;
};

static int add_extent(struct source *s, off_t from, off_t to)
{
	struct extent *more;

	s->data += (uint64_t)(to - from);
	if (s->n && from - s->v[s->n - 1].to < MIN_HOLE) {
		s->data += (uint64_t)(from - s->v[s->n - 1].to);
		s->v[s->n - 1].to = to;
		return 0;
	}
	more = realloc(s->v, (s->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->v = more;
	s->v[s->n++] = (struct extent){ from, to };
	return 0;
}

static int find_extents(struct source *s)
{
	off_t from, to = 0;
	int r = 0;

	while (!r && to < s->size) {
		from = lseek(s->fd, to, SEEK_DATA);
		if (from < 0)
			return errno == ENXIO ? 0 : -errno;
		to = lseek(s->fd, from, SEEK_HOLE);
		r = to < 0 ? -errno : add_extent(s, from, MIN(to, s->size));
	}
	return r;
}

/* Not all at once: a lab has more files than a process may have open */
static int source_open(struct source *s, const char *path, struct lab_err *err)
{
	struct stat st;

	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return lab_fail(err, -EINVAL, "%s is not a regular file", path);
	if (s->size >= 0 && s->size != st.st_size)
		return lab_fail(err, -EBUSY, "%s has changed", path);
	s->size = st.st_size;
	return 0;
}

static void source_close(struct source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -EBADF;
}

static void sources_free(struct writing *w)
{
	for (size_t i = 0; i < w->n; i++) {
		source_close(&w->sources[i]);
		free(w->sources[i].v);
	}
	free(w->sources);
}

static int sources_new(struct writing *w, size_t n, struct lab_err *err)
{
	w->sources = calloc(n + 1, sizeof(*w->sources));
	if (!w->sources) {
		lab_fail(err, -ENOMEM, "out of memory");
		return -ENOMEM;
	}
	for (w->n = 0; w->n < n; w->n++)
		w->sources[w->n] = (struct source){ .fd = -EBADF, .size = -1 };
	return 0;
}

static int check_cancel(const struct writing *w, struct lab_err *err)
{
	const struct image_progress *p = w->progress;

	return p && p->cancelled && p->cancelled(p->arg)
		       ? lab_fail(err, -ECANCELED, "stopped on request")
		       : 0;
}

static void advance(struct writing *w, uint64_t bytes)
{
	w->done += bytes;
	if (w->progress && w->progress->report)
		w->progress->report(w->progress->arg, w->step, w->done, w->total, "bytes");
}

/* ---- manifest -------------------------------------------------------------------- */

static int describe(struct writing *w, struct source *s, const char *name, const char *path,
		    json_t *files, struct lab_err *err)
{
	char hex[DIGEST_HEX];
	int r = source_open(s, path, err);

	if (!r && (r = find_extents(s)) < 0)
		lab_fail_errno(err, r, "%s", path);
	if (!r)
		r = check_cancel(w, err);
	if (!r)
		r = digest_sparse_fd(s->fd, hex, err);
	source_close(s);
	if (r < 0)
		return lab_wrap(err, r, "%s", name);
	json_object_set_new(files, name,
			    json_pack("{s:I s:I s:s}", "size", (json_int_t)s->size, "data",
				      (json_int_t)s->data, "sha256", hex));
	advance(w, s->data);
	return 0;
}

static int describe_all(struct writing *w, json_t *manifest, const json_t *paths,
			struct lab_err *err)
{
	json_t *files = json_object(), *path;
	struct source *s = w->sources;
	const char *name;
	int r = 0;

	json_object_set_new(manifest, "format", json_string(PACK_FORMAT));
	json_object_set_new(manifest, "version", json_integer(PACK_VERSION));
	json_object_set_new(manifest, "files", files);
	w->step = "checksums";
	json_object_foreach((json_t *)paths, name, path)
		if (!r)
			r = describe(w, s++, name, json_string_value(path), files, err);
	w->total = w->done;
	w->done = 0;
	return r;
}

/* ---- archive ---------------------------------------------------------------------- */

/* libarchive's results as errno; the only place that knows them */
static int fail_write(struct archive *a, const char *name, struct lab_err *err)
{
	const char *words = archive_error_string(a);

	if (archive_errno(a) > 0)
		return lab_fail_errno(err, -archive_errno(a), "writing %s", name);
	return lab_fail(err, -EIO, "writing %s: %s", name, words ? words : "libarchive failed");
}

static struct archive *new_archive(int fd)
{
	struct archive *a = archive_write_new();

	if (a && archive_write_set_format_pax(a) == ARCHIVE_OK &&
	    archive_write_add_filter_zstd(a) == ARCHIVE_OK &&
	    archive_write_set_bytes_per_block(a, BLOCK) == ARCHIVE_OK &&
	    archive_write_set_bytes_in_last_block(a, 1) == ARCHIVE_OK &&
	    archive_write_open_fd(a, fd) == ARCHIVE_OK)
		return a;
	archive_write_free(a);
	return NULL;
}

static int put_header(struct writing *w, const char *name, const struct source *s,
		      struct lab_err *err)
{
	struct archive_entry *e = archive_entry_new();
	int r;

	if (!e)
		return lab_fail(err, -ENOMEM, "out of memory");
	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0600);
	archive_entry_set_size(e, s->size);
	if (s->data < (uint64_t)s->size) {
		for (size_t i = 0; i < s->n; i++)
			archive_entry_sparse_add_entry(e, s->v[i].from, s->v[i].to - s->v[i].from);
		/* one that is nothing but a hole has an extent too */
		if (!s->n)
			archive_entry_sparse_add_entry(e, 0, 0);
	}
	r = archive_write_header(w->a, e) < ARCHIVE_OK ? fail_write(w->a, name, err) : 0;
	archive_entry_free(e);
	return r;
}

static int put_bytes(struct writing *w, const char *name, const void *data, size_t len,
		     struct lab_err *err)
{
	while (len) {
		la_ssize_t n = archive_write_data(w->a, data, len);

		if (n <= 0)
			return fail_write(w->a, name, err);
		data = (const char *)data + n;
		len -= (size_t)n;
	}
	return 0;
}

/* The writer wants the bytes of holes too, and leaves them out */
static int put_hole(struct writing *w, const char *name, off_t len, struct lab_err *err)
{
	static const char zero[MIN_HOLE];
	int r = 0;

	for (; !r && len > 0; len -= (off_t)sizeof(zero))
		r = put_bytes(w, name, zero, (size_t)MIN(len, (off_t)sizeof(zero)), err);
	return r;
}

static int put_extent(struct writing *w, const char *name, const struct source *s,
		      const struct extent *x, struct lab_err *err)
{
	for (off_t at = x->from; at < x->to;) {
		size_t want = (size_t)MIN(x->to - at, (off_t)BLOCK);
		ssize_t n = RETRY(pread(s->fd, w->block, want, at));
		int r = n > 0 ? check_cancel(w, err)
			      : lab_fail_errno(err, n ? -errno : -EIO, "reading %s", name);

		if (!r)
			r = put_bytes(w, name, w->block, (size_t)n, err);
		if (r < 0)
			return r;
		at += n;
		advance(w, (uint64_t)n);
	}
	return 0;
}

static int put_file(struct writing *w, struct source *s, const char *name, const char *path,
		    struct lab_err *err)
{
	int r = source_open(s, path, err);
	off_t at = 0;

	if (!r)
		r = put_header(w, name, s, err);
	for (size_t i = 0; !r && i < s->n; i++) {
		r = put_hole(w, name, s->v[i].from - at, err);
		if (!r)
			r = put_extent(w, name, s, &s->v[i], err);
		at = s->v[i].to;
	}
	if (!r)
		r = put_hole(w, name, s->size - at, err);
	source_close(s);
	return r;
}

static int put_text(struct writing *w, const char *name, const char *text, struct lab_err *err)
{
	struct source s = { .fd = -EBADF, .size = (off_t)strlen(text), .data = strlen(text) };
	int r = put_header(w, name, &s, err);

	return r < 0 ? r : put_bytes(w, name, text, strlen(text), err);
}

static int put_manifest(struct writing *w, const json_t *manifest, struct lab_err *err)
{
	autofree char *text = json_dumps(manifest, JSON_INDENT(1));
	char hex[DIGEST_HEX];
	int r;

	if (!text)
		return lab_fail(err, -ENOMEM, "out of memory");
	if (strlen(text) > PACK_MAX_MANIFEST)
		return lab_fail(err, -E2BIG,
				"the lab is too large for one file: its manifest"
				" has more than 1 MiB");
	r = put_text(w, "manifest.json", text, err);
	return r < 0 ? r : put_text(w, "manifest.sha256", digest_hex(hex, text, strlen(text)), err);
}

static int put_all(struct writing *w, const json_t *manifest, const json_t *paths,
		   struct lab_err *err)
{
	int r = put_manifest(w, manifest, err);
	struct source *s = w->sources;
	const char *name;
	json_t *path;

	w->step = "write";
	json_object_foreach((json_t *)paths, name, path)
		if (!r)
			r = put_file(w, s++, name, json_string_value(path), err);
	if (!r && archive_write_close(w->a) != ARCHIVE_OK)
		r = fail_write(w->a, "its end", err);
	return r;
}

static int write_to(struct writing *w, int fd, json_t *manifest, const json_t *paths,
		    struct lab_err *err)
{
	int r = sources_new(w, json_object_size(paths), err);

	if (!r)
		r = describe_all(w, manifest, paths, err);
	if (r < 0)
		return r;
	w->a = new_archive(fd);
	if (!w->a)
		return lab_fail(err, -ENOMEM, "libarchive cannot write tar with zstd here");
	r = put_all(w, manifest, paths, err);
	archive_write_free(w->a);
	return r;
}

int pack_write(int fd, json_t *manifest, const json_t *paths, const struct image_progress *progress,
	       struct lab_err *err)
{
	autofree char *block = malloc(BLOCK);
	struct writing w = { .progress = progress, .block = block };
	int r = block ? write_to(&w, fd, manifest, paths, err)
		      : lab_fail(err, -ENOMEM, "out of memory");

	sources_free(&w);
	return r;
}
