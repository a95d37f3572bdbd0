/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dns.h - questions of the lab's dnsmasq, carried to the host's resolvers */
#ifndef NETNS_DNS_H
#define NETNS_DNS_H

#include "netns/lab.h"

#include <sys/socket.h>

/* Where dnsmasq asks. Not port 53: dnsmasq takes that for itself and refuses */
#define RESOLVER_PORT 5300
#define RESOLVER_SERVER "127.0.0.1#5300"

#define RESOLVER_MAX_SERVERS 3

/**
 * resolver_set() - Use these resolvers of the host from now on
 * @addrs:	@n addresses as text, IPv4 or IPv6; those that are not are left out
 */
int resolver_set(struct lab *lab, const char *const *addrs, size_t n);

/** resolver_start() - Listen inside the lab; lab_enter_host() must work */
int resolver_start(struct lab *lab, struct lab_err *err);
void resolver_stop(struct lab *lab);

/** resolver_drop() - Forget the questions that are open; who asked asks again */
void resolver_drop(struct lab *lab);

/** resolver_free() - Forget what resolver_set() was told, too */
void resolver_free(struct lab *lab);

/**
 * resolver_connect() - A TCP connection, under way, from the host to its resolver
 * Return: the socket or negative errno
 */
int resolver_connect(const struct lab *lab);

/**
 * resolver_parse() - An address as text, with port 53
 * Return: its length, 0 if it is not one
 */
socklen_t resolver_parse(const char *text, struct sockaddr_storage *ret);

/**
 * resolver_refuse() - Turn a question into the answer "server failure"
 * Return: length of the answer (@len), 0 if the bytes are no question
 */
size_t resolver_refuse(unsigned char *packet, size_t len);

#endif
