// SPDX-License-Identifier: GPL-2.0-or-later
/* layer.c - rows of the store's table `layers`: the qcow2 files of instances */
#define _GNU_SOURCE
#include "labd/layer.h"

#include "labd/store.h"
#include "lib/util.h"

#include <string.h>

#define COLUMNS "path, instance, disk, base, size, snapshot, head"

void layers_done(struct layers *l)
{
	free(l->v);
	*l = (struct layers){ 0 };
}

static int read_layer(void *arg, sqlite3_stmt *st)
{
	struct layers *l = arg;
	struct layer *more = realloc(l->v, (l->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->v = more;
	more += l->n++;
	snprintf(more->path, sizeof(more->path), "%s", store_text(st, 0));
	more->instance = sqlite3_column_int64(st, 1);
	snprintf(more->disk, sizeof(more->disk), "%s", store_text(st, 2));
	snprintf(more->base, sizeof(more->base), "%s", store_text(st, 3));
	more->size = (uint64_t)sqlite3_column_int64(st, 4);
	more->snapshot = sqlite3_column_int64(st, 5);
	snprintf(more->head, sizeof(more->head), "%s", store_text(st, 6));
	return 0;
}

int layers_of(struct labd *d, int64_t instance, int64_t snapshot, struct layers *ret,
	      struct lab_err *err)
{
	return store_each(d->store, err, read_layer, ret,
			  "SELECT " COLUMNS " FROM layers WHERE instance = ? AND snapshot = ?"
			  " ORDER BY disk <> 'root', rowid",
			  "ii", instance, snapshot);
}

int layers_unused(struct labd *d, struct layers *ret)
{
	return store_each(d->store, NULL, read_layer, ret,
			  "SELECT " COLUMNS " FROM layers"
			  " WHERE snapshot > 0 AND snapshot NOT IN (SELECT id FROM snapshots)"
			  " AND path NOT IN (SELECT base FROM layers)",
			  "");
}

int layer_save(struct labd *d, const struct layer *l, struct lab_err *err)
{
	int64_t r = store_run(d->store, err,
			      "INSERT OR REPLACE INTO layers(" COLUMNS ")"
			      " VALUES(?, ?, ?, ?, ?, ?, ?)",
			      "sissiis", l->path, l->instance, l->disk, l->base, (int64_t)l->size,
			      l->snapshot, l->head);

	return r < 0 ? (int)r : 0;
}

int layer_remove(struct labd *d, const char *path, struct lab_err *err)
{
	int64_t r = store_run(d->store, err, "DELETE FROM layers WHERE path = ?", "s", path);

	return r < 0 ? (int)r : 0;
}

static int find(struct labd *d, const char *path, struct layers *ret)
{
	return store_each(d->store, NULL, read_layer, ret,
			  "SELECT " COLUMNS " FROM layers WHERE path = ?", "s", path);
}

bool layer_known(struct labd *d, const char *path)
{
	autolayers struct layers l = { 0 };

	return find(d, path, &l) < 0 || l.n;
}

void layer_base(struct labd *d, const char *path, char base[IO_PATH])
{
	autolayers struct layers l = { 0 };

	(void)find(d, path, &l);
	snprintf(base, IO_PATH, "%s", l.n ? l.v[0].base : "");
}

int64_t layer_image(struct labd *d, const char *path)
{
	char at[IO_PATH], prefix[IO_PATH];
	long long id = 0;
	size_t n;

	io_path(prefix, "%s/images/", d->paths.state);
	n = strlen(prefix);
	for (io_path(at, "%s", path); *at && strncmp(at, prefix, n);)
		layer_base(d, at, at);
	(void)sscanf(at + MIN(strlen(at), n), "%lld", &id);
	return id;
}
