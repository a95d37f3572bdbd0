// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * protocol.c - requests of labd: what netns/keeper.c asks, answered
 *
 * DOC: Theory of Operation
 *
 * One SOCK_SEQPACKET message is one request, a JSON object with "op"; one message
 * is its reply. Each operation is a line in the table ops[]; it unpacks the request
 * strictly (an unknown or missing key is an error) and calls one function.
 *
 * The peer must have our own uid; the socket's mode says so too. Beyond that a
 * peer may send anything: bad requests get an error, and what cannot be a request
 * (too long, no reader for the reply) ends that connection only.
 *
 * Descriptors of a request are owned by struct request; an operation that keeps
 * one takes it out. The rest is closed behind it.
 */
#define _GNU_SOURCE
#include "netns/protocol.h"
#include "netns/capture.h"

#include "lib/io.h"
#include "lib/jsonl.h"
#include "lib/log.h"
#include "lib/util.h"
#include "netns/child.h"
#include "netns/clock.h"
#include "netns/console.h"
#include "netns/dhcp.h"
#include "netns/dns.h"
#include "netns/flush.h"
#include "netns/forward.h"
#include "netns/keeper.h"
#include "netns/link.h"
#include "netns/network.h"
#include "netns/tap.h"
#include "netns/uplink.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

/* So many objects of state fit in a message: one is at most 400 bytes */
#define STATE_PAGE 400

/**
 * struct request - one request under way
 * @ok:		what the reply carries; borrowed from it
 * @ret_fd:	descriptor that goes with the reply, or negative
 */
struct request {
	const json_t *req;
	int *fds;
	size_t nfds;
	json_t *ok;
	int ret_fd;
};

typedef int (*op_fn)(struct lab *lab, struct request *rq, struct lab_err *err);

static int bad_request(const json_error_t *je, struct lab_err *err)
{
	return lab_fail(err, -EINVAL, "bad request: %s", je->text);
}

static int take_resolvers(struct lab *lab, const json_t *list, struct lab_err *err)
{
	const char *addrs[RESOLVER_MAX_SERVERS];
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(list) && n < ARRAY_SIZE(addrs); i++) {
		addrs[n] = json_string_value(json_array_get(list, i));
		n += addrs[n] != NULL;
	}
	return resolver_set(lab, addrs, n) < 0 ? lab_fail(err, -ENOMEM, "out of memory") : 0;
}

static int op_network_add(struct lab *lab, struct request *rq, struct lab_err *err)
{
	struct network_spec s;
	int mtu, nat, dhcp, r;
	json_t *resolvers;
	const char *op;
	json_error_t je;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT,
			   "{s:s s:s s:s s:s s:s s:i s:b s:b s:o}", "op", &op, "name", &s.name,
			   "cidr", &s.cidr, "gateway", &s.gateway, "domain", &s.domain, "mtu", &mtu,
			   "nat", &nat, "dhcp", &dhcp, "resolvers", &resolvers) < 0)
		return bad_request(&je, err);
	s.mtu = mtu < 0 ? 0 : (unsigned int)mtu;
	s.nat = nat;
	s.dhcp = dhcp;
	r = take_resolvers(lab, resolvers, err);
	return r < 0 ? r : network_add(lab, &s, err);
}

static int op_network_del(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op, *name;
	json_error_t je;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:s}", "op", &op, "name",
			   &name) < 0)
		return bad_request(&je, err);
	return network_del(lab, name, err);
}

static int unpack_nic(const json_t *item, struct nic_spec *ret, struct lab_err *err)
{
	json_error_t je;

	if (json_unpack_ex((json_t *)item, &je, JSON_STRICT, "{s:s s:s s:s s:s s:s s?s s?s}",
			   "ifname", &ret->ifname, "network", &ret->network, "mac", &ret->mac,
			   "addr", &ret->addr, "host", &ret->host, "aliases", &ret->aliases, "tap",
			   &ret->tap) < 0)
		return bad_request(&je, err);
	return 0;
}

