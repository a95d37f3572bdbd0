// SPDX-License-Identifier: GPL-2.0-or-later
/* memory.c - the memories of running instances in snapshots */
#define _GNU_SOURCE
#include "labd/memory.h"

#include "labd/boot.h"
#include "labd/disk.h"
#include "labd/store.h"
#include "lib/digest.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MANIFEST "manifest.json"
#define MAX_MANIFEST (64 << 10)
#define MAX_SEAL 2048

/* A row of the table `memories` */
struct row {
	char dir[IO_PATH], base[IO_PATH], seal[MAX_SEAL];
	bool found;
};

static int read_row(void *arg, sqlite3_stmt *st)
{
	struct row *row = arg;

	snprintf(row->dir, sizeof(row->dir), "%s", store_text(st, 0));
	snprintf(row->base, sizeof(row->base), "%s", store_text(st, 1));
	snprintf(row->seal, sizeof(row->seal), "%s", store_text(st, 2));
	row->found = true;
	return 0;
}

static struct row *find_row(struct labd *d, const char *dir)
{
	struct row *row = calloc(1, sizeof(*row));

	if (row)
		(void)store_each(d->store, NULL, read_row, row,
				 "SELECT dir, base, seal FROM memories WHERE dir = ?", "s", dir);
	if (row && !row->found) {
		free(row);
		return NULL;
	}
	return row;
}

bool memory_exists(struct labd *d, const struct instance *in, int64_t snapshot)
{
	char dir[IO_PATH];
	autofree struct row *row = find_row(d, disks_frozen_dir(d, in, snapshot, dir));

	return row != NULL;
}

int memory_open(struct labd *d, const char *dir, struct ram_chain *c, struct lab_err *err)
{
	autofree struct row *row = find_row(d, dir);
	int r;

	if (!row)
		return lab_fail(err, -ENOENT, "there is no memory in %s", dir);
	r = *row->base ? memory_open(d, row->base, c, err) : 0;
	return r < 0 ? r : ram_chain_push(c, dir, err);
}

const char *memory_file(struct labd *d, const char *dir, char *buf)
{
	autofree struct row *row = find_row(d, dir);

	return row && *row->base ? memory_file(d, row->base, buf) : io_path(buf, "%s/ram", dir);
}

int memory_begin(struct labd *d, struct instance *in, int64_t snapshot, bool *whole,
		 struct ram_chain *c, struct lab_err *err)
{
	char dir[IO_PATH];
	int r = *in->memory ? memory_open(d, in->memory, c, err) : 0;

	*whole |= c->n == RAM_MAX_CHAIN;
	disks_frozen_dir(d, in, snapshot, dir);
	if (!r)
		r = io_mkdirs(dir, 0711);
	if (!r)
		r = *whole ? ram_chain_flatten(c, dir, err) : ram_chain_create(c, dir, err);
	return lab_wrap(err, r, "its memory");
}

int memory_copy_state(const char *dir, const char *to, uid_t owner, struct lab_err *err)
{
	char from[IO_PATH];
	autoclose int in = open(io_path(from, "%s/state.qcow2", dir), O_RDONLY | O_CLOEXEC);
	autoclose int out = -EBADF;
	int r;

	/* a directory that is a guest's: never into what it has put there under this name */
	unlink(to);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (in < 0 || out < 0)
		return lab_fail_errno(err, -errno, "%s", in < 0 ? from : to);
	r = io_copy(in, out);
	if (!r && !geteuid() && fchown(out, owner, (gid_t)-1) < 0)
		r = -errno;
	return r < 0 ? lab_fail_errno(err, r, "%s", to) : 0;
}

/* ---- manifest and seal ------------------------------------------------------- */

/* Digest of one file; memory is sparse, and only what it holds is read */
static int digest_file(int dirfd, const char *name, char hex[DIGEST_HEX], uint64_t *ret_size,
		       struct lab_err *err)
{
	autoclose int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", name);
	*ret_size = (uint64_t)st.st_size;
	return strcmp(name, "ram") ? digest_fd(fd, hex, err) : digest_sparse_fd(fd, hex, err);
}

