// SPDX-License-Identifier: GPL-2.0-or-later
/* yaml_value.c - values of a YAML document: what they are, and what was expected */
#define _GNU_SOURCE
#include "lib/yaml.h"

#include "lib/names.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

const struct ynode *ynode_get(const struct ynode *map, const char *key)
{
	if (!map || map->type != YNODE_MAP)
		return NULL;
	for (const struct ynode *v = map->child; v; v = v->next)
		if (!strcmp(v->key->text, key))
			return v;
	return NULL;
}

bool ynode_null(const struct ynode *n)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL" };

	if (!n)
		return true;
	if (n->type != YNODE_SCALAR || n->quoted)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(n->text, words[i]))
			return true;
	return false;
}

const struct ynode *ynode_name(const struct ynode *n)
{
	return n && n->key ? n->key : n;
}

/* The escape for a character that would spoil a line; NULL: show it as it is */
static const char *escape(unsigned char c)
{
	return c == '\n' ? "\\n" : c == '\t' ? "\\t" : c < 0x20 || c == 0x7f ? "?" : NULL;
}

const char *ynode_show(char buf[YNODE_SHOW], const struct ynode *n)
{
	char text[YNODE_SHOW - 6]; /* quotes, dots and NUL */
	size_t at = 0;
	const char *s;

	if (ynode_null(n) || n->type != YNODE_SCALAR) {
		snprintf(buf, YNODE_SHOW, "%s",
			 ynode_null(n)		 ? "nothing"
			 : n->type == YNODE_LIST ? "a list"
						 : "a map");
		return buf;
	}
	for (s = n->text; *s && at < sizeof(text) - 6; s++) {
		const char *e = escape((unsigned char)*s);

		if (!e)
			text[at++] = *s;
		for (; e && *e; e++)
			text[at++] = *e;
	}
	/* never cut a UTF-8 sequence */
	while ((*s & 0xc0) == 0x80 && at < sizeof(text) - 1)
		text[at++] = *s++;
	text[at] = '\0';
	snprintf(buf, YNODE_SHOW, "'%s%s'", text, *s ? "..." : "");
	return buf;
}

void ydoc_unknown(struct ydoc *doc, const struct ynode *at, const char *what,
		  const char *const *known)
{
	const char *nearest = name_nearest(at->text, known);
	char buf[YNODE_SHOW], list[256] = "";
	size_t used = 0;

	ynode_show(buf, at);
	if (nearest) {
		ydoc_problem(doc, at, "unknown %s %s; did you mean '%s'?", what, buf, nearest);
		return;
	}
	for (; *known && used + strlen(*known) + 8 < sizeof(list); known++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
					 *known);
	if (used)
		ydoc_problem(doc, at, "unknown %s %s; known are: %s%s", what, buf, list,
			     *known ? ", ..." : "");
	else
		ydoc_problem(doc, at, "unknown %s %s; there are none", what, buf);
}

bool ydoc_map(struct ydoc *doc, const struct ynode *n, const char *const *known)
{
	char buf[YNODE_SHOW];

	if (ynode_null(n))
		return false;
	if (n->type != YNODE_MAP) {
		ydoc_problem(doc, n, "expected a map of keys and values, found %s",
			     ynode_show(buf, n));
		return false;
	}
	for (const struct ynode *v = n->child; v; v = v->next) {
		const char *const *k = known;

		while (k && *k && strcmp(*k, v->key->text))
			k++;
		if (k && !*k)
			ydoc_unknown(doc, v->key, "key", known);
	}
	return true;
}

bool ydoc_list(struct ydoc *doc, const struct ynode *n, const char *what)
{
	char buf[YNODE_SHOW];

	if (ynode_null(n))
		return false;
	if (n->type == YNODE_LIST)
		return true;
	ydoc_problem(doc, n, "expected a list of %s, found %s", what, ynode_show(buf, n));
	return false;
}

/* The scalar's text, or NULL with the problem added */
static const char *scalar(struct ydoc *doc, const struct ynode *n, const char *what)
{
	char buf[YNODE_SHOW];

	if (n->type == YNODE_SCALAR && !ynode_null(n))
		return n->text;
	ydoc_problem(doc, n, "expected %s, found %s", what, ynode_show(buf, n));
	return NULL;
}

