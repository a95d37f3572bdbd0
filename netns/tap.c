// SPDX-License-Identifier: GPL-2.0-or-later
/* tap.c - taps that are on no network yet, for programs that wait to take a nic's place */
#define _GNU_SOURCE
#include "netns/tap.h"

#include "lib/util.h"
#include "netns/link.h"
#include "netns/network.h"

#include <string.h>

struct tap *tap_find(const struct lab *lab, const char *ifname)
{
	struct tap *t;

	TAILQ_FOREACH(t, &lab->taps, entry)
		if (!strcmp(t->ifname, ifname))
			return t;
	return NULL;
}

static int add(struct lab *lab, const char *ifname, struct lab_err *err)
{
	autofree struct tap *t = NULL;
	int r = nic_check_name(ifname, err);

	if (r < 0)
		return r;
	if (lab->n_taps >= LAB_MAX_NICS)
		return lab_fail(err, -EDQUOT, "a lab has at most %d taps", LAB_MAX_NICS);
	t = calloc(1, sizeof(*t));
	if (!t)
		return lab_fail(err, -ENOMEM, "out of memory");
	snprintf(t->ifname, sizeof(t->ifname), "%s", ifname);
	t->fd = link_tap_open(ifname);
	if (t->fd < 0)
		return lab_fail_errno(err, t->fd, "cannot make tap %s", ifname);
	TAILQ_INSERT_TAIL(&lab->taps, t, entry);
	lab->n_taps++;
	(void)steal_ptr(t);
	return 0;
}

int tap_take(struct lab *lab, const char *ifname)
{
	struct tap *t = tap_find(lab, ifname);
	int fd;

	if (!t)
		return -ENOENT;
	fd = t->fd;
	TAILQ_REMOVE(&lab->taps, t, entry);
	lab->n_taps--;
	free(t);
	return fd;
}

int taps_add(struct lab *lab, const char *const *ifnames, size_t n, struct lab_err *err)
{
	unsigned int before = lab->n_taps;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++)
		if (!tap_find(lab, ifnames[i]))
			r = add(lab, ifnames[i], err);
	/* new ones are at the end */
	while (r < 0 && lab->n_taps > before)
		close(tap_take(lab, TAILQ_LAST(&lab->taps, tap_list)->ifname));
	return r;
}

void taps_end_all(struct lab *lab)
{
	while (!TAILQ_EMPTY(&lab->taps))
		close(tap_take(lab, TAILQ_FIRST(&lab->taps)->ifname));
}