static int add_nics(struct lab *lab, struct request *rq, const json_t *list, bool more,
		    struct lab_err *err)
{
	size_t n = json_array_size(list);
	autofree struct nic_spec *specs = calloc(n + 1, sizeof(*specs));
	autofree bool *added = calloc(n + 1, sizeof(*added));
	json_t *names = json_array();
	int r = 0;

	if (!specs || !added || json_object_set_new(rq->ok, "added", names) < 0)
		return lab_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; !r && i < n; i++)
		r = unpack_nic(json_array_get(list, i), &specs[i], err);
	if (!r)
		r = nics_add(lab, specs, n, more, added, err);
	for (size_t i = 0; !r && i < n; i++)
		if (added[i])
			json_array_append_new(names, json_string(specs[i].ifname));
	return r;
}

static int op_nics_add(struct lab *lab, struct request *rq, struct lab_err *err)
{
	json_t *list, *resolvers;
	const char *op;
	json_error_t je;
	int more, r;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:o s:b s:o}", "op", &op,
			   "nics", &list, "more", &more, "resolvers", &resolvers) < 0)
		return bad_request(&je, err);
	r = take_resolvers(lab, resolvers, err);
	return r < 0 ? r : add_nics(lab, rq, list, more, err);
}

/* The strings of an array, borrowed, with a NULL behind them; NULL if one is not a string */
static const char **strings(const json_t *list, size_t *ret_n)
{
	size_t n = json_array_size(list);
	autofree const char **words = calloc(n + 1, sizeof(*words));

	if (!words || !json_is_array(list))
		return NULL;
	for (size_t i = 0; i < n; i++) {
		words[i] = json_string_value(json_array_get(list, i));
		if (!words[i])
			return NULL;
	}
	*ret_n = n;
	return steal_ptr(words);
}

/* A request that names nics and nothing else */
static int on_nics(struct lab *lab, const struct request *rq,
		   int (*run)(struct lab *lab, const char *const *ifnames, size_t n,
			      struct lab_err *err),
		   struct lab_err *err)
{
	autofree const char **names = NULL;
	const char *op;
	json_t *list;
	json_error_t je;
	size_t n;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:o}", "op", &op, "ifnames",
			   &list) < 0)
		return bad_request(&je, err);
	names = strings(list, &n);
	if (!names)
		return lab_fail(err, -EINVAL, "bad request: ifnames is no array of strings");
	return run(lab, names, n, err);
}

static int op_nics_del(struct lab *lab, struct request *rq, struct lab_err *err)
{
	return on_nics(lab, rq, nics_del, err);
}

static int op_taps_add(struct lab *lab, struct request *rq, struct lab_err *err)
{
	return on_nics(lab, rq, taps_add, err);
}

static int op_link_set(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op, *ifname;
	json_error_t je;
	int up;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:s s:b}", "op", &op,
			   "ifname", &ifname, "up", &up) < 0)
		return bad_request(&je, err);
	return nic_set_link(lab, ifname, up, err);
}

static int op_flush(struct lab *lab, struct request *rq, struct lab_err *err)
{
	return on_nics(lab, rq, flush_nics, err);
}

static int op_clock_set(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op;
	json_error_t je;
	json_int_t offset;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:I}", "op", &op, "offset_us",
			   &offset) < 0)
		return bad_request(&je, err);
	return clock_set(lab, offset, err);
}

static int op_clock_get(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op;
	json_error_t je;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s}", "op", &op) < 0)
		return bad_request(&je, err);
	return json_object_set_new(rq->ok, "offset_us", json_integer(lab->clock_offset_us));
}

