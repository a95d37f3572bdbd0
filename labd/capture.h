/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * capture.h - what goes through a nic, as a pcap file that grows
 *
 * DOC: Theory of Operation
 *
 * The keeper opens a packet socket at the guest's tap and passes it out. It belongs to
 * the lab's namespace wherever it is read, so labd reads it, and no process is needed
 * in there. The filter is compiled and the file's format written by libpcap.
 *
 * A capture is a stream of the API and lives as long as its reader: when that leaves, or
 * labd ends, the socket is closed, and nothing is left. What comes faster than the reader takes
 * it waits in the socket (4 MiB at most); what does not fit is counted. It ends by itself
 * when the tap goes, with its guest.
 */
#ifndef LABD_CAPTURE_H
#define LABD_CAPTURE_H

#include "labd/model.h"
#include "labd/stream.h"

/**
 * struct capture_how - what to capture
 * @lab, @instance, @nic: their names
 * @id:		what its reader calls it, to find it in capture_json(); may be NULL
 * @filter:	pcap-filter(7), or NULL
 */
struct capture_how {
	const char *lab, *instance, *nic, *id, *filter;
};

/**
 * capture_new() - Begin with a capture
 * @sock:	from keeper_capture(); taken in any case
 *
 * Return: 0; -EINVAL for a filter that libpcap does not understand
 */
int capture_new(struct labd *d, int sock, const struct capture_how *how, struct stream **ret,
		struct lab_err *err);

/** capture_json() - Those that run: packets and how many were dropped; in the event loop */
json_t *capture_json(struct labd *d);

#endif
