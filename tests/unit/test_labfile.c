// SPDX-License-Identifier: GPL-2.0-or-later
/* test_labfile.c - lab files: what is refused and how, and what defaults give */
#define _GNU_SOURCE
#include "labd/labfile.h"
#include "lib/io.h"
#include "lib/names.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define RULE "(" NAME_RULE ")"

static struct paths test_paths;

static int set_up(void **state)
{
	const char *srcdir = getenv("SRCDIR");

	(void)state;
	if (srcdir && chdir(srcdir) < 0)
		return -1;
	snprintf(test_paths.data, sizeof(test_paths.data), "tests/unit/labfile");
	return 0;
}

/* Problems as "LINE:COLUMN: message", one a line */
static char *problems_text(const json_t *problems)
{
	char *text = NULL;
	size_t len = 0, i;
	FILE *f = open_memstream(&text, &len);
	json_t *p;

	assert_non_null(f);
	json_array_foreach(problems, i, p) {
		fprintf(f, "%s%lld:%lld: %s", i ? "\n" : "",
			json_integer_value(json_object_get(p, "line")),
			json_integer_value(json_object_get(p, "column")),
			json_string_value(json_object_get(p, "message")));
	}
	fclose(f);
	return text;
}

/* Read a lab file that is good */
static json_t *read_good(const char *text, const json_t *previous)
{
	autojson json_t *problems = NULL;
	struct lab_err err = LAB_ERR_INIT;
	json_t *spec = NULL;
	int r = labfile_read(text, strlen(text), "lab.yaml", &test_paths, previous, &spec,
			     &problems, &err);

	if (r)
		fail_msg("refused: %s\n%s", err.text, text);
	assert_null(problems);
	return spec;
}

/* Each of these is refused with exactly these problems */
struct bad {
	const char *text, *problems;
};

#define LAB "lab: t\n"
#define TINY LAB "instances:\n  a: { image: tiny"

