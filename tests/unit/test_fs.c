// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_fs.c - labfs without FUSE: inode numbers, tables, the mirrored model
 *
 * TIMEOUT: 30
 */
#define _GNU_SOURCE
#include "fs/events.h"
#include "fs/node.h"
#include "lib/num.h"
#include "lib/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LAB                                                                                        \
	"{\"seq\": 7, \"images\": [{\"id\": 3, \"name\": \"tiny\", \"state\": \"ready\","          \
	" \"users\": [], \"protect\": false}], \"labs\": [{\"id\": 1, \"name\":"                   \
	" \"demo\", \"state\": \"up\", \"created\": 100, \"instances\": [{\"id\": 5, \"name\":"    \
	" \"db\", \"state\": \"running\", \"image_id\": 3, \"memory\": 1024, \"needs\": [\"a\", "  \
	"\"b\"],"                                                                                  \
	" \"created\": 100, \"disks\": [{\"name\": \"root\", \"size\": 17}], \"nics\":"            \
	" [{\"name\": \"eth0\", \"mac\": \"52:54:00:00:00:01\"}, {\"name\": \"eth1\"}]}],"         \
	" \"networks\": [{\"id\": 1, \"name\": \"mgmt\", \"ports\": [\"db/eth0\"]}],"              \
	" \"snapshots\": [{\"id\": 2, \"name\": \"clean\", \"members\": [\"db\", \"x\"]},"         \
	" {\"id\": 9, \"name\": \"own\", \"members\": [\"db\"]}]}]}"

static int changes;
static struct change last;

static void listener(const struct change *change)
{
	changes++;
	last.was.kind = change->was.kind;
	last.now.kind = change->now.kind;
}

static void replace(const char *text)
{
	autojson json_t *json = json_loads(text, 0, NULL);

	assert_non_null(json);
	assert_int_equal(model_replace(json), 0);
}

static int event(const char *text)
{
	autojson json_t *json = json_loads(text, 0, NULL);

	assert_non_null(json);
	return model_event(json);
}

static int setup(void **state)
{
	(void)state;
	model_listen(listener);
	replace("{\"seq\": 1, \"images\": [], \"labs\": []}");
	replace(LAB);
	changes = 0;
	return 0;
}

/* Walk a path such as "labs/demo/state" */
static int walk(const char *path, struct ref *ret)
{
	autofree char *copy = strdup(path);
	char *rest = copy, *name;
	struct node node = { .class = CLASS_ROOT };
	int r = node_resolve(node_number(&node), ret);

	while (!r && (name = strsep(&rest, "/"))) {
		r = node_lookup(ret, name, &node);
		ref_done(ret);
		if (!r)
			r = node_resolve(node_number(&node), ret);
	}
	return r;
}

static void check_value(const char *path, const char *want)
{
	autoref struct ref ref = { 0 };
	autofree char *value = NULL, *back = NULL;
	struct stat st;
	size_t len;

	assert_int_equal(walk(path, &ref), 0);
	assert_int_equal(node_value(&ref, &value, &len), 0);
	assert_string_equal(value, want);
	assert_int_equal(node_stat(&ref, &st), 0);
	assert_int_equal(st.st_size, len);
	back = node_path(&ref);
	assert_string_equal(back + 1, path);
}

static void test_root_is_one(void **state)
{
	const struct node root = { .class = CLASS_ROOT };
	struct node node;

	(void)state;
	assert_int_equal(node_number(&root), 1);
	assert_false(node_parse(0, &node));
	assert_false(node_parse(UINT64_MAX, &node));
	assert_false(node_parse(256, &node)); /* an attribute that the root has not */
}

