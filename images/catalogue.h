/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * catalogue.h - the services that labs are made of
 *
 * DOC: Theory of Operation
 *
 * A service is a folder PATHS->data/services/NAME; service.yaml(5) is its manual:
 *
 *	service.yaml	what has to be known about it
 *	files/...	templates (lib/template.h): each goes to the same path in a guest
 *	build		run in the root of an image that is built with it
 *	build-end	run after the `build`s of all, in the opposite order
 *	setup		run in a guest before it starts there for the first time
 *	start		run in a guest at each start, after its units
 *	check		run in a guest: whether it really works
 *	remove		run in a guest when it is taken away
 *	env		lines NAME=VALUE for programs of the host
 *
 * All but the first are templates, of scripts for /bin/sh but for `files` and `env`. So a service
 *is added by adding a folder.
 *
 * An image is built for a set of services (compose.h) as if it were a lab of one
 * machine: all their names are 127.0.0.1 and all secrets "build". What differs from lab
 * to lab is filled in when a service starts (labd/service.h).
 *
 * A service that was read is JSON with all keys:
 *	{"name", "description", "needs": [], "packages": [], "memory", "disk", "vcpus",
 *	 "apart": [], "many", "units": [], "files": {PATH: {"owner", "mode"}}, "log",
 *	 "provides": {}}
 * Sizes are bytes, those of `memory` and `disk` what it adds to its machine.
 * What it says about probes, repair and forwards is for labd to read.
 */
#ifndef IMAGES_CATALOGUE_H
#define IMAGES_CATALOGUE_H

#include "lib/err.h"
#include "lib/paths.h"
#include "lib/yaml.h"

#include <jansson.h>

/** catalogue_names() - All services' names as a JSON array of strings */
int catalogue_names(const struct paths *paths, json_t **ret, struct lab_err *err);

/**
 * catalogue_read() - Read what is in it; what is wrong becomes a problem of the document
 * @ret:	new reference
 *
 * Return: 0 or -ENOMEM
 */
int catalogue_read(struct ydoc *doc, const char *name, json_t **ret);

/**
 * catalogue_load() - Read a service
 * @read:	catalogue_read(), or what reads more
 * @ret:	new reference
 *
 * Return: 0, -ENOENT with the nearest names, -EINVAL, or negative errno
 */
int catalogue_load(const struct paths *paths, const char *name,
		   int (*read)(struct ydoc *doc, const char *name, json_t **ret), json_t **ret,
		   struct lab_err *err);

/**
 * catalogue_set() - Load services by their names
 * @ret:	list of them, each after those of the list that it needs; new reference
 *
 * Return: 0, -ENOENT, -EINVAL (also for a circle), or negative errno
 */
int catalogue_set(const struct paths *paths, const json_t *names, json_t **ret,
		  struct lab_err *err);

/**
 * catalogue_context() - What templates know about the services of a lab
 * @services:	of catalogue_set()
 * @places:	{NAME: {"instance", "addr", "secret", "bcrypt"}}
 * @here:	[NAME] of those on the machine that the template is for
 *
 * Return: {"services", "has", "at", "on", "secrets", "bcrypt"}, to which the caller adds
 * what it knows of the lab; new reference, NULL if memory ran out
 */
json_t *catalogue_context(const json_t *services, const json_t *places, const json_t *here);

/**
 * catalogue_script() - Fill one of a service's scripts
 * @script:	"build", "setup", ...
 * @ret:	malloced
 *
 * Return: 1, 0 if the service has none, or negative errno
 */
int catalogue_script(const struct paths *paths, const char *service, const char *script,
		     const json_t *context, char **ret, struct lab_err *err);

/**
 * catalogue_files() - Fill a service's files
 * @ret:	[{"path", "owner", "mode", "content"}], as a recipe's; new reference
 */
int catalogue_files(const struct paths *paths, const json_t *service, const json_t *context,
		    json_t **ret, struct lab_err *err);

#endif