static bool is_part(const struct dirent *de)
{
	return de->d_name[0] != '.' && strcmp(de->d_name, MANIFEST);
}

/* {name: {"size", "sha256"}} of all files in a directory but the manifest */
static int digest_all(const char *path, json_t *files, struct lab_err *err)
{
	autodir DIR *dir = opendir(path);
	struct dirent *de;
	int r = dir ? 0 : lab_fail_errno(err, -errno, "%s", path);

	while (!r && dir && (de = readdir(dir))) {
		char hex[DIGEST_HEX];
		uint64_t size = 0;

		if (!is_part(de))
			continue;
		r = digest_file(dirfd(dir), de->d_name, hex, &size, err);
		if (!r)
			json_object_set_new(files, de->d_name,
					    json_pack("{s:I s:s}", "size", (json_int_t)size,
						      "sha256", hex));
	}
	return r;
}

/*
 * A frozen disk has another name as long as the QEMU that wrote it may ask for that
 * (frozen.c); when that goes its change time moves, and no byte has changed.
 */
static bool is_disk(const char *name)
{
	const char *end = strrchr(name, '.');

	return end && !strcmp(end, ".qcow2") && strcmp(name, "state.qcow2") != 0;
}

static void add_seal(char *seal, size_t size, int dirfd, const char *name)
{
	size_t n = strlen(seal);
	struct stat st = { 0 };

	(void)fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW);
	if (is_disk(name))
		st.st_ctim = st.st_mtim;
	snprintf(seal + n, size - n, " %s:%lx:%lx:%lld:%lld.%ld:%lld.%ld", name,
		 (unsigned long)st.st_dev, (unsigned long)st.st_ino, (long long)st.st_size,
		 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec,
		 st.st_ctim.tv_nsec);
}

/* What stat() says of the manifest and of the files it names, and the host's boot */
static void make_seal(const char *path, const json_t *files, char seal[MAX_SEAL])
{
	autoclose int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char boot[IO_BOOT_ID];
	const char *name;
	json_t *file;

	snprintf(seal, MAX_SEAL, "%s", io_boot_id(boot));
	add_seal(seal, MAX_SEAL, dirfd, MANIFEST);
	json_object_foreach((json_t *)files, name, file) {
		add_seal(seal, MAX_SEAL, dirfd, name);
	}
}

static json_t *manifest_new(struct labd *d, struct instance *in, const struct ram_chain *c,
			    const char *base, bool nested, struct lab_err *err)
{
	char machine[DIGEST_HEX];

	if (boot_machine(d, in, machine, err) < 0)
		return NULL;
	return json_pack("{s:i s:s s:s s:s s:s s:I s:s s:b s:o s:{}}", "version", 1, "machine",
			 machine, "qemu", qemu_version(), "accel", d->accel.name, "cpu",
			 d->accel.cpu, "memory", (json_int_t)c->size, "base", base, "nested",
			 nested, "services", json_deep_copy(in->services), "files");
}

static int close_files(const char *dir, json_t *files, struct lab_err *err)
{
	char path[IO_PATH];
	const char *name;
	json_t *file;
	int r = 0;

	json_object_foreach(files, name, file)
		if (!r) {
			r = keeper_freeze_file(io_path(path, "%s/%s", dir, name));
			if (r < 0)
				lab_fail_errno(err, r, "%s", path);
		}
	return r;
}

static int put_row(struct labd *d, const struct instance *in, int64_t snapshot, const char *dir,
		   const char *base, const char *seal, struct lab_err *err)
{
	int64_t r = store_run(d->store, err,
			      "INSERT OR REPLACE INTO memories(dir, snapshot, instance, base, seal)"
			      " VALUES(?, ?, ?, ?, ?)",
			      "siiss", dir, snapshot, in->id, base, seal);

	return r < 0 ? (int)r : 0;
}

