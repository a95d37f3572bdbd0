// SPDX-License-Identifier: GPL-2.0-or-later
/* test_recipe.c - reading recipes, and finding the host's package sources */
#define _GNU_SOURCE
#include "images/builder/builder.h"
#include "images/image.h"

#include "lib/io.h"
#include "lib/util.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static struct paths paths;
static char dir[64];

static void put_file(const char *name, const char *text)
{
	char path[IO_PATH], *slash;

	io_path(path, "%s/%s", dir, name);
	slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(io_mkdirs(path, 0755), 0);
	*slash = '/';
	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_recipe.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(paths.data, sizeof(paths.data), "%s", dir);
	snprintf(paths.state, sizeof(paths.state), "%s/state", dir);
	put_file("images/base.yaml", "image: base\nsize: 1G\npackages: [udev]\ncmdline: x=1\n");
	put_file("images/child.yaml", "image: child\nfrom: base\nscript: |\n  true\n");
	put_file("images/raw.yaml", "image: raw\nvariant: extract\npackages: [busybox-static]\n");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return io_remove_tree(AT_FDCWD, dir) < 0;
}

/* A recipe's text that must be fine */
static struct recipe *read_good(const char *text)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *problems = NULL;
	struct recipe *recipe = NULL;

	if (recipe_load(&paths, text, "t.yaml", NULL, &recipe, &problems, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(json_array_size(problems), 0);
	return recipe;
}

/* @want: "line:column: words" of each problem, NULL at the end */
static void read_bad(const char *text, const char *const *want)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *problems = NULL;
	struct recipe *recipe = NULL;
	size_t i = 0;
	json_t *p;

	assert_int_equal(recipe_load(&paths, text, "t.yaml", NULL, &recipe, &problems, &err),
			 -EINVAL);
	assert_null(recipe);
	assert_non_null(strstr(err.text, "t.yaml:"));
	for (; want[i]; i++) {
		const char *words = strchr(strchr(want[i], ':') + 1, ':') + 1;
		char have[600];

		p = json_array_get(problems, i);
		snprintf(have, sizeof(have), "%d:%d:%s",
			 (int)json_integer_value(json_object_get(p, "line")),
			 (int)json_integer_value(json_object_get(p, "column")),
			 recipe_str(p, "message"));
		if (strncmp(have, want[i], (size_t)(words - want[i])) || !strstr(have, words))
			fail_msg("problem %zu: wanted '%s', got '%s'", i, want[i], have);
	}
	assert_int_equal(json_array_size(problems), i);
}

#define BAD(text, ...) read_bad(text, (const char *const[]){ __VA_ARGS__, NULL })

static void test_defaults(void **state)
{
	struct recipe *r = read_good("image: x\n");

	(void)state;
	assert_string_equal(r->name, "x");
	assert_string_equal(r->from, "");
	assert_int_equal(r->size, 2ULL << 30);
	assert_int_equal(strlen(r->digest), 64);
	assert_false(r->locked);
	assert_string_equal(recipe_str(r->spec, "suite"), "bookworm");
	assert_string_equal(recipe_str(r->spec, "variant"), "minbase");
	recipe_free(r);
}

static void test_all_keys(void **state)
{
	struct recipe *r = read_good("image: x\nfrom: child\nsize: 3G\npackages: [a2, b-c=1.0~1]\n"
				     "using: [raw]\ncmdline: y=2\nscript: echo hi\n"
				     "files:\n  - path: /etc/x\n    mode: 0600\n"
				     "    owner: u:g\n    content: |\n      hello\n");
	const json_t *file = json_array_get(json_object_get(r->spec, "files"), 0);

	(void)state;
	assert_string_equal(r->from, "child");
	assert_int_equal(r->size, 3ULL << 30);
	assert_string_equal(recipe_str(r->spec, "cmdline"), "y=2");
	assert_string_equal(recipe_str(file, "content"), "hello\n");
	assert_int_equal(json_integer_value(json_object_get(file, "mode")), 0600);
	assert_int_equal(json_array_size(json_object_get(r->spec, "using")), 1);
	recipe_free(r);
}

static void test_inherited(void **state)
{
	struct recipe *r = read_good("image: x\nfrom: child\n");

	(void)state;
	assert_int_equal(r->size, 1ULL << 30);
	assert_string_equal(recipe_str(r->spec, "cmdline"), "x=1");
	recipe_free(r);
}

