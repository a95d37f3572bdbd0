/* SPDX-License-Identifier: GPL-2.0-or-later */
/* peer.h - the other end of a unix socket, misbehaving by script; for unit tests */
#ifndef TESTS_LIB_PEER_H
#define TESTS_LIB_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How much a peer may make us grow. A sanitizer keeps what was freed, so there it says nothing */
#if defined(__SANITIZE_ADDRESS__)
#define PEER_MEMORY_LIMIT (SIZE_MAX / 2)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PEER_MEMORY_LIMIT (SIZE_MAX / 2)
#endif
#endif
#ifndef PEER_MEMORY_LIMIT
#define PEER_MEMORY_LIMIT ((size_t)16 << 20)
#endif

/**
 * struct peer - a server for one script
 * @path:	its socket
 * @dir:	made for it
 * @stop:	the test is over; a script that loops looks at it
 * @served:	how many connections there were
 */
struct peer {
	char dir[64], path[96];
	int listener;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint served;
	void (*script)(struct peer *p, int sock);
};

/** peer_start() - Serve connections with @script, one after the other; it may return any time */
void peer_start(struct peer *p, void (*script)(struct peer *p, int sock));

/** peer_stop() - End it, and remove the socket */
void peer_stop(struct peer *p);

/** peer_say() - Write a text; false if the other side is gone */
bool peer_say(int sock, const char *text);

/** peer_write() - Write bytes */
bool peer_write(int sock, const void *data, size_t len);

/** peer_read_line() - Read one line into @buf; false at the end */
bool peer_read_line(int sock, char *buf, size_t len);

/** peer_wait_end() - Wait until the other side closes, or the test is over */
void peer_wait_end(struct peer *p, int sock);

/** peer_rss() - Resident bytes of this process */
size_t peer_rss(void);

#endif
