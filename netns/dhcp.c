// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dhcp.c - leases and names of a network, served by a dnsmasq of its own
 *
 * DOC: Theory of Operation
 *
 * One dnsmasq a network, for two reasons: only one that serves a single link
 * binds its DHCP socket to that link, and a network without a way out must not
 * have a resolver with one (names carry data out).
 *
 * Files in RUN_DIR/net, "/net" inside: NAME.conf, NAME.leases (a line a nic) and
 * hosts (names of the whole lab, read by all). Only the last two change while
 * dnsmasq runs; it reads them again on SIGHUP. Before dnsmasq has its own
 * handler it has the one it was started with, which would end it: but it installs
 * the handler first, ignores SIGHUP until it has started, and reads the files
 * only then. What remains is the moment before main(), so it starts with
 * SIGHUP ignored.
 *
 * Leases are infinite and bound to MAC addresses, so dnsmasq keeps no lease file
 * and a new one may answer for its predecessor (dhcp-authoritative).
 *
 * A dnsmasq that ends by itself is started again, RESTART_MAX times within
 * RESTART_SPAN; then the network stays without and says so in the state.
 */
#define _GNU_SOURCE
#include "netns/dhcp.h"

#include "lib/io.h"
#include "lib/log.h"
#include "lib/num.h"
#include "lib/util.h"
#include "netns/dns.h"
#include "netns/spawn.h"
#include "netns/uplink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define RESTART_MAX 5
#define RESTART_SPAN (60 * 1000000ULL)

/**
 * struct dnsmasq - the process that serves a network
 * @pid:	0 while there is none
 * @since:	num_now_us() of the first of @restarts
 */
struct dnsmasq {
	struct lab *lab;
	struct network *network;
	pid_t pid;
	sd_event_source *source;
	uint64_t since;
	unsigned int restarts;
};

