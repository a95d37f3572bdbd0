/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * labfile.h - lab files: from YAML to a filled-in specification, and back
 *
 * A specification is JSON in which every default has a value. It is what labd
 * stores, compares and works from, and it is itself a valid lab file (JSON is
 * YAML), so that a change of one value goes through the same reader:
 *
 * {"lab": "demo",
 *  "networks": {"mgmt": {"cidr": "10.20.0.0/24", "gateway": "10.20.0.1",
 *		"mtu": 1500, "uplink": "nat", "dhcp": true, "domain": "demo"}},
 *  "instances": {"db": {"image": "database", "services": ["database"],
 *		"vcpus": 1, "memory": 536870912, "root": 0,
 *		"disks": {"data": {"size": 1073741824}}, "needs": [],
 *		"networks": {"mgmt": {"addr": "10.20.0.10", "mac": ""}},
 *		"ready": [{"tcp": 3306, "timeout": 300}],
 *		"forward": [{"host": 13306, "bind": "127.0.0.1", "guest": 3306}],
 *		"protect": false}}}
 *
 * Sizes are bytes, durations seconds. Order of keys is the file's. Short forms
 * that people write (memory: 512M, networks: [mgmt], ready: {tcp: 22},
 * forward: {8080: 80}) are read too. "root" 0: the image's own size.
 */
#ifndef LABD_LABFILE_H
#define LABD_LABFILE_H

#include "lib/err.h"
#include "lib/paths.h"
#include "lib/probe.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Limits of one lab, and why */
#define LAB_MAX_FILE (256 << 10) /* a lab file a person would still edit */
#define LAB_MAX_INSTANCES 250 /* a /24 of addresses */
#define LAB_MAX_NETWORKS 64
#define LAB_MAX_NICS 8 /* an instance; QEMU's slots on the root bus */
#define LAB_MAX_DISKS 8
#define LAB_MAX_PROBES PROBE_MAX
#define LAB_MAX_FORWARDS 16
#define LAB_MAX_SERVICES 16 /* on an instance */

/* What kernel, systemd and the agent take of an instance with services */
#define LABFILE_SYSTEM_MEMORY (192ULL << 20)

/**
 * labfile_read() - Read, check and fill in a lab file
 * @text:	YAML (or a specification as JSON)
 * @file:	its name, for messages
 * @paths:	where the catalogue of services is (paths->data/services)
 * @previous:	the lab's specification until now, or NULL: instances that
 *		are in both keep their addresses
 * @ret:	the specification; new reference
 * @ret_problems: if not valid: [{"line", "column", "message"}], all problems
 *		of the file in its order; new reference
 *
 * Return: 0, -EINVAL with @err's text "FILE:LINE:COLUMN: message" of all
 * problems, one a line, or negative errno
 */
int labfile_read(const char *text, size_t len, const char *file, const struct paths *paths,
		 const json_t *previous, json_t **ret, json_t **ret_problems, struct lab_err *err);

/**
 * labfile_yaml() - Write a specification as a person would
 * @ret:	malloced YAML with all defaults filled in
 */
int labfile_yaml(const json_t *spec, char **ret, struct lab_err *err);

/** labfile_is_composed() - Whether an image's name is one that is made for services */
bool labfile_is_composed(const char *image);

/**
 * labfile_other_image() - Whether an instance needs disks of another image now
 * @was, @now:	its part of two specifications
 *
 * One whose own services are the same does not, if only the others of the lab changed.
 */
bool labfile_other_image(const json_t *was, const json_t *now);

/**
 * labfile_differs() - What a running instance has that it would not have if it were started now
 * @was, @now:	its part of two specifications
 *
 * Return: the first key of those that cannot change while it runs, or NULL
 */
const char *labfile_differs(const json_t *was, const json_t *now);

/**
 * labfile_composed() - The services for which a specification's image is made
 * @image:	of one of its instances
 *
 * Return: their names, new reference; NULL if the image is not made for services
 */
json_t *labfile_composed(const json_t *spec, const char *image);

/**
 * labfile_changes() - What differs between two specifications
 * @from:	what is; NULL for nothing
 * @ret:	[{"object": "instance web1", "type": "instance", "name": "web1",
 *		"action": "create" | "change" | "restart" | "remove",
 *		"reason": "memory 512 MiB -> 1 GiB"}]; new reference. "change"
 *		can be applied to a running instance (forwards, ready, protect,
 *		needs), "restart" cannot.
 */
int labfile_changes(const json_t *from, const json_t *to, json_t **ret, struct lab_err *err);

#endif
