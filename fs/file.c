// SPDX-License-Identifier: GPL-2.0-or-later
/* file.c - open files: values, logs, sealed disks, uploads */
#define _GNU_SOURCE
#include "fs/live.h"
#include "fs/tree.h"

#include "fs/events.h"
#include "fs/notify.h"
#include "fs/upload.h"
#include "lib/base64.h"
#include "lib/util.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

static struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

static bool is_upload(const struct handle *h)
{
	return h->node.class == CLASS_UPLOAD;
}

/* Filled by labd while it is open */
static bool is_live(enum entry_type type)
{
	return type == ENTRY_CAPTURE || type == ENTRY_OUTPUT;
}

/* Not known yet, but soon */
static bool is_late(const struct ref *ref)
{
	return ref->entry && ref->entry->late && ref->entry->late(ref) > 0;
}

/* The permissions hold for everybody, also for root */
static int check_mode(const struct entry *entry, int flags)
{
	int mode = flags & O_ACCMODE;

	if (mode != O_WRONLY && !(entry->mode & 0400))
		return -EACCES;
	if (mode == O_RDONLY || entry->mode & 0200)
		return 0;
	return entry->type == ENTRY_DISK || entry->type == ENTRY_LOG || is_live(entry->type)
		       ? -EROFS
		       : -EACCES;
}

static int open_path(const struct ref *ref, struct handle *h)
{
	char path[IO_PATH];
	int r = ref->entry->path(ref, path);

	if (r < 0)
		return r;
	h->fd = open(path, O_RDONLY | O_CLOEXEC);
	return h->fd < 0 ? -errno : 0;
}

static double time_of(const struct ref *ref)
{
	return model_mtime(ref->item.kind, ref->item.id, ref->entry->key);
}

/* Capture the value, so that its size and its text belong together */
static int capture(const struct ref *ref, struct handle *h)
{
	free(steal_ptr(h->data));
	h->captured = time_of(ref);
	h->len = 0;
	return node_value(ref, &h->data, &h->len);
}

static int open_entry(const struct ref *ref, struct handle *h, struct fuse_file_info *fi)
{
	int r = check_mode(ref->entry, fi->flags);

	if (r < 0)
		return r;
	fi->direct_io = 1;
	switch (ref->entry->type) {
	case ENTRY_TEXT:
	case ENTRY_BULK:
		return (fi->flags & O_ACCMODE) == O_WRONLY ? 0 : capture(ref, h);
	case ENTRY_DISK:
		fi->direct_io = 0;
		fi->keep_cache = 1;
		return open_path(ref, h);
	case ENTRY_LOG:
		(void)open_path(ref, h); /* it may come later */
		return 0;
	case ENTRY_EVENTS:
	case ENTRY_SHOT:
	case ENTRY_CAPTURE:
	case ENTRY_OUTPUT:
	case ENTRY_LINK:
	case ENTRY_DIR:
		break;
	}
	return 0;
}

/**
 * struct opening - a file that waits for labd to be opened
 * @kind, @id, @where: for a refusal
 */
struct opening {
	fuse_req_t req;
	struct handle *h;
	struct fuse_file_info fi;
	enum kind kind;
	uint32_t id;
	char *where;
};

static void opening_free(struct opening *o)
{
	free(o->where);
	free(o);
}

static void reply_opened(struct opening *o, fuse_req_t req)
{
	o->fi.fh = (uintptr_t)o->h;
	if (fuse_reply_open(req, &o->fi) < 0)
		file_release(NULL, o->h->number, &o->fi);
	opening_free(o);
}

static void finish_opening(struct opening *o, fuse_req_t req, int result)
{
	if (req && !result) {
		reply_opened(o, req);
		return;
	}
	if (req)
		fuse_reply_err(req, -result);
	handle_free(o->h);
	opening_free(o);
}

/* The picture is there, or not */
static void finish_shot(struct pending *p, int result)
{
	struct opening *o = p->arg;
	const char *text = NULL;
	unsigned char *bytes = NULL;

	if (!result && (json_unpack(p->action.answer, "{s:s}", "png", &text) < 0 ||
			base64_bytes(text, &bytes, &o->h->len) < 0))
		result = -EIO;
	o->h->data = (char *)bytes;
	finish_opening(o, p->req, result);
}

/* The value is known, or not */
static void finish_late(struct pending *p, int result)
{
	struct opening *o = p->arg;
	autoref struct ref ref = { 0 };

	if (!result)
		result = node_resolve(o->h->number, &ref) < 0 ? -ENODEV : capture(&ref, o->h);
	finish_opening(o, p->req, result);
}

