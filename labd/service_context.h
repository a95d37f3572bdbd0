/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * service_context.h - what templates of services know about a lab
 *
 * All of it follows from the lab's specification, so these work on one, and need no lock.
 */
#ifndef LABD_SERVICE_CONTEXT_H
#define LABD_SERVICE_CONTEXT_H

#include "images/catalogue.h"
#include "labd/labd.h"

#include <stdbool.h>

/** service_set() - The services of a lab, in order of their needs (catalogue_set()) */
int service_set(struct labd *d, const json_t *spec, json_t **ret, struct lab_err *err);

/**
 * service_context() - What templates know, for one of the instances
 * @ret:	what service.yaml(5) lists; new reference
 */
int service_context(struct labd *d, const json_t *spec, const char *instance, json_t **ret,
		    struct lab_err *err);

/**
 * service_env() - The environment for programs of the host that use the lab
 * @inside:	for those that run in the lab's network; else by its forwards
 * @ret:	["NAME=VALUE"]: the lines of all services' templates `env`; new reference
 */
int service_env(struct labd *d, const json_t *spec, bool inside, json_t **ret, struct lab_err *err);

#endif