/* Unsorted: who reads it makes the same seal, which has the files in the same order */
static int write_manifest(const char *dir, const json_t *manifest, struct lab_err *err)
{
	autofree char *text = json_dumps(manifest, JSON_INDENT(1));
	char path[IO_PATH];
	int r = text ? io_write_file(AT_FDCWD, io_path(path, "%s/" MANIFEST, dir), text,
				     strlen(text), 0400)
		     : -ENOMEM;

	return r < 0 ? lab_fail_errno(err, r, "%s/" MANIFEST, dir) : 0;
}

/* Digest all that is there, write the manifest and the row */
static int seal_dir(struct labd *d, const struct instance *in, int64_t snapshot, const char *dir,
		    json_t *manifest, struct lab_err *err)
{
	json_t *files = json_object_get(manifest, "files");
	const char *base = json_string_value(json_object_get(manifest, "base"));
	char seal[MAX_SEAL];
	int r = digest_all(dir, files, err);

	if (!r)
		r = close_files(dir, files, err);
	/* the manifest is the last: what it names is there */
	if (!r && (r = io_sync_dir(dir)) < 0)
		lab_fail_errno(err, r, "%s: bringing it to the disk", dir);
	if (!r)
		r = write_manifest(dir, manifest, err);
	if (r < 0)
		return r;
	make_seal(dir, files, seal);
	return put_row(d, in, snapshot, dir, base, seal, err);
}

int memory_finish(struct labd *d, struct instance *in, int64_t snapshot, bool whole, bool nested,
		  struct ram_chain *c, struct lab_err *err)
{
	char dir[IO_PATH];
	const char *base = whole ? "" : in->memory;
	autojson json_t *manifest = manifest_new(d, in, c, base, nested, err);
	int r = manifest ? ram_chain_finish(c, disks_frozen_dir(d, in, snapshot, dir), err)
			 : err->code;

	if (!r)
		r = seal_dir(d, in, snapshot, dir, manifest, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&d->lock);
	snprintf(in->memory, sizeof(in->memory), "%.511s", dir);
	pthread_mutex_unlock(&d->lock);
	return instance_save(d, in, err);
}

/* ---- checking ---------------------------------------------------------------- */

static int same(const json_t *manifest, const char *key, const char *now, const char *what,
		struct lab_err *err)
{
	const char *then = json_string_value(json_object_get(manifest, key));

	if (then && !strcmp(then, now))
		return 0;
	return lab_fail(err, -ESTALE, "its memory was saved with %s %.100s, and this is %.100s",
			what, then ? then : "(none)", now);
}

int memory_here(struct labd *d, const json_t *was, struct lab_err *err)
{
	int r = same(was, "accel", d->accel.name, "the accelerator", err);

	if (!r)
		r = same(was, "qemu", qemu_version(), "QEMU", err);
	return r ? r : same(was, "cpu", d->accel.cpu, "the processor", err);
}

static int check_machine(struct labd *d, struct instance *in, const json_t *manifest,
			 struct lab_err *err)
{
	char machine[DIGEST_HEX];
	int r = memory_here(d, manifest, err);

	if (!r)
		r = boot_machine(d, in, machine, err);
	if (!r && strcmp(machine, json_string_value(json_object_get(manifest, "machine")) ?: ""))
		r = lab_fail(err, -ESTALE,
			     "its memory was saved with another machine: memory, processors, disks,"
			     " networks or image have changed since");
	return r;
}

/* The manifest, and all files it names, are what they were */
static int check_files(const char *dir, const json_t *manifest, struct lab_err *err)
{
	autojson json_t *now = json_object();
	const char *name;
	json_t *then;
	int r = digest_all(dir, now, err);

	json_object_foreach(json_object_get(manifest, "files"), name, then)
		if (!r && !json_equal(then, json_object_get(now, name)))
			r = lab_fail(err, -EUCLEAN,
				     "%s/%s is damaged: its size or digest is not what the manifest"
				     " says",
				     dir, name);
	return r;
}

