/* SPDX-License-Identifier: GPL-2.0-or-later */
/* network.h - a lab's keeper, its networks, nics and forwards */
#ifndef LABD_NETWORK_H
#define LABD_NETWORK_H

#include "labd/model.h"

/**
 * network_up() - Have a keeper and the networks of the specification
 * Networks that are gone from it are removed. Safe to call from several jobs
 * of one lab at a time.
 */
int network_up(struct labd *d, struct lab *lab, struct lab_err *err);

/** network_down() - End the keeper with all it holds */
int network_down(struct labd *d, struct lab *lab, struct lab_err *err);

/** network_add_nics() - Taps, leases and names of instances, in one go */
int network_add_nics(struct labd *d, struct lab *lab, struct instance *const *ins, size_t n,
		     struct lab_err *err);
int network_del_nics(struct lab *lab, struct instance *const *ins, size_t n, struct lab_err *err);

/** network_add_taps() - Those of an instance's spare (spare.h), which are on no network */
int network_add_taps(struct instance *in, struct lab_err *err);
int network_del_taps(struct lab *lab, struct instance *const *ins, size_t n, struct lab_err *err);

/** network_flush() - Forget what instances that stand still have left in the network */
int network_flush(struct lab *lab, struct instance *const *ins, size_t n, struct lab_err *err);

/**
 * network_check_forwards() - Whether the ports of a specification can be had
 * @lab:	name of the lab: ports it holds now are its own
 *
 * Return: 0, or -EADDRINUSE / -EACCES naming all ports that cannot
 */
int network_check_forwards(struct labd *d, const char *lab, const json_t *spec,
			   struct lab_err *err);

/** network_add_forwards() - Listen on the host for an instance */
int network_add_forwards(struct labd *d, struct instance *in, struct lab_err *err);
/** network_del_forwards() - Stop listening; all forwards of @spec (instance part) */
void network_del_forwards(struct labd *d, struct instance *in, const json_t *spec);

#endif
