// SPDX-License-Identifier: GPL-2.0-or-later
/* cp_pack.c - a small tar archive in memory (libarchive) */
#define _GNU_SOURCE
#include "cli/cp_pack.h"

#include "lib/util.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#define HEADER 1024 /* with what fills the last block, about */

static la_ssize_t on_bytes(struct archive *a, void *arg, const void *data, size_t len)
{
	struct cp_pack *p = arg;
	size_t room = p->room;
	char *more;

	while (room < p->len + len)
		room = room ? room * 2 : 65536;
	more = room == p->room ? p->buf : realloc(p->buf, room);
	if (!more) {
		archive_set_error(a, ENOMEM, "out of memory");
		return -1;
	}
	p->buf = more;
	p->room = room;
	memcpy(p->buf + p->len, data, len);
	p->len += len;
	return (la_ssize_t)len;
}

static int begin(struct cp_pack *p)
{
	p->a = archive_write_new();
	if (!p->a)
		return -ENOMEM;
	if (archive_write_set_format_gnutar(p->a) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(p->a, 1) != ARCHIVE_OK ||
	    archive_write_open(p->a, p, NULL, on_bytes, NULL) != ARCHIVE_OK)
		return -ENOMEM;
	return 0;
}

int cp_pack_add(struct cp_pack *p, const char *name, mode_t mode, const void *data, size_t len)
{
	struct archive_entry *e;
	int r = p->a ? 0 : begin(p);

	if (r < 0)
		return r;
	e = archive_entry_new();
	if (!e)
		return -ENOMEM;
	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, mode);
	archive_entry_set_size(e, (la_int64_t)len);
	if (archive_write_header(p->a, e) != ARCHIVE_OK ||
	    archive_write_data(p->a, data, len) != (la_ssize_t)len)
		r = -ENOMEM;
	archive_entry_free(e);
	p->content += len + HEADER;
	return r;
}

size_t cp_pack_bytes(const struct cp_pack *p)
{
	return p->content;
}

int cp_pack_end(struct cp_pack *p, const void **ret, size_t *ret_len)
{
	if (archive_write_close(p->a) != ARCHIVE_OK)
		return -ENOMEM;
	*ret = p->buf;
	*ret_len = p->len;
	return 0;
}

void cp_pack_done(struct cp_pack *p)
{
	if (p->a)
		archive_write_free(p->a);
	free(p->buf);
	*p = (struct cp_pack){ 0 };
}
