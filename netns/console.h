/* SPDX-License-Identifier: GPL-2.0-or-later */
/* console.h - a guest's serial console: recorded, and shown to whoever connects */
#ifndef NETNS_CONSOLE_H
#define NETNS_CONSOLE_H

#include "netns/lab.h"

/* People and tools that look at one console at the same time */
#define CONSOLE_MAX_READERS 32

/*
 * A guest that floods is slowed to this many bytes a second, by reading its
 * socket later: 1000 times what a serial line carries, and little enough that
 * recording it takes a few per cent of a processor.
 */
#define CONSOLE_RATE (8 << 20)

#define CONSOLE_LOG_MIN (64 << 10)

struct reader;

/**
 * struct console - one guest's
 * @path:	QEMU's socket, @fd the connection to it or negative
 * @listener:	where readers connect, at @listen
 * @log, @log_fd, @log_size, @log_max: the recording
 * @bytes:	recorded since it was added; @lost could not be written
 */
struct console {
	TAILQ_ENTRY(console) entry;
	struct lab *lab;
	char id[80];
	char *path, *listen, *log;
	int fd, listener, log_fd;
	uint64_t log_size, log_max;
	sd_event_source *io, *accept, *retry, *watch, *throttle;
	bool connecting;
	unsigned int tries;
	uint64_t bytes, lost, window, window_bytes;
	char typed[4096];
	size_t typed_len;
	TAILQ_HEAD(reader_list, reader) readers;
	unsigned int n_readers;
};

/**
 * console_add() - Record a console; fields as in keeper_console_add()
 * QEMU's socket need not be there yet, its directory must.
 *
 * Return: 0 (also if it is recorded already, to the same files), -EEXIST with
 * others, or negative errno
 */
int console_add(struct lab *lab, const char *id, const char *path, const char *listen,
		const char *log, uint64_t max, struct lab_err *err);

/** console_del() - Cease, after reading what the guest had written; 0 if there is none */
void console_del(struct lab *lab, const char *id);

void console_end_all(struct lab *lab);

#endif
