// SPDX-License-Identifier: GPL-2.0-or-later
/* api_guest.c - calls about what is in a running guest: programs, files, packets, screen */
#define _GNU_SOURCE
#include "labd/agent_file.h"
#include "labd/capture.h"
#include "labd/labfile.h"
#include "labd/labjob.h"
#include "labd/request.h"
#include "labd/screen.h"
#include "labd/service.h"
#include "labd/servicelog.h"
#include "labd/stream.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <net/if.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE_TIME 60000000 /* us; where guests are emulated a piece takes 0.3 s */

/*
 * Find an instance and take a reference to its guest, for a call that speaks to
 * it; the lock is held
 */
static int find_guest(struct request *q, struct instance **ret, struct guest **ret_guest)
{
	struct instance *in;
	struct lab *lab;
	int r = labjob_find(q->d, q->params[0], q->params[1], &lab, &in, &q->err);

	if (r < 0)
		return r;
	*ret = in;
	if (!in->guest || !instance_running(in))
		return lab_fail(&q->err, -EBUSY, "instance %s does not run: labctl start %s/%s",
				in->name, lab->name, in->name);
	if (!strcmp(in->state, "paused"))
		return lab_fail(&q->err, -EBUSY, "instance %s is paused: labctl resume %s/%s",
				in->name, lab->name, in->name);
	*ret_guest = guest_ref(in->guest);
	return 0;
}

/* The same, for a call that needs no more than the guest */
static int take_guest(struct request *q, struct guest **ret)
{
	SCOPED_LOCK(&q->d->lock);
	struct instance *in;

	return find_guest(q, &in, ret);
}

static int exec(struct request *q)
{
	struct guest *guest = NULL;
	int r = take_guest(q, &guest);

	return r ? r : stream_exec(q->d, guest, q->json, &q->stream, &q->err);
}

/* The same for the log of a service that the instance carries */
static int service_log(struct request *q)
{
	const char *name = q->params[2], *follow = request_arg(q, "follow");
	struct servicelog how = { .lines = request_arg(q, "lines"),
				  .mark = request_arg(q, "mark"),
				  .follow = follow && !strcmp(follow, "1") };
	autojson json_t *service = NULL, *body = NULL;
	struct guest *guest = NULL;
	struct instance *in;
	int r;

	pthread_mutex_lock(&q->d->lock);
	r = find_guest(q, &in, &guest);
	if (!r && !service_carried(in, name))
		r = lab_fail(&q->err, -ENOENT, "instance %s has no service %s", in->name, name);
	pthread_mutex_unlock(&q->d->lock);
	if (!r)
		r = service_load(&q->d->paths, name, &service, &q->err);
	if (!r)
		r = servicelog_body(service, &how, &body, &q->err);
	if (!r)
		return stream_exec(q->d, guest, body, &q->stream, &q->err);
	guest_unref(q->d, guest);
	return r;
}

/* The probes of a body: JSON is YAML, so they are read as those of a lab file are */
static int read_probes(struct request *q, json_t **ret)
{
	json_t *ready = json_object_get(q->json, "ready");
	autofree char *text = ready ? json_dumps(ready, JSON_ENCODE_ANY) : NULL;
	autojson json_t *list = NULL;
	struct ydoc *doc = NULL;
	int r;

	if (!text)
		return lab_fail(&q->err, -EINVAL, "the body needs \"ready\": a list of probes");
	r = ydoc_load(text, strlen(text), LAB_MAX_FILE, &doc);
	if (!r && ydoc_root(doc) && !(list = probe_list(doc, ydoc_root(doc))))
		r = -ENOMEM;
	if (!r)
		r = ydoc_finish(doc, "ready", &q->problems, &q->err);
	ydoc_free(doc);
	if (!r)
		*ret = steal_ptr(list);
	return r;
}

/* Where the probes of a wait look; the lock is held */
static void aim(struct labd *d, const struct instance *in, bool now, struct wait_target *t)
{
	const json_t *nets = json_object_get(instance_spec(in), "networks");
	void *first = json_object_iter((json_t *)nets);
	const char *addr = json_string_value(
		first ? json_object_get(json_object_iter_value(first), "addr") : NULL);
	char dir[IO_PATH];
	struct stat st;

	*t = (struct wait_target){ .console_from = in->console_from };
	lab_run_dir(d, in->lab, t->run_dir);
	io_path(t->console_log, "%s/console.log", instance_dir(d, in, dir));
	text_copy(t->addr, sizeof(t->addr), addr ? addr : "");
	if (now)
		t->console_from = stat(t->console_log, &st) < 0 ? 0 : st.st_size;
}

