// SPDX-License-Identifier: GPL-2.0-or-later
/* labfile_net.c - networks of a lab file, and who has which address there */
#define _GNU_SOURCE
#include "labd/labfile_impl.h"
#include "lib/names.h"
#include "lib/util.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* Where a network's size and place are to be changed */
static const struct ynode *net_cidr_node(const struct lab_net *net)
{
	const struct ynode *cidr = labfile_given(net->node, "cidr");

	return cidr ? cidr : ynode_name(net->node);
}

static const char *net_text(char buf[LABFILE_ADDR + 4], const struct lab_net *net)
{
	char addr[LABFILE_ADDR];

	snprintf(buf, LABFILE_ADDR + 4, "%s/%u", labfile_addr_text(addr, net->base), net->prefix);
	return buf;
}

/* Whether an address is one that a host of the network can have */
static bool net_has_host(const struct lab_net *net, uint32_t addr)
{
	uint32_t mask = labfile_mask(net->prefix);

	return (addr & mask) == net->base && addr != net->base && addr != (net->base | ~mask);
}

/* Refuse an address that no host of the network can have */
static bool check_host(struct lab_reader *r, const struct lab_net *net, const struct ynode *at,
		       uint32_t addr)
{
	char text[LABFILE_ADDR], cidr[LABFILE_ADDR + 4];

	if (net_has_host(net, addr))
		return true;
	labfile_addr_text(text, addr);
	net_text(cidr, net);
	if ((addr & labfile_mask(net->prefix)) != net->base)
		ydoc_problem(r->doc, at, "address %s is outside network '%s' (%s)", text, net->name,
			     cidr);
	else
		ydoc_problem(r->doc, at,
			     "address %s is no host's: the first and the last of %s "
			     "are the network's own",
			     text, cidr);
	return false;
}

static void read_place(struct lab_reader *r, struct lab_net *net)
{
	const struct ynode *cidr = labfile_given(net->node, "cidr");
	const struct ynode *gateway = labfile_given(net->node, "gateway");
	uint32_t addr;

	net->base = 0x0a140000 | (uint32_t)(net - r->nets) << 8;
	net->prefix = 24;
	if (cidr && !labfile_cidr(r->doc, cidr, &net->base, &net->prefix)) {
		net->prefix = 0;
		return;
	}
	net->gateway = net->base + 1;
	if (gateway && labfile_addr(r->doc, gateway, &addr) && check_host(r, net, gateway, addr))
		net->gateway = addr;
}

static const char *read_uplink(struct ydoc *doc, const struct ynode *n)
{
	char show[YNODE_SHOW];

	if (!n)
		return "none";
	if (n->type == YNODE_SCALAR && !strcmp(n->text, "nat"))
		return "nat";
	if (n->type != YNODE_SCALAR || strcmp(n->text, "none"))
		ydoc_problem(doc, n, "expected nat or none, found %s", ynode_show(show, n));
	return "none";
}

static const char *read_domain(struct lab_reader *r, const struct ynode *n)
{
	const char *lab = json_string_value(json_object_get(r->spec, "lab"));
	char show[YNODE_SHOW];

	if (!n)
		return labfile_domain(lab) ? lab : "lab";
	if (n->type == YNODE_SCALAR && labfile_domain(n->text))
		return n->text;
	ydoc_problem(r->doc, n, "expected a domain such as lab.example, found %s",
		     ynode_show(show, n));
	return "lab";
}

/* One network's specification, with its defaults */
static json_t *read_network(struct lab_reader *r, struct lab_net *net)
{
	static const char *const known[] = { "cidr", "gateway", "mtu", "uplink",
					     "dhcp", "domain",	NULL };
	const struct ynode *mtu_node = labfile_given(net->node, "mtu");
	const struct ynode *dhcp_node = labfile_given(net->node, "dhcp");
	char cidr[LABFILE_ADDR + 4] = "", gateway[LABFILE_ADDR] = "";
	uint64_t mtu = 1500;
	bool dhcp = true;

	ydoc_map(r->doc, net->node, known);
	read_place(r, net);
	if (net->prefix) {
		net_text(cidr, net);
		labfile_addr_text(gateway, net->gateway);
	}
	if (mtu_node) /* 576: what every IPv4 host must take; 9216: jumbo frames */
		ydoc_u64(r->doc, mtu_node, 576, 9216, &mtu);
	if (dhcp_node)
		ydoc_bool(r->doc, dhcp_node, &dhcp);
	return json_pack(
		"{s:s, s:s, s:I, s:s, s:b, s:s}", "cidr", cidr, "gateway", gateway, "mtu",
		(json_int_t)mtu, "uplink",
		net->node ? read_uplink(r->doc, labfile_given(net->node, "uplink")) : "nat", "dhcp",
		dhcp, "domain", read_domain(r, labfile_given(net->node, "domain")));
}