/* Called by libfuse in the loop: Ctrl-C while it waits */
static void on_interrupt(fuse_req_t req, void *arg)
{
	struct opening *o = arg;

	if (!live_cancel(o))
		return;
	fuse_reply_err(req, EINTR);
	handle_free(o->h);
	opening_free(o);
}

static void on_live(void *arg, struct live *l, int result, const struct lab_err *err)
{
	static const struct lab_err full = { -EMFILE, "labfs has too many files open" };
	struct opening *o = arg;
	int fd = result ? -1 : live_file(l);

	/* Waits until on_interrupt() is not being called, and it never is again */
	fuse_req_interrupt_func(o->req, NULL, NULL);
	if (fd >= 0) {
		o->h->live = l;
		o->h->fd = fd;
		reply_opened(o, o->req);
		return;
	}
	if (!result) {
		live_close(l);
		result = full.code;
		err = &full;
	}
	action_refuse(o->where, o->kind, o->id, err);
	fuse_reply_err(o->req, -result);
	handle_free(o->h);
	opening_free(o);
}

/* libfuse would call on_interrupt() with a request that it may not free, if it is known already */
static void open_live(fuse_req_t req, struct opening *o, const char *path)
{
	if (!fuse_req_interrupted(req))
		fuse_req_interrupt_func(req, on_interrupt, o);
	live_open(&o->h->node, path, o->h->type == ENTRY_OUTPUT, on_live, o);
}

static void submit_late(fuse_req_t req, const struct ref *ref, struct opening *o)
{
	autoaction struct action action = { .method = "GET",
					    .until = UNTIL_KNOWN,
					    .kind = ref->item.kind,
					    .id = ref->item.id,
					    .key = ref->entry->key };

	attr_path(&ref->item, NULL, action.path);
	tree_submit(req, ref, NULL, &action, finish_late, o);
}

/* What only labd knows: the answer comes from another thread */
static void open_later(fuse_req_t req, const struct ref *ref, struct handle *h,
		       const struct fuse_file_info *fi)
{
	autoaction struct action action = { .method = "GET", .until = UNTIL_ANSWERED };
	struct opening *o = calloc(1, sizeof(*o));
	char path[CLIENT_PATH];

	if (!o || !(o->where = tree_where(ref, NULL))) {
		free(o);
		handle_free(h);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	o->req = req;
	o->h = h;
	o->fi = *fi;
	o->kind = ref->item.kind;
	o->id = ref->item.id;
	if (is_late(ref)) {
		submit_late(req, ref, o);
		return;
	}
	ref->entry->ask(ref, path);
	if (is_live(h->type)) {
		open_live(req, o, path);
		return;
	}
	snprintf(action.path, sizeof(action.path), "%s", path);
	tree_submit(req, ref, NULL, &action, finish_shot, o);
}

static void open_upload(fuse_req_t req, struct handle *h, struct fuse_file_info *fi)
{
	static const struct ref images = { .class = &class_images,
					   .node = { .class = CLASS_IMAGES } };
	struct lab_err err = LAB_ERR_INIT;
	char name[NAME_MAX + 1];
	int r;

	h->writes = (fi->flags & O_ACCMODE) != O_RDONLY;
	r = upload_hold(h->node.id, h->writes, &err);
	if (r < 0) {
		tree_refuse(req, &images, upload_name(h->node.id, name), r, &err);
		handle_free(h);
		return;
	}
	if (h->writes && fi->flags & O_TRUNC)
		(void)upload_truncate(h->node.id, 0); /* fails if it is gone: so will writes */
	fi->direct_io = 1;
	fi->fh = (uintptr_t)h;
	if (fuse_reply_open(req, fi) < 0)
		file_release(NULL, h->number, fi);
}

void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	autoref struct ref ref = { 0 };
	struct handle *h;
	int r;

	if (node_resolve(ino, &ref) < 0) {
		fuse_reply_err(req, tree_gone(ino));
		return;
	}
	h = handle_new(&ref);
	if (!h) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (is_upload(h)) {
		open_upload(req, h, fi);
		return;
	}
	r = open_entry(&ref, h, fi);
	if (!r && (h->type == ENTRY_SHOT || is_live(h->type) || is_late(&ref))) {
		open_later(req, &ref, h, fi);
		return;
	}
	if (r < 0) {
		handle_free(h);
		fuse_reply_err(req, -r);
		return;
	}
	fi->fh = (uintptr_t)h;
	if (fuse_reply_open(req, fi) < 0)
		file_release(NULL, ino, fi);
}

