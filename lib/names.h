/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names.h - names people give, and the names and addresses made from them */
#ifndef LIB_NAMES_H
#define LIB_NAMES_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#define NAME_MAX_LEN 48
#define NAME_RULE "letters, digits, '_', '.' and '-', starting with a letter or digit, at most 48"

/**
 * name_valid() - Whether a name may be given to a lab, instance, network, ...
 * @name:	[A-Za-z0-9][A-Za-z0-9_.-]{0,47}; so it is never "." or "..",
 *		never an option, and safe as a file name
 */
bool name_valid(const char *name);

/**
 * name_hash() - A keyed 64-bit hash of strings, the same on every machine
 * @purpose:	the key; different purposes give unrelated values
 * @a, @b, @c:	the parts; NULL counts as ""; ("ab", "c") differs from ("a", "bc")
 */
uint64_t name_hash(const char *purpose, const char *a, const char *b, const char *c);

/**
 * name_ifname() - The name of a link of the lab
 * @buf:	at least IFNAMSIZ bytes
 * @name:	wanted name; if longer than 15 characters, or one that no link can
 *		have (lo, all, default), it is cut and given a tail from its hash
 *
 * Return: @buf
 */
const char *name_ifname(char buf[IFNAMSIZ], const char *name);

#define NAME_MAC_TEXT 18

/**
 * name_mac() - The MAC address of a nic: a lab looks the same on every `up`
 * @buf:	NAME_MAC_TEXT bytes; 52:54:00:xx:xx:xx
 * @lab, @instance, @nic:	names
 *
 * Return: @buf
 */
const char *name_mac(char buf[NAME_MAC_TEXT], const char *lab, const char *instance,
		     const char *nic);

/**
 * name_nearest() - The known word nearest to a mistyped one
 * @word:	what was typed
 * @known:	the known words, NULL at the end
 *
 * Return: the nearest if it is near enough to be meant, else NULL
 */
const char *name_nearest(const char *word, const char *const *known);

#endif