static int read_manifest(const char *dir, json_t **ret, struct lab_err *err)
{
	autofree char *text = NULL;
	char path[IO_PATH];
	int r = io_read_file(AT_FDCWD, io_path(path, "%s/" MANIFEST, dir), MAX_MANIFEST, &text,
			     NULL);

	/* -ENOENT would say that there never was a memory */
	if (r < 0)
		return lab_fail(err, r == -ENOENT ? -EUCLEAN : r, "%s: %s", path, strerror(-r));
	*ret = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(json_object_get(*ret, "files")))
		return lab_fail(err, -EUCLEAN, "%s is damaged", path);
	return 0;
}

/* The files of a memory and of all it stands on; @in: also whether its machine fits */
static int check(struct labd *d, struct instance *in, const char *dir, struct lab_err *err)
{
	autofree struct row *row = find_row(d, dir);
	autojson json_t *manifest = NULL;
	char seal[MAX_SEAL];
	int r;

	if (!row)
		return lab_fail(err, -EUCLEAN, "there is no memory in %s", dir);
	r = *row->base ? check(d, NULL, row->base, err) : 0;
	if (!r)
		r = read_manifest(dir, &manifest, err);
	if (!r && in)
		r = check_machine(d, in, manifest, err);
	if (r < 0)
		return r;
	make_seal(dir, json_object_get(manifest, "files"), seal);
	if (!strcmp(seal, row->seal))
		return 0;
	r = check_files(dir, manifest, err);
	if (!r)
		(void)store_run(d->store, NULL, "UPDATE memories SET seal = ? WHERE dir = ?", "ss",
				seal, dir);
	return r;
}

int memory_fits(struct labd *d, struct instance *in, const char *dir, struct lab_err *err)
{
	return check(d, in, dir, err);
}

bool memory_sealed(struct labd *d, const struct instance *in, int64_t snapshot)
{
	char dir[IO_PATH], seal[MAX_SEAL];

	for (disks_frozen_dir(d, in, snapshot, dir); *dir;) {
		autofree struct row *row = find_row(d, dir);
		autojson json_t *manifest = NULL;

		if (!row || read_manifest(dir, &manifest, NULL) < 0)
			return false;
		make_seal(dir, json_object_get(manifest, "files"), seal);
		if (strcmp(seal, row->seal) != 0)
			return false;
		io_path(dir, "%s", row->base);
	}
	return true;
}

int memory_check(struct labd *d, struct instance *in, int64_t snapshot, struct lab_err *err)
{
	char dir[IO_PATH];

	return check(d, in, disks_frozen_dir(d, in, snapshot, dir), err);
}

/* Bytes on the disk */
static uint64_t files_size(const char *dir)
{
	static const char *const names[] = { "ram", "ram.map", "state.qcow2" };
	char path[IO_PATH];
	uint64_t size = 0;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!stat(io_path(path, "%s/%s", dir, names[i]), &st))
			size += (uint64_t)st.st_blocks * 512;
	return size;
}

void memory_recall_services(struct labd *d, struct instance *in, const char *dir)
{
	autojson json_t *manifest = NULL;
	json_t *services;

	if (read_manifest(dir, &manifest, NULL) < 0)
		return;
	services = json_object_get(manifest, "services");
	SCOPED_LOCK(&d->lock);
	json_object_clear(in->services);
	json_object_update(in->services, services);
}

bool memory_nested(const char *dir)
{
	autojson json_t *manifest = NULL;

	return !read_manifest(dir, &manifest, NULL) &&
	       json_is_true(json_object_get(manifest, "nested"));
}

/* ---- telling -------------------------------------------------------------------- */

