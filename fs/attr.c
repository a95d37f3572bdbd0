// SPDX-License-Identifier: GPL-2.0-or-later
/* attr.c - what the tables of names have in common */
#define _GNU_SOURCE
#include "fs/attr.h"

#include "lib/num.h"
#include "lib/util.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

const struct class *const classes[CLASS_COUNT] = {
	[CLASS_ROOT] = &class_root,
	[CLASS_IMAGES] = &class_images,
	[CLASS_IMAGE] = &class_image,
	[CLASS_UPLOAD] = &class_upload,
	[CLASS_LABS] = &class_labs,
	[CLASS_LAB] = &class_lab,
	[CLASS_INSTANCES] = &class_instances,
	[CLASS_INSTANCE] = &class_instance,
	[CLASS_DISKS] = &class_disks,
	[CLASS_DISK] = &class_disk,
	[CLASS_NICS] = &class_nics,
	[CLASS_NIC] = &class_nic,
	[CLASS_MEMBER_SNAPSHOTS] = &class_member_snapshots,
	[CLASS_MEMBER_SNAPSHOT] = &class_member_snapshot,
	[CLASS_SNAPSHOTS] = &class_snapshots,
	[CLASS_SNAPSHOT] = &class_snapshot,
	[CLASS_NETWORKS] = &class_networks,
	[CLASS_NETWORK] = &class_network,
	[CLASS_PORTS] = &class_ports,
	[CLASS_PORT] = &class_port,
	[CLASS_SERVICES] = &class_services,
	[CLASS_SERVICE] = &class_service,
	[CLASS_SNAPSHOT_MEMBERS] = &class_snapshot_members,
	[CLASS_SNAPSHOT_MEMBER] = &class_snapshot_member,
	[CLASS_INSPECT] = &class_inspect,
	[CLASS_INSPECT_IMAGES] = &class_inspect_images,
	[CLASS_INSPECT_LABS] = &class_inspect_labs,
	[CLASS_INSPECT_LAB] = &class_inspect_lab,
	[CLASS_INSPECT_INSTANCES] = &class_inspect_instances,
	[CLASS_INSPECT_INSTANCE] = &class_inspect_instance,
	[CLASS_INSPECT_SNAPSHOTS] = &class_inspect_snapshots,
	[CLASS_INSPECT_SNAPSHOT] = &class_inspect_snapshot,
	[CLASS_INSPECT_MEMBERS] = &class_inspect_members,
	[CLASS_INSPECT_MEMBER] = &class_inspect_member,
	[CLASS_GUEST] = &class_guest,
};

static const json_t *value_of(const struct ref *ref, const char *key)
{
	return json_object_get(ref->part ? ref->part : ref->item.json, key);
}

const char *attr_string(const struct ref *ref, const char *key)
{
	const char *s = json_string_value(value_of(ref, key));

	return s ? s : "";
}

int show_string(const struct ref *ref, FILE *out)
{
	fputs(attr_string(ref, ref->entry->key), out);
	return 0;
}

int show_count(const struct ref *ref, FILE *out)
{
	fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value_of(ref, ref->entry->key)));
	return 0;
}

int show_int(const struct ref *ref, FILE *out)
{
	return json_integer_value(value_of(ref, ref->entry->key)) ? show_count(ref, out) : 0;
}

int show_bool(const struct ref *ref, FILE *out)
{
	fputc(json_is_true(value_of(ref, ref->entry->key)) ? '1' : '0', out);
	return 0;
}

int show_list(const struct ref *ref, FILE *out)
{
	const json_t *list = value_of(ref, ref->entry->key), *word;
	size_t i;

	json_array_foreach(list, i, word)
		if (json_is_string(word))
			fprintf(out, "%s%s", i ? " " : "", json_string_value(word));
	return 0;
}

int show_time(const struct ref *ref, FILE *out)
{
	double t = json_number_value(value_of(ref, ref->entry->key));

	if (t > 0)
		fprintf(out, "%.3f", t);
	return 0;
}

/* What failed here if it is newer than what labd says: that is cleared by success */
int show_error(const struct ref *ref, FILE *out)
{
	autofree char *here = model_failure(ref->item.kind, ref->item.id);

	fputs(here ? here : attr_string(ref, "error"), out);
	return 0;
}

