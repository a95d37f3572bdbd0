// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * boot.c - one instance from its disks to ready, and back
 *
 * DOC: Theory of Operation
 *
 * starting:	written to the store before QEMU is started. If labd dies now,
 *		the next one asks the keeper for children that the store does
 *		not know, and ends them.
 * running:	pid, start time and digest of the command line are in the store;
 *		QEMU was started stopped (-S) and goes on only after that and
 *		after the console is recorded, so nothing of the boot is lost.
 * stopping:	QEMU is asked or killed; what the keeper holds for it is given
 *		up when it is gone.
 */
#define _GNU_SOURCE
#include "labd/boot.h"

#include "labd/disk.h"
#include "labd/network.h"
#include "labd/ready.h"
#include "labd/spare.h"
#include "labd/watch.h"
#include "lib/io.h"
#include "lib/num.h"
#include "lib/util.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#define CONSOLE_MAX (4 << 20) /* recorded, and as much again in console.log.1 */
#define START_US (30 * 1000000ULL)
#define CALL_US (5 * 1000000ULL)
#define AGENT_SECONDS 600 /* until the agent of an emulated guest answers */
#define HUNG_US (3000 * 1000ULL) /* a monitor that is silent for so long is hung */

const char *boot_key(struct labd *d, const struct instance *in, char *buf, size_t size)
{
	const char *image = json_string_value(json_object_get(instance_spec(in), "image"));

	snprintf(buf, size, "boot/%s/%s/%s/%s", in->lab->name, in->name, image ? image : "",
		 d->accel.name);
	return buf;
}

static bool ended(const struct guest *g)
{
	struct pollfd p = { .fd = g->proc.pidfd, .events = POLLIN };

	return g->proc.pidfd >= 0 && poll(&p, 1, 0) > 0;
}

static int make_run_dir(struct labd *d, const struct instance *in, const char *dir,
			struct lab_err *err)
{
	uid_t uid = keeper_uid(lab_host_id(d, in->lab));
	int r;

	(void)io_remove_tree(AT_FDCWD, dir);
	r = io_mkdirs(dir, 0700);
	if (!r && !geteuid() && chown(dir, uid, (gid_t)-1) < 0)
		r = -errno;
	return r < 0 ? lab_fail_errno(err, r, "%s", dir) : 0;
}

/* Everything the command line is made of, with room for its texts */
struct boot {
	struct qemu_config config;
	char name[2 * NAME_MAX_LEN + 2], machine_id[33];
	char dir[IO_PATH], log[IO_PATH], image[IO_PATH];
	char kernel[IO_PATH], initrd[IO_PATH], preload[IO_PATH];
	char nic_name[LAB_MAX_NICS][8], ifname[LAB_MAX_NICS][IFNAMSIZ];
	char mac[LAB_MAX_NICS][NAME_MAC_TEXT];
};

static void fill_nics(struct boot *b, const struct instance *in)
{
	json_t *nets = json_object_get(instance_spec(in), "networks"), *nic;
	const char *net;
	size_t n = 0;

	json_object_foreach(nets, net, nic) {
		const char *mac = json_string_value(json_object_get(nic, "mac"));
		json_t *spec = json_object_get(json_object_get(in->lab->spec, "networks"), net);

		if (n == LAB_MAX_NICS)
			break;
		snprintf(b->nic_name[n], sizeof(b->nic_name[n]), "eth%u", (unsigned int)n % 10);
		instance_nic_ifname(in, n, b->ifname[n]);
		if (mac && *mac)
			snprintf(b->mac[n], sizeof(b->mac[n]), "%s", mac);
		else
			name_mac(b->mac[n], lab_identity(in->lab), in->name, b->nic_name[n]);
		b->config.nics[n] = (struct qemu_nic){
			.name = b->nic_name[n],
			.ifname = b->ifname[n],
			.mac = b->mac[n],
			.mtu = (unsigned int)json_integer_value(json_object_get(spec, "mtu")),
		};
		n++;
	}
	b->config.nnics = n;
}

