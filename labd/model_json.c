// SPDX-License-Identifier: GPL-2.0-or-later
/* model_json.c - the model as objects of the API (docs/api.md) */
#define _GNU_SOURCE
#include "labd/model.h"
#include "labd/service.h"
#include "labd/servicejob.h"
#include "labd/spare.h"
#include "lib/io.h"
#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>

/* Names "lab/instance" of those whose disks stand on an image */
static json_t *image_users(struct labd *d, const struct image *im)
{
	json_t *users = json_array();
	struct instance *in;
	struct lab *lab;

	TAILQ_FOREACH(lab, &d->labs, link)
		TAILQ_FOREACH(in, &lab->instances, link)
			if (in->image == im->id)
				json_array_append_new(users,
						      json_sprintf("%s/%s", lab->name, in->name));
	return users;
}

json_t *image_json(struct labd *d, const struct image *im)
{
	char dir[IO_PATH];

	return json_pack("{s:I s:s s:s s:s s:I s:I s:s s:s s:s s:s s:f s:o s:b s:s s:I s:s}", "id",
			 (json_int_t)im->id, "name", im->name, "state", im->state, "format",
			 "qcow2", "size", (json_int_t)im->size, "used", (json_int_t)im->used,
			 "sha256", im->sha256, "boot", im->boot, "recipe", im->recipe, "base",
			 im->base, "created", im->created, "users", image_users(d, im), "protect",
			 (int)im->protect, "error", im->error, "job", (json_int_t)im->job, "path",
			 image_dir(d, im, dir));
}

/* The networks an instance is on, in the order of its nics */
static json_t *nics_json(const struct instance *in, const json_t *spec)
{
	const json_t *nets = json_object_get(spec, "networks"), *nic;
	json_t *list = json_array();
	char ifname[IFNAMSIZ], name[16], mac[NAME_MAC_TEXT];
	const char *net;
	size_t n = 0;

	json_object_foreach((json_t *)nets, net, nic) {
		const char *given = json_string_value(json_object_get(nic, "mac"));
		const char *addr = json_string_value(json_object_get(nic, "addr"));

		snprintf(name, sizeof(name), "eth%zu", n);
		json_array_append_new(
			list,
			json_pack("{s:s s:s s:s s:s s:s s:s}", "name", name, "network", net, "mac",
				  given && *given
					  ? given
					  : name_mac(mac, lab_identity(in->lab), in->name, name),
				  "addr", addr ? addr : "", "ifname",
				  instance_nic_ifname(in, n, ifname), "state",
				  instance_running(in) ? "up" : "down"));
		n++;
	}
	return list;
}

/* What a disk's file stands on, in words: an image, "snapshot NAME", or nothing */
static json_t *base_json(struct labd *d, const struct instance *in, const char *path)
{
	long long id;

	if (strstr(path, "/snapshots/") &&
	    sscanf(strstr(path, "/snapshots/"), "/snapshots/%lld", &id) == 1) {
		struct snapshot *sn;

		TAILQ_FOREACH(sn, &in->lab->snapshots, link)
			if (sn->id == id)
				return json_sprintf("snapshot %s", sn->name);
		return json_string("a removed snapshot");
	}
	if (sscanf(path + MIN(strlen(path), strlen(d->paths.state)), "/images/%lld", &id) == 1) {
		struct image *im = model_image_id(d, id);

		return json_string(im && im->name[0] ? im->name : "an older image");
	}
	return json_string("");
}

static json_t *disks_json(struct labd *d, const struct instance *in)
{
	json_t *list = json_array();
	const json_t *disk;
	size_t i;

	json_array_foreach(in->disks, i, disk) {
		json_t *copy = json_copy((json_t *)disk);

		json_object_set_new(copy, "format", json_string("qcow2"));
		json_object_set_new(copy, "base",
				    base_json(d, in,
					      json_string_value(json_object_get(disk, "base"))));
		json_array_append_new(list, copy);
	}
	return list;
}

static json_t *snapshots_of(const struct instance *in)
{
	json_t *list = json_array();
	struct snapshot *sn;
	const json_t *m;
	size_t i;

	TAILQ_FOREACH(sn, &in->lab->snapshots, link)
		json_array_foreach(sn->members, i, m)
			if (!strcmp(json_string_value(m), in->name))
				json_array_append_new(list, json_string(sn->name));
	return list;
}