static void check_overlap(struct lab_reader *r, const struct lab_net *net)
{
	for (const struct lab_net *o = r->nets; o < net; o++) {
		unsigned int prefix = MIN(o->prefix, net->prefix);
		char a[LABFILE_ADDR + 4], b[LABFILE_ADDR + 4];

		if (!prefix ||
		    (o->base & labfile_mask(prefix)) != (net->base & labfile_mask(prefix)))
			continue;
		ydoc_problem(r->doc, net_cidr_node(net),
			     "network '%s' (%s) overlaps network '%s' (%s)", net->name,
			     net_text(a, net), o->name, net_text(b, o));
	}
}

static int add_network(struct lab_reader *r, json_t *specs, const char *name,
		       const struct ynode *node)
{
	struct lab_net *net = &r->nets[r->nnets];

	*net = (struct lab_net){ .name = name, .node = node };
	net->addrs = json_object();
	net->macs = json_object();
	r->nnets++;
	if (!net->addrs || !net->macs || json_object_set_new(specs, name, read_network(r, net)) < 0)
		return -ENOMEM;
	check_overlap(r, net);
	return 0;
}

int labfile_networks(struct lab_reader *r, const struct ynode *n)
{
	json_t *specs = json_object();

	if (json_object_set_new(r->spec, "networks", specs) < 0)
		return -ENOMEM;
	if (!n)
		return add_network(r, specs, "default", NULL);
	if (!ydoc_map(r->doc, n, NULL))
		return 0;
	if (n->count > LAB_MAX_NETWORKS) {
		ydoc_problem(r->doc, ynode_name(n), "expected at most %d networks, found %zu",
			     LAB_MAX_NETWORKS, n->count);
		return 0;
	}
	for (const struct ynode *v = n->child; v; v = v->next) {
		const char *name;

		if (ydoc_name(r->doc, v->key, "a network's name", &name) &&
		    !json_object_get(specs, name) && add_network(r, specs, name, v) < 0)
			return -ENOMEM;
	}
	return 0;
}

static struct lab_net *find_net(struct lab_reader *r, const char *name)
{
	for (size_t i = 0; i < r->nnets; i++)
		if (!strcmp(r->nets[i].name, name))
			return &r->nets[i];
	return NULL;
}

/* Note that an instance has an address; the one that had it before, or NULL */
static const char *claim(json_t *claims, const char *what, const char *instance, int *ret_r)
{
	const char *before = json_string_value(json_object_get(claims, what));

	if (!before && json_object_set_new(claims, what, json_string(instance)) < 0)
		*ret_r = -ENOMEM;
	return before;
}

/* The address given in the file, or "" */
static int read_addr(struct lab_reader *r, struct lab_net *net, const struct lab_inst *inst,
		     const struct ynode *n, char text[LABFILE_ADDR])
{
	const char *before;
	uint32_t addr;
	int res = 0;

	text[0] = '\0';
	if (!n || (n->type == YNODE_SCALAR && !*n->text) || !labfile_addr(r->doc, n, &addr) ||
	    !net->prefix || !check_host(r, net, n, addr))
		return 0;
	labfile_addr_text(text, addr);
	if (addr == net->gateway)
		ydoc_problem(r->doc, n, "address %s is the gateway of network '%s'", text,
			     net->name);
	before = claim(net->addrs, text, inst->name, &res);
	if (before)
		ydoc_problem(r->doc, n, "address %s is given twice: instance '%s' has it", text,
			     before);
	return res;
}

static int read_mac(struct lab_reader *r, struct lab_net *net, const struct lab_inst *inst,
		    const struct ynode *n, char mac[18])
{
	const char *before;
	int res = 0;

	mac[0] = '\0';
	if (!n || !labfile_mac(r->doc, n, mac) || !*mac)
		return 0;
	before = claim(net->macs, mac, inst->name, &res);
	if (before)
		ydoc_problem(r->doc, n, "MAC address %s is given twice: instance '%s' has it", mac,
			     before);
	return res;
}

/* Shaping is refused until it works: ignoring it would fake a result */
static void refuse_shaping(struct ydoc *doc, const struct ynode *n)
{
	static const char *const words[] = { "delay", "jitter", "loss", "rate" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const struct ynode *v = ynode_get(n, words[i]);

		if (v)
			ydoc_problem(doc, v->key, "'%s' is not supported yet; leave it out",
				     words[i]);
	}
}

static int add_nic(struct lab_reader *r, const struct lab_inst *inst, json_t *nics,
		   const struct ynode *name, const struct ynode *n)
{
	static const char *const known[] = {
		"addr", "mac", "delay", "jitter", "loss", "rate", NULL
	};
	struct lab_net *net = find_net(r, name->text);
	char addr[LABFILE_ADDR], mac[18];

	if (!net) {
		const char *names[LAB_MAX_NETWORKS + 1] = { NULL };

		for (size_t i = 0; i < r->nnets; i++)
			names[i] = r->nets[i].name;
		ydoc_unknown(r->doc, name, "network", names);
		return 0;
	}
	if (json_object_get(nics, net->name)) {
		if (!n) /* a key given twice is a problem of the document */
			ydoc_problem(r->doc, name, "network '%s' is given twice", net->name);
		return 0;
	}
	if (n && ydoc_map(r->doc, n, known))
		refuse_shaping(r->doc, n);
	net->nics++;
	if (read_addr(r, net, inst, labfile_given(n, "addr"), addr) < 0 ||
	    read_mac(r, net, inst, labfile_given(n, "mac"), mac) < 0)
		return -ENOMEM;
	return json_object_set_new(nics, net->name,
				   json_pack("{s:s, s:s}", "addr", addr, "mac", mac));
}