/* Only images are made by making a file */
static int create(const struct ref *dir, const char *name, struct ref *ret, struct lab_err *err)
{
	struct node node;
	int r;

	if (dir->node.class != CLASS_IMAGES || dir->entry)
		return lab_fail(err, -EPERM, "no files can be made here");
	if (!model_is_online()) /* said now, not after gigabytes were copied */
		return lab_fail(err, -ECONNREFUSED, "labd is not there to take it");
	r = upload_create(name, &node, err);
	return r < 0 ? r : node_resolve(node_number(&node), ret);
}

void file_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		 struct fuse_file_info *fi)
{
	autoref struct ref dir = { 0 }, ref = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	struct fuse_entry_param entry = { 0 };
	struct handle *h;
	int r;

	(void)mode;
	if (node_resolve(parent, &dir) < 0) {
		fuse_reply_err(req, tree_gone(parent));
		return;
	}
	r = create(&dir, name, &ref, &err);
	if (!r)
		r = tree_entry(&ref, &entry);
	if (r < 0) {
		tree_refuse(req, &dir, name, r, &err);
		return;
	}
	h = handle_new(&ref);
	if (!h || upload_hold(ref.node.id, true, &err) < 0) {
		upload_drop(ref.node.id);
		if (h)
			handle_free(h);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	h->writes = true;
	fi->direct_io = 1;
	fi->fh = (uintptr_t)h;
	if (fuse_reply_create(req, &entry, fi) < 0)
		file_release(NULL, entry.ino, fi);
}

static void reply_slice(fuse_req_t req, const char *data, size_t len, size_t size, off_t off)
{
	if ((size_t)off >= len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, data + off, MIN(size, len - (size_t)off));
}

static void reply_fd(fuse_req_t req, int fd, size_t size, off_t off)
{
	struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);

	buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	buf.buf[0].fd = fd;
	buf.buf[0].pos = off;
	fuse_reply_data(req, &buf, FUSE_BUF_SPLICE_MOVE);
}

/* When a log was rotated, go on with the file that has its name now */
static void follow_log(const struct ref *ref, struct handle *h)
{
	struct stat here, there;
	char path[IO_PATH];
	autoclose int fd = -EBADF;

	if (ref->entry->path(ref, path) < 0 || stat(path, &there) < 0)
		return;
	if (h->fd >= 0 && !fstat(h->fd, &here) && here.st_ino == there.st_ino &&
	    here.st_dev == there.st_dev)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (h->fd >= 0)
		close(h->fd);
	h->fd = steal_fd(&fd);
}