static void test_numbers_and_back(void **state)
{
	const struct node nodes[] = {
		{ .class = CLASS_INSTANCE, .attr = 3, .id = NODE_ID_MASK },
		{ .class = CLASS_NIC, .attr = 1, .id = 5, .sub = NODE_SUB_MASK },
		{ .class = CLASS_PORT, .id = 1, .sub = 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		struct node back;

		assert_true(node_parse(node_number(&nodes[i]), &back));
		assert_int_equal(back.class, nodes[i].class);
		assert_int_equal(back.attr, nodes[i].attr);
		assert_int_equal(back.id, nodes[i].id);
		assert_int_equal(back.sub, nodes[i].sub);
	}
}

/* What the rest of labfs takes for granted of every row */
static void test_tables(void **state)
{
	(void)state;
	for (int c = 0; c < CLASS_COUNT; c++) {
		const struct class *class = classes[c];

		assert_non_null(class);
		assert_true(class->nentries < 256);
		assert_true(S_ISLNK(class->mode) == !!class->path);
		for (size_t i = 0; i < class->nentries; i++) {
			const struct entry *e = &class->entries[i];
			bool text = e->type == ENTRY_TEXT || e->type == ENTRY_BULK;

			assert_non_null(e->name);
			assert_true(e->type == ENTRY_DIR || e->type == ENTRY_LINK || e->mode);
			assert_int_equal(text && e->mode & 0400, !!e->show);
			assert_int_equal(!!(e->mode & 0200), !!e->store);
			if (e->type == ENTRY_DIR)
				assert_int_equal(classes[e->dir]->up, c);
			for (size_t j = 0; j < i; j++)
				assert_string_not_equal(e->name, class->entries[j].name);
		}
		/* Attributes never share a directory with names that people give */
		assert_false(class->members && class->nentries);
	}
}

static void test_values(void **state)
{
	(void)state;
	check_value("labs/demo/state", "up\n");
	check_value("labs/demo/instances/db/state", "running\n");
	check_value("labs/demo/instances/db/memory", "1024\n");
	check_value("labs/demo/instances/db/needs", "a b\n");
	check_value("labs/demo/instances/db/protect", "0\n");
	check_value("labs/demo/instances/db/pid", "");
	check_value("labs/demo/instances/db/disks/root/size", "17\n");
	check_value("labs/demo/instances/db/nics/eth0/mac", "52:54:00:00:00:01\n");
	check_value("labs/demo/topology", "db eth0 - - 52:54:00:00:00:01\ndb eth1 - - -\n");
	check_value("images/tiny/users", "demo/db\n");
}

static void test_names(void **state)
{
	static const char *const missing[] = { "x",
					       "labs/x",
					       "labs/demo/instances/db/qmp",
					       "labs/demo/instances/x/state",
					       "images/tiny/disk.qcow2",
					       "labs/demo/instances/db/nics/eth2" };
	autoref struct ref ref = { 0 };
	char path[IO_PATH];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
		autoref struct ref none = { 0 };

		assert_int_equal(walk(missing[i], &none), -ENOENT);
	}
	assert_int_equal(walk("labs/demo/networks/mgmt/ports/db:eth0", &ref), 0);
	assert_int_equal(ref.class->path(&ref, path), 0);
	assert_string_equal(path, "../../../instances/db/nics/eth0");
}

/* A part has its number from its name, wherever in the list it is */
static void test_parts_keep_numbers(void **state)
{
	autoref struct ref before = { 0 }, after = { 0 };

	(void)state;
	assert_int_equal(walk("labs/demo/instances/db/nics/eth1", &before), 0);
	assert_int_equal(event("{\"seq\": 8, \"type\": \"instance\", \"action\": \"change\","
			       "\"lab\": \"demo\", \"name\": \"db\", \"time\": 200, \"object\":"
			       "{\"id\": 5, \"name\": \"db\", \"nics\": [{\"name\": \"eth1\"}]}}"),
			 0);
	assert_int_equal(walk("labs/demo/instances/db/nics/eth1", &after), 0);
	assert_int_equal(node_number(&before.node), node_number(&after.node));
}

static bool count_port(void *arg, const char *name, const struct node *node)
{
	size_t *n = arg;
	autoref struct ref ref = { 0 };
	char want[32];

	snprintf(want, sizeof(want), "i%03zu:eth0", ++*n);
	assert_string_equal(name, want);
	assert_int_equal(node_resolve(node_number(node), &ref), 0);
	return true;
}

