/* SPDX-License-Identifier: GPL-2.0-or-later */
/* repair.h - options of all commands that restore: --clock, --reseed */
#ifndef CLI_REPAIR_H
#define CLI_REPAIR_H

#include "cli/cli.h"

#define REPAIR_OPT_CLOCK 1000
#define REPAIR_OPT_RESEED 1001
#define REPAIR_LONG                                                                                \
	{ "clock", required_argument, NULL, REPAIR_OPT_CLOCK },                                    \
	{                                                                                          \
		"reseed", no_argument, NULL, REPAIR_OPT_RESEED                                     \
	}

#define REPAIR_HELP                                                                                \
	"  --clock=now      set the guests' clocks to the host's time; else they go on where\n"    \
	"                   they were\n"                                                           \
	"  --reseed         give the guests fresh random seeds and machine ids\n"

struct repair_options {
	const char *clock;
	bool reseed;
};

/** repair_option() - Take an option if it is one of these */
static inline void repair_option(struct repair_options *r, int c)
{
	if (c == REPAIR_OPT_CLOCK)
		r->clock = optarg;
	if (c == REPAIR_OPT_RESEED)
		r->reseed = true;
}

/** repair_body() - Add them to the body of a request, which is returned */
static inline json_t *repair_body(const struct repair_options *r, json_t *body)
{
	if (body && r->clock)
		json_object_set_new(body, "clock", json_string(r->clock));
	if (body && r->reseed)
		json_object_set_new(body, "reseed", json_true());
	return body;
}

#endif