/* Read [mgmt, data] or {mgmt: {}, data: {addr: ...}} */
static int read_nics(struct lab_reader *r, const struct lab_inst *inst, json_t *nics,
		     const struct ynode *n)
{
	char show[YNODE_SHOW];

	if (n->type == YNODE_SCALAR) {
		ydoc_problem(r->doc, n, "expected a list or a map of networks, found %s",
			     ynode_show(show, n));
		return 0;
	}
	if (n->count > LAB_MAX_NICS) {
		ydoc_problem(r->doc, ynode_name(n), "expected at most %d networks, found %zu",
			     LAB_MAX_NICS, n->count);
		return 0;
	}
	for (const struct ynode *v = n->child; v; v = v->next) {
		const struct ynode *name = n->type == YNODE_MAP ? v->key : v;

		if (name->type != YNODE_SCALAR)
			ydoc_problem(r->doc, name, "expected a network's name, found %s",
				     ynode_show(show, name));
		else if (add_nic(r, inst, nics, name, n->type == YNODE_MAP ? v : NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

int labfile_nics(struct lab_reader *r, struct lab_inst *inst, const struct ynode *n)
{
	json_t *nics = json_object();

	if (json_object_set_new(inst->spec, "networks", nics) < 0)
		return -ENOMEM;
	if (n)
		return read_nics(r, inst, nics, n);
	if (!r->nnets)
		return 0;
	r->nets[0].nics++;
	return json_object_set_new(nics, r->nets[0].name,
				   json_pack("{s:s, s:s}", "addr", "", "mac", ""));
}

/* Whether an address is free to be given to a nic */
static bool addr_free(const struct lab_net *net, uint32_t addr)
{
	char text[LABFILE_ADDR];

	return net_has_host(net, addr) && addr != net->gateway &&
	       !json_object_get(net->addrs, labfile_addr_text(text, addr));
}

static int set_addr(const struct lab_net *net, const struct lab_inst *inst, json_t *nic,
		    uint32_t addr)
{
	char text[LABFILE_ADDR];

	labfile_addr_text(text, addr);
	return json_object_set_new(nic, "addr", json_string(text)) ||
			       json_object_set_new(net->addrs, text, json_string(inst->name))
		       ? -ENOMEM
		       : 0;
}

/* The address a nic had until now stays its, if it still can */
static int keep_addr(const struct lab_reader *r, const struct lab_net *net,
		     const struct lab_inst *inst, json_t *nic)
{
	const char *text = NULL;
	struct in_addr in;

	json_unpack((json_t *)r->previous, "{s:{s:{s:{s:{s:s}}}}}", "instances", inst->name,
		    "networks", net->name, "addr", &text);
	if (!text || inet_pton(AF_INET, text, &in) != 1 || !addr_free(net, ntohl(in.s_addr)))
		return 0;
	return set_addr(net, inst, nic, ntohl(in.s_addr));
}

/* From .10 up, then those below */
static int new_addr(const struct lab_net *net, const struct lab_inst *inst, json_t *nic)
{
	uint32_t hosts = ~labfile_mask(net->prefix);

	for (uint32_t i = 0; i < hosts; i++) {
		uint32_t addr = net->base + (i + 10) % hosts;

		if (addr_free(net, addr))
			return set_addr(net, inst, nic, addr);
	}
	return 0;
}

/* Refuse networks that have not room for their instances */
static void check_room(struct lab_reader *r, struct lab_net *net)
{
	size_t room = net->prefix ? ~labfile_mask(net->prefix) - 2 : SIZE_MAX;
	char cidr[LABFILE_ADDR + 4];

	if (net->nics <= room)
		return;
	ydoc_problem(r->doc, net_cidr_node(net),
		     "network '%s' (%s) has addresses for %zu of its %zu instances", net->name,
		     net_text(cidr, net), room, net->nics);
	net->prefix = 0;
}

int labfile_addresses(struct lab_reader *r)
{
	for (size_t i = 0; i < r->nnets; i++)
		check_room(r, &r->nets[i]);
	for (int fresh = 0; fresh < 2; fresh++) {
		for (size_t i = 0; i < r->ninsts; i++) {
			const struct lab_inst *inst = &r->insts[i];
			const char *name;
			json_t *nic;

			json_object_foreach(json_object_get(inst->spec, "networks"), name, nic) {
				const struct lab_net *net = find_net(r, name);
				const char *addr = json_string_value(json_object_get(nic, "addr"));

				if (!net->prefix || *addr)
					continue;
				if ((fresh ? new_addr(net, inst, nic)
					   : keep_addr(r, net, inst, nic)) < 0)
					return -ENOMEM;
			}
		}
	}
	return 0;
}
