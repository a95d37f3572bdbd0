/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ask.h - a question on the terminal */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include <stdbool.h>

/**
 * ask() - Ask before something is lost
 *
 * Return: whether the answer was yes; true without asking if standard input
 * or standard error is not a terminal
 */
bool ask(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