/* A network of as many instances as a lab may have; numbers of names that are kept apart */
static void test_many_ports(void **state)
{
	autojson json_t *model = json_loads(LAB, 0, NULL);
	json_t *lab = json_array_get(json_object_get(model, "labs"), 0);
	json_t *network = json_array_get(json_object_get(lab, "networks"), 0);
	json_t *ports = json_array();
	autoref struct ref ref = { 0 }, last_port = { 0 };
	size_t n = 0;

	(void)state;
	for (int i = 1; i <= 250; i++)
		json_array_append_new(ports, json_sprintf("i%03d/eth0", i));
	json_object_set_new(network, "ports", ports);
	assert_int_equal(model_replace(model), 0);
	assert_int_equal(walk("labs/demo/networks/mgmt/ports", &ref), 0);
	assert_int_equal(node_list(&ref, count_port, &n), 0);
	assert_int_equal(n, 250);
	assert_int_equal(walk("labs/demo/networks/mgmt/ports/i250:eth0", &last_port), 0);
	assert_string_equal(json_string_value(last_port.part), "i250/eth0");
}

static void test_events(void **state)
{
	autoref struct ref ref = { 0 };

	(void)state;
	assert_int_equal(
		event("{\"seq\": 8, \"type\": \"instance\", \"action\": \"rename\", \"from\":"
		      "\"db\", \"lab\": \"demo\", \"name\": \"sql\", \"time\": 300, \"object\":"
		      "{\"id\": 5, \"name\": \"sql\", \"state\": \"running\"}}"),
		0);
	assert_int_equal(walk("labs/demo/instances/db", &ref), -ENOENT);
	check_value("labs/demo/instances/sql/state", "running\n");
	assert_true(model_mtime(KIND_INSTANCE, 5, "state") == 100);
	assert_true(model_mtime(KIND_INSTANCE, 5, "name") == 300);
	assert_int_equal(event("{\"seq\": 9, \"type\": \"instance\", \"action\": \"remove\","
			       "\"lab\": \"demo\", \"name\": \"sql\", \"object\": {\"id\": 5}}"),
			 0);
	assert_int_equal(walk("labs/demo/instances/sql", &ref), -ENOENT);
	assert_int_equal(changes, 2);
	assert_int_equal(last.was.kind, KIND_INSTANCE);
	assert_int_equal(last.now.kind, KIND_NONE);
	assert_int_equal(model_seq(), 9);
}

static void test_bad_events(void **state)
{
	(void)state;
	assert_int_equal(event("{}"), -EPROTO);
	assert_int_equal(event("{\"type\": \"lab\"}"), -EPROTO);
	assert_int_equal(event("{\"type\": \"gap\", \"seq\": 90}"), 1);
	assert_int_equal(event("{\"type\": \"lab\", \"action\": \"add\"}"), -EPROTO);
	assert_int_equal(event("{\"type\": \"image\", \"action\": \"add\", \"object\":"
			       "{\"id\": 4, \"name\": \"../x\"}}"),
			 -EPROTO);
	assert_int_equal(event("{\"type\": \"instance\", \"action\": \"add\", \"lab\": \"none\","
			       "\"object\": {\"id\": 8, \"name\": \"x\"}}"),
			 1);
	assert_int_equal(event("{\"type\": \"new-one\", \"action\": \"add\", \"seq\": 8}"), 0);
	assert_int_equal(changes, 0);
}

/* labd came back: only what differs is told, what is the same stays */
static void test_resync(void **state)
{
	(void)state;
	replace(LAB);
	assert_int_equal(changes, 0);
	replace("{\"seq\": 20, \"images\": [], \"labs\": [{\"id\": 1, \"name\": \"demo\","
		"\"state\": \"down\", \"created\": 100, \"instances\": [], \"networks\": [],"
		"\"snapshots\": []}]}");
	/* an image, an instance, a network, two snapshots gone; the lab changed */
	assert_int_equal(changes, 6);
	check_value("labs/demo/state", "down\n");
}

static int store(const char *path, const char *text, struct action *ret)
{
	autofree char *value = strdup(text);
	autoref struct ref ref = { 0 };
	struct lab_err err = LAB_ERR_INIT;

	assert_int_equal(walk(path, &ref), 0);
	return ref.entry->store(&ref, value, ret, &err);
}

