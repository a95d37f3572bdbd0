// SPDX-License-Identifier: GPL-2.0-or-later
/* upload.c - files that are being copied into images/ */
#define _GNU_SOURCE
#include "fs/upload.h"

#include "fs/mirror.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "lib/num.h"
#include "lib/util.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>

#define SPOOL_PREFIX "labfs-"

enum stage {
	STAGE_OPEN, /* is being written */
	STAGE_ASKED, /* labd inspects it */
	STAGE_TAKEN, /* an image now; not in the tree any more */
	STAGE_GONE, /* dropped while files were open */
};

struct upload {
	struct upload *next;
	uint32_t id;
	enum stage stage;
	int fd, failed;
	unsigned int opens;
	bool writer, written;
	uint64_t lingers; /* num_now_us() time until which its name can be looked up */
	struct stat last;
	uint64_t job;
	char *path;
	char name[NAME_MAX + 1];
};

static struct {
	pthread_mutex_t lock;
	struct upload *first;
	uint32_t last_id;
} uploads = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const struct {
	const char *ending, *format;
} formats[] = { { ".qcow2", "qcow2" }, { ".img", "raw" }, { ".raw", "raw" } };

/* The format a file's name says, and the length of the image's name; NULL: none */
static const char *format_of(const char *name, size_t *ret_len)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		size_t n = strlen(formats[i].ending);

		if (len <= n || strcmp(name + len - n, formats[i].ending))
			continue;
		*ret_len = len - n;
		return formats[i].format;
	}
	return NULL;
}

/* Whether a file may be called so, and become an image; held back with a dot */
static int check_name(const char *name, struct lab_err *err)
{
	autoitem struct item item = { 0 };
	autofree char *image = NULL;
	size_t len = 0;

	if (name[0] == '.')
		return 0;
	if (!format_of(name, &len))
		return lab_fail(
			err, -EPERM,
			"'%.100s': a disk to import is called NAME.qcow2, NAME.img or NAME.raw",
			name);
	image = strndup(name, len);
	if (!image)
		return -ENOMEM;
	if (!name_valid(image))
		return lab_fail(err, len > NAME_MAX_LEN ? -ENAMETOOLONG : -EINVAL,
				"'%.100s' cannot be an image's name (%s)", image, NAME_RULE);
	if (model_find(KIND_IMAGE, 0, image, &item))
		return lab_fail(err, -EEXIST, "image %s exists", image);
	return 0;
}

static bool in_tree(const struct upload *u)
{
	return u->stage == STAGE_OPEN || u->stage == STAGE_ASKED;
}

static struct upload *get_locked(uint32_t id)
{
	struct upload *u = uploads.first;

	while (u && u->id != id)
		u = u->next;
	return u;
}

/* The one that is still written; NULL if it is gone */
static struct upload *get_open_locked(uint32_t id)
{
	struct upload *u = get_locked(id);

	return u && u->stage == STAGE_OPEN ? u : NULL;
}

static struct upload *upload_free(struct upload *u)
{
	if (!u)
		return NULL;
	if (u->fd >= 0)
		close(u->fd);
	free(u->path);
	free(u);
	return NULL;
}

static struct node node_of(const struct upload *u)
{
	return (struct node){ .class = CLASS_UPLOAD, .id = u->id };
}

/* As long as what it became is there, so that its name can be used again then */
static bool lingers(const struct upload *u)
{
	autoitem struct item image = { 0 };
	char name[NAME_MAX + 1];
	size_t len;

	if (u->lingers <= num_now_us() || !format_of(u->name, &len))
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)len, u->name);
	return model_find(KIND_IMAGE, 0, name, &image);
}

/* Take it out of the tree; it is freed when no file of it is open */
static void leave_locked(struct upload *u, enum stage stage)
{
	struct node node = node_of(u), up = { .class = CLASS_IMAGES };

	if (stage == STAGE_TAKEN && !fstat(u->fd, &u->last))
		u->lingers = num_now_us() + UPLOAD_LINGER_US;
	if (in_tree(u))
		notify_gone(node_number(&up), node_number(&node), u->name);
	u->stage = stage;
	if (stage == STAGE_GONE && u->path)
		unlink(u->path);
}

static void reap_locked(struct upload *u)
{
	struct upload **at = &uploads.first;

	if (u->opens || u->stage != STAGE_GONE)
		return;
	if (lingers(u)) { /* without its file, which would keep the space */
		if (u->fd >= 0)
			close(u->fd);
		u->fd = -EBADF;
		return;
	}
	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	upload_free(u);
}

