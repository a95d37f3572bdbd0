/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe.h - `ready` probes as people write them
 *
 * Lab files, services and the steps of labctl test say with the same words
 * what is to be waited for. Problems are added to the document; a value stands
 * in for what is wrong, so that reading can go on.
 */
#ifndef LIB_PROBE_H
#define LIB_PROBE_H

#include "lib/yaml.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define PROBE_MAX 8 /* in one list */
#define PROBE_MAX_TIMEOUT 86400
#define PROBE_TIMEOUT 300 /* a first boot under TCG, with a package's set-up */

/**
 * probe_list() - Read a probe, a list of probes, or "none"
 * Return: [{"tcp": 22, "timeout": 300}], new reference; NULL without memory
 */
json_t *probe_list(struct ydoc *doc, const struct ynode *n);

/** probe_words() - Expect a program and its arguments; ["a", "b"], NULL without memory */
json_t *probe_words(struct ydoc *doc, const struct ynode *n);

/** probe_port() - Expect a TCP port */
bool probe_port(struct ydoc *doc, const struct ynode *n, uint64_t *ret);

/**
 * probe_regex() - Check a regular expression
 * @at:		whom a problem is about
 * @text:	extended syntax, and nothing in it that costs much to compile
 */
bool probe_regex(struct ydoc *doc, const struct ynode *at, const char *text);

#endif