static void fill_disks(struct boot *b, const struct instance *in)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(in->disks, i, disk) {
		if (b->config.ndisks == ARRAY_SIZE(b->config.disks))
			break;
		b->config.disks[b->config.ndisks++] = (struct qemu_disk){
			.name = json_string_value(json_object_get(disk, "name")),
			.path = json_string_value(json_object_get(disk, "path")),
		};
	}
}

/* Those that it will have, of an instance that was never started */
static void fill_disks_to_be(struct boot *b, const struct instance *in)
{
	json_t *disks = json_object_get(instance_spec(in), "disks"), *disk;
	const char *name;

	b->config.disks[b->config.ndisks++] = (struct qemu_disk){ "root", "" };
	json_object_foreach(disks, name, disk)
		if (b->config.ndisks < ARRAY_SIZE(b->config.disks))
			b->config.disks[b->config.ndisks++] = (struct qemu_disk){ name, "" };
}

/* Of one that waits: what the instance is to have when it is its turn */
static void fill_spare(struct boot *b, const struct instance *in, const struct layers *heads)
{
	b->config.ndisks = 0;
	for (size_t i = 0; i < heads->n && i < ARRAY_SIZE(b->config.disks); i++)
		b->config.disks[b->config.ndisks++] = (struct qemu_disk){ heads->v[i].disk,
									  heads->v[i].path };
	for (size_t i = 0; i < b->config.nnics; i++)
		instance_spare_ifname(in, i, b->ifname[i]);
}

static void fill(struct labd *d, const struct instance *in, const struct image *image,
		 const struct launch *how, struct boot *b)
{
	const json_t *spec = instance_spec(in);

	snprintf(b->name, sizeof(b->name), "%s/%s", in->lab->name, in->name);
	snprintf(b->machine_id, sizeof(b->machine_id), "%016llx%016llx",
		 (unsigned long long)name_hash("machine-id", lab_identity(in->lab), in->name, NULL),
		 (unsigned long long)name_hash("machine-id-2", lab_identity(in->lab), in->name,
					       NULL));
	instance_dir(d, in, b->dir);
	io_path(b->log, "%s/qemu.log", b->dir);
	image_dir(d, image, b->image);
	io_path(b->kernel, "%s/vmlinuz", b->image);
	io_path(b->initrd, "%s/initrd.img", b->image);
	io_path(b->preload, "%s/labram.so", d->paths.exec);
	b->config = (struct qemu_config){
		.name = b->name,
		.hostname = in->name,
		.machine_id = b->machine_id,
		.run_dir = how->run,
		.accel = &d->accel,
		.vcpus = (unsigned int)json_integer_value(json_object_get(spec, "vcpus")),
		.memory = (uint64_t)json_integer_value(json_object_get(spec, "memory")),
		.log = b->log,
		.ram = how->ram,
		.preload = b->preload,
	};
	if (!strcmp(image->boot, "direct")) {
		b->config.kernel = b->kernel;
		b->config.initrd = b->initrd;
		b->config.cmdline = image->cmdline;
	}
	fill_nics(b, in);
	if (json_array_size(in->disks))
		fill_disks(b, in);
	else
		fill_disks_to_be(b, in);
	if (how->spare)
		fill_spare(b, in, how->spare);
}

/* The specification it runs with, to compare with later ones */
static json_t *applied_spec(const struct instance *in)
{
	return json_pack("{s:s s:O s:{s:O}}", "lab", in->lab->name, "networks",
			 json_object_get(in->lab->spec, "networks"), "instances", in->name,
			 (json_t *)instance_spec(in));
}

/* What it would be started as now; "" if that cannot be said */
static const char *machine_now(struct labd *d, struct instance *in, char *buf, size_t size,
			       struct lab_err *err)
{
	char digest[DIGEST_HEX];

	*buf = '\0';
	if (!boot_machine(d, in, digest, err))
		snprintf(buf, size, "%s %s", digest, qemu_version());
	return buf;
}