static const struct bad bad_files[] = {
	/* not YAML, or YAML of another kind */
	{ "", "1:1: the file is empty" },
	{ "# nothing\n", "1:1: the file is empty" },
	{ "~", "1:1: the file is empty" },
	{ "lab: [a\nb: c\n", "2:2: not YAML: did not find expected ',' or ']' while parsing a flow "
			     "sequence that begins in line 1" },
	{ "\tlab: a\n", "1:1: not YAML: found character that cannot start any token" },
	{ "lab: \"a\n", "2:1: not YAML: found unexpected end of stream while scanning a quoted "
			"scalar that begins in line 1" },
	{ "lab: a\nx: \xff\n", "2:4: not YAML: invalid leading UTF-8 octet (0xff)" },
	{ "lab: a\x01\n", "1:7: not YAML: control characters are not allowed (0x01)" },
	{ "lab", "1:1: expected a map of keys and values, found 'lab'" },
	{ "[lab]", "1:1: expected a map of keys and values, found a list" },
	{ "lab: &x t\ninstances:\n  a: *x\n",
	  "3:6: aliases (*...) are not supported: write the value out" },
	{ "lab: !!str t\n", "1:6: tags (!...) are not supported" },
	{ LAB "---\nlab: u\n", "2:1: a second document begins; expected only one" },
	{ LAB "instances: { ? [a] : b }\n", "2:16: expected a key, found a list" },
	{ LAB "instances: [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]\n",
	  "2:27: nested deeper than 16 levels" },
	/* keys */
	{ "instances: {}\n", "1:1: expected the key lab: the lab's name" },
	{ LAB "instnaces: {}\n", "2:1: unknown key 'instnaces'; did you mean 'instances'?" },
	{ LAB "x: 1\n", "2:1: unknown key 'x'; known are: lab, description, identity, key, "
			"networks, services, instances" },
	{ LAB "lab: u\n", "2:1: 'lab' is given twice, first in line 1" },
	{ TINY " }\n  b: { image: tiny }\n  a: { image: tiny }\n",
	  "5:3: 'a' is given twice, first in line 3" },
	{ TINY ", memroy: 1G }\n", "3:21: unknown key 'memroy'; did you mean 'memory'?" },
	{ LAB "networks: { a: { cird: 10.0.0.0/8 } }\n",
	  "2:18: unknown key 'cird'; did you mean 'cidr'?" },
	/* names */
	{ "lab: a/b\n", "1:6: expected a lab's name " RULE ", found 'a/b'" },
	{ "lab: ..\n", "1:6: expected a lab's name " RULE ", found '..'" },
	{ "lab: -rf\n", "1:6: expected a lab's name " RULE ", found '-rf'" },
	{ "lab: \"a\\nb\"\n", "1:6: expected a lab's name " RULE ", found 'a\\nb'" },
	{ "lab: \"a\\0b\"\n", "1:6: a text with a NUL character" },
	{ "lab: [a]\n", "1:6: expected a lab's name, found a list" },
	{ LAB "instances: { \"../x\": { image: tiny } }\n",
	  "2:14: expected an instance's name " RULE ", found '../x'" },
	{ LAB "networks: { a b: {} }\n", "2:13: expected a network's name " RULE ", found 'a b'" },
	{ "lab: "
	  "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij\n",
	  "1:6: expected a lab's name " RULE
	  ", found 'abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijab...'" },
	/* values */
	{ TINY ", memory: lots }\n", "3:29: expected a size such as 512M, found 'lots'" },
	{ TINY ", memory: 63M }\n", "3:29: expected a size from 64 MiB to 1 TiB, found '63M'" },
	{ TINY ", memory: 1025G }\n", "3:29: expected a size from 64 MiB to 1 TiB, found '1025G'" },
	{ TINY ", memory: 99999999999999T }\n",
	  "3:29: expected a size from 64 MiB to 1 TiB, found '99999999999999T'" },
	{ TINY ", memory: 67108865 }\n", "3:29: expected a multiple of 1 MiB, found '67108865'" },
	{ TINY ", memory: [1G] }\n", "3:29: expected a size such as 512M, found a list" },
	{ TINY ", memory: -1 }\n", "3:29: expected a size such as 512M, found '-1'" },
	{ TINY ", vcpus: 0 }\n", "3:28: expected a number from 1 to 64, found '0'" },
	{ TINY ", vcpus: 65 }\n", "3:28: expected a number from 1 to 64, found '65'" },
	{ TINY ", vcpus: 1.5 }\n", "3:28: expected a number from 1 to 64, found '1.5'" },
	{ TINY ", protect: yes }\n", "3:30: expected true or false, found 'yes'" },
	{ TINY ", root: 3T }\n", "3:27: expected a size from 1 MiB to 2 TiB, found '3T'" },
	{ TINY ", root: 1048577 }\n", "3:27: expected a multiple of 512 B, found '1048577'" },
	{ TINY ", disks: { root: 1G } }\n",
	  "3:30: 'root' is the image's own disk; its size is the instance's key 'root'" },
	{ TINY ", disks: { 9data: 1G } }\n",
	  "3:30: expected a disk's name that starts with a letter and has at most 20 characters, "
	  "found '9data'" },
	{ TINY ", disks: { data: { siez: 1G } } }\n",
	  "3:38: unknown key 'siez'; did you mean 'size'?" },
	{ TINY ", disks: { a: 1G, b: 1G, c: 1G, d: 1G, e: 1G, f: 1G, g: 1G, h: 1G, i: 1G } }\n",
	  "3:21: expected at most 8 disks, found 9" },
	{ TINY ", disks: [data] }\n", "3:28: expected a map of keys and values, found a list" },
	{ LAB "instances: { a: {} }\n", "2:14: instance 'a' has neither an image nor services" },
	{ LAB "instances: { a: }\n", "2:14: instance 'a' has neither an image nor services" },
	{ LAB "instances: { a: tiny }\n", "2:17: expected a map of keys and values, found 'tiny'" },
	{ LAB "instances: [a]\n", "2:12: expected a map of keys and values, found a list" },
	/* services */
	{ LAB "instances: { a: { services: [keystonr] } }\n",
	  "2:30: there is no service 'keystonr'; did you mean 'keystone'?" },
	{ LAB "instances: { a: { services: [x] } }\n",
	  "2:30: there is no service 'x': labctl ls services" },
	{ LAB "instances: { a: { services: [../unit] } }\n",
	  "2:30: expected a service's name " RULE ", found '../unit'" },
	{ LAB "instances: { a: { services: keystone } }\n",
	  "2:29: expected a list of services, found 'keystone'" },
	{ LAB "instances: { a: { services: [database, database] } }\n",
	  "2:40: service 'database' is given twice" },
	{ LAB "instances: { a: { services: [database] }, b: { services: [database] } }\n",
	  "2:58: instance 'b' has service 'database', which instance 'a' has already" },
	{ LAB "instances: { a: { services: [database] }, database: { image: x } }\n",
	  "2:43: instance 'database' is named like a service that instance 'a' has: in the lab "
	  "this name means the service" },
	{ LAB "instances: { a: { services: [keystone] } }\n",
	  "2:29: instance 'a' needs service 'database', which no instance of this lab carries" },
	{ LAB "instances: { a: { services: [broken] } }\n",
	  "2:30: service broken: tests/unit/labfile/services/broken/service.yaml:1:9: expected a "
	  "size such as 512M, found 'lots'" },
	{ LAB "services: [rabbit]\ninstances: { a: { memory: 512M }, b: { image: x } }\n",
	  "2:12: service 'rabbit' needs 1 GiB and fits on no instance: a has 320 MiB left" },
	{ LAB "services: [alone, database]\ninstances: { a: {} }\n",
	  "2:12: service 'alone' needs 0 B and fits on no instance: a has 1023 GiB left and a "
	  "service it must be apart from" },
	{ LAB "services: [x]\n", "2:12: there is no service 'x': labctl ls services" },
	{ LAB "services: [web]\n",
	  "2:12: service 'web' needs 0 B and fits on no instance: there is none without an image "
	  "of its own" },
	{ LAB "instances: { a: { services: [rabbit], memory: 1G } }\n",
	  "2:47: instance 'a' has 1 GiB, but its services and the system need 1.2 GiB" },
	/* needs */
	{ TINY ", needs: [b] }\n  bb: { image: tiny }\n",
	  "3:29: unknown instance 'b'; known are: bb" },
	{ TINY ", needs: [ab] }\n  abc: { image: tiny }\n",
	  "3:29: unknown instance 'ab'; did you mean 'abc'?" },
	{ TINY ", needs: [b] }\n", "3:29: unknown instance 'b'; there are none" },
	{ TINY ", needs: [a] }\n", "3:29: instance 'a' cannot need itself" },
	{ TINY ", needs: [b, b] }\n  b: { image: tiny }\n", "3:32: 'b' is given twice" },
	{ TINY ", needs: b }\n  b: { image: tiny }\n",
	  "3:28: expected a list of instances, found 'b'" },
	{ TINY ", needs: [b] }\n  b: { image: tiny, needs: [c] }\n"
	       "  c: { image: tiny, needs: [a] }\n",
	  "3:29: needs form a cycle: a -> b -> c -> a" },
	{ LAB "instances:\n  db: { services: [database], needs: [id] }\n"
	      "  id: { services: [keystone] }\n",
	  "3:39: needs form a cycle: db -> id -> db" },
	/* networks */
	{ LAB "networks: { a: { cidr: 10.0.0.0/8 }, b: { cidr: 10.9.0.0/16 } }\n",
	  "2:49: network 'b' (10.9.0.0/16) overlaps network 'a' (10.0.0.0/8)" },
	{ LAB "networks: { a: { cidr: 10.20.1.0/24 }, b: }\n",
	  "2:40: network 'b' (10.20.1.0/24) overlaps network 'a' (10.20.1.0/24)" },
	{ LAB "networks: { a: { cidr: 10.20.0.1/24 } }\n",
	  "2:24: '10.20.0.1/24' has host bits set; did you mean 10.20.0.0/24?" },
	{ LAB "networks: { a: { cidr: 10.20.0.0 } }\n",
	  "2:24: expected a network such as 10.20.0.0/24, found '10.20.0.0'" },
	{ LAB "networks: { a: { cidr: 10.20.0.0/33 } }\n",
	  "2:24: expected a network such as 10.20.0.0/24, found '10.20.0.0/33'" },
	{ LAB "networks: { a: { cidr: 10.20.0.0/31 } }\n",
	  "2:24: expected a network from /8 to /30, found '10.20.0.0/31'" },
	{ LAB "networks: { a: { cidr: 127.0.0.0/24 } }\n",
	  "2:24: expected a network for hosts such as 10.20.0.0/24, found '127.0.0.0/24', which "
	  "has another use" },
	{ LAB "networks: { a: { cidr: 224.0.0.0/24 } }\n",
	  "2:24: expected a network for hosts such as 10.20.0.0/24, found '224.0.0.0/24', which "
	  "has another use" },
	{ LAB "networks: { a: { cidr: \"fd00::/64\" } }\n",
	  "2:24: expected a network such as 10.20.0.0/24, found 'fd00::/64'" },
	{ LAB "networks: { a: { gateway: 10.21.0.1 } }\n",
	  "2:27: address 10.21.0.1 is outside network 'a' (10.20.0.0/24)" },
	{ LAB "networks: { a: { gateway: 10.20.0.255 } }\n",
	  "2:27: address 10.20.0.255 is no host's: the first and the last of 10.20.0.0/24 are the "
	  "network's own" },
	{ LAB "networks: { a: { mtu: 100 } }\n",
	  "2:23: expected a number from 576 to 9216, found '100'" },
	{ LAB "networks: { a: { uplink: eth0 } }\n", "2:26: expected nat or none, found 'eth0'" },
	{ LAB "networks: { a: { dhcp: 1 } }\n", "2:24: expected true or false, found '1'" },
	{ LAB "networks: { a: { domain: a..b } }\n",
	  "2:26: expected a domain such as lab.example, found 'a..b'" },
	{ LAB "networks: [a]\n", "2:11: expected a map of keys and values, found a list" },
	{ LAB "networks: { a: { cidr: 10.0.0.0/30 } }\n"
	      "instances: { x: { image: tiny }, y: { image: tiny } }\n",
	  "2:24: network 'a' (10.0.0.0/30) has addresses for 1 of its 2 instances" },
	/* nics */
	{ TINY ", networks: [defualt] }\n",
	  "3:32: unknown network 'defualt'; did you mean 'default'?" },
	{ TINY ", networks: [default, default] }\n", "3:41: network 'default' is given twice" },
	{ TINY ", networks: default }\n",
	  "3:31: expected a list or a map of networks, found 'default'" },
	{ TINY ", networks: { default: { addr: 10.20.0.300 } } }\n",
	  "3:50: expected an IPv4 address such as 10.20.0.5, found '10.20.0.300'" },
	{ TINY ", networks: { default: { addr: 10.21.0.3 } } }\n",
	  "3:50: address 10.21.0.3 is outside network 'default' (10.20.0.0/24)" },
	{ TINY ", networks: { default: { addr: 10.20.0.1 } } }\n",
	  "3:50: address 10.20.0.1 is the gateway of network 'default'" },
	{ TINY ", networks: { default: { addr: 10.20.0.0 } } }\n",
	  "3:50: address 10.20.0.0 is no host's: the first and the last of 10.20.0.0/24 are the "
	  "network's own" },
	{ TINY ", networks: { default: { addr: 10.20.0.9 } } }\n"
	       "  b: { image: tiny, networks: { default: { addr: 10.20.0.9 } } }\n",
	  "4:50: address 10.20.0.9 is given twice: instance 'a' has it" },
	{ TINY ", networks: { default: { mac: 1 } } }\n",
	  "3:49: expected a MAC address such as 52:54:00:12:34:56, found '1'" },
	{ TINY ", networks: { default: { mac: \"01:00:00:00:00:01\" } } }\n",
	  "3:49: expected the MAC address of one host, found '01:00:00:00:00:01'" },
	{ TINY ", networks: { default: { mac: \"52:54:00:00:00:01\" } } }\n"
	       "  b: { image: tiny, networks: { default: { mac: \"52:54:00:00:00:01\" } } }\n",
	  "4:49: MAC address 52:54:00:00:00:01 is given twice: instance 'a' has it" },
	{ TINY ", networks: { default: { delay: 20ms, rate: 10mbit } } }\n",
	  "3:44: 'delay' is not supported yet; leave it out\n"
	  "3:57: 'rate' is not supported yet; leave it out" },
	/* ready */
	{ TINY ", ready: { tpc: 22 } }\n", "3:30: unknown ready probe 'tpc'; did you mean 'tcp'?" },
	{ TINY ", ready: { tcp: 0 } }\n", "3:35: expected a port from 1 to 65535, found '0'" },
	{ TINY ", ready: { tcp: 65536 } }\n",
	  "3:35: expected a port from 1 to 65535, found '65536'" },
	{ TINY ", ready: { tcp: 22, timeout: soon } }\n",
	  "3:48: expected a duration such as 90s or 5m, found 'soon'" },
	{ TINY ", ready: { tcp: 22, timeout: 500ms } }\n",
	  "3:48: expected whole seconds, from 1 s to 1 d 0 h, found '500ms'" },
	{ TINY ", ready: { tcp: 22, timeout: 25h } }\n",
	  "3:48: expected whole seconds, from 1 s to 1 d 0 h, found '25h'" },
	{ TINY ", ready: { tcp: 22, http: 80 } }\n",
	  "3:39: expected one probe, found 'http' beside 'tcp': make two entries of the list" },
	{ TINY ", ready: { tcp: 22, status: 200 } }\n",
	  "3:39: 'status' belongs to http, not to tcp" },
	{ TINY ", ready: { http: \"ftp://x\" } }\n",
	  "3:36: expected a URL such as http://:5000/v3/, found 'ftp://x'" },
	{ TINY ", ready: { http: \":99999/\" } }\n",
	  "3:36: expected a URL such as http://:5000/v3/, found ':99999/'" },
	{ TINY ", ready: { http: 80, status: 99 } }\n",
	  "3:48: expected a number from 100 to 599, found '99'" },
	{ TINY ", ready: { exec: ls } }\n",
	  "3:36: expected a list of words such as [systemctl, is-active, mariadb], found 'ls'" },
	{ TINY ", ready: { exec: [] } }\n", "3:36: expected a list of words such as [systemctl, "
					    "is-active, mariadb], found an empty one" },
	{ TINY ", ready: { agent: false } }\n",
	  "3:37: expected true; without this probe, leave it out" },
	{ TINY ", ready: { console: \"(\" } }\n",
	  "3:39: bad regular expression: Unmatched ( or \\(" },
	{ TINY ", ready: { console: \"((a{9}){9}){9}\" } }\n",
	  "3:39: expected a regular expression of at most 200 characters, without {m,n} and with "
	  "at most 6 '+'" },
	{ TINY ", ready: { timeout: 5 } }\n",
	  "3:28: expected one of tcp, http, exec, agent or console" },
	{ TINY ", ready: soon }\n", "3:28: expected a probe such as {tcp: 22}, found 'soon'" },
	/* forward */
	{ TINY ", forward: { 0: 80 } }\n", "3:32: expected a port from 1 to 65535, found '0'" },
	{ TINY ", forward: { 8080: 65536 } }\n",
	  "3:38: expected a port from 1 to 65535, found '65536'" },
	{ TINY ", forward: 80 }\n", "3:30: expected ports such as {8080: 80}, found '80'" },
	{ TINY ", forward: [{ host: 80 }] }\n", "3:31: expected the keys host and guest" },
	{ TINY ", forward: [{ host: 80, guest: 80, bind: here }] }\n",
	  "3:60: expected an IPv4 address such as 10.20.0.5, found 'here'" },
	{ TINY ", forward: { 80: 80 } }\n  b: { image: tiny, forward: { 80: 81 } }\n",
	  "4:32: port 80 of the host is given twice: instance 'a' has it" },
	{ TINY ", forward: { 80: 80 } }\n"
	       "  b: { image: tiny, forward: [{ host: 80, guest: 1, bind: 0.0.0.0 }] }\n",
	  "4:31: port 80 of the host is given twice: instance 'a' has it" },
	{ LAB "instances:\n  d: { services: [database] }\n  a: { services: [keystone] }\n"
	      "  b: { services: [keystone] }\n",
	  "5:18: instance 'b' has service 'keystone', which instance 'a' has already\n"
	  "5:18: port 15000 of the host is given twice: instance 'a' has it" },
	/* several at once, in the order of the file */
	{ "lab: a/b\nnetworks: { n: { mtu: 1 } }\n"
	  "instances:\n  a: { image: x, needs: [b], vcpus: 0 }\n  b: { image: x, needs: [a] }\n",
	  "1:6: expected a lab's name " RULE ", found 'a/b'\n"
	  "2:23: expected a number from 576 to 9216, found '1'\n"
	  "4:26: needs form a cycle: a -> b -> a\n"
	  "4:37: expected a number from 1 to 64, found '0'" },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_files); i++) {
		const struct bad *bad = &bad_files[i];
		autojson json_t *spec = NULL, *problems = NULL;
		struct lab_err err = LAB_ERR_INIT;
		autofree char *found = NULL;
		int r = labfile_read(bad->text, strlen(bad->text), "lab.yaml", &test_paths, NULL,
				     &spec, &problems, &err);

		found = problems_text(problems);
		if (r != -EINVAL || strcmp(found, bad->problems))
			print_error("%s\n", bad->text);
		assert_string_equal(found, bad->problems);
		assert_int_equal(r, -EINVAL);
		assert_null(spec);
		assert_memory_equal(err.text, "lab.yaml:", 9);
	}
}