static void read_log(fuse_req_t req, const struct ref *ref, struct handle *h, size_t size,
		     off_t off)
{
	struct stat st;

	if (h->type == ENTRY_LOG)
		follow_log(ref, h);
	if (h->fd < 0 || fstat(h->fd, &st) < 0 || off >= st.st_size) {
		h->position = h->fd < 0 ? 0 : off;
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	size = (size_t)MIN((off_t)size, st.st_size - off);
	h->position = off + (off_t)size;
	reply_fd(req, h->fd, size, off);
}

static void read_events(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	autofree char *buf = malloc(size);
	size_t n = buf ? events_read(off, buf, size) : 0;

	h->position = off + (off_t)n;
	if (buf)
		fuse_reply_buf(req, buf, n);
	else
		fuse_reply_err(req, ENOMEM);
}

static void read_upload(fuse_req_t req, const struct handle *h, size_t size, off_t off)
{
	autofree char *buf = malloc(size);
	ssize_t n = buf ? upload_read(h->node.id, buf, size, off) : -ENOMEM;

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	autoref struct ref ref = { 0 };
	struct handle *h = handle_of(fi);

	if (is_upload(h)) {
		read_upload(req, h, size, off);
		return;
	}
	if (node_resolve(ino, &ref) < 0) {
		fuse_reply_err(req, ENODEV);
		return;
	}
	switch (h->type) {
	case ENTRY_TEXT:
	case ENTRY_BULK:
		/* Who was told by poll() of a change reads again from the start */
		if (!off && h->position && h->captured < time_of(&ref))
			(void)capture(&ref, h);
		h->position = off + (off_t)size;
		reply_slice(req, h->data, h->len, size, off);
		break;
	case ENTRY_SHOT:
		reply_slice(req, h->data, h->len, size, off);
		break;
	case ENTRY_LOG:
	case ENTRY_CAPTURE:
	case ENTRY_OUTPUT:
		read_log(req, &ref, h, size, off);
		break;
	case ENTRY_EVENTS:
		read_events(req, h, size, off);
		break;
	case ENTRY_DISK:
		reply_fd(req, h->fd, size, off);
		break;
	case ENTRY_LINK:
	case ENTRY_DIR:
		fuse_reply_err(req, EINVAL);
		break;
	}
}

/* A written text without the blanks around it; NULL if it is no text */
static char *stripped(const char *buf, size_t size)
{
	autojson json_t *probe = NULL;

	while (size && isspace((unsigned char)buf[size - 1]))
		size--;
	while (size && isspace((unsigned char)*buf)) {
		buf++;
		size--;
	}
	probe = json_stringn(buf, size); /* knows UTF-8 */
	if (!probe || memchr(buf, '\0', size))
		return NULL;
	return strndup(buf, size);
}

static int prepare_store(const struct ref *ref, const char *buf, size_t size, struct action *ret,
			 struct lab_err *err)
{
	autofree char *value = stripped(buf, size);

	if (!value)
		return lab_fail(err, -EINVAL, "what was written is not text");
	return ref->entry->store(ref, value, ret, err);
}

static void finish_write(struct pending *p, int result)
{
	if (!p->req)
		return;
	if (result < 0)
		fuse_reply_err(p->req, -result);
	else
		fuse_reply_write(p->req, (size_t)(uintptr_t)p->arg);
}

/* One write is one command, wherever in the file it is */
static void write_command(fuse_req_t req, const struct ref *ref, const char *buf, size_t size)
{
	autoaction struct action action = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	int r;

	if (size > ENTRY_MAX_COMMAND)
		r = lab_fail(&err, -E2BIG, "at most %d bytes can be written", ENTRY_MAX_COMMAND);
	else
		r = prepare_store(ref, buf, size, &action, &err);
	if (r < 0)
		tree_refuse(req, ref, NULL, r, &err);
	else if (r || !size)
		fuse_reply_write(req, size);
	else
		tree_submit(req, ref, NULL, &action, finish_write, (void *)(uintptr_t)size);
}

/* Collect until the file is closed, in the order it is written */
static void write_bulk(fuse_req_t req, const struct ref *ref, struct handle *h, const char *buf,
		       size_t size)
{
	struct lab_err err = LAB_ERR_INIT;
	char *more;

	if (h->input_len + size > ENTRY_MAX_BULK) {
		lab_fail(&err, -E2BIG, "at most %d bytes can be written", ENTRY_MAX_BULK);
		h->dirty = false;
		tree_refuse(req, ref, NULL, -E2BIG, &err);
		return;
	}
	more = realloc(h->input, h->input_len + size + 1);
	if (!more) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	memcpy(more + h->input_len, buf, size);
	h->input = more;
	h->input_len += size;
	h->dirty = true;
	fuse_reply_write(req, size);
}

void file_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	autoref struct ref ref = { 0 };
	struct handle *h = handle_of(fi);
	ssize_t n;

	if (is_upload(h)) {
		n = upload_write(h->node.id, buf, size, off);
		if (n < 0)
			fuse_reply_err(req, (int)-n);
		else
			fuse_reply_write(req, (size_t)n);
	} else if (node_resolve(ino, &ref) < 0) {
		fuse_reply_err(req, ENODEV);
	} else if (h->type == ENTRY_BULK) {
		write_bulk(req, &ref, h, buf, size);
	} else {
		write_command(req, &ref, buf, size);
	}
}

static void flush_bulk(fuse_req_t req, const struct ref *ref, struct handle *h)
{
	autoaction struct action action = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	int r = prepare_store(ref, h->input, h->input_len, &action, &err);

	h->dirty = false;
	h->input_len = 0;
	if (r < 0)
		tree_refuse(req, ref, NULL, r, &err);
	else if (r)
		fuse_reply_err(req, 0);
	else
		tree_submit(req, ref, NULL, &action, tree_finish, NULL);
}

static void finish_upload(struct pending *p, int result)
{
	upload_asked((uint32_t)(uintptr_t)p->arg, result, p->action.job);
	tree_finish(p, result);
}

static void flush_upload(fuse_req_t req, const struct handle *h)
{
	autoref struct ref images = { .class = &class_images, .node = { .class = CLASS_IMAGES } };
	autoaction struct action action = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	char name[NAME_MAX + 1];
	int r;

	upload_name(h->node.id, name);
	r = upload_close(h->node.id, fuse_req_ctx(req)->pid, &action, &err);

	if (r < 0)
		tree_refuse(req, &images, name, r, &err);
	else if (r)
		fuse_reply_err(req, 0);
	else
		tree_submit(req, &images, name, &action, finish_upload,
			    (void *)(uintptr_t)h->node.id);
}