/* The root of a recipe with `disk` is not what boots, and its kernel gets no parameters */
static void test_disk(void **state)
{
	struct recipe *r = read_good("image: x\nfrom: base\ndisk: /out/x.raw\n");

	(void)state;
	assert_string_equal(recipe_str(r->spec, "disk"), "/out/x.raw");
	assert_int_equal(r->size, 1ULL << 30);
	recipe_free(r);
	put_file("images/whole.yaml", "image: whole\ndisk: /x.raw\nsize: 64M\n");
	r = read_good("image: x\nfrom: whole\n");
	assert_string_equal(recipe_str(r->spec, "disk"), "/x.raw");
	assert_int_equal(r->size, 64ULL << 20);
	recipe_free(r);
	BAD("image: x\ndisk: x.raw\n", "2:7:absolute path");
	BAD("image: x\ndisk: /a/../../x.raw\n", "2:7:absolute path");
	BAD("image: x\ndisk: [/x.raw]\n", "2:7:absolute path");
	BAD("image: x\ndisk: /x.raw\ncmdline: y=1\n", "3:1:boot loader in /x.raw");
	BAD("image: x\nfrom: whole\ncmdline: y=1\n", "3:1:boot loader in /x.raw");
}

static void test_all_problems_at_once(void **state)
{
	(void)state;
	BAD("imgae: x\nsize: big\npackages: x\nscript: [a]\n", "1:1:needs a name",
	    "1:1:did you mean 'image'", "2:7:a size such as 512M, found 'big'",
	    "3:11:a list of packages", "4:9:commands for /bin/sh");
}

static void test_problems(void **state)
{
	(void)state;
	BAD("", "1:1:empty");
	BAD("- a\n", "1:1:a map of keys");
	BAD("a: [b\n", "2:1:");
	BAD("\x01", "1:1:");
	BAD("image: ../x\n", "1:8:the image's name");
	BAD("image: x\nimage: y\n", "2:1:image");
	BAD("image: x\nzzzzzz: 1\n", "2:1:known");
	BAD("image: x\nsize: 1K\n", "2:7:from 32 MiB");
	BAD("image: x\nsize: 4T\n", "2:7:to 2 TiB");
	BAD("image: x\nsize: 33554433\n", "2:7:multiple of 4 KiB");
	BAD("image: x\npackages: [-rf, 'a b', ok, nano-, g++]\n", "2:12:'-rf'", "2:17:'a b'",
	    "2:28:'nano-'");
	BAD("image: x\npackages: [[a]]\n", "2:12:found a list");
	BAD("image: x\npackages: {a: b}\n", "2:11:found a map");
	BAD("image: x\nvariant: full\n", "2:10:minbase or extract");
	BAD("image: x\nexclude: [a]\n", "2:1:only for");
	BAD("image: x\ncmdline: \"a\\nb\"\n", "2:10:one line");
	BAD("image: x\nscript: \"a\\0b\"\n", "2:9:");
	BAD("image: x\nfiles:\n  - path: etc/x\n    mode: 888\n", "3:11:absolute path",
	    "4:11:octal");
	BAD("image: x\nfiles:\n  - path: /a/../b\n", "3:11:absolute path");
	BAD("image: x\nfiles:\n  - path: /a/..\n", "3:11:absolute path");
	BAD("image: x\nfiles:\n  - pth: /a\n", "3:5:needs a path", "3:5:did you mean 'path'");
	BAD("image: x\nfiles: [x]\n", "2:9:a map");
}

static void test_built_on(void **state)
{
	(void)state;
	BAD("image: x\nfrom: bsae\n", "2:7:did you mean 'base'");
	BAD("image: x\nusing: [nothing-like-it]\n", "2:9:there are base, child, raw");
	BAD("image: x\nfrom: base\nsuite: bookworm\nvariant: minbase\n", "3:1:'suite' is that",
	    "4:1:'variant' is that");
	BAD("image: x\nfrom: raw\npackages: [udev]\n", "3:1:no dpkg");
	put_file("images/a.yaml", "image: a\nfrom: b\n");
	put_file("images/b.yaml", "image: b\nfrom: a\n");
	BAD("image: x\nfrom: a\n", "2:7:circle");
	put_file("images/self.yaml", "image: self\nusing: [self]\n");
	BAD("image: x\nfrom: self\n", "2:7:circle");
	put_file("images/c.yaml", "image: c\nnonsense: 1\n");
	BAD("image: x\nfrom: c\n", "2:7:c.yaml:2:1:");
}

/* Aliases may make a document refer to itself */
static void test_alias_loops(void **state)
{
	(void)state;
	BAD("image: x\npackages: &a [*a]\n", "2:15:aliases");
	BAD("&a\nimage: x\nfiles: [*a]\n", "3:9:aliases");
}

static void digest_of(char buf[DIGEST_HEX], const char *text)
{
	struct recipe *r = read_good(text);

	snprintf(buf, DIGEST_HEX, "%s", r->digest);
	recipe_free(r);
}

static void test_digest(void **state)
{
	char a[DIGEST_HEX], b[DIGEST_HEX];

	(void)state;
	digest_of(a, "image: x\nfrom: child\n");
	digest_of(b, "image: x\nfrom: child\n");
	assert_string_equal(a, b);
	digest_of(b, "image: x\nfrom: base\n");
	assert_string_not_equal(a, b);
	put_file("images/base.yaml", "image: base\nsize: 1G\npackages: [udev, curl]\n");
	digest_of(b, "image: x\nfrom: child\n");
	assert_string_not_equal(a, b);
}

