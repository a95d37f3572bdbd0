// SPDX-License-Identifier: GPL-2.0-or-later
/* names.c - names people give, and the names and addresses made from them */
#define _GNU_SOURCE
#include "lib/names.h"

#include "lib/digest.h"
#include "lib/util.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static bool alnum_ascii(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_valid(const char *name)
{
	size_t n = 0;

	if (!name || !alnum_ascii(name[0]))
		return false;
	for (; name[n]; n++)
		if (n >= NAME_MAX_LEN || !(alnum_ascii(name[n]) || strchr("_.-", name[n])))
			return false;
	return true;
}

uint64_t name_hash(const char *purpose, const char *a, const char *b, const char *c)
{
	char buf[4 * 256];
	int n = snprintf(buf, sizeof(buf), "%s\n%s\n%s\n%s", purpose, a ? a : "", b ? b : "",
			 c ? c : "");

	return digest_u64(buf, (size_t)MIN(n, (int)sizeof(buf) - 1));
}

/*
 * Names a link cannot have: the loopback's, and those of the two directories
 * in /proc/sys/net/ipv4/conf that are no links (the kernel refuses: EINVAL).
 */
static bool reserved_ifname(const char *name)
{
	return !strcmp(name, "lo") || !strcmp(name, "all") || !strcmp(name, "default");
}

const char *name_ifname(char buf[IFNAMSIZ], const char *name)
{
	if (strlen(name) < IFNAMSIZ && !reserved_ifname(name)) {
		snprintf(buf, IFNAMSIZ, "%s", name);
		return buf;
	}
	snprintf(buf, IFNAMSIZ, "%.8s-%06x", name,
		 (unsigned int)(name_hash("ifname", name, NULL, NULL) & 0xffffff));
	return buf;
}

const char *name_mac(char buf[NAME_MAC_TEXT], const char *lab, const char *instance,
		     const char *nic)
{
	uint64_t h = name_hash("mac", lab, instance, nic);

	snprintf(buf, NAME_MAC_TEXT, "52:54:00:%02x:%02x:%02x", (unsigned int)(h & 0xff),
		 (unsigned int)(h >> 8 & 0xff), (unsigned int)(h >> 16 & 0xff));
	return buf;
}

/* Levenshtein distance; words of more than 63 characters are far from all */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int row[64];
	size_t la = strlen(a), lb = strlen(b);

	if (la > 63 || lb > 63)
		return UINT_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned int diag = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned int best = diag + (a[i - 1] != b[j - 1]);

			diag = row[j];
			best = MIN(best, row[j] + 1);
			row[j] = MIN(best, row[j - 1] + 1);
		}
	}
	return row[lb];
}

const char *name_nearest(const char *word, const char *const *known)
{
	unsigned int len = (unsigned int)strlen(word);
	unsigned int best = MIN(len / 3 + 2, len); /* something must be in common */
	const char *found = NULL;

	for (; *known; known++) {
		unsigned int d = edit_distance(word, *known);

		if (d < best) {
			best = d;
			found = *known;
		}
	}
	return found;
}
