// SPDX-License-Identifier: GPL-2.0-or-later
/* store.c - what labd knows, in sqlite (WAL), across its own death */
#define _GNU_SOURCE
#include "labd/store.h"

#include "lib/io.h"
#include "lib/util.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

struct store {
	sqlite3 *db;
	pthread_mutex_t lock;
};

/*
 * Schema versions: entry N brings a database of version N to N + 1. Entries
 * are never changed once released; a new need is a new entry. Ids are
 * AUTOINCREMENT: inode numbers of the tree come from them and must never be
 * used again.
 */
static const char *const migrations[] = {
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE images(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
	" state TEXT NOT NULL, recipe TEXT NOT NULL DEFAULT '', base TEXT NOT NULL DEFAULT '',"
	" created REAL NOT NULL, protect INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT "
	"'');"
	"CREATE UNIQUE INDEX image_name ON images(name) WHERE name <> '';"
	"CREATE TABLE labs(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" file TEXT NOT NULL DEFAULT '', spec TEXT NOT NULL, networks TEXT NOT NULL DEFAULT '{}',"
	" keeper INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, changed REAL NOT NULL,"
	" protect INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '');"
	"CREATE TABLE networks(id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" lab INTEGER NOT NULL REFERENCES labs(id) ON DELETE CASCADE, name TEXT NOT NULL,"
	" UNIQUE(lab, name));"
	"CREATE TABLE instances(id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" lab INTEGER NOT NULL REFERENCES labs(id) ON DELETE CASCADE, name TEXT NOT NULL,"
	" state TEXT NOT NULL, want TEXT NOT NULL DEFAULT '', applied TEXT NOT NULL DEFAULT '',"
	" image INTEGER NOT NULL DEFAULT 0, pid INTEGER NOT NULL DEFAULT 0,"
	" start_time INTEGER NOT NULL DEFAULT 0, digest TEXT NOT NULL DEFAULT '',"
	" started REAL NOT NULL DEFAULT 0, ready TEXT NOT NULL DEFAULT '',"
	" console_from INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, changed REAL NOT NULL,"
	" error TEXT NOT NULL DEFAULT '', UNIQUE(lab, name));"
	"CREATE TABLE snapshots(id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" lab INTEGER NOT NULL REFERENCES labs(id) ON DELETE CASCADE, name TEXT NOT NULL,"
	" state TEXT NOT NULL, parent TEXT NOT NULL DEFAULT '', created REAL NOT NULL,"
	" UNIQUE(lab, name));"
	/* every qcow2 file of an instance; snapshot 0: the one the guest writes */
	"CREATE TABLE layers(path TEXT PRIMARY KEY,"
	" instance INTEGER NOT NULL REFERENCES instances(id) ON DELETE CASCADE,"
	" disk TEXT NOT NULL, base TEXT NOT NULL DEFAULT '', size INTEGER NOT NULL,"
	" snapshot INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE jobs(id INTEGER PRIMARY KEY, json TEXT NOT NULL);"
	"CREATE TABLE durations(key TEXT PRIMARY KEY, seconds REAL NOT NULL);",
	/*
	 * golden: the snapshot that up and reset restore; restore: the one that is being
	 * restored now; memory: what the instance's memory stands on
	 */
	"ALTER TABLE labs ADD COLUMN golden INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE labs ADD COLUMN restore INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE instances ADD COLUMN memory TEXT NOT NULL DEFAULT '';"
	"CREATE TABLE memories(dir TEXT PRIMARY KEY, snapshot INTEGER NOT NULL,"
	" instance INTEGER NOT NULL REFERENCES instances(id) ON DELETE CASCADE,"
	" base TEXT NOT NULL DEFAULT '', seal TEXT NOT NULL DEFAULT '');",
	/* at: where the lab stands in the tree of its snapshots; parent is not used any more */
	/* clock: seconds, of a lab ahead of the host's time, of a snapshot its time */
	"ALTER TABLE labs ADD COLUMN clock REAL NOT NULL DEFAULT 0;"
	"ALTER TABLE snapshots ADD COLUMN clock REAL NOT NULL DEFAULT 0;"
	"ALTER TABLE labs ADD COLUMN restoring TEXT NOT NULL DEFAULT '[]';"
	/* frozen files may outlive their instance and lab: clones stand on them */
	"CREATE TABLE new_layers(path TEXT PRIMARY KEY, instance INTEGER NOT NULL,"
	" disk TEXT NOT NULL, base TEXT NOT NULL DEFAULT '', size INTEGER NOT NULL,"
	" snapshot INTEGER NOT NULL DEFAULT 0, head TEXT NOT NULL DEFAULT '');"
	"INSERT INTO new_layers SELECT path, instance, disk, base, size, snapshot, '' FROM layers;"
	"DROP TABLE layers;"
	"ALTER TABLE new_layers RENAME TO layers;"
	"DROP TABLE memories;"
	"CREATE TABLE memories(dir TEXT PRIMARY KEY, snapshot INTEGER NOT NULL,"
	" instance INTEGER NOT NULL, base TEXT NOT NULL DEFAULT '',"
	" seal TEXT NOT NULL DEFAULT '');"
	"ALTER TABLE labs ADD COLUMN at INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE snapshots ADD COLUMN kind TEXT NOT NULL DEFAULT 'user';"
	"ALTER TABLE snapshots ADD COLUMN spec TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE snapshots ADD COLUMN parent_id INTEGER NOT NULL DEFAULT 0;",
	/* how far each of an instance's services is */
	"ALTER TABLE instances ADD COLUMN services TEXT NOT NULL DEFAULT '{}';",
	/* what was destroyed and can be had again; its own row stays (trash.c) */
	"CREATE TABLE trash(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,"
	" object INTEGER NOT NULL, lab INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL,"
	" since REAL NOT NULL, size INTEGER NOT NULL DEFAULT 0, spec TEXT NOT NULL DEFAULT '',"
	" UNIQUE(kind, object));",
	/* what is still to be done in those that are being restored (enum repair_bits) */
	"ALTER TABLE labs ADD COLUMN repair INTEGER NOT NULL DEFAULT 0;",
	/* QEMUs that wait to take an instance's place (spare.h) */
	"CREATE TABLE spares(instance INTEGER PRIMARY KEY, pid INTEGER NOT NULL,"
	" start_time INTEGER NOT NULL, digest TEXT NOT NULL, run TEXT NOT NULL);",
	/* the machine that an instance runs on: another labd may start another */
	"ALTER TABLE instances ADD COLUMN machine TEXT NOT NULL DEFAULT '';",
};

/* sqlite's results as errno; the only place that knows them */
static int sql_to_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	default:
		return -EIO;
	}
}