static json_t *forwards_json(const struct instance *in, const json_t *spec)
{
	json_t *list = json_array();
	const json_t *fwd;
	size_t i;

	json_array_foreach(json_object_get(spec, "forward"), i, fwd) {
		json_t *copy = json_copy((json_t *)fwd);

		json_object_set_new(copy, "proto", json_string("tcp"));
		json_object_set_new(copy, "state",
				    json_string(instance_running(in) ? "up" : "down"));
		json_array_append_new(list, copy);
	}
	return list;
}

static const char *spec_text(const json_t *spec, const char *key)
{
	const char *s = json_string_value(json_object_get(spec, key));

	return s ? s : "";
}

static json_t *spec_list(const json_t *spec, const char *key)
{
	json_t *v = json_object_get(spec, key);

	return v ? json_incref(v) : json_array();
}

static const char *first_addr(const json_t *spec)
{
	const json_t *nets = json_object_get(spec, "networks");
	void *it = json_object_iter((json_t *)nets);

	return it ? spec_text(json_object_iter_value(it), "addr") : "";
}

/* What is only there while it runs, and where its files are */
static void add_places(struct labd *d, const struct instance *in, json_t *obj)
{
	char dir[IO_PATH];

	instance_dir(d, in, dir);
	json_object_set_new(obj, "console_log", json_sprintf("%s/console.log", dir));
	json_object_set_new(obj, "log", json_sprintf("%s/qemu.log", dir));
	instance_run_dir(d, in, dir);
	json_object_set_new(obj, "qmp", json_sprintf("%s/qmp", dir));
	json_object_set_new(obj, "vnc", json_sprintf("%s/vnc", dir));
	json_object_set_new(obj, "console", json_sprintf("%s/console", dir));
}

/* How far each of its services is, those too that nothing was done to */
static json_t *states_json(const struct instance *in)
{
	json_t *list = json_array();
	const json_t *name;
	size_t i;

	json_array_foreach(json_object_get(instance_spec(in), "services"), i, name)
		json_array_append_new(list, service_shown(in, json_string_value(name)));
	return list;
}

static int spare_pid(const struct instance *in)
{
	return in->spare && !in->spare->taken ? in->spare->machine.proc.pid : 0;
}

json_t *instance_json(struct labd *d, const struct instance *in)
{
	json_t *spec = (json_t *)instance_spec(in), *obj;

	obj = json_pack("{s:I s:s s:s s:s s:s s:I s:s s:o s:I s:I s:o s:b s:i s:f s:s s:s s:s s:s "
			"s:o s:o s:o s:O? s:f s:f s:o s:s s:o s:I s:i}",
			"id", (json_int_t)in->id, "lab", in->lab->name, "name", in->name, "state",
			in->state, "error", in->error, "job", (json_int_t)in->job, "image",
			spec_text(spec, "image"), "services", spec_list(spec, "services"), "vcpus",
			json_integer_value(json_object_get(spec, "vcpus")), "memory",
			json_integer_value(json_object_get(spec, "memory")), "needs",
			spec_list(spec, "needs"), "protect",
			(int)json_is_true(json_object_get(spec, "protect")), "pid", (int)in->pid,
			"started", in->started, "accel", in->pid ? d->accel.name : "", "ready",
			in->ready, "ready_text", in->ready_text, "addr", first_addr(spec), "nics",
			nics_json(in, spec), "disks", disks_json(d, in), "forwards",
			forwards_json(in, spec), "spec", spec, "created", in->created, "changed",
			in->changed, "snapshots", snapshots_of(in), "want", in->want,
			"service_states", states_json(in), "image_id", (json_int_t)in->image,
			"spare", spare_pid(in));
	if (obj)
		add_places(d, in, obj);
	return obj;
}

/* "instance/nic" of all nics on a network */
static json_t *ports_json(const struct lab *lab, const char *network)
{
	json_t *ports = json_array();
	struct instance *in;

	TAILQ_FOREACH(in, &lab->instances, link) {
		json_t *nets = json_object_get(instance_spec(in), "networks"), *nic;
		const char *name;
		size_t n = 0;

		json_object_foreach(nets, name, nic) {
			if (!strcmp(name, network))
				json_array_append_new(ports,
						      json_sprintf("%s/eth%zu", in->name, n));
			n++;
		}
	}
	return ports;
}