/* One problem, at once, however many instances there are */
static void test_too_many(void **state)
{
	static const struct {
		unsigned int count;
		const char *problem;
	} cases[] = {
		{ 251, "2:1: expected at most 250 instances, found 251" },
		{ 20000, "2:1: expected at most 250 instances, found 20000" },
		{ 100000, "1:1: expected a file of at most 256 KiB, found 1.1 MiB" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autojson json_t *spec = NULL, *problems = NULL;
		autofree char *text = NULL, *found = NULL;
		struct lab_err err = LAB_ERR_INIT;
		size_t len;
		uint64_t start;
		FILE *f = open_memstream(&text, &len);

		fprintf(f, "lab: t\ninstances:\n");
		for (unsigned int k = 0; k < cases[i].count; k++)
			fprintf(f, " i%u: {}\n", k);
		fclose(f);
		start = num_now_us();
		assert_int_equal(labfile_read(text, len, "lab.yaml", &test_paths, NULL, &spec,
					      &problems, &err),
				 -EINVAL);
		assert_in_range(num_now_us() - start, 0, 1000000);
		found = problems_text(problems);
		assert_string_equal(found, cases[i].problem);
	}
}

/* So many problems that not all are kept: said in the text, and bounded */
static void test_many_problems(void **state)
{
	autojson json_t *spec = NULL, *problems = NULL;
	struct lab_err err = LAB_ERR_INIT;
	char text[20000] = "lab: t\n";
	size_t used = strlen(text);

	(void)state;
	for (int i = 0; i < 1000; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "key%d: 1\n", i);
	assert_int_equal(labfile_read(text, used, "lab.yaml", &test_paths, NULL, &spec, &problems,
				      &err),
			 -EINVAL);
	assert_int_equal(json_array_size(problems), 64);
	assert_non_null(strstr(err.text, "\nand 9"));
	assert_non_null(strstr(err.text, " more problems"));
}

static void check_spec(const json_t *spec, const char *expected)
{
	autojson json_t *want = json_loads(expected, 0, NULL);
	autofree char *a = json_dumps(spec, JSON_INDENT(1)), *b = NULL;

	assert_non_null(want);
	b = json_dumps(want, JSON_INDENT(1));
	assert_string_equal(a, b);
}

/* The least that a file can say, and all that it then has */
static void test_defaults(void **state)
{
	autojson json_t *spec =
		read_good("lab: demo\ninstances:\n  a: { image: tiny, memory: 128M }\n", NULL);

	(void)state;
	check_spec(spec, "{\"lab\": \"demo\", \"networks\": {\"default\": {"
			 "\"cidr\": \"10.20.0.0/24\", \"gateway\": \"10.20.0.1\", \"mtu\": 1500,"
			 "\"uplink\": \"nat\", \"dhcp\": true, \"domain\": \"demo\"}},"
			 "\"instances\": {\"a\": {\"image\": \"tiny\", \"services\": [],"
			 "\"vcpus\": 1, \"memory\": 134217728, \"root\": 0, \"disks\": {},"
			 "\"needs\": [], \"networks\": {\"default\": {\"addr\": \"10.20.0.10\","
			 "\"mac\": \"\"}}, \"ready\": [{\"agent\": true, \"timeout\": 300}],"
			 "\"forward\": [], \"protect\": false}}}");
}

/* What is given, in its short forms, and what services bring */
static void test_services(void **state)
{
	autojson json_t *spec = read_good(
		"lab: cloud\n"
		"description: all of it\n"
		"key: abcdefgh\n"
		"networks:\n"
		"  mgmt: { uplink: nat }\n"
		"  data: { mtu: 1550, gateway: 10.20.1.10, dhcp: false, domain: d.lab }\n"
		"instances:\n"
		"  id: { services: [keystone], root: 8G, ready: none }\n"
		"  db: { services: [database, rabbit], disks: { a: 4G, b: { size: 1M } } }\n"
		"  www:\n"
		"    services: [web]\n"
		"    image: debian-12\n"
		"    networks: { data: {}, mgmt: { addr: 10.20.0.99, mac: 52:54:00:AB:CD:EF } }\n"
		"    protect: true\n",
		NULL);

	(void)state;
	check_spec(
		spec,
		"{\"lab\": \"cloud\", \"description\": \"all of it\", \"networks\": {"
		"\"mgmt\": {\"cidr\": \"10.20.0.0/24\", \"gateway\": \"10.20.0.1\", \"mtu\": 1500,"
		"\"uplink\": \"nat\", \"dhcp\": true, \"domain\": \"cloud\"},"
		"\"data\": {\"cidr\": \"10.20.1.0/24\", \"gateway\": \"10.20.1.10\", \"mtu\": 1550,"
		"\"uplink\": \"none\", \"dhcp\": false, \"domain\": \"d.lab\"}},"
		"\"instances\": {"
		"\"id\": {\"image\": \"cloud-5adc2fc4\", \"services\": [\"keystone\"], \"vcpus\": "
		"1,"
		"\"memory\": 201326592, \"root\": 8589934592, \"disks\": {}, \"needs\": [],"
		"\"networks\": {\"mgmt\": {\"addr\": \"10.20.0.10\", \"mac\": \"\"}},"
		"\"ready\": [], \"forward\": [{\"host\": 15000, \"bind\": \"127.0.0.1\","
		"\"guest\": 5000}], \"protect\": false},"
		"\"db\": {\"image\": \"cloud-5adc2fc4\", \"services\": [\"database\", \"rabbit\"],"
		"\"vcpus\": 2, \"memory\": 2080374784, \"root\": 0,"
		"\"disks\": {\"a\": {\"size\": 4294967296}, \"b\": {\"size\": 1048576}},"
		"\"needs\": [], \"networks\": {\"mgmt\": {\"addr\": \"10.20.0.11\", \"mac\": "
		"\"\"}},"
		"\"ready\": [{\"agent\": true, \"timeout\": 300}],"
		"\"forward\": [], \"protect\": false},"
		"\"www\": {\"image\": \"debian-12\", \"services\": [\"web\"], \"vcpus\": 1,"
		"\"memory\": 201326592, \"root\": 0, \"disks\": {}, \"needs\": [],"
		"\"networks\": {\"data\": {\"addr\": \"10.20.1.11\", \"mac\": \"\"},"
		"\"mgmt\": {\"addr\": \"10.20.0.99\", \"mac\": \"52:54:00:ab:cd:ef\"}},"
		"\"ready\": [{\"agent\": true, \"timeout\": 300}],"
		"\"forward\": [{\"host\": 8443, \"bind\": \"0.0.0.0\", \"guest\": 443}],"
		"\"protect\": true}}, \"key\": \"abcdefgh\"}");
}

/* Where the services of the lab's own list are: "INSTANCE: SERVICE SERVICE, ..." */
static void check_places(const char *text, const json_t *previous, const char *expected)
{
	autojson json_t *spec = read_good(text, previous);
	char got[400] = "";
	const char *name;
	const json_t *v;
	json_t *in;
	size_t i, n = 0;

	json_object_foreach(json_object_get(spec, "instances"), name, in) {
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%s:", n ? ", " : "", name);
		json_array_foreach(json_object_get(in, "services"), i, v)
			n += (size_t)snprintf(got + n, sizeof(got) - n, " %s",
					      json_string_value(v));
	}
	assert_string_equal(got, expected);
}

static void test_places(void **state)
{
	autojson json_t *before = read_good("lab: t\ninstances: { a: { services: [rabbit] }, b: { "
					    "services: [database] } }\n",
					    NULL);

	(void)state;
	/* the largest first, each where most is left */
	check_places("lab: t\nservices: [database, rabbit]\n"
		     "instances: { a: { memory: 1200M }, b: { memory: 2G } }\n",
		     NULL, "a: database, b: rabbit");
	/* what an instance has stays there, and takes its memory; one with an image is no machine
	 */
	check_places("lab: t\nservices: [database, keystone]\ninstances:\n"
		     "  a: { memory: 2G, services: [rabbit] }\n"
		     "  b: { memory: 2G }\n  c: { image: x }\n",
		     NULL, "a: rabbit, b: database keystone, c:");
	/* they stay where they were */
	check_places("lab: t\nservices: [database, rabbit]\n"
		     "instances: { a: { memory: 4G }, b: { memory: 2G } }\n",
		     before, "a: rabbit, b: database");
	/* apart, and one that may be on many */
	check_places("lab: t\nservices: [alone, database, alone]\n"
		     "instances: { a: { memory: 2G }, b: {}, c: {} }\n",
		     NULL, "a: alone, b: database, c: alone");
}

static const char *addr_of(const json_t *spec, const char *instance)
{
	const char *addr = NULL;

	assert_int_equal(json_unpack((json_t *)spec, "{s:{s:{s:{s:{s:s}}}}}", "instances", instance,
				     "networks", "default", "addr", &addr),
			 0);
	return addr;
}

/* An address stays with its instance, unless the file gives it to another */
static void test_addresses(void **state)
{
	static const char three[] = "lab: t\ninstances:\n  a: { image: x }\n  b: { image: x }\n"
				    "  c: { image: x }\n";
	autojson json_t *first = read_good(three, NULL), *second = NULL, *third = NULL;

	(void)state;
	assert_string_equal(addr_of(first, "a"), "10.20.0.10");
	assert_string_equal(addr_of(first, "c"), "10.20.0.12");
	second = read_good("lab: t\ninstances:\n  new: { image: x }\n  c: { image: x }\n"
			   "  a: { image: x }\n",
			   first);
	assert_string_equal(addr_of(second, "new"), "10.20.0.11");
	assert_string_equal(addr_of(second, "c"), "10.20.0.12");
	assert_string_equal(addr_of(second, "a"), "10.20.0.10");
	third = read_good("lab: t\nnetworks: { default: { cidr: 10.20.0.8/29 } }\ninstances:\n"
			  "  a: { image: x, networks: { default: { addr: 10.20.0.12 } } }\n"
			  "  b: { image: x }\n  c: { image: x }\n  d: { image: x }\n"
			  "  e: { image: x }\n",
			  first);
	assert_string_equal(addr_of(third, "a"), "10.20.0.12");
	assert_string_equal(addr_of(third, "b"), "10.20.0.11"); /* as it was */
	assert_string_equal(addr_of(third, "c"), "10.20.0.13"); /* has lost .12 */
	assert_string_equal(addr_of(third, "d"), "10.20.0.14");
	assert_string_equal(addr_of(third, "e"), "10.20.0.10"); /* .9 is the gateway */
}

/* Good files of every kind read back as the same, from JSON and from YAML */
static void test_round_trip(void **state)
{
	static const char *const files[] = {
		"lab: \"null\"\n",
		"lab: t\nnetworks: {}\ninstances: { a: { image: x } }\n",
		"lab: t\ndescription: \"a: b # c\\n\\t\\\"d\\\" \\u00e9 \\U0001F600 {[,\"\n",
		"lab: t\ninstances: { a: { image: x, networks: [] } }\n",
		"lab: 'on'\ninstances: { yes: { image: '1', disks: { n: 1G }, root: 512M } }\n",
		"lab: t\ninstances: { a: { image: x, forward: [{ host: 1, guest: 2 }, "
		"{ host: 1, guest: 3, bind: 127.0.0.2 }] } }\n",
		"lab: t\ninstances: { a: { image: x, ready: [{ exec: ['', 'true', '~', ' a ', "
		"\"x\\ny\", '-', '[', '#', 'a: b', '1e3', '0x1f', \"'\" ] }, "
		"{ console: '^[a-z]+ login: *$' }, { http: '/v3', body: '{\"a\"' }, "
		"{ tcp: 1, timeout: 2m }] } }\n",
		"lab: t\ninstances: { a: { services: [database] }, b: { services: [keystone] } }\n",
		"{\"lab\":\"t\",\"instances\":{\"a\":{\"image\":\"x\",\"memory\":134217728}}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		autojson json_t *spec = read_good(files[i], NULL), *from_json = NULL;
		autojson json_t *from_yaml = NULL, *changes = NULL;
		autofree char *json = json_dumps(spec, JSON_COMPACT), *yaml = NULL;
		struct lab_err err = LAB_ERR_INIT;

		from_json = read_good(json, NULL);
		check_spec(from_json, json);
		assert_int_equal(labfile_yaml(spec, &yaml, &err), 0);
		from_yaml = read_good(yaml, NULL);
		check_spec(from_yaml, json);
		assert_int_equal(labfile_changes(spec, from_yaml, &changes, &err), 0);
		assert_int_equal(json_array_size(changes), 0);
	}
}

static void test_yaml(void **state)
{
	autojson json_t *spec = read_good(
		"lab: demo\nkey: kkkkkkkk\nnetworks: { mgmt: { uplink: nat } }\ninstances:\n"
		"  db: { services: [database], disks: { data: 1536M }, root: 8G }\n"
		"  web: { image: x, needs: [db], ready: none, forward: { 8080: 80 } }\n",
		NULL);
	autofree char *yaml = NULL;
	struct lab_err err = LAB_ERR_INIT;

	(void)state;
	assert_int_equal(labfile_yaml(spec, &yaml, &err), 0);
	assert_string_equal(yaml, "lab: demo\n"
				  "networks:\n"
				  "  mgmt: {cidr: 10.20.0.0/24, gateway: 10.20.0.1, mtu: 1500, "
				  "uplink: nat, dhcp: true, domain: demo}\n"
				  "instances:\n"
				  "  db:\n"
				  "    image: cloud-b66a511a\n"
				  "    services: [database]\n"
				  "    vcpus: 1\n"
				  "    memory: 960M\n"
				  "    root: 8G\n"
				  "    disks: {data: 1536M}\n"
				  "    needs: []\n"
				  "    networks: {mgmt: {addr: 10.20.0.10}}\n"
				  "    ready: [{agent: true, timeout: 300}]\n"
				  "    forward: {}\n"
				  "    protect: false\n"
				  "  web:\n"
				  "    image: x\n"
				  "    services: []\n"
				  "    vcpus: 1\n"
				  "    memory: 512M\n"
				  "    disks: {}\n"
				  "    needs: [db]\n"
				  "    networks: {mgmt: {addr: 10.20.0.11}}\n"
				  "    ready: none\n"
				  "    forward: {8080: 80}\n"
				  "    protect: false\n"
				  "key: kkkkkkkk\n");
}

/* Changes as "ACTION OBJECT: REASON", one a line */
static void check_changes(const char *from, const char *to, const char *expected)
{
	autojson json_t *a = from ? read_good(from, NULL) : NULL, *b = read_good(to, a);
	autojson json_t *changes = NULL;
	struct lab_err err = LAB_ERR_INIT;
	autofree char *text = NULL;
	size_t len, i;
	FILE *f = open_memstream(&text, &len);
	json_t *c;

	assert_int_equal(labfile_changes(a, b, &changes, &err), 0);
	json_array_foreach(changes, i, c) {
		fprintf(f, "%s %s: %s\n", json_string_value(json_object_get(c, "action")),
			json_string_value(json_object_get(c, "object")),
			json_string_value(json_object_get(c, "reason")));
	}
	fclose(f);
	assert_string_equal(text, expected);
}

static void test_changes(void **state)
{
	static const char before[] = "lab: t\nnetworks: { a: { uplink: nat }, b: {} }\n"
				     "instances:\n"
				     "  x: { image: i, networks: [a, b], disks: { d: 1G } }\n"
				     "  y: { image: i, needs: [x] }\n";

	(void)state;
	check_changes(NULL, before,
		      "create network a: 10.20.0.0/24, uplink nat\n"
		      "create network b: 10.20.1.0/24, uplink none\n"
		      "create instance x: image i, 512 MiB, 1 vcpu\n"
		      "create instance y: image i, 512 MiB, 1 vcpu\n");
	check_changes(before, before, "");
	check_changes(before,
		      "lab: t\nnetworks: { a: { uplink: nat }, b: {} }\ninstances:\n"
		      "  x: { image: j, memory: 1G, vcpus: 2, root: 4G, networks: [a, b], "
		      "disks: { d: 2G, e: 1G } }\n"
		      "  y: { image: i, protect: true, forward: { 80: 80, 443: 8443 }, "
		      "ready: none }\n",
		      "restart instance x: image i -> j, with fresh disks, vcpus 1 -> 2, memory "
		      "512 MiB -> 1 GiB, "
		      "root disk the image's -> 4 GiB, disk d 1 GiB -> 2 GiB, disk e added\n"
		      "change instance y: needs x -> none, ready probes changed, "
		      "forwards none -> 80:80, 443:8443, protect false -> true\n");
	check_changes(before,
		      "lab: t\nnetworks: { a: { uplink: nat }, c: { cidr: 10.20.9.0/24 } }\n"
		      "instances:\n  x: { image: i, networks: [c] }\n  z: { image: i }\n",
		      "create network c: 10.20.9.0/24, uplink none\n"
		      "restart instance x: disk d removed, with all that is on it, "
		      "network c added, network a removed, network b removed\n"
		      "create instance z: image i, 512 MiB, 1 vcpu\n"
		      "remove instance y: no longer in the lab file\n"
		      "remove network b: no longer in the lab file\n");
	check_changes(before,
		      "lab: t\nnetworks: { a: { uplink: nat, mtu: 1400 }, b: {} }\ninstances:\n"
		      "  x: { image: i, networks: [b, a], disks: { d: 1G } }\n"
		      "  y: { image: i, needs: [x], networks: { a: { addr: 10.20.0.77 } } }\n",
		      "restart network a: mtu 1500 -> 1400\n"
		      "restart instance x: network a is made anew\n"
		      "restart instance y: address on a 10.20.0.11 -> 10.20.0.77, "
		      "network a is made anew\n");
	check_changes(before,
		      "lab: t\nnetworks: { a: { uplink: nat }, b: {} }\ninstances:\n"
		      "  x: { image: i, networks: [b, a], disks: { d: 1G } }\n"
		      "  y: { image: i, needs: [x] }\n",
		      "restart instance x: order of networks changed\n");
}

static size_t allocations_left;

static void *failing_malloc(size_t size)
{
	return allocations_left && allocations_left-- ? malloc(size) : NULL;
}

/* Every allocation of a JSON value fails once: no crash, no half a lab */
static void test_out_of_memory(void **state)
{
	static const char text[] =
		"lab: t\nnetworks: { a: { uplink: nat }, b: {} }\ninstances:\n"
		"  db: { services: [database, rabbit], disks: { d: 1G }, protect: true }\n"
		"  id: { services: [keystone], networks: { b: { addr: 10.20.1.9, "
		"mac: \"52:54:00:00:00:01\" } } }\n"
		"  x: { image: x, needs: [id], ready: [{ exec: [a] }, { http: 80 }] }\n";
	size_t n = 0;
	int r, changed;

	(void)state;
	do {
		json_t *spec = NULL, *problems = NULL, *changes = NULL;
		struct lab_err err = LAB_ERR_INIT;

		allocations_left = n++;
		json_set_alloc_funcs(failing_malloc, free);
		r = labfile_read(text, strlen(text), "lab.yaml", &test_paths, NULL, &spec,
				 &problems, &err);
		changed = r ? -1 : labfile_changes(NULL, spec, &changes, &err);
		json_decref(spec);
		json_decref(problems);
		json_decref(changes);
		json_set_alloc_funcs(malloc, free);
		if (r && r != -ENOMEM)
			fail_msg("allocation %zu: %s", n, err.text);
	} while (changed);
	assert_in_range(n, 100, 10000);
}

/* The manual page's examples are read as they stand there */
static void test_manual(void **state)
{
	autofree char *page = NULL;
	char *text, *end;
	int n = 0;

	(void)state;
	assert_int_equal(io_read_file(AT_FDCWD, "docs/lab.yaml.5.scd", 1 << 20, &page, NULL), 0);
	text = strstr(page, "# EXAMPLES");
	while (text && (text = strstr(text, "```\n"))) {
		end = strstr(text + 4, "```\n");
		assert_non_null(end);
		*end = '\0';
		json_decref(read_good(text + 4, NULL));
		text = end + 4;
		n++;
	}
	assert_int_equal(n, 2);
}

/* All shipped lab files, with the shipped catalogue */
static void test_shipped(void **state)
{
	autodir DIR *dir = opendir("stack/labs");
	const struct dirent *de;

	(void)state;
	assert_non_null(dir);
	snprintf(test_paths.data, sizeof(test_paths.data), "stack");
	while ((de = readdir(dir))) {
		autofree char *text = NULL;

		if (de->d_name[0] == '.')
			continue;
		assert_int_equal(io_read_file(dirfd(dir), de->d_name, 1 << 20, &text, NULL), 0);
		json_decref(read_good(text, NULL));
	}
	snprintf(test_paths.data, sizeof(test_paths.data), "tests/unit/labfile");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad),	      cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_many_problems), cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_services),      cmocka_unit_test(test_places),
		cmocka_unit_test(test_addresses),     cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_yaml),	      cmocka_unit_test(test_changes),
		cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_manual),
		cmocka_unit_test(test_shipped),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