void file_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	autoref struct ref ref = { 0 };
	struct handle *h = handle_of(fi);

	if (is_upload(h) && h->writes)
		flush_upload(req, h);
	else if (!h->dirty) /* also who has only read an upload */
		fuse_reply_err(req, 0);
	else if (node_resolve(ino, &ref) < 0)
		fuse_reply_err(req, ENODEV);
	else
		flush_bulk(req, &ref, h);
}

/* @req is NULL when an open was answered but the caller had gone */
void file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	notify_forget(h);
	if (is_upload(h))
		upload_release(h->node.id, h->writes);
	live_close(h->live);
	handle_free(h);
	if (req)
		fuse_reply_err(req, 0);
}

/* Values are labd's to keep; a spool file is not worth keeping over a crash */
void file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, 0);
}

/* A file without holes: all data, and a hole at its end */
static off_t seek_plain(off_t len, off_t off, int whence)
{
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (off >= len)
		return -ENXIO;
	return whence == SEEK_DATA ? off : len;
}

void file_seek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	const struct handle *h = handle_of(fi);
	off_t at;

	(void)ino;
	if (is_upload(h)) {
		at = upload_seek(h->node.id, off, whence);
	} else if (h->fd >= 0) {
		at = lseek(h->fd, off, whence);
		at = at < 0 ? -errno : at;
	} else {
		at = seek_plain(h->type == ENTRY_EVENTS ? (off_t)events_size() : (off_t)h->len, off,
				whence);
	}
	if (at < 0)
		fuse_reply_err(req, (int)-at);
	else
		fuse_reply_lseek(req, at);
}

void file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		    struct fuse_file_info *fi)
{
	const struct handle *h = handle_of(fi);
	int r = -EOPNOTSUPP;

	(void)ino;
	if (is_upload(h))
		r = upload_fallocate(h->node.id, mode, off, len);
	fuse_reply_err(req, -r);
}

/* `cp images/a/disk.qcow2 images/b.qcow2`: the data stays in the kernel, and in place if it can */
void file_copy(fuse_req_t req, fuse_ino_t ino, off_t off, struct fuse_file_info *fi, fuse_ino_t to,
	       off_t to_off, struct fuse_file_info *to_fi, size_t size, int flags)
{
	const struct handle *from = handle_of(fi), *h = handle_of(to_fi);
	ssize_t n = -EOPNOTSUPP;

	(void)ino;
	(void)to;
	(void)flags;
	if (from->type == ENTRY_DISK && from->fd >= 0 && is_upload(h))
		n = upload_copy(h->node.id, from->fd, off, to_off, size);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

/* What can be done at once. A value that changed is told as sysfs tells it */
static unsigned int poll_events(const struct ref *ref, const struct handle *h)
{
	struct stat st;

	switch (h->type) {
	case ENTRY_CAPTURE:
	case ENTRY_OUTPUT:
		/* the name may mean a newer file */
		return !fstat(h->fd, &st) && st.st_size != h->position ? POLLIN : 0;
	case ENTRY_LOG:
	case ENTRY_EVENTS:
		return !node_stat(ref, &st) && st.st_size != h->position ? POLLIN : 0;
	case ENTRY_TEXT:
	case ENTRY_BULK:
		return POLLIN | POLLOUT | (h->captured < time_of(ref) ? POLLPRI | POLLERR : 0);
	case ENTRY_SHOT:
	case ENTRY_DISK:
	case ENTRY_LINK:
	case ENTRY_DIR:
		break;
	}
	return POLLIN | POLLOUT;
}

/* The file behind that grows, or NULL */
static const char *growing(const struct ref *ref, const struct handle *h, char path[IO_PATH])
{
	if (is_live(h->type))
		return io_path(path, "/proc/self/fd/%d", h->fd);
	return h->type == ENTRY_LOG && !ref->entry->path(ref, path) ? path : NULL;
}

void file_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
	       struct fuse_pollhandle *ph)
{
	autoref struct ref ref = { 0 };
	const struct handle *h = handle_of(fi);
	char path[IO_PATH];

	if (is_upload(h) || node_resolve(ino, &ref) < 0) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		fuse_reply_poll(req, is_upload(h) ? POLLIN | POLLOUT : POLLERR | POLLHUP);
		return;
	}
	/* Registered before looking, so that no change falls in between */
	if (ph)
		notify_poll(h, ino, growing(&ref, h, path), ph);
	fuse_reply_poll(req, poll_events(&ref, h));
}