int boot_same_machine(struct labd *d, struct instance *in, struct lab_err *err)
{
	char now[sizeof(in->machine)];

	if (!*machine_now(d, in, now, sizeof(now), err))
		return err->code;
	if (!strcmp(in->machine, now))
		return 0;
	return lab_fail(err, -EBUSY,
			"it was started by another labd or QEMU, as a machine that this one does "
			"not make: restart it");
}

static void record(struct labd *d, struct instance *in, const struct machine *m, const char *memory)
{
	struct lab_err err = LAB_ERR_INIT;
	char machine[sizeof(in->machine)];

	machine_now(d, in, machine, sizeof(machine), &err);
	pthread_mutex_lock(&d->lock);
	memcpy(in->machine, machine, sizeof(in->machine));
	in->pid = m->proc.pid;
	in->start_time = m->proc.start_time;
	snprintf(in->digest, sizeof(in->digest), "%s", m->proc.digest);
	in->started = num_wall();
	in->no_spare = 0;
	snprintf(in->memory, sizeof(in->memory), "%.511s", memory);
	in->guest = guest_new(&m->proc, m->qmp, m->agent);
	json_decref(in->applied);
	in->applied = applied_spec(in);
	pthread_mutex_unlock(&d->lock);
}

static int record_console(struct labd *d, struct instance *in, const char *run, struct lab_err *err)
{
	char id[24], dir[IO_PATH], serial[IO_PATH], listener[IO_PATH], log[IO_PATH];
	struct stat st;

	snprintf(id, sizeof(id), "%lld", (long long)in->id);
	io_path(serial, "%s/serial", run);
	io_path(listener, "%s/console", run);
	io_path(log, "%s/console.log", instance_dir(d, in, dir));
	in->console_from = stat(log, &st) < 0 ? 0 : st.st_size;
	return lab_wrap(err,
			keeper_console_add(in->lab->keeper, id, serial, listener, log, CONSOLE_MAX,
					   err),
			"console");
}

int boot_take(struct labd *d, struct instance *in, const struct machine *m, const char *memory,
	      struct lab_err *err)
{
	int r;

	record(d, in, m, memory);
	r = instance_save(d, in, err);
	if (!r)
		r = record_console(d, in, m->run, err);
	if (!r)
		r = network_add_forwards(d, in, err);
	return r;
}

static const struct image *ready_image(struct labd *d, const struct instance *in,
				       struct lab_err *err)
{
	const char *name = json_string_value(json_object_get(instance_spec(in), "image"));
	const struct image *im;

	SCOPED_LOCK(&d->lock);
	/* disks stand on the image they were made from, whatever its name means now */
	im = in->image ? model_image_id(d, in->image) : model_image(d, name ? name : "");
	if (!name || !*name)
		lab_fail(err, -ENODATA, "it has no image: set one first (image: NAME)");
	else if (!im || strcmp(im->state, "ready"))
		lab_fail(err, -ENOENT, "image %s is not there: labctl image ls, labctl image build",
			 name);
	else
		return im;
	return NULL;
}

int boot_machine(struct labd *d, struct instance *in, char digest[DIGEST_HEX], struct lab_err *err)
{
	const struct image *image = ready_image(d, in, err);
	autofree struct boot *b = image ? calloc(1, sizeof(*b)) : NULL;
	const struct launch how = { .run = "/" };

	if (!b)
		return image ? lab_fail(err, -ENOMEM, "out of memory") : err->code;
	fill(d, in, image, &how, b);
	return qemu_machine_digest(&b->config, digest, err);
}

/* It is where @run is now, and the instance's when it is its turn */
static struct agent *open_agent(struct labd *d, const struct instance *in, const char *run)
{
	char dir[IO_PATH], path[IO_PATH];
	struct agent *a;

	io_path(path, "%s/agent", instance_run_dir(d, in, dir));
	a = agent_new(path);
	if (!a)
		abort();
	agent_open(a, io_path(path, "%s/agent", run));
	return a;
}