static int op_spawn(struct lab *lab, struct request *rq, struct lab_err *err)
{
	autofree const char **argv = NULL, **env = NULL, **nics = NULL;
	struct child_spec spec = { .fds = rq->fds, .nfds = rq->nfds };
	json_t *argv_list, *env_list, *nic_list;
	const char *op;
	json_error_t je;
	int unprivileged, r;
	size_t argc, envc;
	pid_t pid;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:o s:o s:o s:s s:b}", "op",
			   &op, "argv", &argv_list, "env", &env_list, "nics", &nic_list, "log",
			   &spec.log, "unprivileged", &unprivileged) < 0)
		return bad_request(&je, err);
	argv = strings(argv_list, &argc);
	env = strings(env_list, &envc);
	nics = strings(nic_list, &spec.nnics);
	if (!argv || !argc || !env || !nics)
		return lab_fail(err, -EINVAL, "bad request: argv, env or nics");
	spec.argv = argv;
	spec.env = env;
	spec.nics = nics;
	spec.unprivileged = unprivileged;
	r = child_spawn(lab, &spec, &pid, &rq->ret_fd, err);
	return r < 0 ? r : json_object_set_new(rq->ok, "pid", json_integer(pid));
}

static int op_exit_status(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op;
	json_error_t je;
	int pid, status, r;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:i}", "op", &op, "pid",
			   &pid) < 0)
		return bad_request(&je, err);
	r = child_status(lab, pid, &status, err);
	return r <= 0 ? r : json_object_set_new(rq->ok, "status", json_integer(status));
}

static int op_connect_tcp(struct lab *lab, struct request *rq, struct lab_err *err)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	const char *op, *addr;
	json_error_t je;
	int port, fd;

	(void)lab;
	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:s s:i}", "op", &op, "addr",
			   &addr, "port", &port) < 0)
		return bad_request(&je, err);
	if (port < 1 || port > 65535 || inet_pton(AF_INET, addr, &to.sin_addr) != 1)
		return lab_fail(err, -EINVAL, "'%.32s' port %d is no address", addr, port);
	to.sin_port = htons((uint16_t)port);
	fd = forward_connect(&to);
	if (fd < 0)
		return lab_fail_errno(err, fd, "connecting to %s port %d in the lab", addr, port);
	rq->ret_fd = fd;
	return 0;
}

static int op_capture(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op, *ifname;
	json_error_t je;
	int fd;

	(void)lab;
	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:s}", "op", &op, "ifname",
			   &ifname) < 0)
		return bad_request(&je, err);
	fd = capture_open(ifname, err);
	if (fd < 0)
		return fd;
	rq->ret_fd = fd;
	return 0;
}

static int op_forward_add(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op, *id, *addr;
	json_error_t je;
	int port;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:s s:s s:i}", "op", &op,
			   "id", &id, "addr", &addr, "port", &port) < 0)
		return bad_request(&je, err);
	if (rq->nfds != 1)
		return lab_fail(err, -EINVAL, "forward %.48s: one listening socket is needed", id);
	if (port < 1 || port > 65535)
		return lab_fail(err, -EINVAL, "forward %.48s: %d is no port", id, port);
	return forward_add(lab, id, steal_fd(&rq->fds[0]), addr, (uint16_t)port, err);
}

static int op_forward_del(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op, *id;
	json_error_t je;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:s}", "op", &op, "id", &id) <
	    0)
		return bad_request(&je, err);
	if (id[0] != '_') /* our own are not to be removed */
		(void)forward_del(lab, id);
	return 0;
}

static int op_console_add(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op, *id, *path, *listen, *log;
	json_error_t je;
	json_int_t max;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:s s:s s:s s:s s:I}", "op",
			   &op, "id", &id, "path", &path, "listen", &listen, "log", &log, "max",
			   &max) < 0)
		return bad_request(&je, err);
	if (max < 0)
		return lab_fail(err, -EINVAL, "console %.48s: bad size", id);
	return console_add(lab, id, path, listen, log, (uint64_t)max, err);
}

static int op_console_del(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *op, *id;
	json_error_t je;

	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:s}", "op", &op, "id", &id) <
	    0)
		return bad_request(&je, err);
	console_del(lab, id);
	return 0;
}

/* --------------------------------------------------------------- state */

