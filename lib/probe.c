// SPDX-License-Identifier: GPL-2.0-or-later
/* probe.c - `ready` probes as people write them */
#define _GNU_SOURCE
#include "lib/probe.h"

#include "lib/num.h"
#include "lib/util.h"

#include <regex.h>
#include <string.h>

#define MAX_REGEX 200
#define MAX_URL 500

bool probe_port(struct ydoc *doc, const struct ynode *n, uint64_t *ret)
{
	char show[YNODE_SHOW];

	if (n->type == YNODE_SCALAR && !num_u64(n->text, 65535, ret) && *ret)
		return true;
	ydoc_problem(doc, n, "expected a port from 1 to 65535, found %s", ynode_show(show, n));
	return false;
}

static json_t *read_tcp(struct ydoc *doc, const struct ynode *n)
{
	uint64_t port = 0;

	probe_port(doc, n, &port);
	return json_pack("{s:I}", "tcp", (json_int_t)port);
}

/* Whether a text is [HOST][:PORT][/PATH] */
static bool valid_url(const char *s)
{
	size_t host = strcspn(s, ":/"), port = 0;
	uint64_t v;
	char text[8];

	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p == 0x7f)
			return false;
	for (size_t i = 0; i < host; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_",
			    s[i]))
			return false;
	if (s[host] == ':') {
		port = strcspn(s + host + 1, "/");
		if (port >= sizeof(text))
			return false;
		memcpy(text, s + host + 1, port);
		text[port] = '\0';
		if (num_u64(text, 65535, &v) < 0 || !v)
			return false;
	}
	return strlen(s) <= MAX_URL;
}

/* "http://:5000/v3/", or without "http://", or only a port */
static json_t *read_url(struct ydoc *doc, const struct ynode *n)
{
	const char *s = n->type == YNODE_SCALAR ? n->text : "";
	char show[YNODE_SHOW];
	uint64_t port;

	if (!num_u64(s, 65535, &port) && port)
		return json_sprintf("http://:%u/", (unsigned int)port);
	if (!strncmp(s, "http://", 7))
		s += 7;
	else if (*s != ':' && *s != '/')
		s = " ";
	if (valid_url(s))
		return json_sprintf("http://%s%s", s, strchr(s, '/') ? "" : "/");
	ydoc_problem(doc, n, "expected a URL such as http://:5000/v3/, found %s",
		     ynode_show(show, n));
	return json_string("");
}

static json_t *read_http(struct ydoc *doc, const struct ynode *n, const struct ynode *probe)
{
	const struct ynode *status_node = ynode_get(probe, "status");
	const struct ynode *body_node = ynode_get(probe, "body");
	const char *body = NULL;
	uint64_t status = 200;

	if (!ynode_null(status_node))
		ydoc_u64(doc, status_node, 100, 599, &status);
	if (!ynode_null(body_node))
		ydoc_text(doc, body_node, "a text to look for", &body);
	return json_pack("{s:o, s:I, s:s*}", "http", read_url(doc, n), "status", (json_int_t)status,
			 "body", body);
}

json_t *probe_words(struct ydoc *doc, const struct ynode *n)
{
	static const char what[] = "a list of words such as [systemctl, is-active, mariadb]";
	autojson json_t *words = json_array();
	char show[YNODE_SHOW];

	if (n->type != YNODE_LIST || !n->child) {
		ydoc_problem(doc, n, "expected %s, found %s", what,
			     n->type == YNODE_LIST ? "an empty one" : ynode_show(show, n));
		return steal_ptr(words);
	}
	for (const struct ynode *v = n->child; v; v = v->next) {
		const char *word = "";

		/* an empty word, and one that reads like nothing, are words too */
		if (v->type != YNODE_SCALAR || !ynode_null(v))
			ydoc_text(doc, v, "a word", &word);
		else
			word = v->text;
		if (json_array_append_new(words, json_string(word)) < 0)
			return NULL;
	}
	return steal_ptr(words);
}

static json_t *read_exec(struct ydoc *doc, const struct ynode *n)
{
	return json_pack("{s:o}", "exec", probe_words(doc, n));
}

static json_t *read_agent(struct ydoc *doc, const struct ynode *n)
{
	bool on = true;

	if (ydoc_bool(doc, n, &on) && !on)
		ydoc_problem(doc, n, "expected true; without this probe, leave it out");
	return json_pack("{s:b}", "agent", 1);
}

/*
 * glibc compiles every `+` and every interval by doubling what it stands behind,
 * so a few nested ones take all memory: bound them before regcomp() sees them.
 */