static int wait_ready(struct request *q)
{
	const char *since = request_str(q, "since");
	bool now = since && !strcmp(since, "now");
	autojson json_t *probes = NULL;
	struct guest *guest = NULL;
	struct wait_target target;
	struct instance *in = NULL;
	int r;

	if (since && !now && strcmp(since, "boot") != 0)
		return lab_fail(&q->err, -EINVAL, "\"since\" can be \"boot\" or \"now\"");
	r = read_probes(q, &probes);
	if (r < 0)
		return r;
	pthread_mutex_lock(&q->d->lock);
	r = find_guest(q, &in, &guest);
	if (guest)
		aim(q->d, in, now, &target);
	pthread_mutex_unlock(&q->d->lock);
	return r ? r : stream_wait(q->d, guest, probes, &target, &q->stream, &q->err);
}

/* "path" and "offset" of a piece */
static int take_place(struct request *q, const char **ret_path, uint64_t *ret_offset)
{
	const json_t *offset = json_object_get(q->json, "offset");
	const char *path = request_str(q, "path");

	if (!path || *path != '/')
		return lab_fail(&q->err, -EINVAL, "\"path\" must be an absolute path in the guest");
	if (offset && (!json_is_integer(offset) || json_integer_value(offset) < 0))
		return lab_fail(&q->err, -EINVAL, "\"offset\" must be a number of bytes");
	*ret_path = path;
	*ret_offset = (uint64_t)json_integer_value(offset);
	return 0;
}

static int take_count(struct request *q, size_t *ret)
{
	const json_t *count = json_object_get(q->json, "count");
	json_int_t n = count ? json_integer_value(count) : AGENT_FILE_PIECE;

	if (n < 1 || n > AGENT_FILE_PIECE)
		return lab_fail(&q->err, -EINVAL, "\"count\" must be 1 to %d", AGENT_FILE_PIECE);
	*ret = (size_t)n;
	return 0;
}

static int read_file(struct request *q)
{
	struct guest *guest = NULL;
	json_t *data = NULL;
	const char *path = NULL;
	uint64_t offset = 0;
	size_t count = 0;
	bool end;
	int r = take_place(q, &path, &offset) ?: take_count(q, &count) ?: take_guest(q, &guest);

	if (!guest)
		return r;
	r = agent_file_read(guest->agent, path, offset, count, num_now_us() + PIECE_TIME, &data,
			    &end, &q->err);
	guest_unref(q->d, guest);
	if (!r)
		q->result = json_pack("{s:o, s:b}", "data", data, "end", end);
	return r;
}

static int write_file(struct request *q)
{
	json_t *data = json_object_get(q->json, "data");
	struct guest *guest = NULL;
	const char *path = NULL;
	uint64_t offset = 0;
	int r = take_place(q, &path, &offset);

	if (!r && (!json_is_string(data) || json_string_length(data) % 4))
		r = lab_fail(&q->err, -EINVAL, "\"data\" must be base64");
	if (!r && json_string_length(data) > (AGENT_FILE_PIECE + 2) / 3 * 4)
		r = lab_fail(&q->err, -E2BIG, "\"data\" is longer than %d bytes", AGENT_FILE_PIECE);
	if (!r)
		r = take_guest(q, &guest);
	if (!guest)
		return r;
	r = agent_file_write(guest->agent, path, offset, data, num_now_us() + PIECE_TIME, &q->err);
	guest_unref(q->d, guest);
	return r;
}

