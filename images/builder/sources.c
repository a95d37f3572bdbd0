// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sources.c - where the host gets Debian packages from
 *
 * DOC: Theory of Operation
 *
 * No mirror is named in this project. The host's apt is configured to reach one
 * (a near mirror, a cache, a company's proxy), and images are built from the same.
 * Of its entries those count that are a Debian archive (the path has a part that
 * begins with "debian", the component main) and are for the wanted suite, its
 * updates or its security updates. Third parties' entries are left out: an image
 * is Debian and what its recipe adds.
 */
#define _GNU_SOURCE
#include "images/builder/builder.h"

#include "lib/num.h"
#include "lib/run.h"
#include "lib/util.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SOURCES_MAX_FILE (256 << 10)

/**
 * struct entry - an apt source, its lists as blank-separated text
 */
struct entry {
	char types[32], uris[1024], suites[512], components[256], signed_by[256], trusted[8];
	bool disabled;
};

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = strstr(list, word); p; p = strstr(p + 1, word))
		if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

static bool is_debian(const char *uri)
{
	const char *path = strchr(uri, ':');

	for (; path && (path = strchr(path, '/')); path++)
		if (!strncmp(path + 1, "debian", 6))
			return true;
	return false;
}

static bool suite_wanted(const char *have, const char *suite)
{
	static const char *const tails[] = { "", "-updates", "-security", "/updates" };
	size_t n = strlen(suite);

	if (strncmp(have, suite, n))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++)
		if (!strcmp(have + n, tails[i]))
			return true;
	return false;
}

static void emit(FILE *out, const struct entry *e, const char *suite)
{
	char uris[sizeof(e->uris)], suites[sizeof(e->suites)];
	char *u = uris, *uri;

	if (e->disabled || !has_word(e->types, "deb") || !has_word(e->components, "main"))
		return;
	memcpy(uris, e->uris, sizeof(uris));
	while ((uri = strsep(&u, " "))) {
		char *s = suites, *one;

		if (!*uri || !is_debian(uri))
			continue;
		memcpy(suites, e->suites, sizeof(suites));
		while ((one = strsep(&s, " "))) {
			if (!*one || !suite_wanted(one, suite))
				continue;
			fprintf(out, "deb ");
			if (*e->signed_by || *e->trusted)
				fprintf(out, "[%s%s%s%s%s] ", *e->signed_by ? "signed-by=" : "",
					e->signed_by, *e->signed_by && *e->trusted ? " " : "",
					*e->trusted ? "trusted=" : "", e->trusted);
			fprintf(out, "%s %s %s\n", uri, one, e->components);
		}
	}
}

static void set(char *buf, size_t size, const char *value)
{
	size_t n = strlen(buf);

	while (*value == ' ' || *value == '\t')
		value++;
	snprintf(buf + n, size - n, "%s%s", n ? " " : "", value);
	for (char *p = buf; *p; p++)
		if (*p == '\t')
			*p = ' ';
}

/* deb [option=value ...] uri suite component ... */
static void read_oneline(FILE *out, char *line, const char *suite)
{
	struct entry e = { 0 };
	char *word, *rest = line, *close;

	word = strsep(&rest, " \t");
	if (!rest || strcmp(word, "deb"))
		return;
	set(e.types, sizeof(e.types), word);
	while (*rest == ' ' || *rest == '\t')
		rest++;
	if (*rest == '[' && (close = strchr(rest, ']'))) {
		char *opts = rest + 1;

		*close = '\0';
		rest = close + 1;
		while ((word = strsep(&opts, " \t"))) {
			if (!strncmp(word, "signed-by=", 10))
				set(e.signed_by, sizeof(e.signed_by), word + 10);
			else if (!strncmp(word, "trusted=", 8))
				set(e.trusted, sizeof(e.trusted), word + 8);
		}
	}
	for (int field = 0; (word = strsep(&rest, " \t"));) {
		if (!*word)
			continue;
		if (field == 0)
			set(e.uris, sizeof(e.uris), word);
		else if (field == 1)
			set(e.suites, sizeof(e.suites), word);
		else
			set(e.components, sizeof(e.components), word);
		field++;
	}
	emit(out, &e, suite);
}