/*
 * Whether a text survives being written as JSON or YAML and read again, and
 * can be shown: no control characters but tab and newline, none of Unicode's
 * own line ends (U+0085, U+2028, U+2029), no byte order mark, no noncharacter
 * U+FFFE and U+FFFF.
 */
static bool printable(const char *s)
{
	static const char *const bad[] = { "\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf",
					   "\xef\xbf\xbe", "\xef\xbf\xbf" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (strstr(s, bad[i]))
			return false;
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s, d = (unsigned char)s[1];

		if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f || (c == 0xc2 && d < 0xa0))
			return false;
	}
	return true;
}

bool ydoc_text(struct ydoc *doc, const struct ynode *n, const char *what, const char **ret)
{
	const char *s = scalar(doc, n, what);
	char buf[YNODE_SHOW];

	if (!s)
		return false;
	if (!printable(s)) {
		ydoc_problem(doc, n, "expected %s, found control characters in %s", what,
			     ynode_show(buf, n));
		return false;
	}
	*ret = s;
	return true;
}

bool ydoc_name(struct ydoc *doc, const struct ynode *n, const char *what, const char **ret)
{
	const char *s = scalar(doc, n, what);
	char buf[YNODE_SHOW];

	if (!s)
		return false;
	if (!name_valid(s)) {
		ydoc_problem(doc, n, "expected %s (" NAME_RULE "), found %s", what,
			     ynode_show(buf, n));
		return false;
	}
	*ret = s;
	return true;
}

bool ydoc_u64(struct ydoc *doc, const struct ynode *n, uint64_t min, uint64_t max, uint64_t *ret)
{
	char what[80], buf[YNODE_SHOW];
	const char *s;
	uint64_t v;

	snprintf(what, sizeof(what), "a number from %ju to %ju", (uintmax_t)min, (uintmax_t)max);
	s = scalar(doc, n, what);
	if (!s)
		return false;
	if (num_u64(s, max, &v) < 0 || v < min) {
		ydoc_problem(doc, n, "expected %s, found %s", what, ynode_show(buf, n));
		return false;
	}
	*ret = v;
	return true;
}

bool ydoc_size(struct ydoc *doc, const struct ynode *n, uint64_t min, uint64_t max, uint64_t step,
	       uint64_t *ret)
{
	const char *s = scalar(doc, n, "a size such as 512M");
	char buf[YNODE_SHOW], least[NUM_TEXT], most[NUM_TEXT];
	uint64_t v;
	int r;

	if (!s)
		return false;
	r = num_size(s, &v);
	if (r == -EINVAL) {
		ydoc_problem(doc, n, "expected a size such as 512M, found %s", ynode_show(buf, n));
		return false;
	}
	if (r < 0 || v < min || v > max) {
		ydoc_problem(doc, n, "expected a size from %s to %s, found %s",
			     num_size_text(least, min), num_size_text(most, max),
			     ynode_show(buf, n));
		return false;
	}
	if (v % step) {
		ydoc_problem(doc, n, "expected a multiple of %s, found %s",
			     num_size_text(least, step), ynode_show(buf, n));
		return false;
	}
	*ret = v;
	return true;
}

bool ydoc_seconds(struct ydoc *doc, const struct ynode *n, uint64_t max, uint64_t *ret)
{
	const char *s = scalar(doc, n, "a duration such as 90s or 5m");
	char buf[YNODE_SHOW], most[NUM_TEXT];
	uint64_t us;

	if (!s)
		return false;
	if (num_duration(s, &us) == -EINVAL) {
		ydoc_problem(doc, n, "expected a duration such as 90s or 5m, found %s",
			     ynode_show(buf, n));
		return false;
	}
	if (num_duration(s, &us) < 0 || us % 1000000 || !us || us / 1000000 > max) {
		ydoc_problem(doc, n, "expected whole seconds, from 1 s to %s, found %s",
			     num_seconds_text(most, max), ynode_show(buf, n));
		return false;
	}
	*ret = us / 1000000;
	return true;
}

bool ydoc_bool(struct ydoc *doc, const struct ynode *n, bool *ret)
{
	const char *s = scalar(doc, n, "true or false");
	char buf[YNODE_SHOW];

	if (!s)
		return false;
	if (strcmp(s, "true") && strcmp(s, "false")) {
		ydoc_problem(doc, n, "expected true or false, found %s", ynode_show(buf, n));
		return false;
	}
	*ret = *s == 't';
	return true;
}