int memory_describe(struct labd *d, const char *dir, json_t **ret, uint64_t *ret_used)
{
	autofree struct row *row = find_row(d, dir);

	if (!row)
		return -ENOENT;
	*ret_used = files_size(dir);
	return read_manifest(dir, ret, NULL);
}

static bool stands_on(struct labd *d, const char *dir, const char *what)
{
	autofree struct row *row = NULL;

	if (!strcmp(dir, what))
		return true;
	row = find_row(d, dir);
	return row && *row->base && stands_on(d, row->base, what);
}

/* How many files two chains have in common, from the bottom */
static size_t common_layers(struct labd *d, const char *a, const char *b)
{
	char at[IO_PATH];
	size_t n = 0;

	/* the nearest below @a that is below @b as well, and all below that */
	for (io_path(at, "%s", a); *at;) {
		autofree struct row *row = find_row(d, at);

		if (n || stands_on(d, b, at))
			n++;
		snprintf(at, sizeof(at), "%s", row ? row->base : "");
	}
	return n;
}

int64_t memory_diff(struct labd *d, const char *from, const char *to, struct lab_err *err)
{
	struct ram_chain a = { 0 }, b = { 0 };
	int64_t r = memory_open(d, from, &a, err);

	if (!r)
		r = memory_open(d, to, &b, err);
	if (!r)
		r = ram_chain_diff(&a, &b, common_layers(d, from, to), err);
	ram_chain_close(&a);
	ram_chain_close(&b);
	return r;
}

/* ---- to and from other machines ------------------------------------------------ */

/* The memory in @dir, with all that it stands on, as one file in @tmp */
static int flatten(struct labd *d, const char *dir, const char *tmp, struct lab_err *err)
{
	struct ram_chain c = { 0 };
	int r = memory_open(d, dir, &c, err);

	if (!r && (r = io_mkdirs(tmp, 0700)) < 0)
		lab_fail_errno(err, r, "%s", tmp);
	if (!r)
		r = ram_chain_flatten(&c, tmp, err);
	if (!r)
		r = ram_chain_finish(&c, tmp, err);
	ram_chain_close(&c);
	return r;
}

int memory_flat(struct labd *d, const struct instance *in, int64_t snapshot, const char *tmp,
		json_t **ret, json_t **ret_was, struct lab_err *err)
{
	char dir[IO_PATH];
	autofree struct row *row = find_row(d, disks_frozen_dir(d, in, snapshot, dir));
	autojson json_t *manifest = NULL;
	bool whole = row && !*row->base;
	int r = row ? read_manifest(dir, &manifest, err)
		    : lab_fail(err, -ENOENT, "there is no memory in %s", dir);

	if (!r && !whole)
		r = flatten(d, dir, tmp, err);
	if (r < 0)
		return r;
	*ret = json_pack("{s:o s:o}", "ram", json_sprintf("%s/ram", whole ? dir : tmp),
			 "state.qcow2", json_sprintf("%s/state.qcow2", dir));
	json_object_del(manifest, "files");
	json_object_del(manifest, "base");
	*ret_was = steal_ptr(manifest);
	return 0;
}

/* A manifest of our own, with what the other machine says of the guest's */
static json_t *manifest_of(const struct instance *in, const char *from, const json_t *was,
			   struct lab_err *err)
{
	json_int_t memory = json_integer_value(json_object_get(instance_spec(in), "memory"));
	const char *machine, *qemu, *accel, *cpu;
	char path[IO_PATH];
	struct stat st;

	if (json_unpack((json_t *)was, "{s:s s:s s:s s:s}", "machine", &machine, "qemu", &qemu,
			"accel", &accel, "cpu", &cpu) < 0) {
		lab_fail(err, -EINVAL, "refused: of its memory is not said what it was saved with");
		return NULL;
	}
	if (stat(io_path(path, "%s/ram", from), &st) < 0 || st.st_size != memory) {
		lab_fail(err, -EINVAL,
			 "refused: its memory has not the size that the lab file says");
		return NULL;
	}
	return json_pack("{s:i s:s s:s s:s s:s s:I s:s s:b s:{}}", "version", 1, "machine", machine,
			 "qemu", qemu, "accel", accel, "cpu", cpu, "memory", memory, "base", "",
			 "nested", json_is_true(json_object_get(was, "nested")), "files");
}

