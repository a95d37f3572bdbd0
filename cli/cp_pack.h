/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cp_pack.h - a small tar archive in memory (libarchive) */
#ifndef CLI_CP_PACK_H
#define CLI_CP_PACK_H

#include <stddef.h>
#include <sys/types.h>

struct archive;

/** struct cp_pack - all 0 before the first file */
struct cp_pack {
	struct archive *a;
	char *buf;
	size_t len, room, content;
};

/** cp_pack_add() - Add a file of root's; 0 or -ENOMEM */
int cp_pack_add(struct cp_pack *p, const char *name, mode_t mode, const void *data, size_t len);

/** cp_pack_bytes() - How large it is about; 0 for none */
size_t cp_pack_bytes(const struct cp_pack *p);

/** cp_pack_end() - Finish it; *ret is good until cp_pack_done(); 0 or -ENOMEM */
int cp_pack_end(struct cp_pack *p, const void **ret, size_t *ret_len);

/** cp_pack_done() - Forget it; another can begin */
void cp_pack_done(struct cp_pack *p);

#endif