int boot_qemu(struct labd *d, struct instance *in, const struct launch *how, struct machine *ret,
	      struct lab_err *err)
{
	const struct image *image = ready_image(d, in, err);
	autofree struct boot *b = image ? calloc(1, sizeof(*b)) : NULL;
	int r;

	if (!b)
		return image ? lab_fail(err, -ENOMEM, "out of memory") : err->code;
	io_path(ret->run, "%s", how->run);
	r = make_run_dir(d, in, how->run, err);
	if (r < 0)
		return r;
	fill(d, in, image, how, b);
	r = qemu_start(in->lab->keeper, &b->config, num_now_us() + START_US, &ret->proc, &ret->qmp,
		       err);
	if (!r)
		ret->agent = open_agent(d, in, how->run);
	return r;
}

static int launch(struct labd *d, struct instance *in, struct lab_err *err)
{
	char run[IO_PATH];
	const struct launch how = { .run = instance_run_dir(d, in, run) };
	struct machine m;
	int r = boot_qemu(d, in, &how, &m, err);

	return r < 0 ? r : boot_take(d, in, &m, "", err);
}

const char *boot_ram_socket(struct labd *d, const struct instance *in, char *buf)
{
	char run[IO_PATH];

	return io_path(buf, "%s/ram", instance_run_dir(d, in, run));
}

void boot_failed(struct labd *d, struct instance *in, const struct lab_err *why)
{
	char text[LAB_ERR_TEXT];

	snprintf(text, sizeof(text), "%s", why ? why->text : "it could not be started");
	if (in->guest)
		(void)qemu_kill(&in->guest->proc, num_now_us() + CALL_US, NULL);
	boot_clean(d, in, "failed", text);
}

void boot_begin(struct labd *d, struct instance *in)
{
	pthread_mutex_lock(&d->lock);
	snprintf(in->want, sizeof(in->want), "running");
	in->ready[0] = in->ready_text[0] = '\0';
	pthread_mutex_unlock(&d->lock);
	instance_set_state(d, in, "starting", "");
}

int boot_start(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
	       struct lab_err *err)
{
	const struct image *image = ready_image(d, in, err);
	char key[256];
	int r;

	if (!image)
		return err->code;
	boot_begin(d, in);
	job_item_step(job, item, "disks", duration_get(d, boot_key(d, in, key, sizeof(key))));
	r = disks_make(d, in, image, err);
	if (!r) {
		job_item_step(job, item, "start", 0);
		r = launch(d, in, err);
	}
	if (!r)
		r = qemu_cont(in->guest->qmp, num_now_us() + CALL_US, err);
	if (r < 0) {
		boot_failed(d, in, err);
		return r;
	}
	watch_guest(d, in);
	instance_set_state(d, in, "running", NULL);
	return 0;
}

struct waiting {
	struct labd *d;
	struct job *job;
	struct instance *in;
	struct job_item *item;
};

static bool is_alive(void *arg)
{
	const struct waiting *w = arg;

	return !ended(w->in->guest);
}

static bool is_cancelled(void *arg)
{
	const struct waiting *w = arg;

	return job_cancelled(w->job);
}

static void tell_step(void *arg, const char *words)
{
	struct waiting *w = arg;
	char step[96];

	snprintf(step, sizeof(step), "wait for %s", words);
	job_item_step(w->job, w->item, step, 0);
	instance_set_ready(w->d, w->in, "no", words);
}

int boot_alive(const struct instance *in, struct lab_err *err)
{
	return in->guest && !ended(in->guest) ? 0 : lab_fail(err, -ECHILD, "QEMU has ended");
}