static void test_lock(void **state)
{
	char plain[DIGEST_HEX], changed[DIGEST_HEX];
	autofree char *lock = NULL;
	struct recipe *r;

	(void)state;
	digest_of(plain, "image: x\n");
	assert_true(asprintf(&lock,
			     "{\"name\": \"x\", \"recipe\": \"%s\", \"digest\": \"d\", "
			     "\"packages\": []}",
			     plain) > 0);
	put_file("state/locks/x.json", lock);
	r = read_good("image: x\n");
	assert_true(r->locked);
	assert_string_equal(r->digest, plain); /* the lock gives that very image */
	recipe_free(r);
	digest_of(changed, "image: x\nscript: \"true\"\n");
	put_file("state/locks/x.json", "{\"recipe\": \"1\", \"digest\": \"e\", \"packages\": []}");
	digest_of(plain, "image: x\nscript: \"true\"\n");
	assert_string_not_equal(changed, plain);
	put_file("state/locks/x.json", "{");
	assert_int_equal(recipe_load(&paths, "image: x\n", "t", NULL, &r, NULL, NULL), -EINVAL);
}

static void test_shipped(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *names = NULL;
	struct recipe *r = NULL;

	(void)state;
	assert_int_equal(recipe_names(&paths, &names, &err), 0);
	assert_int_equal(json_array_size(names), 3);
	assert_int_equal(recipe_load(&paths, NULL, NULL, "child", &r, NULL, &err), 0);
	assert_string_equal(r->from, "base");
	recipe_free(r);
	assert_int_equal(recipe_load(&paths, NULL, NULL, "chidl", &r, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "did you mean 'child'"));
	assert_int_equal(recipe_load(&paths, NULL, NULL, "../../etc/passwd", &r, NULL, &err),
			 -EINVAL);
}

/* --- sources.c --- */

static void check_sources(const char *suite, const char *want)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *have = NULL;

	if (sources_find(dir, suite, &have, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(have, want);
}

static void test_sources_oneline(void **state)
{
	(void)state;
	put_file("sources.list",
		 "# a comment\n"
		 "deb http://mirror.example/debian bookworm main contrib # near\n"
		 "deb-src http://mirror.example/debian bookworm main\n"
		 "deb [ arch=amd64 signed-by=/k.gpg ] http://mirror.example/debian "
		 "bookworm-updates main\n"
		 "deb http://security.example/debian-security bookworm-security main\n"
		 "deb http://mirror.example/debian trixie main\n"
		 "deb http://mirror.example/debian bookworm-backports main\n"
		 "deb https://download.docker.example/linux/debian bookworm stable\n"
		 "deb https://apt.company.example bookworm main\n"
		 "deb\n"
		 "deb [\n");
	check_sources("bookworm",
		      "deb http://mirror.example/debian bookworm main contrib\n"
		      "deb [signed-by=/k.gpg] http://mirror.example/debian bookworm-updates main\n"
		      "deb http://security.example/debian-security bookworm-security main\n");
}

static void test_sources_deb822(void **state)
{
	(void)state;
	put_file("sources.list.d/debian.sources", "Types: deb deb-src\n"
						  "# a comment within\n"
						  "URIs: http://mirror.example/debian\n"
						  "Suites: bookworm\n"
						  "  bookworm-updates\n"
						  "Components: main\n"
						  "Signed-By: /usr/share/keyrings/k.gpg\n"
						  "\n"
						  "Types: deb\n"
						  "Enabled: no\n"
						  "URIs: http://off.example/debian\n"
						  "Suites: bookworm\n"
						  "Components: main\n"
						  "\n"
						  "types: deb\n"
						  "uris: http://two.example/debian-security\n"
						  "suites: bookworm-security\n"
						  "components: main\n"
						  "signed-by:\n"
						  " -----BEGIN PGP PUBLIC KEY BLOCK-----\n"
						  " .\n"
						  " mQINBFit\n");
	put_file("sources.list.d/ignored.txt", "deb http://x.example/debian bookworm main\n");
	check_sources("bookworm",
		      "deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian "
		      "bookworm main\n"
		      "deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian "
		      "bookworm-updates main\n"
		      "deb http://two.example/debian-security bookworm-security main\n");
}

static void test_sources_none(void **state)
{
	struct lab_err err = LAB_ERR_INIT;
	autofree char *have = NULL;

	(void)state;
	put_file("sources.list", "deb http://mirror.example/ubuntu jammy main\n");
	assert_int_equal(sources_find(dir, "bookworm", &have, &err), -ENOENT);
	assert_non_null(strstr(err.text, "add an entry for 'bookworm'"));
	assert_null(have);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_defaults),	T(test_all_keys),     T(test_inherited),
		T(test_disk),		T(test_problems),     T(test_all_problems_at_once),
		T(test_built_on),	T(test_alias_loops),  T(test_digest),
		T(test_lock),		T(test_shipped),      T(test_sources_oneline),
		T(test_sources_deb822), T(test_sources_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