const char *attr_path(const struct item *item, const struct item *lab, char path[CLIENT_PATH])
{
	switch (item->kind) {
	case KIND_IMAGE:
		return client_path(path, "/v1/images/%s", item->name);
	case KIND_LAB:
		return client_path(path, "/v1/labs/%s", item->name);
	case KIND_INSTANCE:
		return client_path(path, "/v1/labs/%s/instances/%s", lab->name, item->name);
	case KIND_NETWORK:
		return client_path(path, "/v1/labs/%s/networks/%s", lab->name, item->name);
	case KIND_SNAPSHOT:
		return client_path(path, "/v1/labs/%s/snapshots/%s", lab->name, item->name);
	case KIND_NONE:
	case KIND_COUNT:
		break;
	}
	path[0] = '\0';
	return path;
}

int attr_patch(const struct ref *ref, const char *key, json_t *value, struct action *ret)
{
	ret->method = "PATCH";
	attr_path(&ref->item, &ref->lab, ret->path);
	ret->body = json_pack("{s:o}", key, value);
	return ret->body ? 0 : -ENOMEM;
}

int store_protect(const struct ref *ref, char *value, struct action *ret, struct lab_err *err)
{
	if ((value[0] != '0' && value[0] != '1') || value[1])
		return lab_fail(err, -EINVAL, "protect is 0 or 1, not '%s'", value);
	return attr_patch(ref, "protect", json_boolean(value[0] == '1'), ret);
}

static int no_such_verb(const struct verb *verbs, size_t n, const struct ref *ref,
			const char *value, struct lab_err *err)
{
	autofree char *all = NULL;
	size_t size;
	FILE *out = open_memstream(&all, &size);

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s%s%s", i ? ", " : "", verbs[i].word, verbs[i].arg ? " NAME" : "");
	fclose(out);
	return lab_fail(err, -EINVAL, "%s takes %s, not '%.100s'", ref->entry->name, all, value);
}

int attr_verb(const struct verb *verbs, size_t n, const struct ref *ref, char *value,
	      struct action *ret, struct lab_err *err)
{
	size_t len = strcspn(value, " \t");
	const char *arg = value + len + strspn(value + len, " \t");

	for (size_t i = 0; i < n; i++) {
		if (strlen(verbs[i].word) != len || strncmp(verbs[i].word, value, len))
			continue;
		if (verbs[i].arg != !!*arg)
			break;
		if (*arg && !name_valid(arg))
			return lab_fail(err, -EINVAL, "'%.100s' is no name (%s)", arg, NAME_RULE);
		return verbs[i].act(ref, verbs[i].word, arg, ret, err);
	}
	return no_such_verb(verbs, n, ref, value, err);
}

/*
 * /proc shows the links of a process's own network namespace to whoever may see
 * the process: no namespace need be entered.
 */
static const char *const counters[] = { "rx_bytes", "rx_packets", "rx_errors", "rx_dropped",
					"tx_bytes", "tx_packets", "tx_errors", "tx_dropped" };

int attr_net_stat(json_int_t pid, const char *ifname, bool guest, FILE *out)
{
	char path[64], line[512], name[64];
	uint64_t v[8];
	autofile FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%" JSON_INTEGER_FORMAT "/net/dev", pid);
	f = pid && *ifname ? fopen(path, "re") : NULL;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line,
			   " %63[^:]: %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
			   " %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
			   name, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) != 9 ||
		    strcmp(name, ifname))
			continue;
		/* What a guest receives, its tap has sent */
		for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
			fprintf(out, "%s %" PRIu64 "\n", counters[i], v[guest ? (i + 4) % 8 : i]);
		break;
	}
	return 0;
}

int attr_members(enum kind kind, uint32_t lab, enum class_id class, member_fn fn, void *arg)
{
	struct item *items;
	int n = model_list(kind, lab, &items);

	for (int i = 0; i < n; i++) {
		struct node node = { .class = class, .id = items[i].id };

		if (!fn(arg, items[i].name, &node))
			break;
	}
	if (n >= 0)
		model_list_free(items, n);
	return MIN(n, 0);
}

int attr_member(enum kind kind, uint32_t lab, enum class_id class, const char *name,
		struct node *ret)
{
	autoitem struct item item = { 0 };

	if (!model_find(kind, lab, name, &item))
		return -ENOENT;
	*ret = (struct node){ .class = class, .id = item.id };
	return 0;
}