static void check_store(const char *path, const char *text, const char *want_path,
			const char *want_body)
{
	autoaction struct action action = { 0 };
	autofree char *body = NULL;

	assert_int_equal(store(path, text, &action), 0);
	assert_string_equal(action.path, want_path);
	body = json_dumps(action.body, JSON_COMPACT);
	assert_string_equal(body, want_body);
}

static void test_store(void **state)
{
	(void)state;
	check_store("labs/demo/instances/db/memory", "512M", "/v1/labs/demo/instances/db",
		    "{\"memory\":536870912}");
	check_store("labs/demo/instances/db/needs", "a, b  c", "/v1/labs/demo/instances/db",
		    "{\"needs\":[\"a\",\"b\",\"c\"]}");
	check_store("labs/demo/instances/db/needs", "", "/v1/labs/demo/instances/db",
		    "{\"needs\":[]}");
	check_store("labs/demo/instances/db/state", "stopped", "/v1/labs/demo/instances/db/stop",
		    "{}");
	check_store("labs/demo/instances/db/ctl", "restore  own",
		    "/v1/labs/demo/snapshots/own/restore", "{}");
	check_store("labs/demo/ctl", "up", "/v1/labs/demo/up", "{}");
	check_store("images/tiny/protect", "1", "/v1/images/tiny", "{\"protect\":true}");
}

static void test_store_refusals(void **state)
{
	static const struct {
		const char *path, *text;
		int code;
	} bad[] = {
		{ "labs/demo/instances/db/memory", "1X", -EINVAL },
		{ "labs/demo/instances/db/memory", "", -EINVAL },
		{ "labs/demo/instances/db/vcpus", "0", -ERANGE },
		{ "labs/demo/instances/db/vcpus", "256", -ERANGE },
		{ "labs/demo/instances/db/vcpus", "-1", -EINVAL },
		{ "labs/demo/instances/db/needs", "a ../b", -EINVAL },
		{ "labs/demo/instances/db/protect", "yes", -EINVAL },
		{ "labs/demo/instances/db/state", "", -EINVAL },
		{ "labs/demo/instances/db/state", "running now", -EINVAL },
		{ "labs/demo/instances/db/ctl", "restore", -EINVAL },
		{ "labs/demo/instances/db/ctl", "restore ../x", -EINVAL },
		{ "labs/demo/instances/db/ctl", "restore none", -ENOENT },
		{ "labs/demo/instances/db/ctl", "restore clean", -EINVAL },
		{ "labs/demo/instances/db/spec", "[]", -EINVAL },
		{ "labs/demo/ctl", "explode", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		autoaction struct action action = { 0 };

		assert_int_equal(store(bad[i].path, bad[i].text, &action), bad[i].code);
	}
}

static void test_event_log(void **state)
{
	autojson json_t *line = json_pack("{s:s}", "x", "0123456789012345678901234567890123456789");
	char first[16] = "";
	size_t most = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		events_append(line);
		most = MAX(most, events_size());
	}
	assert_true(most <= EVENTS_MAX);
	assert_true(events_size() > EVENTS_MAX / 3);
	assert_int_equal(events_read(0, first, 5), 5);
	assert_memory_equal(first, "{\"x\":", 5);
	assert_int_equal(events_read((off_t)events_size(), first, 5), 0);
	assert_int_equal(events_read(-1, first, 5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root_is_one),
		cmocka_unit_test(test_numbers_and_back),
		cmocka_unit_test(test_tables),
		cmocka_unit_test_setup(test_values, setup),
		cmocka_unit_test_setup(test_names, setup),
		cmocka_unit_test_setup(test_parts_keep_numbers, setup),
		cmocka_unit_test_setup(test_many_ports, setup),
		cmocka_unit_test_setup(test_events, setup),
		cmocka_unit_test_setup(test_bad_events, setup),
		cmocka_unit_test_setup(test_resync, setup),
		cmocka_unit_test_setup(test_store, setup),
		cmocka_unit_test_setup(test_store_refusals, setup),
		cmocka_unit_test(test_event_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
