/* SPDX-License-Identifier: GPL-2.0-or-later */
/* protocol.h - requests of labd: what netns/keeper.c asks, answered */
#ifndef NETNS_PROTOCOL_H
#define NETNS_PROTOCOL_H

#include "netns/lab.h"

#include <jansson.h>
#include <stddef.h>

/** protocol_listen() - Accept requests on a listening SOCK_SEQPACKET socket (borrowed) */
int protocol_listen(struct lab *lab, int listener, struct lab_err *err);

/** protocol_end_all() - Close all connections */
void protocol_end_all(struct lab *lab);

/**
 * protocol_answer() - Answer one request
 * @text:	@len bytes from a peer; anything
 * @fds:	@nfds descriptors that came with it; closed or kept by the operation
 * @ret_fd:	descriptor to send with the reply, -1 for none; the caller closes it
 *
 * Return: the reply, new reference; NULL only without memory
 */
json_t *protocol_answer(struct lab *lab, const char *text, size_t len, int *fds, size_t nfds,
			int *ret_fd);

#endif