static int fail_sql(struct store *s, struct lab_err *err, int rc, const char *what)
{
	return lab_fail(err, sql_to_errno(rc), "the store: %s: %s", what, sqlite3_errmsg(s->db));
}

static void finalize(sqlite3_stmt **st)
{
	sqlite3_finalize(*st);
}

#define autostmt __attribute__((cleanup(finalize)))

static int prepare(struct store *s, struct lab_err *err, sqlite3_stmt **ret, const char *sql,
		   const char *types, va_list ap)
{
	int rc = sqlite3_prepare_v2(s->db, sql, -1, ret, NULL);

	for (int i = 1; rc == SQLITE_OK && types[i - 1]; i++) {
		if (types[i - 1] == 'i')
			rc = sqlite3_bind_int64(*ret, i, va_arg(ap, int64_t));
		else if (types[i - 1] == 'd')
			rc = sqlite3_bind_double(*ret, i, va_arg(ap, double));
		else
			rc = sqlite3_bind_text(*ret, i, va_arg(ap, const char *), -1,
					       SQLITE_TRANSIENT);
	}
	return rc == SQLITE_OK ? 0 : fail_sql(s, err, rc, sql);
}

int64_t store_run(struct store *s, struct lab_err *err, const char *sql, const char *types, ...)
{
	SCOPED_LOCK(&s->lock);
	autostmt sqlite3_stmt *st = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	r = prepare(s, err, &st, sql, types, ap);
	va_end(ap);
	if (r < 0)
		return r;
	r = sqlite3_step(st);
	if (r != SQLITE_DONE && r != SQLITE_ROW)
		return fail_sql(s, err, r, sql);
	return sqlite3_last_insert_rowid(s->db);
}