static char *field_of(struct entry *e, const char *name, size_t *ret_size)
{
	const struct {
		const char *name;
		char *buf;
		size_t size;
	} fields[] = {
		{ "types", e->types, sizeof(e->types) },
		{ "uris", e->uris, sizeof(e->uris) },
		{ "suites", e->suites, sizeof(e->suites) },
		{ "components", e->components, sizeof(e->components) },
		{ "signed-by", e->signed_by, sizeof(e->signed_by) },
		{ "trusted", e->trusted, sizeof(e->trusted) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!strcasecmp(fields[i].name, name)) {
			*ret_size = fields[i].size;
			return fields[i].buf;
		}
	return NULL;
}

/* deb822: "Field: value" lines, continued by indented ones, in stanzas */
static void read_deb822(FILE *out, char *text, const char *suite)
{
	struct entry e = { 0 };
	char *line, *value, *buf = NULL;
	size_t size = 0;

	while ((line = strsep(&text, "\n"))) {
		if (*line == '#')
			continue;
		if (!line[strspn(line, " \t\r")]) {
			emit(out, &e, suite);
			memset(&e, 0, sizeof(e));
			buf = NULL;
			continue;
		}
		if (*line == ' ' || *line == '\t') {
			/* a key in place: apt's trusted.gpg.d must do */
			if (buf == e.signed_by)
				*buf = '\0';
			else if (buf)
				set(buf, size, line);
			continue;
		}
		value = strchr(line, ':');
		if (!value)
			continue;
		*value++ = '\0';
		if (!strcasecmp(line, "enabled"))
			e.disabled = strstr(value, "no") || strstr(value, "false");
		buf = field_of(&e, line, &size);
		if (buf) {
			*buf = '\0';
			set(buf, size, value);
		}
	}
	emit(out, &e, suite);
}

static void read_source(FILE *out, int dirfd, const char *name, const char *suite)
{
	autofree char *text = NULL;
	char *line, *rest, *hash;

	if (io_read_file(dirfd, name, SOURCES_MAX_FILE, &text, NULL) < 0)
		return;
	if (strlen(name) > 8 && !strcmp(name + strlen(name) - 8, ".sources")) {
		read_deb822(out, text, suite);
		return;
	}
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		hash = strchr(line, '#');
		if (hash)
			*hash = '\0';
		read_oneline(out, line + strspn(line, " \t"), suite);
	}
}

static int is_source(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return d->d_name[0] != '.' && dot && (!strcmp(dot, ".list") || !strcmp(dot, ".sources"));
}

int sources_find(const char *etc, const char *suite, char **ret, struct lab_err *err)
{
	autoclose int dir = open(etc, O_PATH | O_DIRECTORY | O_CLOEXEC);
	autofree char *text = NULL;
	char parts[IO_PATH], name[IO_PATH];
	struct dirent **names = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int n;

	if (!out)
		return lab_fail(err, -ENOMEM, "out of memory");
	read_source(out, dir, "sources.list", suite);
	n = scandir(io_path(parts, "%s/sources.list.d", etc), &names, is_source, alphasort);
	for (int i = 0; i < n; i++) {
		read_source(out, dir, io_path(name, "sources.list.d/%s", names[i]->d_name), suite);
		free(names[i]);
	}
	free(names);
	if (fclose(out) || !text)
		return lab_fail(err, -ENOMEM, "out of memory");
	if (!len)
		return lab_fail(
			err, -ENOENT,
			"this machine's apt has no Debian archive for the suite '%s' in "
			"%s/sources.list or %s/sources.list.d, and packages come from where "
			"the machine itself gets them; add an entry for '%s' there",
			suite, etc, etc, suite);
	*ret = steal_ptr(text);
	return 0;
}

static bool option_wanted(const char *line)
{
	static const char *const prefixes[] = { "Acquire::http::",    "Acquire::https::",
						"Acquire::Check-",    "Acquire::Retries",
						"Acquire::ForceIPv",  "Acquire::Max-ValidTime",
						"Acquire::Queue-Mode" };

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncasecmp(line, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

int sources_options(json_t **ret, struct lab_err *err)
{
	static const char *const argv[] = { "apt-config", "dump",    "--no-empty",
					    "--format",	  "%F=%v%n", NULL };
	struct run run = { .argv = argv, .deadline = num_now_us() + 30 * 1000000ULL };
	autofree char *out = NULL;
	autojson json_t *options = json_array();
	char *rest, *line;
	int r = run_program(&run, &out, err);

	if (r < 0)
		return r;
	rest = out;
	while ((line = strsep(&rest, "\n")))
		if (option_wanted(line))
			json_array_append_new(options, json_string(line));
	*ret = steal_ptr(options);
	return 0;
}
