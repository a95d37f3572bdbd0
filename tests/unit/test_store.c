// SPDX-License-Identifier: GPL-2.0-or-later
/* test_store.c - the store: stores of older labds, of newer ones, and what is none */
#define _GNU_SOURCE
#include "labd/store.h"
#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* Version 1 as it was released, which never changes */
static const char version_1[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE images(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
	" state TEXT NOT NULL, recipe TEXT NOT NULL DEFAULT '', base TEXT NOT NULL DEFAULT '',"
	" created REAL NOT NULL, protect INTEGER NOT NULL DEFAULT 0,"
	" error TEXT NOT NULL DEFAULT '');"
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
	"CREATE TABLE layers(path TEXT PRIMARY KEY,"
	" instance INTEGER NOT NULL REFERENCES instances(id) ON DELETE CASCADE,"
	" disk TEXT NOT NULL, base TEXT NOT NULL DEFAULT '', size INTEGER NOT NULL,"
	" snapshot INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE jobs(id INTEGER PRIMARY KEY, json TEXT NOT NULL);"
	"CREATE TABLE durations(key TEXT PRIMARY KEY, seconds REAL NOT NULL);"
	"PRAGMA user_version = 1;";

/* A lab of that time, with what it had; number 6 is of a lab that is gone */
static const char rows_1[] =
	"INSERT INTO meta VALUES('thaw/7', '1');"
	"INSERT INTO images VALUES(3, 'tiny', 'ready', 'r', '', 1.5, 1, '');"
	"INSERT INTO labs VALUES(6, 'gone', '', '{}', '{}', 0, 1, 1, 0, '');"
	"DELETE FROM labs;"
	"INSERT INTO labs VALUES(5, 'demo', '/d.yaml', '{\"lab\": \"demo\"}', '{}', 77, 1.5, 2.5, "
	"1,"
	" 'words');"
	"INSERT INTO networks VALUES(4, 5, 'mgmt');"
	"INSERT INTO instances VALUES(9, 5, 'db', 'running', 'running', '{\"a\": 1}', 3, 123, 456,"
	" 'digest', 3.5, 'yes', 10, 1.5, 2.5, '');"
	"INSERT INTO snapshots VALUES(2, 5, 'first', 'ready', '', 3.0);"
	"INSERT INTO snapshots VALUES(8, 5, 'second', 'ready', 'first', 4.0);"
	"INSERT INTO layers VALUES('/s/2/9/root.qcow2', 9, 'root', '/i/3/disk.qcow2', 1024, 2);"
	"INSERT INTO layers VALUES('/l/9/root.qcow2', 9, 'root', '/s/2/9/root.qcow2', 1024, 0);"
	"INSERT INTO jobs VALUES(11, '{\"id\": 11}');"
	"INSERT INTO durations VALUES('boot', 12.5);";

static char work_dir[64];

static int set_up(void **state)
{
	const char *tmp = getenv("TEST_DIR");

	(void)state;
	snprintf(work_dir, sizeof(work_dir), "%.40s/store.XXXXXX", tmp ? tmp : "/tmp");
	return mkdtemp(work_dir) && !chdir(work_dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return io_remove_tree(AT_FDCWD, work_dir) == 1 ? 0 : -1;
}

/* A store that another labd has made */
static void make_store(const char *sql, const char *more)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open("labd.db", &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, more, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static struct store *open_store(void)
{
	struct lab_err err = LAB_ERR_INIT;
	struct store *s = NULL;

	if (store_open(".", &s, &err) < 0)
		fail_msg("%s", err.text);
	return s;
}

static int add_row(void *arg, sqlite3_stmt *st)
{
	char *buf = arg;

	for (int i = 0; i < sqlite3_column_count(st); i++)
		snprintf(buf + strlen(buf), 8192 - strlen(buf), "%s%s", i ? "|" : "",
			 store_text(st, i));
	snprintf(buf + strlen(buf), 8192 - strlen(buf), "\n");
	return 0;
}

/* What a query answers, as text; static */
static const char *ask(struct store *s, const char *sql)
{
	static char buf[8192];
	struct lab_err err = LAB_ERR_INIT;

	buf[0] = '\0';
	if (store_each(s, &err, add_row, buf, sql, "") < 0)
		fail_msg("%s", err.text);
	return buf;
}

/* All tables with their columns, as text; malloced */
static char *schema(struct store *s)
{
	return strdup(ask(s, "SELECT t.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk"
			     " FROM sqlite_master t, pragma_table_info(t.name) c"
			     " WHERE t.type = 'table' ORDER BY t.name, c.name"));
}

static void check_old_rows(struct store *s)
{
	assert_string_equal(ask(s, "SELECT * FROM meta"), "thaw/7|1\n");
	assert_string_equal(ask(s, "SELECT id, name, state, recipe, created, protect FROM images"),
			    "3|tiny|ready|r|1.5|1\n");
	assert_string_equal(ask(s,
				"SELECT id, name, file, spec, networks, keeper, created, changed,"
				" protect, error FROM labs"),
			    "5|demo|/d.yaml|{\"lab\": \"demo\"}|{}|77|1.5|2.5|1|words\n");
	assert_string_equal(ask(s, "SELECT * FROM networks"), "4|5|mgmt\n");
	assert_string_equal(ask(s, "SELECT id, lab, name, state, want, applied, image, pid,"
				   " start_time, digest, started, ready, console_from, created,"
				   " changed, error FROM instances"),
			    "9|5|db|running|running|{\"a\": 1}|3|123|456|digest|3.5|yes|10|1.5|2.5|"
			    "\n");
	assert_string_equal(ask(s, "SELECT id, lab, name, state, created FROM snapshots"),
			    "2|5|first|ready|3.0\n8|5|second|ready|4.0\n");
	assert_string_equal(ask(s, "SELECT path, instance, disk, base, size, snapshot FROM layers"
				   " ORDER BY path"),
			    "/l/9/root.qcow2|9|root|/s/2/9/root.qcow2|1024|0\n"
			    "/s/2/9/root.qcow2|9|root|/i/3/disk.qcow2|1024|2\n");
	assert_string_equal(ask(s, "SELECT * FROM jobs"), "11|{\"id\": 11}\n");
	assert_string_equal(ask(s, "SELECT * FROM durations"), "boot|12.5\n");
}

static void test_old(void **state)
{
	autofree char *version = NULL, *fresh = NULL, *migrated = NULL;
	struct store *s = open_store();
	struct stat st;

	(void)state;
	version = strdup(ask(s, "PRAGMA user_version"));
	fresh = schema(s);
	store_close(s);
	assert_non_null(strstr(fresh, "memories|seal|TEXT"));
	assert_int_equal(stat("labd.db", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(unlink("labd.db"), 0);

	make_store(version_1, rows_1);
	/* the second time there is nothing to do */
	for (int i = 0; i < 2; i++) {
		s = open_store();
		assert_string_equal(ask(s, "PRAGMA user_version"), version);
		assert_true(atoi(version) >= 3);
		free(migrated);
		migrated = schema(s);
		assert_string_equal(migrated, fresh);
		check_old_rows(s);
		/* what is new says that there is nothing */
		assert_string_equal(ask(s, "SELECT golden, restore, restoring, at FROM labs"),
				    "0|0|[]|0\n");
		assert_string_equal(ask(s, "SELECT memory FROM instances"), "\n");
		assert_string_equal(ask(s, "SELECT kind, spec, parent_id FROM snapshots"),
				    "user||0\nuser||0\n");
		assert_string_equal(ask(s, "SELECT * FROM memories"), "");
		assert_string_equal(ask(s, "PRAGMA integrity_check"), "ok\n");
		assert_string_equal(ask(s, "PRAGMA foreign_key_check"), "");
		store_close(s);
	}
	assert_int_equal(stat("labd.db", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* Numbers are not used again, and what belongs to a lab goes with it */
static void test_old_goes_on(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct store *s;

	(void)state;
	make_store(version_1, rows_1);
	s = open_store();
	assert_int_equal(store_run(s, &err,
				   "INSERT INTO labs(name, spec, created, changed)"
				   " VALUES('new', '{}', 1, 1)",
				   ""),
			 7);
	assert_int_equal(store_run(s, &err, "INSERT INTO networks(lab, name) VALUES(6, 'of none')",
				   ""),
			 -EEXIST);
	assert_true(store_run(s, &err, "DELETE FROM labs WHERE id = 5", "") >= 0);
	for (size_t i = 0; i < 3; i++) {
		static const char *const tables[] = { "networks", "instances", "snapshots" };
		char sql[64];

		snprintf(sql, sizeof(sql), "SELECT * FROM %s", tables[i]);
		assert_string_equal(ask(s, sql), "");
	}
	/* files of snapshots may outlive it: labd removes them when nobody needs them */
	assert_string_equal(ask(s, "SELECT count(*) FROM layers"), "2\n");
	store_close(s);
}

/* A labd that ended between two versions: the next one goes on there */
static void test_half_migrated(void **state)
{
	struct store *s;

	(void)state;
	make_store(version_1, rows_1);
	make_store("ALTER TABLE labs ADD COLUMN golden INTEGER NOT NULL DEFAULT 0;"
		   "ALTER TABLE labs ADD COLUMN restore INTEGER NOT NULL DEFAULT 0;"
		   "ALTER TABLE instances ADD COLUMN memory TEXT NOT NULL DEFAULT '';"
		   "CREATE TABLE memories(dir TEXT PRIMARY KEY, snapshot INTEGER NOT NULL,"
		   " instance INTEGER NOT NULL REFERENCES instances(id) ON DELETE CASCADE,"
		   " base TEXT NOT NULL DEFAULT '', seal TEXT NOT NULL DEFAULT '');"
		   "PRAGMA user_version = 2;",
		   "UPDATE labs SET golden = 8; INSERT INTO memories VALUES('/m', 8, 9, '', 's')");
	s = open_store();
	check_old_rows(s);
	assert_string_equal(ask(s, "SELECT golden, at FROM labs"), "8|0\n");
	/* no labd that was released has made any */
	assert_string_equal(ask(s, "SELECT * FROM memories"), "");
	store_close(s);
}

/* A migration that fails leaves the version it began with */
static void test_failed_migration(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct store *s = NULL;

	(void)state;
	make_store(version_1, rows_1);
	make_store("CREATE TABLE memories(a)", "");
	assert_int_equal(store_open(".", &s, &err), -EIO);
	assert_null(s);
	assert_non_null(strstr(err.text, "migration"));
	assert_non_null(strstr(err.text, "memories"));
	make_store("DROP TABLE memories", "");
	s = open_store();
	check_old_rows(s);
	store_close(s);
}

/* Opening a store of version @version fails with @code and says @words; the store stays */
static void check_version(const char *version, int code, const char *words)
{
	struct lab_err err = LAB_ERR_INIT;
	struct store *s = NULL;
	char sql[64];

	snprintf(sql, sizeof(sql), "PRAGMA user_version = %s", version);
	make_store(sql, "");
	assert_int_equal(store_open(".", &s, &err), code);
	assert_null(s);
	if (!strstr(err.text, words) || !strstr(err.text, version))
		fail_msg("'%s' does not say '%s' and %s", err.text, words, version);
}

static void test_newer(void **state)
{
	char newer[16], set[64];
	struct store *s;
	int version;

	(void)state;
	make_store(version_1, rows_1);
	s = open_store();
	version = atoi(ask(s, "PRAGMA user_version"));
	store_close(s);
	snprintf(newer, sizeof(newer), "%d", version + 1);
	check_version(newer, -EPROTO, "written by a newer labd");
	check_version("2147483647", -EPROTO, "install that one");
	check_version("-1", -EUCLEAN, "damaged");
	check_version("-2147483648", -EUCLEAN, "damaged");
	/* what is refused is not touched */
	snprintf(set, sizeof(set), "PRAGMA user_version = %d", version);
	make_store(set, "");
	s = open_store();
	check_old_rows(s);
	store_close(s);
}

static void check_refused(int code)
{
	struct lab_err err = LAB_ERR_INIT;
	struct store *s = NULL;

	assert_int_equal(store_open(".", &s, &err), code);
	assert_null(s);
	assert_in_range(strlen(err.text), 10, sizeof(err.text));
}

static void test_no_store(void **state)
{
	char junk[8192];
	struct stat st;

	(void)state;
	memset(junk, 'x', sizeof(junk));
	assert_int_equal(io_write_file(AT_FDCWD, "labd.db", junk, sizeof(junk), 0600), 0);
	check_refused(-EUCLEAN);
	assert_int_equal(stat("labd.db", &st), 0);
	assert_int_equal(st.st_size, sizeof(junk));
	assert_int_equal(unlink("labd.db"), 0);

	/* half of one */
	make_store(version_1, rows_1);
	assert_int_equal(truncate("labd.db", 5000), 0);
	check_refused(-EUCLEAN);
	assert_int_equal(unlink("labd.db"), 0);

	assert_int_equal(mkdir("labd.db", 0700), 0);
	check_refused(-EIO);
	assert_int_equal(rmdir("labd.db"), 0);

	/* somebody's link to something of root's */
	assert_int_equal(io_write_file(AT_FDCWD, "elsewhere", "", 0, 0644), 0);
	assert_int_equal(symlink("elsewhere", "labd.db"), 0);
	check_refused(-EIO);
	assert_int_equal(stat("elsewhere", &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_mode & 0777, 0644);
}

static int stop_at_second(void *arg, sqlite3_stmt *st)
{
	(void)st;
	return ++*(int *)arg == 2 ? -ECANCELED : 0;
}

static void test_transactions(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	struct store *s;
	int n = 0;

	(void)state;
	make_store(version_1, rows_1);
	s = open_store();
	assert_int_equal(store_begin(s, &err), 0);
	assert_true(store_run(s, &err, "DELETE FROM snapshots", "") >= 0);
	assert_string_equal(ask(s, "SELECT count(*) FROM snapshots"), "0\n");
	assert_int_equal(store_end(s, -ENOSPC, &err), -ENOSPC);
	check_old_rows(s);
	assert_int_equal(store_begin(s, &err), 0);
	assert_true(store_run(s, &err, "UPDATE jobs SET json = ?", "s", "it's") >= 0);
	assert_int_equal(store_end(s, 3, &err), 3);
	assert_string_equal(ask(s, "SELECT json FROM jobs"), "it's\n");
	assert_int_equal(store_each(s, &err, stop_at_second, &n,
				    "SELECT 1 UNION SELECT 2 UNION SELECT 3", ""),
			 -ECANCELED);
	assert_int_equal(n, 2);
	assert_int_equal(store_run(s, &err, "no sql", ""), -EIO);
	assert_non_null(strstr(err.text, "the store: no sql"));
	assert_int_equal(store_run(s, &err, "INSERT INTO jobs VALUES(11, '')", ""), -EEXIST);
	assert_null(store_close(s));
	assert_null(store_close(NULL));
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_old),   T(test_old_goes_on), T(test_half_migrated), T(test_failed_migration),
		T(test_newer), T(test_no_store),    T(test_transactions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
