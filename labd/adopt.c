// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * adopt.c - the disks of snapshots to and from other machines
 *
 * DOC: Theory of Operation
 *
 * A disk in a snapshot is a chain of files. One that comes from elsewhere gets a row for
 * each: the top is the snapshot's, those below get numbers of snapshots that
 * are gone, as if they had been frozen here and their snapshots removed since. So they go
 * when nothing stands on them any more.
 */
#define _GNU_SOURCE
#include "labd/disk.h"
#include "labd/layer.h"
#include "labd/store.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* for qemu-img, which changes the header of a foreign file */
#define REBASE_US 60000000ULL
#define REBASE_MEMORY (1ULL << 30)

/* ---- there -------------------------------------------------------------------- */

static json_t *chain_json(struct labd *d, const struct layer *top)
{
	json_t *files = json_array();
	char at[IO_PATH];

	for (io_path(at, "%s", top->path); layer_known(d, at); layer_base(d, at, at))
		json_array_insert_new(files, 0, json_string(at));
	return json_pack("{s:s s:o s:s}", "name", top->disk, "files", files, "base", at);
}

int disks_chains(struct labd *d, const struct instance *in, int64_t snapshot, json_t **ret,
		 struct lab_err *err)
{
	autolayers struct layers l = { 0 };
	autojson json_t *all = json_array();
	int r = layers_of(d, in->id, snapshot, &l, err);

	for (size_t i = 0; i < l.n; i++)
		json_array_append_new(all, chain_json(d, &l.v[i]));
	if (!r)
		*ret = steal_ptr(all);
	return r;
}

/* ---- and back -------------------------------------------------------------------- */

/* Where a file of a disk goes */
static void place(struct labd *d, const struct instance *in, int64_t snapshot, struct layer *l)
{
	char dir[IO_PATH];

	io_path(l->path, "%s/%s.qcow2", disks_frozen_dir(d, in, snapshot, dir), l->disk);
	l->instance = in->id;
	l->snapshot = snapshot;
}

/* The number of a snapshot that is gone */
static int64_t gone_snapshot(struct labd *d, const struct instance *in, struct lab_err *err)
{
	int64_t id = store_run(d->store, err,
			       "INSERT INTO snapshots(lab, name, state, created)"
			       " VALUES(?, ?, 'creating', 0)",
			       "is", in->lab->id, in->name);

	if (id >= 0 && store_run(d->store, err, "DELETE FROM snapshots WHERE id = ?", "i", id) < 0)
		return err->code;
	return id;
}

/* Write into a qcow2 what it stands on; nothing that it names is opened */
static int set_base(const char *path, const char *base, struct lab_err *err)
{
	const char *argv[] = { "qemu-img", "rebase", "-u", "-f", "qcow2", "-F",
			       "qcow2",	   "-b",     base, path, NULL };
	struct run run = { .argv = argv,
			   .deadline = num_now_us() + REBASE_US,
			   .max_memory = REBASE_MEMORY,
			   .max_cpu = REBASE_US / 1000000 };

	return run_program(&run, NULL, err);
}

/* The row first: a file without one would stay */
static int adopt(struct labd *d, const struct instance *in, const struct layer *l, const char *file,
		 struct lab_err *err)
{
	char dir[IO_PATH];
	int r = *l->base ? set_base(file, l->base, err) : 0;

	if (!r)
		r = layer_save(d, l, err);
	if (r < 0)
		return r;
	r = io_mkdirs(disks_frozen_dir(d, in, l->snapshot, dir), 0711);
	if (!r && renameat2(AT_FDCWD, file, AT_FDCWD, l->path, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (!r)
		r = keeper_freeze_file(l->path);
	return r < 0 ? lab_fail_errno(err, r, "%s", l->path) : 0;
}

int disks_adopt(struct labd *d, const struct instance *in, int64_t snapshot,
		const struct disk_files *f, struct lab_err *err)
{
	struct layer l = { .size = f->size };
	int r = 0;

	snprintf(l.disk, sizeof(l.disk), "%s", f->name);
	place(d, in, snapshot, &l);
	/* from the top: a row that nothing stands on is collected */
	for (size_t i = f->n; !r && i-- > 0;) {
		struct layer below = l;
		int64_t gone = i ? gone_snapshot(d, in, err) : 0;

		if (gone < 0)
			return (int)gone;
		if (i)
			place(d, in, gone, &below);
		snprintf(l.base, sizeof(l.base), "%s", i ? below.path : f->base);
		r = adopt(d, in, &l, f->files[i], err);
		l = below;
	}
	return r;
}

void disks_disown(struct labd *d, const struct instance *in, int64_t snapshot)
{
	autolayers struct layers l = { 0 };
	char dir[IO_PATH];
	char *slash;

	(void)layers_of(d, in->id, snapshot, &l, NULL);
	for (size_t i = 0; i < l.n; i++) {
		(void)layer_remove(d, l.v[i].path, NULL);
		unlink(l.v[i].path);
	}
	(void)rmdir(disks_frozen_dir(d, in, snapshot, dir));
	slash = strrchr(dir, '/');
	if (slash) {
		*slash = '\0';
		(void)rmdir(dir);
	}
	disks_collect(d);
}