static void reap_old_locked(void)
{
	struct upload *next;

	for (struct upload *u = uploads.first; u; u = next) {
		next = u->next;
		reap_locked(u);
	}
}

static int open_spool(struct upload *u, struct lab_err *err)
{
	char state[256], path[IO_PATH];

	io_path(path, "%s/spool", mirror_state_dir(state));
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return lab_fail_errno(err, -errno, "%s", path);
	if (asprintf(&u->path, "%s/" SPOOL_PREFIX "%d-%u", path, getpid(), u->id) < 0) {
		u->path = NULL;
		return -ENOMEM;
	}
	u->fd = open(u->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return u->fd < 0 ? lab_fail_errno(err, -errno, "%s", u->path) : 0;
}

int upload_create(const char *name, struct node *ret, struct lab_err *err)
{
	struct upload *u;
	int r = check_name(name, err);

	if (r < 0)
		return r;
	if (upload_count() >= UPLOAD_MAX)
		return lab_fail(err, -EDQUOT, "%d files are being copied in already", UPLOAD_MAX);
	if (!upload_find(name, ret))
		return lab_fail(err, -EBUSY, "%s is being copied in already", name);
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->fd = -EBADF;
	snprintf(u->name, sizeof(u->name), "%s", name);
	SCOPED_LOCK(&uploads.lock);
	reap_old_locked();
	u->id = ++uploads.last_id;
	r = open_spool(u, err);
	if (r < 0) {
		upload_free(u);
		return r;
	}
	u->next = uploads.first;
	uploads.first = u;
	*ret = node_of(u);
	return 0;
}

bool upload_exists(uint32_t id)
{
	SCOPED_LOCK(&uploads.lock);
	const struct upload *u = get_locked(id);

	return u && (in_tree(u) || lingers(u));
}

size_t upload_count(void)
{
	size_t n = 0;

	SCOPED_LOCK(&uploads.lock);
	for (const struct upload *u = uploads.first; u; u = u->next)
		n += in_tree(u);
	return n;
}

int upload_find(const char *name, struct node *ret)
{
	SCOPED_LOCK(&uploads.lock);

	for (const struct upload *u = uploads.first; u; u = u->next) {
		if ((!in_tree(u) && !lingers(u)) || strcmp(u->name, name) != 0)
			continue;
		*ret = node_of(u);
		return 0;
	}
	return -ENOENT;
}

void upload_list(member_fn fn, void *arg)
{
	SCOPED_LOCK(&uploads.lock);

	for (const struct upload *u = uploads.first; u; u = u->next) {
		struct node node = node_of(u);

		if (in_tree(u) && !fn(arg, u->name, &node))
			return;
	}
}

int upload_stat(uint32_t id, struct stat *ret)
{
	SCOPED_LOCK(&uploads.lock);
	const struct upload *u = get_locked(id);
	struct stat st;

	if (!u || (!in_tree(u) && !lingers(u)))
		return -ENOENT;
	if (!in_tree(u))
		st = u->last;
	else if (fstat(u->fd, &st) < 0)
		return -errno;
	ret->st_blksize = UPLOAD_BLOCK;
	ret->st_size = st.st_size;
	ret->st_blocks = st.st_blocks;
	ret->st_atim = st.st_atim;
	ret->st_mtim = st.st_mtim;
	ret->st_ctim = st.st_ctim;
	return 0;
}

const char *upload_name(uint32_t id, char *buf)
{
	SCOPED_LOCK(&uploads.lock);
	const struct upload *u = get_locked(id);

	snprintf(buf, NAME_MAX + 1, "%s", u ? u->name : "");
	return buf;
}

int upload_hold(uint32_t id, bool writes, struct lab_err *err)
{
	SCOPED_LOCK(&uploads.lock);
	struct upload *u = get_locked(id);

	if (u && !in_tree(u) && lingers(u))
		return lab_fail(err, -EEXIST, "%s is an image now", u->name);
	if (!u || !in_tree(u))
		return lab_fail(err, -ENODEV, "it is gone");
	if (writes && (u->writer || u->stage != STAGE_OPEN))
		return lab_fail(err, -EBUSY, "%s is being copied in already", u->name);
	u->writer |= writes;
	u->opens++;
	return 0;
}

void upload_release(uint32_t id, bool writes)
{
	SCOPED_LOCK(&uploads.lock);
	struct upload *u = get_locked(id);

	if (!u)
		return;
	if (writes)
		u->writer = false;
	u->opens--;
	if (!u->opens && u->stage == STAGE_OPEN && u->name[0] != '.')
		leave_locked(u, STAGE_GONE);
	reap_locked(u);
}

/* The descriptor for one system call without the lock; the caller holds it open */
static int fd_of(uint32_t id)
{
	SCOPED_LOCK(&uploads.lock);
	const struct upload *u = get_open_locked(id);

	return u ? u->fd : -ENODEV;
}

ssize_t upload_read(uint32_t id, void *buf, size_t size, off_t off)
{
	int fd = fd_of(id);
	ssize_t n = fd < 0 ? fd : RETRY(pread(fd, buf, size, off));

	return n == -1 ? -errno : n;
}

/* Remember a failure, for the close; 0 or the failure */
static int note_write(uint32_t id, ssize_t n)
{
	SCOPED_LOCK(&uploads.lock);
	struct upload *u = get_open_locked(id);

	if (!u)
		return -ENODEV;
	u->written = true;
	if (n < 0 && !u->failed)
		u->failed = -errno;
	return n < 0 ? -errno : 0;
}

ssize_t upload_write(uint32_t id, const void *buf, size_t size, off_t off)
{
	size_t done = 0;
	int fd = fd_of(id);

	if (fd < 0)
		return fd;
	while (done < size) {
		ssize_t n = -1;
		int r;

		if (off + (off_t)size > UPLOAD_MAX_SIZE)
			errno = EFBIG;
		else
			n = RETRY(pwrite(fd, (const char *)buf + done, size - done,
					 off + (off_t)done));
		r = note_write(id, n);
		if (r < 0)
			return r;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static ssize_t copy_range(int from, off_t off_in, int to, off_t off_out, size_t size)
{
	struct file_clone_range range = { .src_fd = from,
					  .src_offset = (uint64_t)off_in,
					  .src_length = size,
					  .dest_offset = (uint64_t)off_out };

	if (!ioctl(to, FICLONERANGE, &range))
		return (ssize_t)size;
	return RETRY(copy_file_range(from, &off_in, to, &off_out, MIN(size, UPLOAD_COPY_MAX), 0));
}

ssize_t upload_copy(uint32_t id, int from, off_t off_in, off_t off_out, size_t size)
{
	int fd = fd_of(id), r;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (fstat(from, &st) < 0)
		return -errno;
	if (off_in >= st.st_size)
		return 0;
	size = MIN(size, (size_t)(st.st_size - off_in));
	if (off_out > UPLOAD_MAX_SIZE - (off_t)size)
		return -EFBIG;
	n = copy_range(from, off_in, fd, off_out, size);
	/* The kernel reads and writes itself then */
	if (n < 0 && (errno == EXDEV || errno == EOPNOTSUPP || errno == EINVAL))
		return -EOPNOTSUPP;
	r = note_write(id, n);
	return r < 0 ? r : n;
}

int upload_truncate(uint32_t id, off_t size)
{
	int fd = fd_of(id);

	if (fd < 0)
		return fd;
	if (size > UPLOAD_MAX_SIZE)
		return -EFBIG;
	return size			     ? note_write(id, RETRY(ftruncate(fd, size)))
	       : RETRY(ftruncate(fd, 0)) < 0 ? -errno
					     : 0;
}

int upload_fallocate(uint32_t id, int mode, off_t off, off_t len)
{
	int fd = fd_of(id);

	if (fd < 0)
		return fd;
	if (off > UPLOAD_MAX_SIZE || len > UPLOAD_MAX_SIZE - off)
		return -EFBIG;
	return RETRY(fallocate(fd, mode, off, len)) < 0 ? -errno : 0;
}

off_t upload_seek(uint32_t id, off_t off, int whence)
{
	int fd = fd_of(id);
	off_t at = fd < 0 ? fd : lseek(fd, off, whence);

	return at == -1 ? -errno : at;
}

/* The n-th field of /proc/PID/stat, from 3 (what follows the name) on */
static uint64_t stat_field(const char *text, int n)
{
	const char *at = strrchr(text, ')');

	for (int field = 3; at && field <= n; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

#define STAT_FLAGS 9
#define STAT_EXIT_CODE 52
#define FLAG_EXITING 0x4 /* PF_EXITING, since Linux 2.6 */

/* Whether a process closes its files because a signal ends it */
static bool was_killed(pid_t pid)
{
	autofree char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (pid <= 0 || io_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return false;
	return stat_field(text, STAT_FLAGS) & FLAG_EXITING &&
	       stat_field(text, STAT_EXIT_CODE) & 0x7f;
}

static int ask_locked(struct upload *u, struct action *ret)
{
	size_t len = 0;
	const char *format = format_of(u->name, &len);

	ret->method = "POST";
	client_path(ret->path, "/v1/images");
	snprintf(ret->name, sizeof(ret->name), "%.*s", (int)len, u->name);
	ret->body = json_pack("{s:s, s:s, s:s, s:b}", "import", u->path, "name", ret->name,
			      "format", format, "consume", 1);
	ret->until = UNTIL_APPEARED;
	ret->kind = KIND_IMAGE;
	if (!ret->body)
		return -ENOMEM;
	u->stage = STAGE_ASKED;
	return 0;
}

int upload_close(uint32_t id, pid_t pid, struct action *ret, struct lab_err *err)
{
	SCOPED_LOCK(&uploads.lock);
	struct upload *u = get_open_locked(id);
	int r = 0;

	if (!u || (!u->written && !u->failed))
		return 1;
	if (u->name[0] != '.' && was_killed(pid))
		r = lab_fail(err, -EINTR, "the copy of %s was killed", u->name);
	else if (u->failed)
		r = lab_fail_errno(err, u->failed, "writing %s", u->name);
	if (r < 0) {
		leave_locked(u, STAGE_GONE);
		return r;
	}
	return u->name[0] == '.' ? 1 : ask_locked(u, ret);
}

/* What has the name that another is to get, goes, as rename(2) says; unless it is in use */
static int replace_locked(const struct upload *by, const char *name, bool replace,
			  struct lab_err *err)
{
	struct upload *u = uploads.first;

	while (u && (u == by || !in_tree(u) || strcmp(u->name, name) != 0))
		u = u->next;
	if (!u)
		return 0;
	if (!replace)
		return lab_fail(err, -EEXIST, "%s exists", name);
	if (u->writer || u->stage != STAGE_OPEN)
		return lab_fail(err, -EBUSY, "%s is being copied in already", name);
	leave_locked(u, STAGE_GONE);
	reap_locked(u);
	return 0;
}

int upload_rename(uint32_t id, const char *name, bool replace, struct action *ret,
		  struct lab_err *err)
{
	struct upload *u;
	int r = check_name(name, err);

	if (r < 0)
		return r;
	SCOPED_LOCK(&uploads.lock);
	u = get_open_locked(id);
	if (!u)
		return lab_fail(err, -EBUSY, "it is being imported");
	if (u->failed)
		return lab_fail_errno(err, u->failed, "writing %s", u->name);
	r = replace_locked(u, name, replace, err);
	if (r < 0)
		return r;
	snprintf(u->name, sizeof(u->name), "%s", name);
	/* While it is written, its close asks */
	return u->opens || name[0] == '.' ? 1 : ask_locked(u, ret);
}

void upload_asked(uint32_t id, int result, uint64_t job)
{
	SCOPED_LOCK(&uploads.lock);
	struct upload *u = get_locked(id);
	char text[LAB_ERR_TEXT];

	if (!u)
		return;
	u->job = job;
	/* The job may have ended before its number was known here */
	leave_locked(u, result || model_job(job, text) <= 0 ? STAGE_GONE : STAGE_TAKEN);
	reap_locked(u);
}

void upload_drop(uint32_t id)
{
	SCOPED_LOCK(&uploads.lock);
	struct upload *u = get_locked(id);

	if (!u)
		return;
	u->lingers = 0;
	if (u->stage == STAGE_TAKEN)
		return;
	leave_locked(u, STAGE_GONE);
	reap_locked(u);
}

void upload_job(const json_t *job)
{
	const char *state = json_string_value(json_object_get(job, "state"));
	uint64_t id = (uint64_t)json_integer_value(json_object_get(job, "id"));
	struct upload *next;

	if (!state || !strcmp(state, "queued") || !strcmp(state, "running"))
		return;
	SCOPED_LOCK(&uploads.lock);
	for (struct upload *u = uploads.first; u; u = next) {
		next = u->next;
		if (u->stage != STAGE_TAKEN || u->job != id)
			continue;
		leave_locked(u, STAGE_GONE);
		reap_locked(u);
	}
}

/* Whether a process has ended, also if nobody has waited for it yet */
static bool has_ended(pid_t pid)
{
	autofree char *text = NULL;
	char path[64];
	const char *at;

	if (kill(pid, 0) < 0)
		return errno == ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (io_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return false;
	at = strrchr(text, ')');
	return at && !strncmp(at, ") Z", 3);
}

void upload_sweep(void)
{
	char state[256], path[IO_PATH];
	autodir DIR *dir = NULL;
	struct dirent *d;

	io_path(path, "%s/spool", mirror_state_dir(state));
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		int pid, n;

		if (sscanf(d->d_name, SPOOL_PREFIX "%d-%d", &pid, &n) == 2 && has_ended(pid))
			unlinkat(dirfd(dir), d->d_name, 0);
	}
}