int boot_ended(struct labd *d, struct instance *in, struct lab_err *err)
{
	int status = 0;

	if (keeper_exit_status(in->lab->keeper, in->pid, &status, NULL) > 0 && status)
		lab_fail(err, -ECHILD, "QEMU ended while booting (%s %d); see labctl logs %s/%s",
			 WIFSIGNALED(status) ? "signal" : "status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
			 in->lab->name, in->name);
	else
		lab_fail(err, -ECHILD, "the guest shut down while booting; see labctl logs %s/%s",
			 in->lab->name, in->name);
	boot_clean(d, in, "failed", err->text);
	return -ECHILD;
}

int boot_probe(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
	       const json_t *probes, struct lab_err *err)
{
	json_t *nets = json_object_get(instance_spec(in), "networks");
	void *it = json_object_iter(nets);
	const char *addr =
		it ? json_string_value(json_object_get(json_object_iter_value(it), "addr")) : "";
	struct waiting w = { d, job, in, item };
	char dir[IO_PATH], log[IO_PATH];
	struct ready ready = {
		.keeper = in->lab->keeper,
		.agent = in->guest->agent,
		.addr = addr ? addr : "",
		.console_log = io_path(log, "%s/console.log", instance_dir(d, in, dir)),
		.console_from = in->console_from,
		.alive = is_alive,
		.cancelled = is_cancelled,
		.step = tell_step,
		.arg = &w,
	};
	int r = ready_wait(&ready, probes, err);

	return r == -ECHILD ? lab_fail(err, r, "QEMU has ended") : r;
}

int boot_wait_ready(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		    struct lab_err *err)
{
	const json_t *probes = json_object_get(instance_spec(in), "ready");
	double began = num_wall();
	char key[256];
	int r = json_array_size(probes) ? boot_probe(d, job, in, item, probes, err) : 0;

	if (r == -ECHILD)
		return boot_ended(d, in, err);
	if (r < 0) {
		instance_set_ready(d, in, "no", in->ready_text);
		instance_set_state(d, in, "running", r == -ECANCELED ? NULL : err->text);
		return r;
	}
	instance_set_ready(d, in, json_array_size(probes) ? "yes" : "", "");
	/* a probe long after the start says nothing about it, nor does that of a restored guest */
	if (began - in->started < 60 && !*in->memory)
		duration_put(d, boot_key(d, in, key, sizeof(key)), num_wall() - in->started);
	return 0;
}

int boot_wait_agent(struct labd *d, struct job *job, struct instance *in, struct job_item *item,
		    struct lab_err *err)
{
	autojson json_t *agent = json_pack("[{s:b s:i}]", "agent", 1, "timeout", AGENT_SECONDS);
	int r = boot_probe(d, job, in, item, agent, err);

	return r == -ECHILD ? boot_ended(d, in, err) : r;
}

/* All but its nics */
static void clean(struct labd *d, struct instance *in, const char *state, const char *error)
{
	const json_t *was = instance_applied(in);
	struct guest *g;
	char id[24], dir[IO_PATH];

	snprintf(id, sizeof(id), "%lld", (long long)in->id);
	spare_drop(d, in);
	network_del_forwards(d, in, was);
	if (in->lab->keeper)
		(void)keeper_console_del(in->lab->keeper, id, NULL);
	(void)io_remove_tree(AT_FDCWD, instance_run_dir(d, in, dir));
	disks_sweep(d, in);
	pthread_mutex_lock(&d->lock);
	in->pid = 0;
	in->start_time = 0;
	in->ready[0] = in->ready_text[0] = '\0';
	in->memory[0] = '\0';
	json_object_clear(in->services);
	g = steal_ptr(in->guest);
	pthread_mutex_unlock(&d->lock);
	guest_unref(d, g);
	instance_set_state(d, in, state, error);
}

void boot_clean(struct labd *d, struct instance *in, const char *state, const char *error)
{
	(void)network_del_nics(in->lab, &in, 1, NULL);
	clean(d, in, state, error);
}

#define BUTTON_US (3 * 1000000ULL) /* between two presses of the power button */