static const char *find_dnsmasq(void)
{
	static const char *const places[] = { "/usr/sbin/dnsmasq", "/usr/local/sbin/dnsmasq" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (!access(places[i], X_OK))
			return places[i];
	return NULL;
}

void dhcp_write_config(FILE *f, const struct network *net, const char *upstream)
{
	char addr[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN];
	struct in_addr m = { htonl(net->prefix ? 0xffffffffu << (32 - net->prefix) : 0) };

	inet_ntop(AF_INET, &net->addr, addr, sizeof(addr));
	inet_ntop(AF_INET, &m, mask, sizeof(mask));
	/* no change of user (it has its own already), no files but ours */
	fputs("user=root\ngroup=\npid-file=\nleasefile-ro\nno-hosts\nno-resolv\nno-poll\n", f);
	fputs("log-facility=-\nquiet-dhcp\ncache-size=1000\n", f);
	fprintf(f, "interface=%s\nexcept-interface=lo\nbind-interfaces\n", net->bridge);
	fputs("addn-hosts=/net/hosts\ndomain-needed\nbogus-priv\n", f);
	if (upstream)
		fprintf(f, "server=%s\n", upstream);
	if (*net->domain)
		fprintf(f, "domain=%s\nlocal=/%s/\n", net->domain, net->domain);
	if (!net->dhcp)
		return;
	fprintf(f, "dhcp-range=%s,static,%s,infinite\n", addr, mask);
	fprintf(f, "dhcp-hostsfile=/net/%s.leases\ndhcp-authoritative\nno-ping\n", net->name);
	fprintf(f, "dhcp-lease-max=%d\ndhcp-option=option:mtu,%u\n", LAB_MAX_NICS, net->mtu);
	inet_ntop(AF_INET, &net->gateway, addr, sizeof(addr));
	fprintf(f, "dhcp-option=option:ntp-server,%s\n", addr);
	if (!net->nat) /* without a value: no router, or guests would try it */
		fputs("dhcp-option=option:router\n", f);
}

/* Whether dnsmasq takes a name as that of a client; it drops the whole line otherwise */
static bool is_label(const char *host)
{
	return *host && strlen(host) <= 63 && !strchr(host, '.') && host[0] != '_';
}

void dhcp_write_leases(FILE *f, const struct lab *lab, const struct network *net)
{
	const struct nic *nic;

	TAILQ_FOREACH(nic, &lab->nics, entry) {
		char addr[INET_ADDRSTRLEN];

		if (nic->network != net || !nic->has_addr)
			continue;
		inet_ntop(AF_INET, &nic->addr, addr, sizeof(addr));
		fprintf(f, "%s,%s,%s%sinfinite\n", nic->mac, addr,
			is_label(nic->host) ? nic->host : "", is_label(nic->host) ? "," : "");
	}
}

/* A name that an address has, with and without its domain; "" is none */
static void write_host(FILE *f, const char *addr, const char *host, const char *domain)
{
	if (*host && *domain)
		fprintf(f, "%s %s.%s %s\n", addr, host, domain, host);
	else if (*host)
		fprintf(f, "%s %s\n", addr, host);
}

void dhcp_write_hosts(FILE *f, const struct lab *lab)
{
	const struct nic *nic;

	TAILQ_FOREACH(nic, &lab->nics, entry) {
		char addr[INET_ADDRSTRLEN], aliases[sizeof(nic->aliases)], *rest = aliases, *name;

		if (!nic->has_addr)
			continue;
		inet_ntop(AF_INET, &nic->addr, addr, sizeof(addr));
		snprintf(aliases, sizeof(aliases), "%s", nic->aliases);
		/* the first name is the one an address is translated back to */
		write_host(f, addr, nic->host, nic->network->domain);
		while ((name = strsep(&rest, " ")))
			write_host(f, addr, name, nic->network->domain);
	}
}

/* Replace /net/@name by what @write puts out; no fsync: it is made anew after a crash */
static int replace_file(const char *name, void (*write)(FILE *, const void *), const void *arg)
{
	char path[IO_PATH], tmp[IO_PATH];
	int fd;
	FILE *f;

	io_path(path, "/net/%s", name);
	io_path(tmp, "/net/%s.new", name);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	/* the umask of a keeper gives nobody anything; dnsmasq has another uid */
	fchmod(fd, 0644);
	f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	write(f, arg);
	if (fclose(f) || rename(tmp, path) < 0) {
		int r = -errno;

		unlink(tmp);
		return r;
	}
	return 0;
}

static void write_config(FILE *f, const void *arg)
{
	const struct dnsmasq *d = arg;

	dhcp_write_config(f, d->network, d->network->nat ? uplink_dns(d->lab) : NULL);
}

static void write_leases(FILE *f, const void *arg)
{
	const struct dnsmasq *d = arg;

	dhcp_write_leases(f, d->lab, d->network);
}

static void write_hosts(FILE *f, const void *arg)
{
	dhcp_write_hosts(f, arg);
}

static int write_lease_file(const struct dnsmasq *d)
{
	char name[NAME_MAX_LEN + 16];

	snprintf(name, sizeof(name), "%s.leases", d->network->name);
	return replace_file(name, write_leases, d);
}

static int on_end(sd_event_source *source, const siginfo_t *si, void *arg);

static int run(struct dnsmasq *d, struct lab_err *err)
{
	char conf[IO_PATH];
	const char *argv[] = { find_dnsmasq(), "--keep-in-foreground", conf, NULL };
	struct spawn spawn = {
		.argv = argv, .output = 2, .as = SPAWN_AS_DNSMASQ, .dies = true, .no_hup = true
	};
	pid_t pid;
	int r;

	if (!argv[0])
		return lab_fail(err, -ENOENT,
				"network %s: there is no dnsmasq; install the package dnsmasq-base",
				d->network->name);
	io_path(conf, "--conf-file=/net/%s.conf", d->network->name);
	r = spawn_program(d->lab, &spawn, &pid, err);
	if (r < 0)
		return lab_wrap(err, r, "network %s", d->network->name);
	r = sd_event_add_child(d->lab->event, &d->source, pid, WEXITED, on_end, d);
	if (r < 0) {
		spawn_end(pid);
		return lab_fail_errno(err, r, "network %s: cannot watch dnsmasq", d->network->name);
	}
	d->pid = pid;
	return 0;
}

static int on_end(sd_event_source *source, const siginfo_t *si, void *arg)
{
	struct dnsmasq *d = arg;
	struct lab_err err = LAB_ERR_INIT;
	uint64_t now = num_now_us();

	(void)source;
	d->pid = 0;
	d->source = sd_event_source_disable_unref(d->source);
	log_warn("network %s: dnsmasq ended (%s %d)", d->network->name,
		 si->si_code == CLD_EXITED ? "status" : "signal", si->si_status);
	if (now - d->since > RESTART_SPAN) {
		d->since = now;
		d->restarts = 0;
	}
	if (d->restarts++ >= RESTART_MAX)
		log_error("network %s: dnsmasq does not stay; no more leases and names",
			  d->network->name);
	else if (run(d, &err) < 0)
		log_error("%s", err.text);
	return 0;
}

int dhcp_start(struct lab *lab, struct network *net, struct lab_err *err)
{
	char conf[NAME_MAX_LEN + 16];
	struct dnsmasq *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return lab_fail(err, -ENOMEM, "out of memory");
	d->lab = lab;
	d->network = net;
	net->dnsmasq = d;
	snprintf(conf, sizeof(conf), "%s.conf", net->name);
	r = replace_file(conf, write_config, d);
	if (!r)
		r = write_lease_file(d);
	if (!r)
		r = replace_file("hosts", write_hosts, lab);
	if (r < 0)
		lab_fail_errno(err, r, "network %s: cannot write dnsmasq's files", net->name);
	else
		r = run(d, err);
	if (r < 0)
		dhcp_stop(lab, net);
	return r;
}

void dhcp_stop(struct lab *lab, struct network *net)
{
	struct dnsmasq *d = net->dnsmasq;
	char path[IO_PATH];

	(void)lab;
	if (!d)
		return;
	sd_event_source_disable_unref(d->source);
	if (d->pid)
		spawn_end(d->pid);
	unlink(io_path(path, "/net/%s.conf", net->name));
	unlink(io_path(path, "/net/%s.leases", net->name));
	net->dnsmasq = NULL;
	free(d);
}

void dhcp_reload(struct lab *lab)
{
	const struct network *net;
	int r = replace_file("hosts", write_hosts, lab);

	TAILQ_FOREACH(net, &lab->networks, entry) {
		if (!r)
			r = write_lease_file(net->dnsmasq);
		if (r < 0)
			break;
	}
	if (r < 0)
		log_error("cannot write dnsmasq's files: %s", strerror(-r));
	TAILQ_FOREACH(net, &lab->networks, entry)
		if (net->dnsmasq->pid)
			kill(net->dnsmasq->pid, SIGHUP);
}

const char *dhcp_running(const struct network *net)
{
	return net->dnsmasq->pid ? "running" : "failed: it ended too often, see the keeper's log";
}