static bool cheap_regex(const char *s)
{
	int plus = 0;

	if (strlen(s) > MAX_REGEX)
		return false;
	for (; *s; s++) {
		if (*s == '\\' && s[1])
			s++;
		else if (*s == '{' || (*s == '+' && ++plus > 6))
			return false;
	}
	return true;
}

bool probe_regex(struct ydoc *doc, const struct ynode *at, const char *text)
{
	char words[128];
	regex_t re;
	int r;

	if (!cheap_regex(text)) {
		ydoc_problem(doc, at,
			     "expected a regular expression of at most %d characters, "
			     "without {m,n} and with at most 6 '+'",
			     MAX_REGEX);
		return false;
	}
	r = regcomp(&re, text, REG_EXTENDED | REG_NOSUB);
	if (r) {
		regerror(r, &re, words, sizeof(words));
		ydoc_problem(doc, at, "bad regular expression: %s", words);
		return false;
	}
	regfree(&re);
	return true;
}

static json_t *read_console(struct ydoc *doc, const struct ynode *n)
{
	const char *s = "";

	if (ydoc_text(doc, n, "a regular expression", &s))
		probe_regex(doc, n, s);
	return json_pack("{s:s}", "console", s);
}

/* The probe that a map names; NULL with a problem if it names none or two */
static const struct ynode *find_kind(struct ydoc *doc, const struct ynode *n)
{
	static const char *const kinds[] = { "tcp", "http", "exec", "agent", "console" };
	static const char *const known[] = { "tcp",	"http",	  "exec", "agent", "console",
					     "timeout", "status", "body", NULL };
	const struct ynode *found = NULL;

	for (const struct ynode *v = n->child; v; v = v->next) {
		size_t i = 0;

		while (known[i] && strcmp(known[i], v->key->text))
			i++;
		if (!known[i]) {
			ydoc_unknown(doc, v->key, "ready probe", known);
			return NULL;
		}
		if (i >= ARRAY_SIZE(kinds))
			continue;
		if (found) {
			ydoc_problem(doc, v->key,
				     "expected one probe, found '%s' beside '%s': "
				     "make two entries of the list",
				     v->key->text, found->key->text);
			return NULL;
		}
		found = v;
	}
	if (!found)
		ydoc_problem(doc, n, "expected one of tcp, http, exec, agent or console");
	return found;
}

static json_t *read_kind(struct ydoc *doc, const struct ynode *n, const struct ynode *kind)
{
	const char *name = kind->key->text;

	if (strcmp(name, "http")) {
		const struct ynode *extra = ynode_get(n, "status");

		extra = extra ? extra : ynode_get(n, "body");
		if (extra)
			ydoc_problem(doc, extra->key, "'%s' belongs to http, not to %s",
				     extra->key->text, name);
	}
	if (!strcmp(name, "tcp"))
		return read_tcp(doc, kind);
	if (!strcmp(name, "http"))
		return read_http(doc, kind, n);
	if (!strcmp(name, "exec"))
		return read_exec(doc, kind);
	if (!strcmp(name, "agent"))
		return read_agent(doc, kind);
	return read_console(doc, kind);
}

/* Read one probe and add it to the list; 0 or -ENOMEM */
static int add_probe(struct ydoc *doc, json_t *list, const struct ynode *n)
{
	const struct ynode *timeout_node = ynode_get(n, "timeout"), *kind;
	uint64_t timeout = PROBE_TIMEOUT;
	char show[YNODE_SHOW];
	json_t *probe;

	if (n->type != YNODE_MAP) {
		ydoc_problem(doc, n, "expected a probe such as {tcp: 22}, found %s",
			     ynode_show(show, n));
		return 0;
	}
	kind = find_kind(doc, n);
	if (!ynode_null(timeout_node))
		ydoc_seconds(doc, timeout_node, PROBE_MAX_TIMEOUT, &timeout);
	if (!kind)
		return 0;
	probe = read_kind(doc, n, kind);
	if (json_array_append_new(list, probe) < 0)
		return -ENOMEM;
	return json_object_set_new(probe, "timeout", json_integer((json_int_t)timeout));
}

json_t *probe_list(struct ydoc *doc, const struct ynode *n)
{
	autojson json_t *list = json_array();

	if (n->type == YNODE_SCALAR && !strcmp(n->text, "none"))
		return steal_ptr(list);
	if (n->type != YNODE_LIST)
		return !add_probe(doc, list, n) ? steal_ptr(list) : NULL;
	if (n->count > PROBE_MAX) {
		ydoc_problem(doc, ynode_name(n), "expected at most %d probes, found %zu", PROBE_MAX,
			     n->count);
		return steal_ptr(list);
	}
	for (const struct ynode *v = n->child; v; v = v->next)
		if (add_probe(doc, list, v) < 0)
			return NULL;
	return steal_ptr(list);
}
