// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * link.c - targets of symbolic links in a guest, so that they stay in the guest
 *
 * DOC: Theory of Operation
 *
 * Whoever follows a link in the tree is on the host. A link to /etc/passwd means the guest's,
 * so it is shown as ../../etc/passwd, with a ".." for each directory between the link and
 * the guest's root. How many there are is what labfs says, which knows by which path it
 * came there; a ".." in a directory of the guest can lie.
 *
 * Where a target goes up beyond the root it stays there, as in the guest. Where it goes up
 * again behind a name ("a/../b"), name and ".." are taken out together: the name may be a
 * link itself and lead elsewhere, and how far up that goes cannot be told from the text.
 * The guest goes another way there; we stay in the guest.
 *
 * So what is shown has ".." at the beginning only, and never more than there are
 * directories. Every target that is like that is shown as it is.
 */
#define _GNU_SOURCE
#include "fs/inspect/link.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* The next part of a path, or NULL; "." is none */
static const char *next_part(const char **path, size_t *ret_len)
{
	for (;;) {
		const char *part = *path + strspn(*path, "/");

		*ret_len = strcspn(part, "/");
		*path = part + *ret_len;
		if (!*ret_len)
			return NULL;
		if (*ret_len != 1 || part[0] != '.')
			return part;
	}
}

static bool is_up(const char *part, size_t len)
{
	return len == 2 && part[0] == '.' && part[1] == '.';
}

/* Whether it stays below the root by itself */
static bool is_plain(const char *target, uint32_t depth)
{
	const char *path = target, *part;
	bool named = false;
	size_t n, ups = 0;

	if (*target == '/')
		return false;
	while ((part = next_part(&path, &n))) {
		if (!is_up(part, n))
			named = true;
		else if (named || ++ups > depth)
			return false;
	}
	return true;
}

/* Take the last part away; what is left is the number of ups to write before the names */
static void go_up(char *names, size_t *len, uint32_t *ups, uint32_t depth)
{
	if (!*len) {
		*ups += *ups < depth;
		return;
	}
	(*len)--; /* its slash */
	while (*len && names[*len - 1] != '/')
		(*len)--;
}

static int put_target(const char *names, size_t len, uint32_t ups, char ret[INSPECT_TARGET])
{
	size_t at = 3 * (size_t)ups;

	if (at + len >= INSPECT_TARGET)
		return -ENAMETOOLONG;
	for (uint32_t i = 0; i < ups; i++)
		memcpy(ret + 3 * (size_t)i, "../", 3);
	memcpy(ret + at, names, len);
	if (!len && ups)
		at--; /* ".." and not "../" */
	else if (!len)
		ret[at++] = '.';
	ret[at + len] = '\0';
	return 0;
}

int link_show(const char *target, uint32_t depth, char ret[INSPECT_TARGET])
{
	uint32_t ups = *target == '/' ? depth : 0;
	const char *path = target, *part;
	char names[INSPECT_TARGET + 1];
	size_t n, len = 0;

	if (is_plain(target, depth)) {
		memcpy(ret, target, strlen(target) + 1);
		return 0;
	}
	while ((part = next_part(&path, &n))) {
		if (is_up(part, n)) {
			go_up(names, &len, &ups, depth);
			continue;
		}
		memcpy(names + len, part, n); /* never longer than the target and a slash */
		len += n;
		names[len++] = '/';
	}
	if (len && target[strlen(target) - 1] != '/')
		len--; /* the last slash */
	return put_target(names, len, ups, ret);
}
