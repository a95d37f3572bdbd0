/* SPDX-License-Identifier: GPL-2.0-or-later */
/* service_fill.h - what a service is given in a guest: its templates, filled, as one archive */
#ifndef LABD_SERVICE_FILL_H
#define LABD_SERVICE_FILL_H

#include "labd/service.h"
#include "lib/digest.h"

/* In the guest: SERVICE_DIR/NAME has its scripts while they run; `go` runs the others */
#define SERVICE_DIR "/run/lab"
/* In the guest: a file for each service that was set up on its disk */
#define SERVICE_MARKS "/var/lib/lab/setup"

/**
 * struct filled - a service's files for an instance
 * @data:	a tar archive of @len bytes; malloced
 * @digest:	of what is in it
 */
struct filled {
	void *data;
	size_t len;
	char digest[DIGEST_HEX];
};

/** service_fill() - Fill a service's templates for an instance */
int service_fill(struct labd *d, struct instance *in, const json_t *service, struct filled *ret,
		 struct lab_err *err);

void filled_done(struct filled *f);

#endif
