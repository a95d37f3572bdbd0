/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store.h - what labd knows, in sqlite (WAL), across its own death */
#ifndef LABD_STORE_H
#define LABD_STORE_H

#include "lib/err.h"

#include <sqlite3.h>
#include <stdint.h>

struct store;

/**
 * store_open() - Open or make STATE/labd.db and bring its schema up to date
 *
 * Return: 0; -EPROTO if it was written by a newer labd (downgrade is refused);
 * -EUCLEAN if it is damaged; or negative errno
 */
int store_open(const char *state_dir, struct store **ret, struct lab_err *err);

/** store_close() - Takes NULL, returns NULL */
struct store *store_close(struct store *s);

/**
 * store_run() - Run one statement that changes something
 * @types:	a letter for each value that follows: i (int64_t), d (double),
 *		s (const char *)
 *
 * Return: the row id of the last insert (>= 0), or negative errno (-ENOSPC
 * when the disk is full)
 */
int64_t store_run(struct store *s, struct lab_err *err, const char *sql, const char *types, ...);

/**
 * store_each() - Call @row for each row of a query
 * @row:	returns negative to stop; its value is returned then
 */
int store_each(struct store *s, struct lab_err *err, int (*row)(void *arg, sqlite3_stmt *st),
	       void *arg, const char *sql, const char *types, ...);

/** store_text() - Column as text, never NULL */
const char *store_text(sqlite3_stmt *st, int column);

/**
 * store_lock(), store_unlock() - Nobody else writes in between; as transactions, before the
 * lock of labd
 */
void store_lock(struct store *s);
void store_unlock(struct store *s);

/**
 * store_sync() - What was committed outlives a loss of power as well
 *
 * A commit survives the end of labd at once, and a loss of power only when its log is on the
 * disk, which takes milliseconds. So it is to be called between a commit after which files are
 * of no use, and their removal: else the rows of before would come back without them.
 */
int store_sync(struct store *s, struct lab_err *err);

/**
 * store_begin() - Begin a transaction; other threads wait
 * store_end() - Commit it, or roll it back if @r is negative
 *
 * Return (store_end): @r, or why the commit failed
 */
int store_begin(struct store *s, struct lab_err *err);
int store_end(struct store *s, int r, struct lab_err *err);

#endif
