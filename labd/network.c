// SPDX-License-Identifier: GPL-2.0-or-later
/* network.c - a lab's keeper, its networks, nics and forwards */
#define _GNU_SOURCE
#include "labd/network.h"

#include "labd/events.h"
#include "labd/spare.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/util.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

static const char *text(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

static int start_keeper(struct labd *d, struct lab *lab, struct lab_err *err)
{
	char run[IO_PATH], dir[IO_PATH], log[IO_PATH];
	struct keeper_config config = {
		.lab_id = lab_host_id(d, lab),
		.lab = lab->name,
		.exec_dir = d->paths.exec,
		.run_dir = lab_run_dir(d, lab, run),
		.state_dir = d->paths.state,
		.log = log,
	};
	struct keeper *k;
	int r;

	lab_dir(d, lab, dir);
	io_path(log, "%s/keeper.log", dir);
	r = io_mkdirs(run, 0711);
	if (!r)
		r = io_mkdirs(dir, 0711);
	if (r < 0)
		return lab_fail_errno(err, r, "%s", run);
	r = keeper_start(&config, &k, err);
	if (r < 0)
		return lab_wrap(err, r, "keeper");
	pthread_mutex_lock(&d->lock);
	lab->keeper = k;
	events_emit(d, "lab", "change", lab->name, lab->name, NULL, lab_json(d, lab, false));
	pthread_mutex_unlock(&d->lock);
	return lab_save(d, lab, err);
}

static int add_network(struct lab *lab, const char *name, const json_t *spec, struct lab_err *err)
{
	struct keeper_network net = {
		.name = name,
		.cidr = text(spec, "cidr"),
		.gateway = text(spec, "gateway"),
		.domain = text(spec, "domain"),
		.mtu = (unsigned int)json_integer_value(json_object_get(spec, "mtu")),
		.nat = !strcmp(text(spec, "uplink"), "nat"),
		.dhcp = json_is_true(json_object_get(spec, "dhcp")),
	};

	return lab_wrap(err, keeper_network_add(lab->keeper, &net, err), "network %s", name);
}

/* Remove networks that the specification does not have, or has otherwise */
static int drop_stale(struct labd *d, struct lab *lab, const json_t *nets, struct lab_err *err)
{
	const char *name;
	json_t *have;
	void *tmp;

	json_object_foreach_safe(lab->applied, tmp, name, have) {
		int r;

		if (json_equal(have, json_object_get(nets, name)))
			continue;
		r = keeper_network_del(lab->keeper, name, err);
		if (r < 0)
			return lab_wrap(err, r, "network %s", name);
		pthread_mutex_lock(&d->lock);
		json_object_del(lab->applied, name);
		pthread_mutex_unlock(&d->lock);
	}
	return 0;
}

static void set_applied(struct labd *d, struct lab *lab, const char *name, json_t *spec)
{
	struct network *net;

	SCOPED_LOCK(&d->lock);
	json_object_set(lab->applied, name, spec);
	TAILQ_FOREACH(net, &lab->networks, link)
		if (!strcmp(net->name, name))
			events_emit(d, "network", "change", lab->name, name, NULL,
				    network_json(d, lab, net));
}

int network_up(struct labd *d, struct lab *lab, struct lab_err *err)
{
	SCOPED_LOCK(&lab->keeper_lock);
	json_t *nets = json_object_get(lab->spec, "networks"), *spec;
	const char *name;
	int r = 0;

	if (!lab->keeper)
		r = start_keeper(d, lab, err);
	if (!r)
		r = drop_stale(d, lab, nets, err);
	if (r < 0)
		return r;
	json_object_foreach(nets, name, spec) {
		if (json_equal(spec, json_object_get(lab->applied, name)))
			continue;
		r = add_network(lab, name, spec, err);
		if (r < 0)
			return r;
		set_applied(d, lab, name, spec);
	}
	return lab_save(d, lab, err);
}

int network_down(struct labd *d, struct lab *lab, struct lab_err *err)
{
	SCOPED_LOCK(&lab->keeper_lock);
	struct keeper *k = lab->keeper;
	struct network *net;
	char run[IO_PATH];
	int r = 0;

	pthread_mutex_lock(&d->lock);
	lab->keeper = NULL;
	json_object_clear(lab->applied);
	TAILQ_FOREACH(net, &lab->networks, link)
		events_emit(d, "network", "change", lab->name, net->name, NULL,
			    network_json(d, lab, net));
	pthread_mutex_unlock(&d->lock);
	if (k)
		r = keeper_shutdown(k, err);
	else
		(void)keeper_sweep(lab_host_id(d, lab), lab_run_dir(d, lab, run), NULL);
	(void)io_remove_tree(AT_FDCWD, lab_run_dir(d, lab, run));
	(void)lab_save(d, lab, NULL);
	return r;
}

/* What keeper_nics_add() borrows, kept together */
struct nic_text {
	char ifname[IFNAMSIZ], mac[NAME_MAC_TEXT], host[2 * NAME_MAX_LEN];
	char services[LAB_MAX_SERVICES * (NAME_MAX_LEN + 1)];
	char tap[IFNAMSIZ];
};

/* Its services are names of its first address, too */
static void name_services(const struct instance *in, struct nic_text *t)
{
	const json_t *services = json_object_get(instance_spec(in), "services"), *name;
	size_t used = 0, i;

	json_array_foreach(services, i, name)
		if (strcmp(json_string_value(name), in->name) != 0 && used < sizeof(t->services))
			used += (size_t)snprintf(t->services + used, sizeof(t->services) - used,
						 "%s%s", used ? " " : "", json_string_value(name));
}

static size_t nics_of(const struct instance *in, struct keeper_nic *nics, struct nic_text *texts)
{
	json_t *nets = json_object_get(instance_spec(in), "networks"), *nic;
	const char *net;
	size_t n = 0;

	json_object_foreach(nets, net, nic) {
		struct nic_text *t = &texts[n];
		char eth[8];

		if (n == LAB_MAX_NICS)
			break;
		snprintf(eth, sizeof(eth), "eth%u", (unsigned int)n % LAB_MAX_NICS);
		instance_nic_ifname(in, n, t->ifname);
		if (*text(nic, "mac"))
			snprintf(t->mac, sizeof(t->mac), "%s", text(nic, "mac"));
		else
			name_mac(t->mac, lab_identity(in->lab), in->name, eth);
		if (n)
			snprintf(t->host, sizeof(t->host), "%s-%s", in->name, net);
		else
			snprintf(t->host, sizeof(t->host), "%s", in->name);
		if (!n)
			name_services(in, t);
		if (spare_taken(in))
			instance_spare_ifname(in, n, t->tap);
		nics[n++] = (struct keeper_nic){ .ifname = t->ifname,
						 .network = net,
						 .mac = t->mac,
						 .addr = text(nic, "addr"),
						 .host = t->host,
						 .aliases = *t->services ? t->services : NULL,
						 .tap = *t->tap ? t->tap : NULL };
	}
	return n;
}

int network_add_nics(struct labd *d, struct lab *lab, struct instance *const *ins, size_t n,
		     struct lab_err *err)
{
	autofree struct nic_text *texts = calloc(n * LAB_MAX_NICS + 1, sizeof(*texts));
	autofree struct keeper_nic *nics = calloc(n * LAB_MAX_NICS + 1, sizeof(*nics));
	size_t total = 0;

	(void)d;
	if (!texts || !nics)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		total += nics_of(ins[i], nics + total, texts + total);
	if (!total)
		return 0;
	return lab_wrap(err, keeper_nics_add(lab->keeper, nics, total, err), "nics");
}

/* All that instances can have: under another specification it may have been more than now */
static int del_links(struct lab *lab, struct instance *const *ins, size_t n,
		     const char *(*ifname)(const struct instance *in, size_t n, char *buf),
		     struct lab_err *err)
{
	char(*text)[IFNAMSIZ] = calloc(n * LAB_MAX_NICS + 1, sizeof(*text));
	autofree const char **names = calloc(n * LAB_MAX_NICS + 1, sizeof(*names));
	size_t count = 0;
	int r = text && names ? 0 : lab_fail(err, -ENOMEM, "out of memory");

	for (size_t i = 0; !r && i < n; i++)
		for (size_t nic = 0; nic < LAB_MAX_NICS; nic++, count++)
			names[count] = ifname(ins[i], nic, text[count]);
	if (!r && lab->keeper)
		r = keeper_nics_del(lab->keeper, names, count, err);
	free(text);
	return r;
}

int network_del_nics(struct lab *lab, struct instance *const *ins, size_t n, struct lab_err *err)
{
	return del_links(lab, ins, n, instance_nic_ifname, err);
}

int network_add_taps(struct instance *in, struct lab_err *err)
{
	size_t n = json_object_size(json_object_get(instance_spec(in), "networks"));
	char text_[LAB_MAX_NICS][IFNAMSIZ];
	const char *names[LAB_MAX_NICS];

	n = MIN(n, (size_t)LAB_MAX_NICS);
	for (size_t i = 0; i < n; i++)
		names[i] = instance_spare_ifname(in, i, text_[i]);
	return n ? lab_wrap(err, keeper_taps_add(in->lab->keeper, names, n, err), "taps") : 0;
}

int network_del_taps(struct lab *lab, struct instance *const *ins, size_t n, struct lab_err *err)
{
	return del_links(lab, ins, n, instance_spare_ifname, err);
}

int network_flush(struct lab *lab, struct instance *const *ins, size_t n, struct lab_err *err)
{
	char(*text)[IFNAMSIZ] = calloc(n * LAB_MAX_NICS + 1, sizeof(*text));
	autofree const char **names = calloc(n * LAB_MAX_NICS + 1, sizeof(*names));
	size_t count = 0;
	int r;

	for (size_t i = 0; text && names && i < n; i++) {
		size_t nics = json_object_size(json_object_get(instance_spec(ins[i]), "networks"));

		for (size_t nic = 0; nic < MIN(nics, (size_t)LAB_MAX_NICS); nic++, count++)
			names[count] = instance_nic_ifname(ins[i], nic, text[count]);
	}
	r = text && names ? 0 : lab_fail(err, -ENOMEM, "out of memory");
	if (!r && count)
		r = keeper_flush(lab->keeper, names, count, err);
	free(text);
	return r;
}

static int listen_on(const char *bind_addr, int port)
{
	autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int on = 1;

	if (fd < 0)
		return -errno;
	if (inet_pton(AF_INET, bind_addr, &sa.sin_addr) != 1)
		return -EINVAL;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 128) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* Whether the lab, as it runs, holds this port already */
static bool own_port(struct labd *d, const char *name, int64_t port)
{
	SCOPED_LOCK(&d->lock);
	struct lab *lab = model_lab(d, name);
	struct instance *in;
	const json_t *fwd;
	size_t i;

	if (!lab)
		return false;
	TAILQ_FOREACH(in, &lab->instances, link) {
		const json_t *spec = json_object_get(json_object_get(in->applied, "instances"),
						     in->name);

		if (!instance_running(in))
			continue;
		json_array_foreach(json_object_get(spec, "forward"), i, fwd)
			if (json_integer_value(json_object_get(fwd, "host")) == port)
				return true;
	}
	return false;
}

int network_check_forwards(struct labd *d, const char *lab, const json_t *spec, struct lab_err *err)
{
	char bad[LAB_ERR_TEXT / 2] = "";
	json_t *in, *fwd;
	const char *name;
	int result = 0;
	size_t i;

	json_object_foreach(json_object_get(spec, "instances"), name, in) {
		json_array_foreach(json_object_get(in, "forward"), i, fwd) {
			int port = (int)json_integer_value(json_object_get(fwd, "host")), fd;
			size_t len = strlen(bad);

			if (own_port(d, lab, port))
				continue;
			fd = listen_on(text(fwd, "bind"), port);
			if (fd >= 0) {
				close(fd);
				continue;
			}
			result = fd;
			snprintf(bad + len, sizeof(bad) - len, "%s%s:%d of %s: %s", len ? "; " : "",
				 text(fwd, "bind"), port, name, strerror(-fd));
		}
	}
	if (!result)
		return 0;
	return lab_fail(
		err, result,
		"forward %s; choose another port in the lab file or stop what listens there", bad);
}

static const char *forward_id(char *buf, size_t size, const struct instance *in, const json_t *fwd)
{
	snprintf(buf, size, "%lld-%lld", (long long)in->id,
		 (long long)json_integer_value(json_object_get(fwd, "host")));
	return buf;
}

/* Address of the nic that a forward leads to: the first with one */
static const char *first_addr(const struct instance *in)
{
	const char *net, *addr = "";
	json_t *nic;

	json_object_foreach(json_object_get(instance_spec(in), "networks"), net, nic)
		if (!*addr)
			addr = text(nic, "addr");
	return addr;
}

int network_add_forwards(struct labd *d, struct instance *in, struct lab_err *err)
{
	json_t *fwd;
	size_t i;

	(void)d;
	json_array_foreach(json_object_get(instance_spec(in), "forward"), i, fwd) {
		int port = (int)json_integer_value(json_object_get(fwd, "host")), r;
		autoclose int fd = listen_on(text(fwd, "bind"), port);
		char id[48];

		if (fd < 0)
			return lab_fail_errno(err, fd, "forward %s:%d", text(fwd, "bind"), port);
		r = keeper_forward_add(in->lab->keeper, forward_id(id, sizeof(id), in, fwd), fd,
				       first_addr(in),
				       (uint16_t)json_integer_value(json_object_get(fwd, "guest")),
				       err);
		if (r < 0)
			return lab_wrap(err, r, "forward %d", port);
	}
	return 0;
}

void network_del_forwards(struct labd *d, struct instance *in, const json_t *spec)
{
	json_t *fwd;
	size_t i;

	(void)d;
	json_array_foreach(json_object_get(spec, "forward"), i, fwd) {
		char id[48];

		if (in->lab->keeper)
			(void)keeper_forward_del(in->lab->keeper,
						 forward_id(id, sizeof(id), in, fwd), NULL);
	}
}