static json_t *addr_json(struct in_addr addr)
{
	char text[INET_ADDRSTRLEN] = "";

	if (addr.s_addr)
		inet_ntop(AF_INET, &addr, text, sizeof(text));
	return json_string(text);
}

/**
 * struct page - the part of a section that is asked for
 * @skip:	objects before it
 * @room:	objects that still fit
 */
struct page {
	json_t *items;
	json_int_t skip;
	int room;
	bool more;
};

/* Whether the next object belongs on this page */
static bool on_page(struct page *p)
{
	if (p->skip > 0) {
		p->skip--;
		return false;
	}
	if (p->room > 0)
		return p->room--;
	p->more = true;
	return false;
}

static void state_networks(struct lab *lab, struct page *p)
{
	const struct network *n;

	TAILQ_FOREACH(n, &lab->networks, entry)
		if (on_page(p))
			json_object_set_new(
				p->items, n->name,
				json_pack("{ss so si so ss si sb sb si ss}", "bridge", n->bridge,
					  "addr", addr_json(n->addr), "prefix", (int)n->prefix,
					  "gateway", addr_json(n->gateway), "domain", n->domain,
					  "mtu", (int)n->mtu, "nat", n->nat, "dhcp", n->dhcp,
					  "nics", (int)n->n_nics, "dnsmasq", dhcp_running(n)));
}

static void state_nic_counters(void *arg, const struct link_stats *st)
{
	json_t *nic = json_object_get(arg, st->ifname);

	/* the lab's side receives what the guest sends: turned round here */
	if (nic)
		json_object_update_new(nic, json_pack("{sb sI sI sI sI sI sI}", "up", st->up,
						      "rx_bytes", (json_int_t)st->tx_bytes,
						      "tx_bytes", (json_int_t)st->rx_bytes,
						      "rx_packets", (json_int_t)st->tx_packets,
						      "tx_packets", (json_int_t)st->rx_packets,
						      "rx_dropped", (json_int_t)st->tx_dropped,
						      "tx_dropped", (json_int_t)st->rx_dropped));
}

static void state_nics(struct lab *lab, struct page *p)
{
	const struct nic *n;

	TAILQ_FOREACH(n, &lab->nics, entry)
		if (on_page(p))
			json_object_set_new(p->items, n->ifname,
					    json_pack("{ss ss so ss}", "network", n->network->name,
						      "mac", n->mac, "addr", addr_json(n->addr),
						      "host", n->host));
	if (json_object_size(p->items))
		(void)link_stats_all(lab->nl, state_nic_counters, p->items);
}

static void state_forwards(struct lab *lab, struct page *p)
{
	const struct forward *f;

	TAILQ_FOREACH(f, &lab->forwards, entry)
		if (f->id[0] != '_' && on_page(p))
			json_object_set_new(p->items, f->id,
					    json_pack("{so si si sI sI sI sI}", "addr",
						      addr_json(f->target.sin_addr), "port",
						      ntohs(f->target.sin_port), "connections",
						      (int)f->n_conns, "accepted",
						      (json_int_t)f->accepted, "refused",
						      (json_int_t)f->refused, "bytes_in",
						      (json_int_t)f->bytes_in, "bytes_out",
						      (json_int_t)f->bytes_out));
}

static void state_consoles(struct lab *lab, struct page *p)
{
	const struct console *c;

	TAILQ_FOREACH(c, &lab->consoles, entry)
		if (on_page(p))
			json_object_set_new(p->items, c->id,
					    json_pack("{sb si sI sI}", "connected",
						      c->fd >= 0 && !c->connecting, "readers",
						      (int)c->n_readers, "bytes",
						      (json_int_t)c->bytes, "lost",
						      (json_int_t)c->lost));
}

static void state_children(struct lab *lab, struct page *p)
{
	const struct child *c;

	TAILQ_FOREACH(c, &lab->children, entry) {
		json_t *o;
		char pid[16];

		if (!on_page(p))
			continue;
		snprintf(pid, sizeof(pid), "%d", c->pid);
		o = json_pack("{ss sb}", "name", c->name, "running", !c->ended);
		if (c->ended)
			json_object_set_new(o, "status", json_integer(c->status));
		json_object_set_new(p->items, pid, o);
	}
}