int store_each(struct store *s, struct lab_err *err, int (*row)(void *arg, sqlite3_stmt *st),
	       void *arg, const char *sql, const char *types, ...)
{
	SCOPED_LOCK(&s->lock);
	autostmt sqlite3_stmt *st = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	r = prepare(s, err, &st, sql, types, ap);
	va_end(ap);
	if (r < 0)
		return r;
	while ((r = sqlite3_step(st)) == SQLITE_ROW) {
		r = row(arg, st);
		if (r < 0)
			return r;
	}
	return r == SQLITE_DONE ? 0 : fail_sql(s, err, r, sql);
}

const char *store_text(sqlite3_stmt *st, int column)
{
	const unsigned char *text = sqlite3_column_text(st, column);

	return text ? (const char *)text : "";
}

void store_lock(struct store *s)
{
	pthread_mutex_lock(&s->lock);
}

void store_unlock(struct store *s)
{
	pthread_mutex_unlock(&s->lock);
}

int store_begin(struct store *s, struct lab_err *err)
{
	int64_t r;

	pthread_mutex_lock(&s->lock);
	r = store_run(s, err, "BEGIN IMMEDIATE", "");
	if (r < 0)
		pthread_mutex_unlock(&s->lock);
	return r < 0 ? (int)r : 0;
}

int store_end(struct store *s, int r, struct lab_err *err)
{
	if (r >= 0) {
		int64_t done = store_run(s, err, "COMMIT", "");

		if (done < 0)
			r = (int)done;
	}
	if (r < 0)
		(void)store_run(s, NULL, "ROLLBACK", "");
	pthread_mutex_unlock(&s->lock);
	return r;
}

int store_sync(struct store *s, struct lab_err *err)
{
	SCOPED_LOCK(&s->lock);
	sqlite3_file *wal = NULL;
	int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);

	/* none is open as long as nothing was written; what left it was synced by sqlite */
	if (rc == SQLITE_OK && wal && wal->pMethods)
		rc = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
	return rc == SQLITE_OK ? 0 : fail_sql(s, err, rc, "bringing its log to the disk");
}

static int read_int(void *arg, sqlite3_stmt *st)
{
	*(int64_t *)arg = sqlite3_column_int64(st, 0);
	return 0;
}

static int migrate(struct store *s, struct lab_err *err)
{
	int64_t version = 0;
	int r = store_each(s, err, read_int, &version, "PRAGMA user_version", "");

	if (r < 0)
		return r;
	if (version < 0)
		return lab_fail(err, -EUCLEAN, "the store is damaged: it has schema %lld",
				(long long)version);
	if (version > (int64_t)ARRAY_SIZE(migrations))
		return lab_fail(err, -EPROTO,
				"the store has schema %lld, this labd knows %zu: it was written by "
				"a newer labd; install that one",
				(long long)version, ARRAY_SIZE(migrations));
	for (; version < (int64_t)ARRAY_SIZE(migrations); version++) {
		char set[64];
		int rc;

		snprintf(set, sizeof(set), "PRAGMA user_version = %lld", (long long)version + 1);
		r = store_begin(s, err);
		if (r < 0)
			return r;
		rc = sqlite3_exec(s->db, migrations[version], NULL, NULL, NULL);
		if (rc == SQLITE_OK)
			rc = sqlite3_exec(s->db, set, NULL, NULL, NULL);
		r = rc == SQLITE_OK ? 0 : fail_sql(s, err, rc, "migration");
		r = store_end(s, r, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int store_open(const char *state_dir, struct store **ret, struct lab_err *err)
{
	static const char setup[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
				    "PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 2000;"
				    "PRAGMA cache_size = -512;";
	struct store *s = calloc(1, sizeof(*s));
	pthread_mutexattr_t attr;
	char path[IO_PATH];
	int rc, r;

	if (!s)
		return lab_fail(err, -ENOMEM, "out of memory");
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&s->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	rc = sqlite3_open_v2(io_path(path, "%s/labd.db", state_dir), &s->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
				     SQLITE_OPEN_NOFOLLOW,
			     NULL);
	/* the files beside it get the same mode; what was not opened may be a link */
	if (rc == SQLITE_OK)
		(void)chmod(path, 0600);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, setup, NULL, NULL, NULL);
	r = rc == SQLITE_OK ? migrate(s, err) : fail_sql(s, err, rc, path);
	if (r < 0) {
		store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct store *store_close(struct store *s)
{
	if (!s)
		return NULL;
	sqlite3_close(s->db);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
