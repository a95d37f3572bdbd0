/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * labfile_impl.h - what the parts of the lab-file reader share
 *
 * Functions that return json_t give a new reference, and NULL only if memory
 * ran out: what is wrong with the file becomes a problem of the document, and
 * a value stands in so that reading can go on.
 */
#ifndef LABD_LABFILE_IMPL_H
#define LABD_LABFILE_IMPL_H

#include "labd/labfile.h"
#include "lib/probe.h"
#include "lib/yaml.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define LAB_MIN_MEMORY (64ULL << 20)
#define LAB_MAX_MEMORY (1ULL << 40)
#define LAB_MAX_VCPUS 64
#define LAB_MAX_DISK (2ULL << 40) /* IMAGE_MAX_SIZE: larger is a mistake */

/**
 * struct lab_net - a network while its lab is read
 * @name:	its name
 * @node:	its value; NULL for the one that is there when none is given
 * @base, @prefix, @gateway: IPv4, host byte order; @prefix 0: not readable
 * @nics:	how many instances are on it
 * @addrs:	address -> name of the instance that has it
 * @macs:	the same for the MACs that are given in the file
 */
struct lab_net {
	const char *name;
	const struct ynode *node;
	uint32_t base, gateway;
	unsigned int prefix;
	size_t nics;
	json_t *addrs, *macs;
};

/**
 * struct lab_inst - an instance while its lab is read
 * @name:	its name
 * @node:	its value
 * @spec:	its part of the specification (borrowed)
 * @wants:	names of services its own services need
 */
struct lab_inst {
	const char *name;
	const struct ynode *node;
	json_t *spec, *wants;
};

/**
 * struct lab_reader - a lab file while it is read
 * @doc:	the document
 * @paths:	for the catalogue
 * @previous:	specification until now, or NULL
 * @spec:	what it becomes
 * @services:	services read so far: name -> what is known of it
 * @list:	`services` of the lab, or NULL
 * @placed:	instance -> [services] where labfile_place() has put them, with those it has
 * @ports:	"port" -> [[bind, instance], ...]
 * @index:	instance name -> place in @insts
 */
struct lab_reader {
	struct ydoc *doc;
	const struct paths *paths;
	const json_t *previous;
	json_t *spec, *services, *placed, *ports, *index;
	const struct ynode *list;
	struct lab_net nets[LAB_MAX_NETWORKS];
	size_t nnets;
	struct lab_inst insts[LAB_MAX_INSTANCES];
	size_t ninsts;
};

/**
 * labfile_given() - The value of a key that is there and not nothing
 */
const struct ynode *labfile_given(const struct ynode *map, const char *key);

/* labfile_net.c; 0 or -ENOMEM */

/** labfile_networks() - Read `networks`, NULL for a file without */
int labfile_networks(struct lab_reader *r, const struct ynode *n);
/** labfile_nics() - Read an instance's `networks` into its specification */
int labfile_nics(struct lab_reader *r, struct lab_inst *inst, const struct ynode *n);
/** labfile_addresses() - Give an address to every nic that has none */
int labfile_addresses(struct lab_reader *r);

/* labfile_addr.c */

#define LABFILE_ADDR INET_ADDRSTRLEN

/** labfile_addr() - Expect an IPv4 address; host byte order */
bool labfile_addr(struct ydoc *doc, const struct ynode *n, uint32_t *ret);
/** labfile_addr_text() - Write one; returns @buf */
const char *labfile_addr_text(char buf[LABFILE_ADDR], uint32_t addr);
/** labfile_cidr() - Expect a network such as 10.20.0.0/24 */
bool labfile_cidr(struct ydoc *doc, const struct ynode *n, uint32_t *ret_base,
		  unsigned int *ret_prefix);
/** labfile_mac() - Expect a unicast MAC address or ""; lower case into @buf */
bool labfile_mac(struct ydoc *doc, const struct ynode *n, char buf[18]);
/** labfile_domain() - Whether a text is a DNS domain */
bool labfile_domain(const char *s);
/** labfile_mask() - The net mask of a prefix from 1 to 32 */
static inline uint32_t labfile_mask(unsigned int prefix)
{
	return ~0U << (32 - prefix);
}

/* labfile_probe.c: also used for the catalogue */

/** labfile_repair() - Read `repair`: the list of commands for after a restore */
json_t *labfile_repair(struct ydoc *doc, const struct ynode *n);
/** labfile_forward() - Read `forward`: [{"host", "bind", "guest"}] */
json_t *labfile_forward(struct ydoc *doc, const struct ynode *n);

/* labfile_inst.c */

/** labfile_instances() - Read `instances`; 0 or -ENOMEM */
int labfile_instances(struct lab_reader *r, const struct ynode *n);

/* labfile_needs.c */

/** labfile_needs() - Resolve what instances need, refuse cycles; 0 or -ENOMEM */
int labfile_needs(struct lab_reader *r);

/* labfile_place.c */

/** labfile_place() - Find instances for the `services` of a lab; before they are read */
int labfile_place(struct lab_reader *r, const struct ynode *services,
		  const struct ynode *instances);

/* labfile_service.c */

/**
 * labfile_service() - A service by the name at @at (borrowed)
 * Return: JSON null after a problem, NULL if memory ran out
 */
const json_t *labfile_service(struct lab_reader *r, const struct ynode *at);

/**
 * labfile_services() - Read an instance's `services`, and those placed on it, with what they bring
 * @ret_names:	["keystone"]; new reference
 * @ret:	{"memory", "vcpus", "needs", "repair", "forward"}, those that they
 *		give; new reference
 *
 * Return: 0 or -ENOMEM
 */
int labfile_services(struct lab_reader *r, const struct lab_inst *inst, json_t **ret_names,
		     json_t **ret);

/** labfile_placed() - All instances are read: check what is where, give them their image */
int labfile_placed(struct lab_reader *r);

#endif