json_t *network_json(struct labd *d, const struct lab *lab, const struct network *net)
{
	const json_t *spec = json_object_get(json_object_get(lab->spec, "networks"), net->name);
	bool up = json_object_get(lab->applied, net->name);
	char bridge[IFNAMSIZ];

	(void)d;
	return json_pack("{s:I s:s s:s s:s s:s s:I s:s s:b s:s s:s s:o}", "id", (json_int_t)net->id,
			 "lab", lab->name, "name", net->name, "cidr", spec_text(spec, "cidr"),
			 "gateway", spec_text(spec, "gateway"), "mtu",
			 json_integer_value(json_object_get(spec, "mtu")), "uplink",
			 spec_text(spec, "uplink"), "dhcp",
			 (int)json_is_true(json_object_get(spec, "dhcp")), "bridge",
			 name_ifname(bridge, net->name), "state", up ? "up" : "down", "ports",
			 ports_json(lab, net->name));
}

json_t *snapshot_json(const struct lab *lab, const struct snapshot *sn)
{
	const struct snapshot *parent = model_snapshot_id((struct lab *)lab, sn->parent);

	return json_pack("{s:I s:s s:s s:s s:f s:I s:s s:b s:b s:O}", "id", (json_int_t)sn->id,
			 "lab", lab->name, "name", sn->name, "kind", sn->kind, "created",
			 sn->created, "size", (json_int_t)sn->size, "parent",
			 parent ? parent->name : "", "memory", (int)sn->memory, "current",
			 (int)(sn->id == lab->at), "members", sn->members);
}

static void add_children(struct labd *d, struct lab *lab, json_t *obj)
{
	json_t *instances = json_array(), *networks = json_array(), *snapshots = json_array();
	struct instance *in;
	struct network *net;
	struct snapshot *sn;

	TAILQ_FOREACH(in, &lab->instances, link)
		json_array_append_new(instances, instance_json(d, in));
	TAILQ_FOREACH(net, &lab->networks, link)
		json_array_append_new(networks, network_json(d, lab, net));
	TAILQ_FOREACH(sn, &lab->snapshots, link)
		json_array_append_new(snapshots, snapshot_json(lab, sn));
	json_object_set_new(obj, "instances", instances);
	json_object_set_new(obj, "networks", networks);
	json_object_set_new(obj, "snapshots", snapshots);
	json_object_set_new(obj, "services", servicejob_list(lab));
}

json_t *lab_json(struct labd *d, struct lab *lab, bool deep)
{
	int keeper = lab->keeper ? (int)lab->keeper->pid : 0;
	json_t *obj = json_pack("{s:I s:s s:s s:s s:I s:f s:f s:s s:i s:b}", "id",
				(json_int_t)lab->id, "name", lab->name, "state", lab->state,
				"error", lab->error, "job", (json_int_t)lab->job, "created",
				lab->created, "changed", lab->changed, "file", lab->file, "keeper",
				keeper, "protect", (int)lab->protect);

	json_object_set_new(obj, "netns",
			    keeper ? json_sprintf("/proc/%d/ns/net", keeper) : json_string(""));
	if (deep)
		add_children(d, lab, obj);
	return obj;
}

/* What the files of its disks take; read without the lock */
static void add_disk_usage(json_t *obj)
{
	json_t *disk;
	size_t i;

	json_array_foreach(json_object_get(obj, "disks"), i, disk) {
		const char *path = json_string_value(json_object_get(disk, "path"));
		struct stat st;

		if (path && !stat(path, &st))
			json_object_set_new(disk, "used",
					    json_integer((json_int_t)st.st_blocks * 512));
	}
}

void model_add_usage(json_t *obj)
{
	json_t *list = json_is_array(obj) ? obj : json_object_get(obj, "instances"), *each;
	pid_t pid = (pid_t)json_integer_value(json_object_get(obj, "pid"));
	pid_t spare = (pid_t)json_integer_value(json_object_get(obj, "spare"));
	double cpu, spare_cpu;
	uint64_t rss;
	size_t i;

	json_array_foreach(list, i, each) {
		model_add_usage(each);
	}
	add_disk_usage(obj);
	if (!json_object_get(obj, "ready_text") || !pid || qemu_usage(pid, &rss, &cpu) < 0)
		return;
	json_object_set_new(obj, "rss", json_integer((json_int_t)rss));
	json_object_set_new(obj, "cpu", json_real(cpu));
	if (spare && !qemu_usage(spare, &rss, &spare_cpu))
		json_object_set_new(obj, "spare_rss", json_integer((json_int_t)rss));
}