static void state_uplink(struct lab *lab, struct page *p)
{
	char text[64];

	json_object_set_new(p->items, "state", json_string(uplink_text(lab, text, sizeof(text))));
}

static int op_state(struct lab *lab, struct request *rq, struct lab_err *err)
{
	static const struct {
		const char *name;
		void (*fill)(struct lab *lab, struct page *p);
	} sections[] = {
		{ "networks", state_networks }, { "nics", state_nics },
		{ "forwards", state_forwards }, { "consoles", state_consoles },
		{ "children", state_children }, { "uplink", state_uplink },
	};
	struct page p = { .items = json_object(), .room = STATE_PAGE };
	const char *op, *section;
	json_int_t from;
	json_error_t je;

	json_object_set_new(rq->ok, "items", p.items);
	if (json_unpack_ex((json_t *)rq->req, &je, JSON_STRICT, "{s:s s:s s:I}", "op", &op,
			   "section", &section, "from", &from) < 0)
		return bad_request(&je, err);
	if (!p.items || from < 0)
		return lab_fail(err, -EINVAL, "bad request: from");
	p.skip = from;
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		if (strcmp(sections[i].name, section) != 0)
			continue;
		sections[i].fill(lab, &p);
		return json_object_set_new(rq->ok, "next",
					   json_integer(p.more ? from + STATE_PAGE : 0));
	}
	return lab_fail(err, -EINVAL, "there is no section %.32s", section);
}

static int op_shutdown(struct lab *lab, struct request *rq, struct lab_err *err)
{
	(void)rq;
	(void)err;
	log_info("told to shut down");
	lab_end(lab);
	return 0;
}

static const struct op {
	const char *name;
	op_fn fn;
} ops[] = {
	{ "network_add", op_network_add },
	{ "network_del", op_network_del },
	{ "nics_add", op_nics_add },
	{ "nics_del", op_nics_del },
	{ "taps_add", op_taps_add },
	{ "link_set", op_link_set },
	{ "flush", op_flush },
	{ "clock_set", op_clock_set },
	{ "clock_get", op_clock_get },
	{ "spawn", op_spawn },
	{ "exit_status", op_exit_status },
	{ "connect_tcp", op_connect_tcp },
	{ "capture", op_capture },
	{ "forward_add", op_forward_add },
	{ "forward_del", op_forward_del },
	{ "console_add", op_console_add },
	{ "console_del", op_console_del },
	{ "state", op_state },
	{ "shutdown", op_shutdown },
};

/* ------------------------------------------------------------- answers */

static int perform(struct lab *lab, struct request *rq, struct lab_err *err)
{
	const char *name = json_string_value(json_object_get(rq->req, "op"));

	for (size_t i = 0; name && i < ARRAY_SIZE(ops); i++)
		if (!strcmp(ops[i].name, name))
			return ops[i].fn(lab, rq, err);
	return lab_fail(err, -EINVAL, "bad request: no known \"op\"");
}

static json_t *error_reply(int code, const struct lab_err *err)
{
	/* a message may quote bytes of the request: whatever is not UTF-8 is left out */
	json_t *text = json_string(err->code ? err->text : strerror(-code));

	if (!text)
		text = json_string("bad request");
	return json_pack("{so ss}", "error", text, "errno", lab_errno_name(code));
}