/* The tap of a nic of a running instance; the lock is held */
static int find_tap(struct request *q, char run[IO_PATH], char ifname[IFNAMSIZ])
{
	autojson json_t *obj = NULL;
	struct instance *in;
	const json_t *nic;
	struct lab *lab;
	size_t i;
	int r = labjob_find(q->d, q->params[0], q->params[1], &lab, &in, &q->err);

	if (r < 0)
		return r;
	obj = instance_json(q->d, in);
	json_array_foreach(json_object_get(obj, "nics"), i, nic)
		if (!strcmp(json_string_value(json_object_get(nic, "name")), q->params[2]))
			break;
	if (i == json_array_size(json_object_get(obj, "nics")))
		return lab_fail(&q->err, -ENOENT, "instance %s has no nic %s", in->name,
				q->params[2]);
	if (!instance_running(in) || !lab->keeper)
		return lab_fail(&q->err, -EBUSY, "instance %s does not run: labctl start %s/%s",
				in->name, lab->name, in->name);
	instance_nic_ifname(in, i, ifname);
	lab_run_dir(q->d, lab, run);
	return 0;
}

/* A connection to the keeper of its own: the lab's belongs to the job that claimed it */
static int open_tap(struct request *q, const char *run, const char *ifname)
{
	struct keeper *keeper = NULL;
	int fd = keeper_connect(run, &keeper, &q->err);

	if (!fd)
		fd = keeper_capture(keeper, ifname, &q->err);
	keeper_close(keeper);
	if (fd == -EINVAL) /* it knows no such request */
		return lab_fail(&q->err, -EOPNOTSUPP,
				"lab %s was started by an older labd: labctl down %s, labctl up %s",
				q->params[0], q->params[0], q->params[0]);
	return fd;
}

static int capture(struct request *q)
{
	struct capture_how how = { .lab = q->params[0],
				   .instance = q->params[1],
				   .nic = q->params[2],
				   .id = request_arg(q, "id"),
				   .filter = request_arg(q, "filter") };
	char ifname[IFNAMSIZ], run[IO_PATH];
	int r;

	pthread_mutex_lock(&q->d->lock);
	r = find_tap(q, run, ifname);
	pthread_mutex_unlock(&q->d->lock);
	if (!r)
		r = open_tap(q, run, ifname);
	return r < 0 ? r : capture_new(q->d, r, &how, &q->stream, &q->err);
}

static int screen(struct request *q)
{
	autofree unsigned char *text = NULL;
	autofree char *data = NULL;
	struct instance *in;
	struct guest *guest = NULL;
	struct lab *lab;
	char run[IO_PATH];
	size_t len = 0;
	int r;

	pthread_mutex_lock(&q->d->lock);
	r = labjob_find(q->d, q->params[0], q->params[1], &lab, &in, &q->err);
	if (!r && (!in->guest || !in->guest->qmp || !instance_running(in)))
		r = lab_fail(&q->err, -EBUSY, "instance %s does not run: labctl start %s/%s",
			     in->name, lab->name, in->name);
	if (!r) {
		guest = guest_ref(in->guest);
		instance_run_dir(q->d, in, run);
	}
	pthread_mutex_unlock(&q->d->lock);
	if (r < 0)
		return r;
	r = screen_shot(guest, run, &data, &len, &q->err);
	guest_unref(q->d, guest);
	text = r < 0 ? NULL : malloc(len / 3 * 4 + 5);
	if (!r && !text)
		return lab_fail(&q->err, -ENOMEM, "out of memory");
	if (!r)
		q->result = json_pack("{s:s#}", "png", text,
				      EVP_EncodeBlock(text, (unsigned char *)data, (int)len));
	return r;
}

static int list_captures(struct request *q)
{
	q->result = capture_json(q->d);
	return 0;
}

const struct route guest_routes[] = {
	{ "GET", "/v1/labs/:/instances/:/screen", screen, 0 },
	{ "GET", "/v1/captures", list_captures, ROUTE_QUICK },
	{ "GET", "/v1/labs/:/instances/:/nics/:/pcap", capture, 0 },
	{ "POST", "/v1/labs/:/instances/:/exec", exec, ROUTE_QUICK },
	{ "GET", "/v1/labs/:/instances/:/services/:/log", service_log, 0 },
	{ "POST", "/v1/labs/:/instances/:/wait", wait_ready, 0 },
	{ "POST", "/v1/labs/:/instances/:/read", read_file, 0 },
	{ "POST", "/v1/labs/:/instances/:/write", write_file, 0 },
	{ NULL, NULL, NULL, 0 },
};