int memory_adopt(struct labd *d, struct instance *in, int64_t snapshot, const char *from,
		 const json_t *was, struct lab_err *err)
{
	static const char *const names[] = { "ram", "state.qcow2" };
	autojson json_t *manifest = manifest_of(in, from, was, err);
	char dir[IO_PATH], old[IO_PATH], new[IO_PATH];
	int r;

	if (!manifest)
		return err->code;
	r = io_mkdirs(disks_frozen_dir(d, in, snapshot, dir), 0711);
	for (size_t i = 0; !r && i < ARRAY_SIZE(names); i++) {
		io_path(old, "%s/%s", from, names[i]);
		io_path(new, "%s/%s", dir, names[i]);
		if (renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE) < 0)
			r = -errno;
	}
	return r < 0 ? lab_fail_errno(err, r, "%s", dir)
		     : seal_dir(d, in, snapshot, dir, manifest, err);
}

/* ---- removing ---------------------------------------------------------------- */

/* All but disks, so also what a labd that was killed had begun to write */
static void empty(const char *path)
{
	autodir DIR *dir = opendir(path);
	struct dirent *de;

	while (dir && (de = readdir(dir)))
		if (!is_disk(de->d_name))
			unlinkat(dirfd(dir), de->d_name, 0);
}

static void remove_files(const char *dir)
{
	char path[IO_PATH];

	empty(dir);
	/* with the frozen disks it goes when these do */
	if (!rmdir(dir)) {
		char *slash = strrchr(io_path(path, "%s", dir), '/');

		if (slash) {
			*slash = '\0';
			(void)rmdir(path);
		}
	}
}

void memory_undo(struct labd *d, const struct instance *in, int64_t snapshot)
{
	char dir[IO_PATH];

	/* a finished one that its own stands on by now is collected when it does not */
	if (!strcmp(disks_frozen_dir(d, in, snapshot, dir), in->memory))
		return;
	(void)store_run(d->store, NULL, "DELETE FROM memories WHERE dir = ?", "s", dir);
	remove_files(dir);
}

static int add_dir(void *arg, sqlite3_stmt *st)
{
	json_array_append_new(arg, json_string(store_text(st, 0)));
	return 0;
}

void memory_collect(struct labd *d)
{
	size_t removed;

	do {
		autojson json_t *dirs = json_array();
		const json_t *dir;

		(void)store_each(d->store, NULL, add_dir, dirs,
				 "SELECT dir FROM memories WHERE"
				 " snapshot NOT IN (SELECT id FROM snapshots)"
				 " AND dir NOT IN (SELECT base FROM memories)"
				 " AND dir NOT IN (SELECT memory FROM instances)",
				 "");
		if (json_array_size(dirs) && store_sync(d->store, NULL) < 0)
			return;
		json_array_foreach(dirs, removed, dir) {
			(void)store_run(d->store, NULL, "DELETE FROM memories WHERE dir = ?", "s",
					json_string_value(dir));
			remove_files(json_string_value(dir));
		}
		removed = json_array_size(dirs);
	} while (removed);
}

static int add_size(void *arg, sqlite3_stmt *st)
{
	*(uint64_t *)arg += files_size(store_text(st, 0));
	return 0;
}

uint64_t memory_size(struct labd *d, int64_t snapshot)
{
	uint64_t size = 0;

	(void)store_each(d->store, NULL, add_size, &size,
			 "SELECT dir FROM memories WHERE snapshot = ?", "i", snapshot);
	return size;
}
