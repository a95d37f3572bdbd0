/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help.h - usage texts */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "cli/cli.h"

/** help_command() - Print the usage of a subcommand, or of labctl for `help` */
void help_command(const struct command *command);

#endif