/* Wait until it is gone: 0, or -ETIMEDOUT; -ECANCELED */
static int wait_end(struct job *job, const struct instance *in, uint64_t deadline)
{
	struct pollfd p = { .fd = in->guest->proc.pidfd, .events = POLLIN };

	while (num_now_us() < deadline) {
		if (poll(&p, 1, 200) > 0)
			return 0;
		if (job_cancelled(job))
			return -ECANCELED;
	}
	return -ETIMEDOUT;
}

struct qmp *boot_monitor(struct labd *d, struct instance *in, struct lab_err *err)
{
	char dir[IO_PATH], path[IO_PATH];
	struct guest *g = in->guest;

	if (g->qmp && !qmp_call(g->qmp, "query-status", NULL, num_now_us() + HUNG_US, NULL, NULL))
		return g->qmp;
	/* broken by a time-out: QEMU may have come back since; it serves one at a time */
	g->qmp = qmp_close(g->qmp);
	io_path(path, "%s/qmp", instance_run_dir(d, in, dir));
	if (qmp_open(path, num_now_us() + HUNG_US, &g->qmp, NULL) < 0) {
		lab_fail(err, -ETIMEDOUT,
			 "its QEMU (pid %d) does not answer its monitor: labctl kill %s/%s ends it",
			 in->pid, in->lab->name, in->name);
		return NULL;
	}
	return g->qmp;
}

/* Ask the guest to shut down and wait; 0 when it is gone */
static int ask(struct labd *d, struct job *job, struct instance *in)
{
	struct qmp *q = boot_monitor(d, in, NULL);
	uint64_t now = num_now_us();
	int r;

	if (!q)
		return -ETIMEDOUT;
	/* a paused guest cannot act on its power button */
	(void)qemu_cont(q, now + CALL_US, NULL);
	/* a guest that is still booting misses the first ones */
	r = -ETIMEDOUT;
	for (uint64_t at = now + BUTTON_US; r == -ETIMEDOUT && at <= now + 3 * BUTTON_US;
	     at += BUTTON_US) {
		if (qemu_powerdown(q, num_now_us() + CALL_US, NULL) < 0)
			break;
		r = wait_end(job, in, at);
	}
	if (r != -ETIMEDOUT)
		return r;
	(void)agent_call(in->guest->agent, "guest-shutdown", NULL, num_now_us() + CALL_US, NULL,
			 NULL);
	return wait_end(job, in, now + BOOT_STOP_SECONDS * 1000000ULL);
}

static int kill_it(struct labd *d, struct instance *in, struct lab_err *err)
{
	int r = qemu_kill(&in->guest->proc, num_now_us() + CALL_US, err);

	if (r < 0)
		instance_set_state(d, in, "failed", err ? err->text : "");
	return r;
}

int boot_switch_off(struct labd *d, struct instance *in, struct lab_err *err)
{
	int r;

	if (!instance_running(in))
		return 0;
	instance_set_state(d, in, "stopping", NULL);
	r = kill_it(d, in, err);
	if (!r)
		clean(d, in, "stopped", "");
	return r;
}

int boot_stop(struct labd *d, struct job *job, struct instance *in, bool graceful,
	      struct lab_err *err)
{
	int r = -ETIMEDOUT;

	if (!instance_running(in)) {
		/* a start that was taken back before it began */
		if (!strcmp(in->state, "starting"))
			instance_set_state(d, in, "stopped", NULL);
		return 0;
	}
	instance_set_state(d, in, "stopping", NULL);
	if (graceful)
		r = ask(d, job, in);
	if (r == -ETIMEDOUT && graceful && job_cancelled(job))
		r = -ECANCELED;
	if (r == -ECANCELED) {
		/* it may shut down all the same; nobody pulls its plug */
		pthread_mutex_lock(&d->lock);
		snprintf(in->want, sizeof(in->want), "running");
		pthread_mutex_unlock(&d->lock);
		instance_set_state(d, in, "running", NULL);
		return lab_fail(err, r, "stopped on request");
	}
	if (r < 0)
		r = kill_it(d, in, err);
	if (!r)
		boot_clean(d, in, "stopped", "");
	return r;
}