json_t *protocol_answer(struct lab *lab, const char *text, size_t len, int *fds, size_t nfds,
			int *ret_fd)
{
	struct lab_err err = LAB_ERR_INIT;
	autojson json_t *req = NULL, *ok = json_object();
	struct request rq = { .fds = fds, .nfds = nfds, .ok = ok, .ret_fd = -EBADF };
	int r = jsonl_parse(text, len, &req);

	if (r < 0 || !json_is_object(req))
		r = lab_fail(&err, -EPROTO, "bad request: not a JSON object");
	rq.req = req;
	if (!r)
		r = perform(lab, &rq, &err);
	for (size_t i = 0; i < nfds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*ret_fd = rq.ret_fd;
	return r < 0 ? error_reply(r, &err) : json_pack("{sO}", "ok", ok);
}

/**
 * struct client - one connection
 */
struct client {
	TAILQ_ENTRY(client) entry;
	struct lab *lab;
	int fd;
	sd_event_source *source;
};

static void client_free(struct client *c)
{
	TAILQ_REMOVE(&c->lab->clients, c, entry);
	c->lab->n_clients--;
	sd_event_source_disable_unref(c->source);
	close(c->fd);
	free(c);
}

/* Send a reply; the peer must be there to take it */
static int reply(struct client *c, json_t *answer, int fd)
{
	autojson json_t *owned = answer;
	autofree char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;

	if (!text)
		return -ENOMEM;
	return io_send_fds(c->fd, text, strlen(text), &fd, fd >= 0 ? 1 : 0);
}

static int on_request(sd_event_source *source, int sock, uint32_t revents, void *arg)
{
	static char buf[KEEPER_MAX_MESSAGE];
	struct client *c = arg;
	int fds[IO_MAX_FDS], r;
	autoclose int ret_fd = -EBADF;
	size_t nfds = 0;
	ssize_t n = io_recv_fds(sock, buf, sizeof(buf), fds, &nfds);
	struct lab_err err = LAB_ERR_INIT;

	(void)source;
	(void)revents;
	if (n == -EAGAIN)
		return 0;
	if (n == -EMSGSIZE) {
		lab_fail(&err, -EMSGSIZE, "a request has at most %d bytes", KEEPER_MAX_MESSAGE);
		r = reply(c, error_reply(-EMSGSIZE, &err), -EBADF);
	} else if (n <= 0) {
		r = -EPIPE;
	} else {
		json_t *answer = protocol_answer(c->lab, buf, (size_t)n, fds, nfds, &ret_fd);

		r = reply(c, answer, ret_fd);
	}
	if (r < 0)
		client_free(c);
	return 0;
}

/* Whether a peer is the uid we were started by */
static bool peer_may(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == geteuid();
}

static int on_client(sd_event_source *source, int listener, uint32_t revents, void *arg)
{
	const int room = 2 * KEEPER_MAX_MESSAGE;
	struct lab *lab = arg;
	autoclose int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *c;

	(void)source;
	(void)revents;
	if (fd < 0)
		return 0;
	if (!peer_may(fd)) {
		log_warn("refused a connection of another user");
		return 0;
	}
	if (lab->n_clients >= LAB_MAX_CLIENTS) {
		log_warn("refused a connection: %d are open", LAB_MAX_CLIENTS);
		return 0;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	c = calloc(1, sizeof(*c));
	if (!c)
		return 0;
	c->lab = lab;
	c->fd = steal_fd(&fd);
	TAILQ_INSERT_TAIL(&lab->clients, c, entry);
	lab->n_clients++;
	if (sd_event_add_io(lab->event, &c->source, c->fd, EPOLLIN, on_request, c) < 0)
		client_free(c);
	return 0;
}

int protocol_listen(struct lab *lab, int listener, struct lab_err *err)
{
	sd_event_source *source = NULL;
	int r = sd_event_add_io(lab->event, &source, listener, EPOLLIN, on_client, lab);

	if (r >= 0)
		r = sd_event_source_set_ratelimit(source, LAB_ACCEPT_SPAN, LAB_ACCEPT_BURST);
	if (r >= 0)
		r = sd_event_source_set_floating(source, true); /* the loop's own from here */
	sd_event_source_unref(source);
	return r < 0 ? lab_fail_errno(err, r, "cannot watch the keeper's socket") : 0;
}

void protocol_end_all(struct lab *lab)
{
	while (!TAILQ_EMPTY(&lab->clients))
		client_free(TAILQ_FIRST(&lab->clients));
}
